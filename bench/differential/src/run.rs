//! Runs scripts on both brokers, step by step, and keeps what differs.
//!
//! Called by `main` and the self-test. Both are sent a frame before either is listened to. Deliberately absent: judging
//! (`allowed`) and counting (`report`).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader};
use kafka_protocol::protocol::Encodable;
use uuid::Uuid;

use crate::allowed::Allowed;
use crate::compare::{Difference, differences};
use crate::control::Control;
use crate::decode;
use crate::names::{
    NOMINAL_CONSUMER_START, NOMINAL_SESSION_ID, NOMINAL_UUID_START, Names, nominal_consumer, nominal_member,
    nominal_topic_id,
};
use crate::peer::{Outcome, Peer};
use crate::script::{Request, Script, Step};
use crate::tree::Tree;

const FETCH: i16 = 1;
const JOIN_GROUP: i16 = 11;
const CREATE_TOPICS: i16 = 19;
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
/// Characters of a uuid as members' names end with.
const UUID_CHARS: usize = 36;
/// Characters of a uuid in base64.
const BASE64_UUID_CHARS: usize = 22;

/// What a request brought that is not equal.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The script.
    pub family: &'static str,
    /// Its seed.
    pub seed: u64,
    /// The API that it had in one version alone.
    pub pinned: Option<(i16, i16)>,
    /// Which of its steps, from 1.
    pub step: usize,
    /// API key.
    pub key: i16,
    /// Its version.
    pub version: i16,
    /// What was sent.
    pub label: String,
    /// Where the replies differ.
    pub differences: Vec<Difference>,
    /// Kafka's reply.
    pub kafka: String,
    /// Corelog's.
    pub corelog: String,
}

/// How a request ended at both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// With a reply.
    Answered,
    /// With a closed connection.
    Closed,
    /// With nothing, as it should be or not.
    Unanswered,
}

/// What a step says to whoever counts.
pub trait Audience {
    /// A request was sent and ended so at Kafka.
    fn sent(&mut self, key: i16, version: i16, ending: Ending);
    /// Replies differ.
    fn found(&mut self, finding: Finding);
}

/// Two brokers under the same scripts.
#[derive(Debug)]
pub struct Pair {
    kafka: Side,
    corelog: Side,
    allowed: Allowed,
    /// Whether every request and both replies are told as they come.
    shows: bool,
}

#[derive(Debug)]
struct Side {
    peer: Peer,
    control: Control,
    lasting: Names,
    /// Members that have been named in this script, by what their names begin with.
    members: BTreeMap<String, usize>,
}

/// What came back, ready to be compared.
struct Seen {
    tree: Tree,
    ending: Ending,
}

impl Pair {
    /// Connects to both.
    ///
    /// # Errors
    /// A broker that is not there.
    pub fn connect(kafka: SocketAddr, corelog: SocketAddr, allowed: Allowed) -> Result<Self> {
        Ok(Self {
            kafka: Side::connect("kafka", kafka)?,
            corelog: Side::connect("corelog", corelog)?,
            allowed,
            shows: false,
        })
    }

    /// Tells every request and both replies from now on.
    pub fn show(&mut self) {
        self.shows = true;
    }

    /// The connections to ask what either serves.
    pub fn controls(&mut self) -> (&mut Control, &mut Control) {
        (&mut self.kafka.control, &mut self.corelog.control)
    }

    /// Waits until both serve everything that scripts ask for, and learns what lasts.
    ///
    /// # Errors
    /// A broker that does not get there.
    pub fn prepare(&mut self) -> Result<()> {
        for side in [&mut self.kafka, &mut self.corelog] {
            let offsets_topic = side.control.wait_until_ready()?;
            side.lasting.learn(&nominal_topic_id("__consumer_offsets"), &offsets_topic);
        }
        Ok(())
    }

    /// Runs a script on connections of its own. Names that it learns are forgotten, unless they are to `last`.
    ///
    /// # Errors
    /// A broker that is gone.
    pub fn run(&mut self, script: &Script, last: bool, audience: &mut impl Audience) -> Result<()> {
        self.kafka.begin();
        self.corelog.begin();
        for (place, step) in script.steps.iter().enumerate() {
            let finding = match step {
                Step::Send(request) => self.send(request, audience)?,
                Step::Exist(topics) => self.both(|side| side.wait_for(topics))?,
                Step::Coordinated(group) => self.both(|side| side.control.wait_for_coordinator(group))?,
                Step::Resolved(group) => self.both(|side| side.control.wait_until_resolved(group))?,
                Step::Settled => self.both(|side| side.control.settle())?,
                Step::Gone(topics) => self.both(|side| side.control.wait_until_gone(topics))?,
            };
            if let Some(finding) = finding {
                audience.found(Finding {
                    family: script.family,
                    seed: script.seed,
                    pinned: script.pinned,
                    step: place + 1,
                    ..finding
                });
            }
        }
        if last {
            self.kafka.lasting = self.kafka.peer.names.clone();
            self.corelog.lasting = self.corelog.peer.names.clone();
        }
        Ok(())
    }

    fn send(&mut self, request: &Request, audience: &mut impl Audience) -> Result<Option<Finding>> {
        self.kafka.send(request)?;
        self.corelog.send(request)?;
        let kafka = self.kafka.receive(request)?;
        let corelog = self.corelog.receive(request)?;
        audience.sent(request.key, request.version, kafka.ending);
        if kafka.ending == Ending::Closed || corelog.ending == Ending::Closed {
            // The next frame finds both in the same state.
            self.kafka.peer.disconnect();
            self.corelog.peer.disconnect();
        }
        if self.shows {
            show(request, &kafka.tree, &corelog.tree);
        }
        let differences = differences(request.key, &kafka.tree, &corelog.tree, &self.allowed);
        if differences.is_empty() {
            return Ok(None);
        }
        Ok(Some(finding(request, differences, &kafka.tree, &corelog.tree)))
    }

    /// Waits on both sides; a wait that is in vain on one of them is a difference.
    fn both(&mut self, mut wait: impl FnMut(&mut Side) -> Result<()>) -> Result<Option<Finding>> {
        let said = |result: Result<()>| match result {
            Ok(()) => "done".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let (kafka, corelog) = (said(wait(&mut self.kafka)), said(wait(&mut self.corelog)));
        if kafka == "done" && corelog == "done" {
            return Ok(None);
        }
        let difference =
            Difference { path: "topics".to_owned(), kafka: kafka.clone(), corelog: corelog.clone() };
        let request = Request::new(3, 12, 0, Vec::new(), "waiting for topics to come or go".to_owned());
        Ok(Some(finding(&request, vec![difference], &Tree::Text(kafka), &Tree::Text(corelog))))
    }
}

#[allow(clippy::print_stdout, reason = "what --show is for")]
fn show(request: &Request, kafka: &Tree, corelog: &Tree) {
    println!(
        "{} v{}: {}\n    kafka   {kafka}\n    corelog {corelog}",
        request.key, request.version, request.label
    );
}

fn finding(request: &Request, differences: Vec<Difference>, kafka: &Tree, corelog: &Tree) -> Finding {
    Finding {
        family: "",
        seed: 0,
        pinned: None,
        step: 0,
        key: request.key,
        version: request.version,
        label: request.label.clone(),
        differences,
        kafka: kafka.to_string(),
        corelog: corelog.to_string(),
    }
}

impl Side {
    fn connect(name: &'static str, address: SocketAddr) -> Result<Self> {
        let control = Control::connect(address)?;
        Ok(Self {
            peer: Peer::new(name, address),
            control,
            lasting: Names::default(),
            members: BTreeMap::new(),
        })
    }

    fn begin(&mut self) {
        self.peer.disconnect();
        self.peer.names = self.lasting.clone();
        self.members.clear();
    }

    fn wait_for(&mut self, topics: &[String]) -> Result<()> {
        for (topic, id) in self.control.wait_for(topics)? {
            self.peer.names.learn(&nominal_topic_id(&topic), &id);
        }
        Ok(())
    }

    fn send(&mut self, request: &Request) -> Result<()> {
        self.peer.send(&request.frame, request.length)?;
        if !request.expects_reply {
            let probe = probe()?;
            self.peer.send(&probe, i32::try_from(probe.len())?)?;
        }
        Ok(())
    }

    fn receive(&mut self, request: &Request) -> Result<Seen> {
        let outcome = self.peer.receive()?;
        let bytes = match outcome {
            Outcome::Answered(bytes) => bytes,
            Outcome::Closed => return Ok(Seen { tree: ended("closed"), ending: Ending::Closed }),
            Outcome::Silent => return Ok(Seen { tree: ended("silent"), ending: Ending::Closed }),
        };
        if !request.expects_reply {
            if bytes.starts_with(&PROBE_CORRELATION_ID.to_be_bytes()) {
                return Ok(Seen { tree: ended("unanswered"), ending: Ending::Unanswered });
            }
            // It was answered: the probe's reply is still to come.
            self.peer.receive()?;
        }
        let (key, version) = (request.key, request.reply_version);
        let tree = match decode::reply(key, version, request.correlation_id, bytes.clone()) {
            Ok(mut tree) => {
                match key {
                    FETCH => self.learn_session(&mut tree),
                    JOIN_GROUP => self.learn_member(&mut tree),
                    CONSUMER_GROUP_HEARTBEAT => self.learn_consumer(&mut tree),
                    CREATE_TOPICS => self.learn_topics(&mut tree),
                    _ => {}
                }
                self.make_nominal(&mut tree);
                tree
            }
            Err(error) => {
                let raw = ("bytes".to_owned(), Tree::Bytes(bytes.to_vec()));
                Tree::Fields(vec![("undecodable".to_owned(), Tree::Text(format!("{error:#}"))), raw])
            }
        };
        Ok(Seen { tree, ending: Ending::Answered })
    }

    /// A session's id is the broker's choice; scripts go on with it under its nominal name.
    fn learn_session(&mut self, tree: &mut Tree) {
        // With an error it is the request's own that comes back.
        if tree.field("error_code").is_none_or(|code| code.plain() != "0") {
            return;
        }
        let Tree::Fields(fields) = tree else { return };
        for (name, value) in fields {
            let Tree::Atom(id) = value else { continue };
            if name == "session_id"
                && let Ok(real) = id.parse::<i32>()
                && real > 0
            {
                self.peer.names.learn(&NOMINAL_SESSION_ID.to_be_bytes(), &real.to_be_bytes());
                *id = NOMINAL_SESSION_ID.to_string();
            }
        }
    }

    /// So is a member's, which comes back as often as it is told.
    fn learn_member(&mut self, tree: &mut Tree) {
        let real = tree.field("member_id").map(Tree::plain).unwrap_or_default();
        let Some((prefix, uuid)) = real.split_at_checked(real.len().saturating_sub(UUID_CHARS)) else {
            return;
        };
        let Some(prefix) = prefix.strip_suffix('-') else { return };
        if uuid.parse::<Uuid>().is_err() || uuid.starts_with(NOMINAL_UUID_START) {
            return;
        }
        let number = self.members.entry(prefix.to_owned()).or_default();
        *number += 1;
        let nominal = nominal_member(prefix, *number);
        self.peer.names.learn(nominal.as_bytes(), real.as_bytes());
        tree.replace_text(&real, &nominal);
    }

    /// So is that of a consumer that leaves the choice to the broker.
    fn learn_consumer(&mut self, tree: &mut Tree) {
        let real = tree.field("member_id").map(Tree::plain).unwrap_or_default();
        if real.len() != BASE64_UUID_CHARS || real.starts_with(NOMINAL_CONSUMER_START) {
            return;
        }
        let number = self.members.entry(String::new()).or_default();
        *number += 1;
        let nominal = nominal_consumer(*number);
        self.peer.names.learn(nominal.as_bytes(), real.as_bytes());
        tree.replace_text(&real, &nominal);
    }

    /// So is a topic's id.
    fn learn_topics(&mut self, tree: &mut Tree) {
        let Tree::Fields(fields) = tree else { return };
        let topics = fields.iter_mut().find(|(name, _)| name == "topics");
        let Some((_, Tree::List(topics))) = topics else { return };
        for topic in topics {
            let Some(name) = topic.field("name").map(Tree::plain) else { continue };
            let Tree::Fields(fields) = topic else { continue };
            for (field, value) in fields {
                let Tree::Atom(id) = value else { continue };
                if field == "topic_id"
                    && let Ok(real) = id.parse::<Uuid>()
                    && !real.is_nil()
                {
                    let nominal = nominal_topic_id(&name);
                    self.peer.names.learn(&nominal, real.as_bytes());
                    *id = Uuid::from_bytes(nominal).to_string();
                }
            }
        }
    }

    /// What a broker says of itself: its port, and the cluster's id.
    fn make_nominal(&self, tree: &mut Tree) {
        match tree {
            Tree::List(values) => values.iter_mut().for_each(|value| self.make_nominal(value)),
            Tree::Fields(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), &mut *value) {
                        ("port", Tree::Atom(port)) if *port == self.peer.address.port().to_string() => {
                            *port = "its own".to_owned();
                        }
                        ("log_dir", Tree::Text(path)) if path.ends_with("/data") => {
                            *path = "its own".to_owned()
                        }
                        // A uuid in base64.
                        ("cluster_id", Tree::Text(id)) if id.len() == BASE64_UUID_CHARS => {
                            *id = "its own".to_owned()
                        }
                        (_, value) => self.make_nominal(value),
                    }
                }
            }
            _ => {}
        }
    }
}

fn ended(how: &str) -> Tree {
    Tree::Fields(vec![("ended".to_owned(), Tree::Atom(how.to_owned()))])
}

const PROBE_CORRELATION_ID: i32 = 0x7fff_fffe;

/// A request that is always answered: sent behind one that is not.
fn probe() -> Result<Vec<u8>> {
    let mut frame = bytes::BytesMut::new();
    let header = RequestHeader::default().with_request_api_key(18).with_correlation_id(PROBE_CORRELATION_ID);
    header.encode(&mut frame, 1).context("a header")?;
    ApiVersionsRequest::default().encode(&mut frame, 0).context("a probe")?;
    Ok(frame.to_vec())
}
