//! One step of a member from what it owns to its target (Kafka's CurrentAssignmentBuilder).
//!
//! First it gives up what it shall not have; then it moves to the target's epoch and gets what is free; the rest when others have let go.
//! A partition is never owned twice. Deliberately absent: the target, records and timers.

use std::collections::{BTreeMap, BTreeSet};

use super::request::Owned;
use super::{Assignment, Member, MemberState, OwnedPartitions};
use crate::controller::TopicId;
use crate::group::{GroupError, GroupErrorKind};

/// What the step depends on beside the member.
pub(super) struct Reconciliation<'a> {
    /// The group epoch of the target.
    pub target_epoch: i32,
    /// The member's target.
    pub target: &'a Assignment,
    /// Whether this request changed what it subscribed to.
    pub subscription_changed: bool,
    /// The topics it subscribed to, of those that exist.
    pub topics: &'a BTreeSet<TopicId>,
    /// What the member says it owns; `None` when it says nothing.
    pub owned: Option<&'a Owned>,
    /// Whether anybody owns a partition, or has yet to give it up.
    pub is_owned: &'a dyn Fn(TopicId, i32) -> bool,
}

impl Reconciliation<'_> {
    /// The member after the step; the same when there is none to take.
    ///
    /// # Errors
    /// FENCED_MEMBER_EPOCH for a member in a state of a newer Kafka that has not let go of everything.
    pub fn step(&self, member: Member) -> Result<Member, GroupError> {
        let epoch = member.member_epoch;
        match member.state {
            MemberState::Stable if member.member_epoch != self.target_epoch => Ok(self.next(member, epoch)),
            MemberState::UnrevokedPartitions if !self.still_owns(&member.pending_revocation) => {
                Ok(self.next(member, epoch))
            }
            MemberState::Stable | MemberState::UnrevokedPartitions if self.subscription_changed => {
                Ok(self.without_unsubscribed(member))
            }
            MemberState::Stable | MemberState::UnrevokedPartitions => Ok(member),
            MemberState::UnreleasedPartitions => Ok(self.next(member, epoch)),
            MemberState::Unknown => {
                if self.owned.is_none_or(|owned| !owned.is_empty()) {
                    return Err(GroupErrorKind::FencedMemberEpoch.because(
                        "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.",
                    ));
                }
                Ok(self.next(member, self.target_epoch))
            }
        }
    }

    /// Whether the member says that it owns any of these; it owns them when it says nothing.
    fn still_owns(&self, partitions: &OwnedPartitions) -> bool {
        self.owned.is_none_or(|owned| {
            owned.iter().any(|(topic, numbers)| numbers.iter().any(|n| partitions.contains(topic, *n)))
        })
    }

    fn is_subscribed(&self, topic: &TopicId) -> bool {
        self.topics.contains(topic)
    }

    /// The member stays at its epoch, but gives up what it no longer subscribes to.
    fn without_unsubscribed(&self, member: Member) -> Member {
        if member.assigned.topics().all(|(topic, _)| self.is_subscribed(topic)) {
            return member;
        }
        let (kept, given_up): (Vec<_>, Vec<_>) = member
            .assigned
            .iter()
            .map(|(topic, partition, epoch)| (topic, partition, *epoch))
            .partition(|(topic, _, _)| self.is_subscribed(topic));
        let before =
            member.pending_revocation.iter().map(|(topic, partition, epoch)| (topic, partition, *epoch));
        let pending: OwnedPartitions = given_up.into_iter().chain(before).collect();
        let assigned: OwnedPartitions = kept.into_iter().collect();
        let epoch = member.member_epoch;
        let mut member = member.at_epoch(epoch);
        member.assigned = assigned;
        if self.still_owns(&pending) {
            member.state = MemberState::UnrevokedPartitions;
            member.pending_revocation = pending;
        }
        member
    }

    /// Towards the target; `epoch` is that of a member that must give something up first.
    fn next(&self, member: Member, epoch: i32) -> Member {
        let in_target =
            |topic: &TopicId, partition| self.is_subscribed(topic) && self.target.contains(topic, partition);
        let (kept, given_up): (Vec<_>, Vec<_>) = member
            .assigned
            .iter()
            .map(|(topic, partition, epoch)| (topic, partition, *epoch))
            .partition(|(topic, partition, _)| in_target(topic, *partition));
        let pending: OwnedPartitions = given_up.into_iter().collect();
        if !pending.is_empty() && self.still_owns(&pending) {
            let mut member = member.at_epoch(epoch);
            member.state = MemberState::UnrevokedPartitions;
            member.assigned = kept.into_iter().collect();
            member.pending_revocation = pending;
            return member;
        }

        let mut unreleased = false;
        let mut assigned = kept;
        for (topic, numbers) in self.target.topics().filter(|(topic, _)| self.is_subscribed(topic)) {
            for (partition, ()) in numbers {
                if member.assigned.contains(topic, *partition) {
                    continue;
                }
                // What it was about to give up itself is its own to take back.
                let released = member.pending_revocation.contains(topic, *partition)
                    || !(self.is_owned)(*topic, *partition);
                if released {
                    assigned.push((*topic, *partition, self.target_epoch));
                } else {
                    unreleased = true;
                }
            }
        }
        let mut member = member.at_epoch(self.target_epoch);
        member.state = if unreleased { MemberState::UnreleasedPartitions } else { MemberState::Stable };
        member.assigned = assigned.into_iter().collect();
        member.pending_revocation = OwnedPartitions::default();
        member
    }
}

/// Whether all that a member says it owns is in `partitions`; `false` when it says nothing.
pub(super) fn owns_only(owned: Option<&Owned>, partitions: &OwnedPartitions) -> bool {
    owned.is_some_and(|owned: &BTreeMap<_, _>| {
        owned.iter().all(|(topic, numbers): (&TopicId, &Vec<i32>)| {
            // A topic without partitions counts too, as in Kafka.
            !partitions.topic(topic).is_empty() && numbers.iter().all(|n| partitions.contains(topic, *n))
        })
    })
}
