//! CreateTopics (key 19): answered when the topics are usable on every core.
//!
//! Version notes: 4 lets partitions and replication factor be -1 for the default (KIP-464); 5 is flexible and echoes the
//! effective configurations (KIP-525); 7 adds topic ids (KIP-516). What is allowed is decided by the controller's logic.

use std::collections::HashMap;
use std::rc::Rc;

use corelog_logic::controller::{Command, CreatedTopic, NewTopic, Reply as ControllerReply};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::broker::Broker;
use super::config_entries;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: CreateTopicsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let topics = create(&broker, &body, request.version).await;
        request.reply(&CreateTopicsResponse::default().with_topics(topics))
    }))
}

async fn create(broker: &Broker, body: &CreateTopicsRequest, version: i16) -> Vec<CreatableTopicResult> {
    let command = Command::CreateTopics {
        topics: body.topics.iter().map(new_topic).collect(),
        validate_only: body.validate_only,
    };
    let refusal = match broker.control(command, body.timeout_ms).await {
        Ok(ControllerReply::TopicsCreated(created)) => {
            // First occurrence: the controller answers a name that occurs twice once, with an error.
            let mut asked: HashMap<&str, &CreatableTopic> = HashMap::new();
            for topic in &body.topics {
                asked.entry(topic.name.as_str()).or_insert(topic);
            }
            return created
                .into_iter()
                .map(|topic| result(broker, asked.get(topic.name.as_str()).copied(), topic, version))
                .collect();
        }
        Ok(other) => {
            tracing::error!(?other, "the controller answered something else than created topics");
            Refusal::from(ErrorCode::UnknownServerError)
        }
        Err(error) => (&error).into(),
    };
    body.topics.iter().map(|topic| failed(topic.name.to_string(), &refusal)).collect()
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.to_string(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|one| (one.partition_index, one.broker_ids.iter().map(|id| id.0).collect()))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| (config.name.to_string(), config.value.as_ref().map(|value| value.to_string())))
            .collect(),
    }
}

fn failed(name: String, refusal: &Refusal) -> CreatableTopicResult {
    let message = refusal.message.as_deref().map(|text| StrBytes::from_string(text.to_owned()));
    CreatableTopicResult::default()
        .with_name(TopicName(StrBytes::from_string(name)))
        .with_error_code(refusal.code.number())
        .with_error_message(message)
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_configs(Some(Vec::new()))
}

fn result(
    broker: &Broker,
    asked: Option<&CreatableTopic>,
    topic: CreatedTopic,
    version: i16,
) -> CreatableTopicResult {
    let created = match &topic.result {
        Ok(created) => *created,
        Err(error) => return failed(topic.name, &error.into()),
    };
    let mut result = CreatableTopicResult::default()
        .with_name(TopicName(StrBytes::from_string(topic.name)))
        .with_topic_id(Uuid::from_bytes(created.topic_id.0))
        .with_error_message(None)
        .with_num_partitions(created.num_partitions)
        .with_replication_factor(created.replication_factor);
    if version >= 5 {
        // From the request and not from the image: with validate_only there is no topic.
        let own = |key: &str| {
            let config = asked?.configs.iter().rev().find(|config| config.name.as_str() == key)?;
            config.value.as_deref()
        };
        let image = broker.cores.image();
        let entries = config_entries::of_topic(own, &config_entries::broker_values(broker, &image));
        let told = |entry: config_entries::ConfigEntry| {
            let source = entry.source().code();
            // What was asked for comes back to the letter.
            let value = own(&entry.name).map(str::to_owned).or(entry.value);
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_string(entry.name))
                .with_value(value.map(StrBytes::from_string))
                .with_config_source(source)
        };
        result.configs = Some(entries.into_iter().map(told).collect());
    }
    result
}
