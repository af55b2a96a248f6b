//! DeleteTopics (key 20).
//!
//! Version notes: 3 answers TOPIC_DELETION_DISABLED where `delete.topic.enable` is off (before, INVALID_REQUEST); 4 is
//! flexible; 5 adds messages; 6 takes names or ids (KIP-516), and a topic must be named in exactly one way.

use std::rc::Rc;

use corelog_logic::controller::{Command, DeletedTopic, Reply as ControllerReply, TopicId, TopicRef};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DeleteTopicsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let responses = delete(&broker, &body, request.version).await;
        request.reply(&DeleteTopicsResponse::default().with_responses(responses))
    }))
}

/// A topic as the request names it: null or a name, zero or an id.
struct Asked {
    name: Option<TopicName>,
    id: Uuid,
}

async fn delete(broker: &Broker, body: &DeleteTopicsRequest, version: i16) -> Vec<DeletableTopicResult> {
    let asked: Vec<Asked> = if version >= 6 {
        body.topics.iter().map(|topic| Asked { name: topic.name.clone(), id: topic.topic_id }).collect()
    } else {
        body.topic_names.iter().map(|name| Asked { name: Some(name.clone()), id: Uuid::nil() }).collect()
    };
    if !broker.config.delete_topic_enable {
        let refusal = if version < 3 {
            ErrorCode::InvalidRequest.because("Topic deletion is disabled.")
        } else {
            ErrorCode::TopicDeletionDisabled.because("Topic deletion is disabled.")
        };
        return asked.into_iter().map(|topic| answered(topic, &refusal)).collect();
    }
    let mut results = Vec::new();
    let mut topics = Vec::new();
    let mut sent = Vec::new();
    for topic in asked {
        match topic_ref(&topic) {
            Ok(topic_ref) => {
                topics.push(topic_ref);
                sent.push(topic);
            }
            Err(why) => results.push(answered(topic, &ErrorCode::InvalidRequest.because(why))),
        }
    }
    if topics.is_empty() {
        return results;
    }
    let refusal = match broker.control(Command::DeleteTopics { topics }, body.timeout_ms).await {
        Ok(ControllerReply::TopicsDeleted(deleted)) => {
            results.extend(deleted.into_iter().map(result));
            return results;
        }
        Ok(other) => {
            tracing::error!(?other, "the controller answered something else than deleted topics");
            Refusal::from(ErrorCode::UnknownServerError)
        }
        Err(error) => (&error).into(),
    };
    results.extend(sent.into_iter().map(|topic| answered(topic, &refusal)));
    results
}

fn topic_ref(topic: &Asked) -> Result<TopicRef, &'static str> {
    match (&topic.name, topic.id.is_nil()) {
        (Some(name), true) => Ok(TopicRef::Name(name.to_string())),
        (None, false) => Ok(TopicRef::Id(TopicId(topic.id.into_bytes()))),
        (Some(_), false) => Err("You may not specify both topic name and topic id."),
        (None, true) => Err("Neither topic name nor id were specified."),
    }
}

fn answered(topic: Asked, refusal: &Refusal) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(topic.name)
        .with_topic_id(topic.id)
        .with_error_code(refusal.code.number())
        .with_error_message(refusal.message.as_deref().map(|text| StrBytes::from_string(text.to_owned())))
}

fn result(topic: DeletedTopic) -> DeletableTopicResult {
    let asked = Asked {
        name: topic.name.map(|name| TopicName(StrBytes::from_string(name))),
        id: topic.topic_id.map_or_else(Uuid::nil, |id| Uuid::from_bytes(id.0)),
    };
    match &topic.result {
        Ok(()) => answered(asked, &ErrorCode::None.into()),
        Err(error) => answered(asked, &error.into()),
    }
}
