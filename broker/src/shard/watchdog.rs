//! Wakes cores that sleep with work to do, and notices cores that are stuck.
//!
//! glommio's executor parks with runnable tasks when its preempt timer fires before the first task queue runs: a stolen CPU is
//! enough. Only an event from another thread gets it going again. So each core runs [`Pulse::beat`], a task that answers when it is
//! asked, and one thread asks. It is a thread of its own and not a task of the control thread, because that one may
//! wait for its disk exactly when a core needs a push. Deliberately absent: any cure for a core that is really stuck.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How the watchdog looks.
#[derive(Debug, Clone, Copy)]
pub struct WatchdogSettings {
    /// Between two looks at a core that does something: the longest that a lost wake-up can last.
    pub interval: Duration,
    /// Between two looks while every core is quiet, so that an idle broker stays idle. A lost wake-up on a core that
    /// did almost nothing can last this long.
    pub quiet_interval: Duration,
    /// A core that has not answered for this long counts as stalled.
    pub stall: Duration,
}

impl Default for WatchdogSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(5),
            quiet_interval: Duration::from_millis(50),
            stall: Duration::from_millis(200),
        }
    }
}

/// A core that used less CPU than this between two looks did little more than answer.
const QUIET_CPU_NS: u64 = 200_000;

/// Quiet looks in a row before the watchdog looks less often.
const QUIET_LOOKS: u32 = 20;

/// What the watchdog has seen of one core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// Times it was asked.
    pub asked: u64,
    /// Times it had not answered by the next look and was woken again.
    pub woken_again: u64,
    /// Times it did not answer for the stall time.
    pub stalls: u64,
    /// The longest it took to answer, in milliseconds (to the precision of the looks).
    pub longest_ms: u64,
}

/// A core's side of the watchdog. Made by `boot`, given to its core and to the watchdog.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<PulseState>);

#[derive(Debug, Default)]
struct PulseState {
    asked: AtomicU64,
    answered: AtomicU64,
    /// The beating task. Set by its first poll.
    waker: Mutex<Option<Waker>>,
    /// Clock of the core's CPU time plus one, so that 0 means none yet.
    cpu_clock: AtomicU64,
    woken_again: AtomicU64,
    stalls: AtomicU64,
    longest_ms: AtomicU64,
}

impl Pulse {
    /// Answers the watchdog, for ever. Run as a task of the core; dropped, the core is watched no more.
    pub async fn beat(self) {
        let clock = own_cpu_clock();
        self.0.cpu_clock.store(clock.map_or(0, |clock| clock + 1), Ordering::Relaxed);
        let _leave = Leave(&self.0);
        poll_fn(|cx| {
            let mut waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if !waker.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            drop(waker);
            self.0.answered.store(self.0.asked.load(Ordering::Acquire), Ordering::Release);
            Poll::Pending
        })
        .await
    }

    /// What the watchdog has seen of this core.
    pub fn watched(&self) -> Watched {
        Watched {
            asked: self.0.asked.load(Ordering::Relaxed),
            woken_again: self.0.woken_again.load(Ordering::Relaxed),
            stalls: self.0.stalls.load(Ordering::Relaxed),
            longest_ms: self.0.longest_ms.load(Ordering::Relaxed),
        }
    }

    fn is_answered(&self) -> bool {
        self.0.answered.load(Ordering::Acquire) >= self.0.asked.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_watched(&self) -> bool {
        self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// CPU time of the core's thread so far, in nanoseconds.
    fn cpu_ns(&self) -> u64 {
        self.0.cpu_clock.load(Ordering::Relaxed).checked_sub(1).and_then(read_clock).unwrap_or(0)
    }
}

/// Forgets the waker when the beating task ends: nobody is there to be woken.
struct Leave<'a>(&'a PulseState);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(waker);
    }
}

/// The thread that asks. Stops when dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts watching these cores.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(pulses: Vec<Pulse>, settings: WatchdogSettings) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            let mut cores: Vec<_> = pulses.into_iter().map(Look::new).collect();
            while !stopped.load(Ordering::Relaxed) {
                let mut quiet = true;
                for core in &mut cores {
                    quiet &= core.look(Instant::now(), &settings);
                }
                std::thread::park_timeout(if quiet { settings.quiet_interval } else { settings.interval });
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic, and if it did there would be nothing left to do.
            let _ = thread.join();
        }
    }
}

/// The watchdog's memory of one core.
struct Look {
    pulse: Pulse,
    begun: bool,
    asked_at: Instant,
    stalled: bool,
    cpu_ns: u64,
    quiet_looks: u32,
}

impl Look {
    fn new(pulse: Pulse) -> Self {
        Self { pulse, begun: false, asked_at: Instant::now(), stalled: false, cpu_ns: 0, quiet_looks: 0 }
    }

    /// Asks the core, or wakes it again if it has not answered. Returns whether it has been quiet for a while.
    fn look(&mut self, now: Instant, settings: &WatchdogSettings) -> bool {
        let state = &self.pulse.0;
        if !self.pulse.is_watched() {
            // Quiet when it has ended, but not before it has begun.
            return self.begun;
        }
        self.begun = true;
        let waited = now.saturating_duration_since(self.asked_at);
        state.longest_ms.fetch_max(self.unanswered_ms(waited), Ordering::Relaxed);
        if !self.pulse.is_answered() {
            self.quiet_looks = 0;
            state.woken_again.fetch_add(1, Ordering::Relaxed);
            if waited >= settings.stall && !self.stalled {
                self.stalled = true;
                state.stalls.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    "a core has not answered for {} ms: a task holds it, or its CPU is taken away",
                    waited.as_millis()
                );
            }
            self.pulse.wake();
            return false;
        }
        self.stalled = false;
        let cpu_ns = self.pulse.cpu_ns();
        let used = cpu_ns.saturating_sub(std::mem::replace(&mut self.cpu_ns, cpu_ns));
        self.quiet_looks = if used < QUIET_CPU_NS { self.quiet_looks.saturating_add(1) } else { 0 };
        self.asked_at = now;
        state.asked.fetch_add(1, Ordering::Release);
        self.pulse.wake();
        self.quiet_looks >= QUIET_LOOKS
    }

    fn unanswered_ms(&self, waited: Duration) -> u64 {
        if self.pulse.is_answered() { 0 } else { waited.as_millis() as u64 }
    }
}

/// The clock that counts the calling thread's CPU time.
fn own_cpu_clock() -> Option<u64> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the calling thread is alive, and `clock` is there to be written.
    #[allow(unsafe_code)]
    let failed = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
    // Thread clocks are negative numbers; as u32 they survive the way through an atomic.
    (failed == 0).then_some(u64::from(clock as u32))
}

fn read_clock(clock: u64) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is there to be written. A clock whose thread has ended is an error, not a fault.
    #[allow(unsafe_code)]
    let failed = unsafe { libc::clock_gettime(clock as u32 as libc::clockid_t, &mut time) };
    (failed == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
