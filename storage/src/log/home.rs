//! What a log shares with its neighbours: the core it runs on and the log directory it lies in.
//!
//! Built by the store, held by every log. A directory that failed stays failed: all its logs answer so, and nothing more is
//! written. Deliberately absent: when to write back (`store::plan`) and how a round goes (`store::round`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::{Rc, Weak};

use super::Log;
use super::cache::CacheBudget;
use super::files::OpenFiles;
use super::gate::{Gate, Signal};
use super::seldom::Seldom;
use super::tables::Tables;
use crate::StorageError;
use crate::checkpoint::CheckpointLog;
use crate::io::Io;
use crate::journal::Journal;
use crate::scrub::ScrubStats;
use crate::store::graves::Graves;
use crate::types::LogId;

/// Rules that a test may break to prove that the simulation notices. For tests only; everything is false by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bugs {
    /// A batch can be read as soon as it is appended.
    pub show_before_durable: bool,
    /// Checkpoints leave out the tenant's snapshot.
    pub lose_tenant_state: bool,
    /// A new log's directory, and the directories of new segments, are not made durable.
    pub skip_directory_flush: bool,
    /// A checkpoint is written while the segments it names are not flushed.
    pub skip_segment_flush: bool,
    /// The bytes of a partial last block are taken from a little before it.
    pub misplace_tail: bool,
    /// What a checkpoint covers is evicted, and a little more.
    pub evict_uncovered: bool,
    /// The journal's space is released before the checkpoint is written.
    pub release_before_checkpoint: bool,
    /// Blocks are written only to a segment whose file is not yet durable in its directory.
    pub write_into_new_files: bool,
    /// A new log start is acknowledged before its journal entry is durable.
    pub acknowledge_log_start_early: bool,
    /// Checkpoints repeat the log start of the checkpoint before.
    pub forget_log_start: bool,
    /// The files of segments below the log start are removed before the checkpoint says so.
    pub remove_before_checkpoint: bool,
    /// Sweeping takes segments that no checkpoint has closed yet for remains.
    pub sweep_open_segments: bool,
    /// A compacted segment is swapped in before it is flushed.
    pub swap_before_flush: bool,
    /// The files of the segments that compaction replaces are removed before the checkpoint says so.
    pub replace_before_checkpoint: bool,
    /// Compaction drops tombstones as soon as it meets them.
    pub drop_tombstones_early: bool,
    /// Compaction takes the newest record of a key for an older one.
    pub lose_newest_records: bool,
    /// Retention takes what is not durable yet, too.
    pub expire_undurable_records: bool,
    /// Whatever retention is to take, it takes the active segment too.
    pub expire_active_segment: bool,
    /// Scrub takes the last block of an active segment from its file, where it may be older or not be at all.
    pub scrub_without_tail: bool,
    /// Scrub does not compare hashes.
    pub scrub_trusts_hashes: bool,
    /// A segment's table is made again without a look at what the batches' own checksums leave out.
    pub trust_batch_headers: bool,
}

/// An append that waits for room in a directory's journal.
pub(crate) struct Hungry<I: Io>(Rc<Directory<I>>);

impl<I: Io> Drop for Hungry<I> {
    fn drop(&mut self) {
        self.0.hungry.set(self.0.hungry.get() - 1);
    }
}

/// What all logs of a core share.
pub(crate) struct Core<I: Io> {
    pub(crate) io: I,
    pub(crate) number: u32,
    pub(crate) files: OpenFiles<I>,
    pub(crate) cache: CacheBudget<I>,
    pub(crate) tables: Tables,
    pub(crate) cold_reads: Rc<Gate>,
    /// Bytes that cold reads under way may hold.
    pub(crate) cold_bytes: Cell<u64>,
    /// What scrubbing has read and found.
    pub(crate) scrubbed: Cell<ScrubStats>,
    /// A log directory has failed.
    pub(crate) dir_failed: Rc<Signal>,
    pub(crate) bugs: Bugs,
}

/// Appends in one log directory that may have their segment's file open at once, to reserve space or to write to it with a commit.
pub(crate) const APPENDING_FILES_MAX: usize = 16;

/// One log directory as one core uses it: with the core's own journal and checkpoint log.
pub(crate) struct Directory<I: Io> {
    pub(crate) path: PathBuf,
    pub(crate) journal: Rc<Journal<I>>,
    pub(crate) checkpoint: Rc<CheckpointLog<I>>,
    /// The journal's session, and the position from which on it is needed, as the last checkpoint names it.
    pub(crate) session: u64,
    pub(crate) live_position: Cell<u64>,
    /// Whoever commits to the checkpoint log holds a pass until it has taken over what it committed; a rewrite, which must say
    /// all that was committed, holds all of them.
    pub(crate) commit_passes: Rc<Gate>,
    /// Up to this many bytes the checkpoint file is left as it is.
    pub(crate) rewrite_bytes_min: u64,
    /// One rewrite at a time.
    pub(crate) rewrite_turn: Rc<Gate>,
    /// Ordered, so that a simulated run follows from its seed alone.
    pub(crate) logs: RefCell<BTreeMap<LogId, Weak<Log<I>>>>,
    /// Logs with bytes that no checkpoint covers, each once.
    pub(crate) dirty: RefCell<Vec<Rc<Log<I>>>>,
    pub(crate) dirty_bytes: Cell<u64>,
    /// When the first of `dirty` was listed.
    pub(crate) dirty_since_ns: Cell<Option<u64>>,
    /// The tail cache waits for the next round, to evict what that covers.
    pub(crate) pressed: Cell<bool>,
    /// Appends that wait for room in the journal.
    pub(crate) hungry: Cell<usize>,
    /// Bytes of the journal in use, and bytes not covered by a checkpoint, from which on a round is due.
    pub(crate) journal_due_bytes: u64,
    pub(crate) dirty_due_bytes: u64,
    /// Journal position behind the last entry appended.
    pub(crate) appended: Cell<u64>,
    /// Wakes the directory's write-back task.
    pub(crate) work: Signal,
    /// [`APPENDING_FILES_MAX`] at a time.
    pub(crate) files_turn: Rc<Gate>,
    /// One round at a time.
    pub(crate) round_turn: Rc<Gate>,
    pub(crate) rounds: Cell<u64>,
    /// Files of removed segments that stay for a while.
    pub(crate) graves: Graves,
    /// That appends are refused because the disk is full.
    pub(crate) told_full: Seldom,
    /// That there is no room for a checkpoint.
    pub(crate) told_no_checkpoint: Seldom,
    pub(crate) closing: Cell<bool>,
    pub(crate) failed: RefCell<Option<StorageError>>,
    /// The core's: wakes whoever must hear of it.
    pub(crate) dir_failed: Rc<Signal>,
}

impl<I: Io> Directory<I> {
    /// The error that every further operation here gets, once something failed.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        match &*self.failed.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Whether so much waits for write-back that a round is due at once.
    pub(crate) fn is_full(&self) -> bool {
        self.journal.used_bytes() >= self.journal_due_bytes || self.dirty_bytes.get() >= self.dirty_due_bytes
    }

    /// Asks for a round now.
    pub(crate) fn press(&self) {
        self.pressed.set(true);
        self.work.set();
    }

    /// Counts an append that waits for room, for as long as the guard lives: rounds follow one another until there is some.
    pub(crate) fn hungry(self: &Rc<Self>) -> Hungry<I> {
        self.hungry.set(self.hungry.get() + 1);
        self.work.set();
        Hungry(self.clone())
    }

    /// Takes the directory out of use: everyone who waits is told, nothing is retried.
    pub(crate) fn fail(&self, cause: &StorageError) -> StorageError {
        let error = match cause {
            StorageError::DirectoryFailed { .. } => cause.clone(),
            _ => StorageError::DirectoryFailed { dir: self.path.clone(), cause: cause.to_string() },
        };
        {
            let mut failed = self.failed.borrow_mut();
            if let Some(earlier) = &*failed {
                return earlier.clone();
            }
            *failed = Some(error.clone());
        }
        self.journal.fail(&error);
        let logs: Vec<_> = self.logs.borrow().values().filter_map(Weak::upgrade).collect();
        for log in logs {
            log.end(error.clone());
        }
        self.dirty.borrow_mut().clear();
        self.dirty_bytes.set(0);
        self.work.set();
        self.close_graves();
        self.dir_failed.set();
        error
    }
}
