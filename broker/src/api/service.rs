//! The seam between `net` and `api`: what a connection tells about itself, and what comes back for a frame.
//!
//! `api` implements [`Service`]; `connection` calls it. No sockets and no tasks in here.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::shard::budget::Charge;

/// What is known of a connection before its first request.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Unique on its core while the process runs; never reused.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address the client dialled, as this machine sees it: the best answer when nothing is advertised.
    pub local: SocketAddr,
    /// Name of the listener it came in through (`PLAINTEXT`, for example).
    pub listener: Rc<str>,
}

/// What is sent back for one request.
#[derive(Debug, Default)]
pub struct Reply {
    /// The whole response with its 4-byte length, in pieces that are sent in order; `None` for a request that gets no
    /// response (acks=0). Small pieces are copied together, large ones are sent as they are.
    pub segments: Option<Vec<Bytes>>,
    /// Bytes of the replies' share that were charged before the segments were made. What is missing is charged
    /// by the connection before it writes.
    pub charge: Option<Charge>,
    /// Close the connection after these bytes.
    pub close_after: bool,
    /// Read nothing more from the connection for this long after these bytes (throttling, KIP-219). Milliseconds.
    pub mute_ms: u32,
}

impl Reply {
    /// A response in one piece (length included).
    pub fn bytes(response: Bytes) -> Self {
        Self { segments: Some(vec![response]), ..Self::default() }
    }

    /// A response in several pieces (length included in the first).
    pub fn segments(segments: Vec<Bytes>) -> Self {
        Self { segments: Some(segments), ..Self::default() }
    }

    /// No response, as for acks=0.
    pub fn none() -> Self {
        Self::default()
    }

    /// No response, and the connection is closed once the replies before it are written.
    pub fn close() -> Self {
        Self { close_after: true, ..Self::default() }
    }

    /// Length of all segments, in bytes.
    pub fn len(&self) -> usize {
        self.segments.iter().flatten().map(Bytes::len).sum()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The second half of a request: resolves to its reply.
///
/// Only the oldest unanswered request of a connection is polled, so a reply is built when it can be written and not
/// before. What must happen at dispatch (fixing the order, reading the clock for a deadline) belongs in the first half.
pub type Answer = Pin<Box<dyn Future<Output = Reply>>>;

/// What the service made of a frame.
pub struct Dispatched {
    /// A barrier starts when everything before it on its connection is answered, and nothing starts until it is
    /// answered itself. Everything but Produce and Fetch is one.
    pub barrier: bool,
    /// The first half of the request: when it resolves, the request's order is fixed on every core, and the next request
    /// of the connection may start. It is not polled before the request may start, so making it must have no effect.
    pub start: Pin<Box<dyn Future<Output = Answer>>>,
}

impl Dispatched {
    /// A request that may overlap with its neighbours (Produce, Fetch).
    pub fn pipelined(start: impl Future<Output = Answer> + 'static) -> Self {
        Self { barrier: false, start: Box::pin(start) }
    }

    /// A request that runs alone on its connection.
    pub fn barrier(reply: impl Future<Output = Reply> + 'static) -> Self {
        let answer: Answer = Box::pin(reply);
        Self { barrier: true, start: Box::pin(std::future::ready(answer)) }
    }
}

impl fmt::Debug for Dispatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatched").field("barrier", &self.barrier).finish_non_exhaustive()
    }
}

/// Answers requests. One per core, shared by its connections.
pub trait Service: 'static {
    /// Takes a frame (without its 4-byte length) and says how to answer it. Called when the frame is complete; must not
    /// block, and must have no effect before the returned future is polled.
    ///
    /// `charge` stands for the frame's bytes in the requests' share: keep it as long as the frame's bytes. Futures may be
    /// dropped at any await when the connection ends.
    fn dispatch(&self, connection: &Rc<ConnectionInfo>, frame: BytesMut, charge: Charge) -> Dispatched;
}
