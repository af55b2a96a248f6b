//! What is sent: a script is a handful of frames on one connection, made from a seed, the same for every broker.
//!
//! Made by `generate`, run by `run`. Deliberately absent: what a good answer would be; the other broker says that.

/// Frames that belong together because the later ones see what the earlier ones did.
#[derive(Debug, Clone)]
pub struct Script {
    /// Which generator made it.
    pub family: &'static str,
    /// And from what.
    pub seed: u64,
    /// With one API in this version alone.
    pub pinned: Option<(i16, i16)>,
    /// In order.
    pub steps: Vec<Step>,
}

/// One thing to do with every broker.
#[derive(Debug, Clone)]
pub enum Step {
    /// Send a frame and compare what comes back.
    Send(Request),
    /// Wait until each broker serves these topics on every partition, and learn their ids. Kafka answers CreateTopics
    /// before its broker has heard of the topic.
    Exist(Vec<String>),
    /// Wait until each broker coordinates this group. Kafka creates the topic of offsets when it is first asked.
    Coordinated(String),
    /// Wait until this group is not between two generations at either broker, as far as a deadline of milliseconds does that.
    Resolved(String),
    /// Wait until each broker has heard of everything that its controller has decided.
    Settled,
    /// Wait until no broker knows these topics any more.
    Gone(Vec<String>),
}

/// A frame.
#[derive(Debug, Clone)]
pub struct Request {
    /// API key, as far as the frame has one.
    pub key: i16,
    /// Its version.
    pub version: i16,
    /// Version of the body that an answer would have.
    pub reply_version: i16,
    /// Everything after the length.
    pub frame: Vec<u8>,
    /// The length that is announced.
    pub length: i32,
    /// The frame's correlation id.
    pub correlation_id: i32,
    /// Whether a reply is expected; if not, another request follows at once, to see that there was none.
    pub expects_reply: bool,
    /// What it is, for people.
    pub label: String,
}

impl Request {
    /// A whole, honest frame with a reply in its own version.
    pub fn new(key: i16, version: i16, correlation_id: i32, frame: Vec<u8>, label: String) -> Self {
        Self {
            key,
            version,
            reply_version: version,
            length: i32::try_from(frame.len()).unwrap_or(i32::MAX),
            frame,
            correlation_id,
            expects_reply: true,
            label,
        }
    }
}
