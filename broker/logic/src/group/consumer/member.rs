//! A member of a consumer group: who it is, what it subscribed to, what it owns and how far it is with its target.
//!
//! Changed only by replaying records (`group.rs`). A member that joined a consumer group with the classic protocol carries what that needs.
//! Deliberately absent: its target, which the group keeps, and its timers.

use std::sync::Arc;

use super::OwnedPartitions;
use crate::group::records::{ConsumerMemberMetadata, CurrentAssignment};
use crate::group::{InstanceId, MemberId, Protocol};

/// The member epoch of a request to leave.
pub const LEAVE_EPOCH: i32 = -1;
/// The member epoch of a static member's request to leave and come back.
pub const LEAVE_STATIC_EPOCH: i32 = -2;

/// How far a member is with its target (Kafka's MemberState).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It owns what the target of its epoch says.
    Stable,
    /// It must give partitions up first.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given up.
    UnreleasedPartitions,
    /// A newer Kafka wrote something else.
    Unknown,
}

impl MemberState {
    /// Its number in records.
    pub fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }

    /// The state of this number.
    pub fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

/// What a member that speaks the classic protocol brought along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMember {
    /// Its session timeout, in milliseconds.
    pub session_timeout_ms: i32,
    /// Its protocols, most preferred first: never empty.
    pub protocols: Vec<Protocol>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub member_id: MemberId,
    /// The epoch that it is expected to send; -2 while a static member is away.
    pub member_epoch: i32,
    /// The one before.
    pub previous_member_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<InstanceId>,
    /// `client.rack`.
    pub rack_id: Option<Arc<str>>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// Its address, as Java prints it.
    pub client_host: Arc<str>,
    /// Names of subscribed topics, sorted, each there once. Members with equal subscriptions share them.
    pub subscribed_topic_names: Arc<[Arc<str>]>,
    /// Regular expression of subscribed topics; empty for none.
    pub subscribed_topic_regex: Arc<str>,
    /// How long it may take to give partitions up, in milliseconds; -1 when unknown.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it asks for.
    pub server_assignor: Option<Arc<str>>,
    /// What it owns.
    pub assigned: OwnedPartitions,
    /// What it must give up.
    pub pending_revocation: OwnedPartitions,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<Arc<ClassicMember>>,
}

impl Member {
    /// A member of which nothing is known but its id.
    pub fn new(member_id: MemberId) -> Self {
        Self {
            member_id,
            member_epoch: 0,
            previous_member_epoch: -1,
            state: MemberState::Stable,
            instance_id: None,
            rack_id: None,
            client_id: "".into(),
            client_host: "".into(),
            subscribed_topic_names: Arc::default(),
            subscribed_topic_regex: "".into(),
            rebalance_timeout_ms: -1,
            server_assignor: None,
            assigned: OwnedPartitions::default(),
            pending_revocation: OwnedPartitions::default(),
            classic: None,
        }
    }

    /// Its regular expression, if it has one.
    pub fn regex(&self) -> Option<&Arc<str>> {
        Some(&self.subscribed_topic_regex).filter(|regex| !regex.is_empty())
    }

    /// Whether it owns what the target of this epoch says.
    pub fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.member_epoch == target_epoch
    }

    /// The member as it is at a new epoch, remembering the one before.
    #[must_use]
    pub(super) fn at_epoch(mut self, member_epoch: i32) -> Self {
        self.previous_member_epoch = self.member_epoch;
        self.member_epoch = member_epoch;
        self
    }

    /// Value of its ConsumerGroupMemberMetadata record.
    pub(super) fn metadata(&self) -> ConsumerMemberMetadata {
        ConsumerMemberMetadata {
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            client_id: Arc::clone(&self.client_id),
            client_host: Arc::clone(&self.client_host),
            subscribed_topic_names: Arc::clone(&self.subscribed_topic_names),
            subscribed_topic_regex: Arc::clone(&self.subscribed_topic_regex),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.server_assignor.clone(),
            classic: self.classic.clone(),
        }
    }

    /// Value of its ConsumerGroupCurrentMemberAssignment record.
    pub(super) fn current_assignment(&self) -> CurrentAssignment {
        CurrentAssignment {
            member_epoch: self.member_epoch,
            previous_member_epoch: self.previous_member_epoch,
            state: self.state,
            assigned: self.assigned.clone(),
            pending_revocation: self.pending_revocation.clone(),
        }
    }

    pub(super) fn replay_metadata(&mut self, value: ConsumerMemberMetadata) {
        self.instance_id = value.instance_id;
        self.rack_id = value.rack_id;
        self.client_id = value.client_id;
        self.client_host = value.client_host;
        self.subscribed_topic_names = value.subscribed_topic_names;
        self.subscribed_topic_regex = value.subscribed_topic_regex;
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.server_assignor = value.server_assignor;
        self.classic = value.classic;
    }

    pub(super) fn replay_current_assignment(&mut self, value: CurrentAssignment) {
        self.member_epoch = value.member_epoch;
        self.previous_member_epoch = value.previous_member_epoch;
        self.state = value.state;
        self.assigned = value.assigned;
        self.pending_revocation = value.pending_revocation;
    }

    /// What the tombstone of its ConsumerGroupCurrentMemberAssignment record leaves.
    pub(super) fn replay_no_current_assignment(&mut self) {
        self.member_epoch = LEAVE_EPOCH;
        self.previous_member_epoch = LEAVE_EPOCH;
        self.assigned = OwnedPartitions::default();
        self.pending_revocation = OwnedPartitions::default();
    }
}
