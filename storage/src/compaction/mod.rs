//! Compaction's decisions, as Kafka's log cleaner makes them: which logs are due, which records stay, how segments are grouped.
//!
//! Pure: the log's cleaner (`log::cleaning`) reads, asks here, and writes. What only producers and transactions can know is asked
//! of a [`Retain`]. Deliberately absent: files, the clock, and when to look.

mod key_map;
mod plan;
mod rules;

pub use key_map::{ENTRY_BYTES, KeyMap};
pub use plan::{Dirty, Dust, Policy, dirty, groups};
pub(crate) use rules::{Cleaner, Fate, map_keys};
pub use rules::{ControlFate, Retain, RetainByKey};

#[cfg(test)]
mod tests;
