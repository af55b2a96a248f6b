//! Committed entries become the image, and the image is published. Snapshots are the image as records.
//!
//! openraft calls it on the control thread. Deliberately absent: decisions; who is told and when is `published`'s.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corelog_logic::controller::{Delta, MetadataImage, ReplayError, decode_records, encode_records};
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{AnyError, EntryPayload, RaftSnapshotBuilder, StorageIOError};

use super::snapshot::SnapshotFile;
use super::{Entry, LogId, Outcome, SnapshotMeta, StorageError, StoredMembership, Types};
use crate::control::error::{ControlError, Result};
use crate::control::published::Published;

/// The image and what it stands for.
#[derive(Clone)]
pub struct StateMachine {
    dir: PathBuf,
    applied: Option<LogId>,
    membership: StoredMembership,
    image: MetadataImage,
    published: Arc<Published>,
}

impl StateMachine {
    /// Loads the newest snapshot in `dir`, or starts with the empty image, and publishes it.
    pub(crate) fn open(dir: &Path, published: Arc<Published>) -> Result<Self> {
        let mut machine = Self {
            dir: dir.to_owned(),
            applied: None,
            membership: StoredMembership::default(),
            image: MetadataImage::default(),
            published,
        };
        if let Some(snapshot) = SnapshotFile::load_newest(dir)? {
            machine.install(&snapshot)?;
        }
        Ok(machine)
    }

    /// The last entry that is in the image.
    pub(crate) fn applied(&self) -> Option<LogId> {
        self.applied
    }

    fn install(&mut self, snapshot: &SnapshotFile) -> Result<()> {
        let unfit =
            |e: &dyn std::fmt::Display| ControlError::corrupt(&self.dir, 0, format!("its snapshot: {e}"));
        let records = decode_records(&snapshot.records).map_err(|e| unfit(&e))?;
        let mut image = MetadataImage::from_records(&records).map_err(|e| unfit(&e))?;
        image.version = snapshot.meta.last_log_id.map_or(0, |id| id.index);
        self.image = image;
        self.applied = snapshot.meta.last_log_id;
        self.membership = snapshot.meta.last_membership.clone();
        self.published.publish(Arc::new(self.image.clone()), Delta::whole());
        Ok(())
    }

    /// Applies one entry; whether it belonged to its term.
    fn apply_one(&mut self, entry: Entry, delta: &mut Delta) -> std::result::Result<bool, ReplayError> {
        let mut fits = true;
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(batch) if batch.term == entry.log_id.leader_id.term => {
                for record in batch.records.iter() {
                    self.image.replay(record, delta)?;
                }
            }
            EntryPayload::Normal(_) => fits = false,
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
        self.applied = Some(entry.log_id);
        self.image.version = entry.log_id.index;
        Ok(fits)
    }

    fn meta(&self) -> SnapshotMeta {
        let snapshot_id = match self.applied {
            Some(id) => format!("{}-{}-{}", id.leader_id.term, id.leader_id.node_id, id.index),
            None => "empty".to_owned(),
        };
        SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone(), snapshot_id }
    }
}

fn snapshot_of(file: SnapshotFile) -> Snapshot<Types> {
    Snapshot { meta: file.meta, snapshot: Box::new(Cursor::new(file.records)) }
}

/// The builder is a copy of the state machine, which costs nothing: the image's maps are shared.
impl RaftSnapshotBuilder<Types> for StateMachine {
    async fn build_snapshot(&mut self) -> std::result::Result<Snapshot<Types>, StorageError> {
        let records = encode_records(&self.image.to_records());
        let file = SnapshotFile { meta: self.meta(), records };
        file.save(&self.dir).map_err(|e| StorageIOError::write_snapshot(None, AnyError::new(&e)))?;
        tracing::info!(version = self.image.version, bytes = file.records.len(), "wrote a metadata snapshot");
        Ok(snapshot_of(file))
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> std::result::Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> std::result::Result<Vec<Outcome>, StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut delta = Delta::default();
        let mut fits = Vec::new();
        for entry in entries {
            let log_id = entry.log_id;
            let applied = self.apply_one(entry, &mut delta);
            fits.push(applied.map_err(|e| StorageIOError::apply(log_id, AnyError::new(&e)))?);
        }
        let published = self.published.publish(Arc::new(self.image.clone()), delta);
        let outcome = |fits| if fits { Outcome::Applied { published } } else { Outcome::Stale };
        Ok(fits.into_iter().map(outcome).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> std::result::Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> std::result::Result<(), StorageError> {
        let file = SnapshotFile { meta: meta.clone(), records: snapshot.into_inner() };
        let installed = self.install(&file).and_then(|()| file.save(&self.dir));
        installed
            .map_err(|e| StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&e)).into())
    }

    async fn get_current_snapshot(&mut self) -> std::result::Result<Option<Snapshot<Types>>, StorageError> {
        let newest = SnapshotFile::load_newest(&self.dir);
        let newest = newest.map_err(|e| StorageIOError::read_snapshot(None, AnyError::new(&e)))?;
        Ok(newest.map(snapshot_of))
    }
}
