//! JoinGroup (key 11): a member joins a classic group, and waits until all have.
//!
//! Version notes: 0 has no rebalance timeout, the session timeout stands for it; 2 adds throttling; from 4 on a new member is sent away to come
//! back with an id (KIP-394); 5 adds group.instance.id (KIP-345); 6 is flexible; 7 answers the protocol type (KIP-559); 8 brings a reason
//! (KIP-800); 9 may tell a leader to keep the assignment (KIP-814). While it waits, nothing else of its connection is read.

use std::rc::Rc;

use corelog_logic::group::{
    GroupErrorKind, InstanceId, JoinGroup, JoinGroupReply, JoinedMember, MemberId, Protocol, Reply,
    Request as GroupRequest,
};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask, client, fits, optional_text, text};
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: JoinGroupRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let join = join(&request, &body);
        drop(body);
        let (group_id, member_id) = (join.group_id.clone(), join.member_id.clone());
        let names = [&*join.member_id, &*join.client.id, &*join.protocol_type];
        let fit = names.into_iter().all(fits)
            && join.instance_id.as_deref().is_none_or(fits)
            && join.protocols.iter().all(|protocol| fits(&protocol.name));
        let reply = if group_id.is_empty() {
            JoinGroupReply::refused(member_id, GroupErrorKind::InvalidGroupId)
        } else if !fit {
            JoinGroupReply::refused(member_id, GroupErrorKind::InvalidRequest)
        } else {
            match ask(&broker, &group_id, GroupRequest::JoinGroup(join)).await {
                Ok(Reply::JoinGroup(reply)) => reply,
                Ok(_) => JoinGroupReply::refused(member_id, GroupErrorKind::UnknownServerError),
                Err(error) => JoinGroupReply::refused(member_id, error),
            }
        };
        request.reply(&response(reply, request.version))
    }))
}

fn join(request: &Request, body: &JoinGroupRequest) -> JoinGroup {
    let mut protocols: Vec<Protocol> = Vec::with_capacity(body.protocols.len());
    for protocol in &body.protocols {
        // Kafka keeps the first of two with one name.
        if !protocols.iter().any(|known| *known.name == *protocol.name.as_str()) {
            protocols.push(Protocol {
                name: protocol.name.as_str().into(),
                metadata: protocol.metadata[..].into(),
            });
        }
    }
    JoinGroup {
        group_id: group::group_id(&body.group_id),
        member_id: MemberId::from(body.member_id.as_str()),
        instance_id: body.group_instance_id.as_deref().map(InstanceId::from),
        client: client(request),
        session_timeout_ms: body.session_timeout_ms,
        rebalance_timeout_ms: if request.version == 0 {
            body.session_timeout_ms
        } else {
            body.rebalance_timeout_ms
        },
        protocol_type: body.protocol_type.as_str().into(),
        protocols,
        requires_member_id: request.version >= 4,
        supports_skipping_assignment: request.version >= 9,
        reason: body.reason.as_deref().map(str::to_owned),
    }
}

fn response(reply: JoinGroupReply, version: i16) -> JoinGroupResponse {
    let protocol_name = optional_text(reply.protocol_name.as_ref());
    let member = |member: JoinedMember| {
        let told = JoinGroupResponseMember::default()
            .with_member_id(text(&member.member_id))
            .with_metadata(group::bytes(member.metadata));
        if version >= 5 {
            told.with_group_instance_id(member.instance_id.map(|instance_id| text(&instance_id)))
        } else {
            told
        }
    };
    let response = JoinGroupResponse::default()
        .with_error_code(group::number(reply.error))
        .with_generation_id(reply.generation_id)
        // Before 7 it cannot be null.
        .with_protocol_name(if version < 7 { Some(protocol_name.unwrap_or_default()) } else { protocol_name })
        .with_leader(text(&reply.leader))
        .with_member_id(text(&reply.member_id))
        .with_members(reply.members.into_iter().map(member).collect());
    let response = if version >= 7 {
        response.with_protocol_type(optional_text(reply.protocol_type.as_ref()))
    } else {
        response
    };
    if version >= 9 { response.with_skip_assignment(reply.skip_assignment) } else { response }
}
