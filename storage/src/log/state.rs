//! What a log knows about itself: its segments, its ends, and how far a checkpoint covers them.
//!
//! Plain data with the few steps that must be taken together; `append`, `read` and `write_back` call them under one
//! borrow. Nothing here waits, and nothing here touches a disk.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::identity::{LeaderEpochs, LogConfig};
use super::tail::TailCache;
use crate::io::align_down;
use crate::segment::BlockTable;
use crate::types::{LogId, Offset};

/// Names a segment's files within its log: compaction writes a segment anew under the same base offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SegmentId {
    pub(crate) base_offset: Offset,
    pub(crate) generation: u32,
}

impl SegmentId {
    /// A segment as it was appended to, before any compaction.
    pub(crate) fn original(base_offset: Offset) -> Self {
        Self { base_offset, generation: 0 }
    }
}

impl ClosedSegment {
    pub(crate) fn id(&self) -> SegmentId {
        SegmentId { base_offset: self.base_offset, generation: self.generation }
    }
}

/// A segment that was rolled, written whole, cut to its exact length and named in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Offset its file is named after.
    pub base_offset: Offset,
    /// Its exact length in bytes.
    pub len: u64,
    /// Largest timestamp in it, in ms; -1 when it has none.
    pub max_timestamp: i64,
    /// Largest timestamp of its first batch, in ms; -1 when it has none or is not known.
    pub first_timestamp: i64,
    /// Wall clock of the last append to it, in ms; -1 when that is not known.
    pub modified_ms: i64,
    /// How often compaction has rewritten it; part of its files' names.
    pub generation: u32,
}

/// A segment that is not wholly covered by a checkpoint: the active one, and rolled ones on their way out.
#[derive(Debug, Clone)]
pub(crate) struct OpenSegment {
    pub(crate) base_offset: Offset,
    /// Bytes appended, exact.
    pub(crate) len: u64,
    /// Bytes that the last checkpoint covers. Whole blocks below it are in the file.
    pub(crate) covered: u64,
    /// Bytes from the last block boundary below `covered` up to it; they are in the checkpoint, not (only) in the file.
    pub(crate) tail: Bytes,
    /// Blocks beyond `covered` that commits of the journal write, ascending and apart: write-back leaves them alone.
    pub(crate) in_place: Vec<Range<u64>>,
    /// Largest timestamp appended; -1 when there is none.
    pub(crate) max_timestamp: i64,
    /// Largest timestamp of the first batch; -1 when it has none or is not known.
    pub(crate) first_timestamp: i64,
    /// Wall clock of the last append, in ms; -1 when that is not known.
    pub(crate) modified_ms: i64,
    /// Largest timestamp below `covered`.
    pub(crate) covered_max_timestamp: i64,
    /// When the first batch since it was opened was appended, in ms.
    pub(crate) first_append_ms: Option<i64>,
    /// Blocks below this many bytes are reserved on the disk.
    pub(crate) reserved: u64,
    /// How far the next reservation goes beyond what is needed.
    pub(crate) reserve_ahead: u64,
    /// Whether its file may be new: its directory is synced before the next checkpoint.
    pub(crate) new_file: bool,
    /// Whether the file ends with the segment's last byte, as a clean stop leaves it.
    pub(crate) exact: bool,
    /// Hashes and index of the bytes below `covered`; loaded when first needed.
    pub(crate) table: Option<Rc<BlockTable>>,
}

/// The first reservation of a segment, in bytes.
pub(crate) const RESERVE_BYTES_MIN: u64 = 64 * 1024;
/// The largest reservation ahead of need, in bytes.
pub(crate) const RESERVE_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl OpenSegment {
    pub(crate) fn id(&self) -> SegmentId {
        SegmentId::original(self.base_offset)
    }

    pub(crate) fn new(base_offset: Offset) -> Self {
        Self {
            base_offset,
            len: 0,
            covered: 0,
            tail: Bytes::new(),
            in_place: Vec::new(),
            max_timestamp: -1,
            first_timestamp: -1,
            modified_ms: -1,
            covered_max_timestamp: -1,
            first_append_ms: None,
            reserved: 0,
            reserve_ahead: RESERVE_BYTES_MIN,
            new_file: true,
            exact: false,
            table: None,
        }
    }

    /// A commit writes these blocks, which lie behind all that were noted before.
    pub(crate) fn note_in_place(&mut self, blocks: Range<u64>) {
        match self.in_place.last_mut() {
            Some(last) if last.end == blocks.start => last.end = blocks.end,
            _ => self.in_place.push(blocks),
        }
    }

    /// A checkpoint covers the segment up to this byte.
    pub(crate) fn cover(&mut self, covered: u64) {
        self.covered = covered;
        let whole = align_down(covered);
        self.in_place.retain_mut(|blocks| {
            blocks.start = blocks.start.max(whole);
            blocks.start < blocks.end
        });
    }

    /// How long the segment has been filling: by the batches' time where they have one, else by the clock. As Kafka's
    /// `LogSegment.timeWaitedForRoll`.
    fn waited_ms(&self, max_timestamp: i64, now_ms: i64) -> i64 {
        match (self.first_timestamp, self.first_append_ms) {
            (0.., _) => max_timestamp.saturating_sub(self.first_timestamp),
            (_, Some(first)) => now_ms.saturating_sub(first),
            (_, None) => 0,
        }
    }

    /// This segment's part of `segment.jitter.ms`: any number will do, as long as segments that were begun together differ.
    fn jitter_ms(&self, log_id: LogId, config: &LogConfig) -> i64 {
        let bound = config.segment_jitter_ms.min(config.segment_ms).max(0) as u64;
        match bound {
            0 => 0,
            bound => (xxh3_64_with_seed(&self.base_offset.to_le_bytes(), log_id.0) % bound) as i64,
        }
    }
}

/// What the last checkpoint says of a log; enough to write it again when the checkpoint log is rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// Sequence of the last journal entry covered; 0 before the first.
    pub sequence: u64,
    /// Base offset of the segment that was active.
    pub segment_base: Offset,
    /// Bytes of it that are covered.
    pub segment_len: u64,
    /// Offset after the last batch covered.
    pub next_offset: Offset,
    /// First offset that may be read.
    pub log_start_offset: Offset,
    /// Largest timestamp in the segment below `segment_len`, in ms.
    pub max_timestamp: i64,
    /// Largest timestamp of its first batch, in ms.
    pub first_timestamp: i64,
    /// Wall clock of the last append to it, in ms.
    pub modified_ms: i64,
    /// Everything below was compacted; see `compaction`.
    pub first_dirty_offset: Offset,
    /// Leader epochs up to `next_offset`.
    pub leader_epochs: LeaderEpochs,
    /// Bytes of the segment's last, partial block.
    pub tail: Bytes,
    /// The tenant's snapshot.
    pub tenant: Option<Bytes>,
    /// Everything below this offset is in the tenant's snapshot; at least `next_offset`.
    pub tenant_end_offset: Offset,
}

impl Default for Covered {
    /// What is known of a log that was just made.
    fn default() -> Self {
        Self {
            sequence: 0,
            segment_base: 0,
            segment_len: 0,
            next_offset: 0,
            log_start_offset: 0,
            max_timestamp: -1,
            first_timestamp: -1,
            modified_ms: -1,
            first_dirty_offset: 0,
            leader_epochs: LeaderEpochs::default(),
            tail: Bytes::new(),
            tenant: None,
            tenant_end_offset: 0,
        }
    }
}

/// Everything of a log that changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) closed: Vec<ClosedSegment>,
    /// Rolled, not yet covered whole; oldest first.
    pub(crate) closing: VecDeque<OpenSegment>,
    pub(crate) active: OpenSegment,
    pub(crate) cache: TailCache,
    /// Sequence of the last entry appended to the journal.
    pub(crate) sequence: u64,
    pub(crate) log_start_offset: Offset,
    /// Everything below was compacted.
    pub(crate) first_dirty_offset: Offset,
    pub(crate) next_offset: Offset,
    pub(crate) leader_epochs: LeaderEpochs,
    pub(crate) covered: Covered,
    /// Journal position after the last entry appended.
    pub(crate) last_ticket: Option<crate::journal::Ticket>,
    /// Of the entry that moved the log's start last.
    pub(crate) log_start_ticket: Option<crate::journal::Ticket>,
    /// What compaction is writing; no checkpoint names it yet.
    pub(crate) in_making: Option<SegmentId>,
    /// Whether the log is in its directory's list of those with something to write back.
    pub(crate) listed_dirty: bool,
}

impl State {
    pub(crate) fn new(closed: Vec<ClosedSegment>, covered: Covered) -> Self {
        let mut active = OpenSegment::new(covered.segment_base);
        active.len = covered.segment_len;
        active.covered = covered.segment_len;
        active.tail = covered.tail.clone();
        active.max_timestamp = covered.max_timestamp;
        active.first_timestamp = covered.first_timestamp;
        active.modified_ms = covered.modified_ms;
        active.covered_max_timestamp = covered.max_timestamp;
        Self {
            closed,
            closing: VecDeque::new(),
            active,
            cache: TailCache::default(),
            sequence: covered.sequence,
            log_start_offset: covered.log_start_offset,
            first_dirty_offset: covered.first_dirty_offset,
            next_offset: covered.next_offset,
            leader_epochs: covered.leader_epochs.clone(),
            covered,
            last_ticket: None,
            log_start_ticket: None,
            in_making: None,
            listed_dirty: false,
        }
    }

    /// Whether a batch of `len` bytes and with this largest timestamp must go to a new segment.
    pub(crate) fn must_roll(
        &self,
        log_id: LogId,
        config: &LogConfig,
        len: usize,
        max_timestamp: i64,
        now_ms: i64,
    ) -> bool {
        let active = &self.active;
        if active.len == 0 {
            return false;
        }
        active.len + len as u64 > u64::from(config.segment_bytes)
            || active.waited_ms(max_timestamp, now_ms) > config.segment_ms - active.jitter_ms(log_id, config)
            // Positions in a segment's index count offsets from its base in 32 bits; half of it leaves any batch room.
            || self.next_offset - active.base_offset > i64::from(i32::MAX / 2)
    }

    /// Starts a new segment at the log's end.
    pub(crate) fn roll(&mut self) {
        let rolled = std::mem::replace(&mut self.active, OpenSegment::new(self.next_offset));
        self.closing.push_back(rolled);
    }

    /// Where the last closed segment ends.
    pub(crate) fn closed_end_offset(&self) -> Offset {
        self.closing.front().unwrap_or(&self.active).base_offset
    }

    /// Segments that are not wholly covered, oldest first.
    pub(crate) fn open_segments(&self) -> impl Iterator<Item = &OpenSegment> {
        self.closing.iter().chain(std::iter::once(&self.active))
    }

    pub(crate) fn open_segment_mut(&mut self, base_offset: Offset) -> Option<&mut OpenSegment> {
        self.closing
            .iter_mut()
            .chain(std::iter::once(&mut self.active))
            .find(|s| s.base_offset == base_offset)
    }

    /// Bytes appended that no checkpoint covers.
    pub(crate) fn uncovered_bytes(&self) -> u64 {
        self.open_segments().map(|segment| segment.len - segment.covered).sum()
    }
}
