//! One log while journals are replayed to it: from its checkpoint to its end, written to its segments as it grows.
//!
//! Called by recovery for each entry. Entries that the checkpoint covers are passed over, so replaying twice changes nothing. Every
//! entry is held against what came before it; one that does not fit is corruption.

use std::cell::Cell;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::batch::BatchHeader;
use crate::io::{File, Io, OpenMode, TRANSFER_BYTES_MAX, align_down, align_up};
use crate::journal::{EntryHeader, EntryKind, Replayed, SegmentBlocks};
use crate::log::start::below_start;
use crate::log::{ClosedSegment, Covered, LogIdentity, Tenant};
use crate::segment;
use crate::types::LogId;
use crate::{Result, StorageError};

use super::RecoveredLog;

/// Replayed bytes that wait to be written, over all logs; beyond, whole blocks are written whatever their number.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// How many bytes all logs of a directory hold unwritten.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Cell<usize>,
}

impl Pending {
    /// Whether they should be written, however small.
    pub(super) fn is_over(&self) -> bool {
        self.bytes.get() > PENDING_BYTES_MAX
    }

    fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    fn remove(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }
}

/// Why an entry was not applied.
pub(super) enum NotApplied {
    /// It does not fit what came before.
    Misfit(String),
    /// The disk said so.
    Disk(StorageError),
}

impl From<StorageError> for NotApplied {
    fn from(error: StorageError) -> Self {
        Self::Disk(error)
    }
}

impl NotApplied {
    /// As an error about the journal at this logical position.
    pub(super) fn into_error(self, journal_dir: &Path, position: u64) -> StorageError {
        match self {
            Self::Misfit(what) => StorageError::Corrupt { path: journal_dir.to_path_buf(), position, what },
            Self::Disk(error) => error,
        }
    }
}

/// A log that is being rebuilt.
pub(super) struct Rebuild {
    path: PathBuf,
    identity: LogIdentity,
    owner_epoch: u32,
    closed: Vec<ClosedSegment>,
    /// The checkpoint's state, carried forward by each entry. `tail` is the checkpoint's until `finish`.
    covered: Covered,
    /// The active segment's bytes from `unwritten_from`, a block boundary, to its end. Empty until an entry comes.
    unwritten: Vec<u8>,
    unwritten_from: u64,
    /// Whole blocks before those that wait too, each run with its position: between them lie batches that the segment holds already.
    runs: Vec<(u64, Vec<u8>)>,
    /// Made when the first entry comes.
    tenant: Option<Box<dyn Tenant>>,
    applied: bool,
}

impl Rebuild {
    /// A log as its checkpoint says.
    pub(super) fn new(
        dir: &Path,
        identity: LogIdentity,
        owner_epoch: u32,
        closed: Vec<ClosedSegment>,
        covered: Covered,
    ) -> Self {
        Self {
            path: dir.join(identity.dir_name()),
            identity,
            owner_epoch,
            closed,
            unwritten: covered.tail.to_vec(),
            unwritten_from: align_down(covered.segment_len),
            runs: Vec::new(),
            covered,
            tenant: None,
            applied: false,
        }
    }

    pub(super) fn log_id(&self) -> LogId {
        self.identity.log_id
    }

    /// Whether replay wrote anything of this log.
    pub(super) fn has_written(&self) -> bool {
        self.applied
    }

    /// Applies one entry; false when the checkpoint covers it.
    pub(super) async fn apply<I: Io>(
        &mut self,
        io: &I,
        replayed: &Replayed<'_>,
        tenant: &mut dyn FnMut(&LogIdentity) -> Box<dyn Tenant>,
        pending: &Pending,
    ) -> std::result::Result<bool, NotApplied> {
        let (entry, payload) = (&replayed.header, replayed.payload);
        if !self.needs(entry) {
            return Ok(false);
        }
        self.require("sequence", self.covered.sequence + 1, entry.sequence)?;
        match entry.kind {
            EntryKind::Append | EntryKind::AppendInPlace => {
                self.append(io, replayed, tenant, pending).await?
            }
            EntryKind::LogStart => {
                let offset = payload.first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
                let Some(offset) = offset else {
                    return Err(NotApplied::Misfit(format!(
                        "{:?}: a log start without an offset",
                        self.log_id()
                    )));
                };
                self.covered.log_start_offset = self.covered.log_start_offset.max(offset);
                self.covered.leader_epochs.truncate_from_start(offset);
            }
            // Whether the log is still wanted was asked of the metadata; here nothing is ever dropped.
            EntryKind::Drop => {}
        }
        self.covered.sequence = entry.sequence;
        self.applied = true;
        Ok(true)
    }

    async fn append<I: Io>(
        &mut self,
        io: &I,
        replayed: &Replayed<'_>,
        tenant: &mut dyn FnMut(&LogIdentity) -> Box<dyn Tenant>,
        pending: &Pending,
    ) -> std::result::Result<(), NotApplied> {
        let (entry, payload) = (&replayed.header, replayed.payload);
        let header = BatchHeader::parse(payload).map_err(|error| NotApplied::Misfit(error.to_string()))?;
        self.require("batch length", header.total_len() as u64, payload.len() as u64)?;
        self.require("base offset", self.covered.next_offset as u64, header.base_offset as u64)?;
        self.require("next offset", header.next_offset() as u64, entry.next_offset as u64)?;
        if entry.segment_base_offset != self.covered.segment_base {
            self.require("segment", header.base_offset as u64, entry.segment_base_offset as u64)?;
            self.close_segment(io, pending).await?;
        }
        self.require("position", self.covered.segment_len, u64::from(entry.segment_position))?;
        if replayed.in_place.is_empty() {
            self.unwritten.extend_from_slice(payload);
            pending.add(payload.len());
        } else {
            self.pass_over(payload, &replayed.in_place, pending);
        }
        if self.covered.segment_len == 0 {
            self.covered.first_timestamp = header.max_timestamp;
        }
        self.covered.segment_len += payload.len() as u64;
        self.covered.next_offset = header.next_offset();
        self.covered.max_timestamp = self.covered.max_timestamp.max(header.max_timestamp);
        self.covered.leader_epochs.note(header.partition_leader_epoch, header.base_offset);
        if header.base_offset >= self.covered.tenant_end_offset {
            let tenant = self.tenant.get_or_insert_with(|| {
                let mut tenant = tenant(&self.identity);
                if let Some(snapshot) = &self.covered.tenant {
                    tenant.restore(snapshot);
                }
                tenant
            });
            tenant.replay(&header);
        }
        if self.unwritten.len() >= TRANSFER_BYTES_MAX {
            self.write_whole_blocks(io, pending).await?;
        }
        Ok(())
    }

    /// Takes over a batch of which its segment holds a part. That part is not written again: it is nowhere else, and a crash
    /// in the middle of the write would be the end of it.
    fn pass_over(&mut self, batch: &[u8], in_place: &Range<usize>, pending: &Pending) {
        self.unwritten.extend_from_slice(&batch[..in_place.start]);
        let position = self.unwritten_from;
        self.unwritten_from += (self.unwritten.len() + in_place.len()) as u64;
        let run = std::mem::replace(&mut self.unwritten, batch[in_place.end..].to_vec());
        if !run.is_empty() {
            self.runs.push((position, run));
        }
        pending.add(in_place.start + self.unwritten.len());
    }

    /// Whether an entry is not covered by the checkpoint.
    pub(super) fn needs(&self, entry: &EntryHeader) -> bool {
        entry.sequence > self.covered.sequence
    }

    /// Reads these blocks of a segment, as far as the file goes.
    pub(super) async fn read_blocks<I: Io>(
        &self,
        io: &I,
        entry: &EntryHeader,
        blocks: Range<u64>,
    ) -> Result<SegmentBlocks> {
        let path = self.path.join(segment::log_file_name(entry.segment_base_offset));
        let file = match io.open(&path, OpenMode::Existing).await {
            Err(error) if error.is_not_found() => return Ok(SegmentBlocks { path, bytes: Vec::new() }),
            opened => opened?,
        };
        let mut bytes = Vec::with_capacity((blocks.end - blocks.start) as usize);
        let mut position = blocks.start;
        while position < blocks.end {
            let len = (blocks.end - position).min(TRANSFER_BYTES_MAX as u64) as usize;
            let read = file.read_at(position, len).await?;
            bytes.extend_from_slice(read.as_ref());
            if read.len < len {
                break;
            }
            position += len as u64;
        }
        Ok(SegmentBlocks { path, bytes })
    }

    fn require(&self, what: &str, expected: u64, found: u64) -> std::result::Result<(), NotApplied> {
        if expected == found {
            return Ok(());
        }
        let name = self.identity.dir_name();
        let log_id = self.log_id();
        Err(NotApplied::Misfit(format!(
            "{name} ({log_id}): {what} {expected} should follow, and {found} does"
        )))
    }

    /// Writes the whole blocks that wait, and keeps the rest.
    pub(super) async fn write_whole_blocks<I: Io>(&mut self, io: &I, pending: &Pending) -> Result<()> {
        let whole = align_down(self.unwritten.len() as u64) as usize;
        if !self.applied || (self.runs.is_empty() && whole == 0) {
            return Ok(());
        }
        let file = self.segment_file(io).await?;
        self.write_runs(io, &file, pending).await?;
        write(io, &file, self.unwritten_from, &self.unwritten[..whole]).await?;
        self.unwritten.drain(..whole);
        self.unwritten_from += whole as u64;
        pending.remove(whole);
        Ok(())
    }

    async fn write_runs<I: Io>(&mut self, io: &I, file: &I::File, pending: &Pending) -> Result<()> {
        for (position, run) in self.runs.drain(..) {
            write(io, file, position, &run).await?;
            pending.remove(run.len());
        }
        Ok(())
    }

    /// Writes the active segment to its last byte, cuts it there, and begins the next one.
    async fn close_segment<I: Io>(&mut self, io: &I, pending: &Pending) -> Result<()> {
        let file = self.segment_file(io).await?;
        self.write_runs(io, &file, pending).await?;
        write(io, &file, self.unwritten_from, &self.unwritten).await?;
        file.set_len(self.covered.segment_len).await?;
        self.closed.push(ClosedSegment {
            base_offset: self.covered.segment_base,
            len: self.covered.segment_len,
            max_timestamp: self.covered.max_timestamp,
            first_timestamp: self.covered.first_timestamp,
            modified_ms: self.covered.modified_ms,
            generation: 0,
        });
        pending.remove(self.unwritten.len());
        self.unwritten.clear();
        self.unwritten_from = 0;
        self.covered.segment_base = self.covered.next_offset;
        self.covered.segment_len = 0;
        self.covered.max_timestamp = -1;
        self.covered.first_timestamp = -1;
        self.covered.modified_ms = -1;
        Ok(())
    }

    async fn segment_file<I: Io>(&self, io: &I) -> Result<I::File> {
        let name = segment::log_file_name(self.covered.segment_base);
        io.open(&self.path.join(name), OpenMode::CreateOrOpen).await
    }

    /// Removes segments that were begun and in which nothing durable was written.
    pub(super) async fn remove_unnamed_segments<I: Io>(&self, io: &I) -> Result<()> {
        for entry in io.read_dir(&self.path).await? {
            let Some(name) = segment::parse_file_name(&entry.name) else { continue };
            let id = (name.base_offset, name.generation);
            let named = id == (self.covered.segment_base, 0)
                || self.closed.iter().any(|segment| (segment.base_offset, segment.generation) == id);
            if !named {
                io.remove_file(&self.path.join(&entry.name)).await?;
            }
        }
        Ok(())
    }

    /// The log as it is on the disk now.
    pub(super) fn finish(self, dir_index: usize) -> RecoveredLog {
        let mut covered = self.covered;
        covered.tail = self.unwritten.into();
        if let Some(tenant) = &self.tenant {
            covered.tenant = tenant.snapshot().filter(|snapshot| !snapshot.is_empty());
        }
        covered.tenant_end_offset = covered.next_offset;
        // Their files are swept up when the new checkpoint, which does not name them, is in place.
        let mut closed = self.closed;
        let gone = below_start(&closed, covered.segment_base, covered.log_start_offset).len();
        closed.drain(..gone);
        RecoveredLog { identity: self.identity, dir_index, owner_epoch: self.owner_epoch, closed, covered }
    }
}

/// Writes bytes to a block boundary of a file, the last block padded.
async fn write<I: Io>(io: &I, file: &I::File, mut position: u64, bytes: &[u8]) -> Result<()> {
    for part in bytes.chunks(TRANSFER_BYTES_MAX) {
        let mut buf = io.buffer(align_up(part.len() as u64) as usize);
        buf.as_mut()[..part.len()].copy_from_slice(part);
        file.write_at(buf, position).await?;
        position += part.len() as u64;
        io.yield_if_needed().await;
    }
    Ok(())
}
