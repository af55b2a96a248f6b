//! Heartbeat (key 12): a member of a classic group lives, and asks whether it must join again.
//!
//! Version notes: 1 adds throttling; 3 adds group.instance.id (KIP-345); 4 is flexible.

use std::rc::Rc;

use corelog_logic::group::{GroupErrorKind, Heartbeat, InstanceId, MemberId, Reply, Request as GroupRequest};
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask};
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: HeartbeatRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let heartbeat = Heartbeat {
            group_id: group::group_id(&body.group_id),
            member_id: MemberId::from(body.member_id.as_str()),
            instance_id: body.group_instance_id.as_deref().map(InstanceId::from),
            generation_id: body.generation_id,
        };
        let group_id = heartbeat.group_id.clone();
        let error = if group_id.is_empty() {
            Some(GroupErrorKind::InvalidGroupId)
        } else {
            match ask(&broker, &group_id, GroupRequest::Heartbeat(heartbeat)).await {
                Ok(Reply::Heartbeat(answer)) => answer.err(),
                Ok(_) => Some(GroupErrorKind::UnknownServerError),
                Err(error) => Some(error),
            }
        };
        request.reply(&HeartbeatResponse::default().with_error_code(group::number(error)))
    }))
}
