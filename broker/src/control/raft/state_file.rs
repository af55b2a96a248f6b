//! The file `state` of the raft store: the vote, and up to where the log was purged. Replaced whole.
//!
//! `8 magic, u32 version, u32 present (1 vote, 2 purged), vote: u64 term, u64 node, u64 committed; purged: u64 term, u64 node, u64 index; u64 hash`.

use std::path::Path;

use corelog_logic::encoding::{DecodeError, Reader, Writer};
use xxhash_rust::xxh3::xxh3_64;

use super::codec::{log_id, put_log_id};
use super::{LogId, Vote};
use crate::control::durable;
use crate::control::error::{ControlError, Result};

/// Its name.
pub(super) const NAME: &str = "state";
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"CLRAFTST";
const BYTES: usize = 8 + 4 + 4 + 24 + 24 + 8;

/// What must survive beside the entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The last vote given.
    pub(super) vote: Option<Vote>,
    /// The last entry that was purged.
    pub(super) purged: Option<LogId>,
}

impl State {
    /// Writes it to `path`, durably.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let mut out = Writer::new();
        out.put_bytes(MAGIC);
        out.put_u32(VERSION);
        out.put_u32(u32::from(self.vote.is_some()) | u32::from(self.purged.is_some()) << 1);
        let vote = self.vote.unwrap_or_default();
        out.put_u64(vote.leader_id.term);
        out.put_u64(vote.leader_id.node_id);
        out.put_u64(u64::from(vote.committed));
        put_log_id(&mut out, &self.purged.unwrap_or_default());
        out.put_u64(xxh3_64(out.as_slice()));
        durable::replace(path, out.as_slice())
    }

    /// Reads it from `path`.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| ControlError::io("read", path, e))?;
        if bytes.len() != BYTES || !bytes.starts_with(MAGIC) {
            return Err(ControlError::corrupt(path, 0, "it is not a raft state file of Corelog"));
        }
        let hash = bytes.last_chunk().map(|b| u64::from_le_bytes(*b));
        if hash != Some(xxh3_64(&bytes[..BYTES - 8])) {
            return Err(ControlError::corrupt(path, BYTES - 8, "it does not match its checksum"));
        }
        let decoded = decode(&bytes).map_err(|e| ControlError::corrupt(path, 0, e))?;
        decoded.map_err(|found| ControlError::UnknownVersion {
            path: path.to_owned(),
            found: found.to_string(),
            known: VERSION,
        })
    }
}

/// The state, or a version that is not known.
fn decode(bytes: &[u8]) -> std::result::Result<std::result::Result<State, u32>, DecodeError> {
    let mut from = Reader::new(bytes);
    from.bytes(MAGIC.len(), "magic")?;
    let version = from.u32("version")?;
    if version != VERSION {
        return Ok(Err(version));
    }
    let present = from.u32("present fields")?;
    let mut vote = Vote::new(from.u64("term")?, from.u64("node")?);
    vote.committed = from.u64("committed")? != 0;
    let purged = log_id(&mut from)?;
    Ok(Ok(State { vote: (present & 1 != 0).then_some(vote), purged: (present & 2 != 0).then_some(purged) }))
}
