//! The metadata quorum: openraft with one voter, its log, vote and snapshots on disk.
//!
//! The control thread starts it; only the proposer writes to it. Other voters and their network are not built yet, which is
//! why no timer runs: a single voter elects itself when it is told to and needs no heartbeat.

mod codec;
mod frame;
mod log_store;
mod network;
mod snapshot;
mod state_file;
mod state_machine;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use corelog_logic::controller::Record;
use openraft::{BasicNode, Config, SnapshotPolicy};

pub(super) use log_store::LogStore;
pub(super) use state_machine::StateMachine;

use super::error::{ControlError, Result};
use super::published::Published;

/// What the proposer puts into the log: the records of one or more commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Term in which they were decided. Applied in another one, they may stand on records that were never committed: they are ignored.
    pub(super) term: u64,
    /// The records, in order.
    pub(super) records: Arc<Vec<Record>>,
}

/// What became of a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the image; cores should have seen this published version before anybody is told.
    Applied { published: u64 },
    /// It was decided in another term and is ignored.
    Stale,
}

openraft::declare_raft_types!(
    /// The types of the metadata quorum.
    pub Types:
        D = Batch,
        R = Outcome,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(super) type LogId = openraft::LogId<u64>;
pub(super) type Raft = openraft::Raft<Types>;
pub(super) type Metrics = openraft::RaftMetrics<u64, BasicNode>;
type Vote = openraft::Vote<u64>;
type Entry = openraft::Entry<Types>;
type Membership = openraft::Membership<u64, BasicNode>;
type StoredMembership = openraft::StoredMembership<u64, BasicNode>;
type SnapshotMeta = openraft::SnapshotMeta<u64, BasicNode>;
type StorageError = openraft::StorageError<u64>;

/// A voter that leads, with everything committed applied.
pub(super) struct Running {
    /// Its handle.
    pub(super) raft: Raft,
    /// The term it leads in.
    pub(super) term: u64,
    /// Its log, to see how long it has grown.
    pub(super) log: LogStore,
}

/// Opens the store in `dir` and makes this node the leader: at once, no election timeout is waited for.
///
/// # Errors
/// A store that cannot be read, or is not whole.
pub(super) async fn start(dir: &Path, node_id: i32, published: Arc<Published>) -> Result<Running> {
    let id = u64::try_from(node_id).unwrap_or_default();
    super::durable::create_dir_all(dir)?;
    let log = LogStore::open(dir)?;
    let machine = StateMachine::open(dir, published)?;
    if let Some(purged) = log.purged()
        && machine.applied().is_none_or(|applied| applied.index < purged.index)
    {
        return Err(ControlError::Corrupt {
            path: dir.to_owned(),
            position: 0,
            what: format!("the log begins after entry {}, and no snapshot reaches that far", purged.index),
        });
    }
    log.resign();
    let config = Config {
        cluster_name: "corelog".to_owned(),
        // No ticks, so these count for nothing, except that openraft's tick loop wakes once in one and a half intervals.
        enable_tick: false,
        heartbeat_interval: 3_600_000,
        election_timeout_min: 7_200_000,
        election_timeout_max: 7_300_000,
        // By size, not by number: see the proposer.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        ..Config::default()
    };
    let config = config.validate().map_err(fatal)?;
    let raft =
        Raft::new(id, Arc::new(config), network::NoPeers, log.clone(), machine).await.map_err(fatal)?;
    if raft.is_initialized().await.map_err(fatal)? {
        raft.trigger().elect().await.map_err(fatal)?;
    } else {
        raft.initialize(BTreeMap::from([(id, BasicNode::default())])).await.map_err(fatal)?;
    }
    let leads = |m: &Metrics| {
        let applied = m.last_applied.map(|id| id.index);
        // The first entry of its own term commits all that came before.
        let current = m.last_applied.is_some_and(|id| id.leader_id.term == m.current_term);
        let settled = m.state.is_leader() && current && applied == m.last_log_index;
        settled || m.running_state.is_err()
    };
    let metrics = raft.wait(None).metrics(leads, "this node leads").await.map_err(fatal)?;
    metrics.running_state.map_err(fatal)?;
    Ok(Running { raft, term: metrics.current_term, log })
}

/// An error after which the quorum of this node does nothing more.
pub(super) fn fatal(error: impl std::fmt::Display) -> ControlError {
    ControlError::Failed(error.to_string().into())
}
