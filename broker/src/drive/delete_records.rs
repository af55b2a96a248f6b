//! Deletes records below an offset by moving a partition's log start up (DeleteRecords).
//!
//! Deliberately absent: removing files, which the log does when a checkpoint covers its new start.

use std::rc::Rc;

use corelog_storage::StorageError;
use futures_util::future::join_all;

use super::Partitions;
use super::tasks::{DeleteRecords, DeleteRecordsOutcome, DeleteRecordsTask, PartitionError};

/// Moves every partition's start, and waits until that is durable; all at once, so that they share the journal's flushes.
pub async fn delete_records(partitions: Rc<Partitions>, task: DeleteRecordsTask) -> DeleteRecordsOutcome {
    let image_version = task.image_version;
    join_all(task.partitions.iter().map(|asked| delete(&partitions, asked, image_version))).await
}

async fn delete(
    partitions: &Partitions,
    asked: &DeleteRecords,
    image_version: u64,
) -> Result<i64, PartitionError> {
    let partition = partitions.find(&asked.partition, image_version).await?;
    let config = partition.config();
    if config.cleanup.compact && !config.cleanup.delete {
        return Err(PartitionError::NotDeletable);
    }
    let log = partition.log();
    // Asked before the wait: a start beyond what is visible then is refused even if that grows meanwhile.
    let offset = asked.offset.unwrap_or_else(|| partition.high_watermark());
    if offset < 0 {
        let (log_start_offset, high_watermark) = (log.log_start_offset(), partition.high_watermark());
        return Err(PartitionError::OffsetOutOfRange { offset, log_start_offset, high_watermark });
    }
    log.advance_log_start(offset).await.map_err(|error| match error {
        StorageError::OffsetOutOfRange { offset, start_offset, end_offset } => {
            PartitionError::OffsetOutOfRange {
                offset,
                log_start_offset: start_offset,
                high_watermark: end_offset,
            }
        }
        error => error.into(),
    })
}
