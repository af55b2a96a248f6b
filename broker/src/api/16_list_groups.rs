//! ListGroups (key 16): every group that this broker coordinates.
//!
//! Version notes: 1 adds throttling; 3 is flexible; 4 filters by state (KIP-518); 5 by type (KIP-848).

use std::rc::Rc;

use corelog_logic::group::{GroupErrorKind, ListGroups, ListedGroup, Reply, Request as GroupRequest};
use futures_util::future::join_all;
use kafka_protocol::messages::list_groups_response::ListedGroup as WireGroup;
use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask_partition, text, wire_group_id};
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::OFFSETS_TOPIC;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: ListGroupsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let filter = ListGroups {
            states: body.states_filter.iter().map(|state| state.to_string()).collect(),
            types: body.types_filter.iter().map(|kind| kind.to_string()).collect(),
        };
        let response = match list(&broker, &filter).await {
            Ok(groups) => {
                let groups = groups.into_iter().map(|group| told(&group, request.version)).collect();
                ListGroupsResponse::default().with_groups(groups)
            }
            Err(error) => ListGroupsResponse::default().with_error_code(group::number(Some(error))),
        };
        request.reply(&response)
    }))
}

async fn list(broker: &Rc<Broker>, filter: &ListGroups) -> Result<Vec<ListedGroup>, GroupErrorKind> {
    let image = broker.cores.image();
    let Some(topic) = image.topic_by_name(OFFSETS_TOPIC) else { return Ok(Vec::new()) };
    let asked = (0..topic.partitions.len() as i32).map(|partition| {
        ask_partition(broker, topic, partition, image.version, GroupRequest::ListGroups(filter.clone()))
    });
    let mut groups = Vec::new();
    for answer in join_all(asked).await {
        match answer {
            Ok(Reply::ListGroups(listed)) => groups.extend(listed?),
            Ok(_) => return Err(GroupErrorKind::UnknownServerError),
            // What is coordinated elsewhere is listed there.
            Err(GroupErrorKind::NotCoordinator) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(groups)
}

fn told(group: &ListedGroup, version: i16) -> WireGroup {
    let told = WireGroup::default()
        .with_group_id(wire_group_id(&group.group_id))
        .with_protocol_type(text(&group.protocol_type));
    let told = if version >= 4 { told.with_group_state(text(group.state)) } else { told };
    if version >= 5 { told.with_group_type(text(group.group_type)) } else { told }
}
