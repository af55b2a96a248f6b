//! The places where an endpoint waits for replies: a slab of open calls, each with its waker or its reply.
//!
//! Used by `mailbox` only, on one thread. A call that nobody waits for any more keeps its place until its reply arrives,
//! so a place is never given to two calls.

use std::task::{Context, Poll, Waker};

use super::Gone;

enum Call<R> {
    Free,
    /// `sent`: the request is under way, so a reply will come.
    Open {
        waker: Option<Waker>,
        sent: bool,
    },
    Done(Result<R, Gone>),
    Abandoned,
}

/// All calls of one endpoint that have no reply yet, or one that nobody has picked up.
pub(super) struct Calls<R> {
    calls: Vec<Call<R>>,
    free: Vec<u32>,
    open_max: u32,
    /// Who waits for a place.
    waiting: Vec<Waker>,
}

impl<R> Calls<R> {
    pub(super) fn new(open_max: u32) -> Self {
        Self { calls: Vec::new(), free: Vec::new(), open_max, waiting: Vec::new() }
    }

    /// How many calls are open.
    pub(super) fn open(&self) -> usize {
        self.calls.len() - self.free.len()
    }

    /// Takes a place, or remembers who wants one.
    pub(super) fn poll_open(&mut self, cx: &Context<'_>) -> Poll<u32> {
        if let Some(slot) = self.free.pop() {
            self.calls[slot as usize] = Call::Open { waker: None, sent: false };
            return Poll::Ready(slot);
        }
        let slot = self.calls.len() as u32;
        if slot < self.open_max {
            self.calls.push(Call::Open { waker: None, sent: false });
            return Poll::Ready(slot);
        }
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The reply of a call has arrived. Returns what to wake.
    #[must_use]
    pub(super) fn complete(&mut self, slot: u32, reply: Result<R, Gone>) -> Wakes {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            unreachable!("a reply for call {slot}, which was never made");
        };
        match std::mem::replace(call, Call::Free) {
            Call::Open { waker, .. } => {
                *call = Call::Done(reply);
                Wakes { one: waker, all: Vec::new() }
            }
            Call::Abandoned => self.release(slot),
            Call::Free | Call::Done(_) => unreachable!("two replies for call {slot}"),
        }
    }

    pub(super) fn poll_reply(&mut self, slot: u32, cx: &Context<'_>) -> Poll<(Result<R, Gone>, Wakes)> {
        match std::mem::replace(&mut self.calls[slot as usize], Call::Free) {
            Call::Done(reply) => Poll::Ready((reply, self.release(slot))),
            Call::Open { sent, .. } => {
                self.calls[slot as usize] = Call::Open { waker: Some(cx.waker().clone()), sent };
                Poll::Pending
            }
            Call::Free | Call::Abandoned => unreachable!("call {slot} is polled after its end"),
        }
    }

    /// The request of this call is under way.
    pub(super) fn sent(&mut self, slot: u32) {
        if let Call::Open { sent, .. } = &mut self.calls[slot as usize] {
            *sent = true;
        }
    }

    /// Nobody waits for the reply any more. If one will come, the place is kept until then.
    #[must_use]
    pub(super) fn abandon(&mut self, slot: u32) -> Wakes {
        match &self.calls[slot as usize] {
            Call::Open { sent: true, .. } => {
                self.calls[slot as usize] = Call::Abandoned;
                Wakes { one: None, all: Vec::new() }
            }
            _ => self.release(slot),
        }
    }

    fn release(&mut self, slot: u32) -> Wakes {
        self.calls[slot as usize] = Call::Free;
        self.free.push(slot);
        Wakes { one: None, all: std::mem::take(&mut self.waiting) }
    }
}

/// Wakers to be woken once no borrow is held.
pub(super) struct Wakes {
    one: Option<Waker>,
    all: Vec<Waker>,
}

impl Wakes {
    pub(super) fn wake(self) {
        self.one.into_iter().chain(self.all).for_each(Waker::wake);
    }
}
