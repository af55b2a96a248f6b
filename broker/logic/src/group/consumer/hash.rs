//! The hash of what a group's topics look like (KIP-1101): a change of it asks for a new target assignment.
//!
//! It stands in ConsumerGroupMetadata records, so it is Kafka's to the bit: XXH3 over the fields in the order of its `Utils.computeTopicHash` and
//! `computeGroupHash`, strings as hash4j puts them. Deliberately absent: when it is computed.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use crate::controller::{MetadataImage, TopicImage};

/// The version of what goes into a topic's hash.
const TOPIC_HASH_MAGIC: u8 = 0;

/// Hashes of topics at one version of the metadata: groups that share topics need not compute them again. Holds no more than the topics there are.
#[derive(Debug, Default)]
pub struct TopicHashes {
    version: u64,
    by_topic: HashMap<Arc<str>, i64>,
}

impl TopicHashes {
    /// The hash of these topics, which come in the order of their names; those that do not exist are left out. 0 when none is left.
    pub(super) fn group_hash<'a>(
        &mut self,
        topics: impl Iterator<Item = &'a Arc<str>>,
        image: &MetadataImage,
    ) -> i64 {
        if self.version != image.version {
            self.by_topic.clear();
            self.version = image.version;
        }
        let mut hasher = None;
        for name in topics {
            let Some(topic) = image.topic_by_name(name) else { continue };
            let hash =
                *self.by_topic.entry(Arc::clone(&topic.name)).or_insert_with(|| topic_hash(topic, image));
            hasher.get_or_insert_with(Xxh3::new).update(&hash.to_le_bytes());
        }
        hasher.map_or(0, |hasher| hasher.digest() as i64)
    }
}

fn topic_hash(topic: &TopicImage, image: &MetadataImage) -> i64 {
    let mut hasher = Xxh3::new();
    hasher.update(&[TOPIC_HASH_MAGIC]);
    let id = u128::from_be_bytes(topic.id.0);
    hasher.update(&((id >> 64) as u64).to_le_bytes());
    hasher.update(&(id as u64).to_le_bytes());
    put_string(&mut hasher, &topic.name);
    hasher.update(&(topic.partitions.len() as i32).to_le_bytes());
    for (number, partition) in topic.partitions.iter().enumerate() {
        hasher.update(&(number as i32).to_le_bytes());
        let mut racks: Vec<&str> =
            partition.replicas.iter().filter_map(|node| image.broker(*node)?.rack.as_deref()).collect();
        racks.sort_unstable();
        for rack in racks {
            hasher.update(&utf16_len(rack).to_le_bytes());
            put_string(&mut hasher, rack);
        }
    }
    hasher.digest() as i64
}

/// As hash4j does: UTF-16 units, then how many they are.
fn put_string(hasher: &mut Xxh3, text: &str) {
    for unit in text.encode_utf16() {
        hasher.update(&unit.to_le_bytes());
    }
    hasher.update(&utf16_len(text).to_le_bytes());
}

fn utf16_len(text: &str) -> i32 {
    text.encode_utf16().count() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{PartitionRecord, Record, RegisterBrokerRecord, TopicId, TopicRecord};

    #[test]
    fn hashes_are_those_of_kafka() {
        // What `Utils.computeTopicHash` and `computeGroupHash` of Kafka 4.3.1 give with hash4j 0.22.
        let mut id = [0; 16];
        id[..8].copy_from_slice(&0x0102_0304_0506_0708_u64.to_be_bytes());
        id[8..].copy_from_slice(&0x1112_1314_1516_1718_u64.to_be_bytes());
        let topic_id = TopicId(id);
        let broker = |broker_id, rack: Option<&str>| {
            Record::RegisterBroker(RegisterBrokerRecord {
                broker_id,
                incarnation_id: TopicId([1; 16]),
                broker_epoch: 0,
                listeners: Vec::new(),
                rack: rack.map(str::to_owned),
            })
        };
        let partition = |partition, replicas: &[i32]| {
            Record::Partition(PartitionRecord {
                topic_id,
                partition,
                replicas: replicas.to_vec(),
                isr: replicas.to_vec(),
                leader: 1,
                leader_epoch: 0,
                partition_epoch: 0,
                log_id: partition as u64 + 1,
            })
        };
        let records = [
            broker(1, Some("rackB")),
            broker(2, Some("rackA")),
            broker(3, None),
            Record::Topic(TopicRecord { name: "greetings".to_owned(), topic_id }),
            partition(0, &[2, 3]),
            partition(1, &[1, 2]),
        ];
        let image = MetadataImage::from_records(&records).unwrap();
        assert_eq!(topic_hash(image.topic(&topic_id).unwrap(), &image), 575_427_750_540_507_850);

        let mut hasher = Xxh3::new();
        hasher.update(&7_i64.to_le_bytes());
        hasher.update(&(-9_i64).to_le_bytes());
        assert_eq!(hasher.digest() as i64, 388_367_720_923_999_229);

        let names: [Arc<str>; 2] = ["absent".into(), "greetings".into()];
        let mut hashes = TopicHashes::default();
        let with = hashes.group_hash(names.iter(), &image);
        assert_eq!(with, hashes.group_hash(names[1..].iter(), &image), "what does not exist is left out");
        assert_eq!(hashes.group_hash(names[..1].iter(), &image), 0);
    }
}
