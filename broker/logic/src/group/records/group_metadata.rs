//! GroupMetadataValue (versions 0 to 4): a classic group with its members.
//!
//! Version notes: 1 adds rebalance timeouts, 2 the time of the current state, 3 instance ids; 4 is flexible. Kafka 4.3 writes 3.

use std::sync::Arc;

use super::wire::{Reader, RecordError, Writer};
use crate::group::{InstanceId, MemberId, Opaque};

/// The highest version that is read.
const VERSION_MAX: i16 = 4;
/// The version that is written.
const VERSION_WRITTEN: i16 = 3;
/// The least that a member takes, in bytes: five lengths and a timeout.
const MEMBER_BYTES_MIN: usize = 9;

/// A classic group as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadataValue {
    /// `consumer`, `connect`, …; empty for none.
    pub protocol_type: Arc<str>,
    /// Generation.
    pub generation: i32,
    /// The chosen protocol.
    pub protocol: Option<Arc<str>>,
    /// Member id of the leader.
    pub leader: Option<MemberId>,
    /// Since when the group is in its state, in milliseconds since 1970; -1 where the record is too old to say.
    pub current_state_timestamp_ms: i64,
    /// Its members.
    pub members: Vec<MemberMetadata>,
}

/// A member as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberMetadata {
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// -1 where the record is too old to say.
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// For the chosen protocol.
    pub subscription: Opaque,
    pub assignment: Opaque,
}

impl GroupMetadataValue {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Writer::default();
        value.put_i16(VERSION_WRITTEN);
        value.put_string(&self.protocol_type);
        value.put_i32(self.generation);
        value.put_nullable_string(self.protocol.as_deref());
        value.put_nullable_string(self.leader.as_deref());
        value.put_i64(self.current_state_timestamp_ms);
        value.put_count(self.members.len());
        for member in &self.members {
            value.put_string(&member.member_id);
            value.put_nullable_string(member.instance_id.as_deref());
            value.put_string(&member.client_id);
            value.put_string(&member.client_host);
            value.put_i32(member.rebalance_timeout_ms);
            value.put_i32(member.session_timeout_ms);
            value.put_bytes(&member.subscription);
            value.put_bytes(&member.assignment);
        }
        value.into_bytes()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, RecordError> {
        let mut value = Reader::new(value);
        let version = value.i16("version")?;
        if !(0..=VERSION_MAX).contains(&version) {
            return Err(RecordError::UnknownVersion { what: "GroupMetadataValue", version });
        }
        let mut fields = Fields { value: &mut value, compact: version >= 4 };
        let protocol_type = fields.string("protocol type")?.into();
        let generation = fields.value.i32("generation")?;
        let protocol = fields.nullable_string("protocol")?.map(Arc::from);
        let leader = fields.nullable_string("leader")?.map(MemberId::from);
        let current_state_timestamp_ms =
            if version >= 2 { fields.value.i64("current state timestamp")? } else { -1 };
        let count = fields.count("members", MEMBER_BYTES_MIN)?;
        let members = (0..count).map(|_| fields.member(version)).collect::<Result<Vec<_>, _>>()?;
        if version >= 4 {
            value.tagged_fields(|_, _| Ok(()))?;
        }
        Ok(Self { protocol_type, generation, protocol, leader, current_state_timestamp_ms, members })
    }
}

/// Fields whose lengths are compact from version 4 on.
struct Fields<'r, 'a> {
    value: &'r mut Reader<'a>,
    compact: bool,
}

impl<'a> Fields<'_, 'a> {
    fn string(&mut self, what: &'static str) -> Result<&'a str, RecordError> {
        if self.compact { self.value.compact_string(what) } else { self.value.string(what) }
    }

    fn nullable_string(&mut self, what: &'static str) -> Result<Option<&'a str>, RecordError> {
        if self.compact { self.value.compact_nullable_string(what) } else { self.value.nullable_string(what) }
    }

    fn bytes(&mut self, what: &'static str) -> Result<Opaque, RecordError> {
        if self.compact { self.value.compact_bytes(what) } else { self.value.bytes(what) }.map(Opaque::from)
    }

    fn count(&mut self, what: &'static str, element_bytes: usize) -> Result<usize, RecordError> {
        if self.compact {
            self.value.compact_count(what, element_bytes)
        } else {
            self.value.count(what, element_bytes)
        }
    }

    fn member(&mut self, version: i16) -> Result<MemberMetadata, RecordError> {
        let member_id = MemberId::from(self.string("member id")?);
        let instance_id = if version >= 3 {
            self.nullable_string("group instance id")?.map(InstanceId::from)
        } else {
            None
        };
        let client_id = self.string("client id")?.into();
        let client_host = self.string("client host")?.into();
        let rebalance_timeout_ms = if version >= 1 { self.value.i32("rebalance timeout")? } else { -1 };
        let session_timeout_ms = self.value.i32("session timeout")?;
        let subscription = self.bytes("subscription")?;
        let assignment = self.bytes("assignment")?;
        if self.compact {
            self.value.tagged_fields(|_, _| Ok(()))?;
        }
        Ok(MemberMetadata {
            member_id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms,
            session_timeout_ms,
            subscription,
            assignment,
        })
    }
}
