//! The numbers that must not be mixed up: offsets, log ids, epochs. Newtypes only, no behaviour.

use std::fmt;

/// Names one incarnation of a partition's log. A topic that is deleted and created again gets a new one, so that a
/// replayed journal can never resurrect its records. Random, never reused, never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log-{:016x}", self.0)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Identity of a topic as Kafka has it (KIP-516): 16 bytes of a UUID.
pub type TopicId = [u8; 16];

/// A record's offset in its partition, as Kafka counts it: from 0, never negative in a stored batch.
pub type Offset = i64;

/// A partition's leader epoch (KIP-101). Kafka's -1 means unknown.
pub type LeaderEpoch = i32;
