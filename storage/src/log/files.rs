//! Open segment files of one core: a least-recently-used cache of descriptors with a bound.
//!
//! 10,000 partitions have more files than a process may hold open. A file that is evicted while somebody reads it stays
//! open until that reader is done. Called by write-back, cold reads and space reservation. It does not know what is in the files.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;

use super::state::SegmentId;
use crate::Result;
use crate::io::{Io, OpenMode};
use crate::segment::{self, SegmentFile};
use crate::types::LogId;

/// Which of a segment's two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The record batches, `.log`.
    Log,
    /// The sidecar, `.blocks`.
    Blocks,
}

impl Part {
    /// The file's name in its log's directory.
    pub(crate) fn file_name(self, id: SegmentId) -> String {
        let file = match self {
            Self::Log => SegmentFile::Log,
            Self::Blocks => SegmentFile::Blocks,
        };
        segment::file_name(id.base_offset, id.generation, file)
    }
}

/// Names a file of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileKey {
    pub(crate) log_id: LogId,
    pub(crate) segment: SegmentId,
    pub(crate) part: Part,
}

struct Cached<F> {
    file: Rc<F>,
    used: u64,
}

/// At most `files_max` open files, the least recently used closed first.
pub(crate) struct OpenFiles<I: Io> {
    files_max: usize,
    files: RefCell<HashMap<FileKey, Cached<I::File>>>,
    by_use: RefCell<BTreeMap<u64, FileKey>>,
    clock: Cell<u64>,
}

impl<I: Io> OpenFiles<I> {
    pub(crate) fn new(files_max: usize) -> Self {
        Self {
            files_max: files_max.max(1),
            files: RefCell::default(),
            by_use: RefCell::default(),
            clock: Cell::new(0),
        }
    }

    /// The open file, or opens it at `path`.
    pub(crate) async fn open(
        &self,
        io: &I,
        key: FileKey,
        path: &Path,
        mode: OpenMode,
    ) -> Result<Rc<I::File>> {
        if let Some(file) = self.touch(key) {
            return Ok(file);
        }
        let file = Rc::new(io.open(path, mode).await?);
        // Another task may have opened it meanwhile: keep one, so that a file is cached once.
        if let Some(file) = self.touch(key) {
            return Ok(file);
        }
        self.insert(key, file.clone());
        Ok(file)
    }

    fn touch(&self, key: FileKey) -> Option<Rc<I::File>> {
        let mut files = self.files.borrow_mut();
        let cached = files.get_mut(&key)?;
        let mut by_use = self.by_use.borrow_mut();
        by_use.remove(&cached.used);
        cached.used = self.tick();
        by_use.insert(cached.used, key);
        Some(cached.file.clone())
    }

    fn insert(&self, key: FileKey, file: Rc<I::File>) {
        let used = self.tick();
        let mut closed = Vec::new();
        {
            let mut files = self.files.borrow_mut();
            let mut by_use = self.by_use.borrow_mut();
            files.insert(key, Cached { file, used });
            by_use.insert(used, key);
            while files.len() > self.files_max {
                let Some((_, oldest)) = by_use.pop_first() else { break };
                closed.extend(files.remove(&oldest));
            }
        }
        drop(closed);
    }

    /// Closes a file that is gone.
    pub(crate) fn forget(&self, key: FileKey) {
        let closed = self.files.borrow_mut().remove(&key);
        if let Some(cached) = &closed {
            self.by_use.borrow_mut().remove(&cached.used);
        }
    }

    /// Closes the files of a log that is gone.
    pub(crate) fn forget_log(&self, log_id: LogId) {
        let mut files = self.files.borrow_mut();
        let mut by_use = self.by_use.borrow_mut();
        files.retain(|key, cached| {
            let keep = key.log_id != log_id;
            if !keep {
                by_use.remove(&cached.used);
            }
            keep
        });
    }

    /// How many files are open here.
    pub(crate) fn len(&self) -> usize {
        self.files.borrow().len()
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }
}
