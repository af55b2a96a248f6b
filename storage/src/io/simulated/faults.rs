//! What goes wrong on purpose, and the count of what was asked of the disk. Set by tests, consulted by the executor
//! when an operation is issued. Deliberately absent: what a power cut does (see `content` and `disk`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::random::Random;

/// The kinds of operation that can be counted and made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`File::read_at`](crate::io::File::read_at).
    Read,
    /// [`File::write_at`](crate::io::File::write_at).
    Write,
    /// [`File::flush`](crate::io::File::flush).
    Flush,
    /// [`File::allocate`](crate::io::File::allocate).
    Allocate,
    /// [`File::set_len`](crate::io::File::set_len).
    SetLen,
    /// [`Io::open`](crate::io::Io::open), whether or not it creates the file.
    Open,
    /// [`Io::create_dir_all`](crate::io::Io::create_dir_all).
    CreateDir,
    /// [`Io::rename`](crate::io::Io::rename).
    Rename,
    /// [`Io::remove_file`](crate::io::Io::remove_file) and [`Io::remove_dir_all`](crate::io::Io::remove_dir_all).
    Remove,
    /// [`Io::sync_dir`](crate::io::Io::sync_dir).
    SyncDir,
    /// [`Io::sync_file_system`](crate::io::Io::sync_file_system).
    SyncFileSystem,
    /// Lengths, listings and free space.
    Inspect,
}

impl Operation {
    /// Whether the operation can change what a restart finds: these are the steps of
    /// [`Simulation::crash_after_steps`](super::Simulation::crash_after_steps).
    pub fn is_step(self) -> bool {
        !matches!(self, Self::Read | Self::Inspect)
    }
}

/// How operations fail. The default is a disk without faults and without a limit.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// One read in so many fails with EIO; 0 means none.
    pub read_error_one_in: u64,
    /// One write in so many fails with EIO, having written all, nothing or a torn part; 0 means none.
    pub write_error_one_in: u64,
    /// One flush, sync_dir or sync_file_system in so many fails with EIO; 0 means none. What a failed flush covered
    /// is kept, lost or torn there and then, and no later flush makes it durable although reads still show it.
    pub flush_error_one_in: u64,
    /// Every operation on these paths and all below them fails with EIO: a disk that died.
    pub broken_below: Vec<PathBuf>,
    /// Size of the disk in bytes; allocations and writes beyond it fail with ENOSPC. None means 1 TiB.
    pub capacity_bytes: Option<u64>,
}

/// How many operations of each kind were issued since the simulation began.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    issued: BTreeMap<Operation, u64>,
    steps: u64,
}

impl Counters {
    /// Operations of this kind issued so far, failed ones included.
    pub fn issued(&self, operation: Operation) -> u64 {
        self.issued.get(&operation).copied().unwrap_or(0)
    }

    /// Steps issued so far: operations for which [`Operation::is_step`] holds.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn count(&mut self, operation: Operation) -> u64 {
        self.steps += u64::from(operation.is_step());
        let issued = self.issued.entry(operation).or_default();
        *issued += 1;
        *issued
    }
}

/// Faults in force together with single failures that were ordered in advance.
#[derive(Debug, Default)]
pub(super) struct FaultPlan {
    pub(super) faults: Faults,
    pub(super) counters: Counters,
    /// Ordinal numbers (as counted by `counters`) of operations that must fail.
    ordered: BTreeMap<Operation, Vec<u64>>,
}

impl FaultPlan {
    /// Orders the `nth` operation of this kind from now on (1 is the next) to fail.
    pub(super) fn fail_nth(&mut self, operation: Operation, nth: u64) {
        assert!(nth > 0, "the next operation is number 1");
        let ordinal = self.counters.issued(operation) + nth;
        self.ordered.entry(operation).or_default().push(ordinal);
    }

    /// Counts an operation on `paths` and decides whether it fails.
    pub(super) fn decide(
        &mut self,
        operation: Operation,
        path: &std::path::Path,
        random: &mut Random,
    ) -> bool {
        let ordinal = self.counters.count(operation);
        if self.faults.broken_below.iter().any(|broken| path.starts_with(broken)) {
            return true;
        }
        if let Some(ordered) = self.ordered.get_mut(&operation)
            && let Some(at) = ordered.iter().position(|&due| due == ordinal)
        {
            ordered.swap_remove(at);
            return true;
        }
        let one_in = match operation {
            Operation::Read => self.faults.read_error_one_in,
            Operation::Write => self.faults.write_error_one_in,
            Operation::Flush | Operation::SyncDir | Operation::SyncFileSystem => {
                self.faults.flush_error_one_in
            }
            _ => 0,
        };
        random.one_in(one_in)
    }
}
