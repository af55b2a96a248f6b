//! One broker under test: a raw connection, frames in, replies or a closed connection out.
//!
//! Called by `run`. Deliberately absent: what frames mean.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use crate::names::Names;

/// How long a broker may take to answer. Far beyond every wait that a script asks for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest reply that is believed, in bytes.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// What came back for a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A reply, without its length.
    Answered(Bytes),
    /// The connection was closed instead.
    Closed,
    /// Nothing for a long time.
    Silent,
}

/// A broker and the connection to it.
#[derive(Debug)]
pub struct Peer {
    /// What it is called in reports.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its names for what scripts name nominally.
    pub names: Names,
    stream: Option<TcpStream>,
}

impl Peer {
    /// A broker, not connected yet.
    pub fn new(name: &'static str, address: SocketAddr) -> Self {
        Self { name, address, names: Names::default(), stream: None }
    }

    fn stream(&mut self) -> Result<&mut TcpStream> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)
                .with_context(|| format!("cannot connect to {} at {}", self.name, self.address))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            self.stream = Some(stream);
        }
        self.stream.as_mut().context("connected a moment ago")
    }

    /// Sends a frame under the announced length; the rest of a frame that is shorter than announced never comes.
    ///
    /// # Errors
    /// No connection at all. A connection that breaks meanwhile is an outcome, told by [`Peer::receive`].
    pub fn send(&mut self, frame: &[u8], length: i32) -> Result<()> {
        let mut frame = frame.to_vec();
        self.names.make_real(&mut frame);
        let ends = i64::from(length) > frame.len() as i64;
        let stream = self.stream()?;
        let whole = [&length.to_be_bytes()[..], &frame].concat();
        let _told_by_receive = stream.write_all(&whole);
        if ends {
            let _told_by_receive = stream.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// The next reply, under nominal names.
    ///
    /// # Errors
    /// A reply that is longer than any could be.
    pub fn receive(&mut self) -> Result<Outcome> {
        let name = self.name;
        let stream = self.stream()?;
        let mut length = [0; 4];
        if let Err(error) = stream.read_exact(&mut length) {
            self.stream = None;
            return Ok(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Outcome::Silent,
                _ => Outcome::Closed,
            });
        }
        let length = u32::from_be_bytes(length) as usize;
        ensure!(length <= REPLY_BYTES_MAX, "{name} announces a reply of {length} bytes");
        let mut reply = vec![0; length];
        if stream.read_exact(&mut reply).is_err() {
            self.stream = None;
            return Ok(Outcome::Closed);
        }
        self.names.make_nominal(&mut reply);
        Ok(Outcome::Answered(Bytes::from(reply)))
    }

    /// Ends the connection; the next frame opens another.
    pub fn disconnect(&mut self) {
        self.stream = None;
    }
}
