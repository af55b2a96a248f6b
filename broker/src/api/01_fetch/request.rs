//! Decodes Fetch requests v4 to v18.
//!
//! Trusts nothing: every length is checked against the bytes left, counts against what they could hold. Deliberately
//! absent: fields that only followers fill in (log start offset, directory id, high watermark), which are stepped over.

use std::rc::Rc;

use corelog_logic::controller::TopicId;
use corelog_logic::fetch_session::TopicKey;

use crate::api::shape::ELEMENTS_MAX;
use crate::api::wire::{Read, Reader};

const FLEXIBLE: i16 = 12;
const TOPIC_IDS: i16 = 13;
const REPLICA_STATE: i16 = 15;

/// A Fetch request.
#[derive(Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Node id of a follower; negative from a consumer.
    pub replica_id: i32,
    /// How long to wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// Bytes worth answering for.
    pub min_bytes: i32,
    /// Bytes of batches in the whole response.
    pub max_bytes: i32,
    /// 0 read_uncommitted, 1 read_committed.
    pub isolation_level: i8,
    /// 0 without a session (KIP-227).
    pub session_id: i32,
    /// 0 to begin a session, -1 for none, else the request's number in its session.
    pub session_epoch: i32,
    /// The topics in order.
    pub topics: Vec<TopicKey>,
    /// The partitions of all topics in order.
    pub partitions: Vec<FetchPartition>,
    /// What is to leave the session: topics and their partitions.
    pub forgotten: Vec<(TopicKey, Vec<i32>)>,
}

/// A partition of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    /// Which topic, by its place in the request.
    pub topic: usize,
    /// The partition's number.
    pub index: i32,
    /// The leader epoch that the client knows, -1 for any: every negative one is taken for that, as in Kafka.
    pub current_leader_epoch: i32,
    /// First offset wanted.
    pub fetch_offset: i64,
    /// The leader epoch of the last record that the client has; negative for none.
    pub last_fetched_epoch: i32,
    /// Bytes of batches from this partition.
    pub max_bytes: i32,
}

/// Shortest topic on the wire: an empty name (or an id), a count.
const TOPIC_LEN_MIN: usize = 2;
/// Shortest partition on the wire: index, offset, max bytes.
const PARTITION_LEN_MIN: usize = 16;

impl FetchRequest {
    /// Decodes a body.
    ///
    /// # Errors
    /// What does not fit, for the log.
    pub fn decode(body: &[u8], version: i16) -> Read<Self> {
        let flexible = version >= FLEXIBLE;
        let mut reader = Reader::new(body);
        let mut replica_id = if version < REPLICA_STATE { reader.i32()? } else { -1 };
        let (max_wait_ms, min_bytes, max_bytes) = (reader.i32()?, reader.i32()?, reader.i32()?);
        let isolation_level = reader.i8()?;
        let (session_id, session_epoch) = if version >= 7 { (reader.i32()?, reader.i32()?) } else { (0, -1) };
        let topic_count = reader.count(flexible, TOPIC_LEN_MIN)?;
        let mut elements = topic_count;
        check_elements(&reader, elements)?;
        let mut topics = Vec::with_capacity(topic_count);
        let mut partitions = Vec::new();
        for topic in 0..topic_count {
            let key = topic_key(&mut reader, version)?;
            let partition_count = reader.count(flexible, PARTITION_LEN_MIN)?;
            elements += partition_count;
            check_elements(&reader, elements)?;
            partitions.reserve(partition_count);
            for _ in 0..partition_count {
                partitions.push(partition(&mut reader, version, topic)?);
            }
            if flexible {
                reader.skip_tagged_fields()?;
            }
            topics.push(key);
        }
        let forgotten = if version >= 7 { forgotten(&mut reader, version, elements)? } else { Vec::new() };
        if version >= 11 {
            reader.string(flexible)?; // rack
        }
        if flexible {
            reader.tagged_fields(|tag, field| {
                if tag == 1 && version >= REPLICA_STATE {
                    replica_id = field.i32()?;
                }
                Ok(())
            })?;
        }
        Ok(Self {
            replica_id,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            topics,
            partitions,
            forgotten,
        })
    }
}

fn topic_key(reader: &mut Reader<'_>, version: i16) -> Read<TopicKey> {
    if version >= TOPIC_IDS {
        Ok(TopicKey::Id(TopicId(reader.uuid()?)))
    } else {
        Ok(TopicKey::Name(Rc::from(reader.string(version >= FLEXIBLE)?)))
    }
}

fn partition(reader: &mut Reader<'_>, version: i16, topic: usize) -> Read<FetchPartition> {
    let index = reader.i32()?;
    let current_leader_epoch = if version >= 9 { reader.i32()?.max(-1) } else { -1 };
    let fetch_offset = reader.i64()?;
    let last_fetched_epoch = if version >= 12 { reader.i32()? } else { -1 };
    if version >= 5 {
        reader.i64()?; // log start offset: a follower's
    }
    let max_bytes = reader.i32()?;
    if version >= FLEXIBLE {
        reader.skip_tagged_fields()?;
    }
    Ok(FetchPartition { topic, index, current_leader_epoch, fetch_offset, last_fetched_epoch, max_bytes })
}

fn forgotten(reader: &mut Reader<'_>, version: i16, mut elements: usize) -> Read<Vec<(TopicKey, Vec<i32>)>> {
    let flexible = version >= FLEXIBLE;
    let topic_count = reader.count(flexible, TOPIC_LEN_MIN)?;
    elements += topic_count;
    check_elements(reader, elements)?;
    let mut topics = Vec::with_capacity(topic_count);
    for _ in 0..topic_count {
        let key = topic_key(reader, version)?;
        let partition_count = reader.count(flexible, 4)?;
        elements += partition_count;
        check_elements(reader, elements)?;
        let partitions = (0..partition_count).map(|_| reader.i32()).collect::<Read<_>>()?;
        if flexible {
            reader.skip_tagged_fields()?;
        }
        topics.push((key, partitions));
    }
    Ok(topics)
}

fn check_elements(reader: &Reader<'_>, elements: usize) -> Read<()> {
    if elements > ELEMENTS_MAX {
        return Err(reader.malformed("it has more than 262144 topics and partitions"));
    }
    Ok(())
}
