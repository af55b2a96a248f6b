//! Decides whether a batch may enter a log, as Kafka's `LogValidator` and `DefaultRecordBatch` do.
//!
//! Called by the produce path for every batch of a client, and for batches of other brokers. Pure; one pass over the
//! bytes. Deliberately absent: producer state (sequence order, fencing), which the partition's owner keeps.

use std::ops::ControlFlow;

use super::error::BatchError;
use super::header::{self, BatchHeader, LENGTH_PREFIX_BYTES, TimestampType};
use super::records;

/// What a compressed batch may grow to by default, in bytes. Kafka has no bound.
pub const DECOMPRESSED_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Records at fault that are named in an error; the others are refused with them.
pub const RECORDS_AT_FAULT_MAX: usize = 1_000;

/// Bytes that a message of the oldest format takes behind its length: what Kafka's reader of batches asks for at least.
const OLDEST_MESSAGE_BYTES: i32 = 14;

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
    /// The topic replaces timestamps by the time of the append: then the bounds above do not matter.
    pub log_append_time: bool,
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
            log_append_time: false,
            origin: Origin::Client,
        }
    }
}

/// Length of the one batch in what a client sent as a partition's records, by the rules of Kafka's reader: bytes behind it
/// that cannot be a whole batch are no batch, and are not stored.
///
/// # Errors
/// No whole batch, a message set of an old format, a second batch, a length or magic that no batch has.
pub fn only_batch_len(records: &[u8]) -> Result<usize, BatchError> {
    let Some(len) = next_batch_len(records)? else {
        return Err(BatchError::Truncated {
            len: records.len(),
            needed: header::HEADER_BYTES.max(records.len() + 1),
        });
    };
    if let Some(magic @ (0 | 1)) = records.get(header::MAGIC_AT).map(|magic| *magic as i8) {
        return Err(BatchError::OldMagic { magic });
    }
    match next_batch_len(records.get(len..).unwrap_or_default())? {
        None => Ok(len),
        Some(_) => Err(BatchError::TrailingBytes { len: records.len(), declared: len }),
    }
}

fn next_batch_len(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    let Some(declared) = bytes.get(8..LENGTH_PREFIX_BYTES).and_then(|length| length.first_chunk::<4>())
    else {
        return Ok(None);
    };
    let declared = i32::from_be_bytes(*declared);
    if declared < OLDEST_MESSAGE_BYTES {
        return Err(BatchError::Length { declared });
    }
    match bytes.get(header::MAGIC_AT).map(|magic| *magic as i8) {
        None => return Ok(None),
        Some(0..=2) => {}
        Some(magic) => return Err(BatchError::UnknownMagic { magic }),
    }
    let len = LENGTH_PREFIX_BYTES + declared as usize;
    Ok((len <= bytes.len()).then_some(len))
}

/// Validates exactly one batch.
///
/// The header that comes back is the batch's own, but for `max_timestamp`: with [`RecordValidation::Full`] that is the
/// largest timestamp found. Kafka does not refuse a header that lies about it, or about whose the timestamps are; it writes
/// the truth, and so does [`correct_timestamps`].
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
    } else if limits.log_append_time
        && let Some(error) = check_timestamp(&header, limits, 0, header.max_timestamp)
    {
        return Err(error);
    }
    if limits.origin == Origin::Client && !limits.log_append_time {
        header = header.with_create_time();
    }
    Ok(header)
}

/// Writes the true max timestamp and timestamp type of a validated batch into it and renews the CRC, where they differ.
/// Returns whether the batch was changed; `validated.crc` is the old one then.
pub fn correct_timestamps(batch: &mut [u8], validated: &BatchHeader) -> bool {
    let (timestamp_type, max_timestamp) = (validated.timestamp_type(), validated.max_timestamp);
    let differs = BatchHeader::parse(batch)
        .is_ok_and(|found| found.max_timestamp != max_timestamp || found.timestamp_type() != timestamp_type);
    if differs {
        header::set_timestamps(batch, timestamp_type, max_timestamp);
    }
    differs
}

fn check_attributes(header: &BatchHeader, origin: Origin) -> Result<(), BatchError> {
    if origin == Origin::Broker {
        return Ok(());
    }
    if header.is_control() {
        return Err(BatchError::ControlFromClient);
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
    // Epochs are the producer state's to judge; a negative id is none, as in Kafka.
    if header.has_producer() {
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
    let mut refused = Vec::new();
    records::walk(batch, header, limits.decompressed_bytes_max, |record| {
        let index = record.index;
        if limits.origin == Origin::Client && record.offset_delta != index {
            let what = "has an offset that does not follow the one before";
            refused.push(BatchError::Record { index, what });
            return ControlFlow::Break(());
        }
        if limits.keys_required && !record.has_key {
            refused.push(BatchError::KeyMissing { index });
        } else if let Some(error) = check_timestamp(header, limits, index, record.timestamp_ms) {
            refused.push(error);
        }
        max_timestamp = max_timestamp.max(record.timestamp_ms);
        if refused.len() < RECORDS_AT_FAULT_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    match refused.len() {
        // A compacted batch may be empty, and its header then keeps what it had.
        0 if header.records_count == 0 => Ok(header.max_timestamp),
        0 => Ok(max_timestamp),
        1 => Err(refused.remove(0)),
        _ => Err(BatchError::Several(refused)),
    }
}

/// What a topic has against a record's timestamp.
#[inline]
fn check_timestamp(
    header: &BatchHeader,
    limits: &ValidationLimits,
    index: i32,
    timestamp_ms: i64,
) -> Option<BatchError> {
    if timestamp_ms != -1 && !limits.log_append_time {
        let (min_ms, max_ms) = (limits.timestamp_ms_min, limits.timestamp_ms_max);
        let accepted = (min_ms..=max_ms).contains(&timestamp_ms);
        return (!accepted).then_some(BatchError::Timestamp { index, timestamp_ms, min_ms, max_ms });
    }
    // The broker's time, set by somebody who is none.
    let from_client =
        limits.origin == Origin::Client && header.timestamp_type() == TimestampType::LogAppendTime;
    from_client.then_some(BatchError::LogAppendTimeFromClient { index })
}
