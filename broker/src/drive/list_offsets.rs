//! Answers which offset a partition has at its ends or at a time (ListOffsets).
//!
//! Deliberately absent: the wire's special numbers, which `api` turns into an [`OffsetTarget`].

use std::rc::Rc;

use super::tasks::{FoundOffset, OffsetQuery, OffsetTarget, OffsetsOutcome, OffsetsTask, PartitionError};
use super::{Partition, Partitions};

/// Answers every query.
pub async fn list_offsets(partitions: Rc<Partitions>, task: OffsetsTask) -> OffsetsOutcome {
    let mut outcome = Vec::with_capacity(task.queries.len());
    for query in &task.queries {
        outcome.push(list(&partitions, query, task.image_version).await);
    }
    outcome
}

async fn list(
    partitions: &Partitions,
    query: &OffsetQuery,
    image_version: u64,
) -> Result<FoundOffset, PartitionError> {
    let partition = partitions.find(&query.partition, image_version).await?;
    partition.check_leader_epoch(query.current_leader_epoch)?;
    let log = partition.log();
    let record = match query.target {
        OffsetTarget::Earliest => Some((log.log_start_offset(), -1)),
        OffsetTarget::Latest => {
            let leader_epoch = partition.leader_epoch();
            return Ok(FoundOffset { timestamp_ms: -1, offset: partition.high_watermark(), leader_epoch });
        }
        OffsetTarget::LatestTiered => None,
        OffsetTarget::MaxTimestamp => log.max_timestamp_offset().await?,
        OffsetTarget::AtOrAfter(timestamp_ms) => log.offset_for_timestamp(timestamp_ms).await?,
    };
    Ok(match record {
        Some((offset, timestamp_ms)) => {
            FoundOffset { timestamp_ms, offset, leader_epoch: epoch_of(&partition, offset) }
        }
        None => FoundOffset { timestamp_ms: -1, offset: -1, leader_epoch: -1 },
    })
}

/// The epoch in which an offset was written.
fn epoch_of(partition: &Partition, offset: i64) -> i32 {
    let epochs = partition.log().leader_epochs();
    let written = epochs.entries().iter().rev().find(|(_, start)| *start <= offset);
    written.map_or(partition.leader_epoch(), |(epoch, _)| *epoch)
}
