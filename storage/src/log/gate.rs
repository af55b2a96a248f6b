//! Turns and signals between tasks of one core: a FIFO gate with a number of permits, and a latch that wakes its waiter.
//!
//! Used by logs (one append, one write-back at a time), by cold reads (a bounded number per core) and by the write-back
//! tasks. Single-threaded on purpose: nothing here crosses a core.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Lets `permits` tasks through at a time, in the order they asked.
#[derive(Debug)]
pub(crate) struct Gate {
    free: Cell<usize>,
    /// Waiting tasks by ticket; a ticket that got its permit has no waker any more.
    queue: RefCell<VecDeque<(u64, Waker)>>,
    granted: RefCell<Vec<u64>>,
    next_ticket: Cell<u64>,
}

impl Gate {
    pub(crate) fn new(permits: usize) -> Rc<Self> {
        Rc::new(Self {
            free: Cell::new(permits),
            queue: RefCell::default(),
            granted: RefCell::default(),
            next_ticket: Cell::new(0),
        })
    }

    /// A permit at once, or none. Never overtakes a waiting task.
    pub(crate) fn try_pass(self: &Rc<Self>) -> Option<Pass> {
        if self.free.get() == 0 {
            return None;
        }
        self.free.set(self.free.get() - 1);
        Some(Pass { gate: self.clone() })
    }

    /// Waits for a permit. Dropping the future gives up the place in the queue.
    pub(crate) async fn pass(self: &Rc<Self>) -> Pass {
        if let Some(pass) = self.try_pass() {
            return pass;
        }
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        let mut place = Place { gate: self, ticket, done: false };
        poll_fn(|context| {
            let mut granted = self.granted.borrow_mut();
            if let Some(index) = granted.iter().position(|&granted| granted == ticket) {
                granted.swap_remove(index);
                return Poll::Ready(());
            }
            drop(granted);
            let mut queue = self.queue.borrow_mut();
            match queue.iter_mut().find(|(queued, _)| *queued == ticket) {
                Some((_, waker)) => waker.clone_from(context.waker()),
                None => queue.push_back((ticket, context.waker().clone())),
            }
            Poll::Pending
        })
        .await;
        place.done = true;
        Pass { gate: self.clone() }
    }

    /// Hands a returned permit to the longest waiting task, or keeps it.
    fn give(&self) {
        let next = self.queue.borrow_mut().pop_front();
        match next {
            Some((ticket, waker)) => {
                self.granted.borrow_mut().push(ticket);
                waker.wake();
            }
            None => self.free.set(self.free.get() + 1),
        }
    }
}

/// A place in a gate's queue, given up when the waiting future is dropped.
struct Place<'a> {
    gate: &'a Gate,
    ticket: u64,
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
            self.gate.give();
        } else {
            drop(granted);
            self.gate.queue.borrow_mut().retain(|(queued, _)| *queued != self.ticket);
        }
    }
}

/// A permit; dropping it lets the next task through.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Rc<Gate>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.give();
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
