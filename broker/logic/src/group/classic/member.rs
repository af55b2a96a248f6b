//! A member of a classic group: what it told when it joined, and which of its requests wait.
//!
//! Deliberately absent: deadlines, which are timers of the coordinator.

use std::sync::Arc;

use crate::group::records::{GroupMetadataValue, MemberMetadata};
use crate::group::{Client, InstanceId, JoinGroup, MemberId, Opaque, Protocol, ReplyId};

/// A member.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub client: Client,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub protocol_type: Arc<str>,
    /// Most preferred first. After a restart, only the chosen one is known.
    pub protocols: Vec<Protocol>,
    pub assignment: Opaque,
    /// Its JoinGroup that waits for the others.
    pub(in crate::group) parked_join: Option<ReplyId>,
    /// Its SyncGroup that waits for the leader's.
    pub(in crate::group) parked_sync: Option<ReplyId>,
    /// It has not been told its member id yet, so no heartbeat can come.
    pub(in crate::group) is_new: bool,
}

impl Member {
    pub(super) fn new(member_id: MemberId, request: &JoinGroup, awaiting: ReplyId) -> Self {
        Self {
            member_id,
            instance_id: request.instance_id.clone(),
            client: request.client.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocol_type: request.protocol_type.clone(),
            protocols: request.protocols.clone(),
            assignment: Opaque::default(),
            parked_join: Some(awaiting),
            parked_sync: None,
            is_new: true,
        }
    }

    pub(super) fn from_record(kept: &MemberMetadata, group: &GroupMetadataValue) -> Self {
        let rebalance_timeout_ms = match kept.rebalance_timeout_ms {
            -1 => kept.session_timeout_ms,
            timeout_ms => timeout_ms,
        };
        Self {
            member_id: kept.member_id.clone(),
            instance_id: kept.instance_id.clone(),
            client: Client { id: kept.client_id.clone(), host: kept.client_host.clone() },
            rebalance_timeout_ms,
            session_timeout_ms: kept.session_timeout_ms,
            protocol_type: group.protocol_type.clone(),
            protocols: vec![Protocol {
                name: group.protocol.clone().unwrap_or_default(),
                metadata: kept.subscription.clone(),
            }],
            assignment: kept.assignment.clone(),
            parked_join: None,
            parked_sync: None,
            is_new: false,
        }
    }

    /// Its metadata for a protocol; empty for one that it does not support.
    pub fn metadata(&self, protocol: &str) -> Opaque {
        let found = self.protocols.iter().find(|supported| *supported.name == *protocol);
        found.map(|supported| supported.metadata.clone()).unwrap_or_default()
    }

    /// Whether it counts as alive although no heartbeat came: a waiting request is a sign of life, except from a new
    /// member, whose client may have given up long ago.
    pub(super) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.parked_join.is_some() || self.parked_sync.is_some())
    }
}
