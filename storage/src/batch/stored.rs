//! Shows the records of a stored batch with their keys and values: for those who keep state in a log of their own.
//!
//! A compressed batch is decompressed whole, within a bound. Every length is held against the bytes that are there. Deliberately absent:
//! headers of records, and anything that changes a batch.

use std::io::Read;

use super::compression::{self, Compression};
use super::error::BatchError;
use super::header::{BatchHeader, HEADER_BYTES, TimestampType};
use crate::types::Offset;

/// Bound on what a compressed batch may grow to, in bytes.
const DECOMPRESSED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A record as it lies in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRecord<'a> {
    /// Its offset in the log.
    pub offset: Offset,
    /// In milliseconds; the append time when the batch has one.
    pub timestamp_ms: i64,
    /// Key; None for null.
    pub key: Option<&'a [u8]>,
    /// Value; None for null.
    pub value: Option<&'a [u8]>,
}

/// Shows every record of a whole batch to `visit`, in order.
///
/// # Errors
/// The first record that contradicts itself or the header, or what the codec found; those before it were shown.
pub fn for_each_record(batch: &[u8], mut visit: impl FnMut(StoredRecord<'_>)) -> Result<(), BatchError> {
    let header = BatchHeader::parse(batch)?;
    let records = batch
        .get(HEADER_BYTES..header.total_len())
        .ok_or(BatchError::Truncated { len: batch.len(), needed: header.total_len() })?;
    let decompressed = match header.compression() {
        Compression::None => None,
        codec => {
            let mut whole = Vec::new();
            let mut stream = compression::open(codec, records, DECOMPRESSED_BYTES_MAX)?;
            stream.read_to_end(&mut whole).map_err(|cause| compression::read_failed(codec, &cause))?;
            Some(whole)
        }
    };
    let mut rest = decompressed.as_deref().unwrap_or(records);
    for index in 0..header.records_count {
        let record = next(&mut rest, &header).ok_or(BatchError::Record {
            index,
            what: "ends inside one of its fields, or says that it is longer",
        })?;
        visit(record);
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(BatchError::Record {
            index: header.records_count,
            what: "should not exist: bytes follow the last record",
        })
    }
}

fn next<'a>(rest: &mut &'a [u8], header: &BatchHeader) -> Option<StoredRecord<'a>> {
    let len = usize::try_from(varlong(rest)?).ok()?;
    let (mut body, after) = rest.split_at_checked(len)?;
    *rest = after;
    body = body.get(1..)?; // attributes, unused so far
    let timestamp_delta = varlong(&mut body)?;
    let timestamp_ms = match header.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => header.base_timestamp.checked_add(timestamp_delta)?,
    };
    let offset = header.base_offset.checked_add(varlong(&mut body)?)?;
    let key = nullable(&mut body)?;
    let value = nullable(&mut body)?;
    Some(StoredRecord { offset, timestamp_ms, key, value })
}

/// A length and its bytes; the inner None for null.
#[allow(clippy::option_option, reason = "the bytes end, or a field is null")]
fn nullable<'a>(body: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(len) = usize::try_from(varlong(body)?) else {
        return Some(None);
    };
    let (bytes, after) = body.split_at_checked(len)?;
    *body = after;
    Some(Some(bytes))
}

fn varlong(bytes: &mut &[u8]) -> Option<i64> {
    let mut raw: u64 = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;

    #[test]
    fn keys_values_and_nulls_come_back_in_every_codec() {
        for codec in Compression::ALL {
            let batch = BatchBuilder::new()
                .base_offset(40)
                .compression(codec)
                .record(1_000, Some(b"k"), Some(b"v"))
                .record(1_005, Some(b"gone"), None)
                .record_with_headers(999, None, Some(b""), &[("h", Some(b"x"))])
                .build();
            let mut seen = Vec::new();
            for_each_record(&batch, |record| {
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                seen.push((record.offset, record.timestamp_ms, owned(record.key), owned(record.value)));
            })
            .unwrap();
            assert_eq!(
                seen,
                [
                    (40, 1_000, Some(b"k".to_vec()), Some(b"v".to_vec())),
                    (41, 1_005, Some(b"gone".to_vec()), None),
                    (42, 999, None, Some(b"".to_vec())),
                ],
                "{codec}"
            );
        }
    }

    #[test]
    fn odd_bytes_are_an_error_and_never_a_panic() {
        let batch = BatchBuilder::new().record(1, Some(b"key"), Some(b"value")).build();
        for at in HEADER_BYTES..batch.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut odd = batch.clone();
                odd[at] = byte;
                let _ignored = for_each_record(&odd, |_| {});
            }
        }
        let cut = batch.len() - 1;
        assert!(for_each_record(&batch[..cut], |_| {}).is_err());
    }
}
