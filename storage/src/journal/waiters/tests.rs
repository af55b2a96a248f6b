//! Tests of the neighbouring file.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_wake_reaches_those_who_wait_for_no_more_and_each_once() {
    let waiters = Waiters::default();
    let reached = Cell::new(0);
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut cx = Context::from_waker(&waker);
    let wait = |threshold| {
        let reached = &reached;
        waiters.until(threshold, move || (reached.get() >= threshold).then_some(threshold))
    };
    let (mut low, mut high, mut dropped) = (wait(5), wait(9), wait(5));
    for waiting in [&mut low, &mut high, &mut dropped] {
        assert!(Pin::new(&mut *waiting).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut *waiting).poll(&mut cx).is_pending(), "a second poll waits in the same place");
    }
    drop(dropped);
    reached.set(5);
    waiters.wake(4);
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    waiters.wake(5);
    waiters.wake(5);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert_eq!(Pin::new(&mut low).poll(&mut cx), Poll::Ready(5));
    assert!(Pin::new(&mut high).poll(&mut cx).is_pending());
    waiters.wake_all();
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    drop((low, high));
    assert!(waiters.wakers.borrow().is_empty());
}
