//! Metadata (key 3): brokers, topics, leaders; and, as in Kafka, the creation of topics that are asked for.
//!
//! Version notes: in 0 an empty list means all topics, from 1 on null does and an empty list means none; 4 adds
//! allow_auto_topic_creation (before, it is allowed); 5 adds offline replicas (KIP-112); 7 adds leader epochs; 8 authorized operations (KIP-430; 8 to 10
//! the cluster's too); 9 is flexible; 10 has topic ids in replies and 12 in requests (KIP-516); 13 a top-level error. If any topic
//! is asked for by id, names are not looked at, as in Kafka. Unlike Kafka, an auto-created topic is answered when it is
//! usable, not with an error that makes the client ask again.

use std::collections::HashSet;
use std::rc::Rc;

use corelog_logic::controller::{
    Command, MetadataImage, NewTopic, PartitionImage, Reply as ControllerReply, TopicId, TopicImage,
    check_topic_name,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::service::{ConnectionInfo, Dispatched};
use super::wire::{Malformed, Read};
use crate::drive::tasks::PartitionId;

/// The bit field for "you did not ask" (KIP-430).
pub(super) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;
/// All operations on a cluster, one bit per number of Kafka's `AclOperation`: without an authorizer all are allowed.
/// Create 5, alter 7, describe 8, cluster action 9, describe configs 10, alter configs 11, idempotent write 12.
pub(super) const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
/// All operations on a topic: read 3, write 4, create 5, delete 6, alter 7, describe 8, describe and alter configs.
pub(super) const TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;

/// How long a client waits for a topic that its request creates, in milliseconds.
const AUTO_CREATE_TIMEOUT_MS: i32 = 15_000;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: MetadataRequest = request.decode()?;
    // The decoder takes these for null in every version; as in Kafka they are no request before they were allowed.
    let nameless = body.topics.iter().flatten().any(|topic| topic.name.is_none());
    if (request.version == 0 && body.topics.is_none()) || (request.version < 10 && nameless) {
        return Err(Malformed {
            position: 0,
            what: "topics, or the name of one, are null in a version that has no null there",
        });
    }
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let response = match refused(&body, request.version) {
            Some(response) => response,
            None => {
                let topics = topics(&broker, &body, request.version).await;
                answer(&broker, &request.connection, &body, topics)
            }
        };
        request.reply(&response)
    }))
}

/// The response to what is no request: the error with each topic, and nothing of the cluster. Ids came with 12, and before it
/// a topic must have a name; from 12 on it must have one or the other.
fn refused(body: &MetadataRequest, version: i16) -> Option<MetadataResponse> {
    let asked = body.topics.as_ref()?;
    let code = if version < 12 {
        let wrong = asked.iter().any(|topic| topic.name.is_none() || !topic.topic_id.is_nil());
        wrong.then_some(ErrorCode::InvalidRequest)?
    } else {
        let wrong = asked.iter().all(|topic| topic.topic_id.is_nil())
            && asked.iter().any(|topic| topic.name.is_none());
        wrong.then_some(ErrorCode::UnknownServerError)?
    };
    let topics =
        asked.iter().map(|topic| failed(code, Some(topic.name.clone().unwrap_or_default()), topic.topic_id));
    let response = MetadataResponse::default().with_topics(topics.collect());
    Some(if version >= 13 { response.with_error_code(code.number()) } else { response })
}

async fn topics(broker: &Broker, body: &MetadataRequest, version: i16) -> Vec<MetadataResponseTopic> {
    let operations =
        if body.include_topic_authorized_operations { TOPIC_OPERATIONS } else { OPERATIONS_NOT_ASKED };
    let offline = broker.offline().await;
    let found = |topic: &TopicImage| found(topic, &offline).with_topic_authorized_operations(operations);
    let image = broker.cores.image();
    let asked = match &body.topics {
        Some(topics) if version > 0 || !topics.is_empty() => topics,
        _ => return image.topics().map(found).collect(),
    };
    let mut seen = HashSet::new();
    if asked.iter().any(|topic| !topic.topic_id.is_nil()) {
        return asked
            .iter()
            .filter(|topic| !topic.topic_id.is_nil() && seen.insert(topic.topic_id.into_bytes()))
            .map(|topic| match image.topic(&TopicId(topic.topic_id.into_bytes())) {
                Some(topic) => found(topic),
                None => failed(ErrorCode::UnknownTopicId, None, topic.topic_id),
            })
            .collect();
    }
    let mut seen = HashSet::new();
    let names: Vec<&TopicName> = asked
        .iter()
        .filter_map(|topic| topic.name.as_ref())
        .filter(|name| seen.insert(name.as_str()))
        .collect();
    let missing: Vec<&TopicName> =
        names.iter().copied().filter(|name| image.topic_by_name(name).is_none()).collect();
    let allowed = body.allow_auto_topic_creation && broker.config.auto_create_topics_enable;
    let refused = if allowed && !missing.is_empty() { create(broker, &missing).await } else { Vec::new() };
    // Again: what was just created is in the newest image only.
    let image = broker.cores.image();
    names
        .iter()
        .map(|name| match image.topic_by_name(name) {
            Some(topic) => found(topic),
            None => {
                let refusal = refused.iter().find(|(refused, _)| refused.as_str() == name.as_str());
                let code = match refusal {
                    Some((_, refusal)) => refusal.code,
                    None if check_topic_name(name).is_err() => ErrorCode::InvalidTopicException,
                    None => ErrorCode::UnknownTopicOrPartition,
                };
                failed(code, Some((*name).clone()), Uuid::nil()).with_topic_authorized_operations(operations)
            }
        })
        .collect()
}

/// Creates topics with the broker's defaults; returns what was refused.
async fn create(broker: &Broker, names: &[&TopicName]) -> Vec<(String, Refusal)> {
    let topics = names
        .iter()
        .filter(|name| check_topic_name(name).is_ok())
        .map(|name| NewTopic {
            name: name.to_string(),
            num_partitions: -1,
            replication_factor: -1,
            ..NewTopic::default()
        })
        .collect::<Vec<_>>();
    if topics.is_empty() {
        return Vec::new();
    }
    let all: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    match broker.control(Command::CreateTopics { topics, validate_only: false }, AUTO_CREATE_TIMEOUT_MS).await {
        Ok(ControllerReply::TopicsCreated(created)) => created
            .into_iter()
            .filter_map(|topic| Some((topic.name, Refusal::from(&topic.result.err()?))))
            // Somebody else was first: the topic is there, or this core is about to hear of it.
            .map(|(name, refusal)| match refusal.code {
                ErrorCode::TopicAlreadyExists => (name, ErrorCode::LeaderNotAvailable.into()),
                _ => (name, refusal),
            })
            .inspect(|(name, refusal)| {
                tracing::info!(topic = name, code = ?refusal.code, reason = ?refusal.message, "not auto-created");
            })
            .collect(),
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "topics were not auto-created");
            all.into_iter().map(|name| (name, ErrorCode::LeaderNotAvailable.into())).collect()
        }
    }
}

fn failed(code: ErrorCode, name: Option<TopicName>, id: Uuid) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(code.number()).with_name(name).with_topic_id(id)
}

/// A partition that is `offline` has no leader and one offline replica, as in Kafka when its log directory has failed: the replica stays in
/// the ISR, for it is the last one.
fn found(topic: &TopicImage, offline: &HashSet<PartitionId>) -> MetadataResponseTopic {
    let partitions = topic
        .partitions
        .iter()
        .zip(0_i32..)
        .map(|(partition, index)| {
            let leader = leader(topic, index, partition, offline);
            let code = if leader < 0 { ErrorCode::LeaderNotAvailable } else { ErrorCode::None };
            MetadataResponsePartition::default()
                .with_error_code(code.number())
                .with_partition_index(index)
                .with_leader_id(BrokerId(leader))
                .with_leader_epoch(partition.leader_epoch)
                .with_replica_nodes(partition.replicas.iter().copied().map(BrokerId).collect())
                .with_isr_nodes(partition.isr.iter().copied().map(BrokerId).collect())
                .with_offline_replicas(offline_replicas(leader, partition))
        })
        .collect();
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_topic_id(Uuid::from_bytes(topic.id.0))
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions)
}

/// Who leads a partition, if it is not `offline`; else nobody, -1.
pub(super) fn leader(
    topic: &TopicImage,
    partition: i32,
    state: &PartitionImage,
    offline: &HashSet<PartitionId>,
) -> i32 {
    let id = PartitionId { topic_id: topic.id, partition };
    if offline.contains(&id) { -1 } else { state.leader }
}

/// Without a leader, all replicas: there is one, and it is the reason.
pub(super) fn offline_replicas(leader: i32, state: &PartitionImage) -> Vec<BrokerId> {
    let replicas = state.replicas.iter().copied().map(BrokerId);
    replicas.filter(|_| leader < 0).collect()
}

/// Kafka's own topics.
pub(super) fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

fn answer(
    broker: &Broker,
    connection: &ConnectionInfo,
    body: &MetadataRequest,
    topics: Vec<MetadataResponseTopic>,
) -> MetadataResponse {
    let image: &MetadataImage = &broker.cores.image();
    let brokers = broker
        .endpoints(image, connection)
        .into_iter()
        .map(|endpoint| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(endpoint.node_id))
                .with_host(StrBytes::from_string(endpoint.host))
                .with_port(i32::from(endpoint.port))
                .with_rack(endpoint.rack.map(StrBytes::from_string))
        })
        .collect();
    let operations =
        if body.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { OPERATIONS_NOT_ASKED };
    MetadataResponse::default()
        .with_brokers(brokers)
        .with_cluster_id(Some(StrBytes::from_string(broker.cluster_id.clone())))
        .with_controller_id(BrokerId(broker.node_id))
        .with_topics(topics)
        .with_cluster_authorized_operations(operations)
}
