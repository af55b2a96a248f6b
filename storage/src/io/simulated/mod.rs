//! A disk, a clock and an executor made of memory, every choice of which follows from one seed.
//!
//! Tests of this crate and of the crates above it run on it: tasks in random order, virtual time, writes that complete
//! out of order and are lost or torn by a power cut, errors on demand. The model is at least as hostile as ext4 on a
//! drive with a volatile cache. Deliberately absent: threads, real time, page cache, permissions, links.
//!
//! ```
//! use corelog_storage::io::{File, Io, OpenMode, simulated::Simulation};
//! let simulation = Simulation::new(7);
//! let io = simulation.io();
//! let task = async {
//!     let file = io.open("/log".as_ref(), OpenMode::CreateNew).await?;
//!     file.write_at(io.buffer(4096), 0).await?;
//!     file.flush().await
//! };
//! simulation.block_on(task).expect("no fault was asked for");
//! let io = simulation.crash(); // nobody synced the directory, so the file may be gone
//! # drop(io);
//! ```

mod content;
mod crash_point;
mod disk;
mod executor;
mod faults;
mod handles;
mod random;
mod request;
mod simulation;
mod survivors;
mod trace;

pub use crash_point::CrashPoint;
pub use faults::{Counters, Faults, Operation};
pub use handles::{SimBuf, SimFile, SimIo};
pub use random::Random;
pub use simulation::Simulation;
pub use survivors::Survivors;

#[cfg(test)]
mod tests;
