//! The numbers that must not be mixed up: offsets, log ids, epochs; and how tables hash those that are random.

use std::fmt;
use std::hash::Hasher;

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

/// Hashes what is random already, log ids and hashes of keys: hashing them again would be waste.
#[derive(Default)]
pub(crate) struct RandomAlready(u64);

impl Hasher for RandomAlready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }
}
