//! Cold reads: batches by offset and records by timestamp, straight from the disk and verified.
//!
//! Called by the log when its tail cache does not reach back far enough. Generic over the disk. Deliberately absent: a
//! cache and a limit on how many run at once, which are the log's.

use bytes::Bytes;

use super::stream::{BatchStream, SegmentBytes};
use super::table::{BlockTable, CHUNK_BYTES};
use crate::Result;
use crate::batch::{self, HEADER_BYTES};
use crate::io::Io;
use crate::types::Offset;

/// Whole batches in offset order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColdBatches {
    /// Their bytes, one after the other. The first may begin below the offset that was asked for.
    pub bytes: Bytes,
    /// Offset after the last batch; the offset that was asked for when there is none.
    pub next_offset: Offset,
    /// Whether the segment has no batch at or after the offset, so that the next segment is where to go on.
    pub exhausted: bool,
}

/// Reads one segment. Every chunk is held against its hash before a byte of it is used.
pub struct SegmentReader<'a, I: Io> {
    io: &'a I,
    source: SegmentBytes<'a, I::File>,
    table: &'a BlockTable,
}

impl<'a, I: Io> SegmentReader<'a, I> {
    /// A reader of the bytes that `table` describes.
    ///
    /// # Panics
    /// When `table` describes another length than `source` has: nothing may be read unverified.
    pub fn new(io: &'a I, source: SegmentBytes<'a, I::File>, table: &'a BlockTable) -> Self {
        assert_eq!(table.len(), source.len, "{table:?} does not describe {}", source.path.display());
        Self { io, source, table }
    }

    /// The batches from the one that holds `offset` on (or the next one, where compaction left a hole): as many as fit
    /// into `max_bytes`, and the first one whatever its size when `at_least_one` is set. Empty at the end of the segment.
    /// Memory: what comes back, and one transfer of 512 KiB.
    ///
    /// # Errors
    /// `Corrupt` when a hash or a header is not what it was; what the disk says.
    pub async fn read(&self, offset: Offset, max_bytes: usize, at_least_one: bool) -> Result<ColdBatches> {
        let nothing = ColdBatches { bytes: Bytes::new(), next_offset: offset, exhausted: true };
        // An offset below the segment's first one begins with its first batch.
        let Some(lookup) = self.table.find_offset(offset.max(self.table.base_offset())) else {
            return Ok(nothing);
        };
        let mut stream = BatchStream::new(self.io, self.source, self.table, lookup.position);
        stream.announce(max_bytes.min(CHUNK_BYTES));
        let mut header = stream.header(0).await?;
        while let Some(before) = header.filter(|header| header.last_offset() < offset) {
            stream.pass(before.total_len());
            header = stream.header(0).await?;
        }
        stream.announce(max_bytes);
        let (mut len, mut next_offset) = (0, offset);
        while let Some(batch) = header {
            let fits = len + batch.total_len() <= max_bytes || (len == 0 && at_least_one);
            if !fits {
                break;
            }
            len += batch.total_len();
            next_offset = batch.next_offset();
            // Nothing is read to find that not even a header fits any more.
            if len + HEADER_BYTES > max_bytes {
                break;
            }
            header = stream.header(len).await?;
        }
        if len == 0 {
            return Ok(ColdBatches { exhausted: header.is_none(), ..nothing });
        }
        let bytes = stream.take(len).await?;
        Ok(ColdBatches { bytes, next_offset, exhausted: false })
    }

    /// The first record at or after `offset_min` with a timestamp of at least `target_ms`: its offset and timestamp. Holds one
    /// whole batch at a time.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn find_timestamp(&self, target_ms: i64, offset_min: Offset) -> Result<Option<(Offset, i64)>> {
        let by_time = self.table.find_timestamp(target_ms);
        let by_offset = self.table.find_offset(offset_min.max(self.table.base_offset()));
        let (Some(by_time), Some(by_offset)) = (by_time, by_offset) else {
            return Ok(None);
        };
        let start = by_time.position.max(by_offset.position);
        let mut stream = BatchStream::new(self.io, self.source, self.table, start);
        while let Some(header) = stream.header(0).await? {
            if header.max_timestamp >= target_ms && header.last_offset() >= offset_min {
                let position = stream.position();
                let bytes = stream.bytes(header.total_len()).await?;
                let found = batch::find_timestamp(bytes, target_ms, offset_min)
                    .map_err(|error| self.source.corrupt(position, error.to_string()))?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            stream.pass(header.total_len());
        }
        Ok(None)
    }

    /// The first record that has the segment's largest timestamp: its offset and that timestamp; none when no record
    /// has one (KIP-734).
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn max_timestamp_record(&self) -> Result<Option<(Offset, i64)>> {
        let max_timestamp = self.table.max_timestamp();
        if max_timestamp < 0 {
            return Ok(None);
        }
        self.find_timestamp(max_timestamp, self.table.base_offset()).await
    }
}
