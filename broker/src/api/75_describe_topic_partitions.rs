//! DescribeTopicPartitions (key 75, KIP-966): topics and partitions in pages, with a cursor that says where to go on.
//!
//! Version notes: 0 only, flexible. No topics mean all. A page holds at most `max.request.partition.size.limit` partitions, or
//! what the request allows. There are no eligible leader replicas: with one replica nobody ever leaves the ISR.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use corelog_logic::controller::{PartitionImage, TopicImage, check_topic_name};
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::ErrorCode;
use super::metadata::{TOPIC_OPERATIONS, is_internal, leader, offline_replicas};
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::tasks::PartitionId;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DescribeTopicPartitionsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let offline = broker.offline().await;
        request.reply(&describe(&broker, &body, &offline))
    }))
}

fn describe(
    broker: &Broker,
    body: &DescribeTopicPartitionsRequest,
    offline: &HashSet<PartitionId>,
) -> DescribeTopicPartitionsResponse {
    let image = broker.cores.image();
    let (from_topic, from_partition) = match &body.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let all = body.topics.is_empty();
    let names: BTreeSet<&str> = if all {
        image.topics().map(|topic| &*topic.name).filter(|name| *name >= from_topic).collect()
    } else {
        body.topics.iter().map(|topic| topic.name.as_str()).filter(|name| *name >= from_topic).collect()
    };
    // A cursor that points to nothing that was asked for, or nowhere in it, spoils the request.
    if from_partition < 0 || (!all && body.cursor.is_some() && !names.contains(from_topic)) {
        return refused(body);
    }

    let limit = broker.config.request_partitions_max.min(body.response_partition_limit).max(1) as usize;
    let mut left = limit;
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        if left == 0 {
            response.next_cursor = Some(cursor(name, 0));
            break;
        }
        let Some(topic) = image.topic_by_name(name) else {
            let code = match check_topic_name(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            response.topics.push(topic_of(name, Uuid::nil()).with_error_code(code.number()));
            continue;
        };
        let first = if body.cursor.is_some() && name == from_topic { from_partition as usize } else { 0 };
        let page = partitions(topic, first, left, offline);
        left -= page.len();
        let next = first + page.len();
        response.topics.push(topic_of(name, Uuid::from_bytes(topic.id.0)).with_partitions(page));
        if next < topic.partitions.len() {
            response.next_cursor = Some(cursor(name, next as i32));
            break;
        }
    }
    response
}

fn refused(body: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let code = ErrorCode::InvalidRequest.number();
    let topics = body.topics.iter().map(|topic| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(topic.name.clone()))
            .with_error_code(code)
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
}

fn cursor(name: &str, partition: i32) -> Cursor {
    Cursor::default().with_topic_name(topic_name(name)).with_partition_index(partition)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn topic_of(name: &str, id: Uuid) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(name)))
        .with_topic_id(id)
        .with_is_internal(is_internal(name))
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
}

fn partitions(
    topic: &TopicImage,
    first: usize,
    count: usize,
    offline: &HashSet<PartitionId>,
) -> Vec<DescribeTopicPartitionsResponsePartition> {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let told = |(index, state): (usize, &PartitionImage)| {
        // Kafka gives no error for one without a leader here.
        let leader = leader(topic, index as i32, state, offline);
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(BrokerId(leader))
            .with_offline_replicas(offline_replicas(leader, state))
            .with_leader_epoch(state.leader_epoch)
            .with_replica_nodes(ids(&state.replicas))
            .with_isr_nodes(ids(&state.isr))
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    };
    topic.partitions.iter().enumerate().skip(first).take(count).map(told).collect()
}
