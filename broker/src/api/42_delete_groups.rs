//! DeleteGroups (key 42): groups without members go, with their offsets (KIP-229).
//!
//! Version notes: 1 adds throttling; 2 is flexible.

use std::rc::Rc;

use corelog_logic::group::{GroupErrorKind, GroupId, Reply, Request as GroupRequest};
use futures_util::future::join_all;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask_partition, by_partition, wire_group_id};
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::OFFSETS_TOPIC;

/// Each group and what became of it.
type Deleted = Vec<(GroupId, Result<(), GroupErrorKind>)>;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DeleteGroupsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let mut group_ids: Vec<GroupId> = Vec::with_capacity(body.groups_names.len());
        let mut seen = std::collections::HashSet::new();
        // The response has each group once, like Kafka's.
        group_ids.extend(body.groups_names.iter().map(group::group_id).filter(|id| seen.insert(id.clone())));
        let results = delete(&broker, group_ids)
            .await
            .into_iter()
            .map(|(group_id, result)| {
                DeletableGroupResult::default()
                    .with_group_id(wire_group_id(&group_id))
                    .with_error_code(group::number(result.err()))
            })
            .collect();
        request.reply(&DeleteGroupsResponse::default().with_results(results))
    }))
}

async fn delete(broker: &Rc<Broker>, group_ids: Vec<GroupId>) -> Deleted {
    let image = broker.cores.image();
    let refused = |group_ids: Vec<GroupId>, error| -> Deleted {
        group_ids.into_iter().map(|group_id| (group_id, Err(error))).collect()
    };
    let Some(topic) = image.topic_by_name(OFFSETS_TOPIC) else {
        return refused(group_ids, GroupErrorKind::NotCoordinator);
    };
    let asked = by_partition(group_ids, topic).into_iter().map(async |(partition, group_ids)| {
        let request = GroupRequest::DeleteGroups(group_ids.clone());
        match ask_partition(broker, topic, partition, image.version, request).await {
            Ok(Reply::DeleteGroups(results)) => results,
            Ok(_) => refused(group_ids, GroupErrorKind::UnknownServerError),
            Err(error) => refused(group_ids, error),
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}
