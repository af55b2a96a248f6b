//! The group coordinator's decisions: members, generations, committed offsets; one [`GroupCoordinator`] per partition of
//! `__consumer_offsets`.
//!
//! A driver hands requests in ([`GroupCoordinator::decide`]) and gets an [`Outcome`]: records to append, replies to release once they
//! are durable, and sometimes a word that it hands back then ([`GroupCoordinator::settle`]). A reply may come with a later outcome:
//! each request has a [`ReplyId`]. After a restart the same records are replayed. Deliberately absent: appending, waiting, clocks.

pub mod assignors;
mod classic;
mod commit;
mod config;
pub mod consumer;
mod consumer_protocol;
mod consumer_requests;
mod coordinator;
mod error;
mod expiry;
mod ids;
mod offsets;
mod outcome;
pub mod records;
mod reply;
mod request;
mod timers;

#[cfg(test)]
mod tests;

pub use classic::{After, ClassicGroup, State as ClassicState};
pub use config::{
    CONSUMER_ASSIGNMENT_INTERVAL_MS, CONSUMER_HEARTBEAT_INTERVAL_MS, CONSUMER_SESSION_TIMEOUT_MS, Context,
    GroupConfig, Now,
};
pub use coordinator::{Group, GroupCoordinator};
pub use error::{GroupError, GroupErrorKind};
pub use ids::{GroupId, InstanceId, MemberId, TopicPartition, partition_for};
pub use outcome::{Outcome, ReplyId};
pub use records::{GroupRecord, RecordError};
pub use reply::*;
pub use request::*;
pub use timers::{TimerKey, Timers};
