//! The server-side assignors of KIP-848: who of a group's members gets which partition.
//!
//! `consumer::target` describes the group in a [`GroupSpec`] and asks for a new target. Each assignor follows the one of Kafka 4.3 that has its
//! name. Racks play no part: Kafka 4.3's assignors do not look at them either, they only make a group rebalance when they change.
//! Deliberately absent: epochs, and how a member gets from what it owns to its target.

mod range;
#[cfg(test)]
mod tests;
mod uniform;
mod uniform_mixed;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::consumer::Assignment;
use crate::controller::TopicId;
use crate::group::{InstanceId, MemberId};

/// An assignor that a member may ask for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// As many partitions for each member, moving as few as possible.
    Uniform,
    /// Of each topic a range, the same member getting the same range of topics with as many partitions and subscribers.
    Range,
}

impl Assignor {
    /// All of them, in Kafka's default order of `group.consumer.assignors`.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Its name in requests and configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// A target for each member of `group`, in their order. Each partition of a topic that anybody subscribed to goes to exactly one of its subscribers.
    pub fn assign(self, group: &GroupSpec) -> Vec<Assignment> {
        match self {
            Self::Uniform if group.subscriptions_are_alike() => uniform::assign(group),
            Self::Uniform => uniform_mixed::assign(group),
            Self::Range => range::assign(group),
        }
    }
}

/// A group as an assignor sees it.
#[derive(Debug, Clone, Default)]
pub struct GroupSpec {
    /// Its members, in the order of their ids, so that equal groups get equal targets.
    pub members: Vec<MemberSpec>,
    /// How many partitions each topic has. A topic that is not in it does not exist, whoever subscribed to it.
    pub partition_counts: BTreeMap<TopicId, i32>,
}

/// A member as an assignor sees it.
#[derive(Debug, Clone)]
pub struct MemberSpec {
    /// Its id.
    pub member_id: MemberId,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<InstanceId>,
    /// The topics it subscribed to, sorted. Members with the same subscription share it.
    pub topics: Arc<[TopicId]>,
    /// Its target so far.
    pub assigned: Assignment,
}

impl GroupSpec {
    fn partition_count(&self, topic: &TopicId) -> i32 {
        self.partition_counts.get(topic).copied().unwrap_or(0)
    }

    /// Whether all members subscribed to the same topics.
    fn subscriptions_are_alike(&self) -> bool {
        let Some(first) = self.members.first() else { return true };
        self.members
            .iter()
            .all(|member| Arc::ptr_eq(&member.topics, &first.topics) || member.topics == first.topics)
    }
}
