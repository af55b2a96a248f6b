//! A reply that is owed: the two ends of a promise on one core.
//!
//! Whoever waits may go away, and the reply with it; whoever owes may end, and the wait ends with nothing. Deliberately absent:
//! other cores; the mailbox carries the reply there.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use corelog_logic::group::Reply;

#[derive(Default)]
struct Slot {
    reply: Option<Reply>,
    waker: Option<Waker>,
}

/// The end that owes. Dropped without a reply, it ends the wait.
pub(super) struct Owed(Weak<RefCell<Slot>>);

/// The end that waits: resolves to the reply, or to None when nobody owes it any more.
pub(super) struct Awaited(Rc<RefCell<Slot>>);

/// A fresh promise.
pub(super) fn owed() -> (Owed, Awaited) {
    let slot = Rc::default();
    (Owed(Rc::downgrade(&slot)), Awaited(slot))
}

impl Owed {
    /// Gives the reply to whoever still waits.
    pub(super) fn give(self, reply: Reply) {
        if let Some(slot) = self.0.upgrade() {
            slot.borrow_mut().reply = Some(reply);
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let waker = self.0.upgrade().and_then(|slot| slot.borrow_mut().waker.take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Awaited {
    type Output = Option<Reply>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.borrow_mut();
        if let Some(reply) = slot.reply.take() {
            return Poll::Ready(Some(reply));
        }
        if Rc::weak_count(&self.0) == 0 {
            return Poll::Ready(None);
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_reply_reaches_who_waits_and_harms_nobody_when_nobody_does() {
        let (owed_here, mut awaited) = owed();
        assert!((&mut awaited).now_or_never().is_none());
        owed_here.give(Reply::Heartbeat(Ok(())));
        assert_eq!(awaited.now_or_never(), Some(Some(Reply::Heartbeat(Ok(())))));

        let (owed_here, awaited) = owed();
        drop(awaited);
        owed_here.give(Reply::Heartbeat(Ok(())));

        let (owed_here, mut awaited) = owed();
        assert!((&mut awaited).now_or_never().is_none());
        drop(owed_here);
        assert_eq!(awaited.now_or_never(), Some(None));
    }
}
