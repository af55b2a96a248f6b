//! ListOffsets (key 2): offsets by time, and the special ones.
//!
//! Version notes: 2 adds the isolation level; 4 leader epochs (KIP-320); 6 is flexible; 7 adds -3, the record with the
//! largest timestamp (KIP-734); 8 adds -4, the earliest local offset (KIP-405), here the log's start; 9 adds -5, the
//! latest tiered offset (KIP-1005), here -1: nothing is tiered; 10 adds a timeout, which is for tiered storage. A
//! special that the version does not have is UNSUPPORTED_VERSION; a partition that occurs twice INVALID_REQUEST, once. As in
//! Kafka, a topic comes back once however often it was asked for, and not at all without partitions; an isolation level
//! that there is not ends in UNKNOWN_SERVER_ERROR.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::grouping::Groups;
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::tasks::{FoundOffset, Isolation, OffsetQuery, OffsetTarget, OffsetsTask};

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: ListOffsetsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let response = answer(&broker, body, request.version).await;
        request.reply(&response)
    }))
}

const NOTHING: FoundOffset = FoundOffset { timestamp_ms: -1, offset: -1, leader_epoch: -1 };

/// A topic's name, and each of its partitions with the slot of its answer.
type Asked<'a> = (&'a TopicName, Vec<(i32, usize)>);

async fn answer(broker: &Broker, body: ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
    if !matches!(body.isolation_level, 0 | 1) {
        return refused(&body, ErrorCode::UnknownServerError);
    }
    let image = broker.cores.image();
    let image_version = image.version;
    let mut times: HashMap<(&str, i32), u32> = HashMap::new();
    for topic in &body.topics {
        for partition in &topic.partitions {
            *times.entry((topic.name.as_str(), partition.partition_index)).or_default() += 1;
        }
    }
    let mut slots: Vec<Result<FoundOffset, Refusal>> = Vec::new();
    let mut groups = Groups::new();
    let mut asked: Vec<Asked<'_>> = Vec::new();
    let mut place_of: HashMap<&str, usize> = HashMap::new();
    let mut answered: HashSet<(&str, i32)> = HashSet::new();
    for topic in &body.topics {
        let found = image.topic_by_name(&topic.name);
        for partition in &topic.partitions {
            let key = (topic.name.as_str(), partition.partition_index);
            if !answered.insert(key) {
                continue;
            }
            let slot = slots.len();
            slots.push(Ok(NOTHING));
            let place = *place_of.entry(topic.name.as_str()).or_insert(asked.len());
            match asked.get_mut(place) {
                Some((_, partitions)) => partitions.push((partition.partition_index, slot)),
                None => asked.push((&topic.name, vec![(partition.partition_index, slot)])),
            }
            let routed = if times.get(&key).is_some_and(|times| *times > 1) {
                Err(ErrorCode::InvalidRequest.into())
            } else {
                target(partition.timestamp, version).and_then(|target| {
                    let topic = found.ok_or_else(|| Refusal::from(ErrorCode::UnknownTopicOrPartition))?;
                    Ok((broker.route(topic, partition.partition_index)?, target))
                })
            };
            match routed {
                Ok(((core, id), Some(target))) => {
                    let current_leader_epoch = partition.current_leader_epoch;
                    groups.push(core, slot, OffsetQuery { partition: id, current_leader_epoch, target });
                }
                // Known, and always nothing.
                Ok((_, None)) => {}
                Err(refusal) => set(&mut slots, slot, Err(refusal)),
            }
        }
    }
    let isolation =
        if body.isolation_level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let mut pending = Vec::new();
    for group in groups.0 {
        let task = OffsetsTask { queries: group.items, isolation, image_version };
        pending.push((group.slots, broker.cores.offsets(group.core, task).await));
    }
    for (group_slots, submitted) in pending {
        let outcome = match submitted {
            Ok(outcome) => outcome.await,
            Err(gone) => Err(gone),
        };
        match outcome {
            Ok(outcome) => {
                for (slot, found) in group_slots.into_iter().zip(outcome) {
                    set(&mut slots, slot, found.map_err(|error| (&error).into()));
                }
            }
            // The core is stopping with the process: the client will find the next leader.
            Err(_) => group_slots
                .into_iter()
                .for_each(|slot| set(&mut slots, slot, Err(ErrorCode::NotLeaderOrFollower.into()))),
        }
    }
    respond(&asked, version, &slots)
}

fn set<T>(slots: &mut [T], slot: usize, value: T) {
    if let Some(place) = slots.get_mut(slot) {
        *place = value;
    }
}

/// What a timestamp asks for; `None` for what never has an answer here.
fn target(timestamp: i64, version: i16) -> Result<Option<OffsetTarget>, Refusal> {
    let (target, since) = match timestamp {
        0.. => (Some(OffsetTarget::AtOrAfter(timestamp)), 1),
        -1 => (Some(OffsetTarget::Latest), 1),
        -2 => (Some(OffsetTarget::Earliest), 1),
        -3 => (Some(OffsetTarget::MaxTimestamp), 7),
        -4 => (Some(OffsetTarget::Earliest), 8),
        -5 => (Some(OffsetTarget::LatestTiered), 9),
        _ => (None, i16::MAX),
    };
    if version < since { Err(ErrorCode::UnsupportedVersion.into()) } else { Ok(target) }
}

fn respond(asked: &[Asked<'_>], version: i16, slots: &[Result<FoundOffset, Refusal>]) -> ListOffsetsResponse {
    let partition = |(index, slot): &(i32, usize)| {
        let (code, found) = match slots.get(*slot) {
            Some(Ok(found)) => (ErrorCode::None, *found),
            Some(Err(refusal)) => (refusal.code, NOTHING),
            None => (ErrorCode::UnknownServerError, NOTHING),
        };
        ListOffsetsPartitionResponse::default()
            .with_partition_index(*index)
            .with_error_code(code.number())
            .with_timestamp(found.timestamp_ms)
            .with_offset(found.offset)
            .with_leader_epoch(if version >= 4 { found.leader_epoch } else { -1 })
    };
    let topics = asked.iter().map(|(name, partitions)| {
        ListOffsetsTopicResponse::default()
            .with_name((*name).clone())
            .with_partitions(partitions.iter().map(partition).collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// The same error for everything that was asked, as it was asked.
fn refused(body: &ListOffsetsRequest, code: ErrorCode) -> ListOffsetsResponse {
    let topics = body.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.number())
                .with_timestamp(-1)
                .with_offset(-1)
        });
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}
