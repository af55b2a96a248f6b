//! The per-core runtime: what a core is, its memory, its messages to other cores, and who watches over it.
//!
//! Called by `boot`, `net`, `api` and `drive`. Knows neither sockets nor Kafka: that is `net` and `api`, and the
//! concrete messages between cores are defined by whoever sends them.

pub mod balance;
pub mod budget;
pub mod executor;
pub mod mailbox;
pub mod message;
pub mod placement;
pub mod preflight;
pub mod runtime;
pub mod shutdown;
pub mod view;
pub mod watchdog;

use std::fmt;

/// A data core of this process, counted from 0. Not a CPU number: `executor` says which CPU it is pinned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Core(pub u16);

impl Core {
    /// The core's number as an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "core-{}", self.0)
    }
}
