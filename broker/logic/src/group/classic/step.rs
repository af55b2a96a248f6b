//! One step of one classic group: the rebalance itself (Kafka's prepareRebalance, completeClassicGroupJoin and their kin).
//!
//! A request or a deadline makes a [`Step`], calls into it, and takes its outcome. Deliberately absent: who may ask for what
//! (`join`, `sync`, `leave`).

use super::{ClassicGroup, JoinWait, Member, State};
use crate::group::{
    Context, GroupErrorKind, JoinGroupReply, JoinedMember, MemberId, Opaque, Outcome, Reply, ReplyId,
    SyncGroupReply, TimerKey, Timers,
};

/// How long a new member may wait in a join phase before its client is taken for gone, in milliseconds (Kafka's
/// `classicGroupNewMemberJoinTimeoutMs`): it has no id yet, so it cannot send heartbeats.
pub(super) const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// A group under change, with what the change needs and what it leads to.
pub(in crate::group) struct Step<'s, 'c> {
    pub(in crate::group) group: &'s mut ClassicGroup,
    pub(in crate::group) timers: &'s mut Timers,
    pub(in crate::group) context: &'s mut Context<'c>,
    /// How much more metadata the coordinator's members may bring, in bytes.
    pub(in crate::group) metadata_room: usize,
    pub(in crate::group) outcome: Outcome,
}

impl<'s, 'c> Step<'s, 'c> {
    pub(in crate::group) fn new(
        group: &'s mut ClassicGroup,
        timers: &'s mut Timers,
        context: &'s mut Context<'c>,
        metadata_room: usize,
    ) -> Self {
        Self { group, timers, context, metadata_room, outcome: Outcome::nothing() }
    }

    pub(super) fn reply(&mut self, id: ReplyId, reply: Reply) {
        self.outcome.replies.push((id, reply));
    }

    pub(super) fn set_timer(&mut self, key: TimerKey, after_ms: i64) {
        self.timers.set(key, self.context.now.monotonic_ms.saturating_add(after_ms));
    }

    fn heartbeat_key(&self, member_id: &MemberId) -> TimerKey {
        TimerKey::Heartbeat(self.group.group_id.clone(), member_id.clone())
    }

    fn join_key(&self) -> TimerKey {
        TimerKey::Join(self.group.group_id.clone())
    }

    pub(super) fn sync_key(&self) -> TimerKey {
        TimerKey::Sync(self.group.group_id.clone())
    }

    /// Gives a member its session timeout again, or as long as this.
    pub(in crate::group) fn expect_heartbeat(&mut self, member_id: &MemberId, within_ms: Option<i64>) {
        let session_ms = || self.group.members.get(member_id).map(|m| i64::from(m.session_timeout_ms));
        if let Some(within_ms) = within_ms.or_else(session_ms) {
            self.set_timer(self.heartbeat_key(member_id), within_ms);
        }
    }

    pub(super) fn forget_heartbeat(&mut self, member_id: &MemberId) {
        let key = self.heartbeat_key(member_id);
        self.timers.cancel(&key);
    }

    fn transition(&mut self, state: State) {
        self.group.previous_state = self.group.state;
        self.group.state = state;
        self.group.state_timestamp_ms = self.context.now.wall_ms;
    }

    /// Answers a member's JoinGroup, if one waits.
    pub(super) fn answer_join(&mut self, member_id: &str, reply: JoinGroupReply) {
        let Some(member) = self.group.members.get_mut(member_id) else { return };
        if let Some(id) = member.parked_join.take() {
            self.group.parked_joins -= 1;
            self.reply(id, Reply::JoinGroup(reply));
        }
    }

    /// Answers a member's SyncGroup, if one waits; says whether one did.
    pub(super) fn answer_sync(&mut self, member_id: &str, reply: SyncGroupReply) -> bool {
        let waiting = self.group.members.get_mut(member_id).and_then(|member| member.parked_sync.take());
        if let Some(id) = waiting {
            self.reply(id, Reply::SyncGroup(reply));
        }
        waiting.is_some()
    }

    /// Lets a member's JoinGroup wait. One of its that waits already is from a connection that the client has given up.
    pub(super) fn park_join(&mut self, member_id: &MemberId, id: ReplyId) {
        let superseded = JoinGroupReply::refused(member_id.clone(), GroupErrorKind::RebalanceInProgress);
        self.answer_join(member_id, superseded);
        if let Some(member) = self.group.members.get_mut(member_id) {
            member.parked_join = Some(id);
            self.group.parked_joins += 1;
        }
    }

    /// Answers every request that waits, with an error.
    pub(in crate::group) fn refuse_all(&mut self, error: GroupErrorKind) {
        let member_ids: Vec<MemberId> = self.group.members.keys().cloned().collect();
        for member_id in member_ids {
            self.answer_join(&member_id, JoinGroupReply::refused(member_id.clone(), error));
            self.answer_sync(&member_id, SyncGroupReply::refused(error));
        }
    }

    /// What the present generation looks like to a member; the leader sees everybody.
    pub(super) fn joined(&self, member_id: &MemberId, as_leader: bool) -> JoinGroupReply {
        let protocol = self.group.protocol_name.as_deref().unwrap_or_default();
        let seen = |member: &Member| JoinedMember {
            member_id: member.member_id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        JoinGroupReply {
            error: None,
            generation_id: self.group.generation_id,
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol_name.clone(),
            leader: self.group.leader_id.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: if as_leader { self.group.members.values().map(seen).collect() } else { Vec::new() },
        }
    }

    /// After a member came, changed or went: begin a rebalance, or see whether the one under way is complete.
    pub(super) fn rebalance_or_complete(&mut self) {
        if self.group.state == State::PreparingRebalance {
            self.complete_if_all_have_joined();
        } else {
            self.prepare_rebalance();
        }
    }

    /// Completes the join phase when nobody is missing. A group's first one has its time anyway.
    pub(super) fn complete_if_all_have_joined(&mut self) {
        let initial = self.group.previous_state == State::Empty;
        if self.group.state == State::PreparingRebalance && !initial && self.group.all_have_joined() {
            self.complete_join_phase();
        }
    }

    /// Tells the members to join again.
    pub(in crate::group) fn prepare_rebalance(&mut self) {
        if self.group.state == State::CompletingRebalance {
            self.reset_assignments(GroupErrorKind::RebalanceInProgress);
        }
        self.group.pending_sync.clear();
        let sync = self.sync_key();
        self.timers.cancel(&sync);

        let initial = self.group.state == State::Empty;
        self.transition(State::PreparingRebalance);
        if initial {
            let delay_ms = self.context.config.initial_rebalance_delay_ms;
            let remaining_ms = (self.group.rebalance_timeout_ms() - delay_ms).max(0);
            self.group.join_wait = JoinWait::Initial { delay_ms, remaining_ms };
            self.set_timer(self.join_key(), delay_ms);
        } else if self.group.all_have_joined() {
            self.complete_join_phase();
        } else {
            self.wait_for_joins();
        }
    }

    fn wait_for_joins(&mut self) {
        self.group.join_wait = JoinWait::Rebalance;
        self.set_timer(self.join_key(), self.group.rebalance_timeout_ms());
    }

    /// The join phase's deadline has come.
    pub(in crate::group) fn join_deadline(&mut self) {
        if self.group.state != State::PreparingRebalance {
            return;
        }
        match self.group.join_wait {
            JoinWait::Initial { delay_ms, remaining_ms }
                if self.group.new_member_added && remaining_ms > 0 =>
            {
                self.group.new_member_added = false;
                let next_ms = self.context.config.initial_rebalance_delay_ms.min(remaining_ms);
                let remaining_ms = (remaining_ms - delay_ms).max(0);
                self.group.join_wait = JoinWait::Initial { delay_ms: next_ms, remaining_ms };
                self.set_timer(self.join_key(), next_ms);
            }
            _ => self.complete_join_phase(),
        }
    }

    /// Goes on with those that have joined: dynamic members that have not are out.
    pub(super) fn complete_join_phase(&mut self) {
        let join = self.join_key();
        self.timers.cancel(&join);
        let missing = |member: &&Member| member.parked_join.is_none() && member.instance_id.is_none();
        let gone: Vec<MemberId> =
            self.group.members.values().filter(missing).map(|member| member.member_id.clone()).collect();
        for member_id in &gone {
            self.remove_member(member_id);
        }
        if !self.elect_joined_leader() && !self.group.members.is_empty() {
            // Only static members, and none of them came: their session timeouts will clear the way.
            self.wait_for_joins();
            return;
        }
        self.next_generation();
        if self.group.state == State::Empty {
            self.outcome.records.push(self.group.record(None));
            self.outcome.applied = true;
            return;
        }
        let member_ids: Vec<MemberId> = self.group.members.keys().cloned().collect();
        for member_id in member_ids {
            let reply = self.joined(&member_id, self.group.is_leader(&member_id));
            self.answer_join(&member_id, reply);
            self.expect_heartbeat(&member_id, None);
            if let Some(member) = self.group.members.get_mut(&member_id) {
                member.is_new = false;
            }
            self.group.pending_sync.insert(member_id);
        }
        self.set_timer(self.sync_key(), self.group.rebalance_timeout_ms());
    }

    /// Whether the leader has joined, or one that has could take the lead.
    fn elect_joined_leader(&mut self) -> bool {
        let Some(leader_id) = &self.group.leader_id else { return false };
        if self.group.members.get(leader_id).is_some_and(|leader| leader.parked_join.is_some()) {
            return true;
        }
        let joined = self.group.members.values().find(|member| member.parked_join.is_some());
        match joined.map(|member| member.member_id.clone()) {
            Some(member_id) => {
                self.group.leader_id = Some(member_id);
                true
            }
            None => false,
        }
    }

    fn next_generation(&mut self) {
        self.group.generation_id = self.group.generation_id.wrapping_add(1);
        self.group.protocol_name = self.group.select_protocol();
        self.group.subscribed_topics = self.group.subscriptions();
        self.group.pending_sync.clear();
        self.transition(if self.group.members.is_empty() {
            State::Empty
        } else {
            State::CompletingRebalance
        });
    }

    /// Everybody has an assignment: tell them.
    pub(super) fn become_stable(&mut self, mut assignment_of: impl FnMut(&MemberId) -> Opaque) {
        for (member_id, member) in &mut self.group.members {
            member.assignment = assignment_of(member_id);
        }
        self.transition(State::Stable);
        let (kind, name) = (self.group.protocol_type.clone(), self.group.protocol_name.clone());
        self.propagate(|member| SyncGroupReply {
            error: None,
            protocol_type: kind.clone(),
            protocol_name: name.clone(),
            assignment: member.assignment.clone(),
        });
    }

    /// Nobody has one: tell those that wait.
    pub(super) fn reset_assignments(&mut self, error: GroupErrorKind) {
        for member in self.group.members.values_mut() {
            member.assignment = Opaque::default();
        }
        self.propagate(|_| SyncGroupReply::refused(error));
    }

    fn propagate(&mut self, reply_for: impl Fn(&Member) -> SyncGroupReply) {
        let replies: Vec<_> =
            self.group.members.values().map(|member| (member.member_id.clone(), reply_for(member))).collect();
        for (member_id, reply) in replies {
            if self.answer_sync(&member_id, reply) {
                self.expect_heartbeat(&member_id, None);
            }
        }
    }

    /// Removes a member with whatever of it waits.
    pub(super) fn remove_member(&mut self, member_id: &MemberId) {
        let unknown = GroupErrorKind::UnknownMemberId;
        self.answer_join(member_id, JoinGroupReply::refused(MemberId::default(), unknown));
        self.answer_sync(member_id, SyncGroupReply::refused(unknown));
        self.forget_heartbeat(member_id);
        self.group.remove(member_id);
    }

    /// No heartbeat came in time.
    pub(in crate::group) fn heartbeat_deadline(&mut self, member_id: &MemberId) {
        if self.group.pending_join.contains(member_id) {
            self.group.remove(member_id);
            if self.group.state == State::PreparingRebalance && self.group.all_have_joined() {
                self.complete_join_phase();
            }
            return;
        }
        let alive = self.group.members.get(member_id).is_none_or(Member::has_satisfied_heartbeat);
        if !alive {
            self.remove_member(member_id);
            self.after_removal();
        }
    }

    /// A member is gone: the others rebalance, or the join phase need not wait for it any more.
    fn after_removal(&mut self) {
        match self.group.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(),
            State::PreparingRebalance if self.group.all_have_joined() => self.complete_join_phase(),
            _ => {}
        }
    }

    /// Members that have not synced in time are out.
    pub(in crate::group) fn sync_deadline(&mut self) {
        let waiting = matches!(self.group.state, State::CompletingRebalance | State::Stable);
        if !waiting || self.group.pending_sync.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.group.pending_sync) {
            self.remove_member(&member_id);
        }
        self.prepare_rebalance();
    }
}
