//! FindCoordinator (key 10): which broker coordinates a group. On one node, this one.
//!
//! Version notes: 1 adds the type of key and messages; 3 is flexible; 4 asks for many keys at once (KIP-699); 6 adds share groups. The first
//! question for a group makes `__consumer_offsets`, and is answered when it is usable. Transactions and share groups have no
//! coordinator here yet: COORDINATOR_NOT_AVAILABLE.

use std::collections::HashSet;
use std::rc::Rc;

use corelog_logic::group::partition_for;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::broker::{Broker, Endpoint};
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::group::ensure_offsets_topic;
use super::service::{ConnectionInfo, Dispatched};
use super::wire::Read;
use crate::drive::OFFSETS_TOPIC;
use crate::drive::tasks::PartitionId;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// First version with a list of keys.
const MANY: i16 = 4;
/// First version that knows share groups.
const SHARE_SINCE: i16 = 6;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: FindCoordinatorRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let found = find(&broker, &request.connection, body.key_type, request.version).await;
        let offline = broker.offline().await;
        let of_key = |key: &str| match &found {
            Ok(_) if is_offline(&broker, key, &offline) => Err(ErrorCode::CoordinatorNotAvailable.into()),
            found => found.clone(),
        };
        let response = if request.version >= MANY {
            let keys = body.coordinator_keys.iter();
            let coordinators = keys.map(|key| many(key.clone(), &of_key(key))).collect();
            FindCoordinatorResponse::default().with_coordinators(coordinators)
        } else {
            one(&of_key(&body.key))
        };
        request.reply(&response)
    }))
}

async fn find(
    broker: &Rc<Broker>,
    connection: &ConnectionInfo,
    key_type: i8,
    version: i16,
) -> Result<Endpoint, Refusal> {
    match key_type {
        GROUP => ensure_offsets_topic(broker).await?,
        TRANSACTION => {
            return Err(
                ErrorCode::CoordinatorNotAvailable.because("this broker does not coordinate transactions")
            );
        }
        SHARE if version >= SHARE_SINCE => {
            return Err(
                ErrorCode::CoordinatorNotAvailable.because("this broker does not coordinate share groups")
            );
        }
        _ => return Err(ErrorCode::InvalidRequest.into()),
    }
    let image = broker.cores.image();
    let endpoints = broker.endpoints(&image, connection);
    let here = endpoints.into_iter().find(|endpoint| endpoint.node_id == broker.node_id);
    here.ok_or(ErrorCode::CoordinatorNotAvailable.into())
}

/// Whether the partition that a group lives in cannot be used: nobody can coordinate the group then.
fn is_offline(broker: &Broker, group_id: &str, offline: &HashSet<PartitionId>) -> bool {
    let image = broker.cores.image();
    image.topic_by_name(OFFSETS_TOPIC).is_some_and(|topic| {
        let partition = partition_for(group_id, topic.partitions.len() as i32);
        offline.contains(&PartitionId { topic_id: topic.id, partition })
    })
}

fn message(refusal: &Refusal) -> StrBytes {
    StrBytes::from_string(refusal.message.as_deref().unwrap_or_default().to_owned())
}

fn many(key: StrBytes, found: &Result<Endpoint, Refusal>) -> Coordinator {
    let coordinator = Coordinator::default().with_key(key);
    match found {
        Ok(endpoint) => coordinator
            .with_node_id(BrokerId(endpoint.node_id))
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port.into()),
        Err(refusal) => coordinator
            .with_error_code(refusal.code.number())
            .with_error_message(Some(message(refusal)))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
    }
}

fn one(found: &Result<Endpoint, Refusal>) -> FindCoordinatorResponse {
    let response = FindCoordinatorResponse::default();
    match found {
        Ok(endpoint) => response
            .with_error_message(Some(StrBytes::from_static_str("NONE")))
            .with_node_id(BrokerId(endpoint.node_id))
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port.into()),
        Err(refusal) => response
            .with_error_code(refusal.code.number())
            .with_error_message(Some(message(refusal)))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
    }
}
