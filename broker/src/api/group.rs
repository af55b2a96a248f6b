//! What the APIs of groups have in common: who coordinates a group, how it is asked, and how names cross to `logic` and back.
//!
//! Deliberately absent: what any single API says.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use corelog_logic::controller::{Command, NewTopic, TopicImage};
use corelog_logic::group::{
    Client, GroupErrorKind, GroupId, Opaque, Reply, Request as GroupRequest, TopicCommitted, partition_for,
};
use kafka_protocol::messages::GroupId as WireGroupId;
use kafka_protocol::protocol::StrBytes;

use super::broker::{Broker, ControllerError};
use super::dispatch::Request;
use super::error_code::ErrorCode;
use crate::drive::OFFSETS_TOPIC;
use crate::drive::tasks::{GroupTask, PartitionId};
use crate::shard::Core;

/// How long a client waits for `__consumer_offsets` to be made, in milliseconds.
const CREATE_TIMEOUT_MS: i32 = 15_000;
/// The longest name that the records of `__consumer_offsets` can hold, in bytes.
const NAME_BYTES_MAX: usize = i16::MAX as usize;

/// Asks the coordinator of a group.
///
/// # Errors
/// Why nobody here coordinates it, or not yet.
pub(super) async fn ask(
    broker: &Rc<Broker>,
    group_id: &GroupId,
    request: GroupRequest,
) -> Result<Reply, GroupErrorKind> {
    if group_id.len() > NAME_BYTES_MAX {
        return Err(GroupErrorKind::InvalidGroupId);
    }
    let image = broker.cores.image();
    let topic = image.topic_by_name(OFFSETS_TOPIC).ok_or(GroupErrorKind::NotCoordinator)?;
    ask_partition(
        broker,
        topic,
        partition_for(group_id, topic.partitions.len() as i32),
        image.version,
        request,
    )
    .await
}

/// Asks the coordinator of the groups of one partition.
///
/// # Errors
/// As [`ask`].
pub(super) async fn ask_partition(
    broker: &Rc<Broker>,
    topic: &TopicImage,
    partition: i32,
    image_version: u64,
    request: GroupRequest,
) -> Result<Reply, GroupErrorKind> {
    let routed: Result<(Core, PartitionId), _> = broker.route(topic, partition);
    let (core, partition) = routed.map_err(|_| GroupErrorKind::NotCoordinator)?;
    let submitted = broker.cores.group(core, GroupTask { partition, request, image_version }).await;
    let outcome = match submitted {
        Ok(outcome) => outcome.await,
        Err(gone) => Err(gone),
    };
    // A core that is gone stops with the process.
    outcome.unwrap_or(Err(GroupErrorKind::NotCoordinator))
}

/// The groups by the partition they live in, partitions in the order of their first group.
pub(super) fn by_partition(group_ids: Vec<GroupId>, topic: &TopicImage) -> Vec<(i32, Vec<GroupId>)> {
    let partitions = topic.partitions.len() as i32;
    let mut grouped: Vec<(i32, Vec<GroupId>)> = Vec::new();
    for group_id in group_ids {
        let partition = partition_for(&group_id, partitions);
        match grouped.iter_mut().find(|(known, _)| *known == partition) {
            Some((_, group_ids)) => group_ids.push(group_id),
            None => grouped.push((partition, vec![group_id])),
        }
    }
    grouped
}

/// Makes `__consumer_offsets`, unless it is there.
///
/// # Errors
/// COORDINATOR_NOT_AVAILABLE: the client asks again.
pub(super) async fn ensure_offsets_topic(broker: &Rc<Broker>) -> Result<(), ErrorCode> {
    if broker.cores.image().topic_by_name(OFFSETS_TOPIC).is_some() {
        return Ok(());
    }
    let settings = &broker.config.groups;
    let config = |name: &str, value: String| (name.to_owned(), Some(value));
    let topic = NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        num_partitions: settings.offsets_topic_partitions,
        // offsets.topic.replication.factor, clamped to the number of nodes.
        replication_factor: broker.config.default_replication_factor,
        assignments: Vec::new(),
        configs: vec![
            config("cleanup.policy", "compact".to_owned()),
            config("compression.type", "producer".to_owned()),
            config("segment.bytes", settings.offsets_topic_segment_bytes.to_string()),
        ],
    };
    let command = Command::CreateTopics { topics: vec![topic], validate_only: false };
    match broker.control(command, CREATE_TIMEOUT_MS).await {
        Ok(_) if broker.cores.image().topic_by_name(OFFSETS_TOPIC).is_some() => Ok(()),
        Ok(_) => Err(ErrorCode::CoordinatorNotAvailable),
        Err(error) => {
            if !matches!(error, ControllerError::TimedOut) {
                tracing::warn!(%error, "{OFFSETS_TOPIC} was not created");
            }
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}

/// Whether a name fits the records that it would be kept in.
pub(super) fn fits(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
}

/// Who asks, as members are described.
pub(super) fn client(request: &Request) -> Client {
    Client {
        id: request.client_id.as_str().into(),
        // As Java prints an address without a name.
        host: format!("/{}", request.connection.peer.ip()).into(),
    }
}

/// A group's name from the wire.
pub(super) fn group_id(id: &WireGroupId) -> GroupId {
    GroupId::from(id.as_str())
}

/// A group's name for the wire.
pub(super) fn wire_group_id(id: &GroupId) -> WireGroupId {
    WireGroupId(text(id))
}

/// A text for the wire.
pub(super) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// A text for the wire, where there is one.
pub(super) fn optional_text(value: Option<&Arc<str>>) -> Option<StrBytes> {
    value.map(|value| text(value))
}

/// Clients' bytes for the wire; shared, not copied.
pub(super) fn bytes(value: Opaque) -> Bytes {
    if value.is_empty() { Bytes::new() } else { Bytes::from_owner(value) }
}

/// The number of an error, 0 for none.
pub(super) fn number(error: Option<GroupErrorKind>) -> i16 {
    error.map_or(ErrorCode::None, ErrorCode::from).number()
}

/// Two lists of answers with one entry for each topic, as Kafka merges its own and the coordinator's.
pub(super) fn merged(mut topics: Vec<TopicCommitted>, more: Vec<TopicCommitted>) -> Vec<TopicCommitted> {
    for topic in more {
        match topics.iter_mut().find(|known| known.topic == topic.topic) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => topics.push(topic),
        }
    }
    topics
}
