//! One core's checkpoint log in one log directory: what need not be replayed from the journal (decision 0001).
//!
//! The store commits records as it writes back; recovery loads them and begins a new generation. Commits that arrive
//! together share a flush. Deliberately absent: when to checkpoint, and the order between segments, this and the
//! journal's release: the caller flushes segments first, and releases last.

mod file;
mod load;
mod record;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use file::FileIdentity;
pub use load::{Loaded, LoadedFile, LogCheckpoint, load, remove_other_generations};
pub use record::{LogRecord, Record, ReplacedRecord, SegmentRecord, StateRecord, TenantRecord};

use crate::io::{Class, Io};
use crate::journal::Bugs;
use crate::journal::format::parse_file_name;
use crate::journal::waiters::Waiters;
use crate::{Result, StorageError};
use file::{CheckpointFile, ENDING, NEW_ENDING};

enum Work {
    Commit(Vec<Record>),
    Rewrite(Vec<Record>),
}

/// Filled in when a job has ended; shared by the job and the future that waits for it.
type Outcome = Rc<RefCell<Option<Result<()>>>>;

struct Job {
    work: Work,
    outcomes: Vec<Outcome>,
}

struct State {
    /// Bounded by the callers: each has at most one job here, and waits.
    jobs: VecDeque<Job>,
    file_bytes: u64,
    published_bytes: u64,
    failed: Option<StorageError>,
    closing: bool,
}

struct Inner<I: Io> {
    io: I,
    dir: PathBuf,
    identity: FileIdentity,
    bugs: Bugs,
    state: RefCell<State>,
    /// The writer waits for a job; threshold 0.
    work: Waiters,
    /// Callers wait for their outcomes; threshold 0.
    done: Waiters,
}

/// One core's checkpoint log in one log directory.
pub struct CheckpointLog<I: Io> {
    inner: Rc<Inner<I>>,
}

impl<I: Io> CheckpointLog<I> {
    /// Writes a new file that begins with `records`, and starts the task that appends to it. Existing files stay: the
    /// generation counts when all its cores' files are in place.
    ///
    /// # Errors
    /// Disk full: nothing is left of it. `Io` otherwise.
    pub async fn create(
        io: I,
        dir: &Path,
        identity: FileIdentity,
        records: &[Record],
        bugs: Bugs,
    ) -> Result<Rc<Self>> {
        io.create_dir_all(dir).await?;
        if let Some(parent) = dir.parent()
            && !bugs.skip_directory_flush
        {
            io.sync_dir(parent).await?;
        }
        let number = next_number(&io, dir, identity.core).await?;
        let file = CheckpointFile::create(&io, dir, identity, number, records, bugs).await?;
        let state = State {
            jobs: VecDeque::new(),
            file_bytes: file.len(),
            published_bytes: file.published_bytes,
            failed: None,
            closing: false,
        };
        let inner = Rc::new(Inner {
            io: io.clone(),
            dir: dir.to_path_buf(),
            identity,
            bugs,
            state: RefCell::new(state),
            work: Waiters::default(),
            done: Waiters::default(),
        });
        io.spawn(Class::Background, Rc::clone(&inner).write_jobs(file, number + 1));
        Ok(Rc::new(Self { inner }))
    }

    /// Makes the records durable, in order: a record counts only when all before it do. Queued at the call, so two
    /// calls keep their order even when the first future is polled later.
    ///
    /// # Errors
    /// Disk full: none of them was written, try again when there is room. `DirectoryFailed` is final.
    pub fn commit(&self, records: Vec<Record>) -> impl Future<Output = Result<()>> + use<I> {
        self.queue(Work::Commit(records))
    }

    /// Whether the file has outgrown what a whole one takes, and `bytes_min`, below which no file is worth rewriting.
    pub fn needs_rewrite(&self, bytes_min: u64) -> bool {
        let state = self.inner.state.borrow();
        state.file_bytes > bytes_min && state.file_bytes > 2 * state.published_bytes
    }

    /// Puts a new file with `records` in the place of this one. They must say all that was committed before this call;
    /// commits queued later go into the new file.
    ///
    /// # Errors
    /// As [`Self::commit`]; after a full disk the old file is still in use.
    pub fn rewrite(&self, records: Vec<Record>) -> impl Future<Output = Result<()>> + use<I> {
        self.queue(Work::Rewrite(records))
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.inner.state.borrow().file_bytes
    }

    fn queue(&self, work: Work) -> impl Future<Output = Result<()>> + use<I> {
        let inner = Rc::clone(&self.inner);
        let outcome = Outcome::default();
        {
            let mut state = inner.state.borrow_mut();
            match &state.failed {
                Some(error) => *outcome.borrow_mut() = Some(Err(error.clone())),
                None => state.jobs.push_back(Job { work, outcomes: vec![Rc::clone(&outcome)] }),
            }
        }
        inner.work.wake_all();
        async move { inner.done.until(0, || outcome.borrow_mut().take()).await }
    }
}

impl<I: Io> Drop for CheckpointLog<I> {
    fn drop(&mut self) {
        self.inner.state.borrow_mut().closing = true;
        self.inner.work.wake_all();
    }
}

impl<I: Io> Inner<I> {
    async fn write_jobs(self: Rc<Self>, mut file: CheckpointFile<I::File>, mut next_number: u64) {
        loop {
            let next = self.work.until(0, || {
                let mut state = self.state.borrow_mut();
                match state.take() {
                    Some(job) => Some(Some(job)),
                    None => state.closing.then_some(None),
                }
            });
            let Some(job) = next.await else { return };
            let outcome = match &job.work {
                Work::Commit(records) => file.append(&self.io, records).await,
                Work::Rewrite(records) => self.rewrite(&mut file, &mut next_number, records).await,
            };
            if !self.finish(job, &file, outcome) {
                return;
            }
        }
    }

    async fn rewrite(
        &self,
        file: &mut CheckpointFile<I::File>,
        next_number: &mut u64,
        records: &[Record],
    ) -> Result<()> {
        let (dir, identity) = (&self.dir, self.identity);
        let new = CheckpointFile::create(&self.io, dir, identity, *next_number, records, self.bugs).await?;
        *next_number += 1;
        let old = std::mem::replace(file, new);
        // Not flushed: an old file that comes back is passed over, for its number is lower.
        self.io.remove_file(&old.path).await
    }

    /// Tells the job's callers how it ended; false when the writer must end.
    fn finish(&self, job: Job, file: &CheckpointFile<I::File>, outcome: Result<()>) -> bool {
        let mut ended = job.outcomes;
        let (outcome, goes_on) = match outcome {
            Ok(()) => (Ok(()), true),
            Err(error @ StorageError::DiskFull { .. }) => (Err(error), true),
            Err(error) => {
                let (dir, cause) = (self.dir.clone(), error.to_string());
                (Err(StorageError::DirectoryFailed { dir, cause }), false)
            }
        };
        {
            let mut state = self.state.borrow_mut();
            state.file_bytes = file.len();
            state.published_bytes = file.published_bytes;
            if !goes_on {
                state.failed = outcome.clone().err();
                ended.extend(state.jobs.drain(..).flat_map(|job| job.outcomes));
            }
        }
        for waiting in ended {
            *waiting.borrow_mut() = Some(outcome.clone());
        }
        self.done.wake_all();
        goes_on
    }
}

impl State {
    /// The next job; commits that wait one behind the other are one.
    fn take(&mut self) -> Option<Job> {
        let mut job = self.jobs.pop_front()?;
        while let Work::Commit(records) = &mut job.work
            && matches!(self.jobs.front(), Some(Job { work: Work::Commit(_), .. }))
            && let Some(Job { work: Work::Commit(more), outcomes }) = self.jobs.pop_front()
        {
            records.extend(more);
            job.outcomes.extend(outcomes);
        }
        Some(job)
    }
}

async fn next_number<I: Io>(io: &I, dir: &Path, core: u32) -> Result<u64> {
    let entries = io.read_dir(dir).await?;
    let numbers = entries.iter().filter_map(|entry| {
        parse_file_name(&entry.name, ENDING).or_else(|| parse_file_name(&entry.name, NEW_ENDING))
    });
    Ok(numbers.filter(|(of, _)| *of == core).map(|(_, number)| number + 1).max().unwrap_or(1))
}

#[cfg(test)]
mod tests;
