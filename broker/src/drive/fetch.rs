//! Reads batches from this core's partitions, and waits for new ones to become visible.
//!
//! Deliberately absent: sessions, and minimum bytes and deadlines over several cores, which the connection's core keeps
//! (`api`). Without transactions the last stable offset is the high watermark, so isolation makes no difference yet.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::select_all;

use super::tasks::{FetchOutcome, FetchRange, FetchTask, Fetched, PartitionError, WatchTask};
use super::{Partition, Partitions};

/// Reads every range, as far as the task's bytes go.
pub async fn fetch(partitions: Rc<Partitions>, task: FetchTask) -> FetchOutcome {
    let mut left = task.bytes_max;
    let mut at_least_one = task.at_least_one;
    let mut outcome = Vec::with_capacity(task.partitions.len());
    for range in &task.partitions {
        let result = read(&partitions, range, task.image_version, left, at_least_one).await;
        if let Ok(found) = &result {
            let bytes = found.batches.iter().map(bytes::Bytes::len).sum();
            left = left.saturating_sub(bytes);
            at_least_one &= bytes == 0;
        }
        outcome.push(result);
    }
    outcome
}

async fn read(
    partitions: &Partitions,
    range: &FetchRange,
    image_version: u64,
    left: usize,
    at_least_one: bool,
) -> Result<Fetched, PartitionError> {
    let partition = partitions.find(&range.partition, image_version).await?;
    let mut found = ends(&partition, range)?;
    let bytes_max = range.bytes_max.min(left);
    if range.fetch_offset < found.high_watermark && (bytes_max > 0 || at_least_one) {
        found.batches = partition.log().read(range.fetch_offset, bytes_max, at_least_one).await?.batches;
    }
    Ok(found)
}

/// Where the log begins and ends, when the range may be read.
fn ends(partition: &Partition, range: &FetchRange) -> Result<Fetched, PartitionError> {
    partition.check_leader_epoch(range.current_leader_epoch)?;
    let (log_start_offset, high_watermark) = (partition.log().log_start_offset(), partition.high_watermark());
    let offset = range.fetch_offset;
    if offset < log_start_offset || offset > high_watermark {
        return Err(PartitionError::OffsetOutOfRange { offset, log_start_offset, high_watermark });
    }
    let last_stable_offset = high_watermark;
    Ok(Fetched { high_watermark, last_stable_offset, log_start_offset, batches: Vec::new() })
}

/// Resolves when the ranges hold as many bytes as the task wants, or one of them cannot be read as asked, or the time is
/// over, or the core is to stop. Woken by the appends that make it so.
pub async fn watch(partitions: Rc<Partitions>, task: WatchTask) {
    let mut timeout = pin!(glommio::timer::sleep(Duration::from_millis(task.wait_ms_max.into())));
    let mut enough = pin!(enough_visible(&partitions, &task));
    let mut stopping = pin!(partitions.interrupt().interrupted());
    poll_fn(|cx| {
        let over = enough.as_mut().poll(cx).is_ready()
            || timeout.as_mut().poll(cx).is_ready()
            || stopping.as_mut().poll(cx).is_ready();
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn enough_visible(partitions: &Partitions, task: &WatchTask) {
    loop {
        let mut visible_bytes: usize = 0;
        let mut changes = Vec::with_capacity(task.partitions.len());
        for range in &task.partitions {
            // Whatever is wrong with a range shows when it is read.
            let Some(partition) = partitions.get(&range.partition) else { return };
            let Ok(found) = ends(&partition, range) else { return };
            let log = partition.log().clone();
            let enough = range.bytes_max.min(task.bytes_min);
            let there = match log.read_cached(range.fetch_offset, enough, true) {
                Ok(Some(cached)) => cached.total_bytes,
                // What only the disk has is more than the cache would hold back.
                Ok(None) | Err(_) => enough,
            };
            visible_bytes = visible_bytes.saturating_add(there);
            // A range that already gives all it may give has nothing to add.
            if there < range.bytes_max {
                changes.push(Box::pin(async move {
                    let _visible_or_ended = log.watch(found.high_watermark).await;
                }));
            }
        }
        if visible_bytes >= task.bytes_min {
            return;
        }
        if changes.is_empty() {
            return std::future::pending().await;
        }
        select_all(changes).await;
    }
}
