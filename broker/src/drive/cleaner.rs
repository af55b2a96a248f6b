//! A core's cleaner: compacts its partitions' logs, the dirtiest first, one at a time.
//!
//! Started by boot in the housekeeping class, ends with the core. Deliberately absent: which logs are due and what stays of them
//! (`storage::compaction`), and how it is written (the log).

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use corelog_storage::StorageError;
use corelog_storage::batch::BatchHeader;
use corelog_storage::compaction::{ControlFate, Retain, Throttle};
use corelog_storage::io::Io;
use corelog_storage::io::glommio::GlommioIo;
use corelog_storage::log::CompactionMeans;
use corelog_storage::types::LogId;

use super::partition::now_ms;
use super::{Partition, Partitions};

/// How a core compacts.
#[derive(Debug, Clone, Copy)]
pub struct CleanerSettings {
    /// Whether it does (`log.cleaner.enable`).
    pub enabled: bool,
    /// How long to rest when nothing is due (`log.cleaner.backoff.ms`).
    pub backoff: Duration,
    /// This core's part of `log.cleaner.dedupe.buffer.size`, in bytes.
    pub map_bytes_max: usize,
    /// This core's part of `log.cleaner.io.max.bytes.per.second`.
    pub bytes_per_second: f64,
}

/// Compacts for as long as the core runs.
pub async fn clean_logs(partitions: Rc<Partitions>, settings: CleanerSettings) {
    if !settings.enabled {
        return;
    }
    let throttle = Throttle::new(settings.bytes_per_second, GlommioIo::new().now_ns());
    let mut means = CompactionMeans { map_bytes_max: settings.map_bytes_max, throttle };
    // Damaged logs, which would only fail again. Bounded by the logs there are.
    let mut uncleanable = HashSet::new();
    loop {
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
        glommio::timer::sleep(settings.backoff).await;
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
