//! ConsumerGroupHeartbeat and ConsumerGroupDescribe as plain values, and what a heartbeat must look like.
//!
//! Made by `api`, checked before the group is looked at (Kafka's `throwIfConsumerGroupHeartbeatRequestIsInvalid`). Deliberately absent: the wire.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::subscription::names_bytes;
use super::{LEAVE_EPOCH, LEAVE_STATIC_EPOCH, Member, OwnedPartitions};
use crate::controller::TopicId;
use crate::group::assignors::Assignor;
use crate::group::{Client, GroupError, GroupErrorKind, GroupId, InstanceId, MemberId};

/// The longest string that the key of a record can hold, in bytes.
const KEY_STRING_BYTES_MAX: usize = i16::MAX as usize;

/// What a member says it owns, by topic.
pub type Owned = BTreeMap<TopicId, Vec<i32>>;

/// ConsumerGroupHeartbeat.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerGroupHeartbeat {
    /// Version of the request: from 1 on a member makes its own id.
    pub version: i16,
    pub group_id: GroupId,
    /// Empty for a new member of version 0.
    pub member_id: MemberId,
    /// 0 joins, -1 leaves, -2 leaves to come back as a static member.
    pub member_epoch: i32,
    pub instance_id: Option<InstanceId>,
    pub rack_id: Option<Arc<str>>,
    /// -1 for no change.
    pub rebalance_timeout_ms: i32,
    /// None for no change.
    pub subscribed_topic_names: Option<Vec<Arc<str>>>,
    /// None for no change, empty for none.
    pub subscribed_topic_regex: Option<Arc<str>>,
    pub server_assignor: Option<Arc<str>>,
    /// What the member owns; None for no change.
    pub owned: Option<Owned>,
    pub client: Client,
}

/// ConsumerGroupHeartbeat's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerGroupHeartbeatReply {
    pub member_id: MemberId,
    pub member_epoch: i32,
    /// 0 for who leaves.
    pub heartbeat_interval_ms: i32,
    /// None: what it was told last holds. An empty one takes everything.
    pub assignment: Option<super::Assignment>,
}

/// A group as ConsumerGroupDescribe shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerGroupDescription {
    pub state: &'static str,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: Arc<str>,
    pub members: Vec<MemberDescription>,
}

/// A member as ConsumerGroupDescribe shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberDescription {
    pub member: Member,
    /// What it owns and what it has yet to give up; `api` leaves out topics that are gone.
    pub assigned: OwnedPartitions,
    pub target: super::Assignment,
}

impl ConsumerGroupHeartbeat {
    /// Whether it asks to leave.
    pub fn leaves(&self) -> bool {
        matches!(self.member_epoch, LEAVE_EPOCH | LEAVE_STATIC_EPOCH)
    }

    /// What the member's metadata would take with it, in bytes; None when it changes nothing of it.
    pub fn metadata_bytes(&self) -> Option<usize> {
        let names = self.subscribed_topic_names.as_ref().map(|names| names_bytes(names));
        let regex = self.subscribed_topic_regex.as_ref().map(|regex| regex.len());
        (names.is_some() || regex.is_some()).then(|| names.unwrap_or(0) + regex.unwrap_or(0))
    }

    /// Whether it says everything about the member, and so is told everything.
    pub(super) fn is_full(&self) -> bool {
        self.rebalance_timeout_ms != -1
            && (self.subscribed_topic_names.is_some() || self.subscribed_topic_regex.is_some())
            && self.owned.is_some()
    }

    /// Refuses what no member may say.
    ///
    /// # Errors
    /// INVALID_REQUEST or UNSUPPORTED_ASSIGNOR, with Kafka's words.
    pub fn check(&self, assignors: &[Assignor]) -> Result<(), GroupError> {
        let invalid = |message: &'static str| Err(GroupErrorKind::InvalidRequest.because(message));
        let empty = |text: Option<&str>| text.is_some_and(|text| text.trim().is_empty());
        let needs_member_id = self.version >= 1 || self.member_epoch > 0 || self.member_epoch == LEAVE_EPOCH;
        if needs_member_id && empty(Some(&self.member_id)) {
            return invalid("MemberId can't be empty.");
        }
        if empty(Some(&self.group_id)) {
            return invalid("GroupId can't be empty.");
        }
        if empty(self.instance_id.as_deref()) {
            return invalid("InstanceId can't be empty.");
        }
        if empty(self.rack_id.as_deref()) {
            return invalid("RackId can't be empty.");
        }
        match self.member_epoch {
            0 => {
                if self.rebalance_timeout_ms == -1 {
                    return invalid("RebalanceTimeoutMs must be provided in first request.");
                }
                if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
                    return invalid("TopicPartitions must be empty when (re-)joining.");
                }
                if self.subscribed_topic_names.is_none() && self.subscribed_topic_regex.is_none() {
                    return invalid(
                        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
                    );
                }
            }
            LEAVE_STATIC_EPOCH if self.instance_id.is_none() => return invalid("InstanceId can't be null."),
            ..LEAVE_STATIC_EPOCH => return invalid("MemberEpoch is invalid."),
            _ => {}
        }
        if let Some(name) = &self.server_assignor
            && !assignors.iter().any(|assignor| assignor.name() == &**name)
        {
            let supported: Vec<_> = assignors.iter().map(|assignor| assignor.name()).collect();
            return Err(GroupErrorKind::UnsupportedAssignor.because(format!(
                "ServerAssignor {name} is not supported. Supported assignors: {}.",
                supported.join(", ")
            )));
        }
        self.check_lengths()
    }

    /// Strings that a record could not hold. Kafka fails on them with UNKNOWN_SERVER_ERROR.
    fn check_lengths(&self) -> Result<(), GroupError> {
        let names =
            self.subscribed_topic_names.iter().flatten().map(|name| ("SubscribedTopicNames", &**name));
        let strings: [(&str, Option<&str>); 5] = [
            ("GroupId", Some(&self.group_id)),
            ("MemberId", Some(&self.member_id)),
            ("InstanceId", self.instance_id.as_deref()),
            ("RackId", self.rack_id.as_deref()),
            ("SubscribedTopicRegex", self.subscribed_topic_regex.as_deref()),
        ];
        let given = strings.into_iter().filter_map(|(field, text)| Some((field, text?)));
        for (field, text) in given.chain(names) {
            if text.len() > KEY_STRING_BYTES_MAX {
                return Err(GroupErrorKind::InvalidRequest.because(format!(
                    "{field} has {} bytes; a group's records can hold {KEY_STRING_BYTES_MAX}.",
                    text.len()
                )));
            }
        }
        Ok(())
    }
}
