//! The state of one consumer group: what its records say, and what follows from them.
//!
//! Every change of the state is the replay of a record, the same one while serving and after a restart. Only whether the topics must be
//! looked at again is not recorded, and starts anew.
//! Deliberately absent: decisions (`heartbeat.rs` and its neighbours make records, and hand them to `replay`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::subscription::{Subscriptions, names_bytes};
use super::{Assignment, Member, MemberState};
use crate::controller::TopicId;
use crate::group::classic::metadata_bytes;
use crate::group::records::{ConsumerRecordBody, ResolvedRegex, TargetEpoch};
use crate::group::{GroupId, InstanceId, MemberId};

/// For how long the metadata of topics is good when nobody says otherwise, in milliseconds (Kafka's METADATA_REFRESH_INTERVAL_MS).
const METADATA_REFRESH_INTERVAL_MS: i64 = i32::MAX as i64;

/// The epochs of a group that nobody has joined.
const TARGET_EPOCH_INITIAL: TargetEpoch = TargetEpoch { epoch: 1, timestamp_ms: 0 };

/// One consumer group.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerGroup {
    pub(super) group_id: GroupId,
    pub(super) group_epoch: i32,
    pub(super) metadata_hash: i64,
    pub(super) target_epoch: TargetEpoch,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) targets: BTreeMap<MemberId, Assignment>,
    pub(super) static_members: BTreeMap<InstanceId, MemberId>,
    pub(super) resolved_regexes: BTreeMap<Arc<str>, ResolvedRegex>,
    /// What all members subscribed to, counted.
    pub(super) subscriptions: Subscriptions,
    /// How many members ask for each assignor.
    pub(super) assignors: BTreeMap<Arc<str>, usize>,
    /// The epoch of who owns a partition, or has yet to give it up. Topic ids are the controller's, so nobody chooses them.
    partition_epochs: HashMap<(TopicId, i32), i32>,
    /// How many members speak the classic protocol, and how many of them support each protocol.
    pub(super) classic_members: usize,
    pub(super) classic_protocols: BTreeMap<Arc<str>, usize>,
    /// What those brought along for each other, in bytes.
    classic_bytes: usize,
    /// Whether Kafka up to 4.0 left a ConsumerGroupPartitionMetadata record, which is to be removed.
    pub(super) has_partition_metadata: bool,
    /// When the topics must be looked at again, and the group epoch that the last look led to.
    metadata_refresh: Option<(i64, i32)>,
}

/// How a group is (Kafka's ConsumerGroupState).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerGroupState {
    /// It has no members.
    Empty,
    /// A target must be computed.
    Assigning,
    /// Members are on their way to their targets.
    Reconciling,
    /// Every member owns its target.
    Stable,
}

impl ConsumerGroupState {
    /// Its name in replies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

impl ConsumerGroup {
    /// A group without members.
    pub fn new(group_id: GroupId) -> Self {
        Self {
            group_id,
            group_epoch: TARGET_EPOCH_INITIAL.epoch,
            metadata_hash: 0,
            target_epoch: TARGET_EPOCH_INITIAL,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            static_members: BTreeMap::new(),
            resolved_regexes: BTreeMap::new(),
            subscriptions: Subscriptions::default(),
            assignors: BTreeMap::new(),
            partition_epochs: HashMap::new(),
            classic_members: 0,
            classic_protocols: BTreeMap::new(),
            classic_bytes: 0,
            has_partition_metadata: false,
            metadata_refresh: None,
        }
    }

    /// Its id.
    pub fn group_id(&self) -> &GroupId {
        &self.group_id
    }

    /// Its epoch, which grows with whatever asks for a new target.
    pub fn group_epoch(&self) -> i32 {
        self.group_epoch
    }

    /// The group epoch that the current target was computed for.
    pub fn target_epoch(&self) -> i32 {
        self.target_epoch.epoch
    }

    /// A member.
    pub fn member(&self, member_id: &str) -> Option<&Member> {
        self.members.get(member_id)
    }

    /// All members, by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// How many members there are.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// What its members' metadata takes, in bytes: subscriptions, and what classic members brought along.
    pub fn metadata_bytes(&self) -> usize {
        self.subscriptions.bytes() + self.classic_bytes
    }

    /// What the metadata of this member takes, or of the static member in whose place it would come, in bytes.
    pub fn metadata_bytes_of(&self, member_id: &str, instance_id: Option<&InstanceId>) -> usize {
        let of_instance = || self.static_member(instance_id?);
        self.member(member_id).or_else(of_instance).map_or(0, |member| {
            let classic = member.classic.as_ref().map_or(0, |classic| metadata_bytes(&classic.protocols));
            names_bytes(&member.subscribed_topic_names) + member.subscribed_topic_regex.len() + classic
        })
    }

    /// A member's target.
    pub fn target(&self, member_id: &str) -> Option<&Assignment> {
        self.targets.get(member_id)
    }

    /// The static member of this instance.
    pub fn static_member(&self, instance_id: &str) -> Option<&Member> {
        self.members.get(self.static_members.get(instance_id)?)
    }

    /// Whether a member subscribed to this topic, by name or by a regular expression.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscriptions.contains(topic)
    }

    /// How it is. Looks at every member.
    pub fn state(&self) -> ConsumerGroupState {
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.group_epoch > self.target_epoch.epoch {
            ConsumerGroupState::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.target_epoch.epoch)) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// The epoch of the member that owns this partition or has yet to give it up.
    pub(super) fn partition_epoch(&self, topic: TopicId, partition: i32) -> Option<i32> {
        self.partition_epochs.get(&(topic, partition)).copied()
    }

    /// Whether a classic member waits for partitions that others still own.
    pub(super) fn is_waiting_for_release(&self, member: &Member) -> bool {
        member.state == MemberState::UnreleasedPartitions
            && self.targets.get(&member.member_id).is_some_and(|target| {
                target.iter().any(|(topic, partition, ())| {
                    !member.assigned.contains(&topic, partition)
                        && self.partition_epoch(topic, partition).is_some()
                })
            })
    }

    /// Whether the topics must be looked at again.
    pub(super) fn is_metadata_stale(&self, now_ms: i64) -> bool {
        // A deadline of a group epoch that was never reached belongs to records that were lost.
        self.metadata_refresh
            .is_none_or(|(deadline_ms, epoch)| now_ms >= deadline_ms || self.group_epoch < epoch)
    }

    /// The topics were looked at, and that led to `group_epoch`.
    pub(super) fn metadata_is_fresh(&mut self, now_ms: i64, group_epoch: i32) {
        self.metadata_refresh = Some((now_ms + METADATA_REFRESH_INTERVAL_MS, group_epoch));
    }

    /// The topics have changed: the next heartbeat looks at them again.
    pub fn request_metadata_refresh(&mut self) {
        self.metadata_refresh = None;
    }

    /// Whether the group is gone once `body` has been replayed: its last record is the tombstone of its epoch.
    pub fn is_removed_by(body: &ConsumerRecordBody) -> bool {
        matches!(body, ConsumerRecordBody::Epoch(None))
    }

    /// Applies a record. Records come in the order of the log, but after compaction not all of them: nothing is taken for granted.
    pub fn replay(&mut self, body: ConsumerRecordBody) {
        use ConsumerRecordBody as Body;
        match body {
            Body::Epoch(Some(value)) => {
                self.group_epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            Body::Epoch(None) => {}
            Body::PartitionMetadata(there) => self.has_partition_metadata = there,
            Body::Member(member_id, Some(value)) => {
                self.change_member(member_id, |m| m.replay_metadata(value))
            }
            Body::Member(member_id, None) => {
                if let Some(member) = self.members.remove(&member_id) {
                    self.uncount(&member);
                    if let Some(instance_id) = &member.instance_id
                        && self.static_members.get(instance_id) == Some(&member_id)
                    {
                        self.static_members.remove(instance_id);
                    }
                }
            }
            Body::TargetEpoch(value) => {
                self.target_epoch = value.unwrap_or(TargetEpoch { epoch: -1, timestamp_ms: 0 });
            }
            Body::TargetMember(member_id, Some(value)) => {
                self.targets.insert(member_id, value);
            }
            Body::TargetMember(member_id, None) => {
                self.targets.remove(&member_id);
            }
            Body::CurrentAssignment(member_id, Some(value)) => {
                self.change_member(member_id, |m| m.replay_current_assignment(value));
            }
            Body::CurrentAssignment(member_id, None) => {
                if self.members.contains_key(&member_id) {
                    self.change_member(member_id, Member::replay_no_current_assignment);
                }
            }
            Body::RegularExpression(regex, value) => {
                let before = match value {
                    Some(value) => {
                        self.subscriptions.add_resolved(&value);
                        self.resolved_regexes.insert(regex, value)
                    }
                    None => self.resolved_regexes.remove(&regex),
                };
                if let Some(before) = before {
                    self.subscriptions.remove_resolved(&before);
                }
            }
        }
    }

    fn change_member(&mut self, member_id: MemberId, change: impl FnOnce(&mut Member)) {
        let mut member = match self.members.remove(&member_id) {
            Some(member) => {
                self.uncount(&member);
                member
            }
            None => Member::new(member_id.clone()),
        };
        change(&mut member);
        self.count(&mut member);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member_id.clone());
        }
        self.members.insert(member_id, member);
    }

    fn count(&mut self, member: &mut Member) {
        self.subscriptions.add_member(member);
        if let Some(assignor) = &member.server_assignor {
            *self.assignors.entry(Arc::clone(assignor)).or_default() += 1;
        }
        for (topic, partition, _) in member.assigned.iter().chain(member.pending_revocation.iter()) {
            let epoch = self.partition_epochs.entry((topic, partition)).or_insert(member.member_epoch);
            *epoch = (*epoch).max(member.member_epoch);
        }
        if let Some(classic) = &member.classic {
            self.classic_members += 1;
            self.classic_bytes += metadata_bytes(&classic.protocols);
            for protocol in &classic.protocols {
                *self.classic_protocols.entry(Arc::clone(&protocol.name)).or_default() += 1;
            }
        }
    }

    fn uncount(&mut self, member: &Member) {
        self.subscriptions.remove_member(member);
        if let Some(assignor) = &member.server_assignor {
            decrement(&mut self.assignors, assignor);
        }
        for (topic, partition, _) in member.assigned.iter().chain(member.pending_revocation.iter()) {
            // Another member that took it over at a later epoch keeps it.
            if self.partition_epochs.get(&(topic, partition)) == Some(&member.member_epoch) {
                self.partition_epochs.remove(&(topic, partition));
            }
        }
        if let Some(classic) = &member.classic {
            self.classic_members -= 1;
            self.classic_bytes -= metadata_bytes(&classic.protocols);
            for protocol in &classic.protocols {
                decrement(&mut self.classic_protocols, &protocol.name);
            }
        }
    }
}

/// One less of `key`, and nothing of it when none is left.
pub(super) fn decrement(counts: &mut BTreeMap<Arc<str>, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
