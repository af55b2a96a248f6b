//! Why a batch was refused, in words for people. One closed enum for the whole module.
//!
//! Made by `header`, `validate` and `records`; the produce API maps the variants to Kafka's error codes. Those codes
//! are deliberately absent here.

use super::compression::Compression;

/// Why bytes are not an acceptable record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header, or than the header's length field promises.
    #[error("the record batch ends after {len} bytes and needs at least {needed}")]
    Truncated { len: usize, needed: usize },
    /// The length field cannot be true.
    #[error("the batch length field says {declared}; the smallest batch has 49 bytes after that field")]
    Length { declared: i32 },
    /// More bytes follow the batch than it declares.
    #[error(
        "{len} bytes were sent for a record batch of {declared}; one produce request carries one batch per partition"
    )]
    TrailingBytes { len: usize, declared: usize },
    /// A message set of format 0 or 1 (before Kafka 0.11).
    #[error(
        "message format v{magic} is not supported; send record batches of format v2 (Kafka 0.11 and later)"
    )]
    OldMagic { magic: i8 },
    /// A magic byte that no Kafka has ever used.
    #[error("magic byte {magic} is not that of a record batch; 2 is expected")]
    UnknownMagic { magic: i8 },
    /// Larger than the topic allows.
    #[error("the record batch has {len} bytes; max.message.bytes allows {limit}")]
    TooLarge { len: usize, limit: usize },
    /// The bytes are not those that the producer sent.
    #[error(
        "the record batch has CRC {computed:#010x}; its header says {stored:#010x}: it was damaged on its way"
    )]
    Crc { stored: u32, computed: u32 },
    /// A compression type that Kafka does not have.
    #[error("compression type {id} is unknown; 0 to 4 are none, gzip, snappy, lz4, zstd")]
    UnknownCompression { id: u8 },
    /// Record count and offsets contradict each other.
    #[error("the batch counts {records_count} records and its last offset delta is {last_offset_delta}")]
    Count { records_count: i32, last_offset_delta: i32 },
    /// Producers send batches that start at offset 0.
    #[error("the base offset of a produced batch must be 0 and is {base_offset}")]
    BaseOffset { base_offset: i64 },
    /// Only brokers write control batches.
    #[error("clients may not write control records")]
    ControlFromClient,
    /// Producer id, epoch and sequence contradict each other.
    #[error("{what} (producer id {producer_id}, epoch {producer_epoch}, base sequence {base_sequence})")]
    Producer { what: &'static str, producer_id: i64, producer_epoch: i16, base_sequence: i32 },
    /// LogAppendTime is for the broker to set.
    #[error(
        "record {index} is in a batch marked LogAppendTime; producers send CreateTime and the broker's topic decides"
    )]
    LogAppendTimeFromClient { index: i32 },
    /// A record's timestamp lies outside what the topic accepts.
    #[error(
        "record {index} has timestamp {timestamp_ms}; the topic accepts {min_ms} to {max_ms} (message.timestamp.before.max.ms, .after.max.ms)"
    )]
    Timestamp { index: i32, timestamp_ms: i64, min_ms: i64, max_ms: i64 },
    /// A compacted topic needs keys.
    #[error("record {index} has no key; a topic with cleanup.policy=compact needs one")]
    KeyMissing { index: i32 },
    /// Several records that the topic does not accept, in order; each of them would have been refused alone.
    #[error("{} records are refused: {}", .0.len(), .0.first().map_or_else(String::new, ToString::to_string))]
    Several(Vec<BatchError>),
    /// A record that contradicts itself or the header.
    #[error("record {index} {what}")]
    Record { index: i32, what: &'static str },
    /// The compressed bytes are not what their codec writes.
    #[error("the {codec} data of the batch cannot be decompressed: {cause}")]
    Decompression { codec: Compression, cause: String },
    /// A small batch that would grow beyond the bound.
    #[error("the {codec} data of the batch decompresses to more than {limit} bytes")]
    DecompressedTooLarge { codec: Compression, limit: u64 },
}
