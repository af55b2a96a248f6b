//! The groups of one partition of `__consumer_offsets`: requests and deadlines in, outcomes out; records replayed.
//!
//! This file finds the group that a request is about and hands it on. Kafka's GroupCoordinatorShard with its two managers.
//! Deliberately absent: what is done to a classic group (`classic`), to offsets (`commit`, `expiry`).

use std::collections::{BTreeMap, BTreeSet};

use super::classic::{After, ClassicGroup, State as ClassicState, Step, metadata_bytes};
use super::consumer::{ConsumerGroup, TopicHashes};
use super::offsets::Offsets;
use super::records::ConsumerRecord;
use super::{
    Context, DescribedGroup, GroupConfig, GroupError, GroupErrorKind, GroupId, GroupRecord, InstanceId,
    JoinGroup, JoinGroupReply, LeaveGroup, LeftMember, ListGroups, ListedGroup, MemberId, Outcome, Reply,
    ReplyId, Request, SyncGroupReply, TimerKey, Timers,
};

/// Groups of one coordinator, beyond which new ones are refused: bounds what a client that invents names can take.
pub(super) const GROUPS_MAX: usize = 100_000;
/// Bytes of members' metadata in one coordinator: subscriptions, and what classic members say to each other. Beyond it members are refused
/// (GROUP_MAX_SIZE_REACHED). A member's own lies in one record, which `max.message.bytes` bounds far below this.
const METADATA_BYTES_MAX: usize = 32 << 20;
/// What a group is that does not exist (Kafka's ClassicGroupState.DEAD).
const DEAD: &str = "Dead";

/// A group of whatever kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Group {
    /// Members elect a leader, which assigns.
    Classic(Box<ClassicGroup>),
    /// The coordinator assigns (KIP-848).
    Consumer(Box<ConsumerGroup>),
}

impl Group {
    /// Whether it has no members.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.state() == ClassicState::Empty,
            Self::Consumer(group) => group.member_count() == 0,
        }
    }

    /// What its members' metadata takes, in bytes.
    pub fn metadata_bytes(&self) -> usize {
        match self {
            Self::Classic(group) => group.metadata_bytes(),
            Self::Consumer(group) => group.metadata_bytes(),
        }
    }

    fn metadata_bytes_of(&self, member_id: &str, instance_id: Option<&InstanceId>) -> usize {
        match self {
            Self::Classic(group) => group.metadata_bytes_of(member_id, instance_id),
            Self::Consumer(group) => group.metadata_bytes_of(member_id, instance_id),
        }
    }

    /// Whether a topic's offsets must be kept because a member consumes it.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed_to(topic),
            Self::Consumer(group) => group.is_subscribed_to(topic),
        }
    }

    /// The records that make nothing of it.
    pub(super) fn tombstones(&self, group_id: &GroupId) -> Vec<GroupRecord> {
        match self {
            Self::Classic(_) => vec![GroupRecord::GroupMetadata(group_id.clone(), None)],
            Self::Consumer(group) => {
                let record =
                    |body| GroupRecord::Consumer(ConsumerRecord { group_id: group_id.clone(), body });
                group.tombstones().into_iter().map(record).collect()
            }
        }
    }
}

/// The groups of one partition of `__consumer_offsets`.
#[derive(Debug, Default)]
pub struct GroupCoordinator {
    /// Ordered, so that lists and expiry are the same every time.
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) offsets: Offsets,
    pub(super) timers: Timers,
    /// Hashes of topics that consumer groups subscribed to.
    pub(super) hashes: TopicHashes,
    /// Version of the last image that brought new topics.
    pub(super) new_topics_version: u64,
    /// Consumer groups whose regular expressions are being resolved.
    pub(super) regexes_under_way: BTreeSet<GroupId>,
    /// What the metadata of all groups' members takes, in bytes.
    metadata_bytes: usize,
    /// The last group whose member was refused for want of room.
    refused_for_room: Option<GroupId>,
}

impl GroupCoordinator {
    /// Knows nothing yet: replay the partition's records, then call [`Self::loaded`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Its groups.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&GroupId, &Group)> {
        self.groups.iter()
    }

    /// Its committed offsets.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// What the metadata of all members takes, in bytes.
    pub fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    /// A group whose member was refused since the last call because all members' metadata together takes too much, and the limit in bytes.
    pub fn take_refused_for_room(&mut self) -> Option<(GroupId, usize)> {
        self.refused_for_room.take().map(|group_id| (group_id, METADATA_BYTES_MAX))
    }

    /// Refuses a member that brings more than there is room for. What it brought before it may bring again.
    ///
    /// # Errors
    /// GROUP_MAX_SIZE_REACHED, which clients show to their users instead of trying again.
    pub(super) fn check_room(
        &mut self,
        group_id: &GroupId,
        member_id: &str,
        instance_id: Option<&InstanceId>,
        brings_bytes: usize,
    ) -> Result<(), GroupError> {
        let group = self.groups.get(group_id);
        let had_bytes = group.map_or(0, |group| group.metadata_bytes_of(member_id, instance_id));
        if brings_bytes <= had_bytes + METADATA_BYTES_MAX.saturating_sub(self.metadata_bytes) {
            return Ok(());
        }
        self.refused_for_room = Some(group_id.clone());
        Err(GroupErrorKind::GroupMaxSizeReached.because(format!(
            "The member brings {brings_bytes} bytes of metadata, and the members of all groups of this coordinator have {} of {METADATA_BYTES_MAX}. Subscribe to fewer topics, or let fewer members join.",
            self.metadata_bytes
        )))
    }

    fn metadata_bytes_in(&self, group_id: &GroupId) -> usize {
        self.groups.get(group_id).map_or(0, Group::metadata_bytes)
    }

    /// Takes over what a change of a group made of its members' metadata.
    pub(super) fn weigh(&mut self, group_id: &GroupId, bytes_before: usize) {
        self.metadata_bytes =
            (self.metadata_bytes + self.metadata_bytes_in(group_id)).saturating_sub(bytes_before);
    }

    /// When to call [`Self::expire`].
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.timers.next_deadline_ms()
    }

    /// Decides a request. The reply may come with this outcome or a later one.
    pub fn decide(&mut self, context: &mut Context<'_>, id: ReplyId, request: Request) -> Outcome {
        match request {
            Request::JoinGroup(request) => self.join(context, id, &request),
            Request::SyncGroup(request) => {
                if request.group_id.is_empty() {
                    let refused = SyncGroupReply::refused(GroupErrorKind::InvalidGroupId);
                    return Outcome::reply(id, Reply::SyncGroup(refused));
                }
                if let Some(outcome) = self.consumer_classic_sync(context, id, &request) {
                    return outcome;
                }
                match self.classic_step(context, &request.group_id.clone(), |step| step.sync(id, request)) {
                    Some(outcome) => outcome,
                    None => {
                        let refused = SyncGroupReply::refused(GroupErrorKind::UnknownMemberId);
                        Outcome::reply(id, Reply::SyncGroup(refused))
                    }
                }
            }
            Request::Heartbeat(request) => {
                let refused = |error| Outcome::reply(id, Reply::Heartbeat(Err(error)));
                if request.group_id.is_empty() {
                    return refused(GroupErrorKind::InvalidGroupId);
                }
                self.classic_step(context, &request.group_id, |step| step.heartbeat(id, &request))
                    .or_else(|| self.consumer_classic_heartbeat(context, id, &request))
                    .unwrap_or_else(|| refused(GroupErrorKind::UnknownMemberId))
            }
            Request::LeaveGroup(request) => self.leave(context, id, &request),
            Request::OffsetCommit(request) => self.commit(context, id, request),
            Request::OffsetFetch(request) => self.fetch_offsets(id, &request),
            Request::OffsetDelete(request) => self.delete_offsets(id, &request),
            Request::DescribeGroups(group_ids) => {
                let described = group_ids.into_iter().map(|group_id| self.describe(group_id)).collect();
                Outcome::reply(id, Reply::DescribeGroups(described))
            }
            Request::ListGroups(filter) => Outcome::reply(id, Reply::ListGroups(Ok(self.list(&filter)))),
            Request::DeleteGroups(group_ids) => self.delete_groups(id, group_ids),
            Request::ConsumerGroupHeartbeat(request) => self.consumer_heartbeat(context, id, &request),
            Request::ConsumerGroupDescribe(group_ids) => {
                let config = &context.config.consumer;
                let described = group_ids.into_iter().map(|group_id| {
                    let described = self.consumer_group(&group_id).map(|group| group.describe(config));
                    (group_id, described)
                });
                Outcome::reply(id, Reply::ConsumerGroupDescribe(described.collect()))
            }
        }
    }

    /// Changes a classic group; None when there is none of this name.
    pub(super) fn classic_step(
        &mut self,
        context: &mut Context<'_>,
        group_id: &GroupId,
        change: impl FnOnce(&mut Step<'_, '_>),
    ) -> Option<Outcome> {
        let Some(Group::Classic(group)) = self.groups.get_mut(group_id) else { return None };
        let before = group.metadata_bytes();
        let mut step = Step::new(group, &mut self.timers, context);
        change(&mut step);
        let outcome = step.outcome;
        self.weigh(group_id, before);
        Some(outcome)
    }

    fn join(&mut self, context: &mut Context<'_>, id: ReplyId, request: &JoinGroup) -> Outcome {
        let refused = |member_id: &MemberId, error| {
            Outcome::reply(id, Reply::JoinGroup(JoinGroupReply::refused(member_id.clone(), error)))
        };
        let GroupConfig { min_session_timeout_ms, max_session_timeout_ms, .. } = *context.config;
        if request.group_id.is_empty() {
            return refused(&request.member_id, GroupErrorKind::InvalidGroupId);
        }
        if !(min_session_timeout_ms..=max_session_timeout_ms).contains(&request.session_timeout_ms) {
            return refused(&request.member_id, GroupErrorKind::InvalidSessionTimeout);
        }
        let brings = metadata_bytes(&request.protocols);
        let instance_id = request.instance_id.as_ref();
        if let Err(error) = self.check_room(&request.group_id, &request.member_id, instance_id, brings) {
            return refused(&request.member_id, error.kind);
        }
        // A consumer group without members gives way.
        let gives_way = match self.groups.get(&request.group_id) {
            Some(group @ Group::Consumer(_)) if group.is_empty() => group.tombstones(&request.group_id),
            _ => Vec::new(),
        };
        let is_new = !gives_way.is_empty() || !self.groups.contains_key(&request.group_id);
        if is_new {
            if !request.member_id.is_empty() {
                return refused(&request.member_id, GroupErrorKind::UnknownMemberId);
            }
            if self.groups.len() >= GROUPS_MAX {
                return refused(&request.member_id, GroupErrorKind::CoordinatorNotAvailable);
            }
            let group = ClassicGroup::new(request.group_id.clone(), context.now.wall_ms);
            self.groups.insert(request.group_id.clone(), Group::Classic(Box::new(group)));
        }
        if let Some(outcome) = self.consumer_classic_join(context, id, request) {
            return outcome;
        }
        let joined = self.classic_step(context, &request.group_id, |step| {
            step.join(id, request);
            if is_new && step.outcome.records.is_empty() {
                step.outcome.records.push(step.group.empty_record());
                step.outcome.applied = true;
                step.outcome.after = Some(After::Created(request.group_id.clone()));
            }
            step.outcome.records.splice(0..0, gives_way);
        });
        joined.unwrap_or_else(|| refused(&request.member_id, GroupErrorKind::InconsistentGroupProtocol))
    }

    fn leave(&mut self, context: &mut Context<'_>, id: ReplyId, request: &LeaveGroup) -> Outcome {
        if request.group_id.is_empty() {
            return Outcome::reply(id, Reply::LeaveGroup(Err(GroupErrorKind::InvalidGroupId)));
        }
        let left = self
            .classic_step(context, &request.group_id, |step| step.leave(id, request))
            .or_else(|| self.consumer_classic_leave(context, id, request));
        left.unwrap_or_else(|| {
            let unknown = request.members.iter().map(|member| LeftMember {
                member_id: member.member_id.clone(),
                instance_id: member.instance_id.clone(),
                error: Some(GroupErrorKind::UnknownMemberId),
            });
            Outcome::reply(id, Reply::LeaveGroup(Ok(unknown.collect())))
        })
    }

    /// A consumer group.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND.
    fn consumer_group(&self, group_id: &GroupId) -> Result<&ConsumerGroup, GroupError> {
        match self.groups.get(group_id) {
            Some(Group::Consumer(group)) => Ok(group.as_ref()),
            Some(Group::Classic(_)) => {
                Err(GroupErrorKind::GroupIdNotFound
                    .because(format!("Group {group_id} is not a consumer group.")))
            }
            None => Err(GroupErrorKind::GroupIdNotFound.because(format!("Group {group_id} not found."))),
        }
    }

    fn describe(&self, group_id: GroupId) -> DescribedGroup {
        match self.groups.get(&group_id) {
            Some(Group::Classic(group)) => group.describe(),
            Some(Group::Consumer(_)) => DescribedGroup {
                state: DEAD,
                message: Some(format!("Group {group_id} is not a classic group.")),
                ..DescribedGroup::refused(group_id, GroupErrorKind::GroupIdNotFound)
            },
            None => DescribedGroup {
                state: DEAD,
                message: Some(format!("Group {group_id} not found.")),
                ..DescribedGroup::refused(group_id, GroupErrorKind::GroupIdNotFound)
            },
        }
    }

    fn list(&self, filter: &ListGroups) -> Vec<ListedGroup> {
        // Kafka compares both without looking at case.
        let wanted = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let listed = self.groups.values().map(|group| match group {
            Group::Classic(group) => group.listed(),
            Group::Consumer(group) => group.listed(),
        });
        listed
            .filter(|group| wanted(&filter.states, group.state) && wanted(&filter.types, group.group_type))
            .collect()
    }

    /// What an append was for can go on: `stored` says whether its records are durable, or why they were not appended.
    pub fn settle(
        &mut self,
        context: &mut Context<'_>,
        after: After,
        stored: Result<(), GroupErrorKind>,
    ) -> Outcome {
        let group_id = after.group_id().clone();
        let settled = match (after, stored) {
            (After::Regexes(_, resolving), Ok(())) => {
                Some(self.resolve_regexes(context, &group_id, resolving))
            }
            (After::Regexes(..), Err(_)) => {
                self.regexes_under_way.remove(&group_id);
                None
            }
            (After::Created(_), Ok(())) => None,
            (After::Created(_), Err(error)) => {
                let refused = self.classic_step(context, &group_id, |step| step.refuse_all(error));
                let before = self.metadata_bytes_in(&group_id);
                self.drop_group(&group_id);
                self.weigh(&group_id, before);
                refused
            }
            (After::Assigned(assigned), stored) => {
                self.classic_step(context, &group_id, |step| step.settle_assigned(assigned, stored))
            }
            (After::Returned(returned), stored) => {
                self.classic_step(context, &group_id, |step| step.settle_returned(*returned, stored))
            }
        };
        settled.unwrap_or_default()
    }

    /// Does what is due next; None when nothing is. To be called until then.
    pub fn expire(&mut self, context: &mut Context<'_>) -> Option<Outcome> {
        let outcome = match self.timers.pop_due(context.now.monotonic_ms)? {
            TimerKey::Heartbeat(group_id, member_id) => {
                self.classic_step(context, &group_id, |step| step.heartbeat_deadline(&member_id))
            }
            TimerKey::Join(group_id) => self.classic_step(context, &group_id, |step| step.join_deadline()),
            TimerKey::Sync(group_id) => self.classic_step(context, &group_id, |step| step.sync_deadline()),
            TimerKey::Consumer(group_id, member_id, timer) => {
                self.consumer_deadline(context, &group_id, member_id, timer)
            }
            TimerKey::OffsetExpiry(after) => Some(self.expire_offsets(context, after)),
        };
        Some(outcome.unwrap_or_default())
    }

    /// Applies a record that was appended, or found in the log. `now_ms` dates a group that only its offsets tell of.
    pub fn replay(&mut self, record: &GroupRecord, now_ms: i64) {
        let changed = match record {
            // Offsets have no members.
            GroupRecord::OffsetCommit(..) => None,
            GroupRecord::GroupMetadata(group_id, _) => Some(group_id),
            GroupRecord::Consumer(record) => Some(&record.group_id),
        };
        let before = changed.map_or(0, |group_id| self.metadata_bytes_in(group_id));
        self.apply(record, now_ms);
        if let Some(group_id) = changed {
            self.weigh(group_id, before);
        }
    }

    fn apply(&mut self, record: &GroupRecord, now_ms: i64) {
        match record {
            GroupRecord::OffsetCommit(key, Some(value)) => {
                if !self.groups.contains_key(&key.group_id) {
                    let group = ClassicGroup::new(key.group_id.clone(), now_ms);
                    self.groups.insert(key.group_id.clone(), Group::Classic(Box::new(group)));
                }
                self.offsets.put(key, value.clone());
            }
            GroupRecord::OffsetCommit(key, None) => self.offsets.remove(key),
            GroupRecord::GroupMetadata(group_id, Some(value)) => {
                let group = ClassicGroup::from_record(group_id.clone(), value);
                self.groups.insert(group_id.clone(), Group::Classic(Box::new(group)));
            }
            // The tombstone of a classic group that became a consumer group.
            GroupRecord::GroupMetadata(group_id, None)
                if matches!(self.groups.get(group_id), Some(Group::Consumer(_))) => {}
            GroupRecord::GroupMetadata(group_id, None) => self.drop_group(group_id),
            GroupRecord::Consumer(record) => self.replay_consumer(record),
        }
    }

    pub(super) fn drop_group(&mut self, group_id: &GroupId) {
        let Some(Group::Classic(group)) = self.groups.remove(group_id) else { return };
        let group = *group;
        self.timers.cancel(&TimerKey::Join(group_id.clone()));
        self.timers.cancel(&TimerKey::Sync(group_id.clone()));
        for member_id in group.members.into_keys().chain(group.pending_join) {
            self.timers.cancel(&TimerKey::Heartbeat(group_id.clone(), member_id));
        }
    }

    /// Everything is replayed: members have their session timeouts from now on.
    pub fn loaded(&mut self, context: &mut Context<'_>) {
        let max_size = context.config.max_size;
        self.new_topics_version = context.image.version;
        let group_ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        for group_id in group_ids {
            if let Some(Group::Consumer(group)) = self.groups.get(&group_id) {
                let effects = group.timers_after_load(context.consumer_config(&group_id).session_timeout_ms);
                self.consumer_effects(context, &group_id, effects);
            }
            self.classic_step(context, &group_id, |step| {
                let member_ids: Vec<MemberId> = step.group.members.keys().cloned().collect();
                for member_id in &member_ids {
                    step.expect_heartbeat(member_id, None);
                }
                // The limit may have been lowered meanwhile.
                if member_ids.len() > max_size {
                    step.prepare_rebalance();
                }
            });
        }
        self.schedule_offset_expiry(context);
    }

    /// This coordinator is no more: whoever waits must look for the next one.
    pub fn unload(&mut self, context: &mut Context<'_>) -> Vec<(ReplyId, Reply)> {
        let group_ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        let refused = group_ids.iter().filter_map(|group_id| {
            self.classic_step(context, group_id, |step| step.refuse_all(GroupErrorKind::NotCoordinator))
        });
        let replies = refused.flat_map(|outcome| outcome.replies).collect();
        *self = Self::default();
        replies
    }
}
