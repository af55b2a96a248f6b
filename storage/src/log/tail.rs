//! The tail cache of one log: the newest batches as shared bytes, for fetches and for write-back.
//!
//! Pure: no clock, no disk. The log pushes what it appended, reads slices, gathers ranges of a segment and evicts what a
//! checkpoint covers. A batch is pinned when its buffer is mostly its own, and copied into a growing chunk otherwise,
//! so that what is charged is what is held. Deliberately absent: the limit over all logs of a core (`log::cache`).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::types::Offset;

/// The first chunk of a log that appends small batches, in bytes; each further one is twice as large.
pub const CHUNK_BYTES_MIN: usize = 4 * 1024;

/// The largest chunk, in bytes. A batch that does not fit gets an allocation of its own.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Where a batch lies and what it holds; everything the cache must know besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Base offset of the segment.
    pub segment_base: Offset,
    /// First byte of the batch in its segment.
    pub position: u32,
    /// Offset of the batch's first record.
    pub base_offset: Offset,
    /// Offset after the batch's last record.
    pub next_offset: Offset,
    /// Largest timestamp in the batch, in ms.
    pub max_timestamp: i64,
}

/// A cached batch.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Where it lies.
    pub at: Placed,
    /// The whole batch.
    pub bytes: Bytes,
    /// Bytes of memory that are free once this piece (and all before it) is evicted.
    charge: usize,
}

impl Piece {
    fn end_position(&self) -> u64 {
        u64::from(self.at.position) + self.bytes.len() as u64
    }
}

/// A unit that may be evicted as a whole: every piece below `next_offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evictable {
    /// Offset after the unit's last batch.
    pub next_offset: Offset,
}

/// Batches handed to a reader.
#[derive(Debug, Clone, Default)]
pub struct Slices {
    /// Whole batches, in offset order. The first may begin below the offset that was asked for.
    pub batches: Vec<Bytes>,
    /// Their bytes together.
    pub total_bytes: usize,
    /// Offset after the last batch, or the offset asked for when there is none.
    pub next_offset: Offset,
}

/// The newest batches of a log, contiguous up to its end.
#[derive(Debug)]
pub struct TailCache {
    pieces: VecDeque<Piece>,
    /// Where the next small batch is copied; pieces cut from it share its allocation.
    chunk: BytesMut,
    /// The whole allocation behind `chunk`, in bytes; charged to its last piece when the chunk is closed.
    chunk_bytes: usize,
    chunk_bytes_next: usize,
    /// Offset after the newest piece that lies in the open chunk.
    chunk_end: Option<Offset>,
    charged: usize,
}

impl Default for TailCache {
    fn default() -> Self {
        Self {
            pieces: VecDeque::new(),
            chunk: BytesMut::new(),
            chunk_bytes: 0,
            chunk_bytes_next: CHUNK_BYTES_MIN,
            chunk_end: None,
            charged: 0,
        }
    }
}

impl TailCache {
    /// Bytes of memory that the cache holds.
    pub fn charged_bytes(&self) -> usize {
        self.charged
    }

    /// Offset of the oldest cached batch.
    pub fn start_offset(&self) -> Option<Offset> {
        self.pieces.front().map(|piece| piece.at.base_offset)
    }

    /// Cached pieces from the oldest to the newest.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = &Piece> {
        self.pieces.iter()
    }

    /// Adds the newest batch. `backing_bytes` is the size of the allocation that `batch` keeps alive; when the batch is at
    /// least half of it, it is kept as it is, else copied. Units that became evictable are told to `closed`.
    pub fn push(
        &mut self,
        batch: Bytes,
        backing_bytes: usize,
        at: Placed,
        mut closed: impl FnMut(Evictable),
    ) {
        let unit = Evictable { next_offset: at.next_offset };
        if batch.len() * 2 >= backing_bytes {
            let charge = backing_bytes.max(batch.len());
            self.charged += charge;
            self.pieces.push_back(Piece { at, bytes: batch, charge });
            closed(unit);
        } else if batch.len() > CHUNK_BYTES_MAX / 2 {
            self.charged += batch.len();
            self.pieces.push_back(Piece { at, charge: batch.len(), bytes: Bytes::copy_from_slice(&batch) });
            closed(unit);
        } else {
            if self.chunk.capacity() < batch.len() {
                if let Some(unit) = self.close_chunk() {
                    closed(unit);
                }
                let size = self.chunk_bytes_next.max(batch.len());
                self.chunk_bytes_next = (self.chunk_bytes_next * 2).min(CHUNK_BYTES_MAX);
                self.chunk = BytesMut::with_capacity(size);
                self.chunk_bytes = size;
                self.charged += size;
            }
            self.chunk.extend_from_slice(&batch);
            self.chunk_end = Some(at.next_offset);
            self.pieces.push_back(Piece { at, bytes: self.chunk.split().freeze(), charge: 0 });
        }
    }

    /// Ends the open chunk, so that its pieces can be evicted; the next small batch starts a new one. Called when the
    /// chunk is full and when the log has gone quiet.
    pub fn close_chunk(&mut self) -> Option<Evictable> {
        let size = std::mem::take(&mut self.chunk_bytes);
        self.chunk = BytesMut::new();
        let end = self.chunk_end.take();
        let last = end.and_then(|end| {
            let index = self.pieces.partition_point(|piece| piece.at.next_offset < end);
            self.pieces.get_mut(index).filter(|piece| piece.at.next_offset == end)
        });
        match last {
            Some(piece) => {
                piece.charge += size;
                Some(Evictable { next_offset: piece.at.next_offset })
            }
            None => {
                self.charged -= size;
                None
            }
        }
    }

    /// Forgets that this log used to fill large chunks. Called when it has gone quiet.
    pub fn restart_chunks_small(&mut self) {
        self.chunk_bytes_next = CHUNK_BYTES_MIN;
    }

    /// Drops every piece below `next_offset` and returns how many bytes of memory that freed.
    pub fn evict(&mut self, next_offset: Offset) -> usize {
        let mut freed = 0;
        while let Some(piece) = self.pieces.front() {
            if piece.at.next_offset > next_offset {
                break;
            }
            freed += piece.charge;
            self.pieces.pop_front();
        }
        self.charged -= freed;
        freed
    }

    /// Batches from the one that holds `offset` up to `end_offset`, at most `max_bytes` of them, but at least one when
    /// `at_least_one`. None when `offset` lies before the oldest cached batch.
    pub fn slices(
        &self,
        offset: Offset,
        end_offset: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Option<Slices> {
        if self.start_offset()? > offset {
            return None;
        }
        let mut slices = Slices { next_offset: offset, ..Slices::default() };
        let first = self.pieces.partition_point(|piece| piece.at.next_offset <= offset);
        for piece in self.pieces.range(first..) {
            if piece.at.next_offset > end_offset {
                break;
            }
            let fits = slices.total_bytes + piece.bytes.len() <= max_bytes;
            let forced = at_least_one && slices.batches.is_empty();
            if !fits && !forced {
                break;
            }
            slices.total_bytes += piece.bytes.len();
            slices.next_offset = piece.at.next_offset;
            slices.batches.push(piece.bytes.clone());
        }
        Some(slices)
    }

    /// The pieces of a segment that hold any byte of `[from, to)`.
    pub fn pieces_of(&self, segment_base: Offset, from: u64, to: u64) -> impl Iterator<Item = &Piece> {
        let first = self.pieces.partition_point(|piece| {
            (piece.at.segment_base, piece.end_position()) <= (segment_base, from)
                || piece.at.segment_base < segment_base
        });
        self.pieces.range(first..).take_while(move |piece| {
            piece.at.segment_base == segment_base && u64::from(piece.at.position) < to
        })
    }

    /// Copies the bytes `[from, from + into.len())` of a segment from the cached pieces. Returns how many bytes of the range
    /// were there; the caller asserts that it was all of them.
    pub fn gather(&self, segment_base: Offset, from: u64, into: &mut [u8]) -> usize {
        let to = from + into.len() as u64;
        let mut copied = 0;
        for piece in self.pieces_of(segment_base, from, to) {
            let start = from.max(u64::from(piece.at.position));
            let end = to.min(piece.end_position());
            let source = (start - u64::from(piece.at.position)) as usize
                ..(end - u64::from(piece.at.position)) as usize;
            let target = (start - from) as usize..(end - from) as usize;
            into[target].copy_from_slice(&piece.bytes[source]);
            copied += (end - start) as usize;
        }
        copied
    }
}
