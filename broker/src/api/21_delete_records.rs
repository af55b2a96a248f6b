//! DeleteRecords (key 21, KIP-107): everything below an offset goes, and the log starts there.
//!
//! Version notes: 1 is for brokers that throttle after answering (KIP-219); 2 is flexible. Offset -1 stands for the high watermark.
//! As Kafka has it: POLICY_VIOLATION where the cleanup policy is compact alone, OFFSET_OUT_OF_RANGE beyond the high watermark,
//! INVALID_TOPIC_EXCEPTION for internal topics; every error comes with a low watermark of -1. The answer comes when the new start
//! is durable, so the request's timeout is for replicas that do not exist yet.

use std::collections::HashMap;
use std::rc::Rc;

use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::grouping::Groups;
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::tasks::{DeleteRecords, DeleteRecordsTask};

/// The offset that stands for the high watermark (DeleteRecordsRequest.HIGH_WATERMARK).
const HIGH_WATERMARK: i64 = -1;
/// The low watermark of a partition that was refused (DeleteRecordsResponse.INVALID_LOW_WATERMARK).
const INVALID_LOW_WATERMARK: i64 = -1;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DeleteRecordsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let response = answer(&broker, body).await;
        request.reply(&response)
    }))
}

async fn answer(broker: &Broker, body: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let image = broker.cores.image();
    let image_version = image.version;
    let mut slots: Vec<Result<i64, Refusal>> = Vec::new();
    let mut groups = Groups::new();
    let asked = asked(&body);
    for (name, partitions) in &asked {
        let found = image.topic_by_name(name);
        for (index, offset) in partitions {
            let slot = slots.len();
            let routed = found
                .ok_or_else(|| Refusal::from(ErrorCode::UnknownTopicOrPartition))
                .and_then(|found| broker.route(found, *index))
                .and_then(|to| Ok((to, target(name, *offset)?)));
            slots.push(match routed {
                Ok(((core, id), offset)) => {
                    groups.push(core, slot, DeleteRecords { partition: id, offset });
                    Ok(INVALID_LOW_WATERMARK)
                }
                Err(refusal) => Err(refusal),
            });
        }
    }
    let mut pending = Vec::new();
    for group in groups.0 {
        let task = DeleteRecordsTask { partitions: group.items, image_version };
        pending.push((group.slots, broker.cores.delete_records(group.core, task).await));
    }
    for (group_slots, submitted) in pending {
        let outcome = match submitted {
            Ok(outcome) => outcome.await,
            Err(gone) => Err(gone),
        };
        let mut outcome = outcome.ok().map(Vec::into_iter);
        for slot in group_slots {
            // A core that is gone stops with the process.
            let result = match outcome.as_mut().and_then(Iterator::next) {
                Some(result) => result.map_err(|error| (&error).into()),
                None => Err(ErrorCode::NotLeaderOrFollower.into()),
            };
            if let Some(place) = slots.get_mut(slot) {
                *place = result;
            }
        }
    }
    respond(asked, slots)
}

/// A topic and its partitions with the offset to start at, as requested.
type Asked<'a> = (&'a TopicName, Vec<(i32, i64)>);

/// Each topic and each partition once, as Kafka has it: of two offsets for one partition the last one counts, and a topic without
/// partitions is not there.
fn asked(body: &DeleteRecordsRequest) -> Vec<Asked<'_>> {
    let mut asked: Vec<Asked<'_>> = Vec::new();
    let mut place_of: HashMap<&TopicName, usize> = HashMap::new();
    let mut index_of: HashMap<(usize, i32), usize> = HashMap::new();
    for topic in &body.topics {
        for partition in &topic.partitions {
            let place = *place_of.entry(&topic.name).or_insert(asked.len());
            if place == asked.len() {
                asked.push((&topic.name, Vec::new()));
            }
            let Some((_, partitions)) = asked.get_mut(place) else { continue };
            let index = *index_of.entry((place, partition.partition_index)).or_insert(partitions.len());
            match partitions.get_mut(index) {
                Some((_, offset)) => *offset = partition.offset,
                None => partitions.push((partition.partition_index, partition.offset)),
            }
        }
    }
    asked
}

/// The offset to start at; none for the high watermark. Whether there is such an offset is the owner's to say.
fn target(topic: &str, offset: i64) -> Result<Option<i64>, Refusal> {
    if super::metadata::is_internal(topic) {
        let message = format!("Cannot delete records of internal topic {topic}");
        return Err(ErrorCode::InvalidTopicException.because(message));
    }
    match offset {
        HIGH_WATERMARK => Ok(None),
        _ => Ok(Some(offset)),
    }
}

fn respond(asked: Vec<Asked<'_>>, slots: Vec<Result<i64, Refusal>>) -> DeleteRecordsResponse {
    let mut slots = slots.into_iter();
    let topics = asked.into_iter().map(|(name, partitions)| {
        let told = partitions.into_iter().zip(slots.by_ref()).map(|((index, _), result)| {
            let code = result.as_ref().err().map_or(ErrorCode::None, |refusal| refusal.code);
            DeleteRecordsPartitionResult::default()
                .with_partition_index(index)
                .with_low_watermark(result.unwrap_or(INVALID_LOW_WATERMARK))
                .with_error_code(code.number())
        });
        DeleteRecordsTopicResult::default().with_name(name.clone()).with_partitions(told.collect())
    });
    let topics = topics.collect();
    DeleteRecordsResponse::default().with_topics(topics)
}
