//! One core's journal in one log directory: what is appended here and flushed survives a power cut (decision 0001).
//!
//! Logs append entries and wait for their tickets; a checkpoint releases space. Appending copies into the commit that
//! fills while the previous one is written, so one write and one flush acknowledge everything that arrived meanwhile.
//! Deliberately absent: what entries mean, when to checkpoint, retries. A failed write or flush is final.

mod commit;
mod extents;
pub mod format;
mod options;
mod planted;
mod replay;
mod ring;
pub(crate) mod waiters;
pub(crate) mod window;
mod writer;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use extents::retire;
pub use format::{EntryHeader, EntryKind};
pub use options::{FlushMode, JournalOptions};
pub use planted::Bugs;
pub use replay::{RETIRED, Replayed, ReplayedSession, SegmentBlocks, Visitor, WantedBlocks, replay};

use crate::io::{Class, Io};
use crate::{Result, StorageError};
use commit::{ChunkPool, Commit};
use format::{COMMIT_HEADER_BYTES, Cut, entry_bytes};
use ring::{Extent, Geometry, Ring};
use waiters::Waiters;

/// Where an entry stands in the session: it starts at logical position `start` and is durable once everything below
/// `end` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Position of the entry's first byte. A checkpoint that does not cover the entry must not release beyond it.
    pub start: u64,
    /// Position behind the entry.
    pub end: u64,
}

/// Why an append was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// No room now: wait with [`Journal::room`] and try again.
    #[error("the journal is full")]
    Full,
    /// It will never be taken.
    #[error(transparent)]
    Refused(#[from] StorageError),
}

/// A log that hears how far it is durable.
pub trait Committed {
    /// Everything below `next_offset` is durable under the journal's flush mode. Called once per commit and log, in
    /// order, before the commit's waiters are woken. May append; must not block.
    fn committed(&self, next_offset: i64);
}

/// What one commit cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommitReport {
    /// Bytes written to the journal, padding included.
    pub bytes: u64,
    /// Bytes written straight to segments.
    pub in_place_bytes: u64,
    /// Entries in it.
    pub entries: u32,
    /// Nanoseconds from the issue of the writes to their completion.
    pub write_ns: u64,
    /// Nanoseconds the flush took; 0 in [`FlushMode::Written`].
    pub flush_ns: u64,
}

/// Totals since the journal was opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct JournalStats {
    /// Commits completed.
    pub commits: u64,
    /// Entries in them.
    pub entries: u64,
    /// Bytes written to the journal, padding included.
    pub bytes: u64,
    /// Bytes written straight to segments.
    pub in_place_bytes: u64,
    /// Nanoseconds spent in writes.
    pub write_ns: u64,
    /// Nanoseconds spent in flushes.
    pub flush_ns: u64,
    /// Extents that exist.
    pub extents: u64,
    /// Appends that were told to wait.
    pub full: u64,
}

/// Hears of each commit, for histograms.
pub type CommitObserver = Rc<dyn Fn(&CommitReport)>;

type Files<I> = Rc<<I as Io>::File>;
type OpenCommit<I> = Commit<<I as Io>::Buf, Files<I>>;

struct State<I: Io> {
    ring: Ring<Files<I>>,
    chunks: ChunkPool<I::Buf>,
    /// The commit that fills.
    filling: Option<OpenCommit<I>>,
    /// Full commits, oldest first. With `filling` and those in flight bounded by `pending_bytes_max`.
    full: VecDeque<OpenCommit<I>>,
    pending_bytes: usize,
    /// What is only in segments and no checkpoint covers: position behind each entry, and bytes. It counts as used, so that
    /// the capacity bounds what a restart must read.
    in_place: VecDeque<(u64, u64)>,
    in_place_bytes: u64,
    /// Hash of the last commit issued: what the next one chains to.
    previous_hash: u64,
    /// Everything below is durable under the flush mode.
    durable: u64,
    failed: Option<StorageError>,
    closing: bool,
    /// Whether an extent is being made.
    growing: bool,
    stats: JournalStats,
    observer: Option<CommitObserver>,
}

struct Inner<I: Io> {
    io: I,
    dir: PathBuf,
    options: JournalOptions,
    geometry: Geometry,
    state: RefCell<State<I>>,
    /// Waits for a durable position.
    durable: Waiters,
    /// Waits for room; threshold 0.
    room: Waiters,
    /// Waits for used bytes.
    pressure: Waiters,
    /// The writer waits for a commit: threshold 0, and 1 when it must be a full one.
    work: Waiters,
    /// The zeroing task waits for an extent to be taken; threshold 0.
    growth: Waiters,
    /// `close` waits for the last commit; threshold 0.
    drained: Waiters,
}

/// One core's journal in one log directory.
pub struct Journal<I: Io> {
    inner: Rc<Inner<I>>,
}

impl<I: Io> std::fmt::Debug for Journal<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.inner.state.borrow();
        f.debug_struct("Journal")
            .field("dir", &self.inner.dir)
            .field("core", &self.inner.options.core)
            .field("durable", &state.durable)
            .field("pending_bytes", &state.pending_bytes)
            .finish_non_exhaustive()
    }
}

impl<I: Io> Journal<I> {
    /// Opens an empty journal in `dir` (made when missing) and starts its tasks. Retired extents of this core are
    /// taken over; when there is none, the first one is made. Recovery and [`retire`] come before.
    ///
    /// # Errors
    /// `Corrupt` when an extent was not retired, `DiskFull` or `Io` when the first extent cannot be made.
    pub async fn open(io: I, dir: &Path, options: JournalOptions) -> Result<Rc<Self>> {
        let geometry = Geometry::of(&options);
        let found = extents::take_over(&io, dir, &options, &geometry).await?;
        let mut ring = Ring::new(geometry.capacity_bytes);
        let mut next_file = found.next_file;
        if found.extents.is_empty() {
            let size = geometry.first_extent_bytes;
            let file = extents::make(&io, dir, &options, next_file, size, Class::Foreground).await?;
            next_file += 1;
            ring.add_free(Extent { file: Rc::new(file), size });
        }
        for (file, size) in found.extents {
            ring.add_free(Extent { file: Rc::new(file), size });
        }
        let extents = ring.free_extents();
        let state = State {
            ring,
            chunks: ChunkPool::new(options.pending_bytes_max),
            filling: None,
            full: VecDeque::new(),
            pending_bytes: 0,
            in_place: VecDeque::new(),
            in_place_bytes: 0,
            previous_hash: options.session,
            durable: 0,
            failed: None,
            closing: false,
            growing: false,
            stats: JournalStats { extents: extents as u64, ..JournalStats::default() },
            observer: None,
        };
        let inner = Rc::new(Inner {
            io: io.clone(),
            dir: dir.to_path_buf(),
            options,
            geometry,
            state: RefCell::new(state),
            durable: Waiters::default(),
            room: Waiters::default(),
            pressure: Waiters::default(),
            work: Waiters::default(),
            growth: Waiters::default(),
            drained: Waiters::default(),
        });
        io.spawn(Class::Foreground, Rc::clone(&inner).write_commits());
        io.spawn(Class::Housekeeping, Rc::clone(&inner).grow(next_file));
        Ok(Rc::new(Self { inner }))
    }

    /// Takes an entry into the commit that fills; `payload` is its parts, one behind the other. `log` hears when it is
    /// durable.
    ///
    /// # Errors
    /// `Full` when there is no room now; refused with `BatchTooLarge` beyond [`Self::payload_bytes_max`], with
    /// `DirectoryFailed` after a failure and with `Closed` after [`Self::close`].
    pub fn append(
        &self,
        header: &EntryHeader,
        payload: &[&[u8]],
        log: &Rc<dyn Committed>,
    ) -> std::result::Result<Ticket, AppendError> {
        let inner = &*self.inner;
        let payload_len: usize = payload.iter().map(|part| part.len()).sum();
        let len = inner.admit(payload_len)?;
        let mut state = inner.state.borrow_mut();
        let state = &mut *state;
        if !state.has_room(inner, len) {
            state.stats.full += 1;
            return Err(AppendError::Full);
        }
        if state.filling.as_ref().is_none_or(|commit| !commit.takes(len)) {
            state.begin_commit(inner, len);
        }
        let Some(commit) = state.filling.as_mut() else { return Err(AppendError::Full) };
        let start = commit.end();
        commit.push(&inner.io, &mut state.chunks, header, payload, log);
        let ticket = Ticket { start, end: commit.end() };
        state.pending_bytes += len;
        inner.work.wake(u64::from(!state.full.is_empty()));
        inner.pressure.wake(state.used_bytes());
        Ok(ticket)
    }

    /// Whether a batch of `len` bytes at `position` of its segment is large enough for [`Self::append_in_place`].
    pub fn wants_in_place(&self, position: u32, len: usize) -> bool {
        let blocks = Cut::of(position, len).blocks;
        blocks > 0 && blocks >= self.inner.options.in_place_bytes_min
    }

    /// Takes a batch into the commit that fills, as [`Self::append`] does, but has the same commit write its whole blocks to
    /// `file`, its segment: only its edges are in the journal. The file must be durable in its directory. Returns the
    /// segment's blocks that the commit writes because of it; nobody else may write those.
    ///
    /// # Errors
    /// As [`Self::append`]; `Full` also when only an append in place would not be taken.
    pub fn append_in_place(
        &self,
        header: &EntryHeader,
        batch: &[u8],
        file: &Rc<I::File>,
        log: &Rc<dyn Committed>,
    ) -> std::result::Result<(Ticket, Range<u64>), AppendError> {
        let inner = &*self.inner;
        let charged = inner.admit(batch.len())?;
        let len = entry_bytes(Cut::of(header.segment_position, batch.len()).payload_len());
        let mut state = inner.state.borrow_mut();
        let state = &mut *state;
        if !state.is_bounded(inner, charged) {
            return Err(AppendError::Full);
        }
        let taken = |commit: &OpenCommit<I>| commit.takes(len) && commit.takes_in_place(header, batch.len());
        if !state.filling.as_ref().is_some_and(taken) {
            let unfinished = state.filling.as_ref().map_or(0, Commit::padded_len);
            if !state.ring.fits(unfinished, (COMMIT_HEADER_BYTES + len) as u64) {
                return Err(AppendError::Full);
            }
            state.begin_commit(inner, len);
        }
        let Some(commit) = state.filling.as_mut() else { return Err(AppendError::Full) };
        let start = commit.end();
        let blocks = commit.push_in_place(&inner.io, &mut state.chunks, header, batch, file, log);
        let ticket = Ticket { start, end: commit.end() };
        state.pending_bytes += charged;
        let bytes = (charged - len) as u64;
        state.in_place.push_back((ticket.end, bytes));
        state.in_place_bytes += bytes;
        inner.work.wake_all();
        inner.pressure.wake(state.used_bytes());
        Ok((ticket, blocks))
    }

    /// Whether an append of `payload_len` bytes would be taken now.
    ///
    /// # Errors
    /// As [`Self::append`], except `Full`.
    pub fn has_room(&self, payload_len: usize) -> Result<bool> {
        let len = self.inner.admit(payload_len)?;
        Ok(self.inner.state.borrow().has_room(&self.inner, len))
    }

    /// Waits until an append of `payload_len` bytes would be taken. Others may take the room first: ask again.
    ///
    /// # Errors
    /// As [`Self::append`], except `Full`.
    pub async fn room(&self, payload_len: usize) -> Result<()> {
        let ready = || match self.has_room(payload_len) {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        };
        self.inner.room.until(0, ready).await
    }

    /// Waits until the entry is durable under the flush mode.
    ///
    /// # Errors
    /// `DirectoryFailed` when a write or flush failed before.
    pub async fn durable(&self, ticket: Ticket) -> Result<()> {
        let ready = || {
            let state = self.inner.state.borrow();
            match &state.failed {
                _ if state.durable >= ticket.end => Some(Ok(())),
                Some(error) => Some(Err(error.clone())),
                None => None,
            }
        };
        self.inner.durable.until(ticket.end, ready).await
    }

    /// Everything below this position is durable under the flush mode.
    pub fn durable_position(&self) -> u64 {
        self.inner.state.borrow().durable
    }

    /// Everything below this position was released.
    pub fn oldest_live_position(&self) -> u64 {
        self.inner.state.borrow().ring.released()
    }

    /// A checkpoint that says so is on the disk: nothing below `up_to` is needed any more (at most the durable
    /// position counts). Extents wholly below are recycled.
    pub fn release(&self, up_to: u64) {
        let freed = {
            let mut state = self.inner.state.borrow_mut();
            let up_to = up_to.min(state.durable);
            let freed = state.ring.release(up_to);
            state.release_in_place(up_to) || freed
        };
        if freed {
            self.inner.room.wake_all();
        }
    }

    /// Bytes of the capacity that cannot be written before a release.
    pub fn used_bytes(&self) -> u64 {
        self.inner.state.borrow().used_bytes()
    }

    /// The most that [`Self::used_bytes`] can become.
    pub fn capacity_bytes(&self) -> u64 {
        self.inner.geometry.capacity_bytes
    }

    /// The largest payload of one entry: an eighth of the capacity, or what an extent holds where that is less.
    pub fn payload_bytes_max(&self) -> usize {
        self.inner.geometry.payload_bytes_max
    }

    /// Waits until at least `bytes` are used: the write-back's call to work. Also resolves when the journal fails or
    /// closes.
    pub async fn used_above(&self, bytes: u64) {
        let ready = || {
            let state = self.inner.state.borrow();
            (state.used_bytes() >= bytes || state.failed.is_some() || state.closing).then_some(())
        };
        self.inner.pressure.until(bytes, ready).await;
    }

    /// The error that ended this directory's use, if any.
    pub fn failure(&self) -> Option<StorageError> {
        self.inner.state.borrow().failed.clone()
    }

    /// Ends the directory's use because of an error met elsewhere in it (a segment, the checkpoint log).
    pub fn fail(&self, cause: &StorageError) {
        self.inner.fail(cause);
    }

    /// Totals since it was opened.
    pub fn stats(&self) -> JournalStats {
        self.inner.state.borrow().stats
    }

    /// Has `observer` called after each commit, before its waiters are woken.
    pub fn observe(&self, observer: CommitObserver) {
        self.inner.state.borrow_mut().observer = Some(observer);
    }

    /// Takes no more appends, and waits until all that were taken are durable and nothing is written any more.
    ///
    /// # Errors
    /// `DirectoryFailed` when they are not.
    pub async fn close(&self) -> Result<()> {
        let inner = &*self.inner;
        inner.close();
        let ready = || {
            let state = inner.state.borrow();
            match &state.failed {
                Some(error) => Some(Err(error.clone())),
                None => (state.pending_bytes == 0 && !state.growing).then_some(Ok(())),
            }
        };
        inner.drained.until(0, ready).await
    }
}

impl<I: Io> Drop for Journal<I> {
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl<I: Io> State<I> {
    /// Whether an entry that takes `len` bytes finds room in the commit that fills or in a new one.
    fn has_room(&self, inner: &Inner<I>, len: usize) -> bool {
        let bounded = self.is_bounded(inner, len);
        let unfinished = match &self.filling {
            Some(commit) if commit.takes(len) => return bounded,
            Some(commit) => commit.padded_len(),
            None => 0,
        };
        bounded && self.ring.fits(unfinished, (COMMIT_HEADER_BYTES + len) as u64)
    }

    fn release_in_place(&mut self, up_to: u64) -> bool {
        let before = self.in_place_bytes;
        let released = self.in_place.partition_point(|(end, _)| *end <= up_to);
        for (_, bytes) in self.in_place.drain(..released) {
            self.in_place_bytes -= bytes;
        }
        self.in_place_bytes < before
    }

    /// Whether another `len` bytes may be accepted before others are durable or released.
    fn is_bounded(&self, inner: &Inner<I>, len: usize) -> bool {
        let pending = self.pending_bytes == 0 || self.pending_bytes + len <= inner.options.pending_bytes_max;
        let used = || self.used_bytes() + len as u64 <= inner.geometry.capacity_bytes;
        pending && (self.in_place_bytes == 0 || used())
    }

    /// Sets the filling commit aside as full, and begins one in which an entry of `len` bytes fits.
    fn begin_commit(&mut self, inner: &Inner<I>, len: usize) {
        self.finish_filling();
        let needed = COMMIT_HEADER_BYTES + len;
        if let Some(place) = self.ring.place(needed as u64) {
            if place.opens.is_some() {
                inner.growth.wake_all();
            }
            let len_max = inner.geometry.commit_bytes_max.max(needed).min(place.room as usize);
            let commit = Commit::begin(&inner.io, &mut self.chunks, place, needed, len_max);
            self.filling = Some(commit);
        }
    }

    fn finish_filling(&mut self) {
        if let Some(commit) = self.filling.take() {
            self.ring.finish(commit.padded_len());
            self.full.push_back(commit);
        }
    }

    /// The next commit to write, oldest first.
    fn take_commit(&mut self) -> Option<OpenCommit<I>> {
        if self.full.is_empty() {
            self.finish_filling();
        }
        self.full.pop_front()
    }

    fn used_bytes(&self) -> u64 {
        self.ring.used_bytes() + self.filling.as_ref().map_or(0, Commit::padded_len) + self.in_place_bytes
    }
}

impl<I: Io> Inner<I> {
    /// Bytes an entry takes, or why it will never be taken.
    fn admit(&self, payload_len: usize) -> Result<usize> {
        let state = self.state.borrow();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if state.closing {
            return Err(StorageError::Closed);
        }
        let limit = self.geometry.payload_bytes_max;
        if payload_len > limit {
            return Err(StorageError::BatchTooLarge { len: payload_len, limit });
        }
        Ok(entry_bytes(payload_len))
    }

    fn fail(&self, cause: &StorageError) {
        {
            let mut state = self.state.borrow_mut();
            if state.failed.is_some() {
                return;
            }
            let error = match cause {
                StorageError::DirectoryFailed { .. } => cause.clone(),
                // The journal's own lies in the log directory.
                _ => StorageError::DirectoryFailed {
                    dir: self.dir.parent().unwrap_or(&self.dir).to_path_buf(),
                    cause: cause.to_string(),
                },
            };
            state.failed = Some(error);
        }
        self.wake_everybody();
    }

    fn close(&self) {
        self.state.borrow_mut().closing = true;
        self.wake_everybody();
    }

    fn wake_everybody(&self) {
        let all = [&self.durable, &self.room, &self.pressure, &self.work, &self.growth, &self.drained];
        all.into_iter().for_each(Waiters::wake_all);
    }
}

#[cfg(test)]
mod tests;
