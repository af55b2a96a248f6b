//! The records of `__consumer_offsets`, byte for byte Kafka's.
//!
//! A key begins with its type, which Kafka keeps as the key's version; a value with its version. No value is a tombstone. Types that
//! are not known are told apart from bytes that cannot be read: Kafka skips the former. Deliberately absent: record batches.

mod consumer;
mod group_metadata;
mod offset_commit;
#[cfg(test)]
mod tests;
mod wire;

pub use consumer::{
    ConsumerMemberMetadata, ConsumerRecord, ConsumerRecordBody, CurrentAssignment, GroupEpoch, ResolvedRegex,
    TargetEpoch,
};
pub use group_metadata::{GroupMetadataValue, MemberMetadata};
pub use offset_commit::{OffsetCommitKey, OffsetCommitValue};
pub use wire::{Reader, RecordError, Writer};

use super::GroupId;

/// A record of `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupRecord {
    /// Types 0 and 1: an offset that a group committed.
    OffsetCommit(OffsetCommitKey, Option<OffsetCommitValue>),
    /// Type 2: a classic group.
    GroupMetadata(GroupId, Option<GroupMetadataValue>),
    /// Types 3 to 8 and 16: a consumer group.
    Consumer(ConsumerRecord),
}

/// The type of OffsetCommit keys that Kafka writes.
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;

impl GroupRecord {
    /// Key and value as they lie in the log.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut key = Writer::default();
        let value = match self {
            Self::Consumer(record) => return record.encode(),
            Self::OffsetCommit(of, value) => {
                key.put_i16(OFFSET_COMMIT);
                of.encode(&mut key);
                value.as_ref().map(OffsetCommitValue::encode)
            }
            Self::GroupMetadata(group_id, value) => {
                key.put_i16(GROUP_METADATA);
                key.put_string(group_id);
                value.as_ref().map(GroupMetadataValue::encode)
            }
        };
        (key.into_bytes(), value)
    }

    /// Reads a record of the log. Bytes after the last known field are ignored, as Kafka does.
    ///
    /// # Errors
    /// [`RecordError::UnknownType`] for a kind of record that this version does not know, and what else does not fit.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, RecordError> {
        let mut key = Reader::new(key);
        match key.i16("record type")? {
            0 | OFFSET_COMMIT => {
                let key = OffsetCommitKey::decode(&mut key)?;
                Ok(Self::OffsetCommit(key, value.map(OffsetCommitValue::decode).transpose()?))
            }
            GROUP_METADATA => {
                let group_id = GroupId::from(key.string("group")?);
                Ok(Self::GroupMetadata(group_id, value.map(GroupMetadataValue::decode).transpose()?))
            }
            other if ConsumerRecord::is_key_type(other) => {
                ConsumerRecord::decode(other, &mut key, value).map(Self::Consumer)
            }
            other => Err(RecordError::UnknownType(other)),
        }
    }
}
