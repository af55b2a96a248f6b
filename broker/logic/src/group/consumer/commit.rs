//! Who may commit and fetch offsets of a consumer group (Kafka's `ConsumerGroup.validateOffsetCommit` and `validateOffsetFetch`).
//!
//! A commit from an older epoch is taken for partitions that the member has owned since then, so that what it did before a rebalance is not lost.
//! Deliberately absent: the offsets.

use super::{ConsumerGroup, Member};
use crate::controller::TopicId;
use crate::group::{GroupError, GroupErrorKind};

/// The first version of OffsetCommit that knows member epochs.
const OFFSET_COMMIT_VERSION_MIN: i16 = 9;

impl ConsumerGroup {
    /// Refuses a commit that is not the member's to make. `partitions` are the committed ones: topic id, topic, number.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH, ILLEGAL_GENERATION for a classic member, or UNSUPPORTED_VERSION.
    pub fn check_offset_commit<'a>(
        &self,
        member_id: &str,
        member_epoch: i32,
        version: i16,
        partitions: impl Iterator<Item = (TopicId, &'a str, i32)>,
    ) -> Result<(), GroupError> {
        // Somebody from outside may move the offsets of a group without members.
        if member_epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.member(member_id).ok_or_else(|| self.not_a_member(&member_id.into()))?;
        if member.classic.is_none() && version < OFFSET_COMMIT_VERSION_MIN {
            return Err(GroupErrorKind::UnsupportedVersion.because(
                "OffsetCommit version 9 or above must be used by members using the consumer group protocol",
            ));
        }
        let current = member.member_epoch;
        if member_epoch == current {
            return Ok(());
        }
        let (kind, name) = epoch_error(member);
        if member_epoch > current {
            return Err(kind.because(format!(
                "Received {name} {member_epoch} is newer than current member epoch {current}."
            )));
        }
        for (topic_id, topic, partition) in partitions {
            let owned = member.assigned.get(&topic_id, partition);
            let Some(since) = owned.or_else(|| member.pending_revocation.get(&topic_id, partition)) else {
                return Err(kind.because(format!(
                    "Partition {topic}-{partition} is not assigned or pending revocation for member."
                )));
            };
            if member_epoch < *since {
                return Err(kind.because(format!(
                    "Received {name} {member_epoch} is older than assignment epoch {since} for partition {topic}-{partition}."
                )));
            }
        }
        Ok(())
    }

    /// Refuses a fetch of offsets by who says that it is a member and is not.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH, or ILLEGAL_GENERATION for a classic member.
    pub fn check_offset_fetch(&self, member_id: Option<&str>, member_epoch: i32) -> Result<(), GroupError> {
        if member_id.is_none() && member_epoch < 0 {
            return Ok(());
        }
        let member_id = member_id.unwrap_or_default();
        let member = self.member(member_id).ok_or_else(|| self.not_a_member(&member_id.into()))?;
        if member_epoch == member.member_epoch {
            return Ok(());
        }
        let (kind, name) = epoch_error(member);
        Err(kind.because(format!(
            "The received {name} {member_epoch} does not match the expected member epoch {}.",
            member.member_epoch
        )))
    }
}

/// A member's error for another epoch, and what it calls its epoch.
fn epoch_error(member: &Member) -> (GroupErrorKind, &'static str) {
    match member.classic {
        Some(_) => (GroupErrorKind::IllegalGeneration, "generation id"),
        None => (GroupErrorKind::StaleMemberEpoch, "member epoch"),
    }
}
