//! The event loop under every measurement: one thread, epoll, a timer, three phases (warm-up, measured, drain).
//!
//! `produce` and `fetch` hand in their connections as a [`Load`]. Deliberately absent: what is sent and what a
//! reply means; threads (the machine's cores belong to the broker).

mod clock;
mod latency;
mod outcome;
mod schedule;
mod tally;
#[cfg(test)]
mod tests;
mod warmup;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use outcome::Reading;

pub(crate) use clock::Clock;
pub(crate) use latency::{Latencies, LatencySummary};
pub(crate) use outcome::Outcome;
pub(crate) use schedule::Schedule;
pub(crate) use tally::{Counts, Tally};
pub(crate) use warmup::{Warmup, WarmupArgs, WarmupOutcome};

/// How long requests may stay unanswered after the measured window before the run is called incomplete.
const DRAIN_NS_MAX: u64 = 20_000_000_000;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 64;

/// The timer's token; connections are numbered from 0.
const TIMER: u64 = u64::MAX;

const SECOND_NS: u64 = 1_000_000_000;

/// Connections that carry one kind of request. All calls come from one thread.
pub(crate) trait Load {
    /// The sockets, non-blocking, in the order of their numbers.
    fn sockets(&self) -> Vec<BorrowedFd<'_>>;

    /// Reads what is there (when `readable`), then sends what may be sent. Returns whether bytes are left that the
    /// socket did not take.
    ///
    /// # Errors
    /// What ends the run: a closed connection, a reply that cannot be read, too many errors.
    fn turn(&mut self, connection: usize, readable: bool, clock: &Clock, tally: &mut Tally) -> Result<bool>;

    /// When a request falls due that was not sent although its connection had room, in the clock's nanoseconds.
    fn due_ns(&self) -> Option<u64>;

    /// From now on nothing new is sent.
    fn stop(&mut self);

    /// Requests sent and not answered.
    fn outstanding(&self) -> usize;

    /// Whether all there was to do is done, whatever the time.
    fn is_exhausted(&self) -> bool {
        false
    }
}

/// How long a run lasts and whom it watches.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) warmup: WarmupArgs,
    pub(crate) duration: Duration,
    pub(crate) broker_pid: Option<u32>,
    /// What one line of progress says in front.
    pub(crate) label: &'static str,
}

/// Where a run is.
enum Phase {
    WarmUp(Warmup),
    Measured { warmup: WarmupOutcome, from: Reading, records_each_s: Vec<u64> },
    Drain { outcome: Box<Outcome>, until_ns: u64 },
}

/// Runs a load through its phases.
///
/// # Errors
/// Whatever ends the load early, and /proc when the broker's process is not there.
pub(crate) fn drive(load: &mut dyn Load, plan: &Plan, clock: &Clock, tally: &mut Tally) -> Result<Outcome> {
    let mut pump = Pump::new(load)?;
    let mut phase = Phase::WarmUp(Warmup::new(plan.warmup));
    if let Some(warmup) = Warmup::new(plan.warmup).not_wanted() {
        let now_ns = clock.now_ns();
        tally.record_latency_from(now_ns);
        phase =
            Phase::Measured { warmup, from: Reading::take(now_ns, tally, plan)?, records_each_s: Vec::new() };
    }
    let mut second_ns = clock.now_ns() + SECOND_NS;
    let mut seen = tally.total();
    pump.turn_all(load, false, clock, tally)?;
    loop {
        pump.wait(load, clock, tally, second_ns)?;
        let now_ns = clock.now_ns();
        if let Phase::Drain { outcome, until_ns } = &mut phase
            && (load.outstanding() == 0 || now_ns >= *until_ns)
        {
            outcome.unanswered = load.outstanding();
            outcome.latency = tally.latency();
            outcome.errors = tally.errors();
            ensure!(
                outcome.window.records > 0,
                "not one record was answered within the measured window (failed requests by error code: {:?})",
                outcome.errors
            );
            return Ok((**outcome).clone());
        }
        if now_ns < second_ns && !load.is_exhausted() {
            continue;
        }
        let counts = tally.total();
        let in_second = counts - seen;
        seen = counts;
        phase = match phase {
            Phase::WarmUp(mut warmup) => {
                progress(plan.label, "warm-up", in_second, tally);
                match warmup.second(in_second.records) {
                    None if !load.is_exhausted() => Phase::WarmUp(warmup),
                    done => {
                        tally.record_latency_from(now_ns);
                        let from = Reading::take(now_ns, tally, plan)?;
                        let warmup = done.unwrap_or_else(|| warmup.so_far());
                        Phase::Measured { warmup, from, records_each_s: Vec::new() }
                    }
                }
            }
            Phase::Measured { warmup, from, mut records_each_s } => {
                progress(plan.label, "measured", in_second, tally);
                records_each_s.push(in_second.records);
                let end_ns = from.at_ns + u64::try_from(plan.duration.as_nanos()).unwrap_or(u64::MAX);
                if now_ns >= end_ns || load.is_exhausted() {
                    let to = Reading::take(now_ns, tally, plan)?;
                    load.stop();
                    let outcome = Outcome::between(plan, warmup, &from, &to, records_each_s, tally)?;
                    Phase::Drain { outcome: Box::new(outcome), until_ns: now_ns + DRAIN_NS_MAX }
                } else {
                    Phase::Measured { warmup, from, records_each_s }
                }
            }
            drain @ Phase::Drain { .. } => drain,
        };
        second_ns = next_tick(&phase, plan, now_ns, second_ns);
    }
}

/// The next whole second, the end of the window when that is sooner, and every 10 ms while draining.
fn next_tick(phase: &Phase, plan: &Plan, now_ns: u64, last_ns: u64) -> u64 {
    // A loop that was held up does not make up for the seconds it missed.
    let next_ns = (last_ns + SECOND_NS).max(now_ns + 1);
    match phase {
        Phase::WarmUp(_) => next_ns,
        Phase::Measured { from, .. } => {
            let end_ns = from.at_ns + u64::try_from(plan.duration.as_nanos()).unwrap_or(u64::MAX);
            // The last second may be a little longer, rather than be followed by a sliver.
            if end_ns < next_ns + SECOND_NS / 10 { end_ns } else { next_ns }
        }
        Phase::Drain { .. } => now_ns + 10_000_000,
    }
}

fn progress(label: &str, phase: &str, counts: Counts, tally: &mut Tally) {
    let second = tally.take_second();
    let errors: u64 = tally.errors().iter().map(|(_, count)| count).sum();
    eprintln!(
        "{label} {phase:<8} {:>11} records/s {:>8.1} MB/s  p50 {:>9.1} us  p99 {:>9.1} us  errors {errors}",
        counts.records,
        counts.bytes as f64 / 1e6,
        second.p50_us,
        second.p99_us
    );
}

/// epoll over the sockets and a timer; knows which sockets wait for room to write.
struct Pump {
    epoll: Epoll,
    timer: TimerFd,
    armed_ns: Option<u64>,
    waiting_to_write: Vec<bool>,
}

impl Pump {
    fn new(load: &dyn Load) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create")?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)
                .context("timerfd_create")?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let sockets = load.sockets();
        for (number, socket) in sockets.iter().enumerate() {
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        }
        let waiting_to_write = vec![false; sockets.len()];
        Ok(Self { epoll, timer, armed_ns: None, waiting_to_write })
    }

    /// Waits for a socket, for what falls due, or for `until_ns`, and gives every connection concerned its turn.
    fn wait(&mut self, load: &mut dyn Load, clock: &Clock, tally: &mut Tally, until_ns: u64) -> Result<()> {
        let wake_ns = load.due_ns().map_or(until_ns, |due_ns| due_ns.min(until_ns));
        let timeout_ms = if wake_ns <= clock.now_ns() { 0 } else { self.arm(wake_ns, clock)? };
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let count = match self.epoll.wait(&mut events, timeout_ms) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(errno) => return Err(errno).context("epoll_wait"),
        };
        for event in &events[..count] {
            if event.data() == TIMER {
                self.armed_ns = None;
                // Takes the expiration away; that there is none any more is as good.
                let _ = self.timer.wait();
            } else {
                let readable = event.events() != EpollFlags::EPOLLOUT;
                self.turn(load, event.data() as usize, readable, clock, tally)?;
            }
        }
        if load.due_ns().is_some_and(|due_ns| due_ns <= clock.now_ns()) {
            self.turn_all(load, false, clock, tally)?;
        }
        Ok(())
    }

    /// Sets the timer unless it is set for that moment already. Returns the timeout that epoll needs beside it: none.
    fn arm(&mut self, wake_ns: u64, clock: &Clock) -> Result<isize> {
        if self.armed_ns != Some(wake_ns) {
            let wait = Duration::from_nanos(wake_ns.saturating_sub(clock.now_ns()).max(1));
            self.timer
                .set(Expiration::OneShot(wait.into()), TimerSetTimeFlags::empty())
                .context("timerfd_settime")?;
            self.armed_ns = Some(wake_ns);
        }
        Ok(-1)
    }

    fn turn_all(
        &mut self,
        load: &mut dyn Load,
        readable: bool,
        clock: &Clock,
        tally: &mut Tally,
    ) -> Result<()> {
        for connection in 0..self.waiting_to_write.len() {
            self.turn(load, connection, readable, clock, tally)?;
        }
        Ok(())
    }

    fn turn(
        &mut self,
        load: &mut dyn Load,
        connection: usize,
        readable: bool,
        clock: &Clock,
        tally: &mut Tally,
    ) -> Result<()> {
        let waits = load.turn(connection, readable, clock, tally)?;
        if waits != self.waiting_to_write[connection] {
            self.waiting_to_write[connection] = waits;
            let mut flags = EpollFlags::EPOLLIN;
            flags.set(EpollFlags::EPOLLOUT, waits);
            let sockets = load.sockets();
            self.epoll.modify(sockets[connection], &mut EpollEvent::new(flags, connection as u64))?;
        }
        Ok(())
    }
}
