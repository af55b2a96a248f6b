//! Replays a partition of `__consumer_offsets` into a coordinator's state, after a start.
//!
//! Like Kafka, a record of an unknown type is skipped, and one that cannot be read ends the load: an older value in its place would
//! be a wrong answer. Deliberately absent: what is answered meanwhile (`coordinator`).

use std::fmt::Display;

use corelog_logic::group::{GroupCoordinator, GroupRecord, RecordError};
use corelog_storage::batch::{BatchSlice, Batches, StoredRecord, for_each_record};

use super::super::Partition;
use super::super::partition::now_ms;

/// Bytes that are read at a time; a single larger batch comes whole.
const READ_BYTES: usize = 256 * 1024;

/// Everything that the log holds, replayed.
///
/// # Errors
/// Why the log cannot be read, and where.
pub(super) async fn load(partition: &Partition) -> Result<GroupCoordinator, String> {
    let log = partition.log();
    let (mut offset, end) = (log.log_start_offset(), log.visible_end_offset());
    let mut groups = GroupCoordinator::new();
    while offset < end {
        let slices = log.read(offset, READ_BYTES, true).await.map_err(|error| error.to_string())?;
        for batch in slices.batches.iter().flat_map(|piece| Batches::new(piece)) {
            let batch = batch.map_err(|error| at(offset, &error))?;
            if batch.header.next_offset() > offset {
                replay(&mut groups, &batch, offset)?;
            }
            glommio::executor().yield_if_needed().await;
        }
        if slices.next_offset <= offset {
            break;
        }
        offset = slices.next_offset;
    }
    Ok(groups)
}

fn at(offset: i64, error: &impl Display) -> String {
    format!("offset {offset}: {error}")
}

fn replay(groups: &mut GroupCoordinator, batch: &BatchSlice<'_>, from: i64) -> Result<(), String> {
    if batch.header.is_control() {
        return Ok(());
    }
    let now_ms = now_ms();
    let mut failed = None;
    let mut one = |record: StoredRecord<'_>| {
        let Some(key) = record.key.filter(|_| record.offset >= from) else { return };
        match GroupRecord::decode(key, record.value) {
            Ok(record) => groups.replay(&record, now_ms),
            Err(RecordError::UnknownType(kind)) => {
                tracing::warn!(kind, offset = record.offset, "a record of an unknown type is skipped");
            }
            Err(error) => failed = failed.take().or_else(|| Some(at(record.offset, &error))),
        }
    };
    for_each_record(batch.bytes, &mut one).map_err(|error| at(batch.header.base_offset, &error))?;
    failed.map_or(Ok(()), Err)
}
