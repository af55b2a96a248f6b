//! From a frame to its API: header, version, guard, decoder; and from a response to the bytes of its frame.
//!
//! `net` calls [`Kafka`] for every frame. Deliberately absent: what any single API does.

use std::rc::Rc;
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::broker::Broker;
use super::service::{Answer, ConnectionInfo, Dispatched, Reply, Service};
use super::shape::{self, Shape, read_header};
use super::wire::{Malformed, Read, Reader};
use super::{APIS, api_versions};
use crate::metrics::CoreMetrics;
use crate::shard::budget::Charge;

/// The APIs of one core, as `net` sees them.
pub struct Kafka {
    broker: Rc<Broker>,
}

impl Kafka {
    /// Answers with what `broker` stands on.
    pub fn new(broker: Rc<Broker>) -> Self {
        Self { broker }
    }
}

/// A request whose header was read.
pub struct Request {
    /// Where it came from.
    pub connection: Rc<ConnectionInfo>,
    /// `client.id`, as it calls itself; empty for null.
    pub client_id: String,
    /// Its version; one that is served.
    pub version: i16,
    /// Everything after the header. Taken by the decoder.
    pub body: BytesMut,
    /// The frame's bytes in the memory budget; kept as long as they are.
    pub charge: Charge,
    shape: &'static Shape,
    correlation_id: i32,
}

impl Request {
    /// Decodes the body with the protocol crate, after the guard has walked it.
    ///
    /// # Errors
    /// What does not fit, for the log.
    pub fn decode<T: Decodable>(&mut self) -> Read<T> {
        shape::check(self.shape, self.version, &self.body)?;
        let mut body = self.body.split().freeze();
        // The guard knows lengths; what is left to refuse is UTF-8 and nulls.
        T::decode(&mut body, self.version).map_err(|_| Malformed {
            position: 0,
            what: "a string is not UTF-8, or a field that must not be null is",
        })
    }

    /// Whether this version has compact lengths and tagged fields.
    pub fn is_flexible(&self) -> bool {
        self.version >= self.shape.flexible
    }

    /// Starts the frame of a response: room for the length, then the response header.
    pub fn begin_response(&self) -> BytesMut {
        begin_response(self.correlation_id, self.is_flexible())
    }

    /// The reply with this response, encoded by the protocol crate.
    pub fn reply(&self, response: &impl Encodable) -> Reply {
        self.finish(self.begin_response(), response)
    }

    /// [`Request::reply`] for ApiVersions, whose response header never has tagged fields.
    pub fn reply_with_header_v0(&self, response: &impl Encodable) -> Reply {
        self.finish(begin_response(self.correlation_id, false), response)
    }

    fn finish(&self, mut frame: BytesMut, response: &impl Encodable) -> Reply {
        match response.encode(&mut frame, self.version) {
            Ok(()) => Reply::bytes(end_response(frame, 0)),
            Err(error) => {
                // A response that its version cannot carry is a fault of ours; the client must not wait for it.
                tracing::error!(api = self.shape.name, version = self.version, %error, "response cannot be encoded");
                Reply::close()
            }
        }
    }
}

/// Starts the frame of a response: room for the length, then header v0 or (with tagged fields) v1.
pub fn begin_response(correlation_id: i32, flexible: bool) -> BytesMut {
    let mut frame = BytesMut::with_capacity(256);
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    if flexible {
        frame.put_u8(0);
    }
    frame
}

/// Writes the length in front, which counts `following` bytes that are sent after this piece.
pub fn end_response(mut frame: BytesMut, following: usize) -> Bytes {
    let len = (frame.len() + following).saturating_sub(4);
    // A reply is bounded by fetch.max.bytes and the partitions of a request: far below 2 GiB.
    if let Some(prefix) = frame.first_chunk_mut::<4>() {
        *prefix = (len as u32).to_be_bytes();
    }
    frame.freeze()
}

impl Service for Kafka {
    fn dispatch(&self, connection: &Rc<ConnectionInfo>, frame: BytesMut, charge: Charge) -> Dispatched {
        match dispatch(&self.broker, connection, frame, charge) {
            Ok(dispatched) => dispatched,
            Err(refused) => {
                tracing::warn!(peer = %connection.peer, %refused, "closing the connection");
                Dispatched::barrier(async { Reply::close() })
            }
        }
    }
}

/// Why a frame gets no reply.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("malformed request header: {0}")]
    Header(Malformed),
    #[error("API key {key} is unknown or not served (version {version})")]
    UnknownKey { key: i16, version: i16 },
    #[error("{name} version {version} is not served; {min} to {max} are")]
    UnknownVersion { name: &'static str, version: i16, min: i16, max: i16 },
    #[error("{name} version {version}: {malformed}")]
    Body { name: &'static str, version: i16, malformed: Malformed },
}

fn dispatch(
    broker: &Rc<Broker>,
    connection: &Rc<ConnectionInfo>,
    mut frame: BytesMut,
    charge: Charge,
) -> Result<Dispatched, Refused> {
    let mut reader = Reader::new(&frame);
    let header = read_header(&mut reader, |key, version| {
        let shape = Shape::of(key)?;
        (shape.min..=shape.max).contains(&version).then_some(version >= shape.flexible)
    })
    .map_err(Refused::Header)?;
    let (version, correlation_id) = (header.version, header.correlation_id);
    let client_id = header.client_id.unwrap_or_default().to_owned();
    let unknown = Refused::UnknownKey { key: header.key, version };
    let (Some(api), Some(shape)) = (APIS.iter().find(|api| api.key == header.key), Shape::of(header.key))
    else {
        return Err(unknown);
    };
    let name = shape.name;
    if !(shape.min..=shape.max).contains(&version) {
        if api.key == api_versions::KEY {
            return Ok(Dispatched::barrier(async move { api_versions::unsupported(correlation_id) }));
        }
        return Err(Refused::UnknownVersion { name, version, min: shape.min, max: shape.max });
    }
    let body_at = reader.position();
    frame.advance(body_at);
    let request = Request {
        connection: Rc::clone(connection),
        client_id,
        version,
        body: frame,
        charge,
        shape,
        correlation_id,
    };
    let request_bytes = body_at + request.body.len();
    let dispatched =
        (api.handle)(broker, request).map_err(|malformed| Refused::Body { name, version, malformed })?;
    Ok(counted(dispatched, broker.metrics.clone(), api.key, request_bytes))
}

/// The same request, counted when it is answered.
#[allow(clippy::async_yields_async, reason = "the two halves of a request: dispatched, then answered")]
fn counted(dispatched: Dispatched, metrics: Rc<CoreMetrics>, key: i16, request_bytes: usize) -> Dispatched {
    let complete = Instant::now();
    let start = Box::pin(async move {
        let answer = dispatched.start.await;
        let counted: Answer = Box::pin(async move {
            let reply = answer.await;
            metrics.request(key, request_bytes, reply.len(), complete.elapsed().as_micros() as u64);
            reply
        });
        counted
    });
    Dispatched { barrier: dispatched.barrier, start }
}
