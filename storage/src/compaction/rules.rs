//! What becomes of each batch and record when a log is compacted.
//!
//! Follows Kafka's `Cleaner.buildOffsetMap`, `checkBatchRetention` and `shouldRetainRecord`. Pure. Called by the log's cleaner
//! for each batch, in offset order.

use super::KeyMap;
use crate::batch::{self, BatchError, BatchHeader, BatchRecord};
use crate::types::Offset;

/// Bound on what a stored batch decompresses to here, in bytes: it is held whole. One that exceeds it stays as it is.
const DECOMPRESSED_BYTES_MAX: u64 = 256 << 20;

/// What becomes of a control batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlFate {
    /// It is needed: some of its transaction's records are there.
    Needed,
    /// Nothing of its transaction is left: it goes when its delete horizon has passed.
    Empty,
}

/// What compaction must ask those who know producers and transactions. One lives for one pass over a log, and hears of every
/// batch in offset order.
pub trait Retain {
    /// Whether this is the last batch that a producer wrote which is still remembered: it stays, if empty, so that the
    /// producer's sequence is found again.
    fn is_last_of_producer(&self, batch: &BatchHeader) -> bool;
    /// Whether a data batch belongs to an aborted transaction, so that nothing of it stays.
    fn is_aborted(&mut self, batch: &BatchHeader) -> bool;
    /// What becomes of a control batch; `bytes` is all of it.
    fn control(&mut self, batch: &BatchHeader, bytes: &[u8]) -> ControlFate;
}

/// For logs without producers: only keys decide, and control batches stay.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetainByKey;

impl Retain for RetainByKey {
    fn is_last_of_producer(&self, _batch: &BatchHeader) -> bool {
        false
    }

    fn is_aborted(&mut self, _batch: &BatchHeader) -> bool {
        false
    }

    fn control(&mut self, _batch: &BatchHeader, _bytes: &[u8]) -> ControlFate {
        ControlFate::Needed
    }
}

/// Notes the keys of a batch's records from `first_dirty_offset` on. False when the map is full: the batch is mapped in part, and
/// not counted.
pub(crate) fn map_keys(
    map: &mut KeyMap,
    header: &BatchHeader,
    bytes: &[u8],
    first_dirty_offset: Offset,
    retain: &mut dyn Retain,
) -> Result<bool, BatchError> {
    if header.last_offset() < first_dirty_offset {
        return Ok(true);
    }
    let mut whole = true;
    if header.is_control() {
        retain.control(header, bytes);
    } else if !retain.is_aborted(header) {
        let visited = batch::visit_records(bytes, header, DECOMPRESSED_BYTES_MAX, |record| {
            if let Some(key) = record.key
                && record.offset >= first_dirty_offset
            {
                whole = map.put(key, record.offset);
            }
            whole
        });
        match visited {
            // Its keys are not known; older values of them stay with it.
            Err(BatchError::DecompressedTooLarge { .. }) => {}
            visited => visited?,
        }
    }
    if whole {
        map.mapped_up_to(header.last_offset());
    }
    Ok(whole)
}

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays as it is.
    Stays,
    /// These bytes take its place.
    Becomes(Vec<u8>),
    /// It goes.
    Goes,
}

/// One pass over a log whose keys are mapped.
pub(crate) struct Cleaner<'a> {
    pub(crate) map: &'a KeyMap,
    /// Wall clock, in ms.
    pub(crate) now_ms: i64,
    pub(crate) delete_retention_ms: i64,
    /// Where the pass ends: the batch that ends here stays, if empty, so that the log's offsets go on to where they went.
    pub(crate) end_offset: Offset,
    /// For tests only: tombstones go as soon as they are met.
    pub(crate) drops_tombstones_early: bool,
    /// For tests only: the newest record of a key goes like the older ones.
    pub(crate) loses_newest: bool,
}

impl Cleaner<'_> {
    pub(crate) fn judge(
        &self,
        header: &BatchHeader,
        bytes: &[u8],
        retain: &mut dyn Retain,
    ) -> Result<Fate, BatchError> {
        let horizon_ms = header.has_delete_horizon().then_some(header.base_timestamp);
        let is_over = horizon_ms.is_some_and(|horizon_ms| horizon_ms <= self.now_ms);
        let (discards, is_empty_marker) = if header.is_control() {
            let is_empty = retain.control(header, bytes) == ControlFate::Empty;
            (is_empty && is_over, is_empty)
        } else {
            (retain.is_aborted(header), false)
        };
        let stays_if_empty = header.has_producer() && retain.is_last_of_producer(header)
            || header.next_offset() == self.end_offset;
        if discards && !stays_if_empty {
            return Ok(Fate::Goes);
        }
        let new_horizon_ms = self.now_ms.saturating_add(self.delete_retention_ms);
        let keep =
            |record: &BatchRecord<'_>| !discards && (header.is_control() || self.keeps(record, horizon_ms));
        let filtered =
            batch::filter(bytes, header, DECOMPRESSED_BYTES_MAX, (new_horizon_ms, is_empty_marker), keep);
        let filtered = match filtered {
            Err(BatchError::DecompressedTooLarge { .. }) => return Ok(Fate::Stays),
            filtered => filtered?,
        };
        Ok(match (filtered.retained, filtered.rewritten) {
            (_, Some(rewritten)) => Fate::Becomes(rewritten),
            (0, None) if !stays_if_empty => Fate::Goes,
            (0, None) if header.records_count == 0 => Fate::Stays,
            (0, None) => Fate::Becomes(batch::empty_batch(header)),
            (_, None) => Fate::Stays,
        })
    }

    fn keeps(&self, record: &BatchRecord<'_>, horizon_ms: Option<i64>) -> bool {
        if record.offset > self.map.latest_offset() {
            return true;
        }
        // Written before the topic was compacted: it can be found by nobody who looks for a key.
        let Some(key) = record.key else { return false };
        let newest = self.map.get(key);
        let is_newest = newest.is_none_or(|newest| record.offset >= newest && !self.loses_newest);
        let stays_dead = horizon_ms.is_none_or(|horizon_ms| self.now_ms < horizon_ms);
        is_newest && (record.value.is_some() || (stays_dead && !self.drops_tombstones_early))
    }
}
