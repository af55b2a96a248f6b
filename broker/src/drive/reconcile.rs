//! Makes this core's partitions what the newest metadata says: opens, creates, updates and deletes logs.
//!
//! Called by `shard`, which knows which partitions belong to this core, once for each version of the metadata and in
//! order. Deliberately absent: deciding anything; a log that cannot be opened is offline and says why.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use corelog_logic::controller::TopicId;
use corelog_storage::log::{LogConfig, LogIdentity, SharedTenant};
use corelog_storage::types::LogId;
use corelog_storage::{StorageError, compaction, retention};
use futures_util::stream::{self, StreamExt};

use super::tasks::PartitionId;
use super::{Partition, Partitions, ProducerTenant, Store};
use crate::config::TopicConfig;

/// Logs that are created at the same time, so that their flushes share the disk.
const CREATIONS_MAX: usize = 64;

/// A partition that this core owns according to the metadata.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub id: PartitionId,
    pub topic: String,
    pub log_id: u64,
    pub leader_epoch: i32,
    pub config: TopicConfig,
}

/// The identity of a partition's log as storage knows it.
pub fn log_identity(topic: &str, id: &PartitionId, log_id: u64) -> LogIdentity {
    LogIdentity {
        log_id: LogId(log_id),
        topic_id: id.topic_id.0,
        topic: topic.to_owned(),
        partition: id.partition,
    }
}

/// The settings of a partition's log.
pub(super) fn log_config(config: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: u32::try_from(config.segment_bytes).unwrap_or(u32::MAX / 2),
        segment_ms: segment_ms(config),
        segment_jitter_ms: i64::try_from(config.segment_jitter_ms).unwrap_or(i64::MAX),
        retention: retention::Policy {
            delete: config.cleanup.delete,
            retention_ms: config.retention_ms,
            retention_bytes: config.retention_bytes,
        },
        compaction: compaction::Policy {
            compact: config.cleanup.compact,
            dirty_ratio_min: config.cleanable_ratio_min,
            lag_ms_min: config.compaction_lag_min_ms,
            lag_ms_max: config.compaction_lag_max_ms,
            delete_retention_ms: config.delete_retention_ms,
        },
        file_delete_delay_ms: i64::try_from(config.file_delete_delay_ms).unwrap_or(i64::MAX),
    }
}

/// The active segment is never compacted, so it is closed in time for `max.compaction.lag.ms` (Kafka's `LogConfig.maxSegmentMs`).
fn segment_ms(config: &TopicConfig) -> i64 {
    let segment_ms = i64::try_from(config.segment_ms).unwrap_or(i64::MAX);
    match config.cleanup.compact {
        true => segment_ms.min(config.compaction_lag_max_ms),
        false => segment_ms,
    }
}

/// The producer states of logs whose partitions are not made yet.
#[derive(Debug, Default)]
pub struct Tenants {
    by_log: RefCell<HashMap<LogId, Rc<RefCell<ProducerTenant>>>>,
}

impl Tenants {
    /// A fresh tenant for a log that the store opens; the partition made later finds it.
    pub fn lend(&self, log_id: LogId) -> SharedTenant {
        self.by_log.borrow_mut().entry(log_id).or_default().clone()
    }

    fn take(&self, log_id: LogId) -> Rc<RefCell<ProducerTenant>> {
        self.by_log.borrow_mut().remove(&log_id).unwrap_or_default()
    }
}

/// The log directories.
#[derive(Debug, Clone)]
pub struct LogDirs {
    /// Those that the store has, in its order.
    pub used: Vec<PathBuf>,
    /// Those that the start had to do without, as errors that say so.
    pub lost: Vec<StorageError>,
}

/// A core's store and its partitions, kept in step with the metadata.
pub struct Reconciler {
    store: Rc<Store>,
    partitions: Rc<Partitions>,
    tenants: Tenants,
    dirs: LogDirs,
}

impl Reconciler {
    /// For a store that was opened in `dirs` with `tenants`.
    pub fn new(store: Rc<Store>, partitions: Rc<Partitions>, tenants: Tenants, dirs: LogDirs) -> Self {
        Self { store, partitions, tenants, dirs }
    }

    /// The core's store.
    pub fn store(&self) -> &Rc<Store> {
        &self.store
    }

    /// The core's partitions.
    pub fn partitions(&self) -> &Rc<Partitions> {
        &self.partitions
    }

    /// The log directories.
    pub fn dirs(&self) -> &LogDirs {
        &self.dirs
    }

    /// Paths of the directories that cannot be used, whether they have failed since the start or were lost before.
    pub fn offline_dirs(&self) -> Vec<PathBuf> {
        let lost = self.dirs.lost.iter().filter_map(|error| match error {
            StorageError::DirectoryFailed { dir, .. } => Some(dir.clone()),
            _ => None,
        });
        self.store.stats().failed_dirs.into_iter().chain(lost).collect()
    }

    /// Takes a version over: removes topics, then opens or updates what is assigned. Every partition of the version is
    /// there, online or offline, when this returns.
    pub async fn apply(&self, assigned: Vec<Assignment>, removed: &[TopicId], version: u64) {
        for topic_id in removed {
            for partition in self.partitions.remove_topic(topic_id) {
                let identity = partition.log().identity();
                match self.store.delete_log(identity.log_id).await {
                    Ok(()) => {}
                    Err(error @ StorageError::DirectoryFailed { .. }) => tracing::warn!(
                        "{} was deleted, and its files go with the first start that finds its directory: {error}",
                        identity.dir_name()
                    ),
                    Err(error) => tracing::error!("{} could not be deleted: {error}", identity.dir_name()),
                }
            }
        }
        let mut missing = Vec::new();
        // What there was before this start, and is in no directory, is in one that the start had to do without.
        let lost = self.dirs.lost.first().filter(|_| self.partitions.version() == 0);
        for assignment in assigned {
            let is_there = |log_id| self.store.log(LogId(log_id)).is_some();
            match (self.partitions.opened(&assignment.id), lost) {
                (Some(partition), _) => partition.update(assignment.leader_epoch, assignment.config),
                // An empty log in its place would be another one, and hide that the records are elsewhere.
                (None, _) if self.partitions.is_lost(&assignment.id) => {}
                (None, Some(lost)) if !is_there(assignment.log_id) => {
                    self.partitions.insert(assignment.id, Err(lost.clone()));
                }
                (None, _) => missing.push(assignment),
            }
        }
        let mut directories = self.logs_per_directory();
        let opened = missing.into_iter().map(|assignment| {
            let dir_index = least(&directories);
            if let Some(Some(count)) = directories.get_mut(dir_index) {
                *count += 1;
            }
            self.open(assignment, dir_index)
        });
        stream::iter(opened.collect::<Vec<_>>()).buffer_unordered(CREATIONS_MAX).collect::<Vec<()>>().await;
        self.partitions.caught_up(version);
    }

    async fn open(&self, assignment: Assignment, dir_index: usize) {
        let Assignment { id, topic, log_id, leader_epoch, config } = assignment;
        let identity = log_identity(&topic, &id, log_id);
        let producers = self.tenants.take(identity.log_id);
        let log = match self.store.log(identity.log_id) {
            // Recovery opened it, and knew nothing of its topic's settings.
            Some(log) => {
                log.set_config(log_config(&config));
                Ok(log)
            }
            None => self.store.create_log(identity, dir_index, log_config(&config), producers.clone()).await,
        };
        if let Err(error) = &log {
            tracing::error!("{topic}-{} is offline: {error}", id.partition);
        }
        let hosted = log.map(|log| Rc::new(Partition::new(log, producers, leader_epoch, config)));
        self.partitions.insert(id, hosted);
    }

    /// None for a directory that has failed.
    fn logs_per_directory(&self) -> Vec<Option<usize>> {
        let logs = self.store.logs();
        let in_dir = |dir: &PathBuf| logs.iter().filter(|log| log.path().parent() == Some(dir)).count();
        let usable = |(index, dir)| self.store.directory_failure(index).is_none().then(|| in_dir(dir));
        self.dirs.used.iter().enumerate().map(usable).collect()
    }
}

/// The directory with the fewest logs, as Kafka chooses, of those that have not failed. When all have, the first says why.
fn least(counts: &[Option<usize>]) -> usize {
    let usable = counts.iter().enumerate().filter_map(|(index, count)| Some((index, (*count)?)));
    usable.min_by_key(|(_, count)| *count).map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::least;

    #[test]
    fn a_new_log_goes_where_the_fewest_are_and_never_to_a_directory_that_failed() {
        assert_eq!(least(&[Some(3), Some(1), Some(1)]), 1);
        assert_eq!(least(&[None, Some(9), None]), 1);
        assert_eq!(least(&[Some(9), None]), 0);
        assert_eq!(least(&[None, None]), 0);
    }
}
