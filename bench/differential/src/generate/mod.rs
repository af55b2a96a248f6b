//! Makes scripts from seeds: one generator per family of requests, values drawn from pools that matter.
//!
//! Called by `run` and `main`. Deliberately absent: what brokers answer. Scripts depend on the seed, on the tag of the run (it is
//! in topic names) and on the version ranges alone.

mod acls;
mod altered;
mod batches;
mod cluster;
mod configs;
mod consumers;
mod delete_records;
mod fetch;
mod fixtures;
mod groups;
mod inspect;
mod list_offsets;
mod malformed;
mod metadata;
mod partitions;
mod produce;
mod shapes;
mod topics;

use std::collections::BTreeMap;
use std::fmt::Debug;

use anyhow::{Context, Result};
use bytes::BytesMut;
use corelog::api::shape::Shape;
use kafka_protocol::messages::{RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::names::nominal_topic_id;
use crate::random::Random;
use crate::script::{Request, Script, Step};

/// What scripts are made for.
#[derive(Debug, Clone)]
pub struct World {
    /// Part of every topic's name: topics of two runs on the same brokers are not the same.
    pub tag: String,
    /// By API key, the versions that both brokers serve.
    pub versions: BTreeMap<i16, (i16, i16)>,
}

impl World {
    /// Every version of every API that both serve.
    pub fn all(&self) -> impl Iterator<Item = (i16, i16)> {
        self.versions.iter().flat_map(|(key, (min, max))| (*min..=*max).map(|version| (*key, version)))
    }

    /// Topics that are there for everybody to read, each with this many partitions.
    pub fn fixtures(&self) -> Vec<(String, i32)> {
        vec![(format!("{}-orders", self.tag), 3), (format!("{}-events", self.tag), 1)]
    }
}

/// A generator, and the APIs that it is about.
pub struct Family {
    /// Its name, on the command line too.
    pub name: &'static str,
    /// The APIs that it is about; none where it is about whatever is served.
    pub apis: &'static [i16],
    /// How often it is chosen beside the others.
    pub weight: usize,
    make: fn(&mut Maker<'_>),
}

/// Every generator.
pub const FAMILIES: &[Family] = &[
    Family { name: "produce", apis: &[0], weight: 6, make: produce::any },
    Family { name: "idempotence", apis: &[0], weight: 3, make: produce::idempotent },
    Family { name: "batches", apis: &[0], weight: 6, make: produce::damaged },
    Family { name: "fetch", apis: &[1], weight: 6, make: fetch::any },
    Family { name: "sessions", apis: &[1], weight: 4, make: fetch::session },
    Family { name: "list-offsets", apis: &[2], weight: 3, make: list_offsets::any },
    Family { name: "metadata", apis: &[3], weight: 3, make: metadata::any },
    Family {
        name: "groups",
        apis: &[8, 9, 10, 11, 12, 13, 14, 15, 16, 42, 47],
        weight: 8,
        make: groups::any,
    },
    Family { name: "consumers", apis: &[68, 69, 8, 9], weight: 6, make: consumers::any },
    Family { name: "api-versions", apis: &[18], weight: 1, make: cluster::api_versions },
    Family { name: "create-topics", apis: &[19], weight: 4, make: topics::create },
    Family { name: "delete-topics", apis: &[20], weight: 3, make: topics::delete },
    Family { name: "delete-records", apis: &[21], weight: 3, make: delete_records::any },
    Family { name: "init-producer-id", apis: &[22], weight: 1, make: cluster::init_producer_id },
    Family { name: "acls", apis: &[29, 30, 31], weight: 2, make: acls::any },
    Family { name: "describe-configs", apis: &[32], weight: 3, make: configs::any },
    Family { name: "altered-configs", apis: &[33, 44, 32, 74], weight: 6, make: altered::any },
    Family { name: "partitions", apis: &[37, 43, 45, 46], weight: 4, make: partitions::any },
    Family { name: "inspect", apis: &[23, 35, 61, 75], weight: 4, make: inspect::any },
    Family { name: "describe-cluster", apis: &[60], weight: 1, make: cluster::describe },
    Family { name: "quorum", apis: &[48, 50, 55, 57, 64], weight: 2, make: cluster::quorum },
    Family { name: "malformed", apis: &[], weight: 4, make: malformed::any },
    Family { name: "shapes", apis: &[], weight: 4, make: shapes::any },
];

/// The script that makes what the others read.
///
/// # Errors
/// See [`Family::script`].
pub fn fixtures(world: &World) -> Result<Script> {
    Family { name: "fixtures", apis: &[], weight: 0, make: fixtures::all }.script(world, 0, None)
}

impl Family {
    /// The script of a seed; where one API is pinned to a version, its requests have no other.
    ///
    /// # Errors
    /// A request that the protocol crate cannot encode: a fault of the generator.
    pub fn script(&self, world: &World, seed: u64, pinned: Option<(i16, i16)>) -> Result<Script> {
        let mut maker = Maker {
            random: Random::new(seed, self.name),
            world,
            pinned,
            prefix: match pinned {
                None => format!("{}-{}-{seed}", world.tag, self.name),
                Some((key, version)) => format!("{}-{}-{seed}.{key}.{version}", world.tag, self.name),
            },
            steps: Vec::new(),
            topics: 0,
            failed: None,
        };
        (self.make)(&mut maker);
        match maker.failed {
            Some(error) => Err(error.context(format!("{} seed {seed}", self.name))),
            None => Ok(Script { family: self.name, seed, pinned, steps: maker.steps }),
        }
    }
}

/// A script in the making.
pub struct Maker<'a> {
    random: Random,
    world: &'a World,
    pinned: Option<(i16, i16)>,
    prefix: String,
    steps: Vec<Step>,
    topics: usize,
    failed: Option<anyhow::Error>,
}

impl Maker<'_> {
    /// A version of this API that both brokers serve, as likely the newest as any other.
    fn version(&mut self, key: i16) -> Option<i16> {
        if let Some((_, version)) = self.pinned.filter(|(pinned, _)| *pinned == key) {
            return Some(version);
        }
        let (min, max) = *self.world.versions.get(&key)?;
        if self.random.once_in(4) {
            return Some(max);
        }
        Some(min + self.random.below((max - min + 1) as usize) as i16)
    }

    /// A topic name that nobody has used.
    fn fresh_topic(&mut self) -> String {
        self.topics += 1;
        format!("{}-{}", self.prefix, self.topics)
    }

    /// The correlation id of the next frame.
    fn correlation_id(&self) -> i32 {
        self.steps.len() as i32 + 1
    }

    /// A frame with an honest header.
    fn frame(&self, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
        let flexible = Shape::of(key).is_some_and(|shape| version >= shape.flexible && shape.flexible >= 0);
        let header = RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id())
            .with_client_id(Some(StrBytes::from_static_str("differential")));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, if flexible { 2 } else { 1 }).context("a request header")?;
        frame.extend_from_slice(body);
        Ok(frame.to_vec())
    }

    /// Encodes a request; `None` when it cannot be, which ends the run.
    fn encode(&mut self, key: i16, version: i16, request: &(impl Encodable + Debug)) -> Option<Vec<u8>> {
        let mut body = BytesMut::new();
        let encoded = request.encode(&mut body, version).and_then(|()| self.frame(key, version, &body));
        match encoded {
            Ok(frame) => Some(frame),
            Err(error) => {
                self.failed = Some(error.context(format!("key {key} version {version}: {request:?}")));
                None
            }
        }
    }

    /// Adds a request.
    fn send(&mut self, key: i16, version: i16, request: &(impl Encodable + Debug)) {
        if let Some(frame) = self.encode(key, version, request) {
            self.push(Request::new(key, version, self.correlation_id(), frame, format!("{request:?}")));
        }
    }

    /// Adds a request that gets no reply when all goes well.
    fn send_unanswered(&mut self, key: i16, version: i16, request: &(impl Encodable + Debug)) {
        if let Some(frame) = self.encode(key, version, request) {
            let mut request =
                Request::new(key, version, self.correlation_id(), frame, format!("{request:?}"));
            request.expects_reply = false;
            self.push(request);
        }
    }

    fn push(&mut self, request: Request) {
        self.steps.push(Step::Send(request));
    }

    /// A topic with so many partitions and these configurations, there when the next step runs.
    fn topic(&mut self, partitions: i32, configs: &[(&str, &str)]) -> String {
        let topic = self.fresh_topic();
        topics::create_one(self, &topic, partitions, configs);
        self.steps.push(Step::Exist(vec![topic.clone()]));
        topic
    }

    /// Deletes topics of this script, so that brokers do not collect them.
    fn clean_up(&mut self, topics: &[&str]) {
        topics::delete_all(self, topics);
        self.steps.push(Step::Gone(topics.iter().map(|topic| (*topic).to_owned()).collect()));
    }
}

/// A name on the wire.
fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name on the wire.
fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A topic's id on the wire: the nominal one.
fn topic_id(name: &str) -> uuid::Uuid {
    uuid::Uuid::from_bytes(nominal_topic_id(name))
}
