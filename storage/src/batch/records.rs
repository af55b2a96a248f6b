//! Walks the records of a batch one by one, plain or compressed, without keeping any of them.
//!
//! Called by `validate` and `lookup`. Every length is held against the bytes that are there. Deliberately absent: keys,
//! values and headers themselves; a broker looks past them.

use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;

use super::compression::{self, Compression};
use super::error::BatchError;
use super::header::{BatchHeader, HEADER_BYTES, TimestampType};

/// What a walk shows of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordSummary {
    /// Place in the batch, from 0.
    pub(super) index: i32,
    /// Offset minus the batch's base offset; strictly increasing and at most the batch's last one.
    pub(super) offset_delta: i32,
    /// In milliseconds; the append time when the batch has one.
    pub(super) timestamp_ms: i64,
    /// Whether the key is not null.
    pub(super) has_key: bool,
}

/// Why a record could not be read.
enum Fault {
    Malformed(&'static str),
    Read(io::Error),
}

impl From<io::Error> for Fault {
    fn from(cause: io::Error) -> Self {
        Self::Read(cause)
    }
}

const ENDS_EARLY: Fault = Fault::Malformed("ends inside one of its fields");

/// Shows every record of a whole batch to `visit`, until it breaks off.
///
/// A walk to the end has also seen that the records are as many as the header says and that nothing follows them.
/// `decompressed_bytes_max` bounds what comes out of a compressed batch.
///
/// # Errors
/// The first record that contradicts itself or the header, or what the codec found.
pub(super) fn walk(
    batch: &[u8],
    header: &BatchHeader,
    decompressed_bytes_max: u64,
    visit: impl FnMut(RecordSummary) -> ControlFlow<()>,
) -> Result<(), BatchError> {
    let mut records = batch
        .get(HEADER_BYTES..header.total_len())
        .ok_or(BatchError::Truncated { len: batch.len(), needed: header.total_len() })?;
    match header.compression() {
        Compression::None => walk_source(&mut records, header, visit),
        codec => walk_source(&mut compression::open(codec, records, decompressed_bytes_max)?, header, visit),
    }
}

fn walk_source<R: BufRead>(
    source: &mut R,
    header: &BatchHeader,
    mut visit: impl FnMut(RecordSummary) -> ControlFlow<()>,
) -> Result<(), BatchError> {
    let codec = header.compression();
    let mut offset_delta_before = -1;
    for index in 0..header.records_count {
        let record = next_record(source, header, index).map_err(|fault| match fault {
            Fault::Malformed(what) => BatchError::Record { index, what },
            Fault::Read(cause) => compression::read_failed(codec, &cause),
        })?;
        if record.offset_delta <= offset_delta_before || record.offset_delta > header.last_offset_delta {
            return Err(BatchError::Record {
                index,
                what: "has an offset out of order or beyond the batch's last",
            });
        }
        offset_delta_before = record.offset_delta;
        if visit(record).is_break() {
            return Ok(());
        }
    }
    if compression::is_at_end(source).map_err(|cause| compression::read_failed(codec, &cause))? {
        Ok(())
    } else {
        Err(BatchError::Record {
            index: header.records_count,
            what: "should not exist: bytes follow the last record",
        })
    }
}

fn next_record<R: BufRead>(source: &mut R, header: &BatchHeader, index: i32) -> Result<RecordSummary, Fault> {
    let len = varint(source)?;
    let len = usize::try_from(len).map_err(|_| Fault::Malformed("has a negative length"))?;
    let buffered = source.fill_buf()?;
    if let Some(mut body) = buffered.get(..len) {
        // The usual case: the record lies whole in the buffer.
        let record = record_body(&mut body, header, index)?;
        if !body.is_empty() {
            return Err(Fault::Malformed("is longer than its fields"));
        }
        source.consume(len);
        return Ok(record);
    }
    let mut body = source.take(len as u64);
    let record = record_body(&mut body, header, index)?;
    if body.limit() != 0 {
        return Err(Fault::Malformed("is longer than its fields"));
    }
    Ok(record)
}

fn record_body<R: BufRead>(body: &mut R, header: &BatchHeader, index: i32) -> Result<RecordSummary, Fault> {
    byte(body)?; // attributes, unused so far; Kafka ignores them as well
    let timestamp_delta = varlong(body)?;
    let timestamp_ms = match header.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => header
            .base_timestamp
            .checked_add(timestamp_delta)
            .ok_or(Fault::Malformed("has a timestamp beyond 64 bits"))?,
    };
    let offset_delta = varint(body)?;
    let has_key = skip_nullable(body)?;
    skip_nullable(body)?;
    let headers = varint(body)?;
    if headers < 0 {
        return Err(Fault::Malformed("has a negative number of headers"));
    }
    for _ in 0..headers {
        if !skip_nullable(body)? {
            return Err(Fault::Malformed("has a header without a key"));
        }
        skip_nullable(body)?;
    }
    Ok(RecordSummary { index, offset_delta, timestamp_ms, has_key })
}

/// Skips a length and its bytes; false when the length is negative, which means null.
fn skip_nullable<R: BufRead>(body: &mut R) -> Result<bool, Fault> {
    let Ok(mut left) = usize::try_from(varint(body)?) else {
        return Ok(false);
    };
    while left > 0 {
        let available = body.fill_buf()?.len().min(left);
        if available == 0 {
            return Err(ENDS_EARLY);
        }
        body.consume(available);
        left -= available;
    }
    Ok(true)
}

fn byte<R: BufRead>(source: &mut R) -> Result<u8, Fault> {
    let byte = *source.fill_buf()?.first().ok_or(ENDS_EARLY)?;
    source.consume(1);
    Ok(byte)
}

fn varint<R: BufRead>(source: &mut R) -> Result<i32, Fault> {
    let raw =
        u32::try_from(unsigned(source, 5)?).map_err(|_| Fault::Malformed("has a number beyond 32 bits"))?;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

fn varlong<R: BufRead>(source: &mut R) -> Result<i64, Fault> {
    let raw = unsigned(source, 10)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

fn unsigned<R: BufRead>(source: &mut R, bytes_max: u32) -> Result<u64, Fault> {
    let mut value = 0;
    for i in 0..bytes_max {
        let byte = byte(source)?;
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Fault::Malformed("has a number with too many bytes"))
}
