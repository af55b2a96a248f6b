//! Members leave, are sent away, or are given up: their partitions become free and the group's epoch moves on.
//!
//! A static member that means to come back keeps its place, and its partitions. Deliberately absent: turning a group whose last member of the new protocol
//! left into a classic one, which the coordinator asks for first (`migration.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decision::Draft;
use super::{
    ConsumerContext, ConsumerGroup, ConsumerGroupHeartbeat, ConsumerGroupHeartbeatReply, Decision, Effect,
    LEAVE_STATIC_EPOCH, Member, MemberState, MemberTimer, OwnedPartitions,
};
use crate::group::records::ConsumerRecordBody;
use crate::group::{GroupError, MemberId};

/// What a request to leave asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Leaving {
    /// These members go.
    Fence(BTreeSet<MemberId>),
    /// A static member goes and comes back.
    Keep(Decision<ConsumerGroupHeartbeatReply>),
}

impl ConsumerGroup {
    /// Decides a heartbeat that leaves.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID.
    pub fn leave(&self, request: &ConsumerGroupHeartbeat) -> Result<Leaving, GroupError> {
        let Some(instance_id) = &request.instance_id else {
            let member = self.member_or_new(&request.member_id, false)?;
            return Ok(Leaving::Fence(BTreeSet::from([member.member_id])));
        };
        let member = self.known_static(instance_id, &request.member_id)?;
        if request.member_epoch != LEAVE_STATIC_EPOCH {
            return Ok(Leaving::Fence(BTreeSet::from([member.member_id.clone()])));
        }
        let assigned = member.assigned.without_epochs().at_epoch(0);
        let away = Member {
            member_epoch: LEAVE_STATIC_EPOCH,
            assigned,
            pending_revocation: OwnedPartitions::default(),
            ..member.clone()
        };
        let mut draft = Draft::default();
        draft.current_assignment(&away);
        Ok(Leaving::Keep(draft.answer(left(request))))
    }

    /// Sends members away.
    pub fn fence<T>(
        &self,
        members: &BTreeSet<MemberId>,
        reply: T,
        context: &mut ConsumerContext<'_>,
    ) -> Decision<T> {
        let gone: Vec<&Member> = members.iter().filter_map(|id| self.members.get(id)).collect();
        if gone.is_empty() {
            return Decision::reply(reply);
        }
        let mut draft = Draft::default();
        let mut subscriptions = self.subscriptions.clone();
        let mut regexes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in gone {
            draft.remove_member(&member.member_id);
            draft.effects.push(Effect::CancelTimers(member.member_id.clone()));
            subscriptions.remove_member(member);
            if let Some(regex) = member.regex() {
                *regexes.entry(regex).or_default() += 1;
            }
        }
        for (regex, count) in regexes {
            if self.subscriptions.members_with(regex) == count {
                draft.records.push(ConsumerRecordBody::RegularExpression(Arc::clone(regex), None));
                if let Some(resolved) = self.resolved_regexes.get(regex) {
                    subscriptions.remove_resolved(resolved);
                }
            }
        }
        let hash = context.hashes.group_hash(subscriptions.topics(), context.image);
        draft.epoch(self.group_epoch + 1, hash);
        draft.answer(reply)
    }

    /// Whether a member is to be sent away now that one of its timers has run out.
    pub fn timed_out(&self, timer: MemberTimer, member_id: &MemberId) -> bool {
        self.members.get(member_id).is_some_and(|member| {
            timer != MemberTimer::Rebalance || member.state == MemberState::UnrevokedPartitions
        })
    }

    /// The timers of a group that has just been loaded: everybody has a session timeout from now on.
    pub fn timers_after_load(&self, session_timeout_ms: i32) -> Vec<Effect> {
        let mut effects = Vec::new();
        for member in self.members.values() {
            let id = &member.member_id;
            effects.push(Effect::SetTimer(MemberTimer::Session, id.clone(), session_timeout_ms.into()));
            if member.state == MemberState::UnrevokedPartitions {
                let delay_ms = member.rebalance_timeout_ms.into();
                effects.push(Effect::SetTimer(MemberTimer::Rebalance, id.clone(), delay_ms));
            }
        }
        effects
    }
}

/// The answer to who leaves.
pub fn left(request: &ConsumerGroupHeartbeat) -> ConsumerGroupHeartbeatReply {
    ConsumerGroupHeartbeatReply {
        member_id: request.member_id.clone(),
        member_epoch: request.member_epoch,
        heartbeat_interval_ms: 0,
        assignment: None,
    }
}
