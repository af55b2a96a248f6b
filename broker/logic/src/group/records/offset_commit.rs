//! OffsetCommitKey (types 0 and 1) and OffsetCommitValue (versions 0 to 4).
//!
//! Version notes: 1 has an expiry time (commits of versions 2 to 4 with a retention time still write it); 2 has none; 3 adds the leader
//! epoch; 4 is flexible and may carry the topic's id (KIP-848). Kafka 4.3 writes 4, or 1 where there is an expiry time.

use std::sync::Arc;

use super::wire::{Reader, RecordError, Writer};
use crate::group::{GroupId, TopicPartition};

const NO_TOPIC_ID: [u8; 16] = [0; 16];
/// The highest version of a value that is read.
const VERSION_MAX: i16 = 4;

/// Whose offset of which partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OffsetCommitKey {
    /// The group.
    pub group_id: GroupId,
    /// The partition.
    pub partition: TopicPartition,
}

impl OffsetCommitKey {
    pub(super) fn encode(&self, key: &mut Writer) {
        key.put_string(&self.group_id);
        key.put_string(&self.partition.topic);
        key.put_i32(self.partition.partition);
    }

    pub(super) fn decode(key: &mut Reader<'_>) -> Result<Self, RecordError> {
        let group_id = GroupId::from(key.string("group")?);
        let topic: Arc<str> = key.string("topic")?.into();
        let partition = key.i32("partition")?;
        Ok(Self { group_id, partition: TopicPartition { topic, partition } })
    }
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommitValue {
    /// The next offset to consume.
    pub offset: i64,
    /// Leader epoch of the last consumed record; -1 for none.
    pub leader_epoch: i32,
    /// The client's own words.
    pub metadata: Arc<str>,
    /// When it was committed, in milliseconds since 1970.
    pub commit_timestamp_ms: i64,
    /// When it expires, where the client said so; -1 otherwise.
    pub expire_timestamp_ms: i64,
    /// The topic's identity; zero where the commit did not name it.
    pub topic_id: [u8; 16],
}

impl OffsetCommitValue {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Writer::default();
        if self.expire_timestamp_ms == -1 {
            value.put_i16(VERSION_MAX);
            value.put_i64(self.offset);
            value.put_i32(self.leader_epoch);
            value.put_compact_string(&self.metadata);
            value.put_i64(self.commit_timestamp_ms);
            if self.topic_id == NO_TOPIC_ID {
                value.put_no_tagged_fields();
            } else {
                value.put_tagged_fields(&[(0, self.topic_id.to_vec())]);
            }
        } else {
            value.put_i16(1);
            value.put_i64(self.offset);
            value.put_string(&self.metadata);
            value.put_i64(self.commit_timestamp_ms);
            value.put_i64(self.expire_timestamp_ms);
        }
        value.into_bytes()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, RecordError> {
        let mut value = Reader::new(value);
        let version = value.i16("version")?;
        if !(0..=VERSION_MAX).contains(&version) {
            return Err(RecordError::UnknownVersion { what: "OffsetCommitValue", version });
        }
        let offset = value.i64("offset")?;
        let leader_epoch = if version >= 3 { value.i32("leader epoch")? } else { -1 };
        let metadata =
            if version >= 4 { value.compact_string("metadata")? } else { value.string("metadata")? }.into();
        let commit_timestamp_ms = value.i64("commit timestamp")?;
        let expire_timestamp_ms = if version == 1 { value.i64("expire timestamp")? } else { -1 };
        let mut topic_id = NO_TOPIC_ID;
        if version >= 4 {
            value.tagged_fields(|tag, field| {
                if tag == 0 {
                    topic_id = field.uuid("topic id")?;
                }
                Ok(())
            })?;
        }
        Ok(Self { offset, leader_epoch, metadata, commit_timestamp_ms, expire_timestamp_ms, topic_id })
    }
}
