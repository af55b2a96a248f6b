//! AlterPartitionReassignments (key 45, KIP-455): one node can only reassign a partition to where it is.
//!
//! Version notes: flexible from 0; 1 may forbid another replication factor (KIP-860). Judged in Kafka's order: topic, partition, replicas.
//! Deliberately absent: moving anything, so that no reassignment is ever under way and none can be cancelled.

use std::rc::Rc;

use corelog_logic::controller::{MetadataImage, check_assigned_replicas};
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use kafka_protocol::protocol::StrBytes;

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: AlterPartitionReassignmentsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let image = broker.cores.image();
        let responses = body.topics.iter().map(|topic| {
            let one = |partition: &ReassignablePartition| {
                let told =
                    ReassignablePartitionResponse::default().with_partition_index(partition.partition_index);
                match reassign(&image, &topic.name, partition) {
                    Ok(()) => told.with_error_message(None),
                    Err(refusal) => {
                        told.with_error_code(refusal.code.number()).with_error_message(refusal.text())
                    }
                }
            };
            ReassignableTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partitions.iter().map(one).collect())
        });
        // To a request for nothing Kafka answers what a reply says by default: an empty message and no limits.
        let nothing = body.topics.is_empty();
        let mut response = AlterPartitionReassignmentsResponse::default()
            .with_error_message(nothing.then(StrBytes::default))
            .with_responses(responses.collect());
        if request.version >= 1 && !nothing {
            response.allow_replication_factor_change = body.allow_replication_factor_change;
        }
        request.reply(&response)
    }))
}

fn reassign(image: &MetadataImage, name: &str, asked: &ReassignablePartition) -> Result<(), Refusal> {
    let unknown = |what: String| ErrorCode::UnknownTopicOrPartition.because(what);
    let topic =
        image.topic_by_name(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let state = topic
        .partition(asked.partition_index)
        .ok_or_else(|| unknown(format!("Unable to find partition {name}:{}.", asked.partition_index)))?;
    let Some(replicas) = &asked.replicas else {
        return Err(ErrorCode::NoReassignmentInProgress.into());
    };
    let replicas: Vec<i32> = replicas.iter().map(|id| id.0).collect();
    check_assigned_replicas(image, &replicas).map_err(|error| Refusal::from(&error))?;
    if replicas != state.replicas {
        return Err(ErrorCode::InvalidReplicaAssignment.because(format!(
            "The partition lies on {:?} and cannot be moved: this node replicates nothing.",
            state.replicas
        )));
    }
    Ok(())
}
