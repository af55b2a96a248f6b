//! One core's share of a log directory: opened after recovery, logs made and dropped in it, closed cleanly.
//!
//! Called by the store. Every step that a restart must find again goes through `commit`, which also renews the checkpoint file
//! when it has grown. Rounds of write-back are in `round`.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use super::StoreOptions;
use super::graves::Graves;
use crate::checkpoint::{CheckpointLog, FileIdentity, Record};
use crate::io::Io;
use crate::journal::{Journal, JournalOptions, RETIRED};
use crate::log::gate::{Gate, Signal};
use crate::log::home::{APPENDING_FILES_MAX, Core, Directory};
use crate::log::seldom::Seldom;
use crate::log::{Covered, Log, LogConfig, SharedTenant, records};
use crate::recovery::{CHECKPOINT_DIR, JOURNAL_DIR, RecoveredDir, RecoveredLog};
use crate::{Result, StorageError};

/// Commits to the checkpoint log that may be under way at once; they share flushes.
const COMMITS_MAX: usize = 64;

impl<I: Io> Directory<I> {
    /// Puts a checkpoint file of this core in place that names its logs and its journal's new session, and opens the journal.
    pub(crate) async fn open(
        core: &Rc<Core<I>>,
        options: &StoreOptions,
        cores: u32,
        recovered: &RecoveredDir,
        logs: &[&RecoveredLog],
        session: u64,
    ) -> Result<Rc<Self>> {
        let mut known = vec![Record::Session { session, live_position: 0 }];
        for log in logs {
            known.extend(records::whole(&log.identity, log.owner_epoch, &log.closed, &log.covered));
        }
        let path = &recovered.path;
        let identity = FileIdentity {
            core: core.number,
            cores,
            generation: recovered.generation,
            replaces: recovered.replaces,
        };
        let bugs = options.journal.bugs;
        let checkpoint =
            CheckpointLog::create(core.io.clone(), &path.join(CHECKPOINT_DIR), identity, &known, bugs)
                .await?;
        let journal = JournalOptions { core: core.number, session, ..options.journal.clone() };
        let journal = Journal::open(core.io.clone(), &path.join(JOURNAL_DIR), journal).await?;
        Ok(Rc::new(Self {
            path: path.clone(),
            journal_due_bytes: journal.capacity_bytes() / 2,
            journal,
            checkpoint,
            session,
            live_position: Cell::new(0),
            commit_passes: Gate::new(COMMITS_MAX),
            rewrite_bytes_min: options.checkpoint_rewrite_bytes_min,
            rewrite_turn: Gate::new(1),
            logs: RefCell::default(),
            dirty: RefCell::default(),
            dirty_bytes: Cell::new(0),
            dirty_since_ns: Cell::new(None),
            pressed: Cell::new(false),
            hungry: Cell::new(0),
            dirty_due_bytes: options.dirty_bytes_due,
            appended: Cell::new(0),
            work: Signal::default(),
            files_turn: Gate::new(APPENDING_FILES_MAX),
            round_turn: Gate::new(1),
            rounds: Cell::new(0),
            graves: Graves::default(),
            told_full: Seldom::default(),
            told_no_checkpoint: Seldom::default(),
            closing: Cell::new(false),
            failed: RefCell::new(None),
            dir_failed: core.dir_failed.clone(),
        }))
    }

    /// Logs that are open here.
    pub(crate) fn live_logs(&self) -> Vec<Rc<Log<I>>> {
        self.logs.borrow().values().filter_map(Weak::upgrade).collect()
    }

    /// Commits records to the checkpoint log, together with whoever commits at the same time, then has `take_over` apply what
    /// they say before the file can be rewritten. Two commits about one log must not run at once: see `Log::write_turn`.
    ///
    /// # Errors
    /// Disk full: nothing was written. Anything else has failed the directory.
    pub(crate) async fn commit(&self, records: Vec<Record>, take_over: impl FnOnce()) -> Result<()> {
        let pass = self.commit_passes.pass().await;
        self.check()?;
        self.checkpoint.commit(records).await.map_err(|error| self.unless_full(error))?;
        take_over();
        drop(pass);
        if self.checkpoint.needs_rewrite(self.rewrite_bytes_min)
            && let Some(_turn) = self.rewrite_turn.try_pass()
        {
            self.rewrite().await?;
        }
        Ok(())
    }

    /// Puts a checkpoint file in the place of one that has grown long.
    async fn rewrite(&self) -> Result<()> {
        let mut passes = Vec::with_capacity(COMMITS_MAX);
        while passes.len() < COMMITS_MAX {
            passes.push(self.commit_passes.pass().await);
        }
        self.check()?;
        let mut known =
            vec![Record::Session { session: self.session, live_position: self.live_position.get() }];
        for log in self.live_logs() {
            known.extend(log.records());
        }
        match self.checkpoint.rewrite(known).await.map_err(|error| self.unless_full(error)) {
            // The old file is still in use, and this is tried again at the next commit.
            Err(error) if error.is_disk_full() => Ok(()),
            result => result,
        }
    }

    fn unless_full(&self, error: StorageError) -> StorageError {
        if error.is_disk_full() { error } else { self.fail(&error) }
    }

    /// Makes a log's directory. The checkpoint names it first, so that no directory is ever there that nobody knows.
    pub(crate) async fn make_log(&self, core: &Core<I>, log: &Rc<Log<I>>) -> Result<()> {
        let named = records::whole(log.identity(), 0, &[], &Covered::default());
        let registered = || self.register(log);
        self.commit(named, registered).await?;
        let made = core.io.create_dir_all(log.path()).await;
        let made = match made {
            Ok(()) if core.bugs.skip_directory_flush => Ok(()),
            Ok(()) => core.io.sync_dir(&self.path).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(()) => Ok(()),
            Err(error) if error.is_disk_full() => {
                self.forget(core, log).await?;
                Err(error)
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// Lists a log among those that checkpoints name and failures reach.
    pub(crate) fn register(&self, log: &Rc<Log<I>>) {
        self.logs.borrow_mut().insert(log.identity().log_id, Rc::downgrade(log));
    }

    /// Ends a log and removes its files.
    pub(crate) async fn drop_log(&self, core: &Core<I>, log: &Rc<Log<I>>) -> Result<()> {
        log.end(StorageError::Closed);
        // Whoever prepares an append or writes back finishes first: their files must not appear in a successor's directory.
        let _append = log.append_turn().pass().await;
        let _write = log.write_turn().pass().await;
        self.check()?;
        let doomed = self.path.join(log.identity().deleted_dir_name());
        let renamed = match core.io.rename(log.path(), &doomed).await {
            Ok(()) => core.io.sync_dir(&self.path).await,
            Err(error) => Err(error),
        };
        renamed.map_err(|error| self.fail(&error))?;
        // Its new name alone tells a restart that it goes, so on a full disk its space may be freed first.
        match self.forget(core, log).await {
            Err(error) if error.is_disk_full() => {
                core.io.remove_dir_all(&doomed).await.map_err(|error| self.fail(&error))?;
                self.forget(core, log).await
            }
            Err(error) => Err(error),
            Ok(()) => core.io.remove_dir_all(&doomed).await.map_err(|error| self.fail(&error)),
        }
    }

    /// Notes that a log is gone.
    async fn forget(&self, core: &Core<I>, log: &Rc<Log<I>>) -> Result<()> {
        let log_id = log.identity().log_id;
        let uncovered = log.uncovered_bytes();
        let gone = || {
            self.logs.borrow_mut().remove(&log_id);
            self.dirty_bytes.set(self.dirty_bytes.get().saturating_sub(uncovered));
        };
        self.commit(vec![Record::Dropped { log_id }], gone).await?;
        core.files.forget_log(log_id);
        core.tables.forget_log(log_id);
        Ok(())
    }

    /// Takes the directory out of use when its journal has failed. A task of its own, ends with the journal.
    pub(crate) async fn follow_journal_failure(self: Rc<Self>) {
        self.journal.used_above(u64::MAX).await;
        if let Some(error) = self.journal.failure() {
            self.fail(&error);
        }
    }

    /// Writes everything back and notes that nothing is left to recover.
    pub(crate) async fn close(&self, core: &Rc<Core<I>>) -> Result<()> {
        self.closing.set(true);
        self.work.set();
        self.close_graves();
        let _round = self.round_turn.pass().await;
        self.check()?;
        // Refuses appends from here on, and has those that were taken acknowledged.
        self.journal.close().await.map_err(|error| self.fail(&error))?;
        self.round(core, true).await?;
        let retired = vec![Record::Session { session: self.session, live_position: RETIRED }];
        // A rewrite of the checkpoint file that is due now must say so too.
        self.commit(retired, || self.live_position.set(RETIRED)).await
    }
}

/// A log as recovery found it, on this core.
pub(crate) fn revive<I: Io>(
    core: &Rc<Core<I>>,
    dir: &Rc<Directory<I>>,
    recovered: RecoveredLog,
    config: LogConfig,
    tenant: SharedTenant,
) -> Rc<Log<I>> {
    if let Some(snapshot) = &recovered.covered.tenant {
        tenant.borrow_mut().restore(snapshot);
    }
    let RecoveredLog { identity, owner_epoch, closed, covered, .. } = recovered;
    let log = Log::new(identity, owner_epoch, config, (core.clone(), dir.clone()), (closed, covered), tenant);
    dir.register(&log);
    log
}
