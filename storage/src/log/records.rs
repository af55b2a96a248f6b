//! A log in the words of the checkpoint log, both ways: what a checkpoint says of it, and what it was when it was written.
//!
//! Called by `store::round` and by recovery. Pure. The order of records matters: a torn checkpoint keeps a prefix, so the tenant's
//! snapshot and closed segments come before the state that relies on them.

use crate::checkpoint::{
    LogCheckpoint, LogRecord, Record, ReplacedRecord, SegmentRecord, StateRecord, TenantRecord,
};
use crate::io::Io;
use crate::types::{LogId, Offset};

use super::write_back::Written;
use super::{ClosedSegment, Covered, Log, LogIdentity, parse_dir_name};

/// The record that a log exists.
pub(crate) fn log_record(identity: &LogIdentity, owner_epoch: u32) -> Record {
    Record::Log(LogRecord {
        log_id: identity.log_id,
        topic_id: identity.topic_id,
        partition: identity.partition,
        owner_epoch,
        directory: identity.dir_name(),
    })
}

fn closed_record(log_id: LogId, segment: &ClosedSegment) -> Record {
    Record::SegmentClosed(segment_record(log_id, segment))
}

fn segment_record(log_id: LogId, segment: &ClosedSegment) -> SegmentRecord {
    SegmentRecord {
        log_id,
        base_offset: segment.base_offset,
        len: segment.len,
        max_timestamp_ms: segment.max_timestamp,
        first_timestamp_ms: segment.first_timestamp,
        modified_ms: segment.modified_ms,
        generation: segment.generation,
    }
}

/// The record that one segment, or none, takes the place of others.
pub(crate) fn replaced_record(log_id: LogId, replaced: &[Offset], new: Option<&ClosedSegment>) -> Record {
    let segment = new.map(|segment| segment_record(log_id, segment));
    Record::SegmentsReplaced(ReplacedRecord { log_id, replaced: replaced.to_vec(), segment })
}

fn tenant_record(log_id: LogId, covered: &Covered) -> Record {
    Record::Tenant(TenantRecord {
        log_id,
        end_offset: covered.next_offset,
        state: covered.tenant.clone().unwrap_or_default(),
    })
}

fn state_record(log_id: LogId, covered: &Covered) -> Record {
    Record::State(StateRecord {
        log_id,
        sequence: covered.sequence,
        segment_base_offset: covered.segment_base,
        segment_len: covered.segment_len,
        next_offset: covered.next_offset,
        log_start_offset: covered.log_start_offset,
        max_timestamp_ms: covered.max_timestamp,
        first_timestamp_ms: covered.first_timestamp,
        modified_ms: covered.modified_ms,
        first_dirty_offset: covered.first_dirty_offset,
        // One replica: what is durable is committed.
        high_watermark: covered.next_offset,
        leader_epochs: covered.leader_epochs.entries().to_vec(),
        tail: covered.tail.clone(),
    })
}

/// Everything a checkpoint file must say of a log.
pub(crate) fn whole(
    identity: &LogIdentity,
    owner_epoch: u32,
    closed: &[ClosedSegment],
    covered: &Covered,
) -> Vec<Record> {
    let log_id = identity.log_id;
    let mut records = vec![log_record(identity, owner_epoch)];
    records.extend(closed.iter().map(|segment| closed_record(log_id, segment)));
    if covered.tenant.is_some() {
        records.push(tenant_record(log_id, covered));
    }
    records.push(state_record(log_id, covered));
    records
}

/// What a checkpoint says, in the log's own words. None when its directory's name is none that this code makes.
pub(crate) fn read(checkpoint: LogCheckpoint) -> Option<(LogIdentity, u32, Vec<ClosedSegment>, Covered)> {
    let LogCheckpoint { log, closed, state, tenant } = checkpoint;
    let (topic, partition) = parse_dir_name(&log.directory)?;
    if partition != log.partition {
        return None;
    }
    let identity =
        LogIdentity { log_id: log.log_id, topic_id: log.topic_id, topic: topic.to_owned(), partition };
    let mut covered = match state {
        None => Covered::default(),
        Some(state) => Covered {
            sequence: state.sequence,
            segment_base: state.segment_base_offset,
            segment_len: state.segment_len,
            next_offset: state.next_offset,
            log_start_offset: state.log_start_offset,
            max_timestamp: state.max_timestamp_ms,
            first_timestamp: state.first_timestamp_ms,
            modified_ms: state.modified_ms,
            first_dirty_offset: state.first_dirty_offset,
            leader_epochs: state.leader_epochs.into(),
            tail: state.tail,
            ..Covered::default()
        },
    };
    if let Some(tenant) = tenant {
        // A snapshot without its state is what a torn checkpoint leaves: then it is ahead of the state.
        covered.tenant_end_offset = tenant.end_offset.max(covered.next_offset);
        covered.tenant = (!tenant.state.is_empty()).then_some(tenant.state);
    } else {
        covered.tenant_end_offset = covered.next_offset;
    }
    let closed = closed
        .into_values()
        // Likewise a closed segment whose state is missing: the journal still has what follows the state.
        .filter(|segment| segment.base_offset < covered.segment_base)
        .map(|segment| ClosedSegment {
            base_offset: segment.base_offset,
            len: segment.len,
            max_timestamp: segment.max_timestamp_ms,
            first_timestamp: segment.first_timestamp_ms,
            modified_ms: segment.modified_ms,
            generation: segment.generation,
        })
        .collect();
    Some((identity, log.owner_epoch, closed, covered))
}

impl<I: Io> Log<I> {
    /// Everything a checkpoint file must say of this log, as of the last checkpoint.
    pub(crate) fn records(&self) -> Vec<Record> {
        let state = self.state.borrow();
        whole(&self.identity, self.owner_epoch, &state.closed, &state.covered)
    }

    /// What the next checkpoint says of how far compaction has come; all else is as the last one said.
    pub(crate) fn clean_record(&self, first_dirty_offset: Offset) -> Record {
        let covered = Covered { first_dirty_offset, ..self.state.borrow().covered.clone() };
        state_record(self.identity.log_id, &covered)
    }

    /// The tenant's snapshot in the last checkpoint.
    fn covered_tenant_is(&self, covered: &Covered) -> bool {
        self.state.borrow().covered.tenant == covered.tenant
    }
}

impl<I: Io> Written<I> {
    /// Adds what the next checkpoint says of this log, and returns about how many bytes that takes.
    pub(crate) fn records(&self, records: &mut Vec<Record>) -> usize {
        const FIXED_BYTES: usize = 128;
        let log_id = self.log.identity.log_id;
        let mut bytes =
            FIXED_BYTES + self.covered.tail.len() + self.covered.leader_epochs.entries().len() * 12;
        records.extend(self.closed.iter().map(|segment| closed_record(log_id, segment)));
        if !self.log.covered_tenant_is(&self.covered) {
            bytes += self.covered.tenant.as_ref().map_or(0, bytes::Bytes::len);
            records.push(tenant_record(log_id, &self.covered));
        }
        records.push(state_record(log_id, &self.covered));
        // Behind the state, whose log start is why they go.
        let removed = self.removed.iter().map(|segment| segment.base_offset);
        records.extend(removed.map(|base_offset| Record::SegmentRemoved { log_id, base_offset }));
        bytes
    }
}
