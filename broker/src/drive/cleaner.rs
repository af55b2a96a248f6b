//! A core's cleaner: compacts its partitions' logs, the dirtiest first, one at a time.
//!
//! Started by boot in the housekeeping class, ends with the core. Deliberately absent: which logs are due and what stays of them
//! (`storage::compaction`), and how it is written (the log).

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_storage::StorageError;
use corelog_storage::batch::BatchHeader;
use corelog_storage::compaction::{ControlFate, Retain};
use corelog_storage::io::Io;
use corelog_storage::io::glommio::GlommioIo;
use corelog_storage::log::CompactionMeans;
use corelog_storage::throttle::Throttle;
use corelog_storage::types::LogId;

use super::partition::now_ms;
use super::{Partition, Partitions};
use crate::config::CleanerConfig;

/// A rest is taken in steps of at most this, so that a shorter one can be ordered meanwhile.
const REST_STEP: Duration = Duration::from_secs(1);

/// Compacts for as long as the core runs, with its part of what the node's `cores` may use together, and never more than
/// `map_bytes_max` of memory for keys: that is the core's budget for it.
pub async fn clean_logs(partitions: Rc<Partitions>, cores: u16, map_bytes_max: usize) {
    let mut config = partitions.cleaner();
    let mut means = means(config, cores, map_bytes_max);
    // Damaged logs, which would only fail again. Bounded by the logs there are.
    let mut uncleanable = HashSet::new();
    loop {
        if config != partitions.cleaner() {
            config = partitions.cleaner();
            means = self::means(config, cores, map_bytes_max);
        }
        // What could not be done now is looked at again after a rest.
        let mut passed_over = uncleanable.clone();
        while let Some(partition) = dirtiest(&partitions, &passed_over).await {
            let log = partition.log();
            let name = log.identity().dir_name();
            match log.compact(now_ms(), &mut means).await {
                Ok(Some(done)) => tracing::info!(
                    "{name} is compacted up to {}: {} bytes became {}, {} keys",
                    done.end_offset,
                    done.bytes_before,
                    done.bytes_after,
                    done.keys
                ),
                Ok(None) => drop(passed_over.insert(log.identity().log_id)),
                // Deleted meanwhile, or its directory failed, which has been said.
                Err(StorageError::Closed | StorageError::DirectoryFailed { .. }) => break,
                Err(error) if error.is_disk_full() => {
                    tracing::warn!("no room to compact {name}: {error}");
                    passed_over.insert(log.identity().log_id);
                }
                Err(error) => {
                    tracing::error!(
                        "{name} cannot be compacted, and is left alone until the next start: {error}"
                    );
                    uncleanable.insert(log.identity().log_id);
                    passed_over.insert(log.identity().log_id);
                }
            }
        }
        rest(&partitions).await;
    }
}

fn means(config: CleanerConfig, cores: u16, map_bytes_max: usize) -> CompactionMeans {
    let asked = usize::try_from(config.dedupe_buffer_bytes / u64::from(cores)).unwrap_or(usize::MAX);
    let map_bytes_max = asked.min(map_bytes_max);
    let bytes_per_second = (config.io_bytes_per_second / f64::from(cores)).max(1.0);
    CompactionMeans { map_bytes_max, throttle: Throttle::new(bytes_per_second, GlommioIo::new().now_ns()) }
}

/// Rests for `log.cleaner.backoff.ms`, as that is at each moment of the rest.
async fn rest(partitions: &Partitions) {
    let begun = Instant::now();
    loop {
        let backoff = Duration::from_millis(partitions.cleaner().backoff_ms.max(1));
        match backoff.checked_sub(begun.elapsed()) {
            None | Some(Duration::ZERO) => return,
            Some(left) => glommio::timer::sleep(left.min(REST_STEP)).await,
        };
    }
}

async fn dirtiest(partitions: &Partitions, uncleanable: &HashSet<LogId>) -> Option<Rc<Partition>> {
    let mut found: Option<(f64, Rc<Partition>)> = None;
    for partition in partitions.online() {
        if !partition.config().cleanup.compact || uncleanable.contains(&partition.log().identity().log_id) {
            continue;
        }
        if let Some(dirty) = partition.log().dirty(now_ms()).filter(|dirty| dirty.due)
            && found.as_ref().is_none_or(|(ratio, _)| dirty.ratio > *ratio)
        {
            found = Some((dirty.ratio, partition));
        }
        glommio::yield_if_needed().await;
    }
    found.map(|(_, partition)| partition)
}

/// Keeps the last batch of every producer that is remembered. There are no transactions, so no markers either.
pub(super) struct RetainProducers {
    /// Where each producer's last batch ends.
    pub(super) last_offsets: HashSet<(i64, i64)>,
}

impl Retain for RetainProducers {
    fn is_last_of_producer(&self, batch: &BatchHeader) -> bool {
        self.last_offsets.contains(&(batch.producer_id, batch.last_offset()))
    }

    fn is_aborted(&mut self, _batch: &BatchHeader) -> bool {
        false
    }

    fn control(&mut self, _batch: &BatchHeader, _bytes: &[u8]) -> ControlFate {
        ControlFate::Needed
    }
}
