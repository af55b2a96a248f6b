//! Gets a segment's table back: from its pages where they verify, from the segment where they do not.
//!
//! Called when a table is needed that is not in memory: after a restart, for an old segment. Deliberately absent: segments whose
//! length is unknown; the checkpoint always knows it, and everything below it must be sound.

use std::path::Path;

use super::page::{self, PAGE_BYTES, PAGE_CHUNKS, PageError, decode_page};
use super::stream::{BatchStream, SegmentBytes};
use super::table::{BatchStart, BlockTable, CHUNK_BYTES, Lookup};
use crate::batch::{BatchHeader, CrcOfPieces};
use crate::io::{File, Io, TRANSFER_BYTES_MAX};
use crate::types::Offset;
use crate::{Result, StorageError};

/// Reads the pages of a segment's `.blocks` as far as they verify and describe bytes below `len`.
///
/// The table is ready for reading when its `len()` is `len`; otherwise, or to extend it, [`complete`] it. An empty or
/// damaged file gives an empty table.
///
/// # Errors
/// `UnknownVersion` for a sound page of another format, and what the disk says.
pub async fn load<F: File>(file: &F, path: &Path, base_offset: Offset, len: u64) -> Result<BlockTable> {
    let page_span = (PAGE_CHUNKS * CHUNK_BYTES) as u64;
    let pages = len.div_ceil(page_span) as usize;
    let mut table = BlockTable::new(base_offset);
    for first in (0..pages).step_by(TRANSFER_BYTES_MAX / PAGE_BYTES) {
        let count = (pages - first).min(TRANSFER_BYTES_MAX / PAGE_BYTES);
        let read = file.read_at((first * PAGE_BYTES) as u64, count * PAGE_BYTES).await?;
        for (page, bytes) in (first..first + count).zip(read.as_ref().chunks(PAGE_BYTES)) {
            match decode_page(bytes, page, base_offset) {
                Ok(decoded) => table.append_page(&decoded),
                Err(PageError::Damaged) => return Ok(table),
                Err(PageError::Version { found }) => {
                    let path = path.to_path_buf();
                    return Err(StorageError::UnknownVersion {
                        path,
                        what: "sidecar",
                        found,
                        known: page::VERSION,
                    });
                }
            }
            if table.len() > len {
                table.cut_to_whole_chunks(len);
                return Ok(table);
            }
            // A page that was not full when it was written says nothing of what the next one describes.
            if table.len() < (page as u64 + 1) * page_span {
                return Ok(table);
            }
        }
    }
    Ok(table)
}

/// What the bytes of a whole `.blocks` file say, and the number of the first page that does not verify. For tools: who serves
/// records uses [`load`].
pub fn read_pages(bytes: &[u8], base_offset: Offset) -> (BlockTable, Option<usize>) {
    let mut table = BlockTable::new(base_offset);
    for (page, bytes) in bytes.chunks(PAGE_BYTES).enumerate() {
        match decode_page(bytes, page, base_offset) {
            Ok(decoded) => table.append_page(&decoded),
            Err(_) => return (table, Some(page)),
        }
        if table.len() < (page as u64 + 1) * (PAGE_CHUNKS * CHUNK_BYTES) as u64 {
            break;
        }
    }
    (table, None)
}

/// A table that describes a whole segment and can be extended.
#[derive(Debug)]
pub struct Completed {
    /// The table.
    pub table: BlockTable,
    /// Offset after the segment's last batch; the base offset when it is empty.
    pub next_offset: Offset,
}

/// What a batch's own checksum leaves out, and the log knows otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'a> {
    /// Whether compaction may have left holes between the offsets.
    pub holes: bool,
    /// The log's leader epochs, each with the offset that it began at, oldest first. What lies below the first is not held against them.
    pub leader_epochs: &'a [(i32, Offset)],
}

impl Expected<'_> {
    /// Why a batch is not the one that should follow here.
    fn refuse(&self, header: &BatchHeader, next_offset: Offset) -> Option<String> {
        let base_offset = header.base_offset;
        if base_offset < next_offset || (base_offset > next_offset && !self.holes) {
            return Some(format!("offset {next_offset} should follow here and {base_offset} does"));
        }
        // By its last offset: the log's start may lie inside a batch, and its first epoch begins there then.
        let after = self.leader_epochs.partition_point(|(_, start)| *start <= header.last_offset());
        let (expected, _) = self.leader_epochs.get(after.checked_sub(1)?)?;
        let found = header.partition_leader_epoch;
        (*expected != found).then(|| {
            format!("offset {base_offset} was written in leader epoch {expected}, and {found} is here")
        })
    }
}

/// Completes a table that describes the start of a segment, or nothing at all, by scanning the rest: the CRC of every batch
/// and the chain of offsets and leader epochs are verified, and the hash of every chunk that is known. Memory: one transfer.
///
/// # Errors
/// `Corrupt` at the first batch or chunk that is not sound; what the disk says.
pub async fn complete<I: Io>(
    io: &I,
    source: SegmentBytes<'_, I::File>,
    table: BlockTable,
    expected: Expected<'_>,
) -> Result<Completed> {
    complete_slowly(io, source, table, expected, async |_| Ok(())).await
}

/// As [`complete`], for those who are in no hurry: `pace` is told of every few bytes that were read, and may wait, or give up.
///
/// # Errors
/// As [`complete`], and what `pace` says.
pub(crate) async fn complete_slowly<I: Io>(
    io: &I,
    source: SegmentBytes<'_, I::File>,
    table: BlockTable,
    expected: Expected<'_>,
    mut pace: impl AsyncFnMut(u64) -> Result<()>,
) -> Result<Completed> {
    let stored = (table.len() == source.len).then(|| table.partial_hash());
    let mut known = table;
    known.cut_to_whole_chunks(source.len);
    let start =
        known.last_start(usize::MAX).unwrap_or(Lookup { position: 0, base_offset: known.base_offset() });
    let mut grown = known.clone();
    let mut stream = BatchStream::new(io, source, &known, start.position);
    let mut next_offset = start.base_offset;
    while let Some(header) = stream.header(0).await? {
        let position = stream.position();
        if let Some(what) = expected.refuse(&header, next_offset) {
            return Err(source.corrupt(position, what));
        }
        next_offset = header.next_offset();
        let mut start = Some(BatchStart {
            position: position as u32,
            base_offset: header.base_offset,
            max_timestamp: header.max_timestamp,
        });
        let mut crc = CrcOfPieces::new(&header);
        let mut left = header.total_len();
        while left > 0 {
            let len = left.min(CHUNK_BYTES);
            let from = stream.position();
            let bytes = stream.bytes(len).await?;
            crc.update(bytes);
            // What the known chunks describe is only looked at to verify it.
            let described = grown.len().saturating_sub(from).min(len as u64) as usize;
            let starts = start.take().filter(|_| from >= grown.len());
            grown.extend(&bytes[described..], starts);
            stream.pass(len);
            left -= len;
            pace(len as u64).await?;
        }
        crc.check().map_err(|error| source.corrupt(position, error.to_string()))?;
    }
    if stored.is_some_and(|hash| hash != grown.partial_hash()) {
        let position = grown.chunk_range(grown.whole_chunks()).start;
        return Err(source.corrupt(position, "the bytes from here to the end do not have the recorded hash"));
    }
    Ok(Completed { table: grown, next_offset })
}
