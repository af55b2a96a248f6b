//! One method per request that the bench makes outside its measured windows.
//!
//! Called by `produce`, `fetch` and `topic` in the parent. Versions are fixed: high enough for topic names everywhere,
//! low enough for every broker that is compared.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Cold, Topic};

const API_VERSIONS_VERSION: i16 = 3;
const METADATA_VERSION: i16 = 12;
const CREATE_TOPICS_VERSION: i16 = 7;
const DELETE_TOPICS_VERSION: i16 = 5;
const LIST_OFFSETS_VERSION: i16 = 7;
const INIT_PRODUCER_ID_VERSION: i16 = 4;
/// The last version of Fetch that names topics instead of giving their ids.
pub(crate) const FETCH_VERSION: i16 = 12;

/// Longest the broker may take to create or delete a topic.
const ADMIN_TIMEOUT_MS: i32 = 20_000;

/// Which end of a partition is asked for, as ListOffsets has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum End {
    /// The log start offset.
    Earliest = -2,
    /// The high watermark.
    Latest = -1,
}

/// What Metadata says about a topic.
pub(super) enum Described {
    Missing,
    NotReady,
    Ready(Topic),
}

/// What an idempotent producer was given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProducerIdentity {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
}

/// Fails with the error's name when `code` is not 0.
pub(crate) fn check(code: i16, what: &str) -> Result<()> {
    match code.err() {
        None => Ok(()),
        Some(error) => bail!("{what}: {error:?} ({code})"),
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_string()))
}

impl Cold {
    /// Key, lowest and highest version of every API that the broker serves.
    pub(super) fn api_versions(&mut self) -> Result<Vec<(i16, i16, i16)>> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(super::CLIENT_ID))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let answer = self.call(API_VERSIONS_VERSION, &request)?;
        check(answer.error_code, "ApiVersions")?;
        Ok(answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect())
    }

    pub(super) fn describe(&mut self, name: &str) -> Result<Described> {
        let request = MetadataRequest::default()
            .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(topic_name(name)))]))
            .with_allow_auto_topic_creation(false);
        let answer = self.call(METADATA_VERSION, &request)?;
        let topic = answer.topics.first().context("Metadata answered without the topic")?;
        // UNKNOWN_TOPIC_OR_PARTITION and LEADER_NOT_AVAILABLE: what a topic goes through when it is new.
        match topic.error_code {
            3 => return Ok(Described::Missing),
            5 => return Ok(Described::NotReady),
            code => check(code, &format!("Metadata of topic {name}"))?,
        }
        let mut leaders: Vec<i32> = topic.partitions.iter().map(|partition| partition.leader_id.0).collect();
        leaders.sort_unstable();
        leaders.dedup();
        if leaders.is_empty() || leaders.contains(&-1) {
            return Ok(Described::NotReady);
        }
        let [leader] = leaders[..] else {
            bail!("topic {name} is led by {} brokers; the bench drives one", leaders.len());
        };
        let broker = answer
            .brokers
            .iter()
            .find(|broker| broker.node_id.0 == leader)
            .with_context(|| format!("Metadata names leader {leader} and not its address"))?;
        Ok(Described::Ready(Topic {
            name: name.to_string(),
            partitions: topic.partitions.len(),
            leader_address: format!("{}:{}", broker.host.as_str(), broker.port),
        }))
    }

    pub(super) fn create_topic(&mut self, name: &str, partitions: i32) -> Result<()> {
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(-1);
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(ADMIN_TIMEOUT_MS);
        let answer = self.call(CREATE_TOPICS_VERSION, &request)?;
        let result = answer.topics.first().context("CreateTopics answered without the topic")?;
        let message = result.error_message.as_deref().unwrap_or_default();
        check(result.error_code, &format!("creating topic {name}: {message}"))
    }

    /// Deletes the topic.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<()> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![topic_name(name)])
            .with_timeout_ms(ADMIN_TIMEOUT_MS);
        let answer = self.call(DELETE_TOPICS_VERSION, &request)?;
        let result = answer.responses.first().context("DeleteTopics answered without the topic")?;
        check(result.error_code, &format!("deleting topic {name}"))
    }

    /// The offset at one end of every partition, by partition number.
    pub(crate) fn offsets(&mut self, topic: &Topic, end: End) -> Result<Vec<i64>> {
        match self.offsets_or_code(topic, end)? {
            Ok(offsets) => Ok(offsets),
            Err(code) => bail!("ListOffsets of topic {}: {:?} ({code})", topic.name, code.err()),
        }
    }

    /// The same, with the first partition's error apart from everything else that can go wrong.
    pub(super) fn offsets_or_code(&mut self, topic: &Topic, end: End) -> Result<Result<Vec<i64>, i16>> {
        let partitions = (0..topic.partitions as i32)
            .map(|index| {
                ListOffsetsPartition::default()
                    .with_partition_index(index)
                    .with_current_leader_epoch(-1)
                    .with_timestamp(end as i64)
            })
            .collect();
        let asked =
            ListOffsetsTopic::default().with_name(topic_name(&topic.name)).with_partitions(partitions);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![asked]);
        let answer = self.call(LIST_OFFSETS_VERSION, &request)?;
        let mut offsets = vec![None; topic.partitions];
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            if partition.error_code != 0 {
                return Ok(Err(partition.error_code));
            }
            let index = usize::try_from(partition.partition_index).ok();
            if let Some(slot) = index.and_then(|index| offsets.get_mut(index)) {
                *slot = Some(partition.offset);
            }
        }
        let all =
            offsets.into_iter().collect::<Option<Vec<i64>>>().context("ListOffsets left out a partition")?;
        Ok(Ok(all))
    }

    /// A fresh producer id without a transactional id.
    pub(crate) fn init_producer_id(&mut self) -> Result<ProducerIdentity> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let deadline = Instant::now() + super::READY_TIMEOUT;
        let answer = loop {
            let answer = self.call(INIT_PRODUCER_ID_VERSION, &request)?;
            // A broker that has just started may have to make its internal topics first.
            let is_early = answer.error_code.err().is_some_and(|error: ResponseError| error.is_retriable());
            if !is_early || Instant::now() >= deadline {
                break answer;
            }
            std::thread::sleep(super::RETRY_AFTER);
        };
        check(answer.error_code, "InitProducerId")?;
        ensure!(answer.producer_id.0 >= 0, "InitProducerId granted {}", answer.producer_id.0);
        Ok(ProducerIdentity { producer_id: answer.producer_id.0, producer_epoch: answer.producer_epoch })
    }

    /// Record batches from `offset` on: at least the one that holds it.
    pub(crate) fn read(
        &mut self,
        topic: &Topic,
        partition: i32,
        offset: i64,
        bytes_max: i32,
    ) -> Result<Bytes> {
        let positions = [(partition, offset)];
        let request = fetch_request(&topic.name, &positions, bytes_max, bytes_max);
        let answer = self.call(FETCH_VERSION, &request)?;
        check(answer.error_code, "Fetch")?;
        let mut parts = answer.responses.into_iter().flat_map(|topic| topic.partitions);
        let part = parts.next().context("Fetch answered without the partition")?;
        check(part.error_code, &format!("Fetch of {}-{partition} at offset {offset}", topic.name))?;
        Ok(part.records.unwrap_or_default())
    }
}

/// A fetch outside any session (KIP-227), as a consumer's first one.
pub(crate) fn fetch_request(
    topic: &str,
    positions: &[(i32, i64)],
    partition_max_bytes: i32,
    max_bytes: i32,
) -> FetchRequest {
    let partitions = positions
        .iter()
        .map(|(partition, offset)| {
            FetchPartition::default()
                .with_partition(*partition)
                .with_current_leader_epoch(-1)
                .with_fetch_offset(*offset)
                .with_last_fetched_epoch(-1)
                .with_log_start_offset(-1)
                .with_partition_max_bytes(partition_max_bytes)
        })
        .collect();
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(max_bytes)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic(topic_name(topic)).with_partitions(partitions)])
}
