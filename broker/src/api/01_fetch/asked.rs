//! What one fetch asks for, listed by the request itself or remembered by its session, and where each partition is.
//!
//! Deliberately absent: reading, and what a session remembers beside it (`corelog_logic::fetch_session`).

use std::collections::HashMap;
use std::rc::Rc;

use corelog_logic::controller::MetadataImage;
use corelog_logic::fetch_session::{Partition, Slot, Topic, TopicKey};

use super::request::{FetchPartition, FetchRequest};
use crate::api::broker::Broker;
use crate::api::error_code::ErrorCode;
use crate::drive::tasks::PartitionId;
use crate::shard::Core;

/// Topics and partitions in the order in which they are read.
pub(super) struct Asked {
    pub(super) topics: Vec<TopicKey>,
    pub(super) partitions: Vec<FetchPartition>,
    /// What a session knows of each topic; empty outside of one.
    remembered: Vec<Rc<Topic>>,
    /// Each partition's place in its session; empty outside of one.
    pub(super) places: Vec<Slot>,
}

impl Asked {
    /// What a request lists. Of two entries for one partition the last one counts, in the place of the first.
    pub(super) fn of_request(body: &FetchRequest) -> Self {
        let topics = body.topics.clone();
        let partitions = if repeats(body) { without_repetitions(body) } else { body.partitions.clone() };
        Self { topics, partitions, remembered: Vec::new(), places: Vec::new() }
    }

    /// What a session remembers.
    pub(super) fn of_session<'a>(remembered: impl Iterator<Item = (Slot, &'a Partition)>) -> Self {
        let mut asked =
            Self { topics: Vec::new(), partitions: Vec::new(), remembered: Vec::new(), places: Vec::new() };
        for (place, partition) in remembered {
            if asked.remembered.last().is_none_or(|last| !Rc::ptr_eq(last, &partition.topic)) {
                asked.topics.push(partition.topic.key.clone());
                asked.remembered.push(partition.topic.clone());
            }
            asked.places.push(place);
            asked.partitions.push(FetchPartition {
                topic: asked.topics.len() - 1,
                index: partition.partition,
                current_leader_epoch: partition.wanted.current_leader_epoch,
                fetch_offset: partition.wanted.fetch_offset,
                last_fetched_epoch: partition.wanted.last_fetched_epoch,
                max_bytes: partition.wanted.max_bytes,
            });
        }
        asked
    }

    /// The core that has a partition, or why it cannot be read.
    pub(super) fn route(
        &self,
        broker: &Broker,
        image: &MetadataImage,
        partition: &FetchPartition,
    ) -> Result<(Core, PartitionId), ErrorCode> {
        let topic = match self.topics.get(partition.topic) {
            Some(TopicKey::Name(name)) => {
                image.topic_by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?
            }
            Some(TopicKey::Id(id)) => {
                let known = self.remembered.get(partition.topic);
                match image.topic(id) {
                    Some(topic) => {
                        if let Some(known) = known {
                            known.learn_name(&topic.name);
                        }
                        topic
                    }
                    None => {
                        return Err(missing(image, known.and_then(|topic| topic.known_name()), partition));
                    }
                }
            }
            None => return Err(ErrorCode::UnknownServerError),
        };
        broker.route(topic, partition.index).map_err(|refusal| refusal.code)
    }
}

/// What became of a topic that no id leads to: Kafka looks for the name that its session knows.
fn missing(image: &MetadataImage, known_name: Option<&Rc<str>>, partition: &FetchPartition) -> ErrorCode {
    match known_name.map(|name| image.topic_by_name(name)) {
        None => ErrorCode::UnknownTopicId,
        Some(Some(other)) if other.partition(partition.index).is_some() => ErrorCode::InconsistentTopicId,
        Some(_) => ErrorCode::UnknownTopicOrPartition,
    }
}

/// Whether a partition may occur twice. Clients list each topic once, and mostly ascending: that costs no table.
fn repeats(body: &FetchRequest) -> bool {
    let ascending = body
        .partitions
        .iter()
        .zip(body.partitions.iter().skip(1))
        .all(|(one, next)| one.topic != next.topic || one.index < next.index);
    !ascending || canonical(&body.topics).iter().enumerate().any(|(topic, first)| topic != *first)
}

/// For each topic, where it occurs first.
fn canonical(topics: &[TopicKey]) -> Vec<usize> {
    if topics.len() < 2 {
        return vec![0; topics.len()];
    }
    let mut first = HashMap::with_capacity(topics.len());
    topics.iter().enumerate().map(|(topic, key)| *first.entry(key).or_insert(topic)).collect()
}

fn without_repetitions(body: &FetchRequest) -> Vec<FetchPartition> {
    let canonical = canonical(&body.topics);
    let mut kept: Vec<FetchPartition> = Vec::with_capacity(body.partitions.len());
    let mut at = HashMap::with_capacity(body.partitions.len());
    for partition in &body.partitions {
        let topic = canonical.get(partition.topic).copied().unwrap_or(partition.topic);
        let partition = FetchPartition { topic, ..*partition };
        let place = *at.entry((topic, partition.index)).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(earlier) => *earlier = partition,
            None => kept.push(partition),
        }
    }
    kept
}
