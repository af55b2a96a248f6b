//! Bytes on disk: record batches, a journal per core, segments, checkpoints and recovery.
//!
//! Knows batches, offsets and log ids; knows nothing of producers, groups or the network. Everything that touches
//! a disk, a clock or a task goes through [`io`], so that the whole crate also runs on a simulated disk.

pub mod batch;
pub mod checkpoint;
pub mod compaction;
pub mod error;
pub mod io;
pub mod journal;
pub mod log;
pub mod recovery;
pub mod retention;
pub mod scrub;
pub mod segment;
pub mod store;
pub mod throttle;
pub mod types;

pub use error::{Result, StorageError};
