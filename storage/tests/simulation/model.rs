//! What the logs must hold, kept beside them: every batch that was appended, what was acknowledged, what was seen.
//!
//! After a crash the log's end is read back, held against what had to survive, and taken over. Deliberately absent: the disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use corelog_storage::batch::BatchHeader;
use corelog_storage::compaction::Retain;
use corelog_storage::log::{LogIdentity, Tenant};
use corelog_storage::retention;
use corelog_storage::types::LogId;

use crate::compacted::LastOfProducer;

/// Where a log stands between its creation and its deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `create_log` has not answered.
    Creating,
    Live,
    /// `delete_log` was called.
    Deleting,
}

#[derive(Debug, Clone)]
pub struct ModelBatch {
    pub base_offset: i64,
    pub next_offset: i64,
    pub max_timestamp: i64,
    pub bytes: Bytes,
}

#[derive(Debug, Clone)]
pub struct ModelLog {
    pub identity: LogIdentity,
    pub stage: Stage,
    pub batches: Vec<ModelBatch>,
    /// Everything below was acknowledged or seen: it must be there for ever.
    pub must_hold: i64,
    /// The log starts here at least: it was acknowledged, or seen after a restart.
    pub start_held: i64,
    /// The log starts here at most: nobody asked for more.
    pub start_asked: i64,
    /// The highest start that was asked for by name, and not by retention.
    pub start_named: i64,
    /// Last offset of the newest batch of a producer that was ever appended, whether or not it survived.
    pub last_of_producer_max: i64,
}

impl ModelLog {
    /// A log that is being made.
    pub fn new(identity: LogIdentity) -> Self {
        Self {
            identity,
            stage: Stage::Creating,
            batches: Vec::new(),
            must_hold: 0,
            start_held: 0,
            start_asked: 0,
            start_named: 0,
            last_of_producer_max: -1,
        }
    }

    /// Holds a log's first offset against what was asked and acknowledged.
    pub fn check_start(&self, log_start_offset: i64) {
        let name = self.identity.dir_name();
        let allowed = self.start_held..=self.start_asked;
        assert!(
            allowed.contains(&log_start_offset),
            "{name} starts at {log_start_offset}, not in {allowed:?}"
        );
    }

    /// What retention may have taken: from `before` on, what is too old as of `now_ms`, and what was too much.
    pub fn check_expired(&self, policy: &retention::Policy, before: i64, log_start_offset: i64, now_ms: i64) {
        let named = self.start_named;
        let gone = |batch: &&ModelBatch| {
            batch.base_offset >= before.max(named) && batch.base_offset < log_start_offset
        };
        for batch in self.batches.iter().filter(gone) {
            let too_old = policy.retention_ms.is_some_and(|limit| now_ms - batch.max_timestamp > limit);
            let later = self.batches.iter().filter(|later| later.base_offset >= batch.next_offset);
            let left: u64 = later.map(|later| later.bytes.len() as u64).sum();
            let too_much = policy.retention_bytes.is_some_and(|limit| left >= limit);
            let (name, offset) = (self.identity.dir_name(), batch.base_offset);
            assert!(too_old || too_much, "{name}: {offset} is neither too old nor too much, and is gone");
        }
    }

    pub fn end_offset(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.next_offset)
    }

    /// The batch that holds `offset`.
    pub fn batch_at(&self, offset: i64) -> Option<usize> {
        let at = self.batches.partition_point(|batch| batch.next_offset <= offset);
        (at < self.batches.len()).then_some(at)
    }

    /// Holds what was read from `offset` on against the model; returns the offset after it.
    pub fn check_read(&mut self, offset: i64, slices: &[Bytes], next_offset: i64) {
        let read: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut at = 0;
        let mut expected_next = offset;
        if let Some(first) = self.batch_at(offset) {
            for batch in &self.batches[first..] {
                if at == read.len() {
                    break;
                }
                let same = read.get(at..at + batch.bytes.len()) == Some(&batch.bytes[..]);
                assert!(same, "{}: other bytes at offset {}", self.identity.dir_name(), batch.base_offset);
                at += batch.bytes.len();
                expected_next = batch.next_offset;
            }
        }
        assert_eq!(at, read.len(), "{}: bytes beyond what was appended", self.identity.dir_name());
        assert_eq!(
            next_offset,
            expected_next,
            "{}: next offset of a read at {offset}",
            self.identity.dir_name()
        );
        self.must_hold = self.must_hold.max(next_offset);
    }

    /// Takes over the ends that a recovery found.
    pub fn recovered(&mut self, log_start_offset: i64, end_offset: i64) {
        self.check_start(log_start_offset);
        assert!(log_start_offset <= end_offset, "a log from {log_start_offset} to {end_offset}");
        (self.start_held, self.start_asked) = (log_start_offset, log_start_offset);
        let name = self.identity.dir_name();
        assert!(end_offset >= self.must_hold, "{name} ends at {end_offset}, {} was promised", self.must_hold);
        let kept = self.batches.partition_point(|batch| batch.next_offset <= end_offset);
        self.batches.truncate(kept);
        assert_eq!(self.end_offset(), end_offset, "{name}: an end that no batch has");
        // What is there now can be seen by anybody.
        self.must_hold = end_offset;
    }
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub logs: BTreeMap<LogId, ModelLog>,
    /// Whether logs are compacted, and whether tombstones stay then.
    pub compacts: bool,
    pub tombstones_stay: bool,
    pub next_log_id: u64,
    /// What was done, and how often.
    pub done: BTreeMap<&'static str, usize>,
}

impl Model {
    pub fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_insert(0) += 1;
    }

    /// Holds what was read from `offset` on against the log that it was read from.
    pub fn check_read(&mut self, log_id: LogId, offset: i64, slices: &[Bytes], next_offset: i64) {
        let Some(log) = self.logs.get_mut(&log_id) else { return };
        if self.compacts {
            log.check_compacted_read(self.tombstones_stay, offset, slices, next_offset);
        } else {
            log.check_read(offset, slices, next_offset);
        }
    }
}

/// The one producer of the simulation.
pub const PRODUCER_ID: i64 = 77;

pub type SharedModel = Rc<RefCell<Model>>;

/// A tenant that remembers how many batches it saw, and a hash of them in order: one lost, repeated or swapped batch changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chronicle {
    batches: u64,
    hash: u64,
    next_offset: i64,
    /// Where the producer's last batch ends.
    last_of_producer: i64,
}

impl Default for Chronicle {
    fn default() -> Self {
        Self { batches: 0, hash: 0, next_offset: 0, last_of_producer: -1 }
    }
}

impl Chronicle {
    pub fn of(log: &ModelLog) -> Self {
        let mut chronicle = Self::default();
        for batch in &log.batches {
            chronicle.replay(&BatchHeader::parse(&batch.bytes).expect("the model holds whole batches"));
        }
        chronicle
    }
}

impl Tenant for Chronicle {
    fn restore(&mut self, snapshot: &[u8]) {
        let field = |at: usize| snapshot[at..at + 8].try_into().expect("eight bytes");
        self.batches = u64::from_le_bytes(field(0));
        self.hash = u64::from_le_bytes(field(8));
        self.next_offset = i64::from_le_bytes(field(16));
        self.last_of_producer = i64::from_le_bytes(field(24));
    }

    fn replay(&mut self, batch: &BatchHeader) {
        assert_eq!(batch.base_offset, self.next_offset, "a batch that does not follow");
        self.batches += 1;
        self.hash = self.hash.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(batch.crc);
        self.next_offset = batch.next_offset();
        if batch.has_producer() {
            self.last_of_producer = batch.last_offset();
        }
    }

    fn snapshot(&self) -> Option<Bytes> {
        if self.batches == 0 {
            return None;
        }
        let mut bytes = Vec::with_capacity(32);
        bytes.extend_from_slice(&self.batches.to_le_bytes());
        bytes.extend_from_slice(&self.hash.to_le_bytes());
        bytes.extend_from_slice(&self.next_offset.to_le_bytes());
        bytes.extend_from_slice(&self.last_of_producer.to_le_bytes());
        Some(bytes.into())
    }

    fn retain(&self) -> Box<dyn Retain> {
        Box::new(LastOfProducer(self.last_of_producer))
    }
}
