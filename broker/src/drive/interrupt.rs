//! Ends every wait for new records at once, when the core is to stop: a long poll is answered with what there is.
//!
//! Asked by `watch`, told by boot. Deliberately absent: any other reason to wake; those are the logs' own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Not interrupted, until it is for ever.
#[derive(Debug, Default)]
pub struct Interrupt {
    interrupted: Cell<bool>,
    /// Bounded by the watches of the core; each takes its entry away when it ends.
    waiting: RefCell<HashMap<u64, Waker>>,
    next_id: Cell<u64>,
}

impl Interrupt {
    /// Ends every wait, and those that come later at once.
    pub fn interrupt(&self) {
        self.interrupted.set(true);
        for waker in self.waiting.take().into_values() {
            waker.wake();
        }
    }

    /// Resolves when the core is to stop.
    pub(super) async fn interrupted(&self) {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let _leave = Leave { interrupt: self, id };
        poll_fn(|cx| {
            if self.interrupted.get() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().insert(id, cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

struct Leave<'a> {
    interrupt: &'a Interrupt,
    id: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.interrupt.waiting.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_wait_that_was_given_up_leaves_nothing_behind_and_one_that_was_not_ends() {
        let interrupt = Interrupt::default();
        let mut kept = Box::pin(interrupt.interrupted());
        let mut given_up = Box::pin(interrupt.interrupted());
        assert!((&mut kept).now_or_never().is_none() && (&mut given_up).now_or_never().is_none());
        drop(given_up);
        assert_eq!(interrupt.waiting.borrow().len(), 1);
        interrupt.interrupt();
        assert!(kept.now_or_never().is_some());
        assert!(interrupt.interrupted().now_or_never().is_some(), "later ones end at once");
        assert!(interrupt.waiting.borrow().is_empty());
    }
}
