//! What the owner of partitions is asked to do, and its answers: plain data that crosses cores.
//!
//! Made by `api`, one task per request and owning core; carried by the mailbox; answered by the core that owns the
//! partitions. Answers come in the order of a task's partitions. Deliberately absent: the protocol's error numbers
//! (`api/error_code.rs`) and how a task is done.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use corelog_logic::controller::TopicId;
use corelog_logic::group::{GroupErrorKind, Reply, Request};
use corelog_logic::partition::epoch_end::EpochEnd;
use corelog_logic::partition::producer_state::{ActiveProducer, ProducerError};
use corelog_storage::StorageError;
use corelog_storage::batch::BatchError;

/// A partition of one incarnation of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The topic's identity.
    pub topic_id: TopicId,
    /// The partition's number in it.
    pub partition: i32,
}

/// Why a partition did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PartitionError {
    /// The core has no such partition: it was deleted meanwhile.
    #[error("this server does not host this topic partition")]
    UnknownPartition,
    /// The request names an older leader epoch than the partition's.
    #[error("the leader epoch in the request, {requested}, is older than the partition's, {current}")]
    FencedLeaderEpoch { requested: i32, current: i32 },
    /// The request names a leader epoch that this broker has not heard of.
    #[error("the leader epoch in the request, {requested}, is newer than the partition's, {current}")]
    UnknownLeaderEpoch { requested: i32, current: i32 },
    /// A fetch outside what the log holds.
    #[error("offset {offset} is outside the log, which holds {log_start_offset} to {high_watermark}")]
    OffsetOutOfRange { offset: i64, log_start_offset: i64, high_watermark: i64 },
    /// Records of a topic that is only compacted are not deleted by offset.
    #[error("records of this partition cannot be deleted: its cleanup.policy is compact without delete")]
    NotDeletable,
    /// A fetch by a broker that has no replica of the partition.
    #[error("the broker that asks has no replica of this partition")]
    NoSuchReplica,
    /// A fetch that may give fewer than no bytes: as in Kafka nothing is read, and nothing said.
    #[error("the limit in bytes is negative")]
    NegativeLimit,
    /// The batch is not one that may be stored.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The batch does not follow what its idempotent producer wrote before.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// A batch of a transaction: there are none yet.
    #[error("transactional records are not supported by this broker yet")]
    Transactional,
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Append one batch to each of several partitions of one core.
#[derive(Debug)]
pub struct AppendTask {
    /// The batches; no partition occurs twice.
    pub batches: Vec<AppendBatch>,
    /// Answer only when the batches are durable (acks=1 and all). Otherwise as soon as they are appended.
    pub wait_durable: bool,
    /// Version of the metadata that the request was routed with; a core that is behind waits for it.
    pub image_version: u64,
}

/// One batch for one partition.
#[derive(Debug)]
pub struct AppendBatch {
    /// Where to.
    pub partition: PartitionId,
    /// What a client sent as records: neither validated nor known to be one batch. Exclusively owned, so that offsets
    /// can be written into it.
    pub records: BytesMut,
    /// Size of the allocation that `records` keeps alive, in bytes: what keeping it costs.
    pub backing_bytes: usize,
}

/// A batch is stored as durably as `corelog.flush` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record; for a repeated batch, that of the original.
    pub base_offset: i64,
    /// The broker's time on a LogAppendTime topic, in milliseconds; for a repeated batch, the original's largest timestamp; -1
    /// otherwise.
    pub log_append_time_ms: i64,
    /// Where the log starts.
    pub log_start_offset: i64,
}

/// Why a batch was not stored.
#[derive(Debug, Clone)]
pub struct AppendRefused {
    /// Why.
    pub error: PartitionError,
    /// Where the log starts, as far as there is one; -1 otherwise.
    pub log_start_offset: i64,
}

/// What became of each batch of an [`AppendTask`].
pub type AppendOutcome = Vec<Result<Appended, AppendRefused>>;

/// Which records a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// Read from several partitions of one core.
#[derive(Debug, Clone)]
pub struct FetchTask {
    /// Where to read; earlier ones are served first.
    pub partitions: Vec<FetchRange>,
    /// Bytes of batches in the whole answer. Exceeded only by [`FetchTask::at_least_one`].
    pub bytes_max: usize,
    /// Return the first batch that is found whole, however large it is, so that a consumer always gets on (KIP-74).
    pub at_least_one: bool,
    /// What may be seen.
    pub isolation: Isolation,
    /// As [`AppendTask::image_version`].
    pub image_version: u64,
}

/// Where to read in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchRange {
    /// Where.
    pub partition: PartitionId,
    /// First offset wanted; the batch that contains it is returned whole.
    pub fetch_offset: i64,
    /// Bytes of batches from this partition; 0 for a negative limit.
    pub bytes_max: usize,
    /// Whether the limit was negative: then records that are there are refused.
    pub limit_is_negative: bool,
    /// The leader epoch that the client knows, -1 for any.
    pub current_leader_epoch: i32,
    /// The leader epoch of the last record that the client has, negative for none: a log that has other records there diverges
    /// from the client's (KIP-595).
    pub last_fetched_epoch: i32,
    /// Whether a follower asks. No partition has one.
    pub from_follower: bool,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// End of what is durable everywhere it must be.
    pub high_watermark: i64,
    /// End of what read_committed may see.
    pub last_stable_offset: i64,
    /// Where the log starts.
    pub log_start_offset: i64,
    /// Whole batches in order, in pieces as they lie in memory.
    pub batches: Vec<Bytes>,
    /// Where the client's log and this one part, when they do; then nothing is read.
    pub diverging: Option<EpochEnd>,
}

/// What was found for each range of a [`FetchTask`].
pub type FetchOutcome = Vec<Result<Fetched, PartitionError>>;

/// Answer when there is something to read: as soon as the ranges together hold `bytes_min` bytes that may be seen, or one
/// of them can no longer be read as asked (deleted, another leader epoch, out of range). Nothing is read. A range counts
/// for at most its `bytes_max`, or a fetch that is held back by it would be woken over and over.
///
/// Answered at the latest after `wait_ms_max`, so that a watch whose asker went away does not stay. Waking early is
/// harmless, waking late is not.
#[derive(Debug, Clone)]
pub struct WatchTask {
    /// Where to look.
    pub partitions: Vec<FetchRange>,
    /// Bytes that are worth waking for; at least 1.
    pub bytes_min: usize,
    /// What may be seen.
    pub isolation: Isolation,
    /// How long at most, in milliseconds.
    pub wait_ms_max: u32,
}

/// The ranges of a [`WatchTask`] that are worth reading now, by their place in it: they hold something, or cannot be read as asked.
pub type WatchOutcome = Vec<u32>;

/// Delete the records below an offset in several partitions of one core.
#[derive(Debug, Clone)]
pub struct DeleteRecordsTask {
    /// What to delete where.
    pub partitions: Vec<DeleteRecords>,
    /// As [`AppendTask::image_version`].
    pub image_version: u64,
}

/// The records to delete in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteRecords {
    /// Where.
    pub partition: PartitionId,
    /// The first offset that stays; none for the high watermark, which empties the partition.
    pub offset: Option<i64>,
}

/// Where each log of a [`DeleteRecordsTask`] starts now, durably.
pub type DeleteRecordsOutcome = Vec<Result<i64, PartitionError>>;

/// Look up offsets in several partitions of one core.
#[derive(Debug, Clone)]
pub struct OffsetsTask {
    /// What is asked of which partition.
    pub queries: Vec<OffsetQuery>,
    /// What may be seen.
    pub isolation: Isolation,
    /// As [`AppendTask::image_version`].
    pub image_version: u64,
}

/// One offset to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetQuery {
    /// Where.
    pub partition: PartitionId,
    /// The leader epoch that the client knows, -1 for any.
    pub current_leader_epoch: i32,
    /// Which offset.
    pub target: OffsetTarget,
}

/// Which offset of a log is asked for (ListOffsets' timestamps).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetTarget {
    /// The first record with this timestamp or a later one (milliseconds).
    AtOrAfter(i64),
    /// -1: the end of what may be seen.
    Latest,
    /// -2, and -4 while there is no tiered storage: the log's start.
    Earliest,
    /// -3: the record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// -5: the last one in tiered storage (KIP-1005), of which there is none.
    LatestTiered,
}

/// An offset that was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The record's timestamp in milliseconds; -1 where the question was not about time, or nothing was found.
    pub timestamp_ms: i64,
    /// The offset; -1 when no record fits.
    pub offset: i64,
    /// Leader epoch of the record or of the partition; -1 when not known.
    pub leader_epoch: i32,
}

/// What was found for each query of an [`OffsetsTask`].
pub type OffsetsOutcome = Vec<Result<FoundOffset, PartitionError>>;

/// Ask the groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct GroupTask {
    /// Which partition.
    pub partition: PartitionId,
    /// What is asked; only groups that live in the partition are named.
    pub request: Request,
    /// As [`AppendTask::image_version`].
    pub image_version: u64,
}

/// The reply, or why this core does not coordinate the groups (yet, or any more).
pub type GroupOutcome = Result<Reply, GroupErrorKind>;

/// A question about partitions of one core that is not about their records.
#[derive(Debug, Clone)]
pub enum InspectTask {
    /// Where leader epochs end (OffsetForLeaderEpoch).
    Epochs {
        /// What is asked of which partition.
        queries: Vec<EpochQuery>,
        /// As [`AppendTask::image_version`].
        image_version: u64,
    },
    /// Which producers write (DescribeProducers).
    Producers {
        /// To which partitions.
        partitions: Vec<PartitionId>,
        /// As [`AppendTask::image_version`].
        image_version: u64,
    },
    /// Which partitions cannot be used (Metadata).
    Offline,
    /// How large all logs of this core are (DescribeLogDirs).
    Logs {
        /// Tell the space of the directories too, which is the same for every core.
        with_space: bool,
    },
}

/// One leader epoch to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochQuery {
    /// Where.
    pub partition: PartitionId,
    /// The leader epoch that the client knows, -1 for any.
    pub current_leader_epoch: i32,
    /// The epoch whose end is asked for.
    pub leader_epoch: i32,
}

/// The answer to an [`InspectTask`], variant by variant.
#[derive(Debug)]
pub enum Inspected {
    /// For each query.
    Epochs(Vec<Result<EpochEnd, PartitionError>>),
    /// For each partition.
    Producers(Vec<Result<Vec<ActiveProducer>, PartitionError>>),
    /// The core's partitions that cannot be used, in no order.
    Offline(Vec<PartitionId>),
    /// All logs of the core.
    Logs(LogSizes),
}

/// How large the logs of one core are.
#[derive(Debug, Default)]
pub struct LogSizes {
    /// Its logs, in no order.
    pub logs: Vec<LogSize>,
    /// Directories that have failed.
    pub failed_dirs: Vec<PathBuf>,
    /// The directories' space, where it was asked for.
    pub space: Vec<DirectorySpace>,
}

/// One log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSize {
    /// The log directory it lies in.
    pub dir: PathBuf,
    /// Its topic's name.
    pub topic: String,
    /// Its partition's number.
    pub partition: i32,
    /// Bytes of its batches.
    pub size_bytes: u64,
}

/// The file system of a log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorySpace {
    /// The log directory.
    pub dir: PathBuf,
    /// Its file system's size in bytes, and how much of it this process may still use. `None` when the system does not say.
    pub total_and_usable_bytes: Option<(u64, u64)>,
}
