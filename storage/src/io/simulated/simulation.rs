//! The simulated machine as tests hold it: runs tasks in the seed's order, lets time jump, cuts the power.
//!
//! Tests make a [`Simulation`] and hand its [`SimIo`] to what they test. Deliberately absent: the state it drives
//! (`executor`), what an operation does to the disk, and how futures look to callers (`handles`).

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::crash_point::CrashPoint;
use super::disk::Disk;
use super::executor::{Event, MAIN, State, TaskId, TaskWaker, Timer, Woken, World, lock};
use super::faults::{Counters, FaultPlan, Faults, Operation};
use super::handles::SimIo;
use super::random::Random;
use super::survivors::Settling;
use super::trace::Trace;

/// Polls that one [`Simulation::run`] may take: beyond it, tasks spin without getting anywhere.
const POLLS_MAX: u64 = 50_000_000;

/// Virtual time that one [`Simulation::run`] may take: beyond it, only idle timers are left ticking.
const RUN_NS_MAX: u64 = 24 * 3600 * 1_000_000_000;

/// What one poll costs in virtual time, so that a task that watches the clock sees it move.
const POLL_NS: u64 = 200;

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
        Self::with_disk(seed, Disk::new())
    }

    /// Another machine with a copy of this one's disk, without faults. What is changed there is not changed here.
    ///
    /// # Panics
    /// When files are open: end the process first, with [`Self::kill`] or [`Self::crash`].
    pub fn copy(&self) -> Self {
        let disk = self.world.state().disk.clone();
        assert_eq!(disk.handles(), 0, "a disk is copied at rest, and files are open");
        Self::with_disk(self.seed, disk)
    }

    /// A machine that was left by a power cut at `now_ns`.
    pub(super) fn after_crash(seed: u64, disk: Disk, now_ns: u64) -> Self {
        let simulation = Self::with_disk(seed, disk);
        simulation.world.state().now_ns = now_ns;
        simulation
    }

    fn with_disk(seed: u64, disk: Disk) -> Self {
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
            disk,
            plan: FaultPlan::default(),
            steps_left: None,
            stopped: false,
            running: false,
            trace: Trace::default(),
            flush_watcher: None,
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
            let flush = self.flush_due();
            if flush {
                self.tell_of_flush();
            }
            let waker = {
                let state = &mut *self.world.state();
                let due = state.timers.peek().is_some_and(|Reverse(timer)| timer.at_ns <= state.now_ns);
                let Some(Reverse(timer)) = due.then(|| state.timers.pop()).flatten() else { return };
                match timer.event {
                    Event::Wake(waker) => Some(waker),
                    Event::Complete(id) => state.complete(id),
                }
            };
            if flush {
                self.tell_of_flush();
            }
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Whether the next event that is due is the end of a flush that somebody wants to hear of.
    fn flush_due(&self) -> bool {
        let state = self.world.state();
        state.flush_watcher.is_some()
            && matches!(
                state.timers.peek(),
                Some(Reverse(Timer { at_ns, event: Event::Complete(id), .. }))
                    if *at_ns <= state.now_ns && state.is_flush(*id)
            )
    }

    fn tell_of_flush(&self) {
        let told = {
            let mut state = self.world.state();
            state.flush_watcher.take().map(|watcher| (watcher, state.crash_point()))
        };
        if let Some((mut watcher, crash_point)) = told {
            watcher(crash_point);
            self.world.state().flush_watcher = Some(watcher);
        }
    }

    /// Tells `watcher` of every flush, twice: before it takes effect and after, each time with what a power cut would find. None, the
    /// default, tells nobody. It stays through crashes, and is called while no task runs.
    pub fn watch_flushes(&self, watcher: Option<Box<dyn FnMut(CrashPoint)>>) {
        self.world.state().flush_watcher = watcher;
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
            state.disk.crash(&mut Settling::drawn(&mut state.random));
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
