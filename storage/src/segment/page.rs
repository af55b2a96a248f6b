//! The pages of `.blocks`: 4096 bytes that describe 160 chunks (10 MiB) of a segment (decision 0001).
//!
//! Pure encoding and verification; called by `table` and `rebuild`. A page that does not verify is no loss: it is made
//! again from the segment. Deliberately absent: when pages are written.

use xxhash_rust::xxh3::xxh3_64;

use super::table::{CHUNK_BYTES, ChunkIndex};
use crate::types::Offset;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// Chunks that a page describes at most.
pub const PAGE_CHUNKS: usize = 160;

/// The format this version reads and writes.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"CLBLOCKS";
const RECORD_BYTES: usize = 24;
const HASH_AT: usize = 48;
const RECORDS_AT: usize = 56;
const NO_BATCH_STARTS: u32 = u32::MAX;

const _: () = assert!(RECORDS_AT + PAGE_CHUNKS * RECORD_BYTES <= PAGE_BYTES);

/// Why a page says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PageError {
    /// Never written, torn or damaged: make it again from the segment.
    #[error("the page does not verify")]
    Damaged,
    /// A sound page of another format: refuse the directory.
    #[error("the page has format version {found}; {VERSION} is known")]
    Version {
        /// The version it has.
        found: u32,
    },
}

/// What a page says of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRecord {
    pub(super) hash: u64,
    pub(super) index: ChunkIndex,
}

/// A verified page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// End of what it describes, in bytes from the start of the segment: a multiple of the chunk, or inside the last one.
    pub(super) described_end: u64,
    /// Largest timestamp of all batches of the segment that start below that.
    pub(super) max_timestamp: i64,
    pub(super) records: Vec<PageRecord>,
}

pub(super) fn encode(
    page: usize,
    base_offset: Offset,
    described_end: u64,
    max_timestamp: i64,
    records: impl ExactSizeIterator<Item = PageRecord>,
) -> [u8; PAGE_BYTES] {
    let mut out = [0; PAGE_BYTES];
    put(&mut out, 0, MAGIC);
    put(&mut out, 8, VERSION.to_le_bytes());
    put(&mut out, 12, (records.len() as u32).to_le_bytes());
    put(&mut out, 16, (page as u64).to_le_bytes());
    put(&mut out, 24, base_offset.to_le_bytes());
    put(&mut out, 32, described_end.to_le_bytes());
    put(&mut out, 40, max_timestamp.to_le_bytes());
    for (i, record) in records.enumerate() {
        let at = RECORDS_AT + i * RECORD_BYTES;
        put(&mut out, at, record.hash.to_le_bytes());
        put(&mut out, at + 8, record.index.first.unwrap_or(NO_BATCH_STARTS).to_le_bytes());
        put(&mut out, at + 12, record.index.offset_delta.to_le_bytes());
        put(&mut out, at + 16, record.index.max_timestamp_before.to_le_bytes());
    }
    let hash = xxh3_64(&out);
    put(&mut out, HASH_AT, hash.to_le_bytes());
    out
}

/// Reads page number `page` of the segment with `base_offset`.
///
/// # Errors
/// [`PageError::Damaged`] when any bit of it is not as it was written or it belongs elsewhere, [`PageError::Version`] when it is a
/// sound page of another format.
pub(super) fn decode_page(bytes: &[u8], page: usize, base_offset: Offset) -> Result<Page, PageError> {
    let bytes: &[u8; PAGE_BYTES] = bytes.try_into().map_err(|_| PageError::Damaged)?;
    let mut without_hash = *bytes;
    put(&mut without_hash, HASH_AT, [0; 8]);
    if bytes[..8] != MAGIC || xxh3_64(&without_hash) != u64::from_le_bytes(field(bytes, HASH_AT)) {
        return Err(PageError::Damaged);
    }
    let version = u32::from_le_bytes(field(bytes, 8));
    if version != VERSION {
        return Err(PageError::Version { found: version });
    }
    let count = u32::from_le_bytes(field(bytes, 12)) as usize;
    let described_end = u64::from_le_bytes(field(bytes, 32));
    let chunks_before = (page * PAGE_CHUNKS) as u64;
    let fits = u64::from_le_bytes(field(bytes, 16)) == page as u64
        && i64::from_le_bytes(field(bytes, 24)) == base_offset
        && (1..=PAGE_CHUNKS).contains(&count)
        && described_end.div_ceil(CHUNK_BYTES as u64) == chunks_before + count as u64;
    if !fits {
        return Err(PageError::Damaged);
    }
    let records = (0..count).map(|i| {
        let at = RECORDS_AT + i * RECORD_BYTES;
        let first = u32::from_le_bytes(field(bytes, at + 8));
        PageRecord {
            hash: u64::from_le_bytes(field(bytes, at)),
            index: ChunkIndex {
                first: (first != NO_BATCH_STARTS).then_some(first),
                offset_delta: u32::from_le_bytes(field(bytes, at + 12)),
                max_timestamp_before: i64::from_le_bytes(field(bytes, at + 16)),
            },
        }
    });
    Ok(Page {
        described_end,
        max_timestamp: i64::from_le_bytes(field(bytes, 40)),
        records: records.collect(),
    })
}

fn field<const N: usize>(bytes: &[u8; PAGE_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn put<const N: usize>(bytes: &mut [u8; PAGE_BYTES], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}
