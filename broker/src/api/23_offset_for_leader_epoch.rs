//! OffsetForLeaderEpoch (key 23): where a leader epoch ends, so that a consumer finds out that what it read was cut (KIP-320).
//!
//! Version notes: 2 adds the epoch that the client knows, -1 for any; 3 the replica that asks, which is nobody here; 4 is flexible. An epoch
//! below the log's start gives that start, one that nobody has heard of -1.

use std::rc::Rc;

use corelog_logic::partition::epoch_end::{EpochEnd, UNKNOWN};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::grouping::Groups;
use super::inspecting::inspect;
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::tasks::{EpochQuery, InspectTask, Inspected};

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: OffsetForLeaderEpochRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let response = answer(&broker, &body).await;
        request.reply(&response)
    }))
}

async fn answer(broker: &Broker, body: &OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let image = broker.cores.image();
    let image_version = image.version;
    let mut slots: Vec<Result<EpochEnd, Refusal>> = Vec::new();
    let mut groups = Groups::new();
    for topic in &body.topics {
        let found = image.topic_by_name(&topic.topic);
        for asked in &topic.partitions {
            let slot = slots.len();
            let routed = found
                .ok_or_else(|| Refusal::from(ErrorCode::UnknownTopicOrPartition))
                .and_then(|topic| broker.route(topic, asked.partition));
            slots.push(routed.map(|(core, partition)| {
                let (current_leader_epoch, leader_epoch) = (asked.current_leader_epoch, asked.leader_epoch);
                groups.push(core, slot, EpochQuery { partition, current_leader_epoch, leader_epoch });
                UNKNOWN
            }));
        }
    }
    let task = |queries| InspectTask::Epochs { queries, image_version };
    let answers = |inspected| match inspected {
        Inspected::Epochs(ends) => Some(ends),
        _ => None,
    };
    inspect(broker, groups, task, answers, &mut slots).await;

    let mut slots = slots.into_iter();
    let topics = body.topics.iter().map(|topic| {
        let told = topic.partitions.iter().zip(slots.by_ref()).map(|(asked, end)| {
            let code = end.as_ref().err().map_or(ErrorCode::None, |refusal| refusal.code);
            let end = end.unwrap_or(UNKNOWN);
            EpochEndOffset::default()
                .with_partition(asked.partition)
                .with_error_code(code.number())
                .with_leader_epoch(end.leader_epoch)
                .with_end_offset(end.end_offset)
        });
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(told.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
