//! A consumer group as ConsumerGroupDescribe and ListGroups show it.
//!
//! Deliberately absent: the names of topics, which `api` takes from the image.

use std::sync::Arc;

use super::{ConsumerGroup, ConsumerGroupConfig, ConsumerGroupDescription, MemberDescription};
use crate::group::ListedGroup;

impl ConsumerGroup {
    /// The group as ListGroups shows it.
    pub fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.group_id.clone(),
            protocol_type: "consumer".into(),
            state: self.state().name(),
            group_type: "consumer",
        }
    }

    /// The group as it is.
    pub fn describe(&self, config: &ConsumerGroupConfig) -> ConsumerGroupDescription {
        let members = self.members.values().map(|member| MemberDescription {
            target: self.targets.get(&member.member_id).cloned().unwrap_or_default(),
            assigned: {
                let owned = member.assigned.iter().chain(member.pending_revocation.iter());
                owned.map(|(topic, partition, epoch)| (topic, partition, *epoch)).collect()
            },
            member: member.clone(),
        });
        ConsumerGroupDescription {
            state: self.state().name(),
            group_epoch: self.group_epoch,
            assignment_epoch: self.target_epoch.epoch,
            assignor: Arc::from(self.preferred_assignor(None, None, &config.assignors).name()),
            members: members.collect(),
        }
    }
}
