//! ConsumerGroupHeartbeat (key 68): a member of a consumer group joins, lives, learns what it owns, and leaves (KIP-848).
//!
//! Version notes: 1 adds regular expressions, and lets the member make its own id. An assignment that is null leaves everything as it is; an empty one takes
//! everything. Without the feature group.version the protocol is refused.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use corelog_logic::controller::{TopicId, serves_consumer_groups};
use corelog_logic::group::consumer::{Assignment, ConsumerGroupHeartbeat, ConsumerGroupHeartbeatReply};
use corelog_logic::group::{
    GroupError, GroupErrorKind, InstanceId, MemberId, Reply, Request as GroupRequest,
};
use kafka_protocol::messages::consumer_group_heartbeat_response::{
    Assignment as WireAssignment, TopicPartitions,
};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask, text};
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: ConsumerGroupHeartbeatRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let heartbeat = heartbeat(&body, &request);
        // Refused before anybody is asked, so that it needs no coordinator.
        let assignors = &broker.config.groups.rules.consumer.assignors;
        let answer = match heartbeat.check(assignors) {
            _ if !serves_consumer_groups(&broker.cores.image()) => {
                Err(GroupErrorKind::UnsupportedVersion.into())
            }
            Err(error) => Err(error),
            Ok(()) => {
                let group_id = heartbeat.group_id.clone();
                match ask(&broker, &group_id, GroupRequest::ConsumerGroupHeartbeat(heartbeat)).await {
                    Ok(Reply::ConsumerGroupHeartbeat(answer)) => answer,
                    Ok(_) => Err(GroupErrorKind::UnknownServerError.into()),
                    Err(error) => Err(error.into()),
                }
            }
        };
        request.reply(&response(answer))
    }))
}

fn heartbeat(body: &ConsumerGroupHeartbeatRequest, request: &Request) -> ConsumerGroupHeartbeat {
    let shared = |value: &Option<StrBytes>| value.as_ref().map(|value| Arc::from(value.as_str()));
    let owned = body.topic_partitions.as_ref().map(|topics| {
        let mut owned: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for topic in topics {
            owned.entry(TopicId(topic.topic_id.into_bytes())).or_default().extend(&topic.partitions);
        }
        owned
    });
    ConsumerGroupHeartbeat {
        version: request.version,
        group_id: group::group_id(&body.group_id),
        member_id: MemberId::from(body.member_id.as_str()),
        member_epoch: body.member_epoch,
        instance_id: body.instance_id.as_deref().map(InstanceId::from),
        rack_id: shared(&body.rack_id),
        rebalance_timeout_ms: body.rebalance_timeout_ms,
        subscribed_topic_names: body
            .subscribed_topic_names
            .as_ref()
            .map(|names| names.iter().map(|name| Arc::from(name.as_str())).collect()),
        subscribed_topic_regex: shared(&body.subscribed_topic_regex),
        server_assignor: shared(&body.server_assignor),
        owned,
        client: group::client(request),
    }
}

fn response(answer: Result<ConsumerGroupHeartbeatReply, GroupError>) -> ConsumerGroupHeartbeatResponse {
    match answer {
        Ok(reply) => ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(text(&reply.member_id)))
            .with_member_epoch(reply.member_epoch)
            .with_heartbeat_interval_ms(reply.heartbeat_interval_ms)
            .with_assignment(reply.assignment.as_ref().map(assignment)),
        Err(error) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(group::number(Some(error.kind)))
            .with_error_message(Some(error.message).filter(|message| !message.is_empty()).map(|m| text(&m))),
    }
}

fn assignment(assignment: &Assignment) -> WireAssignment {
    let topics = assignment.topics().map(|(id, partitions)| {
        TopicPartitions::default()
            .with_topic_id(Uuid::from_bytes(id.0))
            .with_partitions(partitions.iter().map(|(partition, ())| *partition).collect())
    });
    WireAssignment::default().with_topic_partitions(topics.collect())
}
