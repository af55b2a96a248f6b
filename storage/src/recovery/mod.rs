//! From whatever a start finds on the disk to logs that are whole: checkpoint, journals, segments, and a new generation.
//!
//! Runs once, before any core opens its store, over all log directories and all cores' journals, however many cores there were.
//! May crash at any step and be repeated: until the new checkpoint generation is in place the old one and its journals count.
//! Deliberately absent: groups, transactions, indexes; whatever can be loaded later is.

mod rebuild;
mod scan;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, CheckpointLog, FileIdentity, Record};
use crate::io::Io;
use crate::journal::{self, RETIRED, Replayed, SegmentBlocks, Visitor, WantedBlocks};
use crate::log::together::each;
use crate::log::{ClosedSegment, Covered, LogIdentity, Tenant, records};
use crate::types::LogId;
use crate::{Result, StorageError};
use rebuild::{Pending, Rebuild};
use scan::Scan;

/// Where the journals lie below a log directory.
pub(crate) const JOURNAL_DIR: &str = "journal";
/// Where the checkpoint files lie below a log directory.
pub(crate) const CHECKPOINT_DIR: &str = "checkpoint";

/// Files that are read or written at once.
const AT_ONCE_MAX: usize = 32;

/// What recovery works on.
#[derive(Debug, Clone)]
pub struct RecoveryOptions {
    /// Log directories, in the order of `log.dirs`.
    pub dirs: Vec<PathBuf>,
    /// Cores of this start; each gets a checkpoint file in each directory.
    pub cores: u32,
    /// For tests only.
    pub bugs: journal::Bugs,
}

/// What recovery must ask those who know.
pub struct Advisors<'a> {
    /// Whether the metadata still has this incarnation of a log; others are removed.
    pub is_live: &'a mut dyn FnMut(&LogIdentity) -> bool,
    /// The core that shall own a log, below `cores`.
    pub assign: &'a mut dyn FnMut(&LogIdentity) -> u32,
    /// A fresh tenant, for logs with batches to replay.
    pub tenant: &'a mut dyn FnMut(&LogIdentity) -> Box<dyn Tenant>,
}

/// A log as it is on the disk now.
#[derive(Debug, Clone)]
pub struct RecoveredLog {
    /// Which partition and incarnation.
    pub identity: LogIdentity,
    /// Index of its log directory among [`RecoveredCore::dirs`].
    pub dir_index: usize,
    /// Grows when the log moves to another core.
    pub owner_epoch: u32,
    /// Its closed segments, oldest first.
    pub closed: Vec<ClosedSegment>,
    /// Where it ends; all of it is in segments and the new checkpoint.
    pub covered: Covered,
}

/// A log directory after recovery.
#[derive(Debug, Clone)]
pub struct RecoveredDir {
    /// Its path.
    pub path: PathBuf,
    /// The checkpoint generation that counts now, and the one it was made from.
    pub generation: u64,
    /// See `generation`; 0 when there was none.
    pub replaces: u64,
}

/// One core's share. Can be sent to it.
#[derive(Debug, Clone)]
pub struct RecoveredCore {
    /// The core.
    pub core: u32,
    /// Of how many.
    pub cores: u32,
    /// The log directories that were recovered, in the order of `log.dirs`.
    pub dirs: Vec<RecoveredDir>,
    /// Its logs.
    pub logs: Vec<RecoveredLog>,
}

/// What recovery found and did.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// Each core's share, by core.
    pub cores: Vec<RecoveredCore>,
    /// Whether a journal was not closed by a clean stop: leader epochs must be bumped (0002, finding 10).
    pub unclean: bool,
    /// Directories that gave an error of the operating system, and what it was: they are in no core's share.
    pub failed_dirs: Vec<(PathBuf, StorageError)>,
    /// Figures for the log line.
    pub report: RecoveryReport,
}

/// What recovery took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Logs that are there.
    pub logs: u64,
    /// Logs that the metadata does not know any more, removed.
    pub removed_logs: u64,
    /// Journal entries read.
    pub replayed_entries: u64,
    /// Bytes of the journal commits they were in.
    pub replayed_bytes: u64,
    /// Entries that were not in a checkpoint, and were applied.
    pub applied_entries: u64,
    /// Nanoseconds for loading checkpoints and listing directories.
    pub load_ns: u64,
    /// Nanoseconds for reading journals and writing segments.
    pub replay_ns: u64,
    /// Nanoseconds for the new checkpoint generation and for clearing up.
    pub publish_ns: u64,
}

/// Recovers all log directories.
///
/// # Errors
/// `Corrupt` when something durable is not what was written, `UnknownVersion`, `ForeignDirectory` when a partition's directory is not
/// of this broker's making, `DiskFull`. A directory that gives `Io` is left out and told of in the result. Nothing that was acknowledged is changed by a failed recovery.
pub async fn recover<I: Io>(
    io: &I,
    options: &RecoveryOptions,
    advisors: &mut Advisors<'_>,
) -> Result<Recovered> {
    let mut cores: Vec<_> = (0..options.cores)
        .map(|core| RecoveredCore { core, cores: options.cores, dirs: Vec::new(), logs: Vec::new() })
        .collect();
    let mut report = RecoveryReport::default();
    let mut unclean = false;
    let mut failed_dirs = Vec::new();
    for path in &options.dirs {
        let dir_index = cores.first().map_or(0, |core| core.dirs.len());
        let recovery = DirRecovery { io, path, dir_index, options };
        match recovery.run(advisors, &mut report, &mut unclean).await {
            Ok((dir, logs)) => {
                for (core, logs) in cores.iter_mut().zip(logs) {
                    core.dirs.push(dir.clone());
                    core.logs.extend(logs);
                }
            }
            // A broken disk takes its own logs with it. What its journals say is not known, nor whether they were closed.
            Err(error @ StorageError::Io { .. }) if !error.is_disk_full() => {
                unclean = true;
                failed_dirs.push((path.clone(), error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Recovered { cores, unclean, failed_dirs, report })
}

struct DirRecovery<'a, I: Io> {
    io: &'a I,
    path: &'a Path,
    dir_index: usize,
    options: &'a RecoveryOptions,
}

/// Logs that are being rebuilt.
type Rebuilds = BTreeMap<LogId, Rebuild>;

/// Logs by the core that shall own them.
type ByCore = Vec<Vec<RecoveredLog>>;

impl<I: Io> DirRecovery<'_, I> {
    async fn run(
        &self,
        advisors: &mut Advisors<'_>,
        report: &mut RecoveryReport,
        unclean: &mut bool,
    ) -> Result<(RecoveredDir, ByCore)> {
        let (io, path) = (self.io, self.path);
        let started_ns = io.now_ns();
        io.create_dir_all(path).await?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            io.sync_dir(parent).await?;
        }
        let loaded = checkpoint::load(io, &path.join(CHECKPOINT_DIR)).await?;
        let was_unclean = loaded.sessions.values().any(|live| *live != RETIRED);
        *unclean |= was_unclean;
        let mut known = Vec::new();
        for checkpoint in loaded.files.into_iter().flat_map(|file| file.logs.into_values()) {
            let directory = checkpoint.log.directory.clone();
            let Some(log) = records::read(checkpoint) else {
                let what = format!("a log in a directory named {directory:?}");
                return Err(StorageError::Corrupt { path: path.join(CHECKPOINT_DIR), position: 0, what });
            };
            known.push(log);
        }
        // The same order at every start: hash maps have none.
        known.sort_by_key(|(identity, ..)| identity.log_id);
        let mut scan = Scan::of(io, path).await?;
        // Ordered, so that a simulated run follows from its seed alone.
        let mut logs = Rebuilds::new();
        for (identity, owner_epoch, closed, covered) in known {
            if (advisors.is_live)(&identity) && !scan.is_deleted(identity.log_id) {
                scan.claim(io, &identity, covered.next_offset > 0).await?;
                logs.insert(identity.log_id, Rebuild::new(path, identity, owner_epoch, closed, covered));
            } else {
                report.removed_logs += 1;
                scan.doom(identity);
            }
        }
        scan.refuse_foreign()?;
        scan.set_aside_doomed(io).await?;
        let loaded_ns = io.now_ns();

        self.replay(&loaded.sessions, &mut logs, advisors, report).await?;
        if was_unclean {
            self.settle(&mut logs).await?;
        }
        let replayed_ns = io.now_ns();

        let dir = RecoveredDir {
            path: path.to_path_buf(),
            generation: loaded.next_generation,
            replaces: loaded.generation,
        };
        let mut by_core: ByCore = (0..self.options.cores).map(|_| Vec::new()).collect();
        report.logs += logs.len() as u64;
        for log in logs.into_values() {
            let log = log.finish(self.dir_index);
            let core = (advisors.assign)(&log.identity);
            let cores = self.options.cores;
            match by_core.get_mut(core as usize) {
                Some(share) => share.push(log),
                None => panic!("{} was assigned to core {core} of {cores}", log.identity.dir_name()),
            }
        }
        self.publish(&dir, &by_core, loaded.sessions.into_keys().collect()).await?;
        scan.remove_deleted(io).await?;
        report.load_ns += loaded_ns - started_ns;
        report.replay_ns += replayed_ns - loaded_ns;
        report.publish_ns += io.now_ns() - replayed_ns;
        Ok((dir, by_core))
    }

    /// Applies what the journals hold beyond the checkpoint.
    async fn replay(
        &self,
        sessions: &HashMap<u64, u64>,
        logs: &mut Rebuilds,
        advisors: &mut Advisors<'_>,
        report: &mut RecoveryReport,
    ) -> Result<()> {
        let journal_dir = self.path.join(JOURNAL_DIR);
        let pending = Pending::default();
        let mut visitor = Applying {
            recovery: self,
            journal_dir: &journal_dir,
            tenant: &mut *advisors.tenant,
            logs,
            pending: &pending,
            applied: 0,
        };
        let bugs = self.options.bugs;
        let found = journal::replay(self.io, &journal_dir, sessions, bugs, &mut visitor).await?;
        report.applied_entries += visitor.applied;
        report.replayed_entries += found.iter().map(|session| session.entries).sum::<u64>();
        report.replayed_bytes += found.iter().map(|session| session.bytes).sum::<u64>();
        self.write_whole_blocks(logs, &pending).await
    }

    async fn write_whole_blocks(&self, logs: &mut Rebuilds, pending: &Pending) -> Result<()> {
        each(logs.values_mut(), AT_ONCE_MAX, async |log| log.write_whole_blocks(self.io, pending).await).await
    }

    /// Makes what replay wrote durable, and removes segments that were begun and never named.
    async fn settle(&self, logs: &mut Rebuilds) -> Result<()> {
        if logs.values().any(Rebuild::has_written) {
            self.io.sync_file_system(self.path).await?;
        }
        // Of the others at most an empty, reserved segment is there, and used when its offset comes.
        let written = logs.values().filter(|log| log.has_written());
        each(written, AT_ONCE_MAX, async |log| log.remove_unnamed_segments(self.io).await).await
    }

    /// Puts the new checkpoint generation in place; with its last file it counts. Then ends the old journals.
    async fn publish(&self, dir: &RecoveredDir, by_core: &ByCore, sessions: Vec<u64>) -> Result<()> {
        let checkpoint_dir = self.path.join(CHECKPOINT_DIR);
        let RecoveredDir { generation, replaces, .. } = *dir;
        let cores = self.options.cores;
        for (core, logs) in (0..cores).zip(by_core) {
            let mut named: Vec<Record> = sessions
                .iter()
                .map(|session| Record::Session { session: *session, live_position: RETIRED })
                .collect();
            for log in logs {
                named.extend(records::whole(&log.identity, log.owner_epoch, &log.closed, &log.covered));
            }
            let identity = FileIdentity { core, cores, generation, replaces };
            CheckpointLog::create(self.io.clone(), &checkpoint_dir, identity, &named, self.options.bugs)
                .await?;
        }
        journal::retire(self.io, &self.path.join(JOURNAL_DIR), cores).await?;
        checkpoint::remove_other_generations(self.io, &checkpoint_dir, generation).await
    }
}

/// Applies to the logs what replay finds.
struct Applying<'a, I: Io> {
    recovery: &'a DirRecovery<'a, I>,
    journal_dir: &'a Path,
    tenant: &'a mut dyn FnMut(&LogIdentity) -> Box<dyn Tenant>,
    logs: &'a mut Rebuilds,
    pending: &'a Pending,
    applied: u64,
}

impl<I: Io> Visitor for Applying<'_, I> {
    async fn blocks(&mut self, wanted: &[WantedBlocks]) -> Result<Vec<Option<SegmentBlocks>>> {
        let mut found: Vec<_> = wanted.iter().map(|_| None).collect();
        let needed = found.iter_mut().zip(wanted).filter_map(|(found, WantedBlocks { entry, range })| {
            let log = self.logs.get(&entry.log_id).filter(|log| log.needs(entry))?;
            Some((found, log, entry, range))
        });
        each(needed, AT_ONCE_MAX, async |(found, log, entry, range)| {
            *found = Some(log.read_blocks(self.recovery.io, entry, range.clone()).await?);
            Ok(())
        })
        .await?;
        Ok(found)
    }

    async fn entry(&mut self, entry: Replayed<'_>) -> Result<()> {
        // Entries of logs that no checkpoint names are of logs that were dropped.
        if let Some(log) = self.logs.get_mut(&entry.header.log_id) {
            let taken = log.apply(self.recovery.io, &entry, self.tenant, self.pending).await;
            let taken = taken.map_err(|what| what.into_error(self.journal_dir, entry.commit_position))?;
            self.applied += u64::from(taken);
        }
        if self.pending.is_over() {
            self.recovery.write_whole_blocks(self.logs, self.pending).await?;
        }
        Ok(())
    }
}
