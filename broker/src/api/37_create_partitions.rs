//! CreatePartitions (key 37, KIP-195): answered, topic by topic, when the new partitions are usable on every core.
//!
//! Version notes: 2 is flexible; 3 may be throttled (KIP-599). What is allowed is decided by the controller's logic.

use std::rc::Rc;

use corelog_logic::controller::{Command, CommandError, MorePartitions, Reply as ControllerReply};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: CreatePartitionsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let results = create(&broker, &body).await;
        request.reply(&CreatePartitionsResponse::default().with_results(results))
    }))
}

async fn create(broker: &Broker, body: &CreatePartitionsRequest) -> Vec<CreatePartitionsTopicResult> {
    let topics = body.topics.iter().map(more).collect();
    let command = Command::CreatePartitions { topics, validate_only: body.validate_only };
    let refusal = match broker.control(command, body.timeout_ms).await {
        Ok(ControllerReply::PartitionsCreated(results)) => {
            let told = |(name, result): (String, Result<(), CommandError>)| {
                result_of(
                    TopicName(StrBytes::from_string(name)),
                    result.map_err(|error| Refusal::from(&error)),
                )
            };
            return results.into_iter().map(told).collect();
        }
        Ok(other) => {
            tracing::error!(?other, "the controller answered something else than created partitions");
            Refusal::from(ErrorCode::UnknownServerError)
        }
        Err(error) => (&error).into(),
    };
    body.topics.iter().map(|topic| result_of(topic.name.clone(), Err(refusal.clone()))).collect()
}

fn more(topic: &CreatePartitionsTopic) -> MorePartitions {
    let assignments = topic.assignments.as_ref().map(|assignments| {
        assignments.iter().map(|one| one.broker_ids.iter().map(|id| id.0).collect()).collect()
    });
    MorePartitions { name: topic.name.to_string(), count: topic.count, assignments }
}

fn result_of(name: TopicName, result: Result<(), Refusal>) -> CreatePartitionsTopicResult {
    let told = CreatePartitionsTopicResult::default().with_name(name);
    match result {
        Ok(()) => told.with_error_message(None),
        Err(refusal) => told.with_error_code(refusal.code.number()).with_error_message(refusal.text()),
    }
}
