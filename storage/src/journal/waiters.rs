//! Tasks that wait until a number has grown far enough, each woken once.
//!
//! Used by the journal for durability, room and pressure. One entry per waiting task, removed when its future is
//! dropped, so the bound is the number of tasks. Deliberately absent: values; a woken task looks for itself.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Wakers by the number they wait for.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    wakers: RefCell<BTreeMap<(u64, u64), Waker>>,
    next_id: Cell<u64>,
}

impl Waiters {
    /// Resolves with what `ready` returns once it is `Some`. It is asked at once, and again after a wake whose number
    /// is at least `threshold`.
    pub(crate) fn until<T, F: FnMut() -> Option<T>>(&self, threshold: u64, ready: F) -> Until<'_, F> {
        Until { waiters: self, threshold, id: None, ready }
    }

    /// Wakes everybody who waits for at most `reached`.
    pub(crate) fn wake(&self, reached: u64) {
        let woken = {
            let mut wakers = self.wakers.borrow_mut();
            if wakers.is_empty() {
                return;
            }
            match reached.checked_add(1) {
                Some(beyond) => {
                    let rest = wakers.split_off(&(beyond, 0));
                    std::mem::replace(&mut *wakers, rest)
                }
                None => std::mem::take(&mut *wakers),
            }
        };
        // Outside the borrow: a waker may poll, register or drop futures of this very set.
        woken.into_values().for_each(Waker::wake);
    }

    /// Wakes everybody.
    pub(crate) fn wake_all(&self) {
        self.wake(u64::MAX);
    }
}

/// Future of [`Waiters::until`].
pub(crate) struct Until<'a, F> {
    waiters: &'a Waiters,
    threshold: u64,
    id: Option<u64>,
    ready: F,
}

impl<F> Unpin for Until<'_, F> {}

impl<T, F: FnMut() -> Option<T>> Future for Until<'_, F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(value) = (self.ready)() {
            return Poll::Ready(value);
        }
        let id = match self.id {
            Some(id) => id,
            None => {
                let id = self.waiters.next_id.get();
                self.waiters.next_id.set(id.wrapping_add(1));
                self.id = Some(id);
                id
            }
        };
        self.waiters.wakers.borrow_mut().insert((self.threshold, id), cx.waker().clone());
        Poll::Pending
    }
}

impl<F> Drop for Until<'_, F> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.waiters.wakers.borrow_mut().remove(&(self.threshold, id));
        }
    }
}

#[cfg(test)]
mod tests;
