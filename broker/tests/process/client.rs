//! A client of raw frames: one connection, one request at a time, and whatever the broker answered.
//!
//! Deliberately absent: retries, metadata, batching. A test says what it sends.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

const CORRELATION_ID: i32 = 77;
/// Most bytes that a fetch asks for.
const FETCH_BYTES_MAX: i32 = 50 << 20;

/// A frame with its length.
pub(crate) fn framed(key: i16, version: i16, flexible: bool, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("raw")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, if flexible { 2 } else { 1 }).expect("a header");
    frame.extend_from_slice(body);
    [&(frame.len() as u32).to_be_bytes()[..], &frame[..]].concat()
}

/// One response without its length, or `None` when the connection was closed.
pub(crate) fn response(stream: &mut TcpStream) -> Option<Bytes> {
    let mut len = [0; 4];
    match stream.read_exact(&mut len) {
        Ok(()) => {}
        Err(error) => {
            use std::io::ErrorKind;
            assert!(
                !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "neither a response nor a closed connection"
            );
            return None;
        }
    }
    let mut body = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut body).expect("a whole response");
    Some(Bytes::from(body))
}

/// The offset that follows these batches.
fn offset_after(mut batches: &[u8]) -> i64 {
    let mut next = 0;
    while !batches.is_empty() {
        let base = i64::from_be_bytes(batches[..8].try_into().expect("eight bytes"));
        let length = u32::from_be_bytes(batches[8..12].try_into().expect("four bytes")) as usize;
        let last_delta = i32::from_be_bytes(batches[23..27].try_into().expect("four bytes"));
        next = base + i64::from(last_delta) + 1;
        batches = &batches[12 + length..];
    }
    next
}

fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// A connection and what is asked on it.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream }
    }

    /// Sends a request whose header is not flexible. Returns the bytes it took.
    pub(crate) fn send(&mut self, key: i16, version: i16, request: &impl Encodable) -> usize {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).expect("a request");
        let frame = framed(key, version, false, CORRELATION_ID, &body);
        self.stream.write_all(&frame).expect("written");
        frame.len()
    }

    /// The response to what was sent.
    pub(crate) fn receive<S: Decodable>(&mut self, version: i16) -> S {
        let mut response = response(&mut self.stream).expect("the connection stays open");
        assert_eq!(response.split_to(4)[..], CORRELATION_ID.to_be_bytes());
        S::decode(&mut response, version).expect("a response")
    }

    /// Sends a request and takes its response.
    pub(crate) fn ask<S: Decodable>(&mut self, key: i16, version: i16, request: &impl Encodable) -> S {
        self.send(key, version, request);
        self.receive(version)
    }

    /// The error of creating a topic.
    pub(crate) fn create_topic(&mut self, topic: &str, partitions: i32) -> i16 {
        let asked = CreatableTopic::default()
            .with_name(topic_name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![asked]).with_timeout_ms(5_000);
        let created: CreateTopicsResponse = self.ask(19, 4, &request);
        created.topics[0].error_code
    }

    /// The error of deleting a topic.
    pub(crate) fn delete_topic(&mut self, topic: &str) -> i16 {
        let request =
            DeleteTopicsRequest::default().with_topic_names(vec![topic_name(topic)]).with_timeout_ms(5_000);
        let response: DeleteTopicsResponse = self.ask(20, 3, &request);
        response.responses[0].error_code
    }

    /// Error and base offset of a batch, produced with acks=all.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, records: Vec<u8>) -> (i16, i64) {
        let partition =
            PartitionProduceData::default().with_index(partition).with_records(Some(Bytes::from(records)));
        let topic =
            TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![partition]);
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(5_000).with_topic_data(vec![topic]);
        let response: ProduceResponse = self.ask(0, 8, &request);
        let partition = &response.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }

    /// Asks for records without waiting for them. Returns the bytes that it took to ask.
    pub(crate) fn send_fetch(&mut self, topic: &str, partition: i32, offset: i64, wait_ms: i32) -> usize {
        let partition = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(FETCH_BYTES_MAX);
        let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES_MAX)
            .with_topics(vec![topic]);
        self.send(1, 11, &request)
    }

    /// What a fetch of one partition brought.
    pub(crate) fn receive_fetch(&mut self) -> PartitionData {
        let mut fetched: FetchResponse = self.receive(11);
        assert_eq!(fetched.error_code, 0);
        fetched.responses[0].partitions.remove(0)
    }

    /// What one fetch brings, which may be less than there is.
    pub(crate) fn fetch(&mut self, topic: &str, partition: i32, offset: i64, wait_ms: i32) -> PartitionData {
        self.send_fetch(topic, partition, offset, wait_ms);
        self.receive_fetch()
    }

    /// Everything from an offset up to the high watermark, and where that is.
    pub(crate) fn fetch_all(&mut self, topic: &str, partition: i32, mut offset: i64) -> (Vec<u8>, i64) {
        let mut all = Vec::new();
        loop {
            let fetched = self.fetch(topic, partition, offset, 0);
            assert_eq!(fetched.error_code, 0);
            let records = fetched.records.unwrap_or_default();
            if records.is_empty() {
                return (all, fetched.high_watermark);
            }
            offset = offset_after(&records);
            all.extend_from_slice(&records);
        }
    }

    /// The partitions of a topic, in their order.
    pub(crate) fn partitions(&mut self, topic: &str) -> Vec<MetadataResponsePartition> {
        let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        let mut response: MetadataResponse =
            self.ask(3, 7, &MetadataRequest::default().with_topics(Some(vec![asked])));
        let mut partitions = response.topics.remove(0).partitions;
        partitions.sort_by_key(|partition| partition.partition_index);
        partitions
    }
}
