//! The simulated machine: tasks polled in the seed's order, virtual time, operations in flight, power cuts.
//!
//! Tests make a [`Simulation`] and hand its [`SimIo`] to what they test. Deliberately absent: what an operation does
//! to the disk (`disk`, `content`) and how futures look to callers (`handles`).

use std::cell::{Ref, RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::io::Error;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::disk::{Disk, InodeId};
use super::faults::{Counters, FaultPlan, Faults, Operation};
use super::handles::SimIo;
use super::random::Random;
use super::request::{Reply, Request};
use super::trace::Trace;

/// Polls that one [`Simulation::run`] may take: beyond it, tasks spin without getting anywhere.
const POLLS_MAX: u64 = 50_000_000;

/// Virtual time that one [`Simulation::run`] may take: beyond it, only idle timers are left ticking.
const RUN_NS_MAX: u64 = 24 * 3600 * 1_000_000_000;

/// What one poll costs in virtual time, so that a task that watches the clock sees it move.
const POLL_NS: u64 = 200;

type TaskId = u64;
/// The future given to `run`; spawned tasks count from 1.
const MAIN: TaskId = 0;
type Task = Pin<Box<dyn Future<Output = ()>>>;
type OperationId = u64;

#[derive(Debug)]
struct InFlight {
    path: PathBuf,
    request: Request,
    fails: bool,
    waiter: Option<Waker>,
    /// Nobody waits any more: the answer is thrown away, the effect is not.
    abandoned: bool,
}

enum Event {
    Wake(Waker),
    Complete(OperationId),
}

struct Timer {
    at_ns: u64,
    ordinal: u64,
    event: Event,
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
type Woken = Arc<Mutex<Vec<TaskId>>>;

fn lock(woken: &Woken) -> MutexGuard<'_, Vec<TaskId>> {
    woken.lock().unwrap_or_else(PoisonError::into_inner)
}

struct TaskWaker {
    task: TaskId,
    queued: AtomicBool,
    woken: Woken,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.woken).push(self.task);
        }
    }
}

struct State {
    /// Grows with every crash or kill; handles of an earlier one are dead.
    generation: u64,
    random: Random,
    now_ns: u64,
    ordinal: u64,
    timers: BinaryHeap<Reverse<Timer>>,
    tasks: BTreeMap<TaskId, (Option<Task>, Arc<TaskWaker>)>,
    task_next: TaskId,
    in_flight: BTreeMap<OperationId, InFlight>,
    completed: BTreeMap<OperationId, Result<Reply, Error>>,
    disk: Disk,
    plan: FaultPlan,
    steps_left: Option<u64>,
    stopped: bool,
    running: bool,
    trace: Trace,
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

    fn complete(&mut self, id: OperationId) -> Option<Waker> {
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
        let (disk, random) = (&mut self.disk, &mut self.random);
        if operation.fails {
            operation.request.fail(&operation.path, disk, random);
            return Err(Error::from_raw_os_error(libc::EIO));
        }
        operation.request.perform(&operation.path, disk)
    }

    /// The process is gone: what it had in flight happened, happened partly, or did not happen.
    fn interrupt(&mut self) {
        for (_, operation) in std::mem::take(&mut self.in_flight) {
            match &operation.request {
                Request::Write { inode, position, bytes } => {
                    let (disk, random) = (&mut self.disk, &mut self.random);
                    disk.write_partly(*inode, *position, bytes, random);
                }
                _ if self.random.coin() => drop(self.perform(&operation)),
                _ => {}
            }
        }
    }
}

/// What every handle shares with the simulation.
pub(super) struct World {
    state: RefCell<State>,
    woken: Woken,
}

impl World {
    fn state(&self) -> RefMut<'_, State> {
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

/// A machine in memory. One seed is one run, for ever and on every platform.
///
/// When a test panics, the seed and what the trace kept are printed.
pub struct Simulation {
    seed: u64,
    world: Rc<World>,
}

impl Simulation {
    /// A machine with an empty disk, no faults, and its clock at one second.
    pub fn new(seed: u64) -> Self {
        let state = State {
            generation: 0,
            random: Random::new(seed),
            now_ns: 1_000_000_000,
            ordinal: 0,
            timers: BinaryHeap::new(),
            tasks: BTreeMap::new(),
            task_next: MAIN + 1,
            in_flight: BTreeMap::new(),
            completed: BTreeMap::new(),
            disk: Disk::new(),
            plan: FaultPlan::default(),
            steps_left: None,
            stopped: false,
            running: false,
            trace: Trace::default(),
        };
        Self { seed, world: Rc::new(World { state: RefCell::new(state), woken: Woken::default() }) }
    }

    /// The seed it was made with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Disk, clock and spawner for what is tested. Dead after the next crash or kill.
    pub fn io(&self) -> SimIo {
        SimIo::new(self.world.clone(), self.world.state().generation)
    }

    /// Random numbers that follow this simulation's seed.
    pub fn random(&self) -> Random {
        Random::new(self.world.state().random.next_u64())
    }

    /// Runs `main` to its end, together with everything that is spawned; what is still running then rests until the next
    /// call.
    ///
    /// Panics when nothing can run any more (a deadlock), when nothing gets anywhere, and when the power was cut by
    /// [`Self::crash_after_steps`]: use [`Self::run`] there.
    pub fn block_on<T>(&self, main: impl Future<Output = T>) -> T {
        match self.run(main) {
            Some(output) => output,
            None => panic!("the power was cut during block_on; run() returns None instead"),
        }
    }

    /// As [`Self::block_on`], but None when the steps ordered by [`Self::crash_after_steps`] are used up. Nothing runs
    /// then until [`Self::crash`] or [`Self::kill`] is called.
    pub fn run<T>(&self, main: impl Future<Output = T>) -> Option<T> {
        assert!(!std::mem::replace(&mut self.world.state().running, true), "run() inside run()");
        let output = self.drive(pin!(main));
        self.world.state().running = false;
        output
    }

    fn drive<T>(&self, mut main: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let main_waker = Arc::new(TaskWaker {
            task: MAIN,
            queued: AtomicBool::new(false),
            woken: self.world.woken.clone(),
        });
        main_waker.clone().wake();
        let until_ns = self.world.now_ns() + RUN_NS_MAX;
        for _ in 0..POLLS_MAX {
            if self.world.state().stopped {
                return None;
            }
            self.fire_timers();
            match self.pick() {
                Some(MAIN) => {
                    main_waker.queued.store(false, Ordering::Relaxed);
                    let waker = Waker::from(main_waker.clone());
                    if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return Some(output);
                    }
                }
                Some(id) => self.poll_task(id),
                None => self.pass_time(until_ns),
            }
        }
        panic!("no end after {POLLS_MAX} polls: tasks wake each other without getting anywhere");
    }

    /// Takes any one of the tasks that can run.
    fn pick(&self) -> Option<TaskId> {
        let state = &mut *self.world.state();
        let mut woken = lock(&self.world.woken);
        if woken.is_empty() {
            return None;
        }
        let at = state.random.below(woken.len() as u64) as usize;
        state.now_ns += POLL_NS;
        Some(woken.swap_remove(at))
    }

    fn poll_task(&self, id: TaskId) {
        let Some((task, waker)) =
            self.world.state().tasks.get_mut(&id).map(|(task, waker)| (task.take(), waker.clone()))
        else {
            return;
        };
        let Some(mut task) = task else { return };
        waker.queued.store(false, Ordering::Relaxed);
        let done = task.as_mut().poll(&mut Context::from_waker(&Waker::from(waker))).is_ready();
        let finished = {
            let mut state = self.world.state();
            if done {
                state.tasks.remove(&id);
                Some(task)
            } else {
                state.tasks.get_mut(&id).and_then(|slot| slot.0.replace(task))
            }
        };
        drop(finished);
    }

    fn fire_timers(&self) {
        loop {
            let waker = {
                let state = &mut *self.world.state();
                let due = state.timers.peek().is_some_and(|Reverse(timer)| timer.at_ns <= state.now_ns);
                let Some(Reverse(timer)) = due.then(|| state.timers.pop()).flatten() else { return };
                match timer.event {
                    Event::Wake(waker) => Some(waker),
                    Event::Complete(id) => state.complete(id),
                }
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Nothing can run: jumps to the next timer.
    fn pass_time(&self, until_ns: u64) {
        let mut state = self.world.state();
        let tasks = state.tasks.len();
        let Some(Reverse(next)) = state.timers.peek() else {
            drop(state);
            panic!(
                "deadlock: the main future waits, so do {tasks} other tasks, and no timer or operation is left"
            );
        };
        state.now_ns = next.at_ns.max(state.now_ns);
        if state.now_ns > until_ns {
            drop(state);
            panic!(
                "no end after a day of virtual time: the main future waits and only timers tick ({tasks} tasks)"
            );
        }
    }

    /// The power is cut, and comes back. All tasks are gone, wherever they waited. Every unflushed write is kept, lost
    /// or torn on its own; of every directory's unsynced changes a prefix is kept. Faults stay in force.
    pub fn crash(&self) -> SimIo {
        self.end_process("power cut", |state| {
            state.interrupt();
            state.disk.crash(&mut state.random);
        })
    }

    /// The process is killed and can be started again. What was completed is still there (and still not durable);
    /// what was in flight is kept, lost or torn.
    pub fn kill(&self) -> SimIo {
        self.end_process("process killed", |state| {
            state.interrupt();
            state.disk.close_all();
        })
    }

    fn end_process(&self, how: &'static str, change: impl FnOnce(&mut State)) -> SimIo {
        let dropped = {
            let state = &mut *self.world.state();
            assert!(!state.running, "{how}: call it between runs, not from inside a task");
            let now_ns = state.now_ns;
            state.trace.record(now_ns, || how.to_string());
            state.generation += 1;
            change(state);
            state.stopped = false;
            state.steps_left = None;
            state.completed.clear();
            lock(&self.world.woken).clear();
            (std::mem::take(&mut state.tasks), std::mem::take(&mut state.timers))
        };
        // Outside the borrow: destructors of tasks come back to the world.
        drop(dropped);
        self.io()
    }

    /// Orders the power to go when `steps` more operations that can change the disk have been issued, the last of them
    /// still in flight. [`Self::run`] then returns None.
    pub fn crash_after_steps(&self, steps: u64) {
        assert!(steps > 0, "a crash after 0 steps is crash()");
        self.world.state().steps_left = Some(steps);
    }

    /// Replaces the faults in force.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.world.state();
        state.disk.capacity_bytes = faults.capacity_bytes;
        state.plan.faults = faults;
    }

    /// Orders the `nth` operation of this kind from now on (1 is the next) to fail with EIO.
    pub fn fail_nth(&self, operation: Operation, nth: u64) {
        self.world.state().plan.fail_nth(operation, nth);
    }

    /// How many operations were issued so far.
    pub fn counters(&self) -> Counters {
        self.world.state().plan.counters.clone()
    }

    /// Keeps the last `events_max` events and prints them when a test fails; 0 switches that off.
    pub fn keep_trace(&self, events_max: usize) {
        self.world.state().trace.keep(events_max);
    }

    /// What the trace kept, oldest first, one event a line.
    pub fn trace(&self) -> String {
        self.world.state().trace.to_string()
    }

    /// Virtual monotonic time in nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.world.now_ns()
    }

    /// Files open now.
    pub fn open_files(&self) -> u64 {
        self.world.state().disk.handles()
    }

    /// Paths of all files, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.world.state().disk.paths()
    }

    /// A file's whole content as a reader would see it now; None when there is no such file.
    pub fn contents(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut state = self.world.state();
        let image = &state.disk.content_at(path.as_ref()).ok()?.current;
        Some(image.read(0, image.len as usize))
    }

    /// The part of a file's content that flushes have made durable, whether or not its name is.
    pub fn durable_contents(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut state = self.world.state();
        let image = state.disk.content_at(path.as_ref()).ok()?.durable();
        Some(image.read(0, image.len as usize))
    }

    /// Flips one bit of a file at rest, durable and visible. `bit` counts from the file's start, lowest bit of a byte
    /// first. Panics when there is no such file or bit.
    pub fn flip_bit(&self, path: impl AsRef<Path>, bit: u64) {
        let mut state = self.world.state();
        match state.disk.content_at(path.as_ref()) {
            Ok(content) => content.flip_bit(bit),
            Err(error) => panic!("no bit to flip in {}: {error}", path.as_ref().display()),
        }
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Ok(state) = self.world.state.try_borrow() {
                let state: Ref<'_, State> = state;
                eprintln!("simulation seed {} at {} ns\n{}", self.seed, state.now_ns, state.trace);
            }
            // Tasks may be in any state: leak them rather than panic twice.
            return;
        }
        let dropped = {
            let mut state = self.world.state();
            state.generation += 1;
            (std::mem::take(&mut state.tasks), std::mem::take(&mut state.timers))
        };
        drop(dropped);
    }
}
