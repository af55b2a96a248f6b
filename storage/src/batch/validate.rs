//! Decides whether a batch may enter a log, as Kafka's `LogValidator` and `DefaultRecordBatch` do.
//!
//! Called by the produce path for every batch of a client, and for batches of other brokers. Pure; one pass over the
//! bytes. Deliberately absent: producer state (sequence order, fencing), which the partition's owner keeps.

use std::ops::ControlFlow;

use super::error::BatchError;
use super::header::{self, BatchHeader, KNOWN_ATTRIBUTES, TimestampType};
use super::records;

/// What a compressed batch may grow to by default, in bytes. Kafka has no bound.
pub const DECOMPRESSED_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// How far validation looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordValidation {
    /// Every record, decompressing where needed: what Kafka does.
    #[default]
    Full,
    /// The header and the CRC. Records that lie, a false max timestamp among them, are stored as they are.
    Header,
}

/// Who sends the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// A producer: no control records, offsets from 0 without holes, CreateTime.
    #[default]
    Client,
    /// A broker: the batch may be control, compacted, and has its final offsets.
    Broker,
}

/// What a batch is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidationLimits {
    /// Largest batch in bytes, header included (`max.message.bytes`).
    pub batch_bytes_max: usize,
    /// Largest size of the records once decompressed, in bytes.
    pub decompressed_bytes_max: u64,
    /// How far to look.
    pub records: RecordValidation,
    /// Refuse records without a key (`cleanup.policy=compact`). Looks at every record whatever `records` says.
    pub keys_required: bool,
    /// Smallest timestamp a record may have, in milliseconds. Records without one (-1) pass.
    pub timestamp_ms_min: i64,
    /// Largest timestamp a record may have, in milliseconds.
    pub timestamp_ms_max: i64,
    /// Who sends it.
    pub origin: Origin,
}

impl Default for ValidationLimits {
    /// Kafka's defaults for a client's batch: 1 MiB and 12 bytes, any timestamp.
    fn default() -> Self {
        Self {
            batch_bytes_max: 1024 * 1024 + header::LENGTH_PREFIX_BYTES,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
            records: RecordValidation::Full,
            keys_required: false,
            timestamp_ms_min: i64::MIN,
            timestamp_ms_max: i64::MAX,
            origin: Origin::Client,
        }
    }
}

/// Validates exactly one batch.
///
/// The header that comes back is the batch's own, but for `max_timestamp`: with [`RecordValidation::Full`] that is the
/// largest timestamp found. Kafka does not refuse a header that lies about it, it writes the true one; so does
/// [`correct_max_timestamp`].
///
/// # Errors
/// The first rule that is broken, in Kafka's order: format and length, size, CRC, header, records.
pub fn validate(batch: &[u8], limits: &ValidationLimits) -> Result<BatchHeader, BatchError> {
    let mut header = BatchHeader::parse(batch)?;
    let declared = header.total_len();
    if batch.len() < declared {
        return Err(BatchError::Truncated { len: batch.len(), needed: declared });
    }
    if batch.len() > declared {
        return Err(BatchError::TrailingBytes { len: batch.len(), declared });
    }
    if declared > limits.batch_bytes_max {
        return Err(BatchError::TooLarge { len: declared, limit: limits.batch_bytes_max });
    }
    header::check_crc(batch, &header)?;
    check_attributes(&header, limits.origin)?;
    check_count(&header, limits.origin)?;
    check_producer(&header)?;
    if limits.records == RecordValidation::Full || limits.keys_required {
        header.max_timestamp = check_records(batch, &header, limits)?;
    }
    Ok(header)
}

/// Writes the true max timestamp of a validated batch into it and renews the CRC, where they differ. Returns whether
/// the batch was changed; `validated.crc` is the old one then.
pub fn correct_max_timestamp(batch: &mut [u8], validated: &BatchHeader) -> bool {
    let differs = BatchHeader::parse(batch).is_ok_and(|found| found.max_timestamp != validated.max_timestamp);
    if differs {
        header::set_max_timestamp(batch, validated.max_timestamp);
    }
    differs
}

fn check_attributes(header: &BatchHeader, origin: Origin) -> Result<(), BatchError> {
    let refuse = |what| Err(BatchError::Attributes { attributes: header.attributes, what });
    if header.attributes & !KNOWN_ATTRIBUTES != 0 {
        return refuse("bits 7 to 15 have no meaning in format v2");
    }
    if origin == Origin::Broker {
        return Ok(());
    }
    if header.is_control() {
        return Err(BatchError::ControlFromClient);
    }
    if header.has_delete_horizon() {
        return refuse("a delete horizon is set by compaction, not by producers");
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::LogAppendTimeFromClient);
    }
    if header.base_offset != 0 {
        return Err(BatchError::BaseOffset { base_offset: header.base_offset });
    }
    Ok(())
}

fn check_count(header: &BatchHeader, origin: Origin) -> Result<(), BatchError> {
    let span = i64::from(header.last_offset_delta) + 1;
    let count = i64::from(header.records_count);
    let fits = match origin {
        Origin::Client => count == span,
        // Compaction leaves holes, and an empty batch where it must keep a producer's last sequence.
        Origin::Broker => (0..=span).contains(&count),
    };
    if fits && header.base_offset >= 0 && header.base_offset <= i64::MAX - span {
        Ok(())
    } else {
        Err(BatchError::Count {
            records_count: header.records_count,
            last_offset_delta: header.last_offset_delta,
        })
    }
}

fn check_producer(header: &BatchHeader) -> Result<(), BatchError> {
    let refuse = |what| {
        Err(BatchError::Producer {
            what,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        })
    };
    if header.producer_id < -1 {
        return refuse("the producer id is negative");
    }
    if header.has_producer() {
        if header.producer_epoch < 0 {
            return refuse("a producer id needs an epoch of 0 or more");
        }
        // Markers carry no sequence.
        if header.base_sequence < 0 && !header.is_control() {
            return refuse("a producer id needs a base sequence of 0 or more");
        }
    } else if header.is_transactional() {
        return refuse("a transactional batch needs a producer id");
    }
    Ok(())
}

/// Walks all records and returns the largest timestamp.
fn check_records(batch: &[u8], header: &BatchHeader, limits: &ValidationLimits) -> Result<i64, BatchError> {
    let mut max_timestamp = -1;
    let mut refused = None;
    let accepted = limits.timestamp_ms_min..=limits.timestamp_ms_max;
    records::walk(batch, header, limits.decompressed_bytes_max, |record| {
        let index = record.index;
        if limits.origin == Origin::Client && record.offset_delta != index {
            refused =
                Some(BatchError::Record { index, what: "has an offset that does not follow the one before" });
        } else if limits.keys_required && !record.has_key {
            refused = Some(BatchError::KeyMissing { index });
        } else if record.timestamp_ms != -1 && !accepted.contains(&record.timestamp_ms) {
            refused = Some(BatchError::Timestamp {
                index,
                timestamp_ms: record.timestamp_ms,
                min_ms: limits.timestamp_ms_min,
                max_ms: limits.timestamp_ms_max,
            });
        }
        max_timestamp = max_timestamp.max(record.timestamp_ms);
        if refused.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match refused {
        Some(error) => Err(error),
        // A compacted batch may be empty, and its header then keeps what it had.
        None if header.records_count == 0 => Ok(header.max_timestamp),
        None => Ok(max_timestamp),
    }
}
