//! Takes records out of a stored batch and writes what is left as Kafka's cleaner does: same offsets, same producer, same codec.
//!
//! Called by compaction. Pure. Follows `MemoryRecords.filterTo` and `MemoryRecordsBuilder` (KIP-98, KIP-534). Deliberately
//! absent: which records stay.

use std::io::Read;

use super::builder::put_varlong;
use super::compression::{self, Compression};
use super::error::BatchError;
use super::header::{BatchHeader, CRC_FROM, DELETE_HORIZON, HEADER_BYTES, TimestampType, attributes};
use crate::types::Offset;

/// A record as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRecord<'a> {
    /// Its offset in the log.
    pub offset: Offset,
    /// Its timestamp in ms; -1 for none.
    pub timestamp_ms: i64,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    offset_delta: i32,
    attributes: u8,
    /// Everything behind the offset delta: key, value and headers as they lie.
    rest: &'a [u8],
}

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filtered {
    /// Records that stay.
    pub retained: usize,
    /// The batch with those records; none when it stays as it is, or nothing of it does.
    pub rewritten: Option<Vec<u8>>,
}

/// Shows every record of a whole stored batch to `visit`, until it returns false.
///
/// # Errors
/// Records that contradict themselves, or decompress to more than `decompressed_bytes_max`.
pub fn visit_records(
    batch: &[u8],
    header: &BatchHeader,
    decompressed_bytes_max: u64,
    mut visit: impl FnMut(&BatchRecord<'_>) -> bool,
) -> Result<(), BatchError> {
    let plain = plain_records(batch, header, decompressed_bytes_max)?;
    let mut left = &plain[..];
    for index in 0..header.records_count {
        let (record, after) = next_record(left, header)
            .ok_or(BatchError::Record { index, what: "is not what was validated when it was stored" })?;
        left = after;
        if !visit(&record) {
            break;
        }
    }
    Ok(())
}

/// Keeps the records that `keep` wants. When a tombstone stays (or `force_horizon` is set) and the batch has no delete horizon,
/// it gets `horizon_ms` as one, in the place of its base timestamp.
///
/// # Errors
/// As [`visit_records`].
pub fn filter(
    batch: &[u8],
    header: &BatchHeader,
    decompressed_bytes_max: u64,
    (horizon_ms, force_horizon): (i64, bool),
    mut keep: impl FnMut(&BatchRecord<'_>) -> bool,
) -> Result<Filtered, BatchError> {
    let plain = plain_records(batch, header, decompressed_bytes_max)?;
    let mut kept = Vec::new();
    let mut left = &plain[..];
    for index in 0..header.records_count {
        let (record, after) = next_record(left, header)
            .ok_or(BatchError::Record { index, what: "is not what was validated when it was stored" })?;
        left = after;
        if keep(&record) {
            kept.push(record);
        }
    }
    let has_tombstone = kept.iter().any(|record| record.value.is_none());
    let sets_horizon = !header.has_delete_horizon() && (has_tombstone || force_horizon);
    let unchanged = kept.len() == header.records_count.max(0) as usize && !sets_horizon;
    let rewritten = (!kept.is_empty() && !unchanged).then(|| {
        let horizon_ms = match header.has_delete_horizon() {
            true => Some(header.base_timestamp),
            false => sets_horizon.then_some(horizon_ms),
        };
        encode(header, &kept, horizon_ms)
    });
    Ok(Filtered { retained: kept.len(), rewritten })
}

/// A batch without records that keeps its offsets and its producer's last sequence, as Kafka writes it.
pub fn empty_batch(header: &BatchHeader) -> Vec<u8> {
    let log_append_time = header.timestamp_type() == TimestampType::LogAppendTime;
    let empty = BatchHeader {
        attributes: attributes(
            Compression::None,
            log_append_time,
            header.is_transactional(),
            header.is_control(),
        ),
        base_timestamp: -1,
        records_count: 0,
        ..*header
    };
    seal(empty, &[])
}

fn encode(header: &BatchHeader, kept: &[BatchRecord<'_>], horizon_ms: Option<i64>) -> Vec<u8> {
    let base_timestamp = horizon_ms.or(kept.first().map(|record| record.timestamp_ms)).unwrap_or(-1);
    let mut plain = Vec::new();
    let mut body = Vec::new();
    for record in kept {
        body.clear();
        body.push(record.attributes);
        put_varlong(&mut body, record.timestamp_ms.wrapping_sub(base_timestamp));
        put_varlong(&mut body, i64::from(record.offset_delta));
        body.extend_from_slice(record.rest);
        put_varlong(&mut plain, body.len() as i64);
        plain.extend_from_slice(&body);
    }
    let codec = header.compression();
    let records = compression::compress(codec, &plain)
        .unwrap_or_else(|cause| unreachable!("{codec} could not write into memory: {cause}"));
    let max_timestamp = match header.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => kept.iter().map(|record| record.timestamp_ms).max().unwrap_or(-1),
    };
    let horizon = if horizon_ms.is_some() { DELETE_HORIZON } else { 0 };
    let rewritten = BatchHeader {
        attributes: header.attributes & !DELETE_HORIZON | horizon,
        base_timestamp,
        max_timestamp,
        records_count: kept.len() as i32,
        ..*header
    };
    seal(rewritten, &records)
}

/// Puts a header in front of records: length and CRC are made here.
fn seal(header: BatchHeader, records: &[u8]) -> Vec<u8> {
    let batch_length = (HEADER_BYTES - super::LENGTH_PREFIX_BYTES + records.len()) as i32;
    let header = BatchHeader { batch_length, crc: 0, ..header };
    let mut batch = Vec::with_capacity(header.total_len());
    batch.extend_from_slice(&header.encode());
    batch.extend_from_slice(records);
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[..HEADER_BYTES].copy_from_slice(&BatchHeader { crc, ..header }.encode());
    batch
}

/// The records' bytes, decompressed.
fn plain_records<'a>(
    batch: &'a [u8],
    header: &BatchHeader,
    decompressed_bytes_max: u64,
) -> Result<std::borrow::Cow<'a, [u8]>, BatchError> {
    let records = batch
        .get(HEADER_BYTES..header.total_len())
        .ok_or(BatchError::Truncated { len: batch.len(), needed: header.total_len() })?;
    let codec = header.compression();
    // An empty batch has no records to decompress, whatever its codec.
    if codec == Compression::None || header.records_count == 0 {
        return Ok(records.into());
    }
    let mut plain = Vec::new();
    compression::open(codec, records, decompressed_bytes_max)?
        .read_to_end(&mut plain)
        .map_err(|cause| compression::read_failed(codec, &cause))?;
    Ok(plain.into())
}

fn next_record<'a>(bytes: &'a [u8], header: &BatchHeader) -> Option<(BatchRecord<'a>, &'a [u8])> {
    let mut left = bytes;
    let len = usize::try_from(varlong(&mut left)?).ok()?;
    let (mut body, after) = left.split_at_checked(len)?;
    let (&attributes, rest) = body.split_first()?;
    body = rest;
    let timestamp_delta = varlong(&mut body)?;
    let offset_delta = i32::try_from(varlong(&mut body)?).ok()?;
    let rest = body;
    let key = nullable(&mut body)?;
    let value = nullable(&mut body)?;
    let timestamp_ms = match header.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => header.base_timestamp.wrapping_add(timestamp_delta),
    };
    let offset = header.base_offset.checked_add(i64::from(offset_delta))?;
    Some((BatchRecord { offset, timestamp_ms, key, value, offset_delta, attributes, rest }, after))
}

/// Some(None) for null, None when the bytes end early.
fn nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match usize::try_from(varlong(bytes)?) {
        Err(_) => Some(None),
        Ok(len) => {
            let (field, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            Some(Some(field))
        }
    }
}

fn varlong(bytes: &mut &[u8]) -> Option<i64> {
    let mut raw = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        raw |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests;
