//! One partition's log: appended through the core's journal, read from its tail cache or its segments.
//!
//! Made by `store`, used by the broker's partitions. A batch is visible when it is durable under the configured flush, never
//! before. Deliberately absent: what to keep (`retention`), truncation, and when to write back (`store`).

mod append;
pub(crate) mod cache;
mod cleaned;
mod cleaning;
mod cold;
mod expiry;
pub(crate) mod files;
pub(crate) mod gate;
pub(crate) mod home;
mod identity;
mod read;
pub(crate) mod records;
pub(crate) mod remains;
mod scrubbing;
pub(crate) mod seldom;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod tables;
mod tail;
mod timestamps;
pub(crate) mod together;
pub(crate) mod write_back;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

pub use append::{Appended, Permit};
pub use cleaning::{Compacted, CompactionMeans};
pub use cold::COLD_READ_BYTES_MAX;
pub use home::Bugs;
pub(crate) use identity::parse_dir_name;
pub use identity::{LeaderEpochs, LogConfig, LogIdentity, NoTenant, Tenant, parse_deleted_dir_name};
pub use state::{ClosedSegment, Covered};
pub use tail::Slices;

use crate::io::{Io, OpenMode};
use crate::journal::Committed;
use crate::journal::waiters::Waiters;
use crate::types::Offset;
use crate::{Result, StorageError};
use files::{FileKey, Part};
use gate::Gate;
use home::{Core, Directory};
use seldom::Seldom;
use state::{SegmentId, State};
use tail::Evictable;

/// One incarnation of a partition's log on the core that owns it.
pub struct Log<I: Io> {
    identity: LogIdentity,
    /// Grows when the log moves to another core.
    owner_epoch: u32,
    config: Cell<LogConfig>,
    path: PathBuf,
    core: Rc<Core<I>>,
    dir: Rc<Directory<I>>,
    state: RefCell<State>,
    /// Everything below is durable under the configured flush.
    visible_end: Cell<Offset>,
    waiters: Waiters,
    append_turn: Rc<Gate>,
    write_turn: Rc<Gate>,
    cleaning_turn: Rc<Gate>,
    tenant: Rc<RefCell<dyn Tenant>>,
    /// When retention first looked at it, wall clock in ms.
    seen_ms: Cell<Option<i64>>,
    /// That something of it is not what was written.
    told_corrupt: Seldom,
    /// Why the log answers nothing any more.
    ended: RefCell<Option<StorageError>>,
    me: Weak<Self>,
}

/// Shared by all logs that have one and the same tenant type or none.
pub type SharedTenant = Rc<RefCell<dyn Tenant>>;

impl<I: Io> Log<I> {
    /// A log as a checkpoint describes it; everything in it is durable.
    pub(crate) fn new(
        identity: LogIdentity,
        owner_epoch: u32,
        config: LogConfig,
        homes: (Rc<Core<I>>, Rc<Directory<I>>),
        (closed, covered): (Vec<ClosedSegment>, Covered),
        tenant: SharedTenant,
    ) -> Rc<Self> {
        let (core, dir) = homes;
        Rc::new_cyclic(|me| Self {
            path: dir.path.join(identity.dir_name()),
            identity,
            owner_epoch,
            config: Cell::new(config),
            core,
            visible_end: Cell::new(covered.next_offset),
            state: RefCell::new(State::new(closed, covered)),
            waiters: Waiters::default(),
            append_turn: Gate::new(1),
            write_turn: Gate::new(1),
            cleaning_turn: Gate::new(1),
            tenant,
            seen_ms: Cell::new(None),
            told_corrupt: Seldom::default(),
            ended: RefCell::new(dir.check().err()),
            dir,
            me: me.clone(),
        })
    }

    /// Which partition and incarnation this is.
    pub fn identity(&self) -> &LogIdentity {
        &self.identity
    }

    pub(crate) fn append_turn(&self) -> &Rc<Gate> {
        &self.append_turn
    }

    pub(crate) fn write_turn(&self) -> &Rc<Gate> {
        &self.write_turn
    }

    /// Bytes appended that no checkpoint covers.
    pub(crate) fn uncovered_bytes(&self) -> u64 {
        self.state.borrow().uncovered_bytes()
    }

    /// The log directory that this log's own lies in.
    pub(crate) fn home_dir(&self) -> &Rc<Directory<I>> {
        &self.dir
    }

    /// The log's own directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The current settings.
    pub fn config(&self) -> LogConfig {
        self.config.get()
    }

    /// Changes the settings, from the next append on.
    pub fn set_config(&self, config: LogConfig) {
        self.config.set(config);
    }

    /// Who derives state from the batches.
    pub fn tenant(&self) -> &SharedTenant {
        &self.tenant
    }

    /// First offset that can be read.
    pub fn log_start_offset(&self) -> Offset {
        self.state.borrow().log_start_offset
    }

    /// Offset that the next batch gets. What lies between [`Self::visible_end_offset`] and this is on its way to the disk.
    pub fn log_end_offset(&self) -> Offset {
        self.state.borrow().next_offset
    }

    /// Everything below is durable under the configured flush, and can be read.
    pub fn visible_end_offset(&self) -> Offset {
        self.visible_end.get()
    }

    /// The leader epochs that wrote to this log (KIP-101).
    pub fn leader_epochs(&self) -> LeaderEpochs {
        self.state.borrow().leader_epochs.clone()
    }

    /// Bytes of the log's batches, those on their way to the disk included.
    pub fn size_bytes(&self) -> u64 {
        let state = self.state.borrow();
        let closed: u64 = state.closed.iter().map(|segment| segment.len).sum();
        closed + state.open_segments().map(|segment| segment.len).sum::<u64>()
    }

    /// How many segments the log has, the active one included.
    pub fn segment_count(&self) -> usize {
        let state = self.state.borrow();
        state.closed.len() + state.open_segments().count()
    }

    /// Segments that were rolled and written whole, oldest first.
    pub fn closed_segments(&self) -> Vec<ClosedSegment> {
        self.state.borrow().closed.clone()
    }

    /// Resolves when a batch beyond `offset` is visible, with the visible end. Woken once, never polled; dropping the future
    /// cancels it. How a long poll waits.
    ///
    /// # Errors
    /// `Closed` when the log is closed or deleted, `DirectoryFailed` when its disk failed.
    pub async fn watch(&self, offset: Offset) -> Result<Offset> {
        self.visible_at_least(offset.saturating_add(1)).await
    }

    /// Resolves when everything below `next_offset` is durable under the configured flush.
    ///
    /// # Errors
    /// As [`Self::watch`]; the batch may or may not be found again after a restart then.
    pub async fn durable(&self, next_offset: Offset) -> Result<()> {
        self.visible_at_least(next_offset).await.map(drop)
    }

    async fn visible_at_least(&self, end_offset: Offset) -> Result<Offset> {
        let threshold = u64::try_from(end_offset).unwrap_or(0);
        self.waiters
            .until(threshold, || match self.check() {
                _ if self.visible_end.get() >= end_offset => Some(Ok(self.visible_end.get())),
                Ok(()) => None,
                Err(error) => Some(Err(error)),
            })
            .await
    }

    /// The error that every operation gets once the log is closed, deleted, or its directory failed.
    ///
    /// # Errors
    /// `Closed`, `DirectoryFailed`.
    pub fn check(&self) -> Result<()> {
        match &*self.ended.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// An error while a file of this log was opened or written: final for the directory, unless the disk is full or the log was deleted
    /// meanwhile, and its directory with it.
    fn or_fail(&self, error: StorageError) -> StorageError {
        if error.is_disk_full() {
            return error;
        }
        self.check().err().unwrap_or_else(|| self.dir.fail(&error))
    }

    /// Ends the log: everyone who waits is told.
    pub(crate) fn end(&self, error: StorageError) {
        self.ended.borrow_mut().get_or_insert(error);
        self.waiters.wake_all();
    }

    /// Makes everything below `end_offset` visible.
    fn show(&self, end_offset: Offset) {
        if end_offset > self.visible_end.get() {
            self.visible_end.set(end_offset);
            self.waiters.wake(u64::try_from(end_offset).unwrap_or(0));
        }
    }

    /// Lists the log for write-back when something about it changed without an append.
    pub(crate) fn list_dirty(&self) {
        let newly_dirty = !std::mem::replace(&mut self.state.borrow_mut().listed_dirty, true);
        self.note_dirty(newly_dirty, 0);
    }

    /// Lists the log for the next write-back, because this one came to nothing.
    pub(crate) fn list_again(self: &Rc<Self>) {
        if !std::mem::replace(&mut self.state.borrow_mut().listed_dirty, true) {
            self.dir.dirty.borrow_mut().push(self.clone());
        }
    }

    /// Lists the log for write-back after an append of `len` bytes.
    fn note_dirty(&self, newly_dirty: bool, len: u64) {
        let dir = &self.dir;
        dir.dirty_bytes.set(dir.dirty_bytes.get() + len);
        if newly_dirty {
            if dir.dirty_since_ns.get().is_none() {
                dir.dirty_since_ns.set(Some(self.core.io.now_ns()));
                dir.work.set();
            }
            dir.dirty.borrow_mut().extend(self.me.upgrade());
        }
        if dir.is_full() || !self.core.cache.settle() {
            dir.press();
        }
    }

    /// Evicts a unit of the tail cache; false when no checkpoint covers it yet.
    pub(crate) fn evict(&self, unit: Evictable) -> bool {
        let mut state = self.state.borrow_mut();
        let mut covered = state.covered.next_offset;
        // A log that has ended is read by nobody, and no checkpoint will cover it. Who still writes it back needs it.
        if self.check().is_err() && self.write_turn.try_pass().is_some() {
            covered = state.next_offset;
        }
        if self.core.bugs.evict_uncovered {
            covered = state.next_offset;
        }
        if unit.next_offset > covered {
            return false;
        }
        let before = state.cache.charged_bytes();
        state.cache.evict(unit.next_offset);
        self.core.cache.charge(before, state.cache.charged_bytes());
        true
    }

    /// Opens one of a segment's files through the core's cache.
    pub(crate) async fn open_file(
        &self,
        segment: SegmentId,
        part: Part,
        mode: OpenMode,
    ) -> Result<Rc<I::File>> {
        let key = FileKey { log_id: self.identity.log_id, segment, part };
        let path = self.path.join(part.file_name(segment));
        let file = self.core.files.open(&self.core.io, key, &path, mode).await?;
        // Removed while it was being opened: a cached descriptor would hold its blocks.
        if !self.has_segment(segment) {
            self.core.files.forget(key);
        }
        Ok(file)
    }
}

impl<I: Io> Committed for Log<I> {
    fn committed(&self, next_offset: Offset) {
        self.show(next_offset);
    }
}

impl<I: Io> Drop for Log<I> {
    fn drop(&mut self) {
        let charged = self.state.borrow().cache.charged_bytes();
        self.core.cache.charge(charged, 0);
    }
}

impl<I: Io> std::fmt::Debug for Log<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?})", self.identity.dir_name(), self.identity.log_id)
    }
}

#[cfg(test)]
mod tests;
