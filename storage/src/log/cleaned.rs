//! A segment as compaction writes it: batch by batch into a file of its own, with its sidecar, durable before anybody is told.
//!
//! Called by `cleaning`. The file is known by no checkpoint while it is written. Space for it is reserved first, so that a full disk
//! is met before a byte is written.

use std::rc::Rc;

use super::Log;
use super::files::Part;
use super::state::{ClosedSegment, SegmentId};
use crate::batch::BatchHeader;
use crate::io::{File, Io, OpenMode, TRANSFER_BYTES_MAX, align_up};
use crate::segment::{BatchStart, BlockTable};
use crate::{Result, StorageError};

/// A segment in the making.
pub(super) struct CleanedWriter<I: Io> {
    io: I,
    id: SegmentId,
    file: Rc<I::File>,
    table: BlockTable,
    /// Bytes that are not written yet, from `written` on.
    pending: Vec<u8>,
    /// A multiple of a block until the end.
    written: u64,
    max_timestamp: i64,
    first_timestamp: i64,
    changed: bool,
    failed: Option<StorageError>,
}

/// A segment that is written, flushed and described.
pub(super) struct Made {
    id: SegmentId,
    table: Rc<BlockTable>,
    max_timestamp: i64,
    first_timestamp: i64,
    changed: bool,
}

impl<I: Io> CleanedWriter<I> {
    pub(super) async fn create(log: &Rc<Log<I>>, id: SegmentId, reserve: u64) -> Result<Self> {
        let turn = log.write_turn.pass().await;
        log.check()?;
        let opened = log.open_file(id, Part::Log, OpenMode::CreateOrOpen).await;
        let file = opened.map_err(|error| log.or_fail(error))?;
        drop(turn);
        // An attempt that a crash ended may have left one.
        file.set_len(0).await.map_err(|error| log.or_fail(error))?;
        if let Err(error) = file.allocate(align_up(reserve)).await {
            log.discard(id).await;
            return Err(log.or_fail(error));
        }
        Ok(Self {
            io: log.core.io.clone(),
            id,
            file,
            table: BlockTable::new(id.base_offset),
            pending: Vec::new(),
            written: 0,
            max_timestamp: -1,
            first_timestamp: -1,
            changed: false,
            failed: None,
        })
    }

    /// Notes that what is written is not what was read.
    pub(super) fn note_change(&mut self) {
        self.changed = true;
    }

    /// Remembers why it cannot go on.
    pub(super) fn fail(&mut self, error: StorageError) {
        self.failed.get_or_insert(error);
    }

    pub(super) fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Appends a whole batch.
    pub(super) async fn put(&mut self, batch: &[u8]) -> Result<()> {
        let position = self.written + self.pending.len() as u64;
        let header = BatchHeader::parse(batch).map_err(|error| StorageError::Corrupt {
            path: Part::Log.file_name(self.id).into(),
            position,
            what: error.to_string(),
        })?;
        if position == 0 {
            self.first_timestamp = header.max_timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        let start = BatchStart {
            position: position as u32,
            base_offset: header.base_offset,
            max_timestamp: header.max_timestamp,
        };
        self.table.extend(batch, [start]);
        self.pending.extend_from_slice(batch);
        while self.pending.len() >= TRANSFER_BYTES_MAX {
            self.write(TRANSFER_BYTES_MAX).await?;
        }
        Ok(())
    }

    /// Writes the first `len` pending bytes, the last block padded.
    async fn write(&mut self, len: usize) -> Result<()> {
        let mut buf = self.io.buffer(align_up(len as u64) as usize);
        buf.as_mut()[..len].copy_from_slice(&self.pending[..len]);
        self.file.write_at(buf, self.written).await?;
        self.pending.drain(..len);
        self.written += len as u64;
        self.io.yield_if_needed().await;
        Ok(())
    }

    /// Writes what is left, makes it durable, and describes it beside.
    pub(super) async fn finish(mut self, log: &Rc<Log<I>>) -> Result<Made> {
        let finished = self.flush(log.core.bugs.swap_before_flush).await;
        finished.map_err(|error| log.or_fail(error))?;
        let table = Rc::new(self.table);
        if !table.is_empty() {
            let _turn = log.write_turn.pass().await;
            log.check()?;
            // Flushed: where offsets have holes nothing else says which they were.
            let described = match log.write_pages(self.id, &table, 0).await {
                Ok(file) => file.flush().await,
                Err(error) => Err(error),
            };
            match described {
                // What is missing is made from the segment when it is needed.
                Err(error) if !error.is_disk_full() => return Err(log.or_fail(error)),
                _ => {}
            }
        }
        let (id, changed) = (self.id, self.changed);
        let (max_timestamp, first_timestamp) = (self.max_timestamp, self.first_timestamp);
        Ok(Made { id, table, max_timestamp, first_timestamp, changed })
    }

    async fn flush(&mut self, skips_flush: bool) -> Result<()> {
        if !self.pending.is_empty() {
            self.write(self.pending.len()).await?;
        }
        self.file.set_len(self.written).await?;
        if skips_flush {
            return Ok(());
        }
        self.file.flush().await
    }
}

impl Made {
    /// Whether it holds the same bytes as the segments it was made from.
    pub(super) fn is_same(&self) -> bool {
        !self.changed
    }

    pub(super) fn id(&self) -> SegmentId {
        self.id
    }

    pub(super) fn table(&self) -> Rc<BlockTable> {
        self.table.clone()
    }

    /// What takes the group's place; none when nothing is left.
    pub(super) fn segment(&self, group: &[ClosedSegment]) -> Option<ClosedSegment> {
        (!self.table.is_empty()).then(|| ClosedSegment {
            base_offset: self.id.base_offset,
            len: self.table.len(),
            max_timestamp: self.max_timestamp,
            first_timestamp: self.first_timestamp,
            // As Kafka: as old as the newest of them.
            modified_ms: group.iter().map(|segment| segment.modified_ms).max().unwrap_or(-1),
            generation: self.id.generation,
        })
    }
}
