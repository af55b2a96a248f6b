//! Appends batches to this core's partitions: validate, take a turn, check the producer, append, wait for the disk.
//!
//! The order of appends is fixed when the future of [`produce`] is polled for the first time: every batch has then taken
//! its place at its partition. Deliberately absent: acks (the caller knows whether anybody waits for the answer).

use std::rc::Rc;

use bytes::BytesMut;
use corelog_logic::partition::producer_state::Check;
use corelog_storage::batch::{
    BatchHeader, RecordValidation, ValidationLimits, correct_max_timestamp, set_log_append_time, validate,
};
use futures_util::future::join_all;

use super::partition::{now_ms, producer_batch};
use super::tasks::{AppendBatch, AppendOutcome, AppendTask, Appended, PartitionError};
use super::{Partition, Partitions};

/// Appends every batch and waits for the disk as the task asks. The batches are independent of each other.
pub async fn produce(partitions: Rc<Partitions>, task: AppendTask) -> AppendOutcome {
    let AppendTask { batches, wait_durable, image_version } = task;
    let appended = match <[AppendBatch; 1]>::try_from(batches) {
        // Most requests have one batch for one core: no list of futures for them.
        Ok([batch]) => vec![append(&partitions, batch, image_version).await],
        Err(batches) => {
            join_all(batches.into_iter().map(|batch| append(&partitions, batch, image_version))).await
        }
    };
    let mut outcome = Vec::with_capacity(appended.len());
    for result in appended {
        outcome.push(match result {
            Ok(stored) if wait_durable => {
                let durable = stored.partition.log().durable(stored.next_offset).await;
                durable.map(|()| stored.appended).map_err(PartitionError::from)
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

async fn append(
    partitions: &Partitions,
    batch: AppendBatch,
    image_version: u64,
) -> Result<Stored, PartitionError> {
    let AppendBatch { partition, mut records, backing_bytes } = batch;
    let partition = partitions.find(&partition, image_version).await?;
    let now_ms = now_ms();
    let header = validated(&partition, &mut records, partitions.settings().record_validation, now_ms)?;
    let permit = partition.log().prepare(records.len(), header.max_timestamp, now_ms).await?;

    // From here to the append nothing waits: what the producer check saw still holds when the batch gets its offsets.
    let append_time_ms = |max_timestamp| if partition.config().log_append_time { max_timestamp } else { -1 };
    let log_start_offset = partition.log().log_start_offset();
    if let Some(producer) = producer_batch(&header) {
        let check = partition.producers().borrow_mut().state().check(&producer)?;
        if let Check::Duplicate { base_offset, last_offset, max_timestamp } = check {
            let log_append_time_ms = append_time_ms(max_timestamp);
            // The original may still be on its way to the disk: the repeated batch waits for it like the first one did.
            let appended = Appended { base_offset, log_append_time_ms, log_start_offset };
            return Ok(Stored { appended, partition, next_offset: last_offset + 1 });
        }
    }
    let placed = permit.append(records, backing_bytes, &header, partition.leader_epoch())?;
    let log_append_time_ms = append_time_ms(header.max_timestamp);
    let appended = Appended { base_offset: placed.base_offset, log_append_time_ms, log_start_offset };
    Ok(Stored { appended, next_offset: placed.next_offset(), partition })
}

/// Validates a batch against its topic and gives it the timestamps that it is stored with.
fn validated(
    partition: &Partition,
    records: &mut BytesMut,
    validation: RecordValidation,
    now_ms: i64,
) -> Result<BatchHeader, PartitionError> {
    let config = partition.config();
    let limits = ValidationLimits {
        batch_bytes_max: config.max_message_bytes,
        records: validation,
        keys_required: config.cleanup.compact,
        // On a LogAppendTime topic the producers' timestamps are replaced, and so never wrong.
        timestamp_ms_min: if config.log_append_time {
            i64::MIN
        } else {
            now_ms.saturating_sub(config.timestamp_before_max_ms)
        },
        timestamp_ms_max: if config.log_append_time {
            i64::MAX
        } else {
            now_ms.saturating_add(config.timestamp_after_max_ms)
        },
        ..ValidationLimits::default()
    };
    let header = validate(records, &limits)?;
    if header.is_transactional() {
        return Err(PartitionError::Transactional);
    }
    let changed = if config.log_append_time {
        set_log_append_time(records, now_ms);
        true
    } else {
        validation == RecordValidation::Full && correct_max_timestamp(records, &header)
    };
    if changed { Ok(BatchHeader::parse(records)?) } else { Ok(header) }
}
