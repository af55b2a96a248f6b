//! Fetch sessions (KIP-227): what a consumer fetches is remembered, so that requests and responses tell changes only.
//!
//! The rules are Apache Kafka 4.3's (`FetchSession`, `FetchSessionCacheShard`, `FetchManager`). The Fetch API of each core owns one
//! [`SessionCache`]; a session's id says in which core's cache it lies ([`SessionIds`]). Deliberately absent: topics' existence, reading,
//! and the wire.

mod cache;
mod session;
#[cfg(test)]
mod tests;

use std::rc::Rc;

pub use cache::{SessionCache, SessionLimits};
pub use session::{Partition, Slot, Topic};

use crate::controller::TopicId;

/// The id of no session.
pub const NO_SESSION: i32 = 0;
/// The epoch of a request that asks for a new session.
pub const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants no session, and closes the one it names.
pub const FINAL_EPOCH: i32 = -1;
/// How long a session must be unused before any other may take its place, in milliseconds
/// (`KafkaBroker.MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
pub const EVICTION_MS: i64 = 120_000;

/// The epoch after `epoch`: 1 comes after the largest.
pub fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        i32::MAX => 1,
        _ if epoch < 0 => FINAL_EPOCH,
        _ => epoch + 1,
    }
}

/// How a request names a topic: by id from version 13 on, by name before. A session uses one of them throughout.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// Its name.
    Name(Rc<str>),
    /// Its id (KIP-516).
    Id(TopicId),
}

/// What a request says of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// First offset wanted.
    pub fetch_offset: i64,
    /// Bytes of batches from this partition.
    pub max_bytes: i32,
    /// The leader epoch that the client knows, -1 for any.
    pub current_leader_epoch: i32,
    /// The leader epoch of the last record that the client has; negative for none.
    pub last_fetched_epoch: i32,
}

/// What a response says of one partition, as far as it decides whether the partition is told of again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// End of what is durable everywhere; -1 with an error.
    pub high_watermark: i64,
    /// End of what read_committed may see; -1 with an error.
    pub last_stable_offset: i64,
    /// Where the log starts; -1 with an error.
    pub log_start_offset: i64,
    /// Whether there are records.
    pub has_records: bool,
    /// Whether something is told each time: a preferred replica, a diverging epoch.
    pub must_tell: bool,
    /// Whether it is an error: told each time, and the partition once more when it has gone.
    pub failed: bool,
}

impl Told {
    /// Nothing was ever told.
    pub const NOTHING: Self = Self {
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        has_records: false,
        must_tell: false,
        failed: false,
    };
}

/// Which session a request is in, and how it names topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The session's id, or [`NO_SESSION`].
    pub session_id: i32,
    /// [`INITIAL_EPOCH`], [`FINAL_EPOCH`], or the request's number in its session.
    pub epoch: i32,
    /// Whether topics are named by id.
    pub uses_topic_ids: bool,
}

impl Position {
    /// Whether the request lists everything it wants, and not only changes.
    pub fn is_full(&self) -> bool {
        matches!(self.epoch, INITIAL_EPOCH | FINAL_EPOCH)
    }
}

/// Where the partitions of a fetch are listed, and what its answer does to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// In the request; the answer is in no session.
    Sessionless,
    /// In the request; the answer begins a session if there is room for one ([`SessionCache::create`]).
    Full,
    /// In the session; the answer tells changes ([`SessionCache::select`]).
    Incremental {
        /// The session.
        session_id: i32,
        /// Its epoch since this request; another one at the end means that another request came between.
        epoch: i32,
    },
}

/// Why a request is not served in the session it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is no such session (any more): FETCH_SESSION_ID_NOT_FOUND.
    #[error("there is no fetch session {0}; it may have been evicted: begin a new one")]
    IdNotFound(i32),
    /// The request is not the next one of its session: INVALID_FETCH_SESSION_EPOCH.
    #[error("the fetch session is at epoch {expected}, the request at {requested}")]
    InvalidEpoch {
        /// What would have been right.
        expected: i32,
        /// What came.
        requested: i32,
    },
    /// The session names topics in the other way: FETCH_SESSION_TOPIC_ID_ERROR.
    #[error("a fetch session cannot change between topic names and topic ids: begin a new one")]
    TopicIds,
}

/// The ids that the cache of one core may give: each core has an equal, contiguous part of 1 to 2^31-2, so that an id names its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionIds {
    per_core: i32,
    core: u16,
}

impl SessionIds {
    /// The ids of `core` of `cores`.
    pub fn new(core: u16, cores: u16) -> Self {
        Self { per_core: i32::MAX / i32::from(cores.max(1)), core }
    }

    /// The core whose cache an id belongs to; `None` for an id that no core gives.
    pub fn core_of(&self, session_id: i32) -> Option<u16> {
        let number = session_id.checked_sub(1).filter(|number| *number >= 0)?;
        u16::try_from(number / self.per_core).ok()
    }

    /// Whether an id is one of this core's.
    pub fn is_own(&self, session_id: i32) -> bool {
        self.core_of(session_id) == Some(self.core)
    }

    /// The first id at or after a random one that is not `taken`; there are far more ids than sessions.
    fn pick(&self, random: u32, taken: impl Fn(i32) -> bool) -> i32 {
        let first = 1 + self.per_core * i32::from(self.core);
        let mut at = (random % self.per_core.unsigned_abs()) as i32;
        loop {
            let id = first + at;
            if !taken(id) {
                return id;
            }
            at = (at + 1) % self.per_core;
        }
    }
}
