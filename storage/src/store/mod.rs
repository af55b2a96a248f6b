//! A core's logs in all log directories: their journals, checkpoints and write-back, from start to clean stop.
//!
//! Opened on each core with what `recovery` found; used by the broker to create, find and delete logs. Deliberately absent:
//! which log belongs to which core, retention, moving a log.

pub(crate) mod directory;
pub(crate) mod graves;
mod plan;
mod round;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use crate::io::{Class, Io};
use crate::journal::{Journal, JournalOptions, JournalStats};
use crate::log::cache::CacheBudget;
use crate::log::files::OpenFiles;
use crate::log::gate::Gate;
use crate::log::home::{Core, Directory};
use crate::log::tables::Tables;
use crate::log::{Bugs, Covered, Log, LogConfig, LogIdentity, SharedTenant};
use crate::recovery::RecoveredCore;
use crate::scrub::{Finding, ScrubStats, next_log};
use crate::throttle::Throttle;
use crate::types::LogId;
use crate::{Result, StorageError};

/// How a core's store is laid out and bounded.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The journal in each directory. `core` and `session` in it are set from here.
    pub journal: JournalOptions,
    /// A fresh random number, another one for each core and each start.
    pub session: u64,
    /// What the tail caches of the core's logs may hold in memory, in bytes. What no checkpoint covers yet may exceed it.
    pub tail_cache_bytes: usize,
    /// A round of write-back is due when this much is covered by no checkpoint, in bytes per directory.
    pub dirty_bytes_due: u64,
    /// A round of write-back is due when something has waited this long, in ms.
    pub dirty_age_ms: u64,
    /// Segment files that are kept open at most.
    pub open_files_max: usize,
    /// Cold reads under way at most, each of at most [`crate::log::COLD_READ_BYTES_MAX`]. One of a single larger batch counts as several, and
    /// at most as all of them.
    pub cold_reads_max: usize,
    /// A checkpoint file up to this many bytes is never rewritten, however little of it still counts.
    pub checkpoint_rewrite_bytes_min: u64,
    /// For tests only.
    pub bugs: Bugs,
}

impl StoreOptions {
    /// The defaults with journals of `journal_bytes` in each log directory.
    pub fn new(session: u64, journal_bytes: u64) -> Self {
        Self {
            journal: JournalOptions::new(0, session, journal_bytes),
            session,
            tail_cache_bytes: 128 << 20,
            dirty_bytes_due: journal_bytes / 2,
            dirty_age_ms: 5_000,
            open_files_max: 4_096,
            cold_reads_max: 16,
            checkpoint_rewrite_bytes_min: 8 << 20,
            bugs: Bugs::default(),
        }
    }
}

/// What a store holds and has done.
#[derive(Debug, Clone, Default)]
pub struct StoreStats {
    /// Logs that are open.
    pub logs: usize,
    /// Bytes appended that no checkpoint covers yet.
    pub dirty_bytes: u64,
    /// Memory that tail caches hold, in bytes.
    pub tail_cache_bytes: usize,
    /// Memory that cold reads under way may hold, in bytes.
    pub cold_bytes: u64,
    /// Segment files that are open.
    pub open_files: usize,
    /// Rounds of write-back completed.
    pub rounds: u64,
    /// What scrubbing has read and found.
    pub scrubbed: ScrubStats,
    /// Each directory's journal.
    pub journals: Vec<JournalStats>,
    /// Directories that failed.
    pub failed_dirs: Vec<PathBuf>,
}

/// A core's logs.
pub struct Store<I: Io> {
    core: Rc<Core<I>>,
    dirs: Vec<Rc<Directory<I>>>,
    logs: RefCell<BTreeMap<LogId, Rc<Log<I>>>>,
    /// Names of the logs' directories, those being made and being removed included.
    names: RefCell<HashSet<String>>,
    closing: Cell<bool>,
    /// Directories whose failure was handed out, by index.
    told_failures: RefCell<HashSet<usize>>,
}

impl<I: Io> Store<I> {
    /// Opens the core's journals and checkpoint logs in every directory, and the logs that recovery gave to this core.
    /// `tenants` and `configs` are asked once for each log.
    ///
    /// # Errors
    /// What opening a journal or a checkpoint log gives; nothing is half open then.
    pub async fn open(
        io: I,
        options: StoreOptions,
        recovered: RecoveredCore,
        tenants: &mut dyn FnMut(&LogIdentity) -> SharedTenant,
        configs: &mut dyn FnMut(&LogIdentity) -> LogConfig,
    ) -> Result<Rc<Self>> {
        let core = Rc::new(Core {
            io: io.clone(),
            number: recovered.core,
            files: OpenFiles::new(options.open_files_max),
            cache: CacheBudget::new(options.tail_cache_bytes),
            tables: Tables::default(),
            cold_reads: Gate::new(options.cold_reads_max.max(1)),
            cold_bytes: Cell::new(0),
            scrubbed: Cell::default(),
            dir_failed: Rc::default(),
            bugs: options.bugs,
        });
        let mut dirs = Vec::with_capacity(recovered.dirs.len());
        for (index, dir) in recovered.dirs.iter().enumerate() {
            let logs: Vec<_> = recovered.logs.iter().filter(|log| log.dir_index == index).collect();
            // Sessions differ by directory too, as they do by core and by start.
            let session = options.session.wrapping_add(index as u64);
            dirs.push(Directory::open(&core, &options, recovered.cores, dir, &logs, session).await?);
        }
        let store = Rc::new(Self {
            core,
            dirs,
            logs: RefCell::default(),
            names: RefCell::default(),
            closing: Cell::new(false),
            told_failures: RefCell::default(),
        });
        for log in recovered.logs {
            let dir = store.dir(log.dir_index)?;
            let (config, tenant) = (configs(&log.identity), tenants(&log.identity));
            let log = directory::revive(&store.core, &dir, log, config, tenant);
            store.names.borrow_mut().insert(log.identity().dir_name());
            store.logs.borrow_mut().insert(log.identity().log_id, log);
        }
        for dir in &store.dirs {
            io.spawn(
                Class::Background,
                dir.clone().write_back_when_due(store.core.clone(), options.dirty_age_ms),
            );
            io.spawn(Class::Background, dir.clone().follow_journal_failure());
            io.spawn(Class::Housekeeping, dir.clone().remove_buried_when_due(io.clone()));
        }
        Ok(store)
    }

    fn dir(&self, index: usize) -> Result<Rc<Directory<I>>> {
        self.dirs.get(index).cloned().ok_or(StorageError::UnknownDirectory { index, dirs: self.dirs.len() })
    }

    /// Makes an empty log in the directory `dir_index`. When this returns, the log will be found after any crash.
    ///
    /// # Errors
    /// `LogExists` when this core has a log for the partition, `DiskFull`, `DirectoryFailed`, `Closed`.
    pub async fn create_log(
        &self,
        identity: LogIdentity,
        dir_index: usize,
        config: LogConfig,
        tenant: SharedTenant,
    ) -> Result<Rc<Log<I>>> {
        let dir = self.dir(dir_index)?;
        dir.check()?;
        if self.closing.get() {
            return Err(StorageError::Closed);
        }
        let name = identity.dir_name();
        let known = self.logs.borrow().contains_key(&identity.log_id);
        if known || !self.names.borrow_mut().insert(name.clone()) {
            return Err(StorageError::LogExists { name });
        }
        let homes = (self.core.clone(), dir.clone());
        let log = Log::new(identity, 0, config, homes, (Vec::new(), Covered::default()), tenant);
        match dir.make_log(&self.core, &log).await {
            Ok(()) => {
                self.logs.borrow_mut().insert(log.identity().log_id, log.clone());
                Ok(log)
            }
            Err(error) => {
                self.names.borrow_mut().remove(&name);
                log.end(error.clone());
                Err(error)
            }
        }
    }

    /// The open log of this id.
    pub fn log(&self, log_id: LogId) -> Option<Rc<Log<I>>> {
        self.logs.borrow().get(&log_id).cloned()
    }

    /// All open logs, ordered by their ids.
    pub fn logs(&self) -> Vec<Rc<Log<I>>> {
        self.logs.borrow().values().cloned().collect()
    }

    /// Deletes a log and its files. Whoever waits for it hears `Closed` at once; when this returns, no restart brings it back
    /// and its partition's directory is free for another log.
    ///
    /// # Errors
    /// `DirectoryFailed`: the files stay until a recovery whose metadata does not know the log, and the name is free in the other directories.
    /// An unknown id is no error, so a deletion may be repeated; a second one answers while the first is under way.
    pub async fn delete_log(&self, log_id: LogId) -> Result<()> {
        let Some(log) = self.log(log_id) else { return Ok(()) };
        self.logs.borrow_mut().remove(&log_id);
        let dropped = log.home_dir().clone().drop_log(&self.core, &log).await;
        if dropped.is_ok() || log.home_dir().check().is_err() {
            self.names.borrow_mut().remove(&log.identity().dir_name());
        }
        dropped
    }

    /// Takes a directory out of use because it failed elsewhere, for another core. Its logs end, as when it had failed here.
    pub fn fail_directory(&self, dir_index: usize, cause: &StorageError) {
        if let Some(dir) = self.dirs.get(dir_index) {
            dir.fail(cause);
        }
    }

    /// Whether a directory is out of use, and why.
    pub fn directory_failure(&self, dir_index: usize) -> Option<StorageError> {
        self.dirs.get(dir_index).and_then(|dir| dir.check().err())
    }

    /// Resolves with directories that failed since the last call, as indexes with their errors. For one task.
    pub async fn failed_directories(&self) -> Vec<(usize, StorageError)> {
        loop {
            let failed =
                (0..self.dirs.len()).filter_map(|index| Some((index, self.directory_failure(index)?)));
            let fresh: Vec<_> =
                failed.filter(|(index, _)| self.told_failures.borrow_mut().insert(*index)).collect();
            if !fresh.is_empty() {
                return fresh;
            }
            self.core.dir_failed.wait().await;
        }
    }

    /// Stops cleanly: takes no more appends, writes everything back, cuts segments to their exact length, and notes in the
    /// checkpoints that nothing is left to recover.
    ///
    /// # Errors
    /// The first directory's that fails; the others are closed nevertheless.
    pub async fn close(&self) -> Result<()> {
        self.closing.set(true);
        let mut result = Ok(());
        for dir in &self.dirs {
            if let Err(error) = dir.close(&self.core).await {
                result = result.and(Err(error));
            }
        }
        for log in self.logs.take().into_values() {
            log.end(StorageError::Closed);
        }
        result
    }

    /// Removes the files that earlier processes set aside or left behind, log by log. Called once, some time after a start,
    /// which therefore need not list any log's directory. Returns how many files went.
    ///
    /// # Errors
    /// What listing a directory gives; the other logs are swept at the next start.
    pub async fn sweep(&self) -> Result<usize> {
        let mut swept = 0;
        for log in self.logs() {
            if self.closing.get() {
                break;
            }
            swept += log.sweep().await?;
            self.core.io.yield_if_needed().await;
        }
        Ok(swept)
    }

    /// Verifies every log once, from the first whose id is `first` or above on, no faster than `throttle` allows; `tell` hears of what is
    /// found. Returns false when the store closed meanwhile.
    pub async fn scrub(&self, first: LogId, throttle: &mut Throttle, tell: &mut dyn FnMut(Finding)) -> bool {
        let mut last = None;
        loop {
            let next = next_log(&self.logs.borrow(), first, last).cloned();
            let Some(log) = next else { break };
            last = Some(log.identity().log_id);
            // One that was deleted meanwhile, or whose directory failed, has nothing to verify.
            let _ended = log.scrub(throttle, tell).await;
            if self.closing.get() {
                return false;
            }
        }
        ScrubStats::count(&self.core.scrubbed, |stats| stats.passes += 1);
        true
    }

    /// Bytes of all logs together, and the number of their segments. Asks every log.
    pub fn log_sizes(&self) -> (u64, u64) {
        let logs = self.logs.borrow();
        logs.values().fold((0, 0), |(bytes, segments), log| {
            (bytes + log.size_bytes(), segments + log.segment_count() as u64)
        })
    }

    /// What the store holds and has done.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            logs: self.logs.borrow().len(),
            dirty_bytes: self.dirs.iter().map(|dir| dir.dirty_bytes.get()).sum(),
            tail_cache_bytes: self.core.cache.charged_bytes(),
            cold_bytes: self.core.cold_bytes.get(),
            open_files: self.core.files.len(),
            rounds: self.dirs.iter().map(|dir| dir.rounds.get()).sum(),
            scrubbed: self.core.scrubbed.get(),
            journals: self.dirs.iter().map(|dir| dir.journal.stats()).collect(),
            failed_dirs: self
                .dirs
                .iter()
                .filter(|dir| dir.check().is_err())
                .map(|dir| dir.path.clone())
                .collect(),
        }
    }

    /// The journal in a directory, for its observer and its figures.
    pub fn journal(&self, dir_index: usize) -> Option<&Rc<Journal<I>>> {
        self.dirs.get(dir_index).map(|dir| &dir.journal)
    }
}

#[cfg(test)]
mod tests;
