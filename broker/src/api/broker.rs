//! What the APIs stand on: this broker's identity and settings, its cores and its controller.
//!
//! Filled in by `boot`, one per core; [`Cores`] and [`Controller`] are the seams that tests replace by fakes.
//! Deliberately absent: sockets, and how a message reaches a core.

use std::cell::Cell;
use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelog_logic::controller::{Command, CommandError, MetadataImage, Reply, TopicImage};

use super::error_code::{ErrorCode, Refusal};
use super::fetch::FetchSessions;
use super::service::ConnectionInfo;
use crate::config::BrokerConfig;
use crate::drive::tasks::{
    AppendOutcome, AppendTask, DeleteRecordsOutcome, DeleteRecordsTask, FetchOutcome, FetchTask,
    GroupOutcome, GroupTask, InspectTask, Inspected, OffsetsOutcome, OffsetsTask, PartitionId, WatchOutcome,
    WatchTask,
};
use crate::metrics::CoreMetrics;
use crate::shard::Core;
use crate::shard::budget::Pool;
use crate::shard::mailbox::Gone;

/// A future that stays on its core.
pub type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// A task whose place in its core's order is fixed once the outer future resolves; the inner one is its outcome. The core
/// works on it whether or not the inner future is polled.
pub type Submitted<T> = Local<Result<Local<Result<T, Gone>>, Gone>>;

/// The partitions of this node, wherever they are, as seen from this core.
pub trait Cores {
    /// The newest metadata that this core has.
    fn image(&self) -> Arc<MetadataImage>;
    /// The core that owns a partition of this node; `None` when none does (yet, or any more).
    fn owner(&self, partition: &PartitionId) -> Option<Core>;
    /// Appends to partitions of one core.
    fn append(&self, core: Core, task: AppendTask) -> Submitted<AppendOutcome>;
    /// Reads from partitions of one core.
    fn fetch(&self, core: Core, task: FetchTask) -> Submitted<FetchOutcome>;
    /// Waits for something to read on one core.
    fn watch(&self, core: Core, task: WatchTask) -> Local<Result<WatchOutcome, Gone>>;
    /// Tells another core that a fetch session of its own has ended. What is not told in time, eviction finds.
    fn end_fetch_session(&self, core: Core, session_id: i32);
    /// Looks up offsets on one core.
    fn offsets(&self, core: Core, task: OffsetsTask) -> Submitted<OffsetsOutcome>;
    /// Asks groups on one core.
    fn group(&self, core: Core, task: GroupTask) -> Submitted<GroupOutcome>;
    /// Tells about partitions of one core.
    fn inspect(&self, core: Core, task: InspectTask) -> Submitted<Inspected>;
    /// Whether some core may have partitions that cannot be used. Costs nothing, and until it is so nobody need be asked.
    fn is_degraded(&self) -> bool;
    /// How many cores there are.
    fn count(&self) -> u16;
    /// Deletes records on one core.
    fn delete_records(&self, core: Core, task: DeleteRecordsTask) -> Submitted<DeleteRecordsOutcome>;
    /// Resolves after `duration`.
    fn sleep(&self, duration: Duration) -> Local<()>;
}

/// Why the controller did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    /// It decided so.
    #[error("{0}")]
    Refused(CommandError),
    /// It did not answer in time; the change may still happen.
    #[error("the controller did not answer within the request's timeout; the change may still be made")]
    TimedOut,
    /// The disk has no room for the change. Nothing was changed.
    #[error("{0}")]
    DiskFull(String),
    /// It is stopping or has failed.
    #[error("the controller is not available: {0}")]
    Unavailable(String),
}

/// How far the metadata quorum is. Offsets are those after the entry meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quorum {
    /// The term of its leader.
    pub leader_epoch: i32,
    /// What is committed.
    pub high_watermark: i64,
    /// What is written.
    pub log_end_offset: i64,
}

/// The one that changes metadata.
pub trait Controller {
    /// How far its log is.
    fn quorum(&self) -> Quorum;
    /// Decides and commits. A change is answered when every core of this node has it.
    fn call(&self, command: Command) -> Local<Result<Reply, ControllerError>>;
}

/// Everything the APIs of one core share.
pub struct Broker {
    /// This node's id.
    pub node_id: i32,
    /// The epoch of this process's registration with the controller.
    pub broker_epoch: i64,
    /// The cluster's id: 22 letters.
    pub cluster_id: String,
    /// What `corelog start` was told.
    pub config: Arc<BrokerConfig>,
    /// The partitions.
    pub cores: Rc<dyn Cores>,
    /// The metadata.
    pub controller: Rc<dyn Controller>,
    /// This core's counters.
    pub metrics: Rc<CoreMetrics>,
    /// What this core may hold in replies.
    pub replies: Pool,
    /// This core's fetch sessions.
    pub fetch_sessions: Rc<FetchSessions>,
    /// What is left of this core's block of producer ids.
    pub producer_ids: ProducerIds,
}

/// A block of producer ids that this core may give away.
#[derive(Debug, Default)]
pub struct ProducerIds(Cell<(i64, i64)>);

impl ProducerIds {
    /// The next id of the block, if there is one.
    pub fn take(&self) -> Option<i64> {
        let (next, end) = self.0.get();
        (next < end).then(|| {
            self.0.set((next + 1, end));
            next
        })
    }

    /// Goes on with a fresh block. What is left of the old one is never used: two clients may have asked at once.
    pub fn refill(&self, first: i64, count: i64) {
        self.0.set((first, first.saturating_add(count)));
    }
}

/// A host and port that a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Node id.
    pub node_id: i32,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Rack, if any.
    pub rack: Option<String>,
}

/// How long a controller gets at least, whatever a request says: its commit is a disk flush, and a timeout of 0 means
/// "do not wait for replicas", not "do not wait".
const CONTROLLER_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// How long a controller gets at most.
const CONTROLLER_TIMEOUT_MAX: Duration = Duration::from_secs(300);

impl Broker {
    /// The addresses of all brokers, as a client of this connection should dial them: what is advertised for its listener,
    /// else the address it dialled itself.
    pub fn endpoints(&self, image: &MetadataImage, connection: &ConnectionInfo) -> Vec<Endpoint> {
        let dialled = connection.local.ip().to_string();
        image
            .brokers()
            .filter_map(|(node_id, broker)| {
                let listener = broker.listeners.iter().find(|one| *one.name == *connection.listener)?;
                let (host, port) = match listener.host.as_str() {
                    "" if node_id == self.node_id => (dialled.clone(), connection.local.port()),
                    host => (host.to_owned(), listener.port),
                };
                Some(Endpoint { node_id, host, port, rack: broker.rack.clone() })
            })
            .collect()
    }

    /// The core that owns a partition this node leads, or why a request for it is refused.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER.
    pub fn route(&self, topic: &TopicImage, partition: i32) -> Result<(Core, PartitionId), Refusal> {
        let unknown =
            || ErrorCode::UnknownTopicOrPartition.because("This server does not host this topic-partition.");
        let state = topic.partition(partition).ok_or_else(unknown)?;
        let id = PartitionId { topic_id: topic.id, partition };
        let not_leader = || {
            ErrorCode::NotLeaderOrFollower.because("This server is not the leader for that topic-partition.")
        };
        if state.leader != self.node_id {
            return Err(not_leader());
        }
        // Between a change of metadata and the opening of a log: the client asks again.
        let core = self.cores.owner(&id).ok_or_else(not_leader)?;
        Ok((core, id))
    }

    /// The partitions of all cores that cannot be used: their log directory failed, or their log could not be opened.
    pub async fn offline(&self) -> HashSet<PartitionId> {
        let mut offline = HashSet::new();
        if !self.cores.is_degraded() {
            return offline;
        }
        let mut pending = Vec::new();
        for core in 0..self.cores.count() {
            pending.push(self.cores.inspect(Core(core), InspectTask::Offline).await);
        }
        for submitted in pending.into_iter().flatten() {
            // A core that does not answer is stopping, and so is the process.
            if let Ok(Inspected::Offline(partitions)) = submitted.await {
                offline.extend(partitions);
            }
        }
        offline
    }

    /// Asks the controller, for as long as the request allows.
    ///
    /// # Errors
    /// As [`Controller::call`], and [`ControllerError::TimedOut`].
    pub async fn control(&self, command: Command, timeout_ms: i32) -> Result<Reply, ControllerError> {
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
            .clamp(CONTROLLER_TIMEOUT_MIN, CONTROLLER_TIMEOUT_MAX);
        let late = async {
            self.cores.sleep(timeout).await;
            Err(ControllerError::TimedOut)
        };
        futures_lite::future::or(self.controller.call(command), late).await
    }
}
