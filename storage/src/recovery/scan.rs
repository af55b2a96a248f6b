//! The partitions' directories in a log directory: whose they are, and what is done with those nobody knows.
//!
//! Called by recovery. Only what carries our own mark, or what a checkpoint names and the metadata does not, is ever removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::{CHECKPOINT_DIR, JOURNAL_DIR};
use crate::io::Io;
use crate::log::{LogIdentity, parse_deleted_dir_name, parse_dir_name};
use crate::types::LogId;
use crate::{Result, StorageError};

/// What lies in a log directory.
pub(super) struct Scan {
    path: PathBuf,
    /// Partitions' directories that no checkpointed log has claimed so far.
    unclaimed: BTreeSet<String>,
    /// Directories that wait for their removal.
    deleted: BTreeMap<LogId, String>,
    doomed: Vec<LogIdentity>,
}

impl Scan {
    /// Lists a log directory.
    pub(super) async fn of<I: Io>(io: &I, path: &Path) -> Result<Self> {
        let (mut unclaimed, mut deleted) = (BTreeSet::new(), BTreeMap::new());
        for entry in io.read_dir(path).await? {
            if !entry.is_dir || [JOURNAL_DIR, CHECKPOINT_DIR].contains(&entry.name.as_str()) {
                continue;
            }
            if let Some(log_id) = parse_deleted_dir_name(&entry.name) {
                deleted.insert(log_id, entry.name);
            } else if parse_dir_name(&entry.name).is_some() {
                unclaimed.insert(entry.name);
            }
        }
        Ok(Self { path: path.to_path_buf(), unclaimed, deleted, doomed: Vec::new() })
    }

    /// Whether the log's deletion had got as far as its directory.
    pub(super) fn is_deleted(&self, log_id: LogId) -> bool {
        self.deleted.contains_key(&log_id)
    }

    /// A log's directory is this one's; it is made when the log is empty and a crash came before.
    pub(super) async fn claim<I: Io>(
        &mut self,
        io: &I,
        identity: &LogIdentity,
        has_data: bool,
    ) -> Result<()> {
        let name = identity.dir_name();
        if self.unclaimed.remove(&name) {
            return Ok(());
        }
        let path = self.path.join(&name);
        if has_data {
            let what = "the directory is missing, and the checkpoint says that it holds records".to_owned();
            return Err(StorageError::Corrupt { path, position: 0, what });
        }
        io.create_dir_all(&path).await?;
        io.sync_dir(&self.path).await
    }

    /// A log's directory shall go.
    pub(super) fn doom(&mut self, identity: LogIdentity) {
        self.doomed.push(identity);
    }

    /// # Errors
    /// `ForeignDirectory` when there is a partition's directory that no checkpoint names.
    pub(super) fn refuse_foreign(&self) -> Result<()> {
        let doomed: HashSet<String> = self.doomed.iter().map(LogIdentity::dir_name).collect();
        match self.unclaimed.iter().find(|name| !doomed.contains(*name)) {
            Some(name) => Err(StorageError::ForeignDirectory { path: self.path.join(name) }),
            None => Ok(()),
        }
    }

    /// Renames the directories that shall go to what is removed at any later start. Their checkpoint still counts.
    pub(super) async fn set_aside_doomed<I: Io>(&mut self, io: &I) -> Result<()> {
        let mut renamed = false;
        for identity in std::mem::take(&mut self.doomed) {
            let name = identity.dir_name();
            // A directory that a living log of the same partition has claimed is not the dead one's.
            if self.unclaimed.remove(&name) && !self.is_deleted(identity.log_id) {
                let deleted = identity.deleted_dir_name();
                io.rename(&self.path.join(&name), &self.path.join(&deleted)).await?;
                self.deleted.insert(identity.log_id, deleted);
                renamed = true;
            }
        }
        if renamed {
            io.sync_dir(&self.path).await?;
        }
        Ok(())
    }

    /// Removes what was set aside, now or at an earlier start. No checkpoint names it any more.
    pub(super) async fn remove_deleted<I: Io>(&self, io: &I) -> Result<()> {
        for name in self.deleted.values() {
            io.remove_dir_all(&self.path.join(name)).await?;
        }
        Ok(())
    }
}
