//! Appends a coordinator's records to its partition, as batches like Kafka's coordinator writes them.
//!
//! One batch for one decision, unless it exceeds the topic's max.message.bytes: then several, in order. Deliberately absent: waiting for
//! the disk, and what becomes of replies.

use std::rc::Rc;

use bytes::BytesMut;
use corelog_logic::group::{GroupErrorKind, GroupRecord};
use corelog_storage::StorageError;
use corelog_storage::batch::{BatchBuilder, BatchHeader, Compression};

use super::super::Partition;
use super::super::partition::now_ms;

/// What a batch and a record of it take beyond key and value, in bytes: header, lengths, deltas.
const BATCH_OVERHEAD_BYTES: usize = 61;
const RECORD_OVERHEAD_BYTES: usize = 36;

/// What became of an append.
pub(super) struct Appended {
    /// How many of the records are in the log.
    pub(super) records: usize,
    /// Why the rest is not.
    pub(super) result: Result<(), GroupErrorKind>,
}

/// Appends the records in order. What was appended stays, whatever becomes of the rest.
pub(super) async fn append(
    partition: &Rc<Partition>,
    records: &[GroupRecord],
    compression: Compression,
) -> Appended {
    let mut done = 0;
    while done < records.len() {
        let now_ms = now_ms();
        let bytes_max = partition.config().max_message_bytes;
        let (batch, count) = build(records.get(done..).unwrap_or_default(), now_ms, bytes_max, compression);
        if batch.len() > bytes_max {
            tracing::warn!(
                bytes = batch.len(),
                bytes_max,
                group = group_of(records.get(done)),
                "a group's record exceeds max.message.bytes of __consumer_offsets and is refused: raise message.max.bytes, or let fewer members join"
            );
            return Appended { records: done, result: Err(GroupErrorKind::UnknownServerError) };
        }
        if let Err(error) = append_batch(partition, batch, now_ms).await {
            tracing::warn!(%error, "records of groups could not be appended");
            return Appended { records: done, result: Err(refusal(&error)) };
        }
        done += count;
    }
    Appended { records: done, result: Ok(()) }
}

/// A batch of as many of the records as fit, at least one.
fn build(
    records: &[GroupRecord],
    now_ms: i64,
    bytes_max: usize,
    compression: Compression,
) -> (BytesMut, usize) {
    let mut builder = BatchBuilder::new().compression(compression);
    let (mut bytes, mut count) = (BATCH_OVERHEAD_BYTES, 0);
    for record in records {
        let (key, value) = record.encode();
        bytes += RECORD_OVERHEAD_BYTES + key.len() + value.as_ref().map_or(0, Vec::len);
        if count > 0 && bytes > bytes_max {
            break;
        }
        builder = builder.record(now_ms, Some(&key), value.as_deref());
        count += 1;
    }
    (BytesMut::from(builder.build().as_slice()), count)
}

async fn append_batch(partition: &Rc<Partition>, batch: BytesMut, now_ms: i64) -> Result<(), StorageError> {
    let header = BatchHeader::parse(&batch).map_err(|_| StorageError::Closed)?;
    let len = batch.len();
    let permit = partition.log().prepare(len, header.max_timestamp, now_ms).await?;
    permit.append(batch, len, &header, partition.leader_epoch()).map(drop)
}

/// As Kafka turns an append's error into a coordinator's (`CoordinatorOperationExceptionHelper`).
fn refusal(error: &StorageError) -> GroupErrorKind {
    match error {
        StorageError::BatchTooLarge { .. } => GroupErrorKind::UnknownServerError,
        // There may be room again: clients retry here.
        StorageError::DiskFull { .. } | StorageError::JournalFull => GroupErrorKind::CoordinatorNotAvailable,
        _ => GroupErrorKind::NotCoordinator,
    }
}

fn group_of(record: Option<&GroupRecord>) -> &str {
    match record {
        Some(GroupRecord::OffsetCommit(key, _)) => &key.group_id,
        Some(GroupRecord::GroupMetadata(group_id, _)) => group_id,
        Some(GroupRecord::Consumer(record)) => &record.group_id,
        None => "",
    }
}
