//! Makes scripts from seeds: one generator per family of requests, values drawn from pools that matter.
//!
//! Called by `run` and `main`. Deliberately absent: what brokers answer. Scripts depend on the seed, on the tag of the run (it is
//! in topic names) and on the version ranges alone.

mod batches;
mod cluster;
mod configs;
mod fetch;
mod fixtures;
mod list_offsets;
mod malformed;
mod metadata;
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
    /// Whether requests made from shapes go to every API that both serve, or only to those whose differences were gone through.
    pub every_api: bool,
}

/// APIs whose random requests are answered as Kafka answers them, but for what is listed.
const GONE_THROUGH: &[i16] = &[2, 3, 18, 32, 60];
/// The same for the APIs that families are about.
const FAMILIES_GONE_THROUGH: &[i16] = &[0, 1, 2, 3, 18, 19, 20, 22, 32, 60];

impl World {
    /// Whether both brokers serve what a family is about, and its differences were gone through.
    pub fn has(&self, family: &Family) -> bool {
        let served = family.api < 0 || self.versions.contains_key(&family.api);
        served && (family.api < 0 || self.every_api || FAMILIES_GONE_THROUGH.contains(&family.api))
    }

    /// The APIs that requests may be made for from their shapes alone.
    fn shaped(&self) -> Vec<i16> {
        let keys = self.versions.keys().copied();
        keys.filter(|key| self.every_api || GONE_THROUGH.contains(key)).collect()
    }

    /// Topics that are there for everybody to read, each with this many partitions.
    pub fn fixtures(&self) -> Vec<(String, i32)> {
        vec![(format!("{}-orders", self.tag), 3), (format!("{}-events", self.tag), 1)]
    }
}

/// A generator, and the APIs that it needs.
pub struct Family {
    /// Its name, on the command line too.
    pub name: &'static str,
    /// The API that it is about.
    pub api: i16,
    /// How often it is chosen beside the others.
    pub weight: usize,
    make: fn(&mut Maker<'_>),
}

/// Every generator.
pub const FAMILIES: &[Family] = &[
    Family { name: "produce", api: 0, weight: 6, make: produce::any },
    Family { name: "idempotence", api: 0, weight: 3, make: produce::idempotent },
    Family { name: "batches", api: 0, weight: 6, make: produce::damaged },
    Family { name: "fetch", api: 1, weight: 6, make: fetch::any },
    Family { name: "list-offsets", api: 2, weight: 3, make: list_offsets::any },
    Family { name: "metadata", api: 3, weight: 3, make: metadata::any },
    Family { name: "api-versions", api: 18, weight: 1, make: cluster::api_versions },
    Family { name: "create-topics", api: 19, weight: 4, make: topics::create },
    Family { name: "delete-topics", api: 20, weight: 3, make: topics::delete },
    Family { name: "init-producer-id", api: 22, weight: 1, make: cluster::init_producer_id },
    Family { name: "describe-configs", api: 32, weight: 3, make: configs::any },
    Family { name: "describe-cluster", api: 60, weight: 1, make: cluster::describe },
    Family { name: "malformed", api: -1, weight: 4, make: malformed::any },
    Family { name: "shapes", api: -1, weight: 4, make: shapes::any },
];

/// The script that makes what the others read.
///
/// # Errors
/// See [`Family::script`].
pub fn fixtures(world: &World) -> Result<Script> {
    Family { name: "fixtures", api: 3, weight: 0, make: fixtures::all }.script(world, 0)
}

impl Family {
    /// The script of a seed.
    ///
    /// # Errors
    /// A request that the protocol crate cannot encode: a fault of the generator.
    pub fn script(&self, world: &World, seed: u64) -> Result<Script> {
        let mut maker = Maker {
            random: Random::new(seed, self.name),
            world,
            prefix: format!("{}-{}-{seed}", world.tag, self.name),
            steps: Vec::new(),
            topics: 0,
            failed: None,
        };
        (self.make)(&mut maker);
        match maker.failed {
            Some(error) => Err(error.context(format!("{} seed {seed}", self.name))),
            None => Ok(Script { family: self.name, seed, steps: maker.steps }),
        }
    }
}

/// A script in the making.
pub struct Maker<'a> {
    random: Random,
    world: &'a World,
    prefix: String,
    steps: Vec<Step>,
    topics: usize,
    failed: Option<anyhow::Error>,
}

impl Maker<'_> {
    /// A version of this API that both brokers serve, as likely the newest as any other.
    fn version(&mut self, key: i16) -> Option<i16> {
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
