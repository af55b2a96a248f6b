//! The limit over all tail caches of a core: what is clean is evicted in the order it was appended.
//!
//! Logs tell it what they charged; it evicts from the logs when the sum passes the limit. What no checkpoint covers is never
//! evicted: then it answers so, and write-back is called for. No clock, no disk.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Weak;

use super::Log;
use super::tail::Evictable;
use crate::io::Io;

/// The core's tail caches, first in, first out.
pub(crate) struct CacheBudget<I: Io> {
    limit_bytes: usize,
    charged_bytes: Cell<usize>,
    /// Evictable units in the order they were appended; one entry per pinned batch or closed chunk.
    queue: RefCell<VecDeque<(Weak<Log<I>>, Evictable)>>,
    /// Length of the queue at which the units of logs that are gone are swept out of it.
    sweep_at: Cell<usize>,
}

/// The queue is not swept below this many units.
const SWEEP_MIN: usize = 1024;

impl<I: Io> CacheBudget<I> {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            charged_bytes: Cell::new(0),
            queue: RefCell::default(),
            sweep_at: Cell::new(SWEEP_MIN),
        }
    }

    /// Bytes that all tail caches of the core hold.
    pub(crate) fn charged_bytes(&self) -> usize {
        self.charged_bytes.get()
    }

    /// Notes a change of one log's charge.
    pub(crate) fn charge(&self, before: usize, after: usize) {
        self.charged_bytes.set(self.charged_bytes.get() + after - before);
    }

    /// Puts a unit at the end of the queue.
    pub(crate) fn enqueue(&self, log: &Weak<Log<I>>, unit: Evictable) {
        let mut queue = self.queue.borrow_mut();
        queue.push_back((log.clone(), unit));
        // Logs that come and go below the limit would fill it for ever.
        if queue.len() >= self.sweep_at.get() {
            queue.retain(|(log, _)| log.strong_count() > 0);
            self.sweep_at.set(SWEEP_MIN.max(queue.len() * 2));
        }
    }

    /// Evicts until the limit is met. Returns false when the oldest unit must first be written back.
    pub(crate) fn settle(&self) -> bool {
        while self.charged_bytes.get() > self.limit_bytes {
            let front = self.queue.borrow().front().map(|(log, unit)| (log.upgrade(), *unit));
            let Some((log, unit)) = front else {
                // What is left lies in open chunks, which are closed when their log is written back.
                return false;
            };
            if let Some(log) = log
                && !log.evict(unit)
            {
                return false;
            }
            self.queue.borrow_mut().pop_front();
        }
        true
    }
}
