//! How a classic group looks to DescribeGroups and ListGroups.
//!
//! Deliberately absent: which groups are asked for (`coordinator`).

use super::{ClassicGroup, Member, State};
use crate::group::{DescribedGroup, DescribedMember, ListedGroup, Opaque};

/// The type of such groups in ListGroups (KIP-848).
const TYPE: &str = "classic";

impl ClassicGroup {
    /// For DescribeGroups. Subscriptions are shown while the group is stable, as in Kafka.
    pub(in crate::group) fn describe(&self) -> DescribedGroup {
        let stable = self.state == State::Stable;
        let protocol = self.protocol_name.clone().filter(|_| stable).unwrap_or_default();
        let described = |member: &Member| DescribedMember {
            member_id: member.member_id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            metadata: if stable { member.metadata(&protocol) } else { Opaque::default() },
            assignment: member.assignment.clone(),
        };
        DescribedGroup {
            group_id: self.group_id.clone(),
            error: None,
            message: None,
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: self.members.values().map(described).collect(),
            protocol,
        }
    }

    /// For ListGroups.
    pub(in crate::group) fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.group_id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state: self.state.name(),
            group_type: TYPE,
        }
    }
}
