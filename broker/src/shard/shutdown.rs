//! One word to everybody that the process is to stop, from any thread to any thread.
//!
//! `boot` makes it and calls [`Shutdown::request`] for each SIGTERM or SIGINT; cores and the control thread wait for it.
//! Deliberately absent: signal handling, and what stopping means.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// What a request to stop asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The first one: finish what was begun, then stop.
    Drain,
    /// A repeated one: end the process at once.
    Now,
}

/// The broadcast. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(Arc<State>);

#[derive(Debug, Default)]
struct State {
    requested: AtomicBool,
    /// One per waiting task: each core and thread has a few.
    wakers: Mutex<Vec<Waker>>,
}

impl Shutdown {
    /// Asks everybody to stop. Says whether this was the first time.
    pub fn request(&self) -> Stop {
        if self.0.requested.swap(true, Ordering::SeqCst) {
            return Stop::Now;
        }
        let wakers = std::mem::take(&mut *self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
        Stop::Drain
    }

    /// Whether somebody has asked.
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Resolves when somebody asks.
    pub async fn requested(&self) {
        poll_fn(|cx| {
            if self.is_requested() {
                return Poll::Ready(());
            }
            let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            drop(wakers);
            // Asked between the look and the entry: whoever asked may have taken the list before.
            if self.is_requested() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn everybody_hears_the_first_and_the_second_is_final() {
        let shutdown = Shutdown::default();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let shutdown = shutdown.clone();
                std::thread::spawn(move || block_on(shutdown.requested()))
            })
            .collect();
        assert!(!shutdown.is_requested());
        assert_eq!(shutdown.request(), Stop::Drain);
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(shutdown.request(), Stop::Now);
        block_on(shutdown.requested());
    }
}
