//! OffsetCommit (key 8): a group remembers how far it has consumed.
//!
//! Version notes: 2 to 4 may say how long to keep the offsets (KIP-211 took that away); 3 adds throttling; 6 leader epochs (KIP-320); 7
//! group.instance.id (KIP-345); 8 is flexible; 9 may come from members of KIP-848. Topics and partitions that do not exist are refused
//! here, one by one; the rest goes to the coordinator.

use std::rc::Rc;
use std::sync::Arc;

use corelog_logic::group::{
    GroupErrorKind, GroupId, InstanceId, MemberId, OffsetCommit, PartitionCommit, Reply,
    Request as GroupRequest, TopicCommit, TopicCommitted,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, TopicName};

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask, merged, text};
use super::service::Dispatched;
use super::wire::Read;

/// Versions that may say how long to keep the offsets.
const RETENTION_UNTIL: i16 = 4;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: OffsetCommitRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let (known, unknown) = divide(&broker, &body);
        let answered = if known.is_empty() {
            unknown
        } else {
            let names: Vec<_> = known.iter().map(|topic| (topic.topic.clone(), indexes(topic))).collect();
            let group_id = group::group_id(&body.group_id);
            let commit = commit(&body, group_id.clone(), known, request.version);
            let answer = coordinate(&broker, &group_id, commit).await;
            merged(unknown, answer.unwrap_or_else(|error| refused(names, error)))
        };
        let topics = answered.into_iter().map(told).collect();
        request.reply(&OffsetCommitResponse::default().with_topics(topics))
    }))
}

/// What exists, and the answers for what does not.
fn divide(broker: &Broker, body: &OffsetCommitRequest) -> (Vec<TopicCommit>, Vec<TopicCommitted>) {
    let image = broker.cores.image();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for asked in &body.topics {
        let topic = image.topic_by_name(&asked.name);
        let name: Arc<str> = asked.name.as_str().into();
        let mut commits = Vec::with_capacity(asked.partitions.len());
        let mut gone = Vec::new();
        for partition in &asked.partitions {
            let index = partition.partition_index;
            if topic.and_then(|topic| topic.partition(index)).is_none() {
                gone.push((index, Some(GroupErrorKind::UnknownTopicOrPartition)));
                continue;
            }
            commits.push(PartitionCommit {
                partition: index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_deref().map(Into::into),
            });
        }
        if !commits.is_empty() {
            // The requests of these versions do not name ids, and neither do Kafka's records of them.
            known.push(TopicCommit { topic: name.clone(), topic_id: [0; 16], partitions: commits });
        }
        // A topic that is not there is told of, even when nothing was committed for it.
        if !gone.is_empty() || topic.is_none() {
            unknown.push(TopicCommitted { topic: name, partitions: gone });
        }
    }
    // A topic that is named twice is told of once.
    (known, merged(Vec::new(), unknown))
}

fn indexes(topic: &TopicCommit) -> Vec<i32> {
    topic.partitions.iter().map(|partition| partition.partition).collect()
}

fn refused(topics: Vec<(Arc<str>, Vec<i32>)>, error: GroupErrorKind) -> Vec<TopicCommitted> {
    let refused = |(topic, indexes): (Arc<str>, Vec<i32>)| TopicCommitted {
        topic,
        partitions: indexes.into_iter().map(|index| (index, Some(error))).collect(),
    };
    topics.into_iter().map(refused).collect()
}

fn told(topic: TopicCommitted) -> OffsetCommitResponseTopic {
    let partition = |(index, error)| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(group::number(error))
    };
    OffsetCommitResponseTopic::default()
        .with_name(TopicName(text(&topic.topic)))
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}

fn commit(
    body: &OffsetCommitRequest,
    group_id: GroupId,
    topics: Vec<TopicCommit>,
    version: i16,
) -> OffsetCommit {
    OffsetCommit {
        version,
        group_id,
        member_id: MemberId::from(body.member_id.as_str()),
        instance_id: body.group_instance_id.as_deref().map(InstanceId::from),
        generation_id_or_member_epoch: body.generation_id_or_member_epoch,
        retention_time_ms: if version <= RETENTION_UNTIL { body.retention_time_ms } else { -1 },
        topics,
    }
}

async fn coordinate(
    broker: &Rc<Broker>,
    group_id: &GroupId,
    commit: OffsetCommit,
) -> Result<Vec<TopicCommitted>, GroupErrorKind> {
    match ask(broker, group_id, GroupRequest::OffsetCommit(commit)).await {
        Ok(Reply::OffsetCommit(answer)) => answer,
        Ok(_) => Err(GroupErrorKind::UnknownServerError),
        Err(error) => Err(error),
    }
}
