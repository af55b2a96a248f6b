//! Segment tables in memory: those of closed segments in a bounded cache, those of open ones with the log.
//!
//! Called by cold reads and by write-back. A table comes from its `.blocks` file as far as that verifies, and from the segment
//! beyond that. Deliberately absent: what a table knows (`segment::BlockTable`).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;

use super::files::Part;
use super::state::{ClosedSegment, SegmentId};
use super::{LeaderEpochs, Log};
use crate::Result;
use crate::StorageError;
use crate::io::{File, Io, OpenMode};
use crate::segment::{self, BlockTable, Expected, PAGE_BYTES, PAGE_CHUNKS, SegmentBytes};
use crate::types::LogId;

/// Memory for the tables of closed segments, in bytes per core. A segment of 1 GiB takes 512 KiB.
pub const TABLES_BYTES_MAX: usize = 16 << 20;

/// A segment that is ready to be read.
pub(super) struct ReadableSegment<I: Io> {
    pub(super) table: Rc<BlockTable>,
    file: Rc<I::File>,
    path: PathBuf,
    view: SegmentView,
}

impl<I: Io> ReadableSegment<I> {
    /// The bytes that its table describes.
    pub(super) fn source(&self) -> SegmentBytes<'_, I::File> {
        SegmentBytes { file: &*self.file, path: &self.path, len: self.view.len, tail: &self.view.tail }
    }
}

type Key = (LogId, SegmentId);

struct Cached {
    table: Rc<BlockTable>,
    bytes: usize,
    used: u64,
}

/// Tables of closed segments, the least recently used dropped first.
#[derive(Default)]
pub(crate) struct Tables {
    tables: RefCell<HashMap<Key, Cached>>,
    by_use: RefCell<BTreeMap<u64, Key>>,
    bytes: Cell<usize>,
    clock: Cell<u64>,
}

impl Tables {
    pub(crate) fn get(&self, log_id: LogId, segment: SegmentId) -> Option<Rc<BlockTable>> {
        let mut tables = self.tables.borrow_mut();
        let cached = tables.get_mut(&(log_id, segment))?;
        let mut by_use = self.by_use.borrow_mut();
        by_use.remove(&cached.used);
        cached.used = self.tick();
        by_use.insert(cached.used, (log_id, segment));
        Some(cached.table.clone())
    }

    pub(crate) fn put(&self, log_id: LogId, segment: SegmentId, table: Rc<BlockTable>) {
        let key = (log_id, segment);
        self.remove(key);
        let (bytes, used) = (table.memory_bytes(), self.tick());
        self.bytes.set(self.bytes.get() + bytes);
        self.tables.borrow_mut().insert(key, Cached { table, bytes, used });
        self.by_use.borrow_mut().insert(used, key);
        while self.bytes.get() > TABLES_BYTES_MAX {
            let oldest = self.by_use.borrow().first_key_value().map(|(_, key)| *key);
            let Some(oldest) = oldest else { break };
            self.remove(oldest);
        }
    }

    /// Forgets the table of a segment that is gone.
    pub(crate) fn forget(&self, log_id: LogId, segment: SegmentId) {
        self.remove((log_id, segment));
    }

    fn remove(&self, key: Key) {
        if let Some(cached) = self.tables.borrow_mut().remove(&key) {
            self.by_use.borrow_mut().remove(&cached.used);
            self.bytes.set(self.bytes.get() - cached.bytes);
        }
    }

    /// Drops the tables of a log that is gone.
    pub(crate) fn forget_log(&self, log_id: LogId) {
        let keys: Vec<Key> = self.tables.borrow().keys().filter(|(of, _)| *of == log_id).copied().collect();
        keys.into_iter().for_each(|key| self.remove(key));
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }
}

/// One segment as a reader sees it at one moment; stays right whatever is written back meanwhile.
#[derive(Clone)]
pub(crate) struct SegmentView {
    pub(crate) id: SegmentId,
    /// Bytes that a checkpoint covers.
    pub(crate) len: u64,
    /// The last of them, which are not in the file.
    pub(crate) tail: Bytes,
    /// Whether it can still be appended to, and its table extended.
    pub(crate) open: bool,
    pub(crate) table: Option<Rc<BlockTable>>,
}

impl SegmentView {
    pub(crate) fn of_closed(segment: &ClosedSegment) -> Self {
        Self { id: segment.id(), len: segment.len, tail: Bytes::new(), open: false, table: None }
    }
}

impl<I: Io> Log<I> {
    /// The table of the segment in `view`, describing exactly its bytes.
    pub(crate) async fn table(&self, view: &SegmentView) -> Result<Rc<BlockTable>> {
        if let Some(table) = &view.table {
            return Ok(table.clone());
        }
        if view.len == 0 {
            return Ok(Rc::new(BlockTable::new(view.id.base_offset)));
        }
        let log_id = self.identity.log_id;
        if !view.open
            && let Some(table) = self.core.tables.get(log_id, view.id)
        {
            return Ok(table);
        }
        let stored = self.load_pages(view).await?;
        // A table from pages can be read with, but not extended.
        let table = if stored.len() == view.len && !view.open {
            stored
        } else {
            let path = self.path.join(Part::Log.file_name(view.id));
            let file = self.segment_file(view).await?;
            let source = SegmentBytes { file: &*file, path: &path, len: view.len, tail: &view.tail };
            let leader_epochs = self.known_epochs();
            let expected = Expected { holes: view.id.generation > 0, leader_epochs: leader_epochs.entries() };
            let table = segment::complete(&self.core.io, source, stored, expected).await?.table;
            if !view.open {
                self.renew_pages(view.id, &table).await?;
            }
            table
        };
        let table = Rc::new(table);
        if view.open {
            let mut state = self.state.borrow_mut();
            if let Some(segment) = state.open_segment_mut(view.id.base_offset)
                && segment.covered == view.len
            {
                segment.table = Some(table.clone());
            }
        } else {
            self.core.tables.put(log_id, view.id, table.clone());
        }
        Ok(table)
    }

    /// The segment's file. One that holds nothing but a tail may not exist.
    pub(crate) async fn segment_file(&self, view: &SegmentView) -> Result<Rc<I::File>> {
        // A view may be older than its segment's removal: then the file must not come back.
        let open = view.open && self.has_segment(view.id);
        let mode = if open { OpenMode::CreateOrOpen } else { OpenMode::Existing };
        match self.open_file(view.id, Part::Log, mode).await {
            Err(error) if error.is_not_found() && self.check().is_ok() && self.has_segment(view.id) => {
                let path = self.path.join(Part::Log.file_name(view.id));
                let what = format!("the checkpoint names it, with {} bytes, and it is not there", view.len);
                Err(StorageError::Corrupt { path, position: 0, what })
            }
            opened => opened,
        }
    }

    /// Makes a segment ready to be read.
    pub(super) async fn readable(&self, view: SegmentView) -> Result<ReadableSegment<I>> {
        let table = self.table(&view).await?;
        let file = self.segment_file(&view).await?;
        let path = self.path.join(Part::Log.file_name(view.id));
        Ok(ReadableSegment { table, file, path, view })
    }

    pub(super) async fn load_pages(&self, view: &SegmentView) -> Result<BlockTable> {
        match self.open_file(view.id, Part::Blocks, OpenMode::Existing).await {
            Ok(file) => {
                let path = self.path.join(Part::Blocks.file_name(view.id));
                segment::load(&*file, &path, view.id.base_offset, view.len).await
            }
            Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(BlockTable::new(view.id.base_offset))
            }
            Err(error) => Err(error),
        }
    }

    /// The leader epochs that batches are held against.
    pub(super) fn known_epochs(&self) -> LeaderEpochs {
        match self.core.bugs.trust_batch_headers {
            true => LeaderEpochs::default(),
            false => self.leader_epochs(),
        }
    }

    /// Writes a closed segment's pages again, which were lost or did not verify. Where the log's turn is taken they wait for whoever needs
    /// the table next.
    async fn renew_pages(&self, id: SegmentId, table: &BlockTable) -> Result<()> {
        let Some(_turn) = self.write_turn.try_pass() else { return Ok(()) };
        if self.check().is_err() || !self.has_segment(id) {
            return Ok(());
        }
        tracing::info!("the index of segment {} of {self:?} was made again from its batches", id.base_offset);
        match self.write_pages(id, table, 0).await {
            Err(error) if !error.is_disk_full() => Err(self.or_fail(error)),
            _ => Ok(()),
        }
    }

    /// Writes the pages that describe anything from byte `from` on. Not flushed: a page that is lost is made again. Called
    /// when a checkpoint covers what they describe, never before.
    pub(crate) async fn write_pages(
        &self,
        id: SegmentId,
        table: &BlockTable,
        from: u64,
    ) -> Result<Rc<I::File>> {
        let file = self.open_file(id, Part::Blocks, OpenMode::CreateOrOpen).await?;
        let first = (from / segment::CHUNK_BYTES as u64) as usize / PAGE_CHUNKS;
        for page in first..table.page_count() {
            let mut buf = self.core.io.buffer(PAGE_BYTES);
            buf.as_mut().copy_from_slice(&table.page(page));
            file.write_at(buf, (page * PAGE_BYTES) as u64).await?;
        }
        Ok(file)
    }
}
