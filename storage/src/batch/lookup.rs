//! Finds records inside one stored batch by their timestamps.
//!
//! Called for ListOffsets by time and for the largest timestamp (KIP-734), once the segment's index has led to the batch.
//! Deliberately absent: which batch to look into.

use std::ops::ControlFlow;

use super::error::BatchError;
use super::header::{BatchHeader, TimestampType};
use super::records;
use crate::types::Offset;

/// Bound on what a stored batch decompresses to, in bytes. Memory does not depend on it (records are streamed); it ends a
/// bomb that was stored while validation was reduced to headers.
const STORED_DECOMPRESSED_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// The first record at or after `offset_min` with a timestamp of at least `target_ms`: its offset and timestamp.
/// Exact inside compressed batches too.
///
/// # Errors
/// Bytes that are not a whole, sound batch. The CRC is not looked at.
pub fn find_timestamp(
    batch: &[u8],
    target_ms: i64,
    offset_min: Offset,
) -> Result<Option<(Offset, i64)>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    if header.max_timestamp < target_ms || header.last_offset() < offset_min {
        return Ok(None);
    }
    first_where(batch, &header, |offset, timestamp_ms| timestamp_ms >= target_ms && offset >= offset_min)
}

/// The first record that has the batch's largest timestamp: its offset and that timestamp. None when the records have no
/// timestamps. In a LogAppendTime batch that is its first record.
///
/// # Errors
/// Bytes that are not a whole, sound batch. The CRC is not looked at.
pub fn max_timestamp_record(batch: &[u8]) -> Result<Option<(Offset, i64)>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    if header.max_timestamp < 0 {
        return Ok(None);
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Ok(Some((header.base_offset, header.max_timestamp)));
    }
    first_where(batch, &header, |_, timestamp_ms| timestamp_ms == header.max_timestamp)
}

fn first_where(
    batch: &[u8],
    header: &BatchHeader,
    wanted: impl Fn(Offset, i64) -> bool,
) -> Result<Option<(Offset, i64)>, BatchError> {
    let mut found = None;
    records::walk(batch, header, STORED_DECOMPRESSED_BYTES_MAX, |record| {
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        if wanted(offset, record.timestamp_ms) {
            found = Some((offset, record.timestamp_ms));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
