//! JoinGroup: new members, pending ones, members that come again, static members that return.
//!
//! The rules and their order are those of Kafka's `classicGroupJoinToClassicGroup` and what it calls. Deliberately absent: the
//! rebalance that a join leads to (`step`).

use super::settle::{After, Returned};
use super::{Member, State, Step};
use crate::group::{
    GroupErrorKind, InstanceId, JoinGroup, JoinGroupReply, MemberId, Reply, ReplyId, SyncGroupReply,
};

use super::step::NEW_MEMBER_JOIN_TIMEOUT_MS;

/// Members of one group that are pending or have joined, beyond which new ones are refused whatever `group.max.size` says:
/// bounds what a client that asks for ids without end can take.
const MEMBERS_MAX: usize = 100_000;

impl Step<'_, '_> {
    /// Joins a member, or refuses it.
    pub(in crate::group) fn join(&mut self, id: ReplyId, request: &JoinGroup) {
        let member_id = &request.member_id;
        if !self.accepts(member_id) {
            self.remove_member(member_id);
            return self.refuse_join(id, MemberId::default(), GroupErrorKind::GroupMaxSizeReached);
        }
        let bytes: usize = request.protocols.iter().map(|protocol| protocol.metadata.len()).sum();
        if bytes > self.metadata_room {
            return self.refuse_join(id, member_id.clone(), GroupErrorKind::GroupMaxSizeReached);
        }
        if !self.group.supports(&request.protocol_type, &request.protocols) {
            let error = GroupErrorKind::InconsistentGroupProtocol;
            return self.refuse_join(id, member_id.clone(), error);
        }
        if member_id.is_empty() {
            self.join_new(id, request);
        } else if self.group.pending_join.contains(member_id) {
            if request.instance_id.is_some() {
                // A static member is never made to come back: this one changed its mind in between.
                return self.refuse_join(id, member_id.clone(), GroupErrorKind::UnknownServerError);
            }
            self.add_member(id, request, member_id.clone());
        } else {
            self.join_again(id, request);
        }
    }

    fn refuse_join(&mut self, id: ReplyId, member_id: MemberId, error: GroupErrorKind) {
        self.reply(id, Reply::JoinGroup(JoinGroupReply::refused(member_id, error)));
    }

    /// Whether `group.max.size` lets it in. While members join, those that have count, so that the last to come are out
    /// when the limit was lowered.
    fn accepts(&self, member_id: &MemberId) -> bool {
        let member = self.group.members.get(member_id);
        if member.is_none() && self.group.members.len() + self.group.pending_join.len() >= MEMBERS_MAX {
            return self.group.pending_join.contains(member_id);
        }
        let max_size = self.context.config.max_size;
        match self.group.state {
            State::Empty => true,
            State::PreparingRebalance => {
                member.is_some_and(|member| member.parked_join.is_some())
                    || self.group.parked_joins < max_size
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.group.members.len() < max_size
            }
        }
    }

    fn join_new(&mut self, id: ReplyId, request: &JoinGroup) {
        let prefix: &str = match &request.instance_id {
            Some(instance_id) => instance_id,
            None => &request.client.id,
        };
        let member_id = MemberId::from(format!("{prefix}-{}", self.context.uuid()));
        match &request.instance_id {
            Some(instance_id) => match self.group.static_members.get(instance_id).cloned() {
                Some(before) => self.return_static(id, request, instance_id.clone(), before, member_id),
                None => self.add_member(id, request, member_id),
            },
            None if request.requires_member_id => {
                self.group.pending_join.insert(member_id.clone());
                self.expect_heartbeat(&member_id, Some(request.session_timeout_ms.into()));
                self.refuse_join(id, member_id, GroupErrorKind::MemberIdRequired);
            }
            None => self.add_member(id, request, member_id),
        }
    }

    fn add_member(&mut self, id: ReplyId, request: &JoinGroup, member_id: MemberId) {
        if self.group.state == State::PreparingRebalance && self.group.previous_state == State::Empty {
            self.group.new_member_added = true;
        }
        self.group.insert(Member::new(member_id.clone(), request, id));
        self.expect_heartbeat(&member_id, Some(NEW_MEMBER_JOIN_TIMEOUT_MS));
        self.rebalance_or_complete();
    }

    fn join_again(&mut self, id: ReplyId, request: &JoinGroup) {
        let member_id = &request.member_id;
        if let Err(error) = self.group.check_member(member_id, request.instance_id.as_ref()) {
            return self.refuse_join(id, member_id.clone(), error);
        }
        let Some(member) = self.group.members.get(member_id) else { return };
        let same = member.protocols == request.protocols;
        let leads = self.group.is_leader(member_id);
        match self.group.state {
            State::PreparingRebalance => self.update_member(id, request),
            // It did not get the reply the first time.
            State::CompletingRebalance if same => {
                let reply = self.joined(member_id, leads);
                self.reply(id, Reply::JoinGroup(reply));
            }
            State::CompletingRebalance => self.update_member(id, request),
            // A leader joins again to have everything assigned anew; others when something of theirs changed.
            State::Stable if leads || !same => self.update_member(id, request),
            State::Stable => {
                let reply = self.joined(member_id, false);
                self.reply(id, Reply::JoinGroup(reply));
            }
            State::Empty => self.refuse_join(id, member_id.clone(), GroupErrorKind::UnknownMemberId),
        }
    }

    fn update_member(&mut self, id: ReplyId, request: &JoinGroup) {
        let timeouts_ms = (request.rebalance_timeout_ms, request.session_timeout_ms);
        self.group.update(&request.member_id, request.protocols.clone(), timeouts_ms);
        self.park_join(&request.member_id, id);
        self.rebalance_or_complete();
    }

    /// A static member has started again: it takes its old place under a new id, which fences whoever still uses the old one. It keeps the
    /// client id of before, as in Kafka.
    fn return_static(
        &mut self,
        id: ReplyId,
        request: &JoinGroup,
        instance_id: InstanceId,
        old_member_id: MemberId,
        member_id: MemberId,
    ) {
        let leader_before = self.group.leader_id.clone();
        let fenced = GroupErrorKind::FencedInstanceId;
        self.answer_join(&old_member_id, JoinGroupReply::refused(old_member_id.clone(), fenced));
        self.answer_sync(&old_member_id, SyncGroupReply::refused(fenced));
        self.forget_heartbeat(&old_member_id);
        let Some(old) = self.group.rename(&old_member_id, &member_id) else { return };
        self.expect_heartbeat(&member_id, None);
        let timeouts_ms = (request.rebalance_timeout_ms, request.session_timeout_ms);
        self.group.update(&member_id, request.protocols.clone(), timeouts_ms);
        self.park_join(&member_id, id);
        match self.group.state {
            State::Stable if self.group.select_protocol() == self.group.protocol_name => {
                // Nothing changes for the others. The new id must be kept before it is told.
                self.outcome.records.push(self.group.record(None));
                self.outcome.applied = true;
                self.outcome.after = Some(After::Returned(Box::new(Returned {
                    group_id: self.group.group_id.clone(),
                    instance_id,
                    member_id,
                    old,
                    leader_before,
                    supports_skipping_assignment: request.supports_skipping_assignment,
                })));
            }
            // The leader may have been told of the old id already.
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(),
            State::PreparingRebalance => self.complete_if_all_have_joined(),
            // It has at least this member.
            State::Empty => {}
        }
    }
}
