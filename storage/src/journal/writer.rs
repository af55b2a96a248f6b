//! The two tasks of a journal: one writes and flushes commits, one zeroes extents ahead.
//!
//! Started by `Journal::open`. A commit is issued when nothing is in flight; beside others only when it is full, so that
//! what trickles is still collected while one write and one flush are under way. Whatever order commits reach the disk in,
//! they count in the order of the chain. Deliberately absent: retries, and any timer on the commit path.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesOrdered;

use super::format::{CommitHeader, EXTENT_HEADER_BYTES, ExtentHeader, JOURNAL_COMMIT};
use super::ring::Extent;
use super::{CommitReport, Files, FlushMode, Inner, OpenCommit, extents};
use crate::Result;
use crate::io::{ALIGN, Class, File, Io};

/// Extents that are kept ready.
const FREE_EXTENTS_AHEAD: usize = 2;

/// How long to wait before a full disk is asked again for another extent.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(1);

/// A commit with its place in the chain: ready to be written.
struct Sealed<I: Io> {
    commit: OpenCommit<I>,
    /// Of the extent that it opens.
    extent_header: Option<[u8; EXTENT_HEADER_BYTES]>,
}

/// A commit that is on the disk.
struct Written<I: Io> {
    commit: OpenCommit<I>,
    report: CommitReport,
}

/// What the task that writes commits does next.
enum Step<I: Io> {
    Issue(OpenCommit<I>),
    /// The oldest commit in flight ended.
    Written(Result<Option<Written<I>>>),
    End,
}

impl<I: Io> Inner<I> {
    /// Writes commits until the journal closes or fails.
    pub(super) async fn write_commits(self: Rc<Self>) {
        let mut in_flight = FuturesOrdered::new();
        loop {
            match self.next_step(&mut in_flight).await {
                Step::Issue(commit) => {
                    let sealed = self.seal(commit);
                    in_flight.push_back(self.write_commit(sealed));
                }
                Step::Written(Ok(Some(written))) => self.complete(written),
                Step::Written(Ok(None)) => {}
                Step::Written(Err(error)) => {
                    self.fail(&error);
                    break;
                }
                Step::End => break,
            }
        }
        // A write is never abandoned while the kernel reads its buffer.
        while in_flight.next().await.is_some() {}
    }

    /// Waits until the oldest commit in flight is written, or another one may be issued.
    async fn next_step(
        &self,
        in_flight: &mut FuturesOrdered<impl Future<Output = Result<Option<Written<I>>>>>,
    ) -> Step<I> {
        let others = in_flight.len();
        let may_issue = others < self.options.commits_in_flight_max;
        let next_commit = || {
            let mut state = self.state.borrow_mut();
            if state.failed.is_some() {
                return Some(Step::End);
            }
            let commit = match others {
                0 => state.take_commit(),
                _ if may_issue => state.full.pop_front(),
                _ => None,
            };
            let end = state.closing && others == 0;
            commit.map(Step::Issue).or_else(|| end.then_some(Step::End))
        };
        // While something is in flight, appends to a commit that is not full wake nobody.
        let next_commit = self.work.until(u64::from(others > 0), next_commit);
        if others == 0 {
            return next_commit.await;
        }
        match select(in_flight.next(), next_commit).await {
            Either::Left((Some(written), _)) => Step::Written(written),
            Either::Left((None, _)) => Step::End,
            Either::Right((step, _)) => step,
        }
    }

    /// Writes a commit and flushes it. Returns what is to be completed when all before it are.
    async fn write_commit(&self, sealed: Sealed<I>) -> Result<Option<Written<I>>> {
        let Sealed { mut commit, extent_header } = sealed;
        let issued_ns = self.io.now_ns();
        let file = Rc::clone(&commit.place.file);
        let mut report =
            CommitReport { bytes: commit.padded_len(), entries: commit.entries, ..CommitReport::default() };
        // The files that it writes to, each once, and the bytes that go to each.
        let mut files = vec![Rc::clone(&file)];
        let mut parts = vec![(Rc::clone(&file), commit.place.file_position, commit.take_chunks())];
        for run in commit.runs.drain(..) {
            if !self.options.bugs.skip_in_place_flush && !files.iter().any(|file| Rc::ptr_eq(file, &run.file))
            {
                files.push(Rc::clone(&run.file));
            }
            parts.push((Rc::clone(&run.file), run.from, run.into_chunks()));
        }
        let mut writes = Vec::new();
        for (file, from, chunks) in &mut parts {
            let mut at = *from;
            for chunk in chunks.drain(..) {
                let len = chunk.as_ref().len() as u64;
                writes.push(file.write_at(chunk, at));
                at += len;
            }
            report.in_place_bytes += at - *from;
        }
        report.in_place_bytes -= report.bytes;
        if let Some(header) = extent_header {
            let mut block = self.io.buffer(ALIGN);
            block.as_mut()[..header.len()].copy_from_slice(&header);
            writes.push(file.write_at(block, 0));
        }
        for chunk in all(writes).await? {
            self.state.borrow_mut().chunks.give(chunk);
        }
        let written_ns = self.io.now_ns();
        report.write_ns = written_ns - issued_ns;
        if self.options.flush == FlushMode::Always {
            let flushes = async move { all(files.iter().map(|file| file.flush()).collect()).await };
            if self.options.bugs.acknowledge_before_flush {
                self.io.spawn(Class::Foreground, async move { drop(flushes.await) });
            } else {
                flushes.await?;
                report.flush_ns = self.io.now_ns() - written_ns;
            }
        }
        let written = Written { commit, report };
        if self.options.bugs.acknowledge_out_of_order {
            self.complete(written);
            return Ok(None);
        }
        Ok(Some(written))
    }

    /// Chains the commit to the one before, and makes the header of the extent that it opens.
    fn seal(&self, mut commit: OpenCommit<I>) -> Sealed<I> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let place = &commit.place;
        let (core, session) = (self.options.core, self.options.session);
        let extent_header = place.opens.map(|(sequence, size)| {
            let previous_hash = state.previous_hash;
            ExtentHeader { core, session, sequence, position: place.position, size, previous_hash }.encode()
        });
        let header = CommitHeader {
            len: commit.len() as u32,
            session,
            position: place.position,
            previous_hash: state.previous_hash,
            // Without flushes nothing is known to be on the disk, so that a power cut is never taken for corruption.
            durable_position: if self.options.flush == FlushMode::Always { state.durable } else { 0 },
            entries: commit.entries,
            body_hash: commit.body_hash(),
        };
        let (bytes, hash) = header.encode(JOURNAL_COMMIT);
        state.previous_hash = hash;
        commit.close(&mut state.chunks, &bytes);
        Sealed { commit, extent_header }
    }

    /// Everything up to the end of this commit is durable.
    fn complete(&self, written: Written<I>) {
        let Written { commit, report } = written;
        let end = commit.place.position + commit.padded_len();
        let observer = {
            let mut state = self.state.borrow_mut();
            state.durable = state.durable.max(end);
            state.pending_bytes -= commit.charged_bytes;
            state.stats.commits += 1;
            state.stats.entries += u64::from(report.entries);
            state.stats.bytes += report.bytes;
            state.stats.in_place_bytes += report.in_place_bytes;
            state.stats.write_ns += report.write_ns;
            state.stats.flush_ns += report.flush_ns;
            if self.options.bugs.recycle_before_checkpoint {
                state.ring.release(end);
            }
            state.observer.clone()
        };
        if let Some(observer) = observer {
            observer(&report);
        }
        commit.notices.tell();
        self.durable.wake(end);
        self.room.wake_all();
        self.drained.wake_all();
    }

    /// Keeps [`FREE_EXTENTS_AHEAD`] extents ready until the journal has its capacity.
    pub(super) async fn grow(self: Rc<Self>, mut next_file: u64) {
        let size = self.geometry.extent_bytes;
        loop {
            let go_on = self.growth.until(0, || {
                let state = self.state.borrow();
                if state.failed.is_some() || state.closing || !state.ring.may_grow(size) {
                    return Some(false);
                }
                (state.ring.free_extents() < FREE_EXTENTS_AHEAD).then_some(true)
            });
            if !go_on.await {
                return;
            }
            let dir: &Path = &self.dir;
            self.state.borrow_mut().growing = true;
            let made =
                extents::make(&self.io, dir, &self.options, next_file, size, Class::Housekeeping).await;
            self.state.borrow_mut().growing = false;
            self.drained.wake_all();
            match made {
                Ok(file) => {
                    let mut state = self.state.borrow_mut();
                    state.ring.add_free(Extent { file: Files::<I>::new(file), size });
                    state.stats.extents += 1;
                    next_file += 1;
                }
                Err(error) if error.is_disk_full() => {
                    tracing::warn!(dir = %dir.display(), %error, "no room for another journal extent");
                    self.io.sleep(DISK_FULL_PAUSE).await;
                }
                Err(error) => return self.fail(&error),
            }
            self.room.wake_all();
        }
    }
}

/// Waits for all futures, and gives their values in order or the first error in order. All of them run to their end:
/// a write is never abandoned while the kernel reads its buffer.
async fn all<T>(futures: Vec<impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    let mut running: Vec<Pin<Box<_>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<Result<T>>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, value) in running.iter_mut().zip(&mut done) {
            if value.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *value = Some(ready);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
