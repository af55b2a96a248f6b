//! LeaveGroup (key 13): members leave a classic group, or are removed from it.
//!
//! Version notes: 0 to 2 name one member, whose error is the response's; 1 adds throttling; 3 has a list, with an error each and
//! group.instance.id (KIP-345); 4 is flexible; 5 brings reasons (KIP-800).

use std::rc::Rc;

use corelog_logic::group::{
    GroupErrorKind, InstanceId, LeaveGroup, LeavingMember, LeftMember, MemberId, Reply,
    Request as GroupRequest,
};
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask, text};
use super::service::Dispatched;
use super::wire::Read;

/// First version with a list of members.
const MANY: i16 = 3;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: LeaveGroupRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let group_id = group::group_id(&body.group_id);
        let leave = LeaveGroup { group_id: group_id.clone(), members: members(&body, request.version) };
        let answer = if group_id.is_empty() {
            Err(GroupErrorKind::InvalidGroupId)
        } else {
            match ask(&broker, &group_id, GroupRequest::LeaveGroup(leave)).await {
                Ok(Reply::LeaveGroup(answer)) => answer,
                Ok(_) => Err(GroupErrorKind::UnknownServerError),
                Err(error) => Err(error),
            }
        };
        request.reply(&response(answer, request.version))
    }))
}

fn members(body: &LeaveGroupRequest, version: i16) -> Vec<LeavingMember> {
    if version < MANY {
        let member_id = MemberId::from(body.member_id.as_str());
        return vec![LeavingMember { member_id, instance_id: None, reason: None }];
    }
    let leaving = |member: &kafka_protocol::messages::leave_group_request::MemberIdentity| LeavingMember {
        member_id: MemberId::from(member.member_id.as_str()),
        instance_id: member.group_instance_id.as_deref().map(InstanceId::from),
        reason: member.reason.as_deref().map(str::to_owned),
    };
    body.members.iter().map(leaving).collect()
}

fn response(answer: Result<Vec<LeftMember>, GroupErrorKind>, version: i16) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default();
    let left = match answer {
        Ok(left) => left,
        Err(error) => return response.with_error_code(group::number(Some(error))),
    };
    if version < MANY {
        return response.with_error_code(group::number(left.first().and_then(|member| member.error)));
    }
    let told = |member: LeftMember| {
        MemberResponse::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(member.instance_id.map(|instance_id| text(&instance_id)))
            .with_error_code(group::number(member.error))
    };
    response.with_members(left.into_iter().map(told).collect())
}
