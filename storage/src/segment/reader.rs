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
    /// The length of the first batch when it was longer than it might be, so that nothing was read of it.
    pub refused_bytes: Option<usize>,
}

/// What a search by timestamp has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The record's offset and timestamp.
    At(Offset, i64),
    /// The segment has none.
    Nothing,
    /// A batch of this length would have to be opened, and that is more than may be read.
    Refused(usize),
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
    /// into `max_bytes`, and the first one also when it takes up to `first_bytes_max`. Empty at the end of the segment. What is sound
    /// in front of damaged bytes comes as if it were the end.
    /// Memory: what comes back, and one transfer of 512 KiB.
    ///
    /// # Errors
    /// `Corrupt` when a hash or a header is not what it was; what the disk says.
    pub async fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        first_bytes_max: usize,
    ) -> Result<ColdBatches> {
        let nothing =
            ColdBatches { bytes: Bytes::new(), next_offset: offset, exhausted: true, refused_bytes: None };
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
            let fits =
                len + batch.total_len() <= max_bytes || (len == 0 && batch.total_len() <= first_bytes_max);
            if !fits {
                break;
            }
            match stream.bytes(len + batch.total_len()).await {
                Err(error) if len > 0 && error.is_corruption() => break,
                bytes => bytes?,
            };
            len += batch.total_len();
            next_offset = batch.next_offset();
            // Nothing is read to find that not even a header fits any more.
            if len + HEADER_BYTES > max_bytes {
                break;
            }
            header = match stream.header(len).await {
                Err(error) if error.is_corruption() => break,
                next => next?,
            };
        }
        if len == 0 {
            let refused_bytes = header.map(|first| first.total_len());
            return Ok(ColdBatches { exhausted: header.is_none(), refused_bytes, ..nothing });
        }
        let bytes = stream.take(len).await?;
        Ok(ColdBatches { bytes, next_offset, exhausted: false, refused_bytes: None })
    }

    /// The first record at or after `offset_min` with a timestamp of at least `target_ms`. Holds one whole batch at a time, of at
    /// most `batch_bytes_max`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn find_timestamp(
        &self,
        target_ms: i64,
        offset_min: Offset,
        batch_bytes_max: usize,
    ) -> Result<Found> {
        let by_time = self.table.find_timestamp(target_ms);
        let by_offset = self.table.find_offset(offset_min.max(self.table.base_offset()));
        let (Some(by_time), Some(by_offset)) = (by_time, by_offset) else {
            return Ok(Found::Nothing);
        };
        let start = by_time.position.max(by_offset.position);
        let mut stream = BatchStream::new(self.io, self.source, self.table, start);
        while let Some(header) = stream.header(0).await? {
            if header.max_timestamp >= target_ms && header.last_offset() >= offset_min {
                if header.total_len() > batch_bytes_max {
                    return Ok(Found::Refused(header.total_len()));
                }
                let position = stream.position();
                let bytes = stream.bytes(header.total_len()).await?;
                let found = batch::find_timestamp(bytes, target_ms, offset_min)
                    .map_err(|error| self.source.corrupt(position, error.to_string()))?;
                if let Some((offset, timestamp_ms)) = found {
                    return Ok(Found::At(offset, timestamp_ms));
                }
            }
            stream.pass(header.total_len());
        }
        Ok(Found::Nothing)
    }

    /// The first record that has the segment's largest timestamp (KIP-734), in a batch of whatever size; nothing when no record
    /// has one.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn max_timestamp_record(&self) -> Result<Found> {
        let max_timestamp = self.table.max_timestamp();
        if max_timestamp < 0 {
            return Ok(Found::Nothing);
        }
        self.find_timestamp(max_timestamp, self.table.base_offset(), usize::MAX).await
    }
}
