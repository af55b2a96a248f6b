//! Turns and signals between tasks of one core: a FIFO gate with a number of permits, and a latch that wakes its waiter.
//!
//! Used by logs (one append, one write-back at a time), by cold reads (a permit for each MiB) and by the write-back
//! tasks. Single-threaded on purpose: nothing here crosses a core.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Lets tasks through that hold `permits` together, in the order they asked: most of them one, so that many at a time.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: usize,
    free: Cell<usize>,
    /// Waiting tasks; one that got its permits is in `granted` and no longer here.
    queue: RefCell<VecDeque<Waiting>>,
    granted: RefCell<Vec<u64>>,
    next_ticket: Cell<u64>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    permits: usize,
    waker: Waker,
}

impl Gate {
    pub(crate) fn new(permits: usize) -> Rc<Self> {
        Rc::new(Self {
            permits,
            free: Cell::new(permits),
            queue: RefCell::default(),
            granted: RefCell::default(),
            next_ticket: Cell::new(0),
        })
    }

    /// A permit at once, or none. Never overtakes a waiting task.
    pub(crate) fn try_pass(self: &Rc<Self>) -> Option<Pass> {
        self.try_passes(1)
    }

    fn try_passes(self: &Rc<Self>, permits: usize) -> Option<Pass> {
        if self.free.get() < permits || !self.queue.borrow().is_empty() {
            return None;
        }
        self.free.set(self.free.get() - permits);
        Some(Pass { gate: self.clone(), permits })
    }

    /// Waits for a permit. Dropping the future gives up the place in the queue.
    pub(crate) async fn pass(self: &Rc<Self>) -> Pass {
        self.passes(1).await
    }

    /// Waits for several permits at once, at most all there are.
    pub(crate) async fn passes(self: &Rc<Self>, permits: usize) -> Pass {
        let permits = permits.min(self.permits);
        if let Some(pass) = self.try_passes(permits) {
            return pass;
        }
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        let mut place = Place { gate: self, ticket, permits, done: false };
        poll_fn(|context| {
            let mut granted = self.granted.borrow_mut();
            if let Some(index) = granted.iter().position(|&granted| granted == ticket) {
                granted.swap_remove(index);
                return Poll::Ready(());
            }
            drop(granted);
            let mut queue = self.queue.borrow_mut();
            match queue.iter_mut().find(|waiting| waiting.ticket == ticket) {
                Some(waiting) => waiting.waker.clone_from(context.waker()),
                None => queue.push_back(Waiting { ticket, permits, waker: context.waker().clone() }),
            }
            Poll::Pending
        })
        .await;
        place.done = true;
        Pass { gate: self.clone(), permits }
    }

    /// Takes permits back, and hands what is free to the tasks that have waited longest, as far as it goes.
    fn give(&self, permits: usize) {
        self.free.set(self.free.get() + permits);
        loop {
            let next = {
                let mut queue = self.queue.borrow_mut();
                match queue.front() {
                    Some(first) if first.permits <= self.free.get() => queue.pop_front(),
                    _ => None,
                }
            };
            let Some(next) = next else { return };
            self.free.set(self.free.get() - next.permits);
            self.granted.borrow_mut().push(next.ticket);
            next.waker.wake();
        }
    }
}

/// A place in a gate's queue, given up when the waiting future is dropped.
struct Place<'a> {
    gate: &'a Gate,
    ticket: u64,
    permits: usize,
    done: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut granted = self.gate.granted.borrow_mut();
        if let Some(index) = granted.iter().position(|&granted| granted == self.ticket) {
            granted.swap_remove(index);
            drop(granted);
            self.gate.give(self.permits);
        } else {
            drop(granted);
            self.gate.queue.borrow_mut().retain(|waiting| waiting.ticket != self.ticket);
            // The one behind may have all it needs where this one had not.
            self.gate.give(0);
        }
    }
}

/// One permit or several; dropping it lets the next task through.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Rc<Gate>,
    permits: usize,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.give(self.permits);
    }
}

/// A latch with one waiting task: `set` is remembered until `wait` takes it.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    set: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    pub(crate) fn set(&self) {
        self.set.set(true);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Resolves when the signal is set, and takes it.
    pub(crate) async fn wait(&self) {
        poll_fn(|context| {
            if self.set.take() {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
