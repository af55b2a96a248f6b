//! SyncGroup (key 14): the leader of a classic group brings the assignment, the others wait for theirs.
//!
//! Version notes: 1 adds throttling; 3 adds group.instance.id (KIP-345); 4 is flexible; 5 names protocol type and protocol, which must
//! be the group's (KIP-559).

use std::rc::Rc;

use corelog_logic::group::{
    GroupErrorKind, InstanceId, MemberId, Reply, Request as GroupRequest, SyncGroup, SyncGroupReply,
};
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask, optional_text};
use super::service::Dispatched;
use super::wire::Read;

/// First version that names the protocol; from here on it must.
const PROTOCOL_SINCE: i16 = 5;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: SyncGroupRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let sync = sync(&body);
        drop(body);
        let group_id = sync.group_id.clone();
        let unnamed = sync.protocol_type.is_none() || sync.protocol_name.is_none();
        let reply = if request.version >= PROTOCOL_SINCE && unnamed {
            SyncGroupReply::refused(GroupErrorKind::InconsistentGroupProtocol)
        } else if group_id.is_empty() {
            SyncGroupReply::refused(GroupErrorKind::InvalidGroupId)
        } else {
            match ask(&broker, &group_id, GroupRequest::SyncGroup(sync)).await {
                Ok(Reply::SyncGroup(reply)) => reply,
                Ok(_) => SyncGroupReply::refused(GroupErrorKind::UnknownServerError),
                Err(error) => SyncGroupReply::refused(error),
            }
        };
        let response = SyncGroupResponse::default()
            .with_error_code(group::number(reply.error))
            .with_assignment(group::bytes(reply.assignment));
        request.reply(&if request.version >= PROTOCOL_SINCE {
            response
                .with_protocol_type(optional_text(reply.protocol_type.as_ref()))
                .with_protocol_name(optional_text(reply.protocol_name.as_ref()))
        } else {
            response
        })
    }))
}

fn sync(body: &SyncGroupRequest) -> SyncGroup {
    SyncGroup {
        group_id: group::group_id(&body.group_id),
        member_id: MemberId::from(body.member_id.as_str()),
        instance_id: body.group_instance_id.as_deref().map(InstanceId::from),
        generation_id: body.generation_id,
        protocol_type: body.protocol_type.as_deref().map(Into::into),
        protocol_name: body.protocol_name.as_deref().map(Into::into),
        assignments: body
            .assignments
            .iter()
            .map(|one| (MemberId::from(one.member_id.as_str()), one.assignment[..].into()))
            .collect(),
    }
}
