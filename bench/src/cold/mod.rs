//! The conversation before and after a measurement: topics, offsets, producer ids, a batch read back.
//!
//! A blocking client over one connection with messages of the `kafka-protocol` crate; called by `produce` and `fetch`
//! outside their measured windows. Deliberately absent: several brokers (the first form of the bench drives one).

mod requests;

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

pub(crate) use requests::{End, FETCH_VERSION, ProducerIdentity, check, fetch_request};

/// What the generator calls itself in every request header.
pub(crate) const CLIENT_ID: &str = "corelog-bench";

/// Longest a single answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest a new topic, or the coordinator of producer ids, may take until it can be used.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait before something that is not ready yet is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Largest answer that is accepted, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A topic as the measured path needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: String,
    /// Partitions, numbered from 0.
    pub(crate) partitions: usize,
    /// `host:port` of the one broker that leads them all.
    pub(crate) leader_address: String,
}

/// One blocking connection to the broker.
pub(crate) struct Cold {
    stream: TcpStream,
    correlation: i32,
}

impl Cold {
    /// Connects to the first bootstrap address that answers.
    ///
    /// # Errors
    /// None of them accepts a connection.
    pub(crate) fn connect(bootstrap: &str) -> Result<Self> {
        let mut last = None;
        for address in bootstrap.split(',') {
            match connect(address) {
                Ok(stream) => return Ok(Self { stream, correlation: 0 }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("--bootstrap is empty; give host:port")))
    }

    /// Fails unless the broker serves `version` of the request type.
    pub(crate) fn require<R: Request>(&mut self, what: &str, version: i16) -> Result<()> {
        let offered = self.api_versions()?;
        let Some((_, min, max)) = offered.iter().copied().find(|(key, ..)| *key == R::KEY) else {
            bail!("the broker does not serve {what} at all");
        };
        ensure!(
            (min..=max).contains(&version),
            "the broker serves {what} versions {min} to {max}; the bench speaks {version}"
        );
        Ok(())
    }

    /// Fails unless the broker answers.
    pub(crate) fn answers(&mut self) -> Result<()> {
        self.api_versions().map(drop)
    }

    /// How many partitions the topic has, once the broker tells where each of them ends.
    pub(crate) fn usable_partitions(&mut self, name: &str) -> Result<Option<usize>> {
        let requests::Described::Ready(topic) = self.describe(name)? else { return Ok(None) };
        Ok(self.offsets_or_code(&topic, End::Latest)?.is_ok().then_some(topic.partitions))
    }

    /// The topic, created with `partitions` partitions when it is missing and a number is given.
    ///
    /// # Errors
    /// It is missing and may not be created, or its leaders are not all on one broker.
    pub(crate) fn topic(&mut self, name: &str, create_with_partitions: Option<i32>) -> Result<Topic> {
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut created = false;
        loop {
            match (self.describe(name)?, create_with_partitions) {
                (requests::Described::Ready(topic), _) => {
                    // A broker may know that it leads a new partition a moment after Metadata says so.
                    match self.offsets_or_code(&topic, End::Latest)? {
                        Ok(_) => return Ok(topic),
                        Err(code) if code.err().is_some_and(|error: ResponseError| error.is_retriable()) => {}
                        Err(code) => {
                            requests::check(code, &format!("asking for the offsets of topic {name}"))?
                        }
                    }
                }
                (requests::Described::Missing, Some(partitions)) if !created => {
                    self.create_topic(name, partitions)?;
                    created = true;
                }
                (requests::Described::Missing, None) => bail!("topic {name} does not exist"),
                // Created, but its leaders are not known yet.
                (requests::Described::Missing | requests::Described::NotReady, _) => {}
            }
            ensure!(
                Instant::now() < deadline,
                "the partitions of topic {name} cannot be used after {} s",
                READY_TIMEOUT.as_secs()
            );
            std::thread::sleep(RETRY_AFTER);
        }
    }

    /// Sends one request and waits for its answer.
    fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.correlation += 1;
        let frame = encode(version, self.correlation, request)?;
        self.stream.write_all(&frame).context("sending a request")?;
        let mut body =
            self.read_frame().with_context(|| format!("waiting for the answer to API key {}", R::KEY))?;
        let header = ResponseHeader::decode(&mut body, R::Response::header_version(version))?;
        ensure!(
            header.correlation_id == self.correlation,
            "the broker answered request {} where {} was asked",
            header.correlation_id,
            self.correlation
        );
        R::Response::decode(&mut body, version)
    }

    fn read_frame(&mut self) -> Result<Bytes> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let len = usize::try_from(i32::from_be_bytes(len)).unwrap_or(usize::MAX);
        ensure!(len <= ANSWER_BYTES_MAX, "an answer of {len} bytes exceeds the bench's {ANSWER_BYTES_MAX}");
        let mut body = BytesMut::zeroed(len);
        self.stream.read_exact(&mut body)?;
        Ok(body.freeze())
    }
}

/// A connection with the options of the measured path.
pub(crate) fn connect(address: &str) -> Result<TcpStream> {
    let resolved = address
        .trim()
        .to_socket_addrs()
        .with_context(|| format!("{address} is no host:port"))?
        .next()
        .with_context(|| format!("{address} has no address"))?;
    let stream = TcpStream::connect_timeout(&resolved, ANSWER_TIMEOUT)
        .with_context(|| format!("no broker accepts connections at {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// A whole request frame, length included.
pub(crate) fn encode<R: Request>(version: i16, correlation: i32, request: &R) -> Result<BytesMut> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
    let mut frame = BytesMut::from(&[0; 4][..]);
    header.encode(&mut frame, R::header_version(version))?;
    request.encode(&mut frame, version)?;
    let len = i32::try_from(frame.len() - 4).context("a request above 2 GiB")?;
    frame[..4].copy_from_slice(&len.to_be_bytes());
    Ok(frame)
}
