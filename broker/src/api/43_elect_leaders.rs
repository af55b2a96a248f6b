//! ElectLeaders (key 43, KIP-183): with one replica each, every partition is led by the only one that can.
//!
//! Version notes: 1 adds the election's type (KIP-460) and an error for the whole request; 2 is flexible. Null partitions mean all, of which
//! only those are told that were not led as they should be. Deliberately absent: electing, for there is nobody else.

use std::collections::HashSet;
use std::rc::Rc;

use corelog_logic::controller::{MetadataImage, TopicImage};
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::metadata::leader;
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::tasks::PartitionId;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: ElectLeadersRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let image = broker.cores.image();
        let response = ElectLeadersResponse::default();
        // Kafka does not look at the type when nothing is to be elected.
        let nothing = body.topic_partitions.as_ref().is_some_and(Vec::is_empty);
        if !matches!(body.election_type, PREFERRED | UNCLEAN) && !nothing {
            let code = if request.version >= 1 { ErrorCode::InvalidRequest } else { ErrorCode::None };
            return request.reply(
                &response.with_error_code(code.number()).with_replica_election_results(unknown_type(&body)),
            );
        }
        let offline = broker.offline().await;
        request.reply(&response.with_replica_election_results(results(&image, &body, &offline)))
    }))
}

/// The answer to an election that does not exist: every partition that was named is told so.
fn unknown_type(body: &ElectLeadersRequest) -> Vec<ReplicaElectionResult> {
    let refusal = ErrorCode::InvalidRequest.because(format!("Unknown election type {}", body.election_type));
    let asked = body.topic_partitions.iter().flatten();
    asked
        .map(|topic| {
            let results = topic.partitions.iter().map(|partition| result(*partition, refusal.clone()));
            ReplicaElectionResult::default()
                .with_topic(topic.topic.clone())
                .with_partition_result(results.collect())
        })
        .collect()
}

fn results(
    image: &MetadataImage,
    body: &ElectLeadersRequest,
    offline: &HashSet<PartitionId>,
) -> Vec<ReplicaElectionResult> {
    let told = |topic: TopicName, results: Vec<PartitionResult>| {
        ReplicaElectionResult::default().with_topic(topic).with_partition_result(results)
    };
    match &body.topic_partitions {
        Some(asked) => asked
            .iter()
            .map(|topic| {
                let found = image.topic_by_name(&topic.topic);
                let one = |partition: &i32| {
                    result(*partition, elect(found, &topic.topic, *partition, body.election_type, offline))
                };
                told(topic.topic.clone(), topic.partitions.iter().map(one).collect())
            })
            .collect(),
        None => image
            .topics()
            .map(|topic| {
                let name = TopicName(StrBytes::from_string(topic.name.to_string()));
                let all = (0..topic.partitions.len() as i32).filter_map(|partition| {
                    let refusal = elect(Some(topic), &name, partition, body.election_type, offline);
                    (refusal.code != ErrorCode::ElectionNotNeeded).then(|| result(partition, refusal))
                });
                told(name.clone(), all.collect())
            })
            .collect(),
    }
}

fn elect(
    topic: Option<&TopicImage>,
    name: &TopicName,
    partition: i32,
    election_type: i8,
    offline: &HashSet<PartitionId>,
) -> Refusal {
    let unknown = |what: String| ErrorCode::UnknownTopicOrPartition.because(what);
    let Some(topic) = topic else { return unknown(format!("No such topic as {}", name.as_str())) };
    let Some(state) = topic.partition(partition) else {
        return unknown(format!("No such partition as {}-{partition}", name.as_str()));
    };
    let leader = leader(topic, partition, state, offline);
    let is_led_well = match election_type {
        PREFERRED => state.replicas.first() == Some(&leader),
        _ => leader >= 0,
    };
    if is_led_well {
        ErrorCode::ElectionNotNeeded.because("Leader election not needed for topic partition.")
    } else if election_type == PREFERRED {
        ErrorCode::PreferredLeaderNotAvailable.because("The preferred leader was not available.")
    } else {
        ErrorCode::EligibleLeadersNotAvailable.because("Eligible topic partition leaders are not available.")
    }
}

fn result(partition: i32, refusal: Refusal) -> PartitionResult {
    PartitionResult::default()
        .with_partition_id(partition)
        .with_error_code(refusal.code.number())
        .with_error_message(refusal.text())
}
