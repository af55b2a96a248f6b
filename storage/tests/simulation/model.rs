//! What the logs must hold, kept beside them: every batch that was appended, what was acknowledged, what was seen.
//!
//! After a crash the log's end is read back, held against what had to survive, and taken over. Deliberately absent: the disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use corelog_storage::batch::BatchHeader;
use corelog_storage::log::{LogIdentity, Tenant};
use corelog_storage::types::LogId;

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

#[derive(Debug)]
pub struct ModelLog {
    pub identity: LogIdentity,
    pub stage: Stage,
    pub batches: Vec<ModelBatch>,
    /// Everything below was acknowledged or seen: it must be there for ever.
    pub must_hold: i64,
}

impl ModelLog {
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

    /// Takes over the end that a recovery found.
    pub fn recovered(&mut self, end_offset: i64) {
        let name = self.identity.dir_name();
        assert!(end_offset >= self.must_hold, "{name} ends at {end_offset}, {} was promised", self.must_hold);
        let kept = self.batches.partition_point(|batch| batch.next_offset <= end_offset);
        self.batches.truncate(kept);
        assert_eq!(self.end_offset(), end_offset, "{name}: an end that no batch has");
        // What is there now can be seen by anybody.
        self.must_hold = end_offset;
    }
}

#[derive(Debug, Default)]
pub struct Model {
    pub logs: BTreeMap<LogId, ModelLog>,
    pub next_log_id: u64,
}

pub type SharedModel = Rc<RefCell<Model>>;

/// A tenant that remembers how many batches it saw, and a hash of them in order: one lost, repeated or swapped batch changes it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Chronicle {
    batches: u64,
    hash: u64,
    next_offset: i64,
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
    }

    fn replay(&mut self, batch: &BatchHeader) {
        assert_eq!(batch.base_offset, self.next_offset, "a batch that does not follow");
        self.batches += 1;
        self.hash = self.hash.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(batch.crc);
        self.next_offset = batch.next_offset();
    }

    fn snapshot(&self) -> Option<Bytes> {
        if self.batches == 0 {
            return None;
        }
        let mut bytes = Vec::with_capacity(24);
        bytes.extend_from_slice(&self.batches.to_le_bytes());
        bytes.extend_from_slice(&self.hash.to_le_bytes());
        bytes.extend_from_slice(&self.next_offset.to_le_bytes());
        Some(bytes.into())
    }
}
