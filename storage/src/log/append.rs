//! Appending in two steps: `prepare` may wait (for its turn, a roll, space, journal room), `Permit::append` is synchronous.
//!
//! The broker validates a batch between the two, so that what it checked (sequence numbers, epochs) still holds when the batch
//! gets its offsets. Deliberately absent: validation, and waiting for durability (`Log::durable`).

use std::rc::Rc;

use bytes::BytesMut;

use super::Log;
use super::files::Part;
use super::gate::Pass;
use super::state::{RESERVE_BYTES_MAX, SegmentId};
use super::tail::Placed;
use crate::batch::{BatchHeader, assign_offsets};
use crate::io::{Io, OpenMode, align_up, reserve};
use crate::journal::{AppendError, Committed, EntryHeader, EntryKind};
use crate::types::{LeaderEpoch, Offset};
use crate::{Result, StorageError};

/// The right to append one batch: this log's turn, with space reserved for it. Dropping it lets the next one through.
pub struct Permit<I: Io> {
    log: Rc<Log<I>>,
    len: usize,
    now_ms: i64,
    /// The active segment, when the batch's blocks go straight to it.
    segment: Option<Opened<I>>,
    _turn: Pass,
}

/// A segment's file, open for one append.
struct Opened<I: Io> {
    file: Rc<I::File>,
    /// All who wait for room are woken together: few of them have a file open at a time.
    _turn: Pass,
}

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
}

impl Appended {
    /// Offset after the batch: what to wait for with [`Log::durable`].
    pub fn next_offset(&self) -> Offset {
        self.last_offset + 1
    }
}

impl<I: Io> Log<I> {
    /// Waits until a batch of `len` bytes can be appended: for this log's turn (first come, first served), for space in its
    /// segment, which is rolled first when it is full or old, and for room in the journal. `max_timestamp` is the batch's, `now_ms`
    /// the time of the append.
    ///
    /// # Errors
    /// `BatchTooLarge`, `DiskFull` (nothing is appended, reads go on), `DirectoryFailed`, `Closed`.
    pub async fn prepare(self: &Rc<Self>, len: usize, max_timestamp: i64, now_ms: i64) -> Result<Permit<I>> {
        let turn = self.append_turn.pass().await;
        self.check()?;
        // Also refuses what will never fit.
        self.dir.journal.has_room(len)?;
        let config = self.config.get();
        let rolls = self.state.borrow().must_roll(self.identity.log_id, &config, len, max_timestamp, now_ms);
        if rolls {
            self.reserve_tail().await?;
        }
        {
            let mut state = self.state.borrow_mut();
            if rolls {
                state.roll();
            }
            state.active.first_append_ms.get_or_insert(now_ms);
        }
        self.reserve(len).await?;
        let segment = loop {
            while !self.dir.journal.has_room(len)? {
                let _hungry = self.dir.hungry();
                self.dir.journal.room(len).await?;
                self.check()?;
            }
            // Not before there is room: thousands of logs may wait for it, and must not keep a descriptor each.
            let segment = self.segment_for(len).await?;
            if self.dir.journal.has_room(len)? {
                break segment;
            }
        };
        Ok(Permit { log: self.clone(), len, now_ms, segment, _turn: turn })
    }

    /// The active segment's file, when a batch of `len` bytes is better written to it at once. Not while the file may be missing
    /// from its directory after a power cut: what it alone holds would be gone with it.
    async fn segment_for(&self, len: usize) -> Result<Option<Opened<I>>> {
        let segment = {
            let state = self.state.borrow();
            let active = &state.active;
            let is_safe = !active.new_file || self.core.bugs.write_into_new_files;
            let wanted = self.dir.journal.wants_in_place(active.len as u32, len);
            (is_safe && wanted).then(|| active.id())
        };
        let Some(segment) = segment else { return Ok(None) };
        let turn = self.dir.files_turn.pass().await;
        let opened = self.open_file(segment, Part::Log, OpenMode::Existing).await;
        let file = opened.map_err(|error| self.or_fail(error))?;
        Ok(Some(Opened { file, _turn: turn }))
    }

    /// Reserves the last block of the active segment, which is written when the segment is left behind. A restart does not know what
    /// was reserved before, and a power cut may have taken it.
    pub(crate) async fn reserve_tail(&self) -> Result<()> {
        self.reserve(0).await
    }

    /// Reserves blocks for `len` more bytes, and some ahead, so that what is accepted can be written back on a full disk.
    async fn reserve(&self, len: usize) -> Result<()> {
        let (base_offset, needed, wanted) = {
            let state = self.state.borrow();
            let active = &state.active;
            let needed = align_up(active.len + len as u64);
            if needed <= active.reserved {
                return Ok(());
            }
            let limit = align_up(u64::from(self.config.get().segment_bytes)).max(needed);
            (active.base_offset, needed, (needed + active.reserve_ahead).min(limit))
        };
        match self.allocate(base_offset, wanted, needed).await {
            Ok(reserved) => {
                let mut state = self.state.borrow_mut();
                state.active.reserved = reserved;
                state.active.reserve_ahead = (state.active.reserve_ahead * 2).min(RESERVE_BYTES_MAX);
                drop(state);
                if self.dir.told_full.over() {
                    tracing::info!(dir = %self.dir.path.display(), "there is room again: appends are taken");
                }
                self.check()
            }
            Err(error) if error.is_disk_full() => {
                let available = self.core.io.available_bytes(&self.dir.path).await.unwrap_or(0);
                let dir = self.dir.path.clone();
                let needed = needed.saturating_sub(self.state.borrow().active.reserved);
                let refused = StorageError::DiskFull { dir, available, needed };
                if self.dir.told_full.due(self.core.io.now_ns()) {
                    tracing::warn!("appends are refused, reads go on: {refused}");
                }
                Err(refused)
            }
            Err(error) => Err(self.or_fail(error)),
        }
    }

    async fn allocate(&self, base_offset: Offset, wanted: u64, needed: u64) -> Result<u64> {
        let segment = SegmentId::original(base_offset);
        let _turn = self.dir.files_turn.pass().await;
        let file = self.open_file(segment, Part::Log, OpenMode::CreateOrOpen).await?;
        reserve(&*file, wanted, needed).await
    }
}

impl<I: Io> Permit<I> {
    /// The log this permit is for.
    pub fn log(&self) -> &Rc<Log<I>> {
        &self.log
    }

    /// Appends a validated batch: gives it its offsets and leader epoch in place, copies it into the journal's open commit,
    /// keeps it in the tail cache, and applies it to the tenant, all in one step. `backing_bytes` is the size of the allocation that
    /// `batch` keeps alive (its own length when it has one to itself): a batch that is at least half of it is kept without a copy.
    ///
    /// The batch is neither durable nor visible yet: wait with [`Log::durable`] for [`Appended::next_offset`].
    ///
    /// # Errors
    /// `Closed` or `DirectoryFailed` since `prepare`; `JournalFull` when the caller awaited something since, and others took the room: prepare again.
    ///
    /// # Panics
    /// When `batch` is longer than was prepared, or its length is not the header's: both are bugs of the caller.
    pub fn append(
        self,
        mut batch: BytesMut,
        backing_bytes: usize,
        header: &BatchHeader,
        leader_epoch: LeaderEpoch,
    ) -> Result<Appended> {
        let log = &self.log;
        assert!(batch.len() <= self.len, "{} bytes were prepared, {} come", self.len, batch.len());
        assert_eq!(batch.len(), header.total_len(), "a batch that is not whole");
        log.check()?;
        let mut state = log.state.borrow_mut();
        let base_offset = state.next_offset;
        assign_offsets(&mut batch, base_offset, leader_epoch);
        let header = BatchHeader { base_offset, partition_leader_epoch: leader_epoch, ..*header };
        let next_offset = header.next_offset();
        let batch = batch.freeze();
        let at = Placed {
            segment_base: state.active.base_offset,
            position: state.active.len as u32,
            base_offset,
            next_offset,
            max_timestamp: header.max_timestamp,
        };
        let entry = EntryHeader {
            kind: EntryKind::Append,
            log_id: log.identity.log_id,
            owner_epoch: log.owner_epoch,
            segment_position: at.position,
            sequence: state.sequence + 1,
            segment_base_offset: at.segment_base,
            next_offset,
        };
        let committed: Rc<dyn Committed> = log.clone();
        let in_place = self.segment.as_ref().and_then(|segment| {
            let entry = EntryHeader { kind: EntryKind::AppendInPlace, ..entry };
            // Without room for it in this form there may be room in the other.
            log.dir.journal.append_in_place(&entry, &batch, &segment.file, &committed).ok()
        });
        let appended = match in_place {
            Some((ticket, blocks)) => {
                state.active.note_in_place(blocks);
                Ok(ticket)
            }
            None => log.dir.journal.append(&entry, &[&batch], &committed),
        };
        let ticket = match appended {
            Ok(ticket) => ticket,
            Err(AppendError::Full) => return Err(StorageError::JournalFull),
            Err(AppendError::Refused(error)) => return Err(error),
        };

        state.sequence += 1;
        state.next_offset = next_offset;
        state.last_ticket = Some(ticket);
        log.dir.appended.set(ticket.end);
        if state.active.len == 0 {
            state.active.first_timestamp = header.max_timestamp;
        }
        state.active.modified_ms = self.now_ms;
        state.active.len += batch.len() as u64;
        state.active.exact = false;
        state.active.max_timestamp = state.active.max_timestamp.max(header.max_timestamp);
        state.leader_epochs.note(leader_epoch, base_offset);
        let before = state.cache.charged_bytes();
        let len = batch.len() as u64;
        state.cache.push(batch, backing_bytes, at, |unit| log.core.cache.enqueue(&log.me, unit));
        log.core.cache.charge(before, state.cache.charged_bytes());
        let newly_dirty = !std::mem::replace(&mut state.listed_dirty, true);
        drop(state);

        log.tenant.borrow_mut().replay(&header);
        log.note_dirty(newly_dirty, len);
        if log.core.bugs.show_before_durable {
            log.show(next_offset);
        }
        Ok(Appended { base_offset, last_offset: next_offset - 1 })
    }
}
