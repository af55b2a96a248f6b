//! Partitions of many topics with a value each, as sorted lists: small for the many members that own little.
//!
//! A member's target assignment, what it owns and what it must give up are kept in it; the assignors give and take it.
//! Deliberately absent: changing one partition at a time. A new list is collected, and replaces the old one.

use crate::controller::TopicId;

/// Values by topic and partition; iterates in the order of both. Equal contents are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByPartition<V> {
    /// Sorted by topic; no topic without partitions; partitions sorted and each there once.
    topics: Vec<(TopicId, Vec<(i32, V)>)>,
}

/// Which partitions: a target assignment.
pub type Assignment = ByPartition<()>;
/// Partitions and the epoch at which each was assigned to its member: what a member owns or must give up.
pub type OwnedPartitions = ByPartition<i32>;

impl<V> Default for ByPartition<V> {
    fn default() -> Self {
        Self { topics: Vec::new() }
    }
}

impl<V> ByPartition<V> {
    /// Whether there is no partition.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many partitions there are, of all topics.
    pub fn len(&self) -> usize {
        self.topics.iter().map(|(_, partitions)| partitions.len()).sum()
    }

    /// The partitions of one topic.
    pub fn topic(&self, topic: &TopicId) -> &[(i32, V)] {
        match self.topics.binary_search_by(|(id, _)| id.cmp(topic)) {
            Ok(at) => self.topics.get(at).map_or(&[], |(_, partitions)| partitions),
            Err(_) => &[],
        }
    }

    /// The value of one partition.
    pub fn get(&self, topic: &TopicId, partition: i32) -> Option<&V> {
        let partitions = self.topic(topic);
        let at = partitions.binary_search_by_key(&partition, |(number, _)| *number).ok()?;
        partitions.get(at).map(|(_, value)| value)
    }

    /// Whether the partition is there.
    pub fn contains(&self, topic: &TopicId, partition: i32) -> bool {
        self.get(topic, partition).is_some()
    }

    /// Topics and their partitions.
    pub fn topics(&self) -> impl Iterator<Item = (&TopicId, &[(i32, V)])> {
        self.topics.iter().map(|(topic, partitions)| (topic, partitions.as_slice()))
    }

    /// Every partition.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32, &V)> {
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(|(number, value)| (*topic, *number, value)))
    }
}

impl Assignment {
    /// The same partitions, all assigned at `epoch`.
    pub fn at_epoch(&self, epoch: i32) -> OwnedPartitions {
        self.iter().map(|(topic, partition, ())| (topic, partition, epoch)).collect()
    }
}

impl OwnedPartitions {
    /// The same partitions without their epochs.
    pub fn without_epochs(&self) -> Assignment {
        self.iter().map(|(topic, partition, _)| (topic, partition, ())).collect()
    }
}

impl<V> FromIterator<(TopicId, i32, V)> for ByPartition<V> {
    /// Sorts; of a partition that comes more than once the first value stays.
    fn from_iter<I: IntoIterator<Item = (TopicId, i32, V)>>(items: I) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort_by_key(|(topic, partition, _)| (*topic, *partition));
        items.dedup_by_key(|(topic, partition, _)| (*topic, *partition));
        let mut topics: Vec<(TopicId, Vec<(i32, V)>)> = Vec::new();
        for (topic, partition, value) in items {
            match topics.last_mut() {
                Some((last, partitions)) if *last == topic => partitions.push((partition, value)),
                _ => topics.push((topic, vec![(partition, value)])),
            }
        }
        for (_, partitions) in &mut topics {
            partitions.shrink_to_fit();
        }
        topics.shrink_to_fit();
        Self { topics }
    }
}
