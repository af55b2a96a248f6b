//! The 61 bytes in front of every record batch (magic 2), and the few of them a broker may change in place.
//!
//! Called on every produce, fetch, replay and scan. Pure. Deliberately absent: whether the records behind the header
//! are sound (see `validate`).

use super::compression::Compression;
use super::error::BatchError;
use crate::types::{LeaderEpoch, Offset};

/// Bytes of a batch header.
pub const HEADER_BYTES: usize = 61;

/// Bytes in front of what the length field counts: base offset and the length itself.
pub const LENGTH_PREFIX_BYTES: usize = 12;

/// Where the magic byte lies, in every message format Kafka ever had.
pub(crate) const MAGIC_AT: usize = 16;

/// First byte that the CRC covers.
pub(crate) const CRC_FROM: usize = 21;

const LEADER_EPOCH_AT: usize = 12;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
pub(super) const DELETE_HORIZON: i16 = 0x40;
/// All attribute bits that have a meaning. Producers may set the others: Kafka does not look at them.
pub(crate) const KNOWN_ATTRIBUTES: i16 = 0x7f;

/// Who gave the records their timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer.
    CreateTime,
    /// The broker: every record has the batch's `max_timestamp`.
    LogAppendTime,
}

/// All fields of a record batch header (KIP-98, Kafka's `DefaultRecordBatch`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record (of the first one there was: compaction keeps it).
    pub base_offset: Offset,
    /// Bytes after the length field: `total_len() - 12`. At least 49.
    pub batch_length: i32,
    /// Epoch of the leader that appended it, -1 from a producer.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type, transactional, control, delete horizon.
    pub attributes: i16,
    /// Offset of the last record minus `base_offset`; never negative.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, in milliseconds; the others are relative to it.
    pub base_timestamp: i64,
    /// Largest timestamp of the batch in milliseconds, -1 when the records have none.
    pub max_timestamp: i64,
    /// -1 without idempotence.
    pub producer_id: i64,
    /// -1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 without idempotence.
    pub base_sequence: i32,
    /// Records in the batch. A compacted or control-free batch may have fewer than its offsets span.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads a header from the start of `bytes` (more may follow).
    ///
    /// # Errors
    /// Fewer than [`HEADER_BYTES`], another magic than 2, a length below 49, a negative last offset delta, an unknown
    /// compression type.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // Old message sets can be shorter than a header: the magic comes first, so that they are told what they are.
        if let Some(&magic) = bytes.get(MAGIC_AT) {
            match magic as i8 {
                2 => {}
                magic @ (0 | 1) => return Err(BatchError::OldMagic { magic }),
                magic => return Err(BatchError::UnknownMagic { magic }),
            }
        }
        let Some(fixed) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { len: bytes.len(), needed: HEADER_BYTES });
        };
        let header = Self {
            base_offset: i64::from_be_bytes(field(fixed, 0)),
            batch_length: i32::from_be_bytes(field(fixed, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(fixed, LEADER_EPOCH_AT)),
            crc: u32::from_be_bytes(field(fixed, CRC_AT)),
            attributes: i16::from_be_bytes(field(fixed, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(field(fixed, 23)),
            base_timestamp: i64::from_be_bytes(field(fixed, 27)),
            max_timestamp: i64::from_be_bytes(field(fixed, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(field(fixed, 43)),
            producer_epoch: i16::from_be_bytes(field(fixed, 51)),
            base_sequence: i32::from_be_bytes(field(fixed, 53)),
            records_count: i32::from_be_bytes(field(fixed, 57)),
        };
        if header.batch_length < (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32 {
            return Err(BatchError::Length { declared: header.batch_length });
        }
        if header.last_offset_delta < 0 {
            return Err(BatchError::Count {
                records_count: header.records_count,
                last_offset_delta: header.last_offset_delta,
            });
        }
        Compression::from_attributes(header.attributes)?;
        Ok(header)
    }

    /// The 61 bytes of this header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        put(&mut out, 0, self.base_offset.to_be_bytes());
        put(&mut out, 8, self.batch_length.to_be_bytes());
        put(&mut out, LEADER_EPOCH_AT, self.partition_leader_epoch.to_be_bytes());
        out[MAGIC_AT] = 2;
        put(&mut out, CRC_AT, self.crc.to_be_bytes());
        put(&mut out, ATTRIBUTES_AT, self.attributes.to_be_bytes());
        put(&mut out, 23, self.last_offset_delta.to_be_bytes());
        put(&mut out, 27, self.base_timestamp.to_be_bytes());
        put(&mut out, MAX_TIMESTAMP_AT, self.max_timestamp.to_be_bytes());
        put(&mut out, 43, self.producer_id.to_be_bytes());
        put(&mut out, 51, self.producer_epoch.to_be_bytes());
        put(&mut out, 53, self.base_sequence.to_be_bytes());
        put(&mut out, 57, self.records_count.to_be_bytes());
        out
    }

    /// Bytes of the whole batch, header included. At least [`HEADER_BYTES`].
    pub fn total_len(&self) -> usize {
        LENGTH_PREFIX_BYTES + self.batch_length.max(0) as usize
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset that follows this batch.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        // `parse` has refused the unknown ones; a header made by hand with one reads as uncompressed.
        Compression::from_attributes(self.attributes).unwrap_or(Compression::None)
    }

    /// Who gave the records their timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// The same header with timestamps of the producer.
    pub(super) fn with_create_time(self) -> Self {
        Self { attributes: self.attributes & !LOG_APPEND_TIME, ..self }
    }

    /// Whether the records belong to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it holds a transaction marker or another broker's note instead of records.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether compaction has put a delete horizon in the place of the base timestamp (KIP-534).
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Whether an idempotent or transactional producer wrote it.
    pub fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// Sequence of the last record, as producers count: after `i32::MAX` comes 0. -1 without a producer.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        ((i64::from(self.base_sequence) + i64::from(self.last_offset_delta)) % (i64::from(i32::MAX) + 1))
            as i32
    }
}

impl BatchHeader {
    /// The attribute bits, with another codec.
    pub(super) fn attributes_with(&self, compression: Compression) -> i16 {
        self.attributes & !COMPRESSION_MASK | compression.id() as i16
    }
}

/// Writes a header in front of the records of a batch, whose first [`HEADER_BYTES`] are room for it, with the CRC that fits.
///
/// # Panics
/// When `batch` is shorter than a header.
pub(super) fn with_records(batch: &mut [u8], header: BatchHeader) {
    batch[..HEADER_BYTES].copy_from_slice(&header.encode());
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    put(batch, CRC_AT, crc.to_be_bytes());
}

/// Attribute bits for [`BatchHeader::attributes`].
pub(super) fn attributes(
    compression: Compression,
    log_append_time: bool,
    transactional: bool,
    control: bool,
) -> i16 {
    (compression.id() as i16 & COMPRESSION_MASK)
        | if log_append_time { LOG_APPEND_TIME } else { 0 }
        | if transactional { TRANSACTIONAL } else { 0 }
        | if control { CONTROL } else { 0 }
}

/// Gives a batch its place in the log, in place: both fields lie outside the CRC.
///
/// # Panics
/// When `batch` is shorter than a header: it must have been parsed.
pub fn assign_offsets(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    assert!(batch.len() >= HEADER_BYTES, "assign_offsets needs a parsed batch, got {} bytes", batch.len());
    put(batch, 0, base_offset.to_be_bytes());
    put(batch, LEADER_EPOCH_AT, leader_epoch.to_be_bytes());
}

/// Makes every record's timestamp the time of its append (`message.timestamp.type=LogAppendTime`), in place: attributes,
/// max timestamp and CRC change.
///
/// # Panics
/// When `batch` is shorter than a header: it must have been parsed.
pub fn set_log_append_time(batch: &mut [u8], now_ms: i64) {
    assert!(
        batch.len() >= HEADER_BYTES,
        "set_log_append_time needs a parsed batch, got {} bytes",
        batch.len()
    );
    set_timestamps(batch, TimestampType::LogAppendTime, now_ms);
}

/// Says whose the timestamps are and what the largest is, and renews the CRC, in place. Attribute bits without a meaning are
/// cleared on the way, as Kafka does.
///
/// # Panics
/// When `batch` is shorter than a header: it must have been parsed.
pub fn set_timestamps(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp_ms: i64) {
    assert!(batch.len() >= HEADER_BYTES, "set_timestamps needs a parsed batch, got {} bytes", batch.len());
    let attributes = i16::from_be_bytes([batch[ATTRIBUTES_AT], batch[ATTRIBUTES_AT + 1]]);
    let kept = attributes & KNOWN_ATTRIBUTES & !LOG_APPEND_TIME;
    let appended = if timestamp_type == TimestampType::LogAppendTime { LOG_APPEND_TIME } else { 0 };
    put(batch, ATTRIBUTES_AT, (kept | appended).to_be_bytes());
    set_max_timestamp(batch, max_timestamp_ms);
}

/// Replaces the largest timestamp and renews the CRC, in place, as Kafka does with a header that lied about it.
///
/// # Panics
/// When `batch` is shorter than a header: it must have been parsed.
pub fn set_max_timestamp(batch: &mut [u8], max_timestamp_ms: i64) {
    assert!(batch.len() >= HEADER_BYTES, "set_max_timestamp needs a parsed batch, got {} bytes", batch.len());
    put(batch, MAX_TIMESTAMP_AT, max_timestamp_ms.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    put(batch, CRC_AT, crc.to_be_bytes());
}

/// Compares the CRC of a whole batch with its header.
///
/// # Errors
/// [`BatchError::Crc`] when they differ, [`BatchError::Truncated`] when `batch` is shorter than `header` says.
pub fn check_crc(batch: &[u8], header: &BatchHeader) -> Result<(), BatchError> {
    let covered = batch
        .get(CRC_FROM..header.total_len())
        .ok_or(BatchError::Truncated { len: batch.len(), needed: header.total_len() })?;
    let computed = crc32c::crc32c(covered);
    if computed == header.crc { Ok(()) } else { Err(BatchError::Crc { stored: header.crc, computed }) }
}

/// The CRC of a batch that comes in pieces, so that a large one need not be in memory whole.
#[derive(Debug)]
pub(crate) struct CrcOfPieces {
    stored: u32,
    computed: u32,
    /// Bytes in front of what the CRC covers that are still to come.
    skip: usize,
}

impl CrcOfPieces {
    pub(crate) fn new(header: &BatchHeader) -> Self {
        Self { stored: header.crc, computed: 0, skip: CRC_FROM }
    }

    /// Takes the next bytes of the batch, from its first one on.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let covered = bytes.get(self.skip..).unwrap_or_default();
        self.skip = self.skip.saturating_sub(bytes.len());
        self.computed = crc32c::crc32c_append(self.computed, covered);
    }

    /// Compares, once all bytes of the batch have come.
    pub(crate) fn check(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.stored, self.computed);
        if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
    }
}

fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}
