//! Consumer groups of the new protocol (KIP-848): the coordinator decides who owns what, and members follow one step at a time.
//!
//! A [`ConsumerGroup`] is what its records say. Requests are decided on it (`heartbeat`, `leave`, `fence`), a [`Decision`]'s records are replayed on it by
//! `apply` and appended by the driver. Three epochs tell how far things are: the group's grows with what asks for a new target, the target's says for which
//! group epoch it was computed, and a member's for which target it owns what it shall. Deliberately absent: which groups there are, and classic groups.

mod classic_member;
mod commit;
mod decision;
mod describe;
mod embedded;
mod group;
mod hash;
mod heartbeat;
mod leave;
mod member;
mod migration;
mod partitions;
mod pattern;
mod reconcile;
mod regexes;
mod request;
mod subscription;
mod target;
#[cfg(test)]
mod tests;

pub use classic_member::{Downgrade, Joining};
pub use decision::{ConsumerContext, ConsumerGroupConfig, Decision, Effect, MemberTimer, MigrationPolicy};
pub use group::{ConsumerGroup, ConsumerGroupState};
pub use hash::TopicHashes;
pub use leave::{Leaving, left};
pub use member::{ClassicMember, LEAVE_EPOCH, LEAVE_STATIC_EPOCH, Member, MemberState};
pub use migration::upgrade;
pub use partitions::{Assignment, ByPartition, OwnedPartitions};
pub use pattern::TopicPattern;
pub use regexes::Resolving;
pub use request::{
    ConsumerGroupDescription, ConsumerGroupHeartbeat, ConsumerGroupHeartbeatReply, MemberDescription, Owned,
};
