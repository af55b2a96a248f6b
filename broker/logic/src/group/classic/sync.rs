//! SyncGroup and Heartbeat: members of a generation ask for their assignment and say that they live.
//!
//! After Kafka's `classicGroupSyncToClassicGroup` and `classicGroupHeartbeatToClassicGroup`. Deliberately absent: what
//! becomes of the leader's assignment once it is durable (`settle`).

use std::collections::BTreeMap;

use super::settle::{After, Assigned};
use super::{State, Step};
use crate::group::{GroupErrorKind, Heartbeat, MemberId, Opaque, Reply, ReplyId, SyncGroup, SyncGroupReply};

impl Step<'_, '_> {
    /// Answers with the assignment, or waits for it; the leader brings it.
    pub(in crate::group) fn sync(&mut self, id: ReplyId, request: SyncGroup) {
        if let Err(error) = self.check_sync(&request) {
            return self.reply(id, Reply::SyncGroup(SyncGroupReply::refused(error)));
        }
        match self.group.state {
            State::CompletingRebalance => {
                let superseded = SyncGroupReply::refused(GroupErrorKind::RebalanceInProgress);
                self.answer_sync(&request.member_id, superseded);
                if let Some(member) = self.group.members.get_mut(&request.member_id) {
                    member.parked_sync = Some(id);
                }
                self.has_synced(&request.member_id);
                if self.group.is_leader(&request.member_id) {
                    self.assign(request.assignments);
                }
            }
            State::Stable => {
                self.has_synced(&request.member_id);
                let assignment =
                    self.group.members.get(&request.member_id).map(|member| member.assignment.clone());
                let reply = SyncGroupReply {
                    error: None,
                    protocol_type: self.group.protocol_type.clone(),
                    protocol_name: self.group.protocol_name.clone(),
                    assignment: assignment.unwrap_or_default(),
                };
                self.reply(id, Reply::SyncGroup(reply));
            }
            State::Empty | State::PreparingRebalance => {
                let reply = SyncGroupReply::refused(GroupErrorKind::RebalanceInProgress);
                self.reply(id, Reply::SyncGroup(reply));
            }
        }
    }

    fn check_sync(&self, request: &SyncGroup) -> Result<(), GroupErrorKind> {
        self.group.check_member(&request.member_id, request.instance_id.as_ref())?;
        if request.generation_id != self.group.generation_id {
            return Err(GroupErrorKind::IllegalGeneration);
        }
        let differs = |said: &Option<_>, is: &Option<_>| said.is_some() && is.is_some() && said != is;
        if differs(&request.protocol_type, &self.group.protocol_type)
            || differs(&request.protocol_name, &self.group.protocol_name)
        {
            return Err(GroupErrorKind::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn has_synced(&mut self, member_id: &MemberId) {
        self.group.pending_sync.remove(member_id);
        if self.group.pending_sync.is_empty() {
            let sync = self.sync_key();
            self.timers.cancel(&sync);
        }
    }

    /// Keeps the leader's assignment; those whom it leaves out get an empty one, and strangers in it are ignored.
    fn assign(&mut self, assignments: Vec<(MemberId, Opaque)>) {
        let assignments: BTreeMap<MemberId, Opaque> = assignments
            .into_iter()
            .filter(|(member_id, _)| self.group.members.contains_key(member_id))
            .collect();
        self.outcome.records.push(self.group.record(Some(&assignments)));
        self.outcome.applied = true;
        self.outcome.after = Some(After::Assigned(Assigned {
            group_id: self.group.group_id.clone(),
            generation_id: self.group.generation_id,
            assignments,
        }));
    }

    /// Says whether the member still belongs, and whether it must join again.
    pub(in crate::group) fn heartbeat(&mut self, id: ReplyId, request: &Heartbeat) {
        let answer = self.check_heartbeat(request);
        self.reply(id, Reply::Heartbeat(answer));
    }

    fn check_heartbeat(&mut self, request: &Heartbeat) -> Result<(), GroupErrorKind> {
        self.group.check_member(&request.member_id, request.instance_id.as_ref())?;
        if request.generation_id != self.group.generation_id {
            return Err(GroupErrorKind::IllegalGeneration);
        }
        match self.group.state {
            State::Empty => Err(GroupErrorKind::UnknownMemberId),
            State::PreparingRebalance => {
                self.expect_heartbeat(&request.member_id, None);
                Err(GroupErrorKind::RebalanceInProgress)
            }
            State::CompletingRebalance | State::Stable => {
                self.expect_heartbeat(&request.member_id, None);
                Ok(())
            }
        }
    }
}
