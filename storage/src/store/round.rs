//! A round of write-back: every log with something uncovered, one flush, one checkpoint, then the journal's space is free.
//!
//! One task per directory decides (`plan`) and runs it; a clean stop runs a last one. The order is the whole point: segments
//! written, flushed, journal durable up to what the checkpoint will name, checkpoint, release, sidecars, removals.

use std::cell::RefCell;
use std::rc::Rc;

use super::plan::{Due, Pressure, due};
use crate::Result;
use crate::checkpoint::Record;
use crate::io::{File, Io};
use crate::log::Log;
use crate::log::home::{Core, Directory};
use crate::log::together::together;
use crate::log::write_back::{Aftermath, Written};

/// Logs written back at once. Each holds a transfer of 512 KiB.
const WRITERS_MAX: usize = 8;

/// Files flushed one by one in a round; with more, one `syncfs` is cheaper.
const FLUSHED_FILES_MAX: usize = 64;

/// A checkpoint commit is closed when its tails and snapshots reach this many bytes.
const CHECKPOINT_COMMIT_BYTES: usize = 1 << 20;

/// How long to wait before the next round when the disk had no room for a checkpoint.
const DISK_FULL_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// What a round has written and not yet flushed.
struct Unflushed<I: Io> {
    /// At most [`FLUSHED_FILES_MAX`]; beyond, the file system is synced whole.
    files: Vec<Rc<I::File>>,
    /// Logs with a new file in their directory.
    dirs: Vec<Rc<Log<I>>>,
    everything: bool,
}

impl<I: Io> Directory<I> {
    /// The directory's write-back task. Ends when the directory closes or fails.
    pub(crate) async fn write_back_when_due(self: Rc<Self>, core: Rc<Core<I>>, age_ms_max: u64) {
        let age_ns_max = age_ms_max * 1_000_000;
        while !self.closing.get() && self.check().is_ok() {
            let age_ns = self.dirty_since_ns.get().map_or(0, |since| core.io.now_ns().saturating_sub(since));
            let pressure = Pressure {
                dirty_logs: self.dirty.borrow().len(),
                age_ns,
                pressed: self.pressed.get() || self.hungry.get() > 0,
                full: self.is_full(),
            };
            match due(pressure, age_ns_max) {
                Due::Idle => self.work.wait().await,
                Due::InNs(ns) => {
                    let sleep = core.io.sleep(std::time::Duration::from_nanos(ns));
                    futures_lite::future::or(self.work.wait(), sleep).await;
                }
                Due::Now => {
                    let _turn = self.round_turn.pass().await;
                    // Any other failure has failed the directory, which ends this loop.
                    if let Err(error) = self.round(&core, false).await
                        && error.is_disk_full()
                    {
                        if self.told_no_checkpoint.due(core.io.now_ns()) {
                            tracing::warn!(%error, "no room for a checkpoint; appends wait when the journal is full");
                        }
                        core.io.sleep(DISK_FULL_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Writes back everything that is uncovered now. With `whole`, active segments are written to their last byte.
    pub(crate) async fn round(&self, core: &Rc<Core<I>>, whole: bool) -> Result<()> {
        match self.try_round(core, whole).await {
            // Nothing is lost but time: no checkpoint was begun, and the logs are listed again.
            Err(error) if error.is_disk_full() => Err(error),
            result => result.map_err(|error| self.fail(&error)),
        }
    }

    async fn try_round(&self, core: &Rc<Core<I>>, whole: bool) -> Result<()> {
        self.check()?;
        let cut = self.appended.get();
        self.pressed.set(false);
        self.dirty_since_ns.set(None);
        let mut due = self.dirty.take();
        if whole {
            due = self.live_logs().into_iter().filter(|log| log.wants_final_write_back()).collect();
        }
        let (unflushed, written) = match self.write_back_all(core, &due, whole).await {
            Err(error) if error.is_disk_full() => {
                due.iter().for_each(Log::list_again);
                return Err(error);
            }
            result => result?,
        };
        if core.bugs.release_before_checkpoint {
            self.journal.release(cut);
        }
        if core.bugs.remove_before_checkpoint {
            for log in &written {
                log.log.set_aside(&log.removed).await;
            }
        }
        // The checkpoint must not know more than the journal: what is not durable was not acknowledged, and may go. Before the
        // flush, which must find the blocks that the journal's commits write.
        if let Some(ticket) = written.iter().filter_map(|log| log.ticket).max() {
            self.journal.durable(ticket).await?;
        }
        if !core.bugs.skip_segment_flush {
            unflushed.flush(core, self).await?;
        }
        let live_position = self.live_position.get();
        let aftermath = self.commit_covered(core, written, cut).await?;
        self.rounds.set(self.rounds.get() + 1);
        if self.live_position.get() > live_position {
            self.journal.release(self.live_position.get());
        }
        core.cache.settle();
        for log in aftermath {
            log.follow().await?;
            core.io.yield_if_needed().await;
        }
        Ok(())
    }

    /// Writes back the logs that are due, a few at a time.
    async fn write_back_all(
        &self,
        core: &Rc<Core<I>>,
        due: &[Rc<Log<I>>],
        whole: bool,
    ) -> Result<(Unflushed<I>, Vec<Written<I>>)> {
        let written = RefCell::new(Vec::with_capacity(due.len()));
        let unflushed = RefCell::new(Unflushed { files: Vec::new(), dirs: Vec::new(), everything: false });
        let writers = WRITERS_MAX.min(due.len());
        let due = RefCell::new(due.iter());
        together((0..writers).map(|_| async {
            loop {
                let next = due.borrow_mut().next();
                let Some(log) = next else { return Ok(()) };
                if let Some(mut log) = log.write_back(whole).await? {
                    unflushed.borrow_mut().add(&mut log);
                    written.borrow_mut().push(log);
                }
                core.io.yield_if_needed().await;
            }
        }))
        .await?;
        Ok((unflushed.into_inner(), written.into_inner()))
    }

    /// Commits what was written in checkpoints of bounded size, the last of which says from where on the journal is needed.
    async fn commit_covered(
        &self,
        core: &Rc<Core<I>>,
        written: Vec<Written<I>>,
        cut: u64,
    ) -> Result<Vec<Aftermath<I>>> {
        let mut aftermath = Vec::new();
        let mut written = written.into_iter().peekable();
        loop {
            let mut records: Vec<Record> = Vec::new();
            let mut covered = Vec::new();
            let mut bytes = 0;
            while bytes < CHECKPOINT_COMMIT_BYTES
                && let Some(log) = written.next()
            {
                if !log.is_empty() {
                    bytes += log.records(&mut records);
                }
                covered.push(log);
            }
            let mut live_position = self.live_position.get();
            let last = written.peek().is_none();
            if last {
                // Everything the round began with is covered; if nothing was appended since, then all there is.
                let nothing_left = self.dirty.borrow().is_empty();
                live_position = if nothing_left { self.appended.get() } else { cut };
                records.push(Record::Session { session: self.session, live_position });
            }
            let mut covered = Some(covered);
            let result = self
                .commit(records, || {
                    self.live_position.set(live_position);
                    aftermath.extend(covered.take().into_iter().flatten().filter_map(Written::cover));
                })
                .await;
            if let Err(error) = result {
                covered.into_iter().flatten().chain(written).for_each(Written::give_up);
                return Err(error);
            }
            core.io.yield_if_needed().await;
            if last {
                return Ok(aftermath);
            }
        }
    }
}

impl<I: Io> Unflushed<I> {
    fn add(&mut self, written: &mut Written<I>) {
        if written.new_file {
            self.dirs.push(written.log.clone());
        }
        self.files.append(&mut written.files);
        // Held open they would be more than a process may open: let go, and sync the file system instead.
        if self.files.len() > FLUSHED_FILES_MAX {
            self.everything = true;
            self.files.clear();
        }
    }

    async fn flush(self, core: &Rc<Core<I>>, dir: &Directory<I>) -> Result<()> {
        if self.everything {
            return core.io.sync_file_system(&dir.path).await;
        }
        together(self.files.iter().map(|file| file.flush())).await?;
        if core.bugs.skip_directory_flush {
            return Ok(());
        }
        together(self.dirs.iter().map(|log| core.io.sync_dir(log.path()))).await
    }
}
