//! Loads what the checkpoint files of a log directory say, folded per log; and clears away older generations.
//!
//! Called by recovery. The newest generation of which every core's file is there counts; a newer, incomplete one is
//! what a crash left of a recovery. Deliberately absent: the journals' entries beyond the checkpoint.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::file::{ENDING, FileHeader, FileIdentity, NEW_ENDING, corrupt, read_header, read_records};
use super::record::{LogRecord, Record, SegmentRecord, StateRecord, TenantRecord};
use crate::Result;
use crate::io::{File, Io, OpenMode};
use crate::journal::format::parse_file_name;
use crate::types::{LogId, Offset};

/// What the checkpoint says of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCheckpoint {
    /// Whose it is and where.
    pub log: LogRecord,
    /// Closed segments by base offset.
    pub closed: BTreeMap<Offset, SegmentRecord>,
    /// Where it stood; `None` when it was only created.
    pub state: Option<StateRecord>,
    /// What its owner wants to have back.
    pub tenant: Option<TenantRecord>,
}

impl LogCheckpoint {
    /// The records that make it anew.
    pub fn into_records(self) -> impl Iterator<Item = Record> {
        std::iter::once(Record::Log(self.log))
            .chain(self.closed.into_values().map(Record::SegmentClosed))
            .chain(self.state.map(Record::State))
            .chain(self.tenant.map(Record::Tenant))
    }
}

/// What one core's file says.
#[derive(Debug, Clone)]
pub struct LoadedFile {
    /// Core that wrote it.
    pub core: u32,
    /// Its logs.
    pub logs: HashMap<LogId, LogCheckpoint>,
}

/// What a directory's checkpoint says.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The generation that counts; 0 when there is none.
    pub generation: u64,
    /// For the next one: higher than any that was seen.
    pub next_generation: u64,
    /// Its files, by core.
    pub files: Vec<LoadedFile>,
    /// Journal sessions and their live positions, for [`replay`](crate::journal::replay).
    pub sessions: HashMap<u64, u64>,
}

/// Loads the checkpoint of `dir`; a missing directory is empty. What it says is durable when this returns: a process that was
/// killed may have written what it never flushed, and recovery makes directories because of it.
///
/// # Errors
/// `Corrupt` when a file of the newest generation is damaged or missing, `UnknownVersion`, `Io`.
pub async fn load<I: Io>(io: &I, dir: &Path) -> Result<Loaded> {
    io.create_dir_all(dir).await?;
    let headers = headers(io, dir).await?;
    let mut loaded = Loaded { next_generation: 1, ..Loaded::default() };
    // The newest file of each core in each generation.
    let mut generations: BTreeMap<u64, BTreeMap<u32, (FileHeader, PathBuf)>> = BTreeMap::new();
    for (header, path) in headers {
        let FileIdentity { core, generation, .. } = header.identity;
        loaded.next_generation = loaded.next_generation.max(generation.saturating_add(1));
        let files = generations.entry(generation).or_default();
        if files.get(&core).is_none_or(|(other, _)| other.number < header.number) {
            files.insert(core, (header, path));
        }
    }
    let whole = |files: &BTreeMap<u32, (FileHeader, PathBuf)>| {
        files.values().all(|(header, _)| header.identity.cores as usize == files.len())
    };
    let Some((generation, files)) = generations.iter().rev().find(|(_, files)| whole(files)) else {
        // A first start that did not get as far as its first append leaves an incomplete generation that replaces none.
        let torn =
            generations.values().flat_map(BTreeMap::values).find(|(header, _)| header.identity.replaces != 0);
        return match torn {
            None => Ok(loaded),
            Some((header, path)) => {
                let FileIdentity { cores, generation, .. } = header.identity;
                let what =
                    format!("generation {generation} should have {cores} files, and not all are there");
                Err(corrupt(path, 0, what))
            }
        };
    };
    loaded.generation = *generation;
    for (core, (_, path)) in files {
        let file = io.open(path, OpenMode::Existing).await?;
        let mut fold = Fold { logs: HashMap::new(), sessions: &mut loaded.sessions };
        read_records(path, &file, &mut |record| fold.apply(record)).await?;
        let logs = fold.logs;
        loaded.files.push(LoadedFile { core: *core, logs });
        file.flush().await?;
    }
    io.sync_dir(dir).await?;
    Ok(loaded)
}

/// Removes all checkpoint files of other generations than `generation`, and what was never put in place. Called when
/// every core's file of that generation is in place; may crash anywhere and be repeated.
///
/// # Errors
/// `Io`, and `Corrupt` for a file whose generation cannot be read.
pub async fn remove_other_generations<I: Io>(io: &I, dir: &Path, generation: u64) -> Result<()> {
    let mut removed = false;
    for (header, path) in headers(io, dir).await? {
        if header.identity.generation != generation {
            io.remove_file(&path).await?;
            removed = true;
        }
    }
    for entry in io.read_dir(dir).await? {
        if parse_file_name(&entry.name, NEW_ENDING).is_some() {
            io.remove_file(&dir.join(&entry.name)).await?;
            removed = true;
        }
    }
    if removed {
        io.sync_dir(dir).await?;
    }
    Ok(())
}

async fn headers<I: Io>(io: &I, dir: &Path) -> Result<Vec<(FileHeader, PathBuf)>> {
    let mut headers = Vec::new();
    for entry in io.read_dir(dir).await? {
        let Some((core, number)) = parse_file_name(&entry.name, ENDING) else { continue };
        let path = dir.join(&entry.name);
        let file = io.open(&path, OpenMode::Existing).await?;
        let header = read_header(&path, &file).await?;
        if header.identity.core != core || header.number != number {
            return Err(corrupt(&path, 0, "its header names another core or number".to_owned()));
        }
        headers.push((header, path));
    }
    Ok(headers)
}

/// Records applied one after the other.
struct Fold<'a> {
    logs: HashMap<LogId, LogCheckpoint>,
    sessions: &'a mut HashMap<u64, u64>,
}

impl Fold<'_> {
    fn apply(&mut self, record: Record) -> std::result::Result<(), String> {
        match record {
            Record::Log(log) => match self.logs.get_mut(&log.log_id) {
                Some(known) => known.log = log,
                None => {
                    let log_id = log.log_id;
                    let (closed, state, tenant) = (BTreeMap::new(), None, None);
                    self.logs.insert(log_id, LogCheckpoint { log, closed, state, tenant });
                }
            },
            Record::SegmentClosed(segment) => {
                self.log(segment.log_id)?.closed.insert(segment.base_offset, segment);
            }
            Record::State(state) => {
                let log = self.log(state.log_id)?;
                log.state = Some(state);
            }
            Record::Tenant(tenant) => {
                let log = self.log(tenant.log_id)?;
                log.tenant = Some(tenant);
            }
            Record::Dropped { log_id } => {
                self.logs.remove(&log_id);
            }
            Record::SegmentRemoved { log_id, base_offset } => {
                self.log(log_id)?.closed.remove(&base_offset);
            }
            Record::SegmentsReplaced(replaced) => {
                let closed = &mut self.log(replaced.log_id)?.closed;
                for base_offset in &replaced.replaced {
                    closed.remove(base_offset);
                }
                closed.extend(replaced.segment.map(|segment| (segment.base_offset, segment)));
            }
            Record::Session { session, live_position } => {
                self.sessions.insert(session, live_position);
            }
        }
        Ok(())
    }

    fn log(&mut self, log_id: LogId) -> std::result::Result<&mut LogCheckpoint, String> {
        self.logs.get_mut(&log_id).ok_or_else(|| format!("a record of {log_id}, which it does not know"))
    }
}
