//! Starts the data cores: one pinned glommio executor each, and the end of the process should one of them break.
//!
//! `boot` calls [`start`] once and waits on [`Cores::join`]. Deliberately absent: what runs on a core.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};

use super::Core;

/// glommio can fall asleep with work to do when its preempt timer fires before the first queue runs; below this it does
/// so noticeably often. See `watchdog`.
pub const PREEMPT_TIMER_MIN: Duration = Duration::from_millis(10);

/// Submission queue entries per ring. Sockets polled in one loop turn beyond it are submitted in several rounds.
const RING_ENTRIES: usize = 512;

/// Threads of each core for what has no asynchronous form. Freeing blocks on a disk that discards them takes milliseconds, and
/// one such call must not hold the others.
pub const BLOCKING_THREADS: usize = 8;

/// How the cores run.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// How many cores (`corelog.cores`).
    pub cores: u16,
    /// CPUs to pin them to, in turn; more cores than CPUs share them.
    pub cpus: Vec<usize>,
    /// How long tasks run before the core looks for new events. At least [`PREEMPT_TIMER_MIN`] outside tests.
    pub preempt_timer: Duration,
    /// Spin this long before sleeping: lower latency for an always busy CPU. Off by default.
    pub spin_before_park: Option<Duration>,
}

impl CoreSettings {
    /// `cores` cores on these CPUs, with the defaults for the rest.
    pub fn new(cores: u16, cpus: Vec<usize>) -> Self {
        Self { cores, cpus, preempt_timer: PREEMPT_TIMER_MIN, spin_before_park: None }
    }
}

/// The runtime refused to start a core.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {core} on CPU {cpu}: {reason}")]
pub struct StartError {
    core: Core,
    cpu: usize,
    reason: String,
}

/// The running cores.
#[derive(Debug)]
pub struct Cores {
    handles: Vec<ExecutorJoinHandle<()>>,
}

impl Cores {
    /// Waits until every core's future has ended.
    pub fn join(self) {
        for handle in self.handles {
            if let Err(error) = handle.join() {
                // A panic never gets here (see `start`): the executor itself could not be made.
                die(&format!("a core could not run: {error}"));
            }
        }
    }
}

/// Starts the cores. Each takes one element of `seeds` (what the core is given: its mailbox port, its listening sockets)
/// and runs `run(core, seed)` to its end. A panic that reaches the executor ends the process.
///
/// # Errors
/// [`StartError`] when a thread or its pinning is refused. Cores already started are not waited for: the process
/// is expected to exit.
pub fn start<T, F, Fut>(settings: &CoreSettings, seeds: Vec<T>, run: F) -> Result<Cores, StartError>
where
    T: Send + 'static,
    F: Fn(Core, T) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    assert_eq!(seeds.len(), usize::from(settings.cores), "one seed per core");
    let mut handles = Vec::with_capacity(seeds.len());
    for (number, seed) in seeds.into_iter().enumerate() {
        let core = Core(number as u16);
        let cpu = settings.cpus.get(number % settings.cpus.len().max(1)).copied().unwrap_or(0);
        let mut builder = LocalExecutorBuilder::new(Placement::Fixed(cpu))
            .name(&core.to_string())
            .preempt_timer(settings.preempt_timer)
            .ring_depth(RING_ENTRIES)
            // Registered buffers count against MEMLOCK and storage brings its own: the least there is.
            .io_memory(0)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS));
        if let Some(spin) = settings.spin_before_park {
            builder = builder.spin_before_park(spin);
        }
        let run = run.clone();
        let handle = builder
            .spawn(move || async move {
                let started = catch_unwind(AssertUnwindSafe(|| run(core, seed)));
                let Ok(future) = started else { die(&format!("{core} panicked at its start")) };
                let running = Running { core, ended: false };
                if futures_lite::FutureExt::catch_unwind(AssertUnwindSafe(future)).await.is_err() {
                    die(&format!("{core} panicked"));
                }
                running.end();
            })
            .map_err(|error| StartError { core, cpu, reason: error.to_string() })?;
        handles.push(handle);
    }
    Ok(Cores { handles })
}

/// Held by a core's future while it runs. A panic in any other task of the core unwinds the executor, which drops that future before its
/// end: a core that is gone must not leave the others alive and wrong.
struct Running {
    core: Core,
    ended: bool,
}

impl Running {
    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            die(&format!("a task of {} panicked", self.core));
        }
    }
}

/// Makes every panic one log line with its thread and place, before the process ends or the connection is closed.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        let what = panic_message(panic.payload());
        tracing::error!(thread = thread.name().unwrap_or("?"), place, "panic: {what}");
    }));
}

/// The text a panic carries.
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

/// A core without its state is worse than none: clients go to a process that restarts and recovers.
fn die(line: &str) -> ! {
    tracing::error!("{line}; the process ends so that it can recover from its journals");
    std::process::abort();
}
