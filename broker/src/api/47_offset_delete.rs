//! OffsetDelete (key 47): committed offsets of topics that a group consumes no more (KIP-496).
//!
//! Version notes: there is only 0, which is not flexible. Topics and partitions that do not exist are refused here, one by one.

use std::rc::Rc;
use std::sync::Arc;

use corelog_logic::group::{GroupErrorKind, OffsetDelete, Reply, Request as GroupRequest, TopicCommitted};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse, TopicName};

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask, merged, text};
use super::service::Dispatched;
use super::wire::Read;

/// Partitions by topic.
type Partitions = Vec<(Arc<str>, Vec<i32>)>;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: OffsetDeleteRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let (known, unknown) = divide(&broker, &body);
        let answer = delete(&broker, &body, known).await;
        let response = match answer {
            Ok(deleted) => OffsetDeleteResponse::default()
                .with_topics(merged(unknown, deleted).into_iter().map(told).collect()),
            Err(error) => OffsetDeleteResponse::default().with_error_code(group::number(Some(error))),
        };
        request.reply(&response)
    }))
}

/// Partitions of topics that exist, and the answers for what does not.
fn divide(broker: &Broker, body: &OffsetDeleteRequest) -> (Partitions, Vec<TopicCommitted>) {
    let image = broker.cores.image();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for asked in &body.topics {
        let topic = image.topic_by_name(&asked.name);
        let exists = |index: &i32| topic.and_then(|topic| topic.partition(*index)).is_some();
        let indexes = asked.partitions.iter().map(|partition| partition.partition_index);
        let (here, gone): (Vec<i32>, Vec<i32>) = indexes.partition(exists);
        let name: Arc<str> = asked.name.as_str().into();
        if !here.is_empty() {
            known.push((name.clone(), here));
        }
        if !gone.is_empty() || topic.is_none() {
            let error = Some(GroupErrorKind::UnknownTopicOrPartition);
            let partitions = gone.into_iter().map(|index| (index, error)).collect();
            unknown.push(TopicCommitted { topic: name, partitions });
        }
    }
    (known, unknown)
}

async fn delete(
    broker: &Rc<Broker>,
    body: &OffsetDeleteRequest,
    topics: Partitions,
) -> Result<Vec<TopicCommitted>, GroupErrorKind> {
    let group_id = group::group_id(&body.group_id);
    if group_id.is_empty() {
        return Err(GroupErrorKind::InvalidGroupId);
    }
    let request = OffsetDelete { group_id: group_id.clone(), topics };
    match ask(broker, &group_id, GroupRequest::OffsetDelete(request)).await {
        Ok(Reply::OffsetDelete(answer)) => answer,
        Ok(_) => Err(GroupErrorKind::UnknownServerError),
        Err(error) => Err(error),
    }
}

fn told(topic: TopicCommitted) -> OffsetDeleteResponseTopic {
    let partition = |(index, error)| {
        OffsetDeleteResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(group::number(error))
    };
    OffsetDeleteResponseTopic::default()
        .with_name(TopicName(text(&topic.topic)))
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}
