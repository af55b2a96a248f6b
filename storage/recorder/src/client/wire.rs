//! One connection to a broker: requests out, replies in, in order. Used by `load` and `read`.
//! Deliberately absent: version negotiation; the versions asked for are Kafka's of many years, named by the callers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, ListOffsetsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

use super::{PARTITIONS, topic_name};

/// Bytes of the largest reply that is read.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// Longest silence of a broker that is taken for life.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// ListOffsets version asked for: the first with leader epochs, the same since Kafka 2.1 but for flexible fields.
const LIST_OFFSETS_VERSION: i16 = 5;

/// Asks ListOffsets for the offset after the last record.
pub(super) const LATEST: i64 = -1;

/// Asks ListOffsets for the offset of the first record.
pub(super) const EARLIEST: i64 = -2;

/// A connection whose replies are read in the order of its requests.
pub(super) struct Connection {
    stream: TcpStream,
    correlation_id: i32,
    answered_id: i32,
}

impl Connection {
    /// Connects; the broker must be listening.
    pub(super) fn open(broker: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(broker).with_context(|| format!("cannot connect to {broker}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        Ok(Self { stream, correlation_id: 0, answered_id: 0 })
    }

    /// Sends a request without waiting for its reply.
    pub(super) fn send<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<()> {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("corelog-recorder")));
        let key = api_key::<R>()?;
        let mut frame = BytesMut::zeroed(4);
        header.encode(&mut frame, key.request_header_version(version))?;
        request.encode(&mut frame, version)?;
        let length = i32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(self.stream.write_all(&frame)?)
    }

    /// Reads the reply to the oldest request that has none yet.
    pub(super) fn receive<R: Request>(&mut self, version: i16) -> anyhow::Result<R::Response> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).context("a reply of negative length")?;
        ensure!(length <= REPLY_BYTES_MAX, "a reply of {length} bytes, the limit is {REPLY_BYTES_MAX}");
        let mut frame = BytesMut::zeroed(length);
        self.stream.read_exact(&mut frame)?;
        let mut frame: Bytes = frame.freeze();
        let header = ResponseHeader::decode(&mut frame, api_key::<R>()?.response_header_version(version))?;
        self.answered_id += 1;
        ensure!(
            header.correlation_id == self.answered_id,
            "the reply to request {} came where that to {} was due",
            header.correlation_id,
            self.answered_id
        );
        R::Response::decode(&mut frame, version)
    }

    /// Sends a request and waits for its reply.
    pub(super) fn call<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        self.send(request, version)?;
        self.receive::<R>(version)
    }

    /// The offsets of all partitions for one of the special timestamps, or the Kafka error code of one that has none.
    pub(super) fn offsets(&mut self, topic: &str, special: i64) -> anyhow::Result<Result<Vec<i64>, i16>> {
        let partitions = (0..PARTITIONS)
            .map(|partition| {
                ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(special)
            })
            .collect();
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![
            ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(partitions),
        ]);
        let reply = self.call(&request, LIST_OFFSETS_VERSION)?;
        let mut offsets = vec![None; usize::try_from(PARTITIONS)?];
        for partition in reply.topics.iter().flat_map(|topic| &topic.partitions) {
            if partition.error_code != 0 {
                return Ok(Err(partition.error_code));
            }
            if let Some(place) =
                usize::try_from(partition.partition_index).ok().and_then(|i| offsets.get_mut(i))
            {
                *place = Some(partition.offset);
            }
        }
        let offsets: Option<Vec<i64>> = offsets.into_iter().collect();
        Ok(Ok(offsets.context("ListOffsets left partitions out")?))
    }

    /// Waits until every partition of the topic has a leader that answers, and returns its offsets.
    pub(super) fn await_offsets(&mut self, topic: &str, special: i64) -> anyhow::Result<Vec<i64>> {
        let deadline = Instant::now() + SILENCE_MAX;
        loop {
            match self.offsets(topic, special)? {
                Ok(offsets) => return Ok(offsets),
                Err(code) if Instant::now() > deadline => {
                    bail!("topic {topic} still answers error {code} after {} s", SILENCE_MAX.as_secs())
                }
                // Polled: the error is all that a broker says until its leaders are there.
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

fn api_key<R: Request>() -> anyhow::Result<ApiKey> {
    ApiKey::try_from(R::KEY).map_err(|()| anyhow::anyhow!("unknown API key {}", R::KEY))
}
