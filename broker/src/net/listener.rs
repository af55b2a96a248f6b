//! Listening sockets: bound by `boot` for all cores at once, served by each core.
//!
//! A port that somebody else listens on is refused before SO_REUSEPORT could share its clients. Port 0 is resolved once.
//! Deliberately absent: the accept loop (`server`) and TLS.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, IntoRawFd};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps for a core that has not accepted them yet.
const BACKLOG: i32 = 1024;

/// The kernel's buffers of a listener's connections, in bytes; `None` leaves them to the kernel, which lets them grow.
///
/// They bound what a slow reader costs the kernel, which takes twice the number for its own accounting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SocketBuffers {
    /// `socket.send.buffer.bytes`.
    pub send_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`.
    pub receive_bytes: Option<usize>,
}

/// A listener could not be bound. The message names the address and the way out.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (listener {name}): {reason}; {way_out}")]
pub struct BindError {
    name: String,
    address: SocketAddr,
    reason: io::Error,
    way_out: &'static str,
}

/// One listener of the broker, with a socket for each core.
#[derive(Debug)]
pub struct BoundListener {
    /// Its name (`PLAINTEXT`, for example).
    pub name: String,
    /// Where it listens; never port 0.
    pub address: SocketAddr,
    sockets: Vec<Socket>,
}

impl BoundListener {
    /// Binds one socket per core and listens. Clients that connect from here on wait until the cores accept.
    ///
    /// # Errors
    /// [`BindError`] when another process listens there, or the address is not this machine's or not allowed.
    pub fn bind(
        name: &str,
        address: SocketAddr,
        cores: u16,
        buffers: SocketBuffers,
    ) -> Result<Self, BindError> {
        let failed = |reason: io::Error| {
            let way_out = match reason.kind() {
                io::ErrorKind::AddrInUse => "another process listens there: stop it, or change `listeners`",
                io::ErrorKind::AddrNotAvailable => "the address is not this machine's: change `listeners`",
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need CAP_NET_BIND_SERVICE: change `listeners`"
                }
                _ => "change `listeners`",
            };
            BindError { name: name.to_owned(), address, reason, way_out }
        };
        Self::try_bind(name, address, cores, buffers).map_err(failed)
    }

    fn try_bind(name: &str, wanted: SocketAddr, cores: u16, buffers: SocketBuffers) -> io::Result<Self> {
        // Without SO_REUSEPORT: refused when anybody listens there. SO_REUSEADDR, so that connections of a broker
        // that was here before and are winding down do not count. It holds the port until ours are bound.
        let probe = socket(wanted)?;
        probe.bind(&wanted.into())?;
        let address = probe.local_addr()?.as_socket().unwrap_or(wanted);
        let sockets = (0..cores)
            .map(|_| {
                let socket = socket(address)?;
                socket.set_reuse_port(true)?;
                // Accepted sockets inherit them; the receive buffer must be set before the listening begins, or the
                // window's scale is settled without it.
                if let Some(bytes) = buffers.send_bytes {
                    socket.set_send_buffer_size(bytes)?;
                }
                if let Some(bytes) = buffers.receive_bytes {
                    socket.set_recv_buffer_size(bytes)?;
                }
                socket.bind(&address.into())?;
                Ok(socket)
            })
            .collect::<io::Result<Vec<_>>>()?;
        for socket in &sockets {
            socket.listen(BACKLOG)?;
        }
        Ok(Self { name: name.to_owned(), address, sockets })
    }

    /// Divides listeners among the cores: for each core one socket per listener, in the listeners' order.
    pub fn per_core(listeners: Vec<BoundListener>) -> Vec<Vec<CoreListener>> {
        let cores = listeners.first().map_or(0, |listener| listener.sockets.len());
        let mut per_core: Vec<Vec<CoreListener>> = (0..cores).map(|_| Vec::new()).collect();
        for listener in listeners {
            for (socket, core) in listener.sockets.into_iter().zip(&mut per_core) {
                core.push(CoreListener { name: listener.name.clone(), socket });
            }
        }
        per_core
    }
}

/// One core's socket of a listener, on its way to that core.
#[derive(Debug)]
pub struct CoreListener {
    pub(super) name: String,
    socket: Socket,
}

impl CoreListener {
    /// Hands the socket to the executor of the calling core.
    pub(super) fn open(self) -> io::Result<OpenListener> {
        let closer = Closer(self.socket.try_clone()?);
        // SAFETY: the descriptor is a listening TCP socket that this value owned, and owns no more.
        #[allow(unsafe_code)]
        let listener = unsafe { glommio::net::TcpListener::from_raw_fd(self.socket.into_raw_fd()) };
        Ok(OpenListener { listener, _closer: closer })
    }
}

/// A listening socket on its core. Dropped, it listens no more.
pub(super) struct OpenListener {
    pub(super) listener: glommio::net::TcpListener,
    _closer: Closer,
}

/// Ends the listening when dropped: an accept that is under way in the kernel would keep the socket beyond its descriptor,
/// and clients would connect to nobody.
struct Closer(Socket);

impl Drop for Closer {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    #[test]
    fn port_zero_is_resolved_once_for_all_cores() {
        let listener =
            BoundListener::bind("PLAINTEXT", ANY.parse().unwrap(), 3, SocketBuffers::default()).unwrap();
        assert_ne!(listener.address.port(), 0);
        for socket in &listener.sockets {
            assert_eq!(socket.local_addr().unwrap().as_socket().unwrap(), listener.address);
        }
        assert_eq!(BoundListener::per_core(vec![listener]).len(), 3);
    }

    #[test]
    fn accepted_sockets_have_the_listeners_buffers() {
        let buffers = SocketBuffers { send_bytes: Some(50_000), receive_bytes: Some(60_000) };
        let listener = BoundListener::bind("PLAINTEXT", ANY.parse().unwrap(), 1, buffers).unwrap();
        let _client = std::net::TcpStream::connect(listener.address).unwrap();
        let (accepted, _) = listener.sockets[0].accept().unwrap();
        assert_eq!(accepted.send_buffer_size().unwrap(), 100_000, "the kernel doubles what it is told");
        assert_eq!(accepted.recv_buffer_size().unwrap(), 120_000);
    }

    #[test]
    fn a_second_broker_on_the_same_port_is_refused_by_name() {
        let first =
            BoundListener::bind("PLAINTEXT", ANY.parse().unwrap(), 2, SocketBuffers::default()).unwrap();
        let line = BoundListener::bind("PLAINTEXT", first.address, 2, SocketBuffers::default())
            .unwrap_err()
            .to_string();
        assert!(line.contains(&first.address.to_string()) && line.contains("another process"), "{line}");
    }

    #[test]
    fn a_port_whose_last_connections_are_winding_down_is_free() {
        let first =
            BoundListener::bind("PLAINTEXT", ANY.parse().unwrap(), 1, SocketBuffers::default()).unwrap();
        let client = std::net::TcpStream::connect(first.address).unwrap();
        let (accepted, _) = first.sockets[0].accept().unwrap();
        let address = first.address;
        drop(first);
        // The server closes first: its side lingers in FIN-WAIT and TIME-WAIT.
        drop(accepted);
        BoundListener::bind("PLAINTEXT", address, 2, SocketBuffers::default()).unwrap();
        drop(client);
        BoundListener::bind("PLAINTEXT", address, 2, SocketBuffers::default()).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let line =
            BoundListener::bind("PLAINTEXT", "192.0.2.1:9092".parse().unwrap(), 1, SocketBuffers::default())
                .unwrap_err()
                .to_string();
        assert!(line.contains("192.0.2.1:9092") && line.contains("listeners"), "{line}");
    }
}
