//! DescribeProducers (key 61, KIP-664): who writes to a partition, as its producer state remembers it.
//!
//! Version notes: 0 only, flexible. There are no transactions: none is ever under way, and no coordinator's epoch is known.

use std::rc::Rc;

use corelog_logic::controller::check_topic_name;
use corelog_logic::partition::producer_state::ActiveProducer;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::grouping::Groups;
use super::inspecting::inspect;
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::tasks::{InspectTask, Inspected};

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DescribeProducersRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let response = answer(&broker, &body).await;
        request.reply(&response)
    }))
}

async fn answer(broker: &Broker, body: &DescribeProducersRequest) -> DescribeProducersResponse {
    let image = broker.cores.image();
    let image_version = image.version;
    let mut slots: Vec<Result<Vec<ActiveProducer>, Refusal>> = Vec::new();
    let mut groups = Groups::new();
    for topic in &body.topics {
        let found = check_topic_name(&topic.name)
            .map_err(|why| ErrorCode::InvalidTopicException.because(why))
            .and_then(|()| image.topic_by_name(&topic.name).ok_or_else(unknown));
        for partition in &topic.partition_indexes {
            let slot = slots.len();
            let routed = found.clone().and_then(|topic| {
                // For a partition of a topic that is there, Kafka sends the number alone.
                broker.route(topic, *partition).map_err(|refusal| Refusal::from(refusal.code))
            });
            slots.push(routed.map(|(core, id)| {
                groups.push(core, slot, id);
                Vec::new()
            }));
        }
    }
    let task = |partitions| InspectTask::Producers { partitions, image_version };
    let answers = |inspected| match inspected {
        Inspected::Producers(producers) => Some(producers),
        _ => None,
    };
    inspect(broker, groups, task, answers, &mut slots).await;

    let mut slots = slots.into_iter();
    let topics = body.topics.iter().map(|topic| {
        let told = topic.partition_indexes.iter().zip(slots.by_ref()).map(|(partition, producers)| {
            let told = PartitionResponse::default().with_partition_index(*partition);
            match producers {
                Ok(producers) => told.with_active_producers(producers.into_iter().map(producer).collect()),
                Err(refusal) => {
                    told.with_error_code(refusal.code.number()).with_error_message(refusal.text())
                }
            }
        });
        TopicResponse::default().with_name(topic.name.clone()).with_partitions(told.collect())
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn unknown() -> Refusal {
    ErrorCode::UnknownTopicOrPartition.because("This server does not host this topic-partition.")
}

fn producer(producer: ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(i32::from(producer.producer_epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp_ms)
        .with_coordinator_epoch(-1)
        .with_current_txn_start_offset(-1)
}
