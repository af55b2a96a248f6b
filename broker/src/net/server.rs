//! A core's server: accepts connections, gives some to other cores, sweeps the slow ones, drains at the end.
//!
//! `boot` makes one per core and runs [`Server::serve`]; the core's mailbox hands connections of other cores to
//! [`Server::adopt`]. Deliberately absent: what happens on a connection (`connection`).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::poll_fn;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use glommio::net::TcpStream;

use super::connection::{self, Connection};
use super::frame::FrameLimits;
use super::listener::CoreListener;
use super::partial::PartialFrames;
use super::settings::{CloseReason, NetCounters, NetSettings, NetSnapshot, SCRATCH_BYTES};
use crate::api::service::{ConnectionInfo, Service};
use crate::shard::Core;
use crate::shard::balance::{Balance, Handover, Seat};
use crate::shard::budget::{Budget, Share};
use crate::shard::shutdown::Shutdown;

#[cfg(test)]
mod tests;

/// Pause after the kernel refused to accept (no descriptors, no memory): the cause does not go away at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Connections accepted in one go before others get their turn.
const ACCEPTS_PER_TURN: usize = 16;

/// How long connections have to end once they are told to end at once.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How a core gives a connection to another: through the mailbox, or back when that refuses.
pub type HandOver = Box<dyn Fn(Core, Handover) -> Result<(), Handover>>;

/// What a server is made of.
pub struct ServerParts {
    /// The core it runs on.
    pub core: Core,
    /// Answers the requests.
    pub service: Rc<dyn Service>,
    /// The core's memory.
    pub budget: Budget,
    /// Bounds and timeouts.
    pub settings: NetSettings,
    /// Shared by all cores.
    pub balance: Balance,
    /// The way to other cores.
    pub hand_over: HandOver,
    /// Names of the listeners, in their order.
    pub listeners: Vec<String>,
}

/// One core's server. Cheap to clone.
#[derive(Clone)]
pub struct Server(Rc<ServerCore>);

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("core", &self.0.core).finish_non_exhaustive()
    }
}

/// What the connections of a core share.
pub(super) struct ServerCore {
    core: Core,
    pub(super) service: Rc<dyn Service>,
    pub(super) budget: Budget,
    settings: NetSettings,
    pub(super) counters: NetCounters,
    /// Received into by every connection, for as long as one receive takes: idle connections hold no buffer.
    pub(super) scratch: RefCell<Box<[u8]>>,
    pub(super) frame_limits: Rc<FrameLimits>,
    pub(super) partial: Rc<PartialFrames>,
    listeners: Vec<Rc<str>>,
    balance: Balance,
    hand_over: HandOver,
    connections: RefCell<HashMap<u64, Rc<Connection>>>,
    /// Connections whose client takes nothing of its reply at the moment.
    blocked: RefCell<HashSet<u64>>,
    next_id: Cell<u64>,
    draining: Cell<bool>,
    /// Who waits for the last connection to end.
    empty: RefCell<Option<Waker>>,
}

impl Server {
    /// A server without connections.
    pub fn new(parts: ServerParts) -> Self {
        let partial = PartialFrames::new(parts.budget.pool(Share::PartialFrames).clone());
        let frame_limits = FrameLimits {
            request_bytes_max: parts.settings.request_bytes_max,
            requests: parts.budget.pool(Share::Requests).clone(),
            partial: partial.clone(),
        };
        Self(Rc::new(ServerCore {
            core: parts.core,
            service: parts.service,
            budget: parts.budget,
            settings: parts.settings,
            counters: NetCounters::default(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
            frame_limits: Rc::new(frame_limits),
            partial,
            listeners: parts.listeners.iter().map(|name| Rc::from(name.as_str())).collect(),
            balance: parts.balance,
            hand_over: parts.hand_over,
            connections: RefCell::default(),
            blocked: RefCell::default(),
            next_id: Cell::new(1),
            draining: Cell::new(false),
            empty: RefCell::new(None),
        }))
    }

    /// What it has done so far.
    pub fn snapshot(&self) -> NetSnapshot {
        self.0.counters.snapshot()
    }

    /// Serves the listeners until a stop is requested; then accepts no more, finishes what was dispatched
    /// (within the drain timeout) and closes every connection.
    pub async fn serve(&self, listeners: Vec<CoreListener>, shutdown: &Shutdown) {
        let accepting: Vec<_> = listeners
            .into_iter()
            .enumerate()
            .map(|(index, listener)| glommio::spawn_local(accept(self.0.clone(), index, listener)))
            .collect();
        let stop = async {
            shutdown.requested().await;
            for task in accepting {
                task.cancel().await;
            }
            self.drain().await;
        };
        stop.or(self.0.sweep()).await;
    }

    /// Takes over a connection that another core accepted.
    pub fn adopt(&self, handover: Handover) {
        let Handover { socket, seat, listener } = handover;
        // SAFETY: the descriptor is a connected TCP socket that this value owned, and owns no more.
        #[allow(unsafe_code)]
        let stream = unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) };
        self.0.open(stream, seat, listener);
    }

    async fn drain(&self) {
        let server = &self.0;
        server.draining.set(true);
        for connection in server.all() {
            connection.finish(CloseReason::Shutdown);
        }
        if !server.emptied_within(server.settings.drain_timeout).await {
            let left = server.connections.borrow().len();
            let seconds = server.settings.drain_timeout.as_secs_f32();
            tracing::warn!(core = %server.core, "{left} connections were not answered within {seconds} s and are closed");
            for connection in server.all() {
                connection.close(CloseReason::Shutdown);
            }
            server.emptied_within(CLOSE_TIMEOUT).await;
        }
    }
}

impl ServerCore {
    fn all(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().values().cloned().collect()
    }

    /// Starts a connection on this core.
    fn open(self: &Rc<Self>, stream: TcpStream, seat: Seat, listener: usize) {
        if self.draining.get() {
            return;
        }
        // A client that is gone already has no address.
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
        let _ = stream.set_nodelay(true);
        let id = self.next_id.replace(self.next_id.get() + 1);
        let info = ConnectionInfo { id, peer, local, listener: self.listener_name(listener) };
        let connection = Connection::new(self.clone(), info, stream);
        self.connections.borrow_mut().insert(id, connection.clone());
        self.counters.change(|counters| {
            counters.accepted += 1;
            counters.connections += 1;
        });
        let server = self.clone();
        glommio::spawn_local(async move {
            let reason = connection::run(connection).await;
            drop(seat);
            server.ended(id, reason);
        })
        .detach();
    }

    fn listener_name(&self, index: usize) -> Rc<str> {
        self.listeners.get(index).cloned().unwrap_or_else(|| Rc::from("?"))
    }

    fn ended(&self, id: u64, reason: CloseReason) {
        let connection = self.connections.borrow_mut().remove(&id);
        drop(connection);
        self.blocked.borrow_mut().remove(&id);
        self.counters.change(|counters| {
            counters.connections -= 1;
            counters.closed[reason as usize] += 1;
        });
        if self.connections.borrow().is_empty() {
            let waker = self.empty.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// A connection's client has stopped taking its reply, or goes on.
    pub(super) fn blocked(&self, id: u64, blocked: bool) {
        let mut all = self.blocked.borrow_mut();
        if blocked {
            all.insert(id);
        } else {
            all.remove(&id);
        }
    }

    async fn emptied_within(&self, timeout: Duration) -> bool {
        let emptied = poll_fn(|cx| {
            if self.connections.borrow().is_empty() {
                return Poll::Ready(true);
            }
            *self.empty.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        });
        let timeout = async {
            glommio::timer::sleep(timeout).await;
            false
        };
        emptied.or(timeout).await
    }

    /// Looks for frames that stopped arriving and readers that stopped reading, for ever.
    async fn sweep(&self) {
        let shortest = self.settings.frame_timeout.min(self.settings.reply_stall_timeout);
        let interval = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            glommio::timer::sleep(interval).await;
            let now = Instant::now();
            self.partial.sweep(now, self.settings.frame_timeout);
            if self.budget.pool(Share::Replies).waiting() > 0 {
                self.close_stalled_readers(now);
            }
        }
    }

    fn close_stalled_readers(&self, now: Instant) {
        let Some(since) = now.checked_sub(self.settings.reply_stall_timeout) else { return };
        let blocked: Vec<_> = self.blocked.borrow().iter().copied().collect();
        for id in blocked {
            let connection = self.connections.borrow().get(&id).cloned();
            if let Some(connection) = connection.filter(|connection| connection.is_blocked_since(since)) {
                tracing::warn!(connection = id, peer = %connection.info.peer,
                    "connection closed: it has taken nothing of its reply for {:?} while others wait for room in the \
                     replies' share of corelog.memory.bytes", self.settings.reply_stall_timeout);
                connection.close(CloseReason::StalledReader);
            }
        }
    }
}

/// Accepts connections of one listener, for ever.
async fn accept(server: Rc<ServerCore>, index: usize, listener: CoreListener) {
    let name = listener.name.clone();
    let open = match listener.open() {
        Ok(open) => open,
        Err(error) => {
            tracing::error!(core = %server.core, listener = name, "cannot take over the listening socket: {error}");
            return;
        }
    };
    let mut accepted = 0_usize;
    loop {
        match open.listener.accept().await {
            Ok(stream) => {
                place(&server, stream, index);
                accepted += 1;
                if accepted.is_multiple_of(ACCEPTS_PER_TURN) {
                    futures_lite::future::yield_now().await;
                }
            }
            Err(error) => {
                let first = server.counters.snapshot().accept_errors == 0;
                server.counters.change(|counters| counters.accept_errors += 1);
                if is_the_clients(&error) {
                    continue;
                }
                // Once per run: the counter tells the rest.
                if first {
                    tracing::error!(core = %server.core, listener = name,
                        "cannot accept connections: {error}; raise the limit on open files (ulimit -n, LimitNOFILE)");
                }
                glommio::timer::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Whether accepting failed because the client was gone.
fn is_the_clients(error: &glommio::GlommioError<()>) -> bool {
    matches!(error, glommio::GlommioError::IoError(error)
        if matches!(error.kind(), std::io::ErrorKind::ConnectionAborted | std::io::ErrorKind::Interrupted))
}

/// Keeps a fresh connection or gives it to a core that has clearly fewer.
fn place(server: &Rc<ServerCore>, stream: TcpStream, listener: usize) {
    let seat = server.balance.seat(server.core);
    let to = seat.core();
    if to == server.core {
        return server.open(stream, seat, listener);
    }
    // SAFETY: the descriptor is open as long as `stream`, which outlives the borrow.
    #[allow(unsafe_code)]
    let duplicate = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }.try_clone_to_owned();
    let Ok(socket) = duplicate else {
        // No descriptor to spare: it stays.
        return server.open(stream, seat.on(server.core), listener);
    };
    match (server.hand_over)(to, Handover { socket, seat, listener }) {
        Ok(()) => server.counters.change(|counters| counters.handed_over += 1),
        Err(Handover { seat, .. }) => server.open(stream, seat.on(server.core), listener),
    }
}
