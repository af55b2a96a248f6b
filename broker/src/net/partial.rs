//! The core's frames that have begun and not ended: which has waited longest, and which waits too long.
//!
//! `frame` registers each one; `server` sweeps them. Deliberately absent: the bytes, which stay with their connection.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::settings::CloseReason;
use crate::shard::budget::{Charge, Pool, TooLarge};

/// All partial frames of a core.
pub(super) struct PartialFrames {
    pool: Pool,
    /// By when the last byte arrived: the first has waited longest.
    by_wait: RefCell<BTreeMap<u64, Rc<Entry>>>,
    clock: Cell<u64>,
    /// Bytes that are waited for.
    wanted: Cell<u64>,
}

struct Entry {
    key: Cell<u64>,
    bytes: Cell<u64>,
    last_byte: Cell<Instant>,
    verdict: Cell<Option<CloseReason>>,
    waker: RefCell<Option<Waker>>,
}

impl PartialFrames {
    pub(super) fn new(pool: Pool) -> Rc<Self> {
        Rc::new(Self { pool, by_wait: RefCell::default(), clock: Cell::new(0), wanted: Cell::new(0) })
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.by_wait.borrow().len()
    }

    /// Ends the connections whose frame has not grown for `timeout`.
    pub(super) fn sweep(&self, now: Instant, timeout: Duration) {
        self.condemn(CloseReason::FrameTimeout, |entry| {
            now.saturating_duration_since(entry.last_byte.get()) >= timeout
        });
    }

    /// Ends the connections that have waited longest until what is wanted will fit.
    fn make_room(&self) {
        let ceiling = self.pool.charge_max();
        let leaving: u64 = self
            .by_wait
            .borrow()
            .values()
            .filter(|entry| entry.verdict.get().is_some())
            .map(|entry| entry.bytes.get())
            .sum();
        let mut needed = (self.pool.used() + self.wanted.get()).saturating_sub(ceiling + leaving);
        self.condemn(CloseReason::Evicted, |entry| {
            let goes = needed > 0;
            if entry.verdict.get().is_none() {
                needed = needed.saturating_sub(entry.bytes.get());
            }
            goes
        });
    }

    /// Passes a verdict on entries, longest waiting first, as long as `goes` says so.
    fn condemn(&self, verdict: CloseReason, mut goes: impl FnMut(&Entry) -> bool) {
        let mut wakers = Vec::new();
        for entry in self.by_wait.borrow().values() {
            if !goes(entry) {
                break;
            }
            if entry.verdict.get().is_none() {
                entry.verdict.set(Some(verdict));
                wakers.extend(entry.waker.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }
}

/// One partial frame's entry; gone when dropped.
pub(super) struct Registration {
    all: Rc<PartialFrames>,
    entry: Rc<Entry>,
}

impl Registration {
    pub(super) fn new(all: &Rc<PartialFrames>) -> Self {
        let key = all.tick();
        let entry = Rc::new(Entry {
            key: Cell::new(key),
            bytes: Cell::new(0),
            last_byte: Cell::new(Instant::now()),
            verdict: Cell::new(None),
            waker: RefCell::new(None),
        });
        all.by_wait.borrow_mut().insert(key, entry.clone());
        Self { all: all.clone(), entry }
    }

    /// More of the frame has arrived.
    pub(super) fn touch(&self) {
        let key = self.all.tick();
        let mut by_wait = self.all.by_wait.borrow_mut();
        by_wait.remove(&self.entry.key.replace(key));
        by_wait.insert(key, self.entry.clone());
        self.entry.last_byte.set(Instant::now());
    }

    /// Why this frame's connection must end, if it must. Otherwise `waker` is woken when that changes.
    pub(super) fn verdict(&self, waker: &Waker) -> Option<CloseReason> {
        let verdict = self.entry.verdict.get();
        if verdict.is_none() {
            let mut registered = self.entry.waker.borrow_mut();
            if !registered.as_ref().is_some_and(|old| old.will_wake(waker)) {
                *registered = Some(waker.clone());
            }
        }
        verdict
    }

    /// Takes `bytes` more for this frame, at the cost of those that have waited longer if need be.
    pub(super) async fn charge(&self, bytes: u64) -> Result<Charge, TooLarge> {
        let charge = match self.all.pool.try_charge(bytes) {
            Some(charge) => charge,
            None => {
                self.touch();
                let _wanted = Wanted::new(&self.all, bytes);
                self.all.make_room();
                self.all.pool.charge(bytes).await?
            }
        };
        self.entry.bytes.set(self.entry.bytes.get() + bytes);
        Ok(charge)
    }

    /// As [`Registration::charge`], but only if it can be had at once.
    pub(super) fn try_charge(&self, bytes: u64) -> Option<Charge> {
        let charge = self.all.pool.try_charge(bytes)?;
        self.entry.bytes.set(self.entry.bytes.get() + bytes);
        Some(charge)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.all.by_wait.borrow_mut().remove(&self.entry.key.get());
    }
}

/// Bytes that somebody waits for, as long as they do.
struct Wanted<'a> {
    all: &'a PartialFrames,
    bytes: u64,
}

impl<'a> Wanted<'a> {
    fn new(all: &'a PartialFrames, bytes: u64) -> Self {
        all.wanted.set(all.wanted.get() + bytes);
        Self { all, bytes }
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.all.wanted.set(self.all.wanted.get() - self.bytes);
    }
}
