//! Snapshot files: the image as records, with the log id it stands for. One at a time; older ones are removed.
//!
//! `8 magic, u32 version, last log id, membership, snapshot id, records, u64 hash` in a file named by its next log index. Written beside and
//! renamed, so a file that does not verify is corruption and refuses the start.

use std::path::{Path, PathBuf};

use corelog_logic::encoding::{DecodeError, Reader, Writer};
use xxhash_rust::xxh3::xxh3_64;

use super::SnapshotMeta;
use super::codec::{optional_log_id, put_optional_log_id, put_stored_membership, stored_membership};
use crate::control::durable;
use crate::control::error::{ControlError, Result};

const MAGIC: &[u8; 8] = b"CLRAFTSN";
const VERSION: u32 = 1;

/// A snapshot in memory.
#[derive(Debug, Clone)]
pub(super) struct SnapshotFile {
    pub(super) meta: SnapshotMeta,
    /// Encoded records.
    pub(super) records: Vec<u8>,
}

fn name_of(meta: &SnapshotMeta) -> String {
    format!("snapshot-{:020}.raft", meta.last_log_id.map_or(0, |id| id.index + 1))
}

fn is_snapshot(name: &str) -> bool {
    name.starts_with("snapshot-") && name.ends_with(".raft")
}

impl SnapshotFile {
    /// Writes it, durably, then removes older ones.
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        let mut out = Writer::new();
        out.put_bytes(MAGIC);
        out.put_u32(VERSION);
        put_optional_log_id(&mut out, self.meta.last_log_id.as_ref());
        put_stored_membership(&mut out, &self.meta.last_membership);
        out.put_string(&self.meta.snapshot_id);
        out.put_bytes(&self.records);
        out.put_u64(xxh3_64(out.as_slice()));
        let name = name_of(&self.meta);
        durable::replace(&dir.join(&name), out.as_slice())?;
        remove_older(dir, &name)
    }

    /// The newest snapshot in `dir`.
    pub(super) fn load_newest(dir: &Path) -> Result<Option<Self>> {
        let names = durable::list(dir)?;
        let Some(name) = names.iter().rfind(|name| is_snapshot(name)) else { return Ok(None) };
        let path = dir.join(name);
        let bytes = std::fs::read(&path).map_err(|e| ControlError::io("read", &path, e))?;
        let snapshot = Self::parse(&path, &bytes)?;
        if name_of(&snapshot.meta) != *name {
            return Err(ControlError::corrupt(
                path,
                0,
                format!("it should be called {}", name_of(&snapshot.meta)),
            ));
        }
        remove_older(dir, name)?;
        Ok(Some(snapshot))
    }

    fn parse(path: &PathBuf, bytes: &[u8]) -> Result<Self> {
        let (body, hash) = bytes
            .split_last_chunk()
            .ok_or_else(|| ControlError::corrupt(path, 0, "it is shorter than a checksum"))?;
        if xxh3_64(body) != u64::from_le_bytes(*hash) {
            return Err(ControlError::corrupt(path, body.len(), "it does not match its checksum"));
        }
        let decode = || -> std::result::Result<std::result::Result<Self, u32>, DecodeError> {
            let mut from = Reader::new(body);
            if from.bytes(MAGIC.len(), "magic")? != MAGIC {
                return Err(DecodeError::Invalid {
                    what: "magic",
                    why: "it is not a snapshot of Corelog".to_owned(),
                });
            }
            let version = from.u32("version")?;
            if version != VERSION {
                return Ok(Err(version));
            }
            let last_log_id = optional_log_id(&mut from)?;
            let last_membership = stored_membership(&mut from)?;
            let snapshot_id = from.string("snapshot id")?.to_owned();
            let records = from.bytes(from.left(), "records")?.to_vec();
            Ok(Ok(Self { meta: SnapshotMeta { last_log_id, last_membership, snapshot_id }, records }))
        };
        let decoded = decode().map_err(|e| ControlError::corrupt(path, 0, e))?;
        decoded.map_err(|found| ControlError::UnknownVersion {
            path: path.clone(),
            found: found.to_string(),
            known: VERSION,
        })
    }
}

fn remove_older(dir: &Path, newest: &str) -> Result<()> {
    let mut removed = false;
    for name in durable::list(dir)?.iter().filter(|name| is_snapshot(name) && name.as_str() < newest) {
        durable::remove(&dir.join(name))?;
        removed = true;
    }
    if removed { durable::sync_dir(dir) } else { Ok(()) }
}
