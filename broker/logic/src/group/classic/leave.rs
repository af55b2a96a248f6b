//! LeaveGroup: members that go, and members that an administrator removes by instance id (KIP-345).
//!
//! After Kafka's `classicGroupLeaveToClassicGroup`. Each member of a list has its own answer. Deliberately absent: the
//! rebalance of those that stay (`step`).

use super::{State, Step};
use crate::group::{GroupErrorKind, LeaveGroup, LeavingMember, LeftMember, Reply, ReplyId};

impl Step<'_, '_> {
    /// Removes whom the request names.
    pub(in crate::group) fn leave(&mut self, id: ReplyId, request: &LeaveGroup) {
        let mut left = Vec::with_capacity(request.members.len());
        for leaving in &request.members {
            left.push(LeftMember {
                member_id: leaving.member_id.clone(),
                instance_id: leaving.instance_id.clone(),
                error: self.remove_leaving(leaving).err(),
            });
        }
        let any = left.iter().any(|member| member.error.is_none());
        self.reply(id, Reply::LeaveGroup(Ok(left)));
        if any && self.group.state != State::Empty {
            self.rebalance_or_complete();
        }
    }

    fn remove_leaving(&mut self, leaving: &LeavingMember) -> Result<(), GroupErrorKind> {
        let LeavingMember { member_id, instance_id, .. } = leaving;
        if member_id.is_empty() {
            let of_instance =
                instance_id.as_ref().and_then(|instance_id| self.group.static_members.get(instance_id));
            let member_id = of_instance.cloned().ok_or(GroupErrorKind::UnknownMemberId)?;
            self.remove_member(&member_id);
        } else if self.group.pending_join.contains(member_id) {
            self.group.remove(member_id);
            self.forget_heartbeat(member_id);
        } else {
            self.group.check_member(member_id, instance_id.as_ref())?;
            self.remove_member(member_id);
        }
        Ok(())
    }
}
