//! The files of segments that no checkpoint names any more: set aside, removed after a while, and swept up after a crash.
//!
//! Called by `store` behind a checkpoint that says so, never before. What cannot be removed costs space and nothing else, so an
//! error here is a warning. Only names that this crate makes are touched.

use std::collections::HashSet;
use std::path::Path;

use super::Log;
use super::files::{FileKey, Part};
use super::state::{ClosedSegment, SegmentId};
use crate::io::{DirEntry, Io};
use crate::segment::{self, SegmentName};
use crate::{Result, StorageError};

impl<I: Io> Log<I> {
    /// Renames the files of removed segments aside, to be removed after `file.delete.delay.ms`. The caller holds the log's turn.
    pub(crate) async fn set_aside(&self, removed: &[ClosedSegment]) {
        for segment in removed {
            let (log_id, segment) = (self.identity.log_id, segment.id());
            self.core.tables.forget(log_id, segment);
            for part in [Part::Log, Part::Blocks] {
                self.core.files.forget(FileKey { log_id, segment, part });
                self.set_file_aside(&part.file_name(segment)).await;
            }
        }
    }

    async fn set_file_aside(&self, name: &str) {
        let delay_ms = self.config.get().file_delete_delay_ms;
        let path = self.path.join(name);
        if delay_ms <= 0 {
            return warn_unless_gone(&path, self.core.io.remove_file(&path).await);
        }
        let aside = self.path.join(segment::aside_file_name(name));
        match self.core.io.rename(&path, &aside).await {
            Ok(()) => self.dir.bury(&self.core.io, aside, delay_ms).await,
            gone => warn_unless_gone(&path, gone),
        }
    }

    /// Removes what earlier processes left in the log's directory: files set aside, and segments that no checkpoint names.
    /// Returns how many files went.
    ///
    /// # Errors
    /// What listing the directory gives.
    pub(crate) async fn sweep(&self) -> Result<usize> {
        let _turn = self.write_turn.pass().await;
        if self.check().is_err() {
            return Ok(0);
        }
        let entries = self.core.io.read_dir(&self.path).await?;
        if let Some(error) = self.missing(&entries) {
            self.tell(&error);
            return Ok(0);
        }
        let mut swept = 0;
        for entry in entries {
            let path = self.path.join(&entry.name);
            let remains = match segment::parse_file_name(&entry.name) {
                // Asked now and not when it was listed: a segment may have been begun since.
                Some(name) => !self.is_named(name.into()),
                None => segment::is_aside_file_name(&entry.name) && !self.dir.is_buried(&path),
            };
            if remains && self.check().is_ok() {
                warn_unless_gone(&path, self.core.io.remove_file(&path).await);
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// A closed segment that is not in its directory. Then the checkpoint is not the last one that was written, and what it does not
    /// name may be all that is left of that segment.
    fn missing(&self, entries: &[DirEntry]) -> Option<StorageError> {
        let state = self.state.borrow();
        let found: HashSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let mut names = state.closed.iter().map(|segment| Part::Log.file_name(segment.id()));
        let name = names.find(|name| !found.contains(name.as_str()))?;
        let what = "the checkpoint names it, and it is not there".to_owned();
        Some(StorageError::Corrupt { path: self.path.join(name), position: 0, what })
    }

    fn is_named(&self, id: SegmentId) -> bool {
        if self.core.bugs.sweep_open_segments {
            return self.state.borrow().closed.iter().any(|segment| segment.id() == id);
        }
        self.has_segment(id)
    }
}

impl From<SegmentName> for SegmentId {
    fn from(name: SegmentName) -> Self {
        Self { base_offset: name.base_offset, generation: name.generation }
    }
}

pub(crate) fn warn_unless_gone(path: &Path, result: Result<()>) {
    match result {
        Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a removed segment's file stays until the next start")
        }
        Ok(()) => {}
    }
}
