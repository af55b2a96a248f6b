//! OffsetFetch (key 9): how far groups have consumed, as they committed it.
//!
//! Version notes: from 2 on no list of topics means all, and errors of the group come at the top; 3 adds throttling; 5 leader epochs
//! (KIP-320); 6 is flexible; 7 can ask for stable offsets (KIP-447); 8 asks for many groups (KIP-709); 9 may come from members of KIP-848.

use std::rc::Rc;
use std::sync::Arc;

use corelog_logic::group::{
    GroupErrorKind, GroupId, MemberId, OffsetFetch, PartitionFetched, Reply, Request as GroupRequest,
    TopicFetched,
};
use futures_util::future::join_all;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::broker::Broker;
use super::dispatch::Request;
use super::group::{self, ask, text, wire_group_id};
use super::service::Dispatched;
use super::wire::Read;

/// First version with a list of groups.
const MANY: i16 = 8;
/// First version with an error for the group.
const GROUP_ERROR_SINCE: i16 = 2;

/// What one group has committed, or why that is not known.
type Fetched = Result<Vec<TopicFetched>, GroupErrorKind>;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: OffsetFetchRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let fetches = if request.version >= MANY { many(&body) } else { vec![one(&body, request.version)] };
        let fetched = join_all(fetches.iter().map(|one| fetch(&broker, one.clone()))).await;
        let response = if request.version >= MANY {
            let groups =
                fetches.iter().zip(fetched).map(|(asked, fetched)| group_told(&asked.group_id, fetched));
            OffsetFetchResponse::default().with_groups(groups.collect())
        } else {
            let (asked, fetched) = fetches.into_iter().zip(fetched).next().unzip();
            told(asked.and_then(|asked| asked.topics), fetched.unwrap_or(Ok(Vec::new())), request.version)
        };
        request.reply(&response)
    }))
}

fn one(body: &OffsetFetchRequest, version: i16) -> OffsetFetch {
    let topics = body.topics.as_ref().map(|topics| {
        topics.iter().map(|topic| (Arc::from(topic.name.as_str()), topic.partition_indexes.clone())).collect()
    });
    OffsetFetch {
        group_id: group::group_id(&body.group_id),
        member_id: None,
        member_epoch: -1,
        // Version 1 knows no null.
        topics: if version < GROUP_ERROR_SINCE { Some(topics.unwrap_or_default()) } else { topics },
        require_stable: body.require_stable,
    }
}

fn many(body: &OffsetFetchRequest) -> Vec<OffsetFetch> {
    let asked = body.groups.iter().map(|asked| OffsetFetch {
        group_id: group::group_id(&asked.group_id),
        member_id: asked.member_id.as_deref().map(MemberId::from),
        member_epoch: asked.member_epoch,
        topics: asked.topics.as_ref().map(|topics| {
            topics
                .iter()
                .map(|topic| (Arc::from(topic.name.as_str()), topic.partition_indexes.clone()))
                .collect()
        }),
        require_stable: body.require_stable,
    });
    asked.collect()
}

async fn fetch(broker: &Rc<Broker>, fetch: OffsetFetch) -> Fetched {
    let group_id = fetch.group_id.clone();
    match ask(broker, &group_id, GroupRequest::OffsetFetch(fetch)).await {
        Ok(Reply::OffsetFetch(fetched)) => fetched,
        Ok(_) => Err(GroupErrorKind::UnknownServerError),
        Err(error) => Err(error),
    }
}

fn topic_name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

fn group_told(group_id: &GroupId, fetched: Fetched) -> OffsetFetchResponseGroup {
    let told = OffsetFetchResponseGroup::default().with_group_id(wire_group_id(group_id));
    let topics = match fetched {
        Ok(topics) => topics,
        Err(error) => return told.with_error_code(group::number(Some(error))),
    };
    let partition = |partition: PartitionFetched| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(partition.partition)
            .with_committed_offset(partition.offset)
            .with_committed_leader_epoch(partition.leader_epoch)
            .with_metadata(Some(text(&partition.metadata)))
            .with_error_code(group::number(partition.error))
    };
    let topic = |topic: TopicFetched| {
        OffsetFetchResponseTopics::default()
            .with_name(topic_name(&topic.topic))
            .with_partitions(topic.partitions.into_iter().map(partition).collect())
    };
    told.with_topics(topics.into_iter().map(topic).collect())
}

/// Before version 8. An error of the group is at the top from 2 on, and in every partition before.
fn told(asked: Option<Vec<(Arc<str>, Vec<i32>)>>, fetched: Fetched, version: i16) -> OffsetFetchResponse {
    let response = OffsetFetchResponse::default();
    let topics = match fetched {
        Ok(topics) => topics,
        Err(error) if version >= GROUP_ERROR_SINCE => {
            return response.with_error_code(group::number(Some(error)));
        }
        Err(error) => asked.unwrap_or_default().into_iter().map(|asked| failed(asked, error)).collect(),
    };
    let partition = |partition: PartitionFetched| {
        let told = OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition)
            .with_committed_offset(partition.offset)
            .with_metadata(Some(text(&partition.metadata)))
            .with_error_code(group::number(partition.error));
        if version >= 5 { told.with_committed_leader_epoch(partition.leader_epoch) } else { told }
    };
    let topic = |topic: TopicFetched| {
        OffsetFetchResponseTopic::default()
            .with_name(topic_name(&topic.topic))
            .with_partitions(topic.partitions.into_iter().map(partition).collect())
    };
    response.with_topics(topics.into_iter().map(topic).collect())
}

fn failed((topic, partitions): (Arc<str>, Vec<i32>), error: GroupErrorKind) -> TopicFetched {
    let partition = |partition| PartitionFetched {
        partition,
        offset: -1,
        leader_epoch: -1,
        metadata: "".into(),
        error: Some(error),
    };
    TopicFetched { topic, partitions: partitions.into_iter().map(partition).collect() }
}
