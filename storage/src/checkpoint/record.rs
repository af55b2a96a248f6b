//! The checkpoint log's records: what is known of each log and of the journal's session, as bytes (decision 0001).
//!
//! Encoded by the checkpoint log, decoded and folded by the loader. Pure, and no panic whatever the bytes are.
//! Deliberately absent: what producer state looks like; it is bytes here.

use bytes::Bytes;

use crate::journal::format::Fields;
use crate::types::{LeaderEpoch, LogId, Offset, TopicId};

/// Bytes before a record's payload.
pub const RECORD_HEADER_BYTES: usize = 16;

/// A log exists: what its directory holds and whose it is. Once per file and log, before its other records; a later
/// one replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The log.
    pub log_id: LogId,
    /// Topic it belongs to.
    pub topic_id: TopicId,
    /// Partition of that topic.
    pub partition: i32,
    /// Grows when the log moves to another core.
    pub owner_epoch: u32,
    /// Name of its directory below the log directory, at most 65,535 bytes.
    pub directory: String,
}

/// A segment was closed: it has its final length and nothing of it is only in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRecord {
    /// The log.
    pub log_id: LogId,
    /// Offset in the segment's name.
    pub base_offset: Offset,
    /// Its length in bytes.
    pub len: u64,
    /// Largest timestamp in it, milliseconds; -1 when there is none.
    pub max_timestamp_ms: i64,
    /// Largest timestamp of its first batch, milliseconds; -1 when there is none or it is not known.
    pub first_timestamp_ms: i64,
    /// Wall clock of the last append to it, milliseconds; -1 when that is not known.
    pub modified_ms: i64,
    /// How often compaction has rewritten it; part of its files' names.
    pub generation: u32,
}

impl SegmentRecord {
    const BYTES: usize = 44;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.base_offset.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.max_timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.first_timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.modified_ms.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
    }

    fn decode(log_id: LogId, fields: &mut Fields<'_>) -> Option<Self> {
        let (base_offset, len, max_timestamp_ms) = (fields.i64()?, fields.u64()?, fields.i64()?);
        // Files of before retention end here.
        let (first_timestamp_ms, modified_ms, generation) = match fields.0.is_empty() {
            true => (-1, -1, 0),
            false => (fields.i64()?, fields.i64()?, fields.u32()?),
        };
        Some(Self { log_id, base_offset, len, max_timestamp_ms, first_timestamp_ms, modified_ms, generation })
    }
}

/// Compaction wrote closed segments as one: a single record, so that the old ones count or the new one does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedRecord {
    /// The log.
    pub log_id: LogId,
    /// Base offsets of the segments that go.
    pub replaced: Vec<Offset>,
    /// The segment in their place; none when nothing of them is left.
    pub segment: Option<SegmentRecord>,
}

impl ReplacedRecord {
    fn payload_len(&self) -> usize {
        4 + 8 * self.replaced.len() + if self.segment.is_some() { SegmentRecord::BYTES } else { 0 }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.replaced.len() as u32).to_le_bytes());
        for base_offset in &self.replaced {
            out.extend_from_slice(&base_offset.to_le_bytes());
        }
        if let Some(segment) = &self.segment {
            segment.encode(out);
        }
    }

    fn decode(log_id: LogId, fields: &mut Fields<'_>) -> Option<Self> {
        let count = fields.u32()?;
        // What a count promises is not believed: it ends with the bytes.
        let replaced = (0..count).map(|_| fields.i64()).collect::<Option<_>>()?;
        let segment = match fields.0.is_empty() {
            true => None,
            false => Some(SegmentRecord::decode(log_id, fields)?),
        };
        Some(Self { log_id, replaced, segment })
    }
}

/// Where a log stands: replay goes on from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRecord {
    /// The log.
    pub log_id: LogId,
    /// Sequence of the last journal entry covered; 0 when none was.
    pub sequence: u64,
    /// Base offset of the active segment.
    pub segment_base_offset: Offset,
    /// Bytes of the active segment that are covered, the tail included.
    pub segment_len: u64,
    /// Offset of the next record.
    pub next_offset: Offset,
    /// First offset that is served.
    pub log_start_offset: Offset,
    /// Largest timestamp in the active segment, milliseconds; -1 when there is none.
    pub max_timestamp_ms: i64,
    /// Largest timestamp of its first batch, milliseconds; -1 when there is none or it is not known.
    pub first_timestamp_ms: i64,
    /// Wall clock of the last append to it, milliseconds; -1 when that is not known.
    pub modified_ms: i64,
    /// Everything below was compacted.
    pub first_dirty_offset: Offset,
    /// High watermark known then.
    pub high_watermark: Offset,
    /// Leader epochs and their first offsets, ascending; at most 65,535.
    pub leader_epochs: Vec<(LeaderEpoch, Offset)>,
    /// Bytes of the active segment behind its last whole block; less than a block.
    pub tail: Bytes,
}

/// What the owner of the log's semantics wants to have back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    /// The log.
    pub log_id: LogId,
    /// Everything below this offset is reflected in `state`.
    pub end_offset: Offset,
    /// Opaque bytes.
    pub state: Bytes,
}

/// One record of a checkpoint log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Kind 1.
    Log(LogRecord),
    /// Kind 2.
    SegmentClosed(SegmentRecord),
    /// Kind 3.
    State(StateRecord),
    /// Kind 4.
    Tenant(TenantRecord),
    /// Kind 5: the log is gone.
    Dropped {
        /// The log.
        log_id: LogId,
    },
    /// Kind 6: a closed segment was removed.
    SegmentRemoved {
        /// The log.
        log_id: LogId,
        /// Offset in the segment's name.
        base_offset: Offset,
    },
    /// Kind 8: compaction put a segment in the place of others.
    SegmentsReplaced(ReplacedRecord),
    /// Kind 7: entries of this journal session below the position are covered by the records before this one.
    Session {
        /// Session of a journal in the same log directory.
        session: u64,
        /// Live position; [`RETIRED`](crate::journal::RETIRED) when nothing of the session is needed.
        live_position: u64,
    },
}

impl Record {
    fn kind(&self) -> u8 {
        match self {
            Self::Log(_) => 1,
            Self::SegmentClosed(_) => 2,
            Self::State(_) => 3,
            Self::Tenant(_) => 4,
            Self::Dropped { .. } => 5,
            Self::SegmentRemoved { .. } => 6,
            Self::Session { .. } => 7,
            Self::SegmentsReplaced(_) => 8,
        }
    }

    /// The log it is about; `None` for a session.
    pub fn log_id(&self) -> Option<LogId> {
        match self {
            Self::Log(LogRecord { log_id, .. })
            | Self::SegmentClosed(SegmentRecord { log_id, .. })
            | Self::State(StateRecord { log_id, .. })
            | Self::Tenant(TenantRecord { log_id, .. })
            | Self::SegmentsReplaced(ReplacedRecord { log_id, .. })
            | Self::Dropped { log_id }
            | Self::SegmentRemoved { log_id, .. } => Some(*log_id),
            Self::Session { .. } => None,
        }
    }

    /// How many bytes [`Self::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        let payload = match self {
            Self::Log(log) => 26 + log.directory.len(),
            Self::SegmentClosed(_) => SegmentRecord::BYTES,
            Self::State(state) => 84 + 12 * state.leader_epochs.len() + state.tail.len(),
            Self::Tenant(tenant) => 8 + tenant.state.len(),
            Self::Dropped { .. } => 0,
            Self::SegmentRemoved { .. } => 8,
            Self::Session { .. } => 16,
            Self::SegmentsReplaced(replaced) => replaced.payload_len(),
        };
        RECORD_HEADER_BYTES + payload
    }

    /// Appends the record's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[self.kind(), 0, 0, 0]);
        out.extend_from_slice(&self.log_id().map_or(0, |log_id| log_id.0).to_le_bytes());
        match self {
            Self::Log(log) => {
                out.extend_from_slice(&log.topic_id);
                out.extend_from_slice(&log.partition.to_le_bytes());
                out.extend_from_slice(&log.owner_epoch.to_le_bytes());
                put_short(out, log.directory.as_bytes());
            }
            Self::SegmentClosed(segment) => segment.encode(out),
            Self::SegmentsReplaced(replaced) => replaced.encode(out),
            Self::State(state) => state.encode(out),
            Self::Tenant(tenant) => {
                out.extend_from_slice(&tenant.end_offset.to_le_bytes());
                out.extend_from_slice(&tenant.state);
            }
            Self::Dropped { .. } => {}
            Self::SegmentRemoved { base_offset, .. } => out.extend_from_slice(&base_offset.to_le_bytes()),
            Self::Session { session, live_position } => {
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&live_position.to_le_bytes());
            }
        }
        let len = (out.len() - start - RECORD_HEADER_BYTES) as u32;
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Takes one record off the front of `bytes`, and gives what follows. `None` when the bytes are no record, which in
    /// a commit that verified means a kind of a later version.
    pub fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut fields = Fields(bytes);
        let len = fields.u32()? as usize;
        let [kind, ..] = fields.array::<4>()?;
        let log_id = LogId(fields.u64()?);
        let mut payload = Fields(fields.bytes(len)?);
        let record = match kind {
            1 => Self::Log(LogRecord {
                log_id,
                topic_id: payload.array()?,
                partition: payload.i32()?,
                owner_epoch: payload.u32()?,
                directory: {
                    let len = payload.u16()?.into();
                    std::str::from_utf8(payload.bytes(len)?).ok()?.to_owned()
                },
            }),
            2 => Self::SegmentClosed(SegmentRecord::decode(log_id, &mut payload)?),
            3 => Self::State(StateRecord::decode(log_id, &mut payload)?),
            4 => Self::Tenant(TenantRecord {
                log_id,
                end_offset: payload.i64()?,
                state: Bytes::copy_from_slice(std::mem::take(&mut payload.0)),
            }),
            5 => Self::Dropped { log_id },
            6 => Self::SegmentRemoved { log_id, base_offset: payload.i64()? },
            7 => Self::Session { session: payload.u64()?, live_position: payload.u64()? },
            8 => Self::SegmentsReplaced(ReplacedRecord::decode(log_id, &mut payload)?),
            _ => return None,
        };
        payload.0.is_empty().then_some((record, fields.0))
    }
}

impl StateRecord {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.segment_base_offset.to_le_bytes());
        out.extend_from_slice(&self.segment_len.to_le_bytes());
        out.extend_from_slice(&self.next_offset.to_le_bytes());
        out.extend_from_slice(&self.log_start_offset.to_le_bytes());
        out.extend_from_slice(&self.max_timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.high_watermark.to_le_bytes());
        assert!(
            self.leader_epochs.len() <= usize::from(u16::MAX),
            "{} leader epochs",
            self.leader_epochs.len()
        );
        out.extend_from_slice(&(self.leader_epochs.len() as u16).to_le_bytes());
        for (epoch, start_offset) in &self.leader_epochs {
            out.extend_from_slice(&epoch.to_le_bytes());
            out.extend_from_slice(&start_offset.to_le_bytes());
        }
        put_short(out, &self.tail);
        out.extend_from_slice(&self.first_timestamp_ms.to_le_bytes());
        out.extend_from_slice(&self.modified_ms.to_le_bytes());
        out.extend_from_slice(&self.first_dirty_offset.to_le_bytes());
    }

    fn decode(log_id: LogId, fields: &mut Fields<'_>) -> Option<Self> {
        let mut state = Self {
            log_id,
            sequence: fields.u64()?,
            segment_base_offset: fields.i64()?,
            segment_len: fields.u64()?,
            next_offset: fields.i64()?,
            log_start_offset: fields.i64()?,
            max_timestamp_ms: fields.i64()?,
            high_watermark: fields.i64()?,
            leader_epochs: {
                let count = fields.u16()?;
                (0..count).map(|_| Some((fields.i32()?, fields.i64()?))).collect::<Option<_>>()?
            },
            tail: {
                let len = fields.u16()?.into();
                Bytes::copy_from_slice(fields.bytes(len)?)
            },
            first_timestamp_ms: -1,
            modified_ms: -1,
            first_dirty_offset: 0,
        };
        // Files of before retention end here.
        if !fields.0.is_empty() {
            state.first_timestamp_ms = fields.i64()?;
            state.modified_ms = fields.i64()?;
            state.first_dirty_offset = fields.i64()?;
        }
        Some(state)
    }
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    assert!(bytes.len() <= usize::from(u16::MAX), "{} bytes in a field of at most 65535", bytes.len());
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}
