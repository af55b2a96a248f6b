//! Kafka's record batch (magic 2), byte for byte: header, validation, splitting, lookup by time, building.
//!
//! Everything here is pure. Called by the produce path, the log, replay, segment scans and the load generator. Deliberately
//! absent: message formats 0 and 1, which are recognised and refused.

mod builder;
mod compression;
mod error;
mod filter;
mod header;
mod lookup;
mod recompress;
mod records;
mod snappy;
mod split;
mod stored;
#[cfg(test)]
mod tests;
mod validate;

pub use builder::{BatchBuilder, RecordHeader};
pub use compression::Compression;
pub use error::BatchError;
pub use filter::{BatchRecord, Filtered, empty_batch, filter, visit_records};
pub(crate) use header::CrcOfPieces;
pub use header::{
    BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES, TimestampType, assign_offsets, check_crc,
    set_log_append_time, set_max_timestamp, set_timestamps,
};
pub use lookup::{find_timestamp, max_timestamp_record};
pub use recompress::{Encoding, recompress};
pub use split::{BatchSlice, Batches};
pub use stored::{StoredRecord, for_each_record};
pub use validate::{
    DECOMPRESSED_BYTES_MAX, Origin, RecordValidation, ValidationLimits, correct_timestamps, only_batch_len,
    validate,
};
