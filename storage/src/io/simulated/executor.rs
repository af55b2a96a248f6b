//! The world that tasks of a simulation live in: tasks, timers, operations in flight, all in one state.
//!
//! `simulation` drives it, `handles` come here with what callers ask. Deliberately absent: what an operation does to
//! the disk (`request`, `disk`, `content`), and the public face of it all.

use std::cell::{RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::io::Error;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::crash_point::CrashPoint;
use super::disk::{Disk, InodeId};
use super::faults::FaultPlan;
use super::random::Random;
use super::request::{Reply, Request};
use super::survivors::Settling;
use super::trace::Trace;

pub(super) type TaskId = u64;
/// The future given to `run`; spawned tasks count from 1.
pub(super) const MAIN: TaskId = 0;
pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;
pub(super) type OperationId = u64;

#[derive(Debug)]
pub(super) struct InFlight {
    path: PathBuf,
    request: Request,
    fails: bool,
    waiter: Option<Waker>,
    /// Nobody waits any more: the answer is thrown away, the effect is not.
    abandoned: bool,
}

pub(super) enum Event {
    Wake(Waker),
    Complete(OperationId),
}

pub(super) struct Timer {
    pub(super) at_ns: u64,
    ordinal: u64,
    pub(super) event: Event,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ns, self.ordinal).cmp(&(other.at_ns, other.ordinal))
    }
}

/// Tasks that were woken. Wakers must be `Send`, hence the lock; there is only one thread.
pub(super) type Woken = Arc<Mutex<Vec<TaskId>>>;

pub(super) fn lock(woken: &Woken) -> MutexGuard<'_, Vec<TaskId>> {
    woken.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct TaskWaker {
    pub(super) task: TaskId,
    pub(super) queued: AtomicBool,
    pub(super) woken: Woken,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.woken).push(self.task);
        }
    }
}

/// Told of the disk before a flush takes effect and after.
pub(super) type FlushWatcher = Box<dyn FnMut(CrashPoint)>;

pub(super) struct State {
    /// Grows with every crash or kill; handles of an earlier one are dead.
    pub(super) generation: u64,
    pub(super) random: Random,
    pub(super) now_ns: u64,
    pub(super) ordinal: u64,
    pub(super) timers: BinaryHeap<Reverse<Timer>>,
    pub(super) tasks: BTreeMap<TaskId, (Option<Task>, Arc<TaskWaker>)>,
    pub(super) task_next: TaskId,
    pub(super) in_flight: BTreeMap<OperationId, InFlight>,
    pub(super) completed: BTreeMap<OperationId, Result<Reply, Error>>,
    pub(super) disk: Disk,
    pub(super) plan: FaultPlan,
    pub(super) steps_left: Option<u64>,
    pub(super) stopped: bool,
    pub(super) running: bool,
    pub(super) trace: Trace,
    /// Hears of every flush, before and after it takes effect.
    pub(super) flush_watcher: Option<FlushWatcher>,
}

impl State {
    fn ordinal(&mut self) -> u64 {
        self.ordinal += 1;
        self.ordinal
    }

    fn schedule(&mut self, at_ns: u64, event: Event) {
        let ordinal = self.ordinal();
        self.timers.push(Reverse(Timer { at_ns, ordinal, event }));
    }

    /// How long an operation takes: mostly tens of microseconds, now and then milliseconds.
    fn latency_ns(&mut self) -> u64 {
        let scale_ns = if self.random.one_in(20) { 5_000_000 } else { 100_000 };
        10_000 + self.random.below(scale_ns)
    }

    pub(super) fn complete(&mut self, id: OperationId) -> Option<Waker> {
        let operation = self.in_flight.remove(&id)?;
        let result = self.perform(&operation);
        let now_ns = self.now_ns;
        self.trace.record(now_ns, || {
            let how = result.as_ref().err().map_or("done".to_string(), Error::to_string);
            format!("#{id} {how}")
        });
        if !operation.abandoned {
            self.completed.insert(id, result);
        }
        operation.waiter
    }

    fn perform(&mut self, operation: &InFlight) -> Result<Reply, Error> {
        let disk = &mut self.disk;
        if operation.fails {
            operation.request.fail(&operation.path, disk, &mut Settling::drawn(&mut self.random));
            return Err(Error::from_raw_os_error(libc::EIO));
        }
        operation.request.perform(&operation.path, disk)
    }

    /// The process is gone: what it had in flight happened, happened partly, or did not happen.
    pub(super) fn interrupt(&mut self) {
        let mut settling = Settling::drawn(&mut self.random);
        for (_, operation) in std::mem::take(&mut self.in_flight) {
            let InFlight { path, request, fails, .. } = &operation;
            request.interrupt(path, *fails, &mut self.disk, &mut settling);
        }
    }

    /// Whether this operation, which is in flight, makes durable what was done before.
    pub(super) fn is_flush(&self, id: OperationId) -> bool {
        self.in_flight.get(&id).is_some_and(|operation| operation.request.is_flush())
    }

    /// What a power cut would find now.
    pub(super) fn crash_point(&self) -> CrashPoint {
        let in_flight = self.in_flight.values();
        CrashPoint {
            disk: self.disk.clone(),
            in_flight: in_flight.map(|one| (one.path.clone(), one.request.clone(), one.fails)).collect(),
            now_ns: self.now_ns,
        }
    }
}

/// What every handle shares with the simulation.
pub(super) struct World {
    pub(super) state: RefCell<State>,
    pub(super) woken: Woken,
}

impl World {
    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    fn check_generation(state: &State, generation: u64) {
        assert!(
            state.generation == generation,
            "a handle from before the last crash or kill was used: take a new one from Simulation::io"
        );
    }

    /// Issues an operation; its effect happens when its time has come, whether or not anybody waits.
    pub(super) fn issue(&self, generation: u64, path: &Path, mut request: Request) -> OperationId {
        let state = &mut *self.state();
        Self::check_generation(state, generation);
        let id = state.ordinal();
        if state.stopped {
            // The power is gone already: never issued, never answered.
            return id;
        }
        if let Request::Flush { before, .. }
        | Request::SyncDir { before }
        | Request::SyncFileSystem { before } = &mut request
        {
            *before = state.disk.sequence();
        }
        Self::refuse_overlap(state, path, &request);
        let operation = request.operation();
        let fails = state.plan.decide(operation, path, &mut state.random);
        let now_ns = state.now_ns;
        state.trace.record(now_ns, || format!("#{id} {}: {}", path.display(), request.describe()));
        if operation.is_step()
            && let Some(left) = &mut state.steps_left
        {
            *left -= 1;
            state.stopped = *left == 0;
        }
        let path = path.to_path_buf();
        state.in_flight.insert(id, InFlight { path, request, fails, waiter: None, abandoned: false });
        let at_ns = state.now_ns + state.latency_ns();
        state.schedule(at_ns, Event::Complete(id));
        id
    }

    /// Two writes in flight over the same bytes end in either order on a real disk: never meant, always a bug.
    fn refuse_overlap(state: &State, path: &Path, request: &Request) {
        let Request::Write { inode, position, bytes } = request else { return };
        let (from, to) = (*position, position + bytes.len() as u64);
        for other in state.in_flight.values() {
            if let Request::Write { inode: other, position, bytes } = &other.request {
                assert!(
                    other != inode || *position >= to || position + bytes.len() as u64 <= from,
                    "a write to {} at {from}..{to} overlaps one in flight at {position}, {} bytes",
                    path.display(),
                    bytes.len()
                );
            }
        }
    }

    /// The answer to an operation, once it is there.
    pub(super) fn poll_answer(&self, id: OperationId, cx: &Context<'_>) -> Poll<Result<Reply, Error>> {
        let mut state = self.state();
        if let Some(result) = state.completed.remove(&id) {
            return Poll::Ready(result);
        }
        if let Some(operation) = state.in_flight.get_mut(&id) {
            operation.waiter = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Nobody waits for this operation any more.
    pub(super) fn abandon(&self, id: OperationId) {
        let mut state = self.state();
        state.completed.remove(&id);
        if let Some(operation) = state.in_flight.get_mut(&id) {
            operation.abandoned = true;
        }
    }

    pub(super) fn handle_opened(&self, generation: u64, inode: InodeId) {
        let mut state = self.state();
        Self::check_generation(&state, generation);
        state.disk.handle_opened(inode);
    }

    pub(super) fn handle_closed(&self, generation: u64, inode: InodeId) {
        let mut state = self.state();
        if state.generation == generation {
            state.disk.handle_closed(inode);
        }
    }

    pub(super) fn spawn(&self, generation: u64, task: Task) {
        let mut state = self.state();
        if state.generation != generation {
            // A destructor of a killed task: there is nothing left to run it on.
            return;
        }
        let id = state.task_next;
        state.task_next += 1;
        let waker =
            Arc::new(TaskWaker { task: id, queued: AtomicBool::new(false), woken: self.woken.clone() });
        state.tasks.insert(id, (Some(task), waker.clone()));
        waker.wake();
    }

    /// Wakes `waker` after `duration`, give or take the lateness of real timers.
    pub(super) fn wake_after(&self, generation: u64, duration: Duration, waker: Waker) {
        let mut state = self.state();
        Self::check_generation(&state, generation);
        let late_ns = state.random.below(20_000);
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let at_ns = state.now_ns.saturating_add(duration_ns).saturating_add(late_ns);
        state.schedule(at_ns, Event::Wake(waker));
    }

    pub(super) fn coin(&self) -> bool {
        self.state().random.coin()
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.state.borrow().now_ns
    }
}
