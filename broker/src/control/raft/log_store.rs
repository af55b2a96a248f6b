//! The raft log on the disk: appended in frames, purged by the file, truncated by rewriting.
//!
//! openraft calls it through `RaftLogStorage`, on the control thread, one call at a time. Writes block that thread: a metadata change is rare, and
//! whatever arrives meanwhile goes into the next frame. All entries since the last snapshot are kept in memory; the proposer asks
//! for a snapshot when they exceed a bound. Deliberately absent: the bytes of a file, which are `frame`'s.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::ops::{Bound, RangeBounds};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{AnyError, StorageIOError};

use super::codec::{decode_entries, encode_entries};
use super::frame::{self, Broken, Chain};
use super::state_file::{self, State};
use super::{Entry, LogId, StorageError, Types, Vote};
use crate::control::error::{ControlError, Result};
use crate::control::{durable, room};

/// A file of the log is closed when it has reached this size, in bytes.
pub(super) const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// What is reserved behind the end of the log, so that changes that make room can be written to a full disk.
const AHEAD_BYTES: u64 = 1024 * 1024;
/// What a group of entries takes besides its records, at most.
const FRAME_BYTES: u64 = 64 * 1024;
/// A new file is begun only with this much room for it, in bytes; until then the last one goes on.
const NEW_FILE_ROOM_BYTES: u64 = 2 * FILE_BYTES;
/// Largest group of entries, in bytes: a million partitions fit.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// The store. Clones are the same store.
#[derive(Clone)]
pub struct LogStore {
    /// Never held across an await; one thread uses it, the lock is for openraft's bounds.
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    dir: PathBuf,
    state: State,
    entries: BTreeMap<u64, Entry>,
    /// Oldest first. Only the last one is written to.
    files: Vec<LogFile>,
    /// A write or flush failed: final.
    failed: Option<ControlError>,
    /// Planted by tests: the next write fails.
    #[cfg(test)]
    fail_next_write: bool,
}

struct LogFile {
    path: PathBuf,
    first_index: u64,
    file: File,
    chain: Chain,
    /// Blocks are reserved for this many bytes of it.
    reserved: u64,
}

impl LogStore {
    /// Opens the log in `dir`, or makes an empty one. A torn tail is cut.
    ///
    /// # Errors
    /// Anything below the last acknowledged frame that is not what was written, holes, unknown versions.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let names = durable::list(dir)?;
        let logs: Vec<&String> = names.iter().filter(|name| first_index(name).is_some()).collect();
        let state_path = dir.join(state_file::NAME);
        let state = if names.iter().any(|name| name == state_file::NAME) {
            State::load(&state_path)?
        } else if logs.is_empty() {
            let state = State::default();
            state.save(&state_path)?;
            state
        } else {
            let what = "it is missing, and there are log files beside it";
            return Err(ControlError::corrupt(state_path, 0, what));
        };
        let mut inner = Inner {
            dir: dir.to_owned(),
            state,
            entries: BTreeMap::new(),
            files: Vec::new(),
            failed: None,
            #[cfg(test)]
            fail_next_write: false,
        };
        for (n, name) in logs.iter().enumerate() {
            inner.load(name, n + 1 == logs.len())?;
        }
        // A purge that was interrupted after its decision.
        inner.purge_files()?;
        Ok(Self { inner: Arc::new(Mutex::new(inner)) })
    }

    /// The last entry that was purged.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.lock().state.purged
    }

    /// A leader that restarts does not go on in its old term: its vote counts as not yet granted.
    pub(crate) fn resign(&self) {
        if let Some(vote) = &mut self.lock().state.vote {
            vote.committed = false;
        }
    }

    /// Bytes of all files of the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().files.iter().map(|file| file.chain.position()).sum()
    }

    /// Whether entries with `bytes` of records can be written, whatever else fills the disk meanwhile.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.lock().has_room(bytes + FRAME_BYTES)
    }

    /// What is left on the disk, in bytes. A disk that does not tell has room: a write will.
    pub(crate) fn available_bytes(&self) -> u64 {
        room::available(&self.lock().dir).unwrap_or(u64::MAX)
    }

    /// That the disk has no room for `needed` bytes.
    pub(crate) fn disk_full(&self, needed: u64) -> ControlError {
        let dir = self.lock().dir.clone();
        ControlError::DiskFull { available: room::available(&dir).unwrap_or_default(), dir, needed }
    }

    #[cfg(test)]
    pub(crate) fn fail_next_write(&self) {
        self.lock().fail_next_write = true;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a change of the store; after one has failed, every later one fails the same way.
    fn change(&self, change: impl FnOnce(&mut Inner) -> Result<()>) -> Result<()> {
        let mut inner = self.lock();
        if let Some(failed) = &inner.failed {
            return Err(failed.clone());
        }
        change(&mut inner).inspect_err(|e| inner.failed = Some(e.clone()))
    }
}

/// Index of the first entry of a log file, by its name.
fn first_index(name: &str) -> Option<u64> {
    name.strip_prefix("log-")?.strip_suffix(".raft").filter(|digits| digits.len() == 20)?.parse().ok()
}

impl Inner {
    fn last_log_id(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, entry)| entry.log_id).or(self.state.purged)
    }

    fn path_of(&self, first_index: u64) -> PathBuf {
        self.dir.join(format!("log-{first_index:020}.raft"))
    }

    /// Reads one file; files come in order.
    fn load(&mut self, name: &str, last: bool) -> Result<()> {
        let path = self.dir.join(name);
        let bytes = std::fs::read(&path).map_err(|e| ControlError::io("read", &path, e))?;
        let parsed = frame::parse(&bytes).map_err(|broken| match broken {
            Broken::At(position, what) => ControlError::corrupt(&path, position, what),
            Broken::Version(found) => ControlError::UnknownVersion {
                path: path.clone(),
                found: found.to_string(),
                known: frame::VERSION,
            },
        })?;
        if first_index(name) != Some(parsed.first_index) {
            return Err(ControlError::corrupt(
                &path,
                16,
                format!("it begins with entry {}", parsed.first_index),
            ));
        }
        let end = parsed.chain.position();
        if !last && (parsed.missing_mark.is_some() || end < bytes.len() as u64) {
            return Err(ControlError::corrupt(
                &path,
                end as usize,
                "it ends in a torn frame, and another file follows it",
            ));
        }
        let mut index = parsed.first_index;
        for (position, frame) in &parsed.frames {
            let entries =
                decode_entries(frame).map_err(|e| ControlError::corrupt(&path, *position as usize, e))?;
            for entry in entries {
                let follows =
                    self.entries.last_key_value().is_none_or(|(last, _)| last + 1 == entry.log_id.index);
                if entry.log_id.index != index || !follows {
                    let what = format!("entry {} stands where entry {index} should", entry.log_id.index);
                    return Err(ControlError::corrupt(&path, *position as usize, what));
                }
                index += 1;
                let purged = self.state.purged.map_or(0, |purged| purged.index + 1);
                if entry.log_id.index >= purged {
                    if self.entries.is_empty() && entry.log_id.index > purged {
                        let what = format!("entries {purged} to {} are missing", entry.log_id.index - 1);
                        return Err(ControlError::corrupt(&path, *position as usize, what));
                    }
                    self.entries.insert(entry.log_id.index, entry);
                }
            }
        }
        let file =
            OpenOptions::new().write(true).open(&path).map_err(|e| ControlError::io("open", &path, e))?;
        if let Some(mark) = parsed.missing_mark {
            // Whole but not acknowledged. It stays, so it must become as certain as the others.
            file.set_len(end - mark.len() as u64).map_err(|e| ControlError::io("cut", &path, e))?;
            file.sync_all().map_err(|e| ControlError::io("flush", &path, e))?;
            write(&file, &path, &mark, end - mark.len() as u64)?;
        } else if end < bytes.len() as u64 {
            tracing::info!(path = %path.display(), position = end, "cut a torn tail that was never acknowledged");
            file.set_len(end).map_err(|e| ControlError::io("cut", &path, e))?;
            file.sync_all().map_err(|e| ControlError::io("flush", &path, e))?;
        }
        self.files.push(LogFile {
            path,
            first_index: parsed.first_index,
            file,
            chain: parsed.chain,
            reserved: 0,
        });
        Ok(())
    }

    fn append(&mut self, entries: Vec<Entry>) -> Result<()> {
        let Some(first) = entries.first().map(|entry| entry.log_id.index) else { return Ok(()) };
        #[cfg(test)]
        if std::mem::take(&mut self.fail_next_write) {
            return Err(ControlError::io("write", &self.dir, std::io::Error::other("planted by a test")));
        }
        if self.begins_new_file() {
            // Its blocks behind the end are for others now.
            if let Some(last) = self.files.last() {
                let _stay_reserved = last.file.set_len(last.chain.position());
            }
            // The rename is what makes these durable.
            self.files.push(self.create(first, &entries)?);
        } else if let Some(file) = self.files.last_mut() {
            let (bytes, mark, next) = file.chain.frame(&encode(&self.dir, &entries)?);
            write(&file.file, &file.path, &bytes, file.chain.position())?;
            write(&file.file, &file.path, &mark, next.position() - mark.len() as u64)?;
            file.chain = next;
        }
        self.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
        Ok(())
    }

    fn begins_new_file(&self) -> bool {
        let room = || room::available(&self.dir).is_ok_and(|bytes| bytes >= NEW_FILE_ROOM_BYTES);
        self.files.last().is_none_or(|file| file.chain.position() >= FILE_BYTES && room())
    }

    fn has_room(&mut self, bytes: u64) -> bool {
        let Some(last) = self.files.last_mut() else { return true };
        let end = last.chain.position() + bytes;
        if end + AHEAD_BYTES > last.reserved {
            let wanted = end + 2 * AHEAD_BYTES;
            let is_full = |bytes| room::allocate(&last.file, bytes).is_err_and(|error| room::is_full(&error));
            // What else may be wrong, a write will tell.
            if !is_full(wanted) {
                last.reserved = wanted;
            } else if end > last.reserved && !is_full(end) {
                last.reserved = end;
            }
        }
        end <= last.reserved
    }

    /// A new file, durable, with these entries in its first frame.
    fn create(&self, first_index: u64, entries: &[Entry]) -> Result<LogFile> {
        let (header, mut chain) = frame::file_header(first_index, rand::random());
        let mut bytes = header.to_vec();
        if !entries.is_empty() {
            let (frame, mark, next) = chain.frame(&encode(&self.dir, entries)?);
            bytes.extend_from_slice(&frame);
            bytes.extend_from_slice(&mark);
            chain = next;
        }
        let path = self.path_of(first_index);
        durable::replace(&path, &bytes)?;
        let file =
            OpenOptions::new().write(true).open(&path).map_err(|e| ControlError::io("open", &path, e))?;
        Ok(LogFile { path, first_index, file, chain, reserved: 0 })
    }

    /// Removes the entries from `index` on. Newest files first, so that a crash leaves a log without holes.
    fn truncate(&mut self, index: u64) -> Result<()> {
        self.entries.split_off(&index);
        while let Some(file) = self.files.pop_if(|file| file.first_index >= index) {
            durable::remove(&file.path)?;
            durable::sync_dir(&self.dir)?;
        }
        if let Some(file) = self.files.last() {
            let (first, kept) = (file.first_index, file.first_index..index);
            // Purged entries at its beginning are not in memory any more: the file then begins later.
            let kept: Vec<Entry> = self.entries.range(kept).map(|(_, entry)| entry.clone()).collect();
            let begins = kept.first().map_or(index, |entry| entry.log_id.index);
            let old = file.path.clone();
            let new = self.create(begins, &kept)?;
            self.files.pop();
            if begins != first {
                durable::remove(&old)?;
                durable::sync_dir(&self.dir)?;
            }
            self.files.push(new);
        }
        Ok(())
    }

    fn purge(&mut self, upto: LogId) -> Result<()> {
        let state = State { purged: Some(upto), ..self.state };
        self.save(state)?;
        self.entries = self.entries.split_off(&(upto.index + 1));
        self.purge_files()
    }

    /// Removes the files of which every entry is purged, oldest first.
    fn purge_files(&mut self) -> Result<()> {
        let Some(purged) = self.state.purged else { return Ok(()) };
        let next_of = |n: usize| match self.files.get(n + 1) {
            Some(next) => Some(next.first_index),
            None if self.entries.is_empty() => Some(purged.index + 1),
            None => None,
        };
        let dead =
            (0..self.files.len()).take_while(|n| next_of(*n).is_some_and(|next| next <= purged.index + 1));
        let dead = dead.count();
        for file in self.files.drain(..dead) {
            durable::remove(&file.path)?;
        }
        if dead > 0 { durable::sync_dir(&self.dir) } else { Ok(()) }
    }

    fn save(&mut self, state: State) -> Result<()> {
        state.save(&self.dir.join(state_file::NAME))?;
        self.state = state;
        Ok(())
    }
}

/// The content of a frame, if it is not too large for one.
fn encode(dir: &Path, entries: &[Entry]) -> Result<Vec<u8>> {
    let encoded = encode_entries(entries);
    if encoded.len() > FRAME_BYTES_MAX {
        let why = format!("a group of {} bytes exceeds the limit of {FRAME_BYTES_MAX}", encoded.len());
        return Err(ControlError::io("append to the metadata log in", dir, std::io::Error::other(why)));
    }
    Ok(encoded)
}

/// Writes and flushes.
fn write(file: &File, path: &Path, bytes: &[u8], position: u64) -> Result<()> {
    file.write_all_at(bytes, position).map_err(|e| ControlError::io("write", path, e))?;
    file.sync_data().map_err(|e| ControlError::io("flush", path, e))
}

fn cannot_write(error: ControlError) -> StorageError {
    StorageIOError::write_logs(AnyError::new(&error)).into()
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> std::result::Result<Vec<Entry>, StorageError>
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        // An empty range is an answer here, and a panic in BTreeMap.
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let inner = self.lock();
        let entries = inner.entries.range(start..).take_while(|(index, _)| range.contains(*index));
        Ok(entries.map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> std::result::Result<LogState<Types>, StorageError> {
        let inner = self.lock();
        Ok(LogState { last_purged_log_id: inner.state.purged, last_log_id: inner.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> std::result::Result<(), StorageError> {
        let saved = self.change(|inner| inner.save(State { vote: Some(*vote), ..inner.state }));
        saved.map_err(|e| StorageIOError::write_vote(AnyError::new(&e)).into())
    }

    async fn read_vote(&mut self) -> std::result::Result<Option<Vote>, StorageError> {
        Ok(self.lock().state.vote)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Types>,
    ) -> std::result::Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        self.change(|inner| inner.append(entries.into_iter().collect())).map_err(cannot_write)?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> std::result::Result<(), StorageError> {
        self.change(|inner| inner.truncate(log_id.index)).map_err(cannot_write)
    }

    async fn purge(&mut self, log_id: LogId) -> std::result::Result<(), StorageError> {
        self.change(|inner| inner.purge(log_id)).map_err(cannot_write)
    }
}
