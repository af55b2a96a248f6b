//! A connection beside the scripts': asks what a broker serves, and waits until it knows a topic, or no longer.
//!
//! Called by `run`. Kafka answers CreateTopics and DeleteTopics when the controller has decided, and its broker hears of it
//! later; scripts must not depend on how much later. Deliberately absent: comparing.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

/// How long a topic may take to come or go.
const TOPIC_PATIENCE: Duration = Duration::from_secs(30);
/// How long a deadline that is over may take to be acted upon.
const RESOLVED_PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks at what nobody tells of.
const LOOK_INTERVAL: Duration = Duration::from_millis(3);
/// Topics in one request to delete them.
const DELETED_AT_ONCE_MAX: usize = 500;
/// Coordinator loading, not available, elsewhere.
const LOADING: &[i16] = &[14, 15, 16];
/// A topic that comes and goes.
const MARKER: &str = "differential-marker";
const OFFSETS_TOPIC: &str = "__consumer_offsets";
const NO_ERROR: i16 = 0;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;

/// A connection of its own to a broker.
#[derive(Debug)]
pub struct Control {
    stream: TcpStream,
}

impl Control {
    /// Connects.
    ///
    /// # Errors
    /// No broker there.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("nobody listens at {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TOPIC_PATIENCE))?;
        Ok(Self { stream })
    }

    fn ask<Q: Encodable + HeaderVersion, S: Decodable + HeaderVersion>(
        &mut self,
        key: i16,
        version: i16,
        request: &Q,
    ) -> Result<S> {
        let mut frame = BytesMut::new();
        let header = RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_client_id(Some(StrBytes::from_static_str("control")));
        header.encode(&mut frame, Q::header_version(version))?;
        request.encode(&mut frame, version)?;
        self.stream.write_all(&(frame.len() as u32).to_be_bytes())?;
        self.stream.write_all(&frame)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut reply = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut reply)?;
        let mut reply = Bytes::from(reply);
        ResponseHeader::decode(&mut reply, S::header_version(version))?;
        S::decode(&mut reply, version)
    }

    /// The version range of every API that is advertised.
    ///
    /// # Errors
    /// No readable answer.
    pub fn versions(&mut self) -> Result<BTreeMap<i16, (i16, i16)>> {
        let response: ApiVersionsResponse = self.ask(18, 0, &ApiVersionsRequest::default())?;
        let ranges = response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        Ok(ranges.collect())
    }

    fn metadata(&mut self, topics: &[String]) -> Result<MetadataResponse> {
        let asked = topics.iter().map(|topic| {
            MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(topic.clone()))))
        });
        let request = MetadataRequest::default()
            .with_topics(Some(asked.collect()))
            .with_allow_auto_topic_creation(false);
        self.ask(3, 12, &request)
    }

    /// Waits until every partition of these topics is served, and returns the topics' ids.
    ///
    /// # Errors
    /// A topic that does not come.
    pub fn wait_for(&mut self, topics: &[String]) -> Result<Vec<(String, [u8; 16])>> {
        let deadline = Instant::now() + TOPIC_PATIENCE;
        loop {
            let response = self.metadata(topics)?;
            let there = response.topics.len() == topics.len()
                && response.topics.iter().all(|topic| {
                    topic.error_code == NO_ERROR
                        && topic.partitions.iter().all(|partition| partition.error_code == NO_ERROR)
                });
            if there && self.all_lead(&response)? {
                let named = response.topics.iter().filter_map(|topic| {
                    Some((topic.name.as_ref()?.to_string(), topic.topic_id.into_bytes()))
                });
                return Ok(named.collect());
            }
            ensure!(Instant::now() < deadline, "the topics {topics:?} do not come: {response:?}");
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Whether every partition answers as its leader does.
    fn all_lead(&mut self, metadata: &MetadataResponse) -> Result<bool> {
        let topics = metadata.topics.iter().filter_map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                ListOffsetsPartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_timestamp(-1)
            });
            Some(
                ListOffsetsTopic::default()
                    .with_name(topic.name.clone()?)
                    .with_partitions(partitions.collect()),
            )
        });
        let request =
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics.collect());
        let response: ListOffsetsResponse = self.ask(2, 6, &request)?;
        let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.all(|partition| partition.error_code == NO_ERROR))
    }

    /// Waits until the broker coordinates a group: the first question makes it create its topic of offsets.
    ///
    /// # Errors
    /// A coordinator that does not come.
    pub fn wait_for_coordinator(&mut self, group: &str) -> Result<()> {
        let deadline = Instant::now() + TOPIC_PATIENCE;
        loop {
            let request = FindCoordinatorRequest::default().with_key(StrBytes::from_string(group.to_owned()));
            let found: FindCoordinatorResponse = self.ask(10, 3, &request)?;
            let heartbeat = HeartbeatRequest::default()
                .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
                .with_member_id(StrBytes::from_static_str("nobody"));
            let answered: HeartbeatResponse = self.ask(12, 4, &heartbeat)?;
            if found.error_code == NO_ERROR && !LOADING.contains(&answered.error_code) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{group} has no coordinator: {found:?}, {answered:?}");
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until a classic group is not between two generations. Where a member's longer timeout keeps it there, nothing is about to
    /// happen, and the wait ends too.
    ///
    /// # Errors
    /// No readable answer.
    pub fn wait_until_resolved(&mut self, group: &str) -> Result<()> {
        let deadline = Instant::now() + RESOLVED_PATIENCE;
        let group = GroupId(StrBytes::from_string(group.to_owned()));
        let request = DescribeGroupsRequest::default().with_groups(vec![group]);
        loop {
            let response: DescribeGroupsResponse = self.ask(15, 5, &request)?;
            let between = response.groups.iter().any(|group| group.group_state.ends_with("Rebalance"));
            if !between || Instant::now() >= deadline {
                return Ok(());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until the broker has heard of all that was decided so far: decisions reach it in their order, so what it does with a
    /// topic that comes and goes it has done with everything before.
    ///
    /// # Errors
    /// A topic that does not come or does not go.
    pub fn settle(&mut self) -> Result<()> {
        let marker = TopicName(StrBytes::from_static_str(MARKER));
        let topic = CreatableTopic::default()
            .with_name(marker.clone())
            .with_num_partitions(1)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(15_000);
        let _told_by_the_wait: CreateTopicsResponse = self.ask(19, 5, &request)?;
        self.wait_for(&[MARKER.to_owned()])?;
        let request = DeleteTopicsRequest::default().with_topic_names(vec![marker]).with_timeout_ms(15_000);
        let _told_by_the_wait: DeleteTopicsResponse = self.ask(20, 5, &request)?;
        self.wait_until_gone(&[MARKER.to_owned()])
    }

    /// Waits until the broker has producer ids to give, and coordinates groups; returns the id of its topic of offsets.
    ///
    /// # Errors
    /// A broker that does not get there.
    pub fn wait_until_ready(&mut self) -> Result<[u8; 16]> {
        self.wait_for_coordinator("differential")?;
        let deadline = Instant::now() + TOPIC_PATIENCE;
        loop {
            let response: InitProducerIdResponse =
                self.ask(22, 4, &InitProducerIdRequest::default().with_transactional_id(None))?;
            if response.error_code == NO_ERROR {
                break;
            }
            ensure!(Instant::now() < deadline, "no producer ids come: {response:?}");
            std::thread::sleep(LOOK_INTERVAL);
        }
        let found = self.wait_for(&[OFFSETS_TOPIC.to_owned()])?;
        found.first().map(|(_, id)| *id).with_context(|| format!("{OFFSETS_TOPIC} has no id"))
    }

    /// Deletes every topic of clients that is there, so that a run begins with the same topics on both brokers.
    ///
    /// # Errors
    /// A topic that stays.
    pub fn clear(&mut self) -> Result<()> {
        let response: MetadataResponse = self.ask(3, 12, &MetadataRequest::default().with_topics(None))?;
        let topics: Vec<TopicName> = response
            .topics
            .into_iter()
            .filter(|topic| !topic.is_internal)
            .filter_map(|topic| topic.name)
            .collect();
        for topics in topics.chunks(DELETED_AT_ONCE_MAX) {
            let request =
                DeleteTopicsRequest::default().with_topic_names(topics.to_vec()).with_timeout_ms(15_000);
            let _told_by_the_wait: DeleteTopicsResponse = self.ask(20, 5, &request)?;
            let names: Vec<String> = topics.iter().map(|topic| topic.to_string()).collect();
            self.wait_until_gone(&names)?;
        }
        Ok(())
    }

    /// Waits until these topics are unknown.
    ///
    /// # Errors
    /// A topic that stays.
    pub fn wait_until_gone(&mut self, topics: &[String]) -> Result<()> {
        let deadline = Instant::now() + TOPIC_PATIENCE;
        loop {
            let response = self.metadata(topics)?;
            let gone = |code| matches!(code, UNKNOWN_TOPIC_OR_PARTITION | INVALID_TOPIC);
            if response.topics.iter().all(|topic| gone(topic.error_code)) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("the topics {topics:?} do not go: {response:?}");
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}
