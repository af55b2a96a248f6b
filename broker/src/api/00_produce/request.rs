//! Decodes Produce requests v3 to v13 without copying the records: they are split out of the frame, so that their owner
//! can write offsets into them.
//!
//! Trusts nothing: every length is checked against the bytes left, counts against what they could hold.

use std::ops::Range;

use bytes::{Buf, BytesMut};
use corelog_logic::controller::TopicId;

use crate::api::shape::ELEMENTS_MAX;
use crate::api::wire::{Read, Reader};

const FLEXIBLE: i16 = 9;
const TOPIC_IDS: i16 = 13;

/// A Produce request.
#[derive(Debug, PartialEq, Eq)]
pub struct ProduceRequest {
    /// Null without transactions.
    pub transactional_id: Option<String>,
    /// 0, 1 or -1; not checked here.
    pub acks: i16,
    /// For acks=-1, in milliseconds.
    pub timeout_ms: i32,
    /// The topics in order.
    pub topics: Vec<ProduceTopic>,
    /// The partitions of all topics in order.
    pub partitions: Vec<ProducePartition>,
}

/// How a request names a topic: by name until 12, by id from 13 on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// By name.
    Name(String),
    /// By identity.
    Id(TopicId),
}

/// A topic of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct ProduceTopic {
    /// Its name or id.
    pub key: TopicKey,
    /// How many of the partitions, which are in the order of topics, are its own.
    pub partition_count: usize,
}

/// A partition of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct ProducePartition {
    /// Which topic, by its place in the request.
    pub topic: usize,
    /// The partition's number.
    pub index: i32,
    /// What is to be appended; null is `None`.
    pub records: Option<BytesMut>,
}

/// Shortest topic on the wire: an empty name (or an id), a count.
const TOPIC_LEN_MIN: usize = 2;
/// Shortest partition on the wire: an index, a null.
const PARTITION_LEN_MIN: usize = 5;

impl ProduceRequest {
    /// Decodes a body.
    ///
    /// # Errors
    /// What does not fit, for the log.
    pub fn decode(body: BytesMut, version: i16) -> Read<Self> {
        let flexible = version >= FLEXIBLE;
        let mut reader = Reader::new(&body);
        let transactional_id = reader.nullable_string(flexible)?.map(str::to_owned);
        let acks = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let topic_count = reader.count(flexible, TOPIC_LEN_MIN)?;
        let mut elements = topic_count;
        check_elements(&reader, elements)?;
        let mut topics = Vec::with_capacity(topic_count);
        let mut partitions: Vec<ProducePartition> = Vec::new();
        let mut ranges: Vec<Option<Range<usize>>> = Vec::new();
        for topic in 0..topic_count {
            let key = if version >= TOPIC_IDS {
                TopicKey::Id(TopicId(reader.uuid()?))
            } else {
                TopicKey::Name(reader.string(flexible)?.to_owned())
            };
            let partition_count = reader.count(flexible, PARTITION_LEN_MIN)?;
            elements += partition_count;
            check_elements(&reader, elements)?;
            partitions.reserve(partition_count);
            for _ in 0..partition_count {
                let index = reader.i32()?;
                let records = match reader.long_len(flexible)? {
                    Some(len) => {
                        let start = reader.position();
                        reader.take(len)?;
                        Some(start..start + len)
                    }
                    None => None,
                };
                if flexible {
                    reader.skip_tagged_fields()?;
                }
                partitions.push(ProducePartition { topic, index, records: None });
                ranges.push(records);
            }
            if flexible {
                reader.skip_tagged_fields()?;
            }
            topics.push(ProduceTopic { key, partition_count });
        }
        if flexible {
            reader.skip_tagged_fields()?;
        }
        split_out(body, &mut partitions, ranges);
        Ok(Self { transactional_id, acks, timeout_ms, topics, partitions })
    }
}

fn check_elements(reader: &Reader<'_>, elements: usize) -> Read<()> {
    if elements > ELEMENTS_MAX {
        return Err(reader.malformed("it has more than 262144 topics and partitions"));
    }
    Ok(())
}

/// Hands each partition its bytes of the frame. The ranges were read from the front: they ascend and lie inside.
fn split_out(mut body: BytesMut, partitions: &mut [ProducePartition], ranges: Vec<Option<Range<usize>>>) {
    let mut consumed = 0;
    for (partition, range) in partitions.iter_mut().zip(ranges) {
        if let Some(range) = range {
            body.advance(range.start - consumed);
            partition.records = Some(body.split_to(range.len()));
            consumed = range.end;
        }
    }
}
