//! Kafka clients just large enough for a power cut: a producer whose acknowledgements are ordered against the disk's
//! writes, and a reader of everything. Called by `main`. Deliberately absent: retries, groups, more than one broker.

pub(crate) mod load;
pub(crate) mod read;
mod wire;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Record;
use xxhash_rust::xxh3::Xxh3;

/// Partitions of the topic that is written and read.
const PARTITIONS: i32 = 4;

fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// The checker's digest of a record: over everything that was sent. Keys are unique, so digests are.
fn digest(record: &Record) -> u64 {
    let mut hash = Xxh3::new();
    for bytes in [record.key.as_deref(), record.value.as_deref()] {
        hash.update(&bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX)).to_le_bytes());
        hash.update(bytes.unwrap_or_default());
    }
    hash.update(&record.timestamp.to_le_bytes());
    hash.digest()
}
