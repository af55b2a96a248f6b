//! What is asked of consumer groups: finds or makes the group, decides, and brings timers and the table of groups along.
//!
//! The consumer half of the coordinator. A group's records count once they are replayed; only where a group becomes a classic one is it
//! exchanged at once, because what its members wait for is not in records. Deliberately absent: the decisions themselves (`consumer`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::classic::{After, ClassicGroup, State};
use super::consumer::{
    ConsumerContext, ConsumerGroup, ConsumerGroupHeartbeat, Decision, Downgrade, Effect, Joining, Leaving,
    MemberTimer, Resolving, left, upgrade,
};
use super::coordinator::{GROUPS_MAX, Group};
use super::records::{ConsumerRecord, ConsumerRecordBody};
use super::{
    Context, GroupCoordinator, GroupError, GroupErrorKind, GroupId, GroupRecord, Heartbeat, JoinGroup,
    JoinGroupReply, LeaveGroup, MemberId, Outcome, Reply, ReplyId, SyncGroup, SyncGroupReply, TimerKey,
};
use crate::controller::{Delta, MetadataImage, TopicId};

/// All timers that a member can have.
const MEMBER_TIMERS: [MemberTimer; 4] =
    [MemberTimer::Session, MemberTimer::Rebalance, MemberTimer::Join, MemberTimer::Sync];

/// Records of a group, as the coordinator appends them.
fn records_of(group_id: &GroupId, bodies: Vec<ConsumerRecordBody>) -> impl Iterator<Item = GroupRecord> {
    bodies.into_iter().map(|body| GroupRecord::Consumer(ConsumerRecord { group_id: group_id.clone(), body }))
}

/// A member id as Kafka makes it: a UUID in letters.
fn new_member_id(context: &mut Context<'_>) -> MemberId {
    loop {
        if let Some(id) = TopicId::from_random((context.random)(), (context.random)()) {
            return MemberId::from(id.to_string());
        }
    }
}

impl GroupCoordinator {
    /// What a decision about a consumer group is made with, beside the groups.
    fn consumer_context<'a>(
        context: &'a Context<'_>,
        group_id: &GroupId,
        hashes: &'a mut super::consumer::TopicHashes,
        new_topics_version: u64,
        regexes_under_way: bool,
    ) -> ConsumerContext<'a> {
        ConsumerContext {
            now: context.now,
            config: context.consumer_config(group_id),
            image: context.image,
            hashes,
            new_topics_version,
            regexes_under_way,
        }
    }

    pub(super) fn consumer_heartbeat(
        &mut self,
        context: &mut Context<'_>,
        id: ReplyId,
        request: &ConsumerGroupHeartbeat,
    ) -> Outcome {
        let decided = match request.check(&context.config.consumer.assignors) {
            Err(error) => Err(error),
            Ok(()) if request.leaves() => self.consumer_leave(context, id, request),
            Ok(()) => {
                let brings = request.metadata_bytes().unwrap_or(0);
                self.check_room(&request.group_id, &request.member_id, request.instance_id.as_ref(), brings)
                    .and_then(|()| self.consumer_join_or_stay(context, id, request))
            }
        };
        decided.unwrap_or_else(|error| Outcome::reply(id, Reply::ConsumerGroupHeartbeat(Err(error))))
    }

    fn consumer_join_or_stay(
        &mut self,
        context: &mut Context<'_>,
        id: ReplyId,
        request: &ConsumerGroupHeartbeat,
    ) -> Result<Outcome, GroupError> {
        let group_id = &request.group_id;
        let joins = request.member_epoch == 0;
        let member_id = match &request.member_id {
            unknown if unknown.is_empty() => new_member_id(context),
            known => known.clone(),
        };
        let under_way = self.regexes_under_way.contains(group_id);
        let Self { groups, hashes, new_topics_version, .. } = self;
        let full = groups.len() >= GROUPS_MAX;
        let mut with = Self::consumer_context(context, group_id, hashes, *new_topics_version, under_way);
        let mut records = Vec::new();
        let mut upgraded = None;
        let decision = match groups.get(group_id) {
            Some(Group::Consumer(group)) => group.heartbeat(request, &member_id, &mut with)?,
            None if !joins => {
                return Err(
                    GroupErrorKind::GroupIdNotFound.because(format!("Consumer group {group_id} not found."))
                );
            }
            None if full => {
                return Err(GroupErrorKind::CoordinatorNotAvailable.because(format!(
                    "This coordinator has {GROUPS_MAX} groups, which is its limit. Delete groups that nobody uses."
                )));
            }
            None => ConsumerGroup::new(group_id.clone()).heartbeat(request, &member_id, &mut with)?,
            Some(Group::Classic(_)) if !joins => return Err(not_a_consumer_group(group_id)),
            Some(Group::Classic(group)) if group.state() == State::Empty => {
                records.push(GroupRecord::GroupMetadata(group_id.clone(), None));
                ConsumerGroup::new(group_id.clone()).heartbeat(request, &member_id, &mut with)?
            }
            Some(Group::Classic(group)) => {
                let group = upgrade(group, &mut with)?;
                let decision = group.heartbeat(request, &member_id, &mut with)?;
                records.push(GroupRecord::GroupMetadata(group_id.clone(), None));
                records.extend(records_of(group_id, group.creation_records()));
                upgraded = Some(group);
                decision
            }
        };
        let mut replies = Vec::new();
        if let Some(group) = upgraded {
            // Whoever waits in the classic group is to join again, and finds the new one.
            let waiting = self.classic_step(context, group_id, |step| {
                step.refuse_all(GroupErrorKind::RebalanceInProgress);
            });
            replies.extend(waiting.into_iter().flat_map(|outcome| outcome.replies));
            for member in group.members() {
                let session_ms = member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
                let effect =
                    Effect::SetTimer(MemberTimer::Session, member.member_id.clone(), session_ms.into());
                self.consumer_effects(context, group_id, vec![effect]);
            }
        }
        records.extend(records_of(group_id, decision.records.clone()));
        let after = self.consumer_settle(context, group_id, &decision);
        replies.push((id, Reply::ConsumerGroupHeartbeat(Ok(decision.reply))));
        Ok(Outcome { records, replies, after, applied: false })
    }

    fn consumer_leave(
        &mut self,
        context: &mut Context<'_>,
        id: ReplyId,
        request: &ConsumerGroupHeartbeat,
    ) -> Result<Outcome, GroupError> {
        let group_id = &request.group_id;
        let leaving = match self.groups.get(group_id) {
            Some(Group::Consumer(group)) => group.leave(request)?,
            Some(Group::Classic(_)) => return Err(not_a_consumer_group(group_id)),
            None => {
                return Err(GroupErrorKind::GroupIdNotFound.because(format!("Group {group_id} not found.")));
            }
        };
        match leaving {
            Leaving::Fence(members) => {
                let mut outcome = self.fence_consumers(context, group_id, &members);
                outcome.replies.push((id, Reply::ConsumerGroupHeartbeat(Ok(left(request)))));
                Ok(outcome)
            }
            Leaving::Keep(decision) => {
                let reply = Reply::ConsumerGroupHeartbeat(Ok(decision.reply));
                Ok(Outcome::records(records_of(group_id, decision.records).collect(), id, reply))
            }
        }
    }

    /// Sends members away; the group becomes a classic one if only classic members stay.
    fn fence_consumers(
        &mut self,
        context: &mut Context<'_>,
        group_id: &GroupId,
        members: &BTreeSet<MemberId>,
    ) -> Outcome {
        let max_size = context.config.max_size;
        let Self { groups, hashes, new_topics_version, .. } = self;
        let Some(Group::Consumer(group)) = groups.get(group_id) else { return Outcome::nothing() };
        let mut with = Self::consumer_context(context, group_id, hashes, *new_topics_version, false);
        if group.downgrades_without(members, max_size, &with)
            && let Ok(classic) = group.to_classic(members, None, &with)
        {
            let tombstones = records_of(group_id, group.tombstones()).collect();
            return self.exchange(context, classic, tombstones, true);
        }
        let decision = group.fence(members, (), &mut with);
        let records = records_of(group_id, decision.records.clone()).collect();
        let after = self.consumer_settle(context, group_id, &decision);
        Outcome { records, after, ..Outcome::nothing() }
    }

    /// Puts a classic group in the place of a consumer group. `records` remove the latter.
    fn exchange(
        &mut self,
        context: &mut Context<'_>,
        classic: ClassicGroup,
        mut records: Vec<GroupRecord>,
        rebalance: bool,
    ) -> Outcome {
        let group_id = classic.group_id.clone();
        records.push(classic.record(None));
        let before_bytes = self.groups.get(&group_id).map_or(0, Group::metadata_bytes);
        let before = self.groups.insert(group_id.clone(), Group::Classic(Box::new(classic)));
        self.weigh(&group_id, before_bytes);
        if let Some(Group::Consumer(before)) = before {
            for member in before.members() {
                self.cancel_member_timers(&group_id, &member.member_id);
            }
        }
        let stepped = self.classic_step(context, &group_id, |step| {
            let members: Vec<MemberId> = step.group.members.keys().cloned().collect();
            for member_id in &members {
                step.expect_heartbeat(member_id, None);
            }
            if rebalance {
                step.prepare_rebalance();
            }
        });
        let mut outcome = Outcome::applied(records);
        if let Some(stepped) = stepped {
            outcome.records.extend(stepped.records);
            outcome.replies.extend(stepped.replies);
        }
        outcome
    }

    /// A JoinGroup to a consumer group; None when the group is no such.
    pub(super) fn consumer_classic_join(
        &mut self,
        context: &mut Context<'_>,
        id: ReplyId,
        request: &JoinGroup,
    ) -> Option<Outcome> {
        let group_id = &request.group_id;
        if !matches!(self.groups.get(group_id), Some(Group::Consumer(_))) {
            return None;
        }
        let member_id = new_member_id(context);
        let max_size = context.config.max_size;
        let under_way = self.regexes_under_way.contains(group_id);
        let Self { groups, hashes, new_topics_version, .. } = self;
        let Some(Group::Consumer(group)) = groups.get(group_id) else { return None };
        let mut with = Self::consumer_context(context, group_id, hashes, *new_topics_version, under_way);
        let refused = |error: GroupError| {
            let refused = JoinGroupReply::refused(request.member_id.clone(), error.kind);
            Outcome::reply(id, Reply::JoinGroup(refused))
        };
        let joining = match group.classic_join(request, member_id, max_size, &mut with) {
            Ok(joining) => joining,
            Err(error) => return Some(refused(error)),
        };
        Some(match joining {
            Joining::Joined(decision) => {
                let records = records_of(group_id, decision.records.clone()).collect();
                let after = self.consumer_settle(context, group_id, &decision);
                let replies = vec![(id, Reply::JoinGroup(decision.reply))];
                Outcome { records, replies, after, applied: false }
            }
            Joining::Downgrade(downgrade) => {
                let Downgrade { decision, member, predecessor, rebalance } = *downgrade;
                let classic = match group.to_classic(&BTreeSet::new(), Some((&member, &predecessor)), &with) {
                    Ok(classic) => classic,
                    Err(error) => return Some(refused(error)),
                };
                // The group as it is after the join is what the tombstones must cover.
                let mut after_join = group.clone();
                after_join.apply(&decision, context.now);
                let mut records: Vec<_> = records_of(group_id, decision.records).collect();
                records.extend(records_of(group_id, after_join.tombstones()));
                self.cancel_member_timers(group_id, &predecessor);
                let mut outcome = self.exchange(context, classic, records, rebalance);
                outcome.replies.push((id, Reply::JoinGroup(decision.reply)));
                outcome
            }
        })
    }

    /// A SyncGroup to a consumer group; None when the group is no such.
    pub(super) fn consumer_classic_sync(
        &mut self,
        context: &mut Context<'_>,
        id: ReplyId,
        request: &SyncGroup,
    ) -> Option<Outcome> {
        let Some(Group::Consumer(group)) = self.groups.get(&request.group_id) else { return None };
        let decided = group.classic_sync(request, context.image);
        let reply = self.consumer_answer(context, &request.group_id, decided);
        let reply = reply.unwrap_or_else(SyncGroupReply::refused);
        Some(Outcome::reply(id, Reply::SyncGroup(reply)))
    }

    /// A Heartbeat to a consumer group; None when the group is no such.
    pub(super) fn consumer_classic_heartbeat(
        &mut self,
        context: &mut Context<'_>,
        id: ReplyId,
        request: &Heartbeat,
    ) -> Option<Outcome> {
        let Some(Group::Consumer(group)) = self.groups.get(&request.group_id) else { return None };
        let decided = group.classic_heartbeat(request);
        let reply = self.consumer_answer(context, &request.group_id, decided).flatten();
        Some(Outcome::reply(id, Reply::Heartbeat(reply)))
    }

    /// Does what a decision without records asks for, and gives its reply.
    fn consumer_answer<T>(
        &mut self,
        context: &Context<'_>,
        group_id: &GroupId,
        decided: Result<Decision<T>, GroupError>,
    ) -> Result<T, GroupErrorKind> {
        let decision = decided.map_err(|error| error.kind)?;
        self.consumer_effects(context, group_id, decision.effects);
        Ok(decision.reply)
    }

    /// A LeaveGroup to a consumer group; None when the group is no such.
    pub(super) fn consumer_classic_leave(
        &mut self,
        context: &mut Context<'_>,
        id: ReplyId,
        request: &LeaveGroup,
    ) -> Option<Outcome> {
        let Some(Group::Consumer(group)) = self.groups.get(&request.group_id) else { return None };
        let (gone, told) = group.classic_leave(request);
        let mut outcome = self.fence_consumers(context, &request.group_id, &gone);
        outcome.replies.push((id, Reply::LeaveGroup(Ok(told))));
        Some(outcome)
    }

    /// A member's time is up.
    pub(super) fn consumer_deadline(
        &mut self,
        context: &mut Context<'_>,
        group_id: &GroupId,
        member_id: MemberId,
        timer: MemberTimer,
    ) -> Option<Outcome> {
        let Some(Group::Consumer(group)) = self.groups.get(group_id) else { return None };
        let is_due = group.timed_out(timer, &member_id);
        is_due.then(|| self.fence_consumers(context, group_id, &BTreeSet::from([member_id])))
    }

    /// The records of a request for a resolution are there: resolve a little more, now that the members are known.
    pub(super) fn resolve_regexes(
        &mut self,
        context: &mut Context<'_>,
        group_id: &GroupId,
        resolving: Box<Resolving>,
    ) -> Outcome {
        let resolved = match resolving.step(context.image, context.now.wall_ms) {
            Ok(resolved) => resolved,
            Err(more) => {
                let after = Some(After::Regexes(group_id.clone(), more));
                return Outcome { after, ..Outcome::nothing() };
            }
        };
        self.regexes_under_way.remove(group_id);
        let Self { groups, hashes, new_topics_version, .. } = self;
        let Some(Group::Consumer(group)) = groups.get(group_id) else { return Outcome::nothing() };
        let mut with = Self::consumer_context(context, group_id, hashes, *new_topics_version, false);
        let decision = group.regexes_resolved(resolved, &mut with);
        let records = records_of(group_id, decision.records.clone()).collect();
        let after = self.consumer_settle(context, group_id, &decision);
        Outcome { records, after, ..Outcome::nothing() }
    }

    /// The metadata of topics has changed: the groups that subscribed to them look at them with their next heartbeats.
    pub fn metadata_changed(&mut self, delta: &Delta, image: &MetadataImage) {
        if !delta.whole && delta.topics_changed.is_empty() && delta.topics_removed.is_empty() {
            return;
        }
        if delta.whole || !delta.topics_changed.is_empty() {
            self.new_topics_version = image.version;
        }
        let changed = delta.topics_changed.iter().filter_map(|id| image.topic(id)).map(|topic| &topic.name);
        let names: Vec<&Arc<str>> =
            changed.chain(delta.topics_removed.values().map(|topic| &topic.name)).collect();
        for group in self.groups.values_mut() {
            if let Group::Consumer(group) = group
                && (delta.whole || names.iter().any(|name| group.is_subscribed_to(name)))
            {
                group.request_metadata_refresh();
            }
        }
    }

    /// Applies a record of a consumer group.
    pub(super) fn replay_consumer(&mut self, record: &ConsumerRecord) {
        let ConsumerRecord { group_id, body } = record;
        let group = match self.groups.get_mut(group_id) {
            Some(Group::Consumer(group)) => group,
            // What is left of a group that is gone, or became a classic one.
            _ if body.is_tombstone() => return,
            // A classic group that only offsets told of, or whose tombstone compaction took.
            _ => {
                let group = Group::Consumer(Box::new(ConsumerGroup::new(group_id.clone())));
                self.groups.insert(group_id.clone(), group);
                let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) else { return };
                group
            }
        };
        if ConsumerGroup::is_removed_by(body) {
            self.groups.remove(group_id);
        } else {
            group.replay(body.clone());
        }
    }

    /// What a decision says beside its records; what is left to do when those are there.
    fn consumer_settle<T>(
        &mut self,
        context: &Context<'_>,
        group_id: &GroupId,
        decision: &Decision<T>,
    ) -> Option<After> {
        if let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) {
            group.note_metadata(decision, context.now);
        }
        let mut after = None;
        let mut effects = Vec::with_capacity(decision.effects.len());
        for effect in &decision.effects {
            match effect {
                Effect::ResolveRegexes(regexes) => {
                    self.regexes_under_way.insert(group_id.clone());
                    let resolving = Resolving::new(regexes, context.image.version);
                    after = Some(After::Regexes(group_id.clone(), Box::new(resolving)));
                }
                other => effects.push(other.clone()),
            }
        }
        self.consumer_effects(context, group_id, effects);
        after
    }

    pub(super) fn consumer_effects(
        &mut self,
        context: &Context<'_>,
        group_id: &GroupId,
        effects: Vec<Effect>,
    ) {
        let key = |timer, member_id| TimerKey::Consumer(group_id.clone(), member_id, timer);
        let at = |delay_ms: i64| context.now.monotonic_ms.saturating_add(delay_ms);
        for effect in effects {
            match effect {
                Effect::SetTimer(timer, member, delay_ms) => {
                    self.timers.set(key(timer, member), at(delay_ms))
                }
                Effect::SetTimerIfAbsent(timer, member, delay_ms) => {
                    self.timers.set_if_absent(key(timer, member), at(delay_ms));
                }
                Effect::CancelTimer(timer, member) => self.timers.cancel(&key(timer, member)),
                Effect::CancelTimers(member) => self.cancel_member_timers(group_id, &member),
                // Settled with the decision.
                Effect::ResolveRegexes(_) => {}
            }
        }
    }

    fn cancel_member_timers(&mut self, group_id: &GroupId, member_id: &MemberId) {
        for timer in MEMBER_TIMERS {
            self.timers.cancel(&TimerKey::Consumer(group_id.clone(), member_id.clone(), timer));
        }
    }
}

fn not_a_consumer_group(group_id: &GroupId) -> GroupError {
    GroupErrorKind::GroupIdNotFound.because(format!("Group {group_id} is not a consumer group."))
}
