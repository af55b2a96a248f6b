//! What is known of a segment's bytes: a hash per 64 KiB, and where to begin reading for an offset or a timestamp.
//!
//! Pure. Write-back extends it with what it writes, cold reads verify and search with it, `page` stores it. It describes
//! exactly the bytes below [`BlockTable::len`]. Deliberately absent: the batches themselves.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::page::{self, PAGE_BYTES, PAGE_CHUNKS, PageRecord};
use crate::types::Offset;

/// Bytes under one hash: the unit in which a segment is verified.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Where a batch starts in its segment, and what the index needs to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchStart {
    /// Bytes from the start of the segment.
    pub position: u32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Its largest timestamp in milliseconds, -1 when it has none.
    pub max_timestamp: i64,
}

/// Where to begin reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// First byte of a batch at or before the one that is looked for; less than one chunk and one batch before it.
    pub position: u64,
    /// Offset of that batch's first record.
    pub base_offset: Offset,
}

/// The index's part of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkIndex {
    /// First batch that starts in the chunk; `None` inside a batch larger than a chunk.
    pub(super) first: Option<u32>,
    /// That batch's base offset minus the segment's; without one, what the chunk before says. Never falls.
    pub(super) offset_delta: u32,
    /// Largest timestamp of all batches that start before the chunk; -1 at the start. Never falls.
    pub(super) max_timestamp_before: i64,
}

/// What verifies the last, partial chunk.
#[derive(Clone)]
enum PartialChunk {
    /// Its bytes may still grow.
    Open(Box<Xxh3>),
    /// Read from a page: it can be verified, not extended.
    Stored(u64),
}

/// Hashes and index of one segment.
#[derive(Clone)]
pub struct BlockTable {
    base_offset: Offset,
    len: u64,
    max_timestamp: i64,
    hashes: Vec<u64>,
    partial: PartialChunk,
    /// One per chunk of which at least a byte is described.
    index: Vec<ChunkIndex>,
}

impl std::fmt::Debug for BlockTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockTable of segment {} up to byte {}", self.base_offset, self.len)
    }
}

impl BlockTable {
    /// The table of an empty segment.
    pub fn new(base_offset: Offset) -> Self {
        Self {
            base_offset,
            len: 0,
            max_timestamp: -1,
            hashes: Vec::new(),
            partial: PartialChunk::Open(Box::default()),
            index: Vec::new(),
        }
    }

    /// Base offset of the segment.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Bytes of the segment that are described.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is described.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Largest timestamp of all batches that start below [`Self::len`], in milliseconds; -1 when there is none.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Memory it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<Xxh3>()
            + self.hashes.capacity() * size_of::<u64>()
            + self.index.capacity() * size_of::<ChunkIndex>()
    }

    /// Describes the next bytes of the segment: exactly those from [`Self::len`] on. They may end inside a batch;
    /// `starts` names each batch that starts in them, in order, whether or not it ends in them.
    ///
    /// # Panics
    /// When a start lies outside these bytes or is out of order; when the table came from pages and has not been
    /// completed (see `rebuild`).
    pub fn extend(&mut self, bytes: &[u8], starts: impl IntoIterator<Item = BatchStart>) {
        let end = self.len + bytes.len() as u64;
        assert!(end <= u64::from(u32::MAX), "segment {} would reach {end} bytes", self.base_offset);
        let mut from = self.len;
        for start in starts {
            let position = u64::from(start.position);
            assert!(
                (from..end).contains(&position),
                "batch at byte {position} of segment {} does not start in bytes {from} to {end}",
                self.base_offset
            );
            self.note_start(start);
            from = position + 1;
        }
        self.cover_index(end);
        self.hash(bytes);
        self.len = end;
    }

    fn note_start(&mut self, start: BatchStart) {
        let delta = start.base_offset - self.base_offset;
        let delta = u32::try_from(delta).unwrap_or_else(|_| {
            panic!("offset {} is not in segment {}", start.base_offset, self.base_offset)
        });
        let position = u64::from(start.position);
        self.cover_index(position + 1);
        // All chunks up to the batch's own are there now; nothing beyond it is, because starts come in order.
        if let Some(chunk) = self.index.last_mut().filter(|chunk| chunk.first.is_none()) {
            chunk.first = Some(start.position);
            chunk.offset_delta = delta;
        }
        self.max_timestamp = self.max_timestamp.max(start.max_timestamp);
    }

    /// Adds index entries for all chunks that begin below `end`, as chunks in which no batch starts.
    fn cover_index(&mut self, end: u64) {
        while (self.index.len() as u64) < end.div_ceil(CHUNK_BYTES as u64) {
            let offset_delta = self.index.last().map_or(0, |before| before.offset_delta);
            self.index.push(ChunkIndex {
                first: None,
                offset_delta,
                max_timestamp_before: self.max_timestamp,
            });
        }
    }

    fn hash(&mut self, mut bytes: &[u8]) {
        let PartialChunk::Open(state) = &mut self.partial else {
            panic!(
                "the table of segment {} was read from pages and must be completed first",
                self.base_offset
            );
        };
        let mut filled = (self.len % CHUNK_BYTES as u64) as usize;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - filled));
            state.update(now);
            filled += now.len();
            if filled == CHUNK_BYTES {
                self.hashes.push(state.digest());
                state.reset();
                filled = 0;
            }
            bytes = rest;
        }
    }

    /// Whether `bytes` are the whole of chunk `chunk`: 64 KiB, or what there is of the last one.
    pub fn verify(&self, chunk: usize, bytes: &[u8]) -> bool {
        let range = self.chunk_range(chunk);
        if bytes.is_empty() || bytes.len() as u64 != range.end - range.start {
            return false;
        }
        let expected = self.hashes.get(chunk).copied().unwrap_or_else(|| self.partial_hash());
        xxh3_64(bytes) == expected
    }

    /// The bytes of a chunk, as positions in the segment; empty beyond the end.
    pub fn chunk_range(&self, chunk: usize) -> std::ops::Range<u64> {
        let start = chunk as u64 * CHUNK_BYTES as u64;
        start.min(self.len)..(start + CHUNK_BYTES as u64).min(self.len)
    }

    /// Hash of the last, partial chunk; the same for all tables that have none.
    pub(super) fn partial_hash(&self) -> u64 {
        match &self.partial {
            PartialChunk::Open(state) => state.digest(),
            PartialChunk::Stored(hash) => *hash,
        }
    }

    /// Where to begin reading to find `offset`, or what follows it; none when the segment is empty or its base offset lies above.
    pub fn find_offset(&self, offset: Offset) -> Option<Lookup> {
        let delta = u32::try_from(offset.checked_sub(self.base_offset)?.min(i64::from(u32::MAX))).ok()?;
        // The first batch of a compacted segment may lie above the segment's own offset.
        self.last_start(self.index.partition_point(|chunk| chunk.offset_delta <= delta).max(1))
    }

    /// Where to begin reading to find the first batch whose largest timestamp is at least `target_ms`; none when there is
    /// no such batch.
    pub fn find_timestamp(&self, target_ms: i64) -> Option<Lookup> {
        if self.max_timestamp < target_ms {
            return None;
        }
        // The first chunk is always a candidate: nothing is before it.
        let chunks = self.index.partition_point(|chunk| chunk.max_timestamp_before < target_ms);
        self.last_start(chunks.max(1))
    }

    /// The first batch that starts in a chunk; none when that is all inside a larger one.
    pub(super) fn first_in_chunk(&self, chunk: usize) -> Option<Lookup> {
        let chunk = self.index.get(chunk)?;
        Some(Lookup {
            position: u64::from(chunk.first?),
            base_offset: self.base_offset + i64::from(chunk.offset_delta),
        })
    }

    /// The first batch of the last chunk among the first `chunks` in which one starts.
    pub(super) fn last_start(&self, chunks: usize) -> Option<Lookup> {
        (0..chunks.min(self.index.len())).rev().find_map(|chunk| self.first_in_chunk(chunk))
    }

    /// Whole chunks that are described; a page is worth writing when this has grown.
    pub fn whole_chunks(&self) -> usize {
        self.hashes.len()
    }

    /// Pages that describe the segment so far.
    pub fn page_count(&self) -> usize {
        self.index.len().div_ceil(PAGE_CHUNKS)
    }

    /// Page number `page`, to be written at `page * PAGE_BYTES` of `.blocks`. Its last record may describe a partial
    /// chunk: the page says how far it goes.
    ///
    /// # Panics
    /// When there is no such page.
    pub fn page(&self, page: usize) -> [u8; PAGE_BYTES] {
        let chunks = page * PAGE_CHUNKS..((page + 1) * PAGE_CHUNKS).min(self.index.len());
        assert!(
            !chunks.is_empty(),
            "segment {} has {} pages, not {page}",
            self.base_offset,
            self.page_count()
        );
        let described_end = self.chunk_range(chunks.end - 1).end;
        let max_timestamp =
            self.index.get(chunks.end).map_or(self.max_timestamp, |next| next.max_timestamp_before);
        let records = chunks.map(|chunk| PageRecord {
            hash: self.hashes.get(chunk).copied().unwrap_or_else(|| self.partial_hash()),
            index: self.index[chunk],
        });
        page::encode(page, self.base_offset, described_end, max_timestamp, records)
    }

    /// Appends what a page says to a table that ends where the page begins. The caller has checked that.
    pub(super) fn append_page(&mut self, page: &page::Page) {
        let whole = (page.described_end / CHUNK_BYTES as u64) as usize;
        for record in &page.records {
            if self.index.len() < whole {
                self.hashes.push(record.hash);
            } else {
                self.partial = PartialChunk::Stored(record.hash);
            }
            self.index.push(record.index);
        }
        self.len = page.described_end;
        self.max_timestamp = page.max_timestamp;
    }

    /// Forgets everything from the last whole chunk at or below `len` on, and with it the stored hash of a partial chunk.
    pub(super) fn cut_to_whole_chunks(&mut self, len: u64) {
        let chunks = self.hashes.len().min((len / CHUNK_BYTES as u64) as usize);
        if let Some(next) = self.index.get(chunks) {
            self.max_timestamp = next.max_timestamp_before;
        }
        self.hashes.truncate(chunks);
        self.index.truncate(chunks);
        self.len = (chunks * CHUNK_BYTES) as u64;
        self.partial = PartialChunk::Open(Box::default());
    }
}
