//! The committed offsets of all groups of one coordinator: moved by replayed records only.
//!
//! Ordered tables, so that a fetch of everything and an expiry see the same order every time. Deliberately absent: who may commit,
//! and offsets of open transactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::records::{OffsetCommitKey, OffsetCommitValue};
use super::{GroupId, GroupRecord, TopicPartition};

/// The offsets of one group: by topic, then partition.
pub type GroupOffsets = BTreeMap<Arc<str>, BTreeMap<i32, OffsetCommitValue>>;

/// Committed offsets by group.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    by_group: BTreeMap<GroupId, GroupOffsets>,
    count: usize,
}

impl Offsets {
    /// Everything that a group has committed.
    pub fn of_group(&self, group_id: &str) -> Option<&GroupOffsets> {
        self.by_group.get(group_id)
    }

    /// One committed offset.
    pub fn get(&self, group_id: &str, topic: &str, partition: i32) -> Option<&OffsetCommitValue> {
        self.by_group.get(group_id)?.get(topic)?.get(&partition)
    }

    /// How many offsets there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All groups that have committed something.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupId, &GroupOffsets)> {
        self.by_group.iter()
    }

    /// Applies a commit.
    pub fn put(&mut self, key: &OffsetCommitKey, value: OffsetCommitValue) {
        let topics = self.by_group.entry(key.group_id.clone()).or_default();
        let partitions = topics.entry(key.partition.topic.clone()).or_default();
        self.count += usize::from(partitions.insert(key.partition.partition, value).is_none());
    }

    /// Applies a tombstone.
    pub fn remove(&mut self, key: &OffsetCommitKey) {
        let Some(topics) = self.by_group.get_mut(&key.group_id) else { return };
        let Some(partitions) = topics.get_mut(&key.partition.topic) else { return };
        self.count -= usize::from(partitions.remove(&key.partition.partition).is_some());
        if partitions.is_empty() {
            topics.remove(&key.partition.topic);
        }
        if topics.is_empty() {
            self.by_group.remove(&key.group_id);
        }
    }

    /// Tombstones for everything that a group has committed.
    pub fn tombstones(&self, group_id: &GroupId) -> Vec<GroupRecord> {
        let topics = self.by_group.get(group_id).into_iter().flatten();
        topics
            .flat_map(|(topic, partitions)| partitions.keys().map(|partition| (topic.clone(), *partition)))
            .map(|(topic, partition)| tombstone(group_id, topic, partition))
            .collect()
    }
}

/// The record that removes a committed offset.
pub fn tombstone(group_id: &GroupId, topic: Arc<str>, partition: i32) -> GroupRecord {
    let partition = TopicPartition { topic, partition };
    GroupRecord::OffsetCommit(OffsetCommitKey { group_id: group_id.clone(), partition }, None)
}
