//! The bounds of connections and frames, and what is counted about them.
//!
//! `boot` fills the settings from the configuration; `/metrics` reads the counters. No behaviour.

use std::cell::Cell;
use std::time::Duration;

/// Bytes received at once from a socket into the core's shared buffer.
pub(super) const SCRATCH_BYTES: usize = 64 * 1024;

/// Replies are copied together up to this many bytes per write.
pub(super) const COALESCE_BYTES: usize = 64 * 1024;

/// A segment of at least this many bytes is sent as it is instead of being copied.
pub(super) const COPY_BYTES_MAX: usize = 16 * 1024;

/// Pieces that are sent with one system call.
pub(super) const PIECES_PER_SEND: usize = 32;

/// Bytes of replies that one connection sends before other tasks get their turn.
pub(super) const SENT_BYTES_PER_TURN: usize = 1024 * 1024;

/// Bytes that one connection receives before other tasks get theirs, at most.
pub(super) const RECEIVED_BYTES_PER_TURN: usize = 128 * 1024;

/// Bytes that all connections in the middle of a frame receive between two turns of any other: hundreds of clients may push a large frame
/// each at the same moment, and every other client waits for all of their turns, several times for one request.
pub(super) const RECEIVED_BYTES_PER_ROUND: usize = 2 * 1024 * 1024;

/// A shorter turn than this would be spent on taking turns.
pub(super) const RECEIVED_BYTES_PER_TURN_MIN: usize = 16 * 1024;

/// Requests of one connection that may be dispatched and not yet answered. The next frame is read when one is.
pub const IN_FLIGHT_REQUESTS_MAX: usize = 256;

/// Frames of one connection that are taken before other connections get their turn.
pub(super) const FRAMES_PER_TURN: usize = 32;

/// What a core's connections have to keep to.
#[derive(Debug, Clone)]
pub struct NetSettings {
    /// `socket.request.max.bytes`: the longest frame that is taken, in bytes.
    pub request_bytes_max: usize,
    /// `corelog.frame.timeout.ms`: a frame of which nothing more has arrived for this long ends its connection.
    pub frame_timeout: Duration,
    /// A client that takes nothing of its reply for this long is closed when others wait for room in the replies' share.
    pub reply_stall_timeout: Duration,
    /// How long a drain waits for dispatched requests before it closes their connections.
    pub drain_timeout: Duration,
}

impl Default for NetSettings {
    fn default() -> Self {
        Self {
            request_bytes_max: 100 * 1024 * 1024,
            frame_timeout: Duration::from_secs(30),
            reply_stall_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it.
    Peer,
    /// The socket failed.
    Socket,
    /// A length that is negative or over the limit.
    BadLength,
    /// A frame stopped arriving.
    FrameTimeout,
    /// Its partial frame had waited longest when the share of partial frames was full.
    Evicted,
    /// It took nothing of its reply while others waited for room.
    StalledReader,
    /// The service asked for it (a malformed request, an error with acks=0).
    Service,
    /// A handler panicked.
    Panic,
    /// The broker is stopping.
    Shutdown,
}

impl CloseReason {
    /// All of them, in the order of the counters.
    pub const ALL: [CloseReason; 9] = [
        CloseReason::Peer,
        CloseReason::Socket,
        CloseReason::BadLength,
        CloseReason::FrameTimeout,
        CloseReason::Evicted,
        CloseReason::StalledReader,
        CloseReason::Service,
        CloseReason::Panic,
        CloseReason::Shutdown,
    ];

    /// Name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            CloseReason::Peer => "peer",
            CloseReason::Socket => "socket",
            CloseReason::BadLength => "bad_length",
            CloseReason::FrameTimeout => "frame_timeout",
            CloseReason::Evicted => "evicted",
            CloseReason::StalledReader => "stalled_reader",
            CloseReason::Service => "service",
            CloseReason::Panic => "panic",
            CloseReason::Shutdown => "shutdown",
        }
    }
}

/// A core's network counters, as they are at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetSnapshot {
    /// Connections that are open.
    pub connections: u64,
    /// Connections taken so far, handed over ones included.
    pub accepted: u64,
    /// Connections given to another core.
    pub handed_over: u64,
    /// Times that accepting failed (no descriptors, for example).
    pub accept_errors: u64,
    /// Complete frames.
    pub frames: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Replies sent.
    pub replies: u64,
    /// Ended connections by reason, in the order of [`CloseReason::ALL`].
    pub closed: [u64; CloseReason::ALL.len()],
}

/// The live counters of one core.
#[derive(Debug, Default)]
pub(super) struct NetCounters(Cell<NetSnapshot>);

impl NetCounters {
    pub(super) fn change(&self, change: impl FnOnce(&mut NetSnapshot)) {
        let mut now = self.0.get();
        change(&mut now);
        self.0.set(now);
    }

    pub(super) fn snapshot(&self) -> NetSnapshot {
        self.0.get()
    }
}
