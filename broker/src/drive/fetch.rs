//! Reads batches from this core's partitions, and waits for new ones to become visible.
//!
//! Deliberately absent: sessions, and minimum bytes and deadlines over several cores, which the connection's core keeps
//! (`api`). Without transactions the last stable offset is the high watermark, so isolation makes no difference yet.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};

use corelog_logic::partition::epoch_end::UNKNOWN;

use super::tasks::{FetchOutcome, FetchRange, FetchTask, Fetched, PartitionError, WatchOutcome, WatchTask};
use super::{Log, Partition, Partitions};

/// With less room than this left, a partition's read does not go on to the next part of its log: it would mostly find a batch that
/// does not fit.
const READ_ON_BYTES_MIN: usize = 64 * 1024;

/// Reads every range, as far as the task's bytes go.
pub async fn fetch(partitions: Rc<Partitions>, task: FetchTask) -> FetchOutcome {
    let mut left = task.bytes_max;
    let mut at_least_one = task.at_least_one;
    let mut outcome = Vec::with_capacity(task.partitions.len());
    for range in &task.partitions {
        let result = read(&partitions, range, task.image_version, left, at_least_one).await;
        if let Ok(found) = &result {
            let bytes = found.batches.iter().map(Bytes::len).sum();
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
    if found.diverging.is_some() {
        return Ok(found);
    }
    if range.limit_is_negative && range.fetch_offset < found.high_watermark {
        return Err(PartitionError::NegativeLimit);
    }
    let bytes_max = range.bytes_max.min(left);
    if range.fetch_offset < found.high_watermark && (bytes_max > 0 || at_least_one) {
        found.batches = read_on(&partition, range.fetch_offset, bytes_max, at_least_one).await?;
    }
    Ok(found)
}

/// As many batches as fit. One read ends at the end of a segment, or of what is read from the disk in one go: then the next one goes
/// on, so that others have their turn in between.
async fn read_on(
    partition: &Partition,
    offset: i64,
    bytes_max: usize,
    at_least_one: bool,
) -> Result<Vec<Bytes>, PartitionError> {
    let log = partition.log();
    let first = log.read(offset, bytes_max, at_least_one).await?;
    let (mut batches, mut len, mut next_offset) = (first.batches, first.total_bytes, first.next_offset);
    while len > 0
        && bytes_max.saturating_sub(len) >= READ_ON_BYTES_MIN
        && next_offset < partition.high_watermark()
    {
        // What goes wrong further on is told to whoever asks from there.
        let Ok(more) = log.read(next_offset, bytes_max - len, false).await else { break };
        if more.total_bytes == 0 {
            break;
        }
        (len, next_offset) = (len + more.total_bytes, more.next_offset);
        batches.extend(more.batches);
    }
    Ok(batches)
}

/// Where the log begins and ends, when the range may be read.
fn ends(partition: &Partition, range: &FetchRange) -> Result<Fetched, PartitionError> {
    partition.check_leader_epoch(range.current_leader_epoch)?;
    if range.from_follower {
        // A broker that knows the leader's epoch may have heard of its replica before the leader: it shall ask again.
        let (requested, current) = (range.current_leader_epoch, partition.leader_epoch());
        return Err(match requested {
            ..0 => PartitionError::NoSuchReplica,
            _ => PartitionError::UnknownLeaderEpoch { requested, current },
        });
    }
    let (log_start_offset, high_watermark) = (partition.log().log_start_offset(), partition.high_watermark());
    let offset = range.fetch_offset;
    let out_of_range = PartitionError::OffsetOutOfRange { offset, log_start_offset, high_watermark };
    let diverging = match range.last_fetched_epoch {
        ..0 => None,
        epoch => {
            let end = partition.end_of_epoch(epoch);
            if end == UNKNOWN || offset < log_start_offset {
                return Err(out_of_range);
            }
            (end.leader_epoch < epoch || end.end_offset < offset).then_some(end)
        }
    };
    if diverging.is_none() && (offset < log_start_offset || offset > high_watermark) {
        return Err(out_of_range);
    }
    let last_stable_offset = high_watermark;
    Ok(Fetched { high_watermark, last_stable_offset, log_start_offset, batches: Vec::new(), diverging })
}

/// Resolves when the ranges hold as many bytes as the task wants, or one of them cannot be read as asked, or the time is
/// over, or the core is to stop. Woken by the appends that make it so; says which ranges they were.
pub async fn watch(partitions: Rc<Partitions>, task: WatchTask) -> WatchOutcome {
    // Bytes that each range holds.
    let held = RefCell::new(vec![0; task.partitions.len()]);
    {
        let mut timeout = pin!(glommio::timer::sleep(Duration::from_millis(task.wait_ms_max.into())));
        let mut enough = pin!(enough_visible(&partitions, &task, &held));
        let mut stopping = pin!(partitions.interrupt().interrupted());
        poll_fn(|cx| {
            let over = enough.as_mut().poll(cx).is_ready()
                || timeout.as_mut().poll(cx).is_ready()
                || stopping.as_mut().poll(cx).is_ready();
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    let places = held.into_inner().into_iter().zip(0..);
    places.filter(|(held, _)| *held > 0).map(|(_, place)| place).collect()
}

/// What a watch sees of a range.
enum Seen {
    /// Whatever is wrong with it shows when it is read.
    Strange,
    /// So many bytes, and more may come after this offset.
    Holds { bytes: usize, log: Rc<Log>, high_watermark: i64 },
}

fn look(partitions: &Partitions, range: &FetchRange, bytes_min: usize) -> Seen {
    let Some(partition) = partitions.get(&range.partition) else { return Seen::Strange };
    let Ok(found) = ends(&partition, range) else { return Seen::Strange };
    if found.diverging.is_some() {
        return Seen::Strange;
    }
    let log = partition.log().clone();
    let enough = range.bytes_max.min(bytes_min);
    let bytes = match log.read_cached(range.fetch_offset, enough, true) {
        Ok(Some(cached)) => cached.total_bytes,
        // What only the disk has is more than the cache would hold back.
        Ok(None) | Err(_) => enough,
    };
    Seen::Holds { bytes, log, high_watermark: found.high_watermark }
}

/// Looks at every range once, and after that only at those that changed.
async fn enough_visible(partitions: &Partitions, task: &WatchTask, held: &RefCell<Vec<usize>>) {
    let mut visible_bytes: usize = 0;
    let mut changes = FuturesUnordered::new();
    let mut due: Vec<usize> = (0..task.partitions.len()).collect();
    loop {
        let mut strange = false;
        for place in due.drain(..) {
            let Some(range) = task.partitions.get(place) else { continue };
            let (bytes, rest) = match look(partitions, range, task.bytes_min) {
                Seen::Strange => (1, None),
                Seen::Holds { bytes, log, high_watermark } => (bytes, Some((log, high_watermark))),
            };
            strange |= rest.is_none();
            if let Some(before) = held.borrow_mut().get_mut(place) {
                visible_bytes = visible_bytes.saturating_sub(*before).saturating_add(bytes);
                *before = bytes;
            }
            // A range that already gives all it may give has nothing to add.
            if let Some((log, high_watermark)) = rest
                && bytes < range.bytes_max
            {
                changes.push(async move {
                    let _visible_or_ended = log.watch(high_watermark).await;
                    place
                });
            }
        }
        if strange || visible_bytes >= task.bytes_min {
            return;
        }
        match changes.next().await {
            Some(place) => due.push(place),
            None => return std::future::pending().await,
        }
        // Whatever else became visible in the same moment.
        while let Some(Some(place)) = changes.next().now_or_never() {
            due.push(place);
        }
    }
}
