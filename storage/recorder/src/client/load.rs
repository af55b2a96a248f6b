//! The producer under which the power is cut: several connections, many requests in flight, batches of all sizes. Each
//! record and each acknowledgement is written to the recorded history at once. Run by `main`.
//! Deliberately absent: sending anything a second time; a record without an answer stays open.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{CreateTopicsRequest, ProduceRequest};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::wire::{Connection, LATEST};
use super::{PARTITIONS, digest, topic_name};
use crate::history::{Event, Recorded};

/// Connections that produce at the same time.
const WRITERS: u32 = 4;

/// Produce requests in flight on one connection.
const IN_FLIGHT: usize = 4;

/// Records of a batch at most.
const BATCH_RECORDS_MAX: i32 = 20;

/// Bytes of a value: usually up to the first, and one batch in `LARGE_SHARE` has values up to the second.
const VALUE_BYTES_MAX: [usize; 2] = [1500, 40_000];
const LARGE_SHARE: u32 = 50;

/// Produce version asked for: the first with flexible fields.
const PRODUCE_VERSION: i16 = 9;

/// CreateTopics version asked for: the first with flexible fields.
const CREATE_TOPICS_VERSION: i16 = 5;

/// Kafka's TOPIC_ALREADY_EXISTS.
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// How long and how much is produced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub(crate) broker: SocketAddr,
    pub(crate) topic: &'a str,
    /// Which life of the broker this is, from 0: each has writers of its own in one history.
    pub(crate) life: u16,
    /// Produces for so long.
    pub(crate) seconds: u64,
    /// Produces so many bytes of values at most, over all writers.
    pub(crate) bytes_max: u64,
}

/// Produces until the time is over, the bytes are sent or the broker goes away. Returns the records acknowledged.
pub(crate) fn run(settings: Settings<'_>, history: &Path) -> anyhow::Result<u64> {
    let history = Recorded::open(history)?;
    create_topic(settings)?;
    history.append(&[Event::Topic { name: settings.topic }])?;
    let deadline = Instant::now() + Duration::from_secs(settings.seconds);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|index| {
                let history = &history;
                scope.spawn(move || Writer::open(settings, index, history)?.run(deadline))
            })
            .collect();
        let mut acknowledged = 0;
        for writer in writers {
            acknowledged += writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
        }
        Ok(acknowledged)
    })
}

fn create_topic(settings: Settings<'_>) -> anyhow::Result<()> {
    let mut connection = Connection::open(settings.broker)?;
    let topic = CreatableTopic::default()
        .with_name(topic_name(settings.topic))
        .with_num_partitions(PARTITIONS)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    for topic in connection.call(&request, CREATE_TOPICS_VERSION)?.topics {
        let created = topic.error_code == 0 || topic.error_code == TOPIC_ALREADY_EXISTS;
        ensure!(created, "cannot create topic {}: error {}", settings.topic, topic.error_code);
    }
    connection.await_offsets(settings.topic, LATEST)?;
    Ok(())
}

/// A batch that waits for its answer.
struct Sent {
    partition: i32,
    first_sequence: u64,
    records: u64,
}

struct Writer<'a> {
    settings: Settings<'a>,
    history: &'a Recorded,
    connection: Connection,
    random: StdRng,
    number: u32,
    sequence: u64,
    bytes: u64,
    in_flight: VecDeque<Sent>,
}

impl<'a> Writer<'a> {
    fn open(settings: Settings<'a>, index: u32, history: &'a Recorded) -> anyhow::Result<Self> {
        let number = u32::from(settings.life) * WRITERS + index;
        Ok(Self {
            settings,
            history,
            connection: Connection::open(settings.broker)?,
            random: StdRng::seed_from_u64(u64::from(number)),
            number,
            sequence: 0,
            bytes: 0,
            in_flight: VecDeque::with_capacity(IN_FLIGHT),
        })
    }

    fn run(mut self, deadline: Instant) -> anyhow::Result<u64> {
        let mut acknowledged = 0;
        loop {
            let more = Instant::now() < deadline && self.bytes < self.settings.bytes_max / u64::from(WRITERS);
            let step = if more && self.in_flight.len() < IN_FLIGHT {
                self.send().map(|()| 0)
            } else if self.in_flight.is_empty() {
                return Ok(acknowledged);
            } else {
                self.receive()
            };
            match step {
                Ok(records) => acknowledged += records,
                // The broker was killed, as it is meant to be. What is in flight stays open.
                Err(error) if gone(&error) => return Ok(acknowledged),
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let partition = self.random.random_range(0..PARTITIONS);
        let large = self.random.random_ratio(1, LARGE_SHARE);
        let count = self.random.random_range(1..=BATCH_RECORDS_MAX);
        let timestamp = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let records: Vec<Record> = (0..count)
            .map(|index| {
                let length = self.random.random_range(0..=VALUE_BYTES_MAX[usize::from(large)]);
                let mut value = vec![0; length];
                self.random.fill_bytes(&mut value);
                self.bytes += length as u64;
                let key = format!("{}-{}", self.number, self.sequence + u64::from(index.cast_unsigned()));
                record(index, timestamp, key, value)
            })
            .collect();
        let invoked: Vec<_> = (self.sequence..)
            .zip(&records)
            .map(|(sequence, record)| Event::Invoked {
                writer: self.number,
                sequence,
                topic: self.settings.life,
                partition: partition.cast_unsigned(),
                digest: digest(record),
            })
            .collect();
        self.history.append(&invoked)?;
        let sent =
            Sent { partition, first_sequence: self.sequence, records: u64::from(count.cast_unsigned()) };
        self.sequence += sent.records;
        self.in_flight.push_back(sent);
        let batch = encode(&records)?;
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(topic_name(self.settings.topic))
            .with_partition_data(vec![data]);
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
        self.connection.send(&request, PRODUCE_VERSION)
    }

    /// Reads one answer and writes down what it acknowledges.
    fn receive(&mut self) -> anyhow::Result<u64> {
        let reply = self.connection.receive::<ProduceRequest>(PRODUCE_VERSION)?;
        let sent = self.in_flight.pop_front().context("an answer without a request")?;
        let answer = reply
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .find(|answer| answer.index == sent.partition)
            .with_context(|| format!("the answer leaves partition {} out", sent.partition))?;
        if answer.error_code != 0 {
            bail!("partition {} refused a batch with error {}", sent.partition, answer.error_code);
        }
        let acknowledged: Vec<_> = (0..sent.records)
            .zip(answer.base_offset..)
            .map(|(index, offset)| Event::Acknowledged {
                writer: self.number,
                sequence: sent.first_sequence + index,
                topic: self.settings.life,
                partition: sent.partition.cast_unsigned(),
                offset,
            })
            .collect();
        self.history.append(&acknowledged)?;
        Ok(sent.records)
    }
}

/// One batch of all the records.
fn encode(records: &[Record]) -> anyhow::Result<Bytes> {
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut batch, records, &options)?;
    Ok(batch.freeze())
}

/// The record at a position of a batch, without a producer id.
fn record(index: i32, timestamp: i64, key: String, value: Vec<u8>) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        // Position in the batch; the broker gives the real one.
        offset: i64::from(index),
        // The encoder puts records into one batch only while their sequences go up with their positions.
        sequence: NO_SEQUENCE.wrapping_add(index),
        timestamp,
        key: Some(Bytes::from(key)),
        value: Some(Bytes::from(value)),
        headers: Default::default(),
    }
}

/// Whether the connection ended, as it does when its broker is killed.
fn gone(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof))
}
