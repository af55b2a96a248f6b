//! The records of consumer groups in `__consumer_offsets`, byte for byte those of Kafka 4.3 (its ConsumerGroup*Key and *Value messages).
//!
//! Written by the decisions of `group::consumer`, replayed by `ConsumerGroup::replay`. An absent value is a tombstone. A value's version is read for 0 only:
//! Kafka has no other. Deliberately absent: which record follows from what.

use std::sync::Arc;

use super::wire::{Reader, RecordError, Writer};
use crate::controller::TopicId;
use crate::group::consumer::{Assignment, ClassicMember, MemberState, OwnedPartitions};
use crate::group::{GroupId, InstanceId, MemberId, Protocol};

const EPOCH: i16 = 3;
const PARTITION_METADATA: i16 = 4;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET_MEMBER: i16 = 7;
const CURRENT_ASSIGNMENT: i16 = 8;
const REGULAR_EXPRESSION: i16 = 16;
const VALUE_VERSION: i16 = 0;

/// A record of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The group.
    pub group_id: GroupId,
    /// What is recorded of it.
    pub body: ConsumerRecordBody,
}

/// Key and value of a record, without the group's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerRecordBody {
    /// ConsumerGroupMetadata.
    Epoch(Option<GroupEpoch>),
    /// ConsumerGroupPartitionMetadata: written by Kafka up to 4.0, removed by what reads it (KIP-1101). `true` when it is there.
    PartitionMetadata(bool),
    /// ConsumerGroupMemberMetadata.
    Member(MemberId, Option<ConsumerMemberMetadata>),
    /// ConsumerGroupTargetAssignmentMetadata.
    TargetEpoch(Option<TargetEpoch>),
    /// ConsumerGroupTargetAssignmentMember.
    TargetMember(MemberId, Option<Assignment>),
    /// ConsumerGroupCurrentMemberAssignment.
    CurrentAssignment(MemberId, Option<CurrentAssignment>),
    /// ConsumerGroupRegularExpression.
    RegularExpression(Arc<str>, Option<ResolvedRegex>),
}

/// Value of ConsumerGroupMetadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupEpoch {
    /// Grows with whatever asks for a new target assignment.
    pub epoch: i32,
    /// What the subscribed topics look like (KIP-1101); 0 when there are none.
    pub metadata_hash: i64,
}

/// Value of ConsumerGroupTargetAssignmentMetadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The group epoch that the target was computed for.
    pub epoch: i32,
    /// When it was, in milliseconds; 0 for never (KIP-1263).
    pub timestamp_ms: i64,
}

/// Value of ConsumerGroupMemberMetadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerMemberMetadata {
    /// `group.instance.id` of a static member.
    pub instance_id: Option<InstanceId>,
    /// `client.rack`.
    pub rack_id: Option<Arc<str>>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// Its address, as Java prints it.
    pub client_host: Arc<str>,
    /// Names of subscribed topics, sorted.
    pub subscribed_topic_names: Arc<[Arc<str>]>,
    /// Regular expression of subscribed topics; empty for none.
    pub subscribed_topic_regex: Arc<str>,
    /// How long it may take to give partitions up, in milliseconds; -1 when unknown.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it asks for.
    pub server_assignor: Option<Arc<str>>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<Arc<ClassicMember>>,
}

/// Value of ConsumerGroupCurrentMemberAssignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// The epoch that the member is expected to send.
    pub member_epoch: i32,
    /// The one before, which a member sends that did not get the last answer.
    pub previous_member_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// What it owns.
    pub assigned: OwnedPartitions,
    /// What it must give up.
    pub pending_revocation: OwnedPartitions,
}

/// Value of ConsumerGroupRegularExpression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRegex {
    /// Names of the topics that matched, sorted.
    pub topics: Vec<Arc<str>>,
    /// Version of the metadata image.
    pub version: i64,
    /// When it was resolved, in milliseconds.
    pub timestamp_ms: i64,
}

impl ConsumerRecord {
    /// Whether a key of this type, its first two bytes, is one of a consumer group.
    pub(super) fn is_key_type(key_type: i16) -> bool {
        matches!(key_type, EPOCH..=CURRENT_ASSIGNMENT | REGULAR_EXPRESSION)
    }

    /// The key's bytes, and the value's; no value for a tombstone.
    pub(super) fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        use ConsumerRecordBody as Body;
        let (key_type, second): (i16, Option<&str>) = match &self.body {
            Body::Epoch(_) => (EPOCH, None),
            Body::PartitionMetadata(_) => (PARTITION_METADATA, None),
            Body::Member(member, _) => (MEMBER, Some(member)),
            Body::TargetEpoch(_) => (TARGET_EPOCH, None),
            Body::TargetMember(member, _) => (TARGET_MEMBER, Some(member)),
            Body::CurrentAssignment(member, _) => (CURRENT_ASSIGNMENT, Some(member)),
            Body::RegularExpression(regex, _) => (REGULAR_EXPRESSION, Some(regex)),
        };
        let mut key = Writer::default();
        key.put_i16(key_type);
        key.put_string(&self.group_id);
        if let Some(second) = second {
            key.put_string(second);
        }
        (key.into_bytes(), self.body.encode_value())
    }

    /// The record of this key, whose type has been read from it, and this value.
    ///
    /// # Errors
    /// A version that Kafka 4.3 does not have, or bytes that no writer produces.
    pub(super) fn decode(
        key_type: i16,
        key: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Self, RecordError> {
        use ConsumerRecordBody as Body;
        let group_id = GroupId::from(key.string("group id")?);
        let mut value = value.map(open_value).transpose()?;
        let value = value.as_mut();
        let body = match key_type {
            EPOCH => Body::Epoch(value.map(GroupEpoch::decode).transpose()?),
            PARTITION_METADATA => Body::PartitionMetadata(value.is_some()),
            MEMBER => Body::Member(member_id(key)?, value.map(ConsumerMemberMetadata::decode).transpose()?),
            TARGET_EPOCH => Body::TargetEpoch(value.map(TargetEpoch::decode).transpose()?),
            TARGET_MEMBER => Body::TargetMember(member_id(key)?, value.map(decode_target).transpose()?),
            CURRENT_ASSIGNMENT => {
                Body::CurrentAssignment(member_id(key)?, value.map(CurrentAssignment::decode).transpose()?)
            }
            REGULAR_EXPRESSION => {
                let regex = key.string("regular expression")?.into();
                Body::RegularExpression(regex, value.map(ResolvedRegex::decode).transpose()?)
            }
            other => return Err(RecordError::UnknownType(other)),
        };
        Ok(Self { group_id, body })
    }
}

impl ConsumerRecordBody {
    /// Whether it removes what its key names.
    pub fn is_tombstone(&self) -> bool {
        match self {
            Self::Epoch(value) => value.is_none(),
            Self::PartitionMetadata(there) => !there,
            Self::Member(_, value) => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::TargetMember(_, value) => value.is_none(),
            Self::CurrentAssignment(_, value) => value.is_none(),
            Self::RegularExpression(_, value) => value.is_none(),
        }
    }

    fn encode_value(&self) -> Option<Vec<u8>> {
        let mut out = Writer::default();
        out.put_i16(VALUE_VERSION);
        match self {
            Self::Epoch(value) => value.as_ref()?.encode(&mut out),
            // Only its tombstone is ever written.
            Self::PartitionMetadata(_) => return None,
            Self::Member(_, value) => value.as_ref()?.encode(&mut out),
            Self::TargetEpoch(value) => value.as_ref()?.encode(&mut out),
            Self::TargetMember(_, value) => encode_target(value.as_ref()?, &mut out),
            Self::CurrentAssignment(_, value) => value.as_ref()?.encode(&mut out),
            Self::RegularExpression(_, value) => value.as_ref()?.encode(&mut out),
        }
        Some(out.into_bytes())
    }
}

fn member_id(key: &mut Reader<'_>) -> Result<MemberId, RecordError> {
    key.string("member id").map(MemberId::from)
}

fn open_value(bytes: &[u8]) -> Result<Reader<'_>, RecordError> {
    let mut value = Reader::new(bytes);
    match value.i16("version")? {
        VALUE_VERSION => Ok(value),
        version => Err(RecordError::UnknownVersion { what: "value of a consumer group", version }),
    }
}

/// A field of eight bytes that is left out when it is 0, under tag 0.
fn put_tagged_i64(out: &mut Writer, value: i64) {
    if value == 0 {
        out.put_no_tagged_fields();
    } else {
        out.put_tagged_fields(&[(0, value.to_be_bytes().to_vec())]);
    }
}

fn put_i32s(out: &mut Writer, values: impl ExactSizeIterator<Item = i32>) {
    out.put_compact_count(values.len());
    for value in values {
        out.put_i32(value);
    }
}

fn i32s(from: &mut Reader<'_>, what: &'static str) -> Result<Vec<i32>, RecordError> {
    let count = from.compact_count(what, 4)?;
    (0..count).map(|_| from.i32(what)).collect()
}

impl GroupEpoch {
    fn encode(&self, out: &mut Writer) {
        out.put_i32(self.epoch);
        put_tagged_i64(out, self.metadata_hash);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        let mut value = Self { epoch: from.i32("group epoch")?, metadata_hash: 0 };
        from.tagged_fields(|tag, field| {
            if tag == 0 {
                value.metadata_hash = field.i64("metadata hash")?;
            }
            Ok(())
        })?;
        Ok(value)
    }
}

impl TargetEpoch {
    fn encode(&self, out: &mut Writer) {
        out.put_i32(self.epoch);
        put_tagged_i64(out, self.timestamp_ms);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        let mut value = Self { epoch: from.i32("assignment epoch")?, timestamp_ms: 0 };
        from.tagged_fields(|tag, field| {
            if tag == 0 {
                value.timestamp_ms = field.i64("assignment timestamp")?;
            }
            Ok(())
        })?;
        Ok(value)
    }
}

impl ConsumerMemberMetadata {
    fn encode(&self, out: &mut Writer) {
        out.put_compact_nullable_string(self.instance_id.as_deref());
        out.put_compact_nullable_string(self.rack_id.as_deref());
        out.put_compact_string(&self.client_id);
        out.put_compact_string(&self.client_host);
        out.put_compact_count(self.subscribed_topic_names.len());
        for name in self.subscribed_topic_names.iter() {
            out.put_compact_string(name);
        }
        out.put_compact_string(&self.subscribed_topic_regex);
        out.put_i32(self.rebalance_timeout_ms);
        out.put_compact_nullable_string(self.server_assignor.as_deref());
        // A structure that may be null: 1 says that it is there. Kafka writes the 0 of a missing one too.
        let mut field = Writer::default();
        field.put_unsigned_varint(self.classic.is_some().into());
        if let Some(classic) = &self.classic {
            field.put_i32(classic.session_timeout_ms);
            field.put_compact_count(classic.protocols.len());
            for protocol in &classic.protocols {
                field.put_compact_string(&protocol.name);
                field.put_compact_bytes(&protocol.metadata);
                field.put_no_tagged_fields();
            }
            field.put_no_tagged_fields();
        }
        out.put_tagged_fields(&[(0, field.into_bytes())]);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        let shared = |text: Option<&str>| text.map(Arc::<str>::from);
        let mut value = Self {
            instance_id: from.compact_nullable_string("instance id")?.map(InstanceId::from),
            rack_id: shared(from.compact_nullable_string("rack id")?),
            client_id: from.compact_string("client id")?.into(),
            client_host: from.compact_string("client host")?.into(),
            subscribed_topic_names: topic_names(from)?.into(),
            subscribed_topic_regex: from
                .compact_nullable_string("subscribed topic regex")?
                .unwrap_or("")
                .into(),
            rebalance_timeout_ms: from.i32("rebalance timeout")?,
            server_assignor: shared(from.compact_nullable_string("server assignor")?),
            classic: None,
        };
        from.tagged_fields(|tag, field| {
            if tag == 0 && field.unsigned_varint("classic member metadata")? > 0 {
                value.classic = Some(Arc::new(decode_classic(field)?));
            }
            Ok(())
        })?;
        Ok(value)
    }
}

fn topic_names(from: &mut Reader<'_>) -> Result<Vec<Arc<str>>, RecordError> {
    let count = from.compact_count("topic names", 1)?;
    (0..count).map(|_| from.compact_string("topic name").map(Arc::from)).collect()
}

fn decode_classic(from: &mut Reader<'_>) -> Result<ClassicMember, RecordError> {
    let session_timeout_ms = from.i32("session timeout")?;
    let count = from.compact_count("supported protocols", 3)?;
    let mut protocols = Vec::with_capacity(count);
    for _ in 0..count {
        protocols.push(Protocol {
            name: from.compact_string("protocol name")?.into(),
            metadata: from.compact_bytes("protocol metadata")?.into(),
        });
        from.tagged_fields(|_, _| Ok(()))?;
    }
    from.tagged_fields(|_, _| Ok(()))?;
    Ok(ClassicMember { session_timeout_ms, protocols })
}

fn encode_target(target: &Assignment, out: &mut Writer) {
    out.put_compact_count(target.topics().count());
    for (topic, partitions) in target.topics() {
        out.put_uuid(&topic.0);
        put_i32s(out, partitions.iter().map(|(partition, ())| *partition));
        out.put_no_tagged_fields();
    }
    out.put_no_tagged_fields();
}

fn decode_target(from: &mut Reader<'_>) -> Result<Assignment, RecordError> {
    let mut partitions = Vec::new();
    for _ in 0..from.compact_count("target topics", 18)? {
        let topic = TopicId(from.uuid("topic id")?);
        partitions.extend(i32s(from, "partitions")?.into_iter().map(|partition| (topic, partition, ())));
        from.tagged_fields(|_, _| Ok(()))?;
    }
    from.tagged_fields(|_, _| Ok(()))?;
    Ok(partitions.into_iter().collect())
}

impl CurrentAssignment {
    fn encode(&self, out: &mut Writer) {
        out.put_i32(self.member_epoch);
        out.put_i32(self.previous_member_epoch);
        out.put_i8(self.state.code());
        encode_owned(&self.assigned, out);
        encode_owned(&self.pending_revocation, out);
        out.put_no_tagged_fields();
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        let member_epoch = from.i32("member epoch")?;
        let value = Self {
            member_epoch,
            previous_member_epoch: from.i32("previous member epoch")?,
            state: MemberState::from_code(from.i8("member state")?),
            assigned: decode_owned(from, member_epoch)?,
            pending_revocation: decode_owned(from, member_epoch)?,
        };
        from.tagged_fields(|_, _| Ok(()))?;
        Ok(value)
    }
}

fn encode_owned(owned: &OwnedPartitions, out: &mut Writer) {
    out.put_compact_count(owned.topics().count());
    for (topic, partitions) in owned.topics() {
        out.put_uuid(&topic.0);
        put_i32s(out, partitions.iter().map(|(partition, _)| *partition));
        let mut epochs = Writer::default();
        put_i32s(&mut epochs, partitions.iter().map(|(_, epoch)| *epoch));
        out.put_tagged_fields(&[(0, epochs.into_bytes())]);
    }
}

/// Before Kafka 4.3 partitions have no epochs of their own: then that of the member holds, but not a negative one.
fn decode_owned(from: &mut Reader<'_>, member_epoch: i32) -> Result<OwnedPartitions, RecordError> {
    let mut owned = Vec::new();
    for _ in 0..from.compact_count("owned topics", 18)? {
        let topic = TopicId(from.uuid("topic id")?);
        let partitions = i32s(from, "partitions")?;
        let mut epochs = None;
        from.tagged_fields(|tag, field| {
            if tag == 0 {
                epochs = Some(i32s(field, "assignment epochs")?);
            }
            Ok(())
        })?;
        let epochs = epochs.filter(|epochs| epochs.len() == partitions.len());
        let epochs = epochs.unwrap_or_else(|| vec![member_epoch.max(0); partitions.len()]);
        owned.extend(partitions.into_iter().zip(epochs).map(|(partition, epoch)| (topic, partition, epoch)));
    }
    Ok(owned.into_iter().collect())
}

impl ResolvedRegex {
    fn encode(&self, out: &mut Writer) {
        out.put_compact_count(self.topics.len());
        for topic in &self.topics {
            out.put_compact_string(topic);
        }
        out.put_i64(self.version);
        out.put_i64(self.timestamp_ms);
        out.put_no_tagged_fields();
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, RecordError> {
        let value = Self {
            topics: topic_names(from)?,
            version: from.i64("version")?,
            timestamp_ms: from.i64("timestamp")?,
        };
        from.tagged_fields(|_, _| Ok(()))?;
        Ok(value)
    }
}
