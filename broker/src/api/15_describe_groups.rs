//! DescribeGroups (key 15): classic groups with their members.
//!
//! Version notes: 1 adds throttling; 3 authorized operations (KIP-430); 4 group.instance.id (KIP-345); 5 is flexible; 6 answers
//! GROUP_ID_NOT_FOUND with a message (KIP-1043), where before a group that does not exist is Dead.

use std::rc::Rc;

use corelog_logic::group::{
    DescribedGroup, DescribedMember, GroupErrorKind, GroupId, Reply, Request as GroupRequest,
};
use futures_util::future::join_all;
use kafka_protocol::messages::describe_groups_response::{
    DescribedGroup as WireGroup, DescribedGroupMember as WireMember,
};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask_partition, by_partition, text, wire_group_id};
use super::metadata::OPERATIONS_NOT_ASKED;
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::OFFSETS_TOPIC;

/// All operations on a group, one bit per number of Kafka's `AclOperation`: read 3, delete 6, describe 8, describe configs 10, alter
/// configs 11.
pub(super) const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// First version that knows GROUP_ID_NOT_FOUND.
const NOT_FOUND_SINCE: i16 = 6;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DescribeGroupsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let group_ids = body.groups.iter().map(group::group_id).collect();
        let operations =
            if body.include_authorized_operations { GROUP_OPERATIONS } else { OPERATIONS_NOT_ASKED };
        let described = describe(&broker, group_ids).await;
        let groups = described.into_iter().map(|group| told(group, request.version, operations)).collect();
        request.reply(&DescribeGroupsResponse::default().with_groups(groups))
    }))
}

async fn describe(broker: &Rc<Broker>, group_ids: Vec<GroupId>) -> Vec<DescribedGroup> {
    let image = broker.cores.image();
    let refused = |group_ids: Vec<GroupId>, error| -> Vec<DescribedGroup> {
        group_ids.into_iter().map(|group_id| DescribedGroup::refused(group_id, error)).collect()
    };
    let Some(topic) = image.topic_by_name(OFFSETS_TOPIC) else {
        return refused(group_ids, GroupErrorKind::NotCoordinator);
    };
    let asked = by_partition(group_ids, topic).into_iter().map(async |(partition, group_ids)| {
        let request = GroupRequest::DescribeGroups(group_ids.clone());
        match ask_partition(broker, topic, partition, image.version, request).await {
            Ok(Reply::DescribeGroups(described)) => described,
            Ok(_) => refused(group_ids, GroupErrorKind::UnknownServerError),
            Err(error) => refused(group_ids, error),
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn told(group: DescribedGroup, version: i16, operations: i32) -> WireGroup {
    let error =
        group.error.filter(|error| version >= NOT_FOUND_SINCE || *error != GroupErrorKind::GroupIdNotFound);
    let member = |member: DescribedMember| {
        let told = WireMember::default()
            .with_member_id(text(&member.member_id))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(group::bytes(member.metadata))
            .with_member_assignment(group::bytes(member.assignment));
        if version >= 4 {
            told.with_group_instance_id(member.instance_id.map(|instance_id| text(&instance_id)))
        } else {
            told
        }
    };
    let told = WireGroup::default()
        .with_error_code(group::number(error))
        .with_group_id(wire_group_id(&group.group_id))
        .with_group_state(text(group.state))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(text(&group.protocol))
        .with_members(group.members.into_iter().map(member).collect());
    let told =
        if version >= 3 && error.is_none() { told.with_authorized_operations(operations) } else { told };
    if version >= NOT_FOUND_SINCE {
        told.with_error_message(group.message.map(|message| text(&message)))
    } else {
        told
    }
}
