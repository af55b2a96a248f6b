//! What a log is called and how it is set: its identity, its directory's name, its settings, and its tenant.
//!
//! Used by the store, by recovery and by the broker. Kafka's topic configuration is mapped to these few fields elsewhere.

use bytes::Bytes;

use crate::batch::BatchHeader;
use crate::compaction::{self, Retain, RetainByKey};
use crate::retention;
use crate::types::{LogId, Offset, TopicId};

/// Which partition a log holds, and which incarnation of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIdentity {
    /// The incarnation; never reused.
    pub log_id: LogId,
    /// Kafka's topic id (KIP-516).
    pub topic_id: TopicId,
    /// The topic's name. Letters, digits, `.`, `_` and `-`, as Kafka has it; checked before it gets here.
    pub topic: String,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl LogIdentity {
    /// The name of the log's directory, as Kafka names it.
    pub fn dir_name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }

    /// The name under which the directory waits for its removal. It is our mark: only such leftovers are ever removed at
    /// a start. The topic is not in it, because with a long one the name would exceed what file systems allow.
    pub fn deleted_dir_name(&self) -> String {
        format!("{:016x}{DELETED_SUFFIX}", self.log_id.0)
    }
}

const DELETED_SUFFIX: &str = ".deleted";

/// The log id in the name of a directory that waits for its removal, or None for any other name.
pub fn parse_deleted_dir_name(name: &str) -> Option<LogId> {
    let log_id = name.strip_suffix(DELETED_SUFFIX)?;
    if log_id.len() != 16 || !log_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(log_id, 16).ok().map(LogId)
}

/// Splits `<topic>-<partition>` as the checkpoint stores it.
pub(crate) fn parse_dir_name(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let number: i32 = partition.parse().ok()?;
    (!topic.is_empty() && number >= 0 && number.to_string() == partition).then_some((topic, number))
}

/// Settings of one log; may change while it is open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogConfig {
    /// A segment is rolled before it exceeds this many bytes (`segment.bytes`); at most 2 GiB. A single larger batch gets a segment of its own.
    pub segment_bytes: u32,
    /// A segment is rolled when its first batch is this much older than what is appended, in ms by the batches' timestamps, or by
    /// the clock where they have none (`segment.ms`); looked at on every append.
    pub segment_ms: i64,
    /// Up to this much is taken off `segment_ms`, another part for each segment (`segment.jitter.ms`).
    pub segment_jitter_ms: i64,
    /// What may go.
    pub retention: retention::Policy,
    /// Whether and when of records with the same key only the newest stays.
    pub compaction: compaction::Policy,
    /// How long the files of a removed segment stay, renamed aside, in ms (`file.delete.delay.ms`).
    pub file_delete_delay_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            segment_jitter_ms: 0,
            retention: retention::Policy::default(),
            compaction: compaction::Policy::default(),
            file_delete_delay_ms: 60_000,
        }
    }
}

/// State that somebody else derives from a log's batches (the broker: producer state), kept safe by the log's checkpoints.
///
/// The bytes mean nothing here. Whoever appends updates the tenant in the same synchronous step as the append, so that a
/// snapshot holds exactly at the log's end offset.
pub trait Tenant {
    /// Replaces the state with what `snapshot` once returned.
    fn restore(&mut self, snapshot: &[u8]);
    /// Applies a batch that was appended after the restored snapshot was taken. In offset order, each batch once.
    fn replay(&mut self, batch: &BatchHeader);
    /// The state at the log's end, or None when there is nothing worth keeping.
    fn snapshot(&self) -> Option<Bytes>;
    /// Who decides, for one pass of compaction, about what only producers and transactions can know.
    fn retain(&self) -> Box<dyn Retain> {
        Box::new(RetainByKey)
    }
    /// Where the first transaction begins that is not decided; compaction stays below.
    fn first_undecided_offset(&self) -> Option<Offset> {
        None
    }
}

/// A log whose batches nobody derives anything from.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTenant;

impl Tenant for NoTenant {
    fn restore(&mut self, _snapshot: &[u8]) {}
    fn replay(&mut self, _batch: &BatchHeader) {}
    fn snapshot(&self) -> Option<Bytes> {
        None
    }
}

/// A partition's leader epochs with the offset each began at, oldest first (KIP-101).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    /// Notes that `leader_epoch` wrote a batch at `base_offset`; an epoch that is not newer than the last changes nothing.
    pub fn note(&mut self, leader_epoch: i32, base_offset: i64) {
        if leader_epoch >= 0 && self.entries.last().is_none_or(|(last, _)| *last < leader_epoch) {
            // The format counts them in 16 bits; the oldest are the ones nobody asks for any more.
            if self.entries.len() == usize::from(u16::MAX) {
                self.entries.remove(0);
            }
            self.entries.push((leader_epoch, base_offset));
        }
    }

    /// Forgets the epochs that ended below `log_start_offset`; the one it lies in begins there now, as Kafka has it.
    pub fn truncate_from_start(&mut self, log_start_offset: i64) {
        let after = self.entries.partition_point(|(_, start)| *start <= log_start_offset);
        if let Some(within) = after.checked_sub(1) {
            self.entries.drain(..within);
            self.entries[0].1 = log_start_offset;
        }
    }

    /// Epoch and start offset, oldest first.
    pub fn entries(&self) -> &[(i32, i64)] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The largest epoch not above `leader_epoch` and the offset after its last record, as OffsetForLeaderEpoch answers
    /// (KIP-320); `log_end_offset` ends the newest. None when even the oldest epoch is newer.
    pub fn end_offset(&self, leader_epoch: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        let after = self.entries.partition_point(|(epoch, _)| *epoch <= leader_epoch);
        let (epoch, _) = self.entries.get(after.checked_sub(1)?)?;
        Some((*epoch, self.entries.get(after).map_or(log_end_offset, |(_, start)| *start)))
    }
}

impl From<Vec<(i32, i64)>> for LeaderEpochs {
    fn from(entries: Vec<(i32, i64)>) -> Self {
        Self { entries }
    }
}
