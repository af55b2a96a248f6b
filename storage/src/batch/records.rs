//! Walks the records of a batch one by one, plain or compressed, without keeping any of them.
//!
//! Called by `validate` and `lookup`. Every length is held against the bytes that are there. Deliberately absent: keys,
//! values and headers themselves; a broker looks past them.

use std::io::{self, BufRead};
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
    if let Some((record, len)) = whole_record(source.fill_buf()?, header, index)? {
        source.consume(len);
        return Ok(record);
    }
    let mut stream = Stream { source, left: u64::MAX };
    stream.left = record_len(varint(&mut stream)?)? as u64;
    record_body(&mut stream, header, index)
}

/// The usual case: the record lies whole in the buffer. Returns it and the bytes it takes there.
fn whole_record(
    buffered: &[u8],
    header: &BatchHeader,
    index: i32,
) -> Result<Option<(RecordSummary, usize)>, Fault> {
    let mut rest = Slice(buffered);
    // Whatever is wrong with a length that ends here, the other way finds it again.
    let Ok(len) = varint(&mut rest) else { return Ok(None) };
    let Some(body) = rest.0.get(..record_len(len)?) else { return Ok(None) };
    let record = record_body(&mut Slice(body), header, index)?;
    Ok(Some((record, buffered.len() - rest.0.len() + body.len())))
}

fn record_len(len: i32) -> Result<usize, Fault> {
    usize::try_from(len).map_err(|_| Fault::Malformed("has a negative length"))
}

/// Where a record's fields come from.
trait Fields {
    fn byte(&mut self) -> Result<u8, Fault>;
    fn skip(&mut self, len: usize) -> Result<(), Fault>;
    fn is_at_end(&self) -> bool;
}

/// Bytes that are all there.
struct Slice<'a>(&'a [u8]);

impl Fields for Slice<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Fault> {
        let (byte, rest) = self.0.split_first().ok_or(ENDS_EARLY)?;
        self.0 = rest;
        Ok(*byte)
    }

    #[inline]
    fn skip(&mut self, len: usize) -> Result<(), Fault> {
        self.0 = self.0.get(len..).ok_or(ENDS_EARLY)?;
        Ok(())
    }

    #[inline]
    fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bytes that come in pieces, of which the record has so many left.
struct Stream<'a, R> {
    source: &'a mut R,
    left: u64,
}

impl<R: BufRead> Stream<'_, R> {
    fn available(&mut self) -> Result<&[u8], Fault> {
        let available = self.source.fill_buf()?;
        let len = available.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if len == 0 { Err(ENDS_EARLY) } else { Ok(&available[..len]) }
    }

    fn consume(&mut self, len: usize) {
        self.source.consume(len);
        self.left -= len as u64;
    }
}

impl<R: BufRead> Fields for Stream<'_, R> {
    fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self.available()?.first().ok_or(ENDS_EARLY)?;
        self.consume(1);
        Ok(byte)
    }

    fn skip(&mut self, mut len: usize) -> Result<(), Fault> {
        while len > 0 {
            let available = self.available()?.len().min(len);
            self.consume(available);
            len -= available;
        }
        Ok(())
    }

    fn is_at_end(&self) -> bool {
        self.left == 0
    }
}

fn record_body(body: &mut impl Fields, header: &BatchHeader, index: i32) -> Result<RecordSummary, Fault> {
    body.byte()?; // attributes, unused so far; Kafka ignores them as well
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
    if !body.is_at_end() {
        return Err(Fault::Malformed("is longer than its fields"));
    }
    Ok(RecordSummary { index, offset_delta, timestamp_ms, has_key })
}

/// Skips a length and its bytes; false when the length is negative, which means null.
#[inline]
fn skip_nullable(body: &mut impl Fields) -> Result<bool, Fault> {
    let Ok(len) = usize::try_from(varint(body)?) else { return Ok(false) };
    body.skip(len)?;
    Ok(true)
}

#[inline]
fn varint(fields: &mut impl Fields) -> Result<i32, Fault> {
    let raw =
        u32::try_from(unsigned(fields, 5)?).map_err(|_| Fault::Malformed("has a number beyond 32 bits"))?;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

#[inline]
fn varlong(fields: &mut impl Fields) -> Result<i64, Fault> {
    let raw = unsigned(fields, 10)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[inline]
fn unsigned(fields: &mut impl Fields, bytes_max: u32) -> Result<u64, Fault> {
    let mut value = 0;
    for i in 0..bytes_max {
        let byte = fields.byte()?;
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Fault::Malformed("has a number with too many bytes"))
}
