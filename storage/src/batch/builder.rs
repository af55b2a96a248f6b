//! Builds record batches: for the broker's own records, the load generator and the tests.
//!
//! Writes what Kafka's producers write, in every codec. Deliberately absent: batching by size or time, and any check that
//! the result is one a broker would accept (see `validate`).

use super::compression::{self, Compression};
use super::header::{self, BatchHeader, CRC_FROM, HEADER_BYTES, LENGTH_PREFIX_BYTES};
use crate::types::Offset;

/// A header of a record: its key and its value, which may be null.
pub type RecordHeader<'a> = (&'a str, Option<&'a [u8]>);

/// Collects records and turns them into one batch. Offsets follow each other from the base offset.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    base_offset: Offset,
    leader_epoch: i32,
    compression: Compression,
    log_append_time_ms: Option<i64>,
    producer: (i64, i16, i32),
    transactional: bool,
    control: bool,
    records: Vec<u8>,
    records_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty batch as a producer without idempotence starts it: offset 0, uncompressed, leader epoch -1.
    pub fn new() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            compression: Compression::None,
            log_append_time_ms: None,
            producer: (-1, -1, -1),
            transactional: false,
            control: false,
            records: Vec::new(),
            records_count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
        }
    }

    /// Offset of the first record; producers leave it 0.
    #[must_use]
    pub fn base_offset(mut self, base_offset: Offset) -> Self {
        self.base_offset = base_offset;
        self
    }

    /// Epoch of the leader that appends it; producers leave it -1.
    #[must_use]
    pub fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.leader_epoch = leader_epoch;
        self
    }

    /// Codec of the records.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Marks the batch LogAppendTime, with this time in milliseconds.
    #[must_use]
    pub fn log_append_time(mut self, now_ms: i64) -> Self {
        self.log_append_time_ms = Some(now_ms);
        self
    }

    /// Identity of an idempotent producer and the sequence of the first record (KIP-98).
    #[must_use]
    pub fn producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        self.producer = (producer_id, producer_epoch, base_sequence);
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.transactional = true;
        self
    }

    /// Marks the batch as control records.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.control = true;
        self
    }

    /// Adds a record; `timestamp_ms` is -1 for none.
    #[must_use]
    pub fn record(self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        self.record_with_headers(timestamp_ms, key, value, &[])
    }

    /// Adds a record with headers.
    #[must_use]
    pub fn record_with_headers(
        mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> Self {
        if self.records_count == 0 {
            self.base_timestamp = timestamp_ms;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        let mut body = vec![0]; // attributes
        put_varlong(&mut body, timestamp_ms.wrapping_sub(self.base_timestamp));
        put_varlong(&mut body, i64::from(self.records_count));
        put_nullable(&mut body, key);
        put_nullable(&mut body, value);
        put_varlong(&mut body, headers.len() as i64);
        for (key, value) in headers {
            put_nullable(&mut body, Some(key.as_bytes()));
            put_nullable(&mut body, *value);
        }
        put_varlong(&mut self.records, body.len() as i64);
        self.records.extend_from_slice(&body);
        self.records_count += 1;
        self
    }

    /// The batch's bytes.
    pub fn build(self) -> Vec<u8> {
        let records = compression::compress(self.compression, &self.records).unwrap_or_else(|cause| {
            unreachable!("{} could not write into memory: {cause}", self.compression)
        });
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let append_time = self.log_append_time_ms;
        let header = BatchHeader {
            base_offset: self.base_offset,
            batch_length: (HEADER_BYTES - LENGTH_PREFIX_BYTES + records.len()) as i32,
            partition_leader_epoch: self.leader_epoch,
            crc: 0,
            attributes: header::attributes(
                self.compression,
                append_time.is_some(),
                self.transactional,
                self.control,
            ),
            last_offset_delta: (self.records_count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: append_time.unwrap_or(self.max_timestamp),
            producer_id,
            producer_epoch,
            base_sequence,
            records_count: self.records_count,
        };
        let mut batch = Vec::with_capacity(header.total_len());
        batch.extend_from_slice(&header.encode());
        batch.extend_from_slice(&records);
        let crc = crc32c::crc32c(&batch[CRC_FROM..]);
        batch[..HEADER_BYTES].copy_from_slice(&BatchHeader { crc, ..header }.encode());
        batch
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_varlong(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

/// Zigzag and seven bits a byte; a 32-bit number has the same bytes as a `varint`.
pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = (value << 1 ^ value >> 63) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}
