//! ConsumerGroupDescribe (key 69): consumer groups with their members, what they own and what they shall own (KIP-848).
//!
//! Version notes: 1 adds the type of each member, which tells those of the classic protocol.

use std::rc::Rc;

use corelog_logic::controller::{MetadataImage, serves_consumer_groups};
use corelog_logic::group::consumer::{ByPartition, ConsumerGroupDescription, MemberDescription};
use corelog_logic::group::{GroupError, GroupErrorKind, GroupId, Reply, Request as GroupRequest};
use futures_util::future::join_all;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, TopicName};
use uuid::Uuid;

use super::broker::Broker;
use super::describe_groups::GROUP_OPERATIONS;
use super::dispatch::Request;
use super::group::{self, ask_partition, by_partition, optional_text, text, wire_group_id};
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::OFFSETS_TOPIC;

/// First version that tells the types of members.
const MEMBER_TYPE_SINCE: i16 = 1;
/// The type of a member of the classic protocol.
const CLASSIC: i8 = 0;
/// The type of a member of the new protocol.
const CONSUMER: i8 = 1;

type Described = (GroupId, Result<ConsumerGroupDescription, GroupError>);

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: ConsumerGroupDescribeRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let group_ids = body.group_ids.iter().map(group::group_id).collect();
        let image = broker.cores.image();
        let described = describe(&broker, &image, group_ids).await;
        let operations = body.include_authorized_operations.then_some(GROUP_OPERATIONS);
        let groups = described.into_iter().map(|group| told(group, &image, request.version, operations));
        request.reply(&ConsumerGroupDescribeResponse::default().with_groups(groups.collect()))
    }))
}

async fn describe(broker: &Rc<Broker>, image: &MetadataImage, group_ids: Vec<GroupId>) -> Vec<Described> {
    let refused = |group_ids: Vec<GroupId>, error: GroupErrorKind| -> Vec<Described> {
        group_ids.into_iter().map(|group_id| (group_id, Err(error.into()))).collect()
    };
    if !serves_consumer_groups(image) {
        return refused(group_ids, GroupErrorKind::UnsupportedVersion);
    }
    // Kafka answers for an empty name without asking anybody.
    let (empty, group_ids): (Vec<_>, Vec<_>) = group_ids.into_iter().partition(|id| id.is_empty());
    let mut described = refused(empty, GroupErrorKind::InvalidGroupId);
    let Some(topic) = image.topic_by_name(OFFSETS_TOPIC) else {
        described.extend(refused(group_ids, GroupErrorKind::NotCoordinator));
        return described;
    };
    let asked = by_partition(group_ids, topic).into_iter().map(async |(partition, group_ids)| {
        let request = GroupRequest::ConsumerGroupDescribe(group_ids.clone());
        match ask_partition(broker, topic, partition, image.version, request).await {
            Ok(Reply::ConsumerGroupDescribe(described)) => described,
            Ok(_) => refused(group_ids, GroupErrorKind::UnknownServerError),
            Err(error) => refused(group_ids, error),
        }
    });
    described.extend(join_all(asked).await.into_iter().flatten());
    described
}

fn told(
    (group_id, described): Described,
    image: &MetadataImage,
    version: i16,
    operations: Option<i32>,
) -> DescribedGroup {
    let told = DescribedGroup::default().with_group_id(wire_group_id(&group_id));
    match described {
        Err(error) => told
            .with_error_code(group::number(Some(error.kind)))
            .with_error_message(Some(error.message).filter(|message| !message.is_empty()).map(|m| text(&m))),
        Ok(group) => {
            let members = group.members.into_iter().map(|described| member(described, image, version));
            let told = told
                .with_group_state(text(group.state))
                .with_group_epoch(group.group_epoch)
                .with_assignment_epoch(group.assignment_epoch)
                .with_assignor_name(text(&group.assignor))
                .with_members(members.collect());
            match operations {
                Some(operations) => told.with_authorized_operations(operations),
                None => told,
            }
        }
    }
}

fn member(described: MemberDescription, image: &MetadataImage, version: i16) -> Member {
    let MemberDescription { member, assigned, target } = described;
    let names = member.subscribed_topic_names.iter().map(|name| TopicName(text(name)));
    let told = Member::default()
        .with_member_id(text(&member.member_id))
        .with_instance_id(member.instance_id.as_deref().map(text))
        .with_rack_id(optional_text(member.rack_id.as_ref()))
        .with_member_epoch(member.member_epoch)
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_subscribed_topic_names(names.collect())
        .with_subscribed_topic_regex(Some(text(&member.subscribed_topic_regex)))
        .with_assignment(assignment(&assigned, image))
        .with_target_assignment(assignment(&target, image));
    if version >= MEMBER_TYPE_SINCE {
        told.with_member_type(if member.classic.is_some() { CLASSIC } else { CONSUMER })
    } else {
        told
    }
}

/// Partitions with the names of their topics; topics that are gone are left out.
fn assignment<V>(partitions: &ByPartition<V>, image: &MetadataImage) -> Assignment {
    let topics = partitions.topics().filter_map(|(id, numbers)| {
        let name = TopicName(text(&image.topic(id)?.name));
        let numbers = numbers.iter().map(|(number, _)| *number).collect();
        let topic = TopicPartitions::default().with_topic_id(Uuid::from_bytes(id.0));
        Some(topic.with_topic_name(name).with_partitions(numbers))
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
