//! What is left to do once a step's records are durable, or could not be appended.
//!
//! Handed out with an outcome and handed back by the driver, in the order of the appends. The group may have moved on
//! meanwhile, so each looks first. Deliberately absent: a failure after the append, which ends the coordinator.

use std::collections::BTreeMap;

use super::{Member, State, Step};
use crate::group::consumer::Resolving;
use crate::group::{GroupErrorKind, GroupId, InstanceId, JoinGroupReply, MemberId, Opaque};

/// What an append was for.
#[derive(Debug, Clone, PartialEq)]
pub enum After {
    /// A group that did not exist: it must not be there when its record is not.
    Created(GroupId),
    /// The leader's assignment.
    Assigned(Assigned),
    /// Regular expressions of a consumer group are to be resolved, or to be gone on with.
    Regexes(GroupId, Box<Resolving>),
    /// A static member under a new id.
    Returned(Box<Returned>),
}

/// An assignment on its way to the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Assigned {
    pub(super) group_id: GroupId,
    pub(super) generation_id: i32,
    pub(super) assignments: BTreeMap<MemberId, Opaque>,
}

/// A static member's new id on its way to the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Returned {
    pub(super) group_id: GroupId,
    pub(super) instance_id: InstanceId,
    pub(super) member_id: MemberId,
    /// As it was, for the way back.
    pub(super) old: Member,
    pub(super) leader_before: Option<MemberId>,
    pub(super) supports_skipping_assignment: bool,
}

impl After {
    /// Which group it is about.
    pub(in crate::group) fn group_id(&self) -> &GroupId {
        match self {
            Self::Created(group_id) | Self::Regexes(group_id, _) => group_id,
            Self::Assigned(assigned) => &assigned.group_id,
            Self::Returned(returned) => &returned.group_id,
        }
    }
}

impl Step<'_, '_> {
    /// The assignment is kept, or it is not and everybody joins again.
    pub(in crate::group) fn settle_assigned(
        &mut self,
        mut assigned: Assigned,
        stored: Result<(), GroupErrorKind>,
    ) {
        let present = self.group.state == State::CompletingRebalance
            && self.group.generation_id == assigned.generation_id;
        if !present {
            return;
        }
        match stored {
            Ok(()) => {
                self.become_stable(|member_id| assigned.assignments.remove(member_id).unwrap_or_default());
            }
            Err(error) => {
                self.reset_assignments(error);
                self.prepare_rebalance();
            }
        }
    }

    /// The new id is kept and can be told, or the old one counts again.
    pub(in crate::group) fn settle_returned(
        &mut self,
        returned: Returned,
        stored: Result<(), GroupErrorKind>,
    ) {
        let Returned { instance_id, member_id, old, leader_before, supports_skipping_assignment, .. } =
            returned;
        if self.group.static_members.get(&instance_id) != Some(&member_id) {
            return;
        }
        match stored {
            Ok(()) if supports_skipping_assignment => {
                let leads = self.group.is_leader(&member_id);
                let reply = JoinGroupReply { skip_assignment: leads, ..self.joined(&member_id, leads) };
                self.answer_join(&member_id, reply);
            }
            Ok(()) => {
                // A client that cannot be told to keep the assignment is told that somebody else leads.
                let leader = leader_before.unwrap_or_default();
                let reply = JoinGroupReply { leader, ..self.joined(&member_id, false) };
                self.answer_join(&member_id, reply);
            }
            Err(error) => {
                let reply = JoinGroupReply {
                    error: Some(error),
                    leader: leader_before.unwrap_or_default(),
                    member_id: MemberId::default(),
                    ..self.joined(&member_id, false)
                };
                self.answer_join(&member_id, reply);
                self.forget_heartbeat(&member_id);
                let old_member_id = old.member_id.clone();
                self.group.rename(&member_id, &old_member_id);
                let timeouts_ms = (old.rebalance_timeout_ms, old.session_timeout_ms);
                self.group.update(&old_member_id, old.protocols, timeouts_ms);
                self.expect_heartbeat(&old_member_id, None);
            }
        }
    }
}
