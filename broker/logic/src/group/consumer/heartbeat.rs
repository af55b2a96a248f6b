//! ConsumerGroupHeartbeat: a member joins, says what it subscribes to and owns, and is told what to own (Kafka's `consumerGroupHeartbeat`).
//!
//! In this order: the member is found or made, its subscription compared, the group's epoch and target moved on where that asks for it, and the member taken
//! one step towards its target. Deliberately absent: leaving and fencing (`leave.rs`), members of the classic protocol.

use std::sync::Arc;

use super::decision::Draft;
use super::reconcile::{Reconciliation, owns_only};
use super::request::Owned;
use super::{
    Assignment, ConsumerContext, ConsumerGroup, ConsumerGroupHeartbeat, ConsumerGroupHeartbeatReply,
    Decision, Effect, LEAVE_STATIC_EPOCH, Member, MemberState, MemberTimer,
};
use crate::group::records::ConsumerRecordBody;
use crate::group::{GroupError, GroupErrorKind, InstanceId, MemberId};

/// What a request changes of what a member said before.
pub(super) struct Saying<'a> {
    /// The member as it was; a new one when it was not there.
    pub before: &'a Member,
    /// And as it is now.
    pub member: Member,
    /// What it says it owns.
    pub owned: Option<&'a Owned>,
    /// Whether a member of the classic protocol speaks: any change of its expression counts as a change at once.
    pub classic: bool,
}

/// What became of a member in a decision.
pub(super) struct Heard {
    pub member: Member,
}

impl ConsumerGroup {
    /// Decides a heartbeat that does not leave. A new member of version 0 must have been given an id by now.
    ///
    /// # Errors
    /// Kafka's, and nothing has changed.
    pub fn heartbeat(
        &self,
        request: &ConsumerGroupHeartbeat,
        member_id: &MemberId,
        context: &mut ConsumerContext<'_>,
    ) -> Result<Decision<ConsumerGroupHeartbeatReply>, GroupError> {
        let joins = request.member_epoch == 0;
        self.check_size(&request.member_id, context.config.max_size)?;
        let mut draft = Draft::default();
        let owned = request.owned.as_ref();
        let before = match &request.instance_id {
            None => {
                let member = self.member_or_new(member_id, joins)?;
                check_epoch(&member, request.member_epoch, owned)?;
                member
            }
            Some(instance_id) if joins => self.join_static(instance_id, member_id, false, &mut draft)?,
            Some(instance_id) => {
                let member = self.known_static(instance_id, member_id)?.clone();
                check_epoch(&member, request.member_epoch, owned)?;
                member
            }
        };

        let member = said(before.clone(), request);
        let saying = Saying { before: &before, member, owned, classic: false };
        let Heard { member } = self.hear(saying, context, &mut draft)?;

        let session_ms = i64::from(context.config.session_timeout_ms);
        draft.effects.push(Effect::SetTimer(MemberTimer::Session, member.member_id.clone(), session_ms));
        let tell = joins || request.is_full() || before.assigned != member.assigned;
        let reply = ConsumerGroupHeartbeatReply {
            member_id: member.member_id.clone(),
            member_epoch: member.member_epoch,
            heartbeat_interval_ms: context.config.heartbeat_interval_ms,
            assignment: tell.then(|| member.assigned.without_epochs()),
        };
        Ok(draft.answer(reply))
    }

    /// Takes in what a member says: epoch, target and the member itself move on.
    pub(super) fn hear(
        &self,
        saying: Saying<'_>,
        context: &mut ConsumerContext<'_>,
        draft: &mut Draft,
    ) -> Result<Heard, GroupError> {
        let (changed, group_epoch, saying) = self.move_epoch(saying, context, draft)?;
        let Saying { member, owned, before, .. } = saying;
        let (target_epoch, target) = self.move_target(group_epoch, before, &member, context, draft);
        let member = self.reconcile(member, target_epoch, &target, changed, owned, context, draft)?;
        Ok(Heard { member })
    }

    /// Compares subscriptions and topics; the first value says whether the member's own subscription changed.
    pub(super) fn move_epoch<'a>(
        &self,
        saying: Saying<'a>,
        context: &mut ConsumerContext<'_>,
        draft: &mut Draft,
    ) -> Result<(bool, i32, Saying<'a>), GroupError> {
        let Saying { before, member, classic, .. } = &saying;
        if member != *before {
            draft.member(member);
        }
        let names_changed = member.subscribed_topic_names != before.subscribed_topic_names;
        let regex = self.compare_regex(before, member, context, draft)?;
        let changed = names_changed || regex.changed;
        let bump = names_changed || if *classic { regex.changed } else { regex.resolved };

        let mut group_epoch = self.group_epoch;
        if bump || self.is_metadata_stale(context.now.monotonic_ms) {
            group_epoch = self.look_at_topics(before, member, bump, context, draft);
        }
        Ok((changed, group_epoch, saying))
    }

    /// The group epoch after a look at the topics that all members subscribed to: the next one if they changed, or `bump` says so.
    fn look_at_topics(
        &self,
        before: &Member,
        member: &Member,
        bump: bool,
        context: &mut ConsumerContext<'_>,
        draft: &mut Draft,
    ) -> i32 {
        let mut subscriptions = self.subscriptions.clone();
        if let Some(known) = self.members.get(&before.member_id).or_else(|| self.static_before(before)) {
            subscriptions.remove_member(known);
        }
        subscriptions.add_member(&mut member.clone());
        if let Some(regex) = before.regex().filter(|regex| Some(*regex) != member.regex())
            && self.subscriptions.members_with(regex) == 1
            && let Some(resolved) = self.resolved_regexes.get(regex)
        {
            subscriptions.remove_resolved(resolved);
        }
        let hash = context.hashes.group_hash(subscriptions.topics(), context.image);
        let mut group_epoch = self.group_epoch;
        if bump || hash != self.metadata_hash {
            group_epoch += 1;
            draft.epoch(group_epoch, hash);
        }
        draft.metadata_fresh_at = Some(group_epoch);
        if self.has_partition_metadata {
            draft.records.push(ConsumerRecordBody::PartitionMetadata(false));
        }
        group_epoch
    }

    fn static_before(&self, member: &Member) -> Option<&Member> {
        self.static_member(member.instance_id.as_deref()?)
    }

    /// The target after this request, and its epoch: a new one when the group's epoch is ahead and the last one is old enough.
    pub(super) fn move_target(
        &self,
        group_epoch: i32,
        before: &Member,
        member: &Member,
        context: &ConsumerContext<'_>,
        draft: &mut Draft,
    ) -> (i32, Assignment) {
        let last = self.target_epoch;
        let interval_ms = i64::from(context.config.assignment_interval_ms);
        let wall_ms = context.now.wall_ms;
        let due = last.timestamp_ms == 0 || interval_ms == 0 || wall_ms >= last.timestamp_ms + interval_ms;
        if last.epoch >= group_epoch || !due {
            return (last.epoch, self.target_of(member));
        }
        let known = self.members.get(&before.member_id).or_else(|| self.static_before(before));
        let assignor = self.preferred_assignor(known, Some(member), &context.config.assignors);
        let new = self.new_target(group_epoch, assignor, member, context.image, wall_ms);
        draft.records.extend(new.records);
        (group_epoch, new.own)
    }

    #[allow(clippy::too_many_arguments, reason = "one step, and everything that it depends on")]
    pub(super) fn reconcile(
        &self,
        member: Member,
        target_epoch: i32,
        target: &Assignment,
        subscription_changed: bool,
        owned: Option<&Owned>,
        context: &ConsumerContext<'_>,
        draft: &mut Draft,
    ) -> Result<Member, GroupError> {
        if !subscription_changed && member.is_reconciled_to(target_epoch) {
            return Ok(member);
        }
        let topics = self.subscribed_topics(&member, context.image);
        let reconciliation = Reconciliation {
            target_epoch,
            target,
            subscription_changed,
            topics: &topics,
            owned,
            is_owned: &|topic, partition| self.partition_epoch(topic, partition).is_some(),
        };
        let after = reconciliation.step(member.clone())?;
        if after != member {
            draft.current_assignment(&after);
            if after.classic.is_none() {
                let member_id = after.member_id.clone();
                draft.effects.push(if after.state == MemberState::UnrevokedPartitions {
                    Effect::SetTimer(MemberTimer::Rebalance, member_id, after.rebalance_timeout_ms.into())
                } else {
                    Effect::CancelTimer(MemberTimer::Rebalance, member_id)
                });
            }
        }
        Ok(after)
    }

    /// Refuses a member too many. `member_id` is as the request gave it.
    pub(super) fn check_size(&self, member_id: &MemberId, max_size: usize) -> Result<(), GroupError> {
        if self.members.len() >= max_size && !self.members.contains_key(member_id) {
            return Err(GroupErrorKind::GroupMaxSizeReached.because(format!(
                "The consumer group has reached its maximum capacity of {max_size} members."
            )));
        }
        Ok(())
    }

    pub(super) fn member_or_new(&self, member_id: &MemberId, create: bool) -> Result<Member, GroupError> {
        match self.members.get(member_id) {
            Some(member) => Ok(member.clone()),
            None if create => Ok(Member::new(member_id.clone())),
            None => Err(self.not_a_member(member_id)),
        }
    }

    pub(super) fn not_a_member(&self, member_id: &MemberId) -> GroupError {
        GroupErrorKind::UnknownMemberId
            .because(format!("Member {member_id} is not a member of group {}.", self.group_id))
    }

    /// A static member joins, or takes the place that another member with its instance id left.
    pub(super) fn join_static(
        &self,
        instance_id: &InstanceId,
        member_id: &MemberId,
        classic: bool,
        draft: &mut Draft,
    ) -> Result<Member, GroupError> {
        let Some(existing) = self.static_member(instance_id) else {
            return self.member_or_new(member_id, true);
        };
        if !classic && existing.classic.is_none() && existing.member_epoch != LEAVE_STATIC_EPOCH {
            return Err(GroupErrorKind::UnreleasedInstanceId.because(format!(
                "Static member {member_id} with instance id {instance_id} cannot join the group because the instance id is owned by {} member.",
                existing.member_id
            )));
        }
        let member = Member {
            member_id: member_id.clone(),
            member_epoch: 0,
            previous_member_epoch: 0,
            ..existing.clone()
        };
        draft.replace_member(self, existing, &member);
        Ok(member)
    }

    /// The static member of this instance, if it is the one that asks.
    pub(super) fn known_static(
        &self,
        instance_id: &InstanceId,
        member_id: &MemberId,
    ) -> Result<&Member, GroupError> {
        let Some(member) = self.static_member(instance_id) else {
            return Err(
                GroupErrorKind::UnknownMemberId.because(format!("Instance id {instance_id} is unknown."))
            );
        };
        if member.member_id != *member_id {
            return Err(GroupErrorKind::FencedInstanceId.because(format!(
                "Static member {member_id} with instance id {instance_id} was fenced by member {}.",
                member.member_id
            )));
        }
        Ok(member)
    }
}

/// The member with what the request says of it.
fn said(mut member: Member, request: &ConsumerGroupHeartbeat) -> Member {
    if request.instance_id.is_some() {
        member.instance_id.clone_from(&request.instance_id);
    }
    if request.rack_id.is_some() {
        member.rack_id.clone_from(&request.rack_id);
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if request.server_assignor.is_some() {
        member.server_assignor.clone_from(&request.server_assignor);
    }
    if let Some(names) = &request.subscribed_topic_names {
        member.subscribed_topic_names = sorted_names(names.clone());
    }
    if let Some(regex) = &request.subscribed_topic_regex {
        member.subscribed_topic_regex = Arc::clone(regex);
    }
    member.client_id = Arc::clone(&request.client.id);
    member.client_host = Arc::clone(&request.client.host);
    member.classic = None;
    member
}

/// Names as a member keeps them.
pub(super) fn sorted_names(mut names: Vec<Arc<str>>) -> Arc<[Arc<str>]> {
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// Refuses an epoch that is not the member's, unless the answer that told it may have been lost.
fn check_epoch(member: &Member, received: i32, owned: Option<&Owned>) -> Result<(), GroupError> {
    let current = member.member_epoch;
    let comparison = if received == 0 || received == current {
        return Ok(());
    } else if received > current {
        "greater"
    } else if received == member.previous_member_epoch && owns_only(owned, &member.assigned) {
        return Ok(());
    } else {
        "smaller"
    };
    Err(GroupErrorKind::FencedMemberEpoch.because(format!(
        "The consumer group member has a {comparison} member epoch ({received}) than the one known by the group coordinator ({current}). The member must abandon all its partitions and rejoin."
    )))
}
