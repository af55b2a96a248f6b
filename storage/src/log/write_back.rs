//! Writing back one log: whole blocks gathered from the tail cache, and what the next checkpoint will say of it.
//!
//! Called by `store::round`, which flushes, commits the checkpoint and then calls `cover`. A log is written back by one
//! task at a time, and not while it is being deleted. Nothing here flushes.

use std::ops::Range;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::Log;
use super::files::Part;
use super::gate::Pass;
use super::start::below_start;
use super::state::{ClosedSegment, Covered, SegmentId, State};
use super::tables::SegmentView;
use crate::Result;
use crate::io::{Buffer, File, Io, OpenMode, TRANSFER_BYTES_MAX, align_down, align_up};
use crate::journal::Ticket;
use crate::segment::{self, BatchStart, BlockTable};
use crate::types::Offset;

/// One segment's share of a write-back.
struct Stretch {
    base_offset: Offset,
    /// Covered by the last checkpoint, in bytes.
    from: u64,
    /// Covered by the next one.
    to: u64,
    max_timestamp: i64,
    first_timestamp: i64,
    modified_ms: i64,
    /// Rolled, or the store is closing: written to its last byte, and cut to its exact length.
    whole: bool,
    /// Blocks in it that the journal's commits write.
    in_place: Vec<Range<u64>>,
    /// Its file may be new in the log's directory.
    new_file: bool,
    /// Rolled: no longer the active segment.
    closes: bool,
    /// The bytes below `from` that are in no whole block.
    tail_before: Bytes,
    /// The bytes below `to` that are in no whole block.
    tail: Bytes,
    /// Describes the bytes below `from`, and after the write-back those below `to`.
    table: Option<Rc<BlockTable>>,
}

impl Stretch {
    fn id(&self) -> SegmentId {
        SegmentId::original(self.base_offset)
    }
}

/// What one write-back did, to be named in a checkpoint once it is flushed.
pub(crate) struct Written<I: Io> {
    pub(crate) log: Rc<Log<I>>,
    /// What the checkpoint will say.
    pub(crate) covered: Covered,
    /// Segments that end with it.
    pub(crate) closed: Vec<ClosedSegment>,
    /// Closed segments that lie wholly below the log's start, and go with it.
    pub(crate) removed: Vec<ClosedSegment>,
    /// The last entry covered.
    pub(crate) ticket: Option<Ticket>,
    /// Files that were written.
    pub(crate) files: Vec<Rc<I::File>>,
    /// Whether one of them may be new: the log's directory must be synced too.
    pub(crate) new_file: bool,
    /// Bytes that are covered anew.
    bytes: u64,
    stretches: Vec<Stretch>,
    _turn: Pass,
}

impl<I: Io> Log<I> {
    /// Writes what no checkpoint covers, up to the log's end as it is now. With `whole` the active segment is written to its
    /// last byte too, for a clean stop. None when the log has ended.
    pub(crate) async fn write_back(self: &Rc<Self>, whole: bool) -> Result<Option<Written<I>>> {
        let turn = self.write_turn.pass().await;
        if self.check().is_err() {
            return Ok(None);
        }
        let mut written = self.begin_write_back(whole, turn);
        for at in 0..written.stretches.len() {
            let stretch = &mut written.stretches[at];
            if let Some(file) = self.write_stretch(stretch).await? {
                written.new_file |= std::mem::take(&mut stretch.new_file);
                written.files.push(file);
            }
        }
        if let Some(active) = written.stretches.last() {
            written.covered.tail = active.tail.clone();
        }
        Ok(Some(written))
    }

    /// Whether a clean stop must write this log back: something is not covered, or its file does not end where it ends.
    pub(crate) fn wants_final_write_back(&self) -> bool {
        let state = self.state.borrow();
        state.sequence > state.covered.sequence
            || !state.closing.is_empty()
            || (state.active.len > 0 && !state.active.exact)
    }

    /// Notes, in one step, everything the next checkpoint will say.
    fn begin_write_back(self: &Rc<Self>, whole: bool, turn: Pass) -> Written<I> {
        let mut state = self.state.borrow_mut();
        // What is appended from here on lists the log again.
        state.listed_dirty = false;
        let tenant = if self.core.bugs.lose_tenant_state {
            None
        } else {
            self.tenant.borrow().snapshot().filter(|snapshot| !snapshot.is_empty())
        };
        let log_start_offset = if self.core.bugs.forget_log_start {
            state.covered.log_start_offset
        } else {
            state.log_start_offset
        };
        let covered = Covered {
            sequence: state.sequence,
            segment_base: state.active.base_offset,
            segment_len: state.active.len,
            next_offset: state.next_offset,
            log_start_offset,
            max_timestamp: state.active.max_timestamp,
            first_timestamp: state.active.first_timestamp,
            modified_ms: state.active.modified_ms,
            first_dirty_offset: state.first_dirty_offset,
            leader_epochs: state.leader_epochs.clone(),
            tail: Bytes::new(),
            tenant,
            tenant_end_offset: state.next_offset,
        };
        let stretches: Vec<_> = state
            .open_segments()
            .map(|segment| Stretch {
                base_offset: segment.base_offset,
                from: segment.covered,
                to: segment.len,
                max_timestamp: segment.max_timestamp,
                first_timestamp: segment.first_timestamp,
                modified_ms: segment.modified_ms,
                whole: whole || segment.base_offset != state.active.base_offset,
                in_place: segment.in_place.clone(),
                new_file: segment.new_file,
                closes: segment.base_offset != state.active.base_offset,
                tail_before: segment.tail.clone(),
                tail: Bytes::new(),
                table: segment.table.clone(),
            })
            .collect();
        let closed: Vec<_> = stretches
            .iter()
            .filter(|stretch| stretch.closes)
            .map(|stretch| ClosedSegment {
                base_offset: stretch.base_offset,
                len: stretch.to,
                max_timestamp: stretch.max_timestamp,
                first_timestamp: stretch.first_timestamp,
                modified_ms: stretch.modified_ms,
                generation: 0,
            })
            .collect();
        let all = [&state.closed[..], &closed].concat();
        let removed = below_start(&all, state.active.base_offset, covered.log_start_offset).to_vec();
        Written {
            log: self.clone(),
            covered,
            closed,
            removed,
            ticket: state.last_ticket,
            files: Vec::new(),
            new_file: false,
            bytes: stretches.iter().map(|stretch| stretch.to - stretch.from).sum(),
            stretches,
            _turn: turn,
        }
    }

    /// Writes one segment's blocks and feeds its table. Returns the file when it was written to.
    async fn write_stretch(&self, stretch: &mut Stretch) -> Result<Option<Rc<I::File>>> {
        let start = align_down(stretch.from);
        let end = if stretch.whole { align_up(stretch.to) } else { align_down(stretch.to) };
        let mut file = None;
        if stretch.to > stretch.from {
            let view = SegmentView {
                id: stretch.id(),
                len: stretch.from,
                tail: stretch.tail_before.clone(),
                open: true,
                table: stretch.table.take(),
            };
            stretch.tail = self.gather_tail(stretch);
            match self.table(&view).await {
                Ok(mut table) => {
                    self.feed_table(stretch, Rc::make_mut(&mut table)).await;
                    stretch.table = Some(table);
                }
                // What was written before is damaged. It is not served; what is written now is sound, and so are the other logs.
                Err(error) if error.is_corruption() => self.tell(&error),
                Err(error) => return Err(error),
            }
        } else {
            stretch.tail = stretch.tail_before.clone();
        }
        if end > start || stretch.whole {
            let opened = self.open_file(stretch.id(), Part::Log, OpenMode::CreateOrOpen).await?;
            for gap in gaps(start..end, &stretch.in_place) {
                self.write_blocks(stretch, gap, &opened).await?;
            }
            if stretch.whole {
                // Also cuts what an earlier run wrote beyond the end and never covered.
                opened.set_len(stretch.to).await?;
            }
            file = Some(opened);
        }
        Ok(file)
    }

    async fn write_blocks(&self, stretch: &Stretch, blocks: Range<u64>, file: &Rc<I::File>) -> Result<()> {
        let mut position = blocks.start;
        let mut written: Option<I::Buf> = None;
        while position < blocks.end {
            let len = (blocks.end - position).min(TRANSFER_BYTES_MAX as u64);
            let mut buf = match written.take() {
                Some(mut buf) => {
                    buf.truncate(len as usize);
                    buf
                }
                None => self.core.io.buffer(len as usize),
            };
            self.gather(stretch, position, buf.as_mut());
            written = Some(file.write_at(buf, position).await?);
            position += len;
            self.core.io.yield_if_needed().await;
        }
        Ok(())
    }

    /// Fills `into` with the segment's bytes from `position` on; zeros beyond its end.
    fn gather(&self, stretch: &Stretch, position: u64, into: &mut [u8]) {
        let to = (position + into.len() as u64).min(stretch.to);
        let mut from = position;
        if from < stretch.from {
            let skip = (from - align_down(stretch.from)) as usize;
            let kept = &stretch.tail_before[skip..];
            let len = kept.len().min((to - from) as usize);
            into[..len].copy_from_slice(&kept[..len]);
            from += len as u64;
        }
        let (into, beyond) = into.split_at_mut((to - position) as usize);
        beyond.fill(0);
        let rest = &mut into[(from - position) as usize..];
        let copied = self.state.borrow().cache.gather(stretch.base_offset, from, rest);
        // What no checkpoint covers is never evicted: a hole here would be silent loss.
        assert_eq!(
            copied,
            rest.len(),
            "{self:?}: bytes {from}..{to} of segment {} left the cache early",
            stretch.base_offset
        );
    }

    fn gather_tail(&self, stretch: &Stretch) -> Bytes {
        let start = align_down(stretch.to);
        let mut tail = BytesMut::zeroed((stretch.to - start) as usize);
        let misplaced =
            if self.core.bugs.misplace_tail { 64.min(start - align_down(stretch.from)) } else { 0 };
        self.gather(stretch, start - misplaced, &mut tail);
        tail.freeze()
    }

    /// Lets the segment's table see the bytes that are written now, batch by batch.
    async fn feed_table(&self, stretch: &Stretch, table: &mut BlockTable) {
        let mut position = stretch.from;
        while position < stretch.to {
            let fed = {
                let state = self.state.borrow();
                feed_some(&state, stretch, position, table)
            };
            // Every byte that is not covered lies in a cached batch (`gather` asserts it).
            assert!(
                fed > position,
                "{self:?}: no batch at byte {position} of segment {}",
                stretch.base_offset
            );
            position = fed;
            self.core.io.yield_if_needed().await;
        }
    }
}

/// What of `blocks` is in none of `taken`, which ascend.
fn gaps(blocks: Range<u64>, taken: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut position = blocks.start;
    for taken in taken {
        if taken.start >= blocks.end {
            break;
        }
        if taken.start > position {
            gaps.push(position..taken.start);
        }
        position = position.max(taken.end);
    }
    if position < blocks.end {
        gaps.push(position..blocks.end);
    }
    gaps
}

/// Feeds at most a transfer's worth of batches; returns the position after them.
fn feed_some(state: &State, stretch: &Stretch, from: u64, table: &mut BlockTable) -> u64 {
    let mut position = from;
    for piece in state.cache.pieces_of(stretch.base_offset, from, stretch.to) {
        if u64::from(piece.at.position) != position || position - from >= TRANSFER_BYTES_MAX as u64 {
            break;
        }
        let start = BatchStart {
            position: piece.at.position,
            base_offset: piece.at.base_offset,
            max_timestamp: piece.at.max_timestamp,
        };
        table.extend(&piece.bytes, [start]);
        position += piece.bytes.len() as u64;
    }
    position
}

/// What a committed checkpoint calls for: sidecar pages to be written, segments to be removed. Holds the log's turn, so that its
/// directory stays its own.
pub(crate) struct Aftermath<I: Io> {
    log: Rc<Log<I>>,
    /// Table, and the first byte that its written pages do not describe.
    tables: Vec<(Rc<BlockTable>, u64)>,
    removed: Vec<ClosedSegment>,
    _turn: Pass,
}

impl<I: Io> Aftermath<I> {
    /// Does it. A full disk is no trouble: what is missing of a sidecar is made from the segment when it is needed.
    pub(crate) async fn follow(self) -> Result<()> {
        self.log.set_aside(&self.removed).await;
        for (table, from) in &self.tables {
            let id = SegmentId::original(table.base_offset());
            match self.log.write_pages(id, table, *from).await {
                Err(error) if !error.is_disk_full() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<I: Io> Written<I> {
    /// Whether the checkpoint has anything new to say of this log.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
            && self.closed.is_empty()
            && self.covered.sequence == self.log.state.borrow().covered.sequence
    }

    /// Lists the log again: the checkpoint could not be written.
    pub(crate) fn give_up(self) {
        self.log.list_again();
    }

    /// Takes over what the committed checkpoint says: what it covers may be evicted, and is read from the file.
    pub(crate) fn cover(self) -> Option<Aftermath<I>> {
        let Self { log, covered, closed, removed, bytes, stretches, _turn, .. } = self;
        let mut state = log.state.borrow_mut();
        let mut tables = Vec::new();
        for stretch in stretches {
            let stays = removed.iter().all(|segment| segment.base_offset != stretch.base_offset);
            if let Some(table) = stretch.table.as_ref().filter(|_| stays) {
                let chunk = segment::CHUNK_BYTES as u64;
                if stretch.closes || stretch.to / chunk > stretch.from / chunk {
                    tables.push((table.clone(), stretch.from));
                }
            }
            if stretch.closes {
                let ended = state.closing.pop_front();
                assert_eq!(ended.map(|segment| segment.base_offset), Some(stretch.base_offset));
                if let Some(table) = stretch.table {
                    let id = SegmentId::original(stretch.base_offset);
                    log.core.tables.put(log.identity.log_id, id, table);
                }
            } else if let Some(segment) = state.open_segment_mut(stretch.base_offset) {
                segment.cover(stretch.to);
                segment.covered_max_timestamp = stretch.max_timestamp;
                segment.tail = stretch.tail;
                segment.exact = stretch.whole && segment.len == stretch.to;
                segment.new_file = stretch.new_file;
                segment.table = stretch.table;
            }
        }
        state.closed.extend(closed);
        state.closed.drain(..removed.len());
        state.covered = covered;
        let before = state.cache.charged_bytes();
        // A log that appends little would hold its chunk open for ever.
        if let Some(unit) = state.cache.close_chunk() {
            log.core.cache.enqueue(&log.me, unit);
        }
        if state.next_offset == state.covered.next_offset {
            state.cache.restart_chunks_small();
        }
        log.core.cache.charge(before, state.cache.charged_bytes());
        drop(state);
        log.dir.dirty_bytes.set(log.dir.dirty_bytes.get().saturating_sub(bytes));
        let called_for = !tables.is_empty() || !removed.is_empty();
        called_for.then_some(Aftermath { log, tables, removed, _turn })
    }
}
