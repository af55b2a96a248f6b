//! Appends batches to this core's partitions: validate, take a turn, check the producer, append, wait for the disk.
//!
//! The order of appends is fixed when the future of [`produce`] is polled for the first time: every batch has then taken
//! its place at its partition. Deliberately absent: acks (the caller knows whether anybody waits for the answer).

use std::rc::Rc;

use bytes::BytesMut;
use corelog_logic::partition::producer_state::Check;
use corelog_storage::batch::{
    BatchHeader, Encoding, RecordValidation, ValidationLimits, correct_timestamps, set_log_append_time,
    validate,
};
use futures_util::future::join_all;

use super::convert::convert;
use super::partition::{now_ms, producer_batch};
use super::tasks::{AppendBatch, AppendOutcome, AppendRefused, AppendTask, Appended, PartitionError};
use super::{Partition, Partitions};

#[cfg(test)]
mod tests;

/// Appends every batch and waits for the disk as the task asks. The batches are independent of each other.
pub async fn produce(partitions: Rc<Partitions>, task: AppendTask) -> AppendOutcome {
    let AppendTask { batches, wait_durable, image_version } = task;
    let appended = match <[AppendBatch; 1]>::try_from(batches) {
        // Most requests have one batch for one core: no list of futures for them.
        Ok([batch]) => vec![append_or_refuse(&partitions, batch, image_version).await],
        Err(batches) => {
            join_all(batches.into_iter().map(|batch| append_or_refuse(&partitions, batch, image_version)))
                .await
        }
    };
    let mut outcome = Vec::with_capacity(appended.len());
    for result in appended {
        outcome.push(match result {
            Ok(stored) if wait_durable => {
                let durable = stored.partition.log().durable(stored.next_offset).await;
                durable.map(|()| stored.appended).map_err(|error| AppendRefused {
                    error: error.into(),
                    log_start_offset: stored.appended.log_start_offset,
                })
            }
            other => other.map(|stored| stored.appended),
        });
    }
    outcome
}

/// A batch that is in its log, though perhaps not on the disk yet.
struct Stored {
    appended: Appended,
    partition: Rc<Partition>,
    /// What must be durable before the batch is acknowledged.
    next_offset: i64,
}

/// [`append`], which also says where the log starts when the batch is refused.
async fn append_or_refuse(
    partitions: &Partitions,
    batch: AppendBatch,
    image_version: u64,
) -> Result<Stored, AppendRefused> {
    let id = batch.partition;
    append(partitions, batch, image_version).await.map_err(|error| AppendRefused {
        error,
        log_start_offset: partitions.get(&id).map_or(-1, |partition| partition.log().log_start_offset()),
    })
}

async fn append(
    partitions: &Partitions,
    batch: AppendBatch,
    image_version: u64,
) -> Result<Stored, PartitionError> {
    let AppendBatch { partition, mut records, backing_bytes } = batch;
    let partition = partitions.find(&partition, image_version).await?;
    let now_ms = now_ms();
    let encoding = conversion(&partition, &records);
    let turn = partition.line().turn(encoding.is_some()).await;
    let (header, backing_bytes) = match encoding {
        None => {
            let validation = partitions.settings().record_validation;
            (validated(&partition, &mut records, validation, now_ms)?, backing_bytes)
        }
        Some(encoding) => {
            let limits = limits(&partition, RecordValidation::Full, now_ms);
            let (converted, header) = convert(partitions, records, encoding, limits).await?;
            records = converted;
            let backing_bytes = records.len();
            (stamped(&partition, &mut records, header, now_ms)?, backing_bytes)
        }
    };
    let permit = partition.log().prepare(records.len(), header.max_timestamp, now_ms).await?;
    // The log's own line has this batch's place now.
    drop(turn);

    // From here to the append nothing waits: what the producer check saw still holds when the batch gets its offsets.
    let log_start_offset = partition.log().log_start_offset();
    if let Some(producer) = producer_batch(&header) {
        let check = partition.producers().borrow_mut().state().check(&producer)?;
        if let Check::Duplicate { base_offset, last_offset, max_timestamp } = check {
            // As Kafka: it takes a remembered batch's time for that of its append, whoever gave it.
            let log_append_time_ms = max_timestamp;
            // The original may still be on its way to the disk: the repeated batch waits for it like the first one did.
            let appended = Appended { base_offset, log_append_time_ms, log_start_offset };
            let early = partitions.settings().bugs.answer_duplicates_early;
            return Ok(Stored { appended, partition, next_offset: if early { 0 } else { last_offset + 1 } });
        }
    }
    let placed = permit.append(records, backing_bytes, &header, partition.leader_epoch())?;
    let log_append_time_ms = if partition.config().log_append_time { header.max_timestamp } else { -1 };
    let appended = Appended { base_offset: placed.base_offset, log_append_time_ms, log_start_offset };
    Ok(Stored { appended, next_offset: placed.next_offset(), partition })
}

/// What a batch is to be compressed with, when it is not as its topic wants it. What is no batch is refused by validation.
fn conversion(partition: &Partition, records: &[u8]) -> Option<Encoding> {
    let encoding = partition.config().compression?;
    let header = BatchHeader::parse(records).ok()?;
    (header.compression() != encoding.compression()).then_some(encoding)
}

/// What a topic accepts.
fn limits(partition: &Partition, validation: RecordValidation, now_ms: i64) -> ValidationLimits {
    let config = partition.config();
    ValidationLimits {
        batch_bytes_max: config.max_message_bytes,
        records: validation,
        keys_required: config.cleanup.compact,
        timestamp_ms_min: now_ms.saturating_sub(config.timestamp_before_max_ms),
        timestamp_ms_max: now_ms.saturating_add(config.timestamp_after_max_ms),
        log_append_time: config.log_append_time,
        ..ValidationLimits::default()
    }
}

/// Validates a batch against its topic and gives it the timestamps that it is stored with.
fn validated(
    partition: &Partition,
    records: &mut BytesMut,
    validation: RecordValidation,
    now_ms: i64,
) -> Result<BatchHeader, PartitionError> {
    let header = validate(records, &limits(partition, validation, now_ms))?;
    stamped(partition, records, header, now_ms)
}

/// Gives a validated batch the timestamps that it is stored with; `header` has the true max timestamp.
fn stamped(
    partition: &Partition,
    records: &mut BytesMut,
    header: BatchHeader,
    now_ms: i64,
) -> Result<BatchHeader, PartitionError> {
    if header.is_transactional() {
        return Err(PartitionError::Transactional);
    }
    let changed = if partition.config().log_append_time {
        set_log_append_time(records, now_ms);
        true
    } else {
        correct_timestamps(records, &header)
    };
    if changed { Ok(BatchHeader::parse(records)?) } else { Ok(header) }
}
