//! The only way from one core to another: requests with replies, and notices.
//!
//! Every core has one [`Endpoint`]; the control thread sends notices. Requests are admitted by credits per (source, destination):
//! a sender without a credit waits, alone, and every other connection of its core goes on. Replies and words about room ride on
//! what was admitted before, so they are never refused and two cores that flood each other cannot deadlock. Many messages
//! cost one wake-up. Deliberately absent: what the messages are (`message` says), and requests that themselves call
//! back (a handler that waits for a call of its own to the same core can exhaust both sides' calls).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::shard::Core;

mod calls;
mod inbox;
#[cfg(test)]
mod tests;

use calls::Calls;
use inbox::{Envelope, Shared};

/// Messages taken from an inbox before other tasks of the core get their turn.
const DRAIN_MAX: usize = 256;

/// The bounds of a mailbox.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests of one source that may lie in one inbox.
    pub queued_requests_max: u32,
    /// Calls that one endpoint may have open (queued, being worked on, or answered and not picked up).
    pub open_calls_max: u32,
    /// Notices that may lie in one inbox.
    pub notices_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { queued_requests_max: 256, open_calls_max: 65_536, notices_max: 4_096 }
    }
}

/// The other side has ended, or dropped the request without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} did not answer: it is stopping")]
pub struct Gone(pub Core);

/// A notice that was not taken, handed back: the inbox holds its fill of notices, or its endpoint is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused<N>(pub N);

/// What an endpoint has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MailboxCounters {
    /// Requests sent.
    pub requests_sent: u64,
    /// Requests received.
    pub requests_received: u64,
    /// Replies received.
    pub replies_received: u64,
    /// Notices received.
    pub notices_received: u64,
    /// Pushes of this endpoint that had to wake their receiver.
    pub wakes_sent: u64,
    /// Requests that had to wait for a credit.
    pub credit_waits: u64,
}

/// Makes a mailbox of `endpoints` endpoints: the data cores in order, then the control thread. Each port goes to its
/// thread and is opened there.
pub fn mailbox<Q: Send, R: Send, N: Send>(endpoints: u16, limits: Limits) -> Vec<Port<Q, R, N>> {
    let shared = Arc::new(Shared::new(endpoints, limits));
    (0..endpoints).map(|number| Port { shared: shared.clone(), core: Core(number) }).collect()
}

/// An endpoint on its way to its thread.
pub struct Port<Q, R, N> {
    shared: Arc<Shared<Q, R, N>>,
    core: Core,
}

impl<Q, R, N> Port<Q, R, N> {
    /// The endpoint's number.
    pub fn core(&self) -> Core {
        self.core
    }

    /// A handle for notices that works from any thread.
    pub fn notifier(&self) -> Notifier<Q, R, N> {
        Notifier { shared: self.shared.clone() }
    }

    /// Opens the endpoint on the thread it will stay on.
    pub fn open(self) -> Endpoint<Q, R, N> {
        let endpoints = self.shared.inboxes.len();
        let open_calls_max = self.shared.limits.open_calls_max;
        Endpoint(Rc::new(Local {
            shared: self.shared,
            core: self.core,
            calls: RefCell::new(Calls::new(open_calls_max)),
            lines: (0..endpoints).map(|_| RefCell::default()).collect(),
            counters: Cell::default(),
        }))
    }
}

/// Sends notices from any thread.
pub struct Notifier<Q, R, N> {
    shared: Arc<Shared<Q, R, N>>,
}

impl<Q, R, N> Clone for Notifier<Q, R, N> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<Q, R, N> Notifier<Q, R, N> {
    /// Sends a notice; it is not answered.
    ///
    /// # Errors
    /// [`Refused`] with the notice when the inbox has its fill of them or is closed.
    pub fn notify(&self, to: Core, notice: N) -> Result<(), Refused<N>> {
        notify(&self.shared, to, notice).map(|_| ())
    }
}

fn notify<Q, R, N>(shared: &Shared<Q, R, N>, to: Core, notice: N) -> Result<bool, Refused<N>> {
    if shared.inbox(to).is_closed() || !shared.take_notice_room(to) {
        return Err(Refused(notice));
    }
    Ok(shared.push(to, Envelope::Notice(notice)))
}

/// A message for this endpoint.
pub enum Incoming<Q, R, N> {
    /// A request, to be answered through `reply` now or later.
    Request {
        /// Who asks.
        from: Core,
        /// What is asked.
        query: Q,
        /// Where the answer goes.
        reply: ReplyTo<Q, R, N>,
    },
    /// A message that is not answered.
    Notice(N),
}

/// One thread's access to the mailbox. Cheap to clone; stays on its thread. Dropping the last clone closes the
/// endpoint, and whoever waits for it is told that it is [`Gone`].
pub struct Endpoint<Q, R, N>(Rc<Local<Q, R, N>>);

impl<Q, R, N> Clone for Endpoint<Q, R, N> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Local<Q, R, N> {
    shared: Arc<Shared<Q, R, N>>,
    core: Core,
    calls: RefCell<Calls<R>>,
    /// Per destination: requests that wait for a credit, in order.
    lines: Box<[Line<Q>]>,
    counters: Cell<MailboxCounters>,
}

/// The requests to one destination that have no credit yet.
type Line<Q> = RefCell<VecDeque<Rc<Queued<Q>>>>;

/// A request without a credit yet.
struct Queued<Q> {
    slot: u32,
    query: RefCell<Option<Q>>,
    state: Cell<QueuedState>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum QueuedState {
    Waiting,
    Sent,
    Gone,
}

impl<Q, R, N> Endpoint<Q, R, N> {
    /// This endpoint's own number.
    pub fn core(&self) -> Core {
        self.0.core
    }

    /// What it has done so far.
    pub fn counters(&self) -> MailboxCounters {
        self.0.counters.get()
    }

    /// Calls that are open now.
    pub fn open_calls(&self) -> usize {
        self.0.calls.borrow().open()
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// [`Gone`] when the other endpoint closes or drops the request.
    pub async fn call(&self, to: Core, query: Q) -> Result<R, Gone> {
        self.submit(to, query).await?.await
    }

    /// Sends a request. When this resolves the request is in the other endpoint's inbox, after everything that this endpoint
    /// sent there before: its order is fixed. The reply is what the returned future resolves to; dropping that drops
    /// the reply, not the request.
    ///
    /// # Errors
    /// [`Gone`] when the other endpoint is closed.
    pub async fn submit(&self, to: Core, query: Q) -> Result<PendingReply<Q, R, N>, Gone> {
        let slot = poll_fn(|cx| self.0.calls.borrow_mut().poll_open(cx)).await;
        let pending = PendingReply { local: self.0.clone(), to, slot: Some(slot) };
        if self.0.shared.inbox(to).is_closed() {
            return Err(Gone(to));
        }
        let nobody_waits = self.0.lines[to.index()].borrow().is_empty();
        if nobody_waits && self.0.shared.take_credit(self.0.core, to) {
            self.0.send(to, slot, query);
        } else {
            self.0.count(|counters| counters.credit_waits += 1);
            self.0.wait_for_credit(to, slot, query).await?;
        }
        Ok(pending)
    }

    /// Sends a notice; it is not answered.
    ///
    /// # Errors
    /// [`Refused`] with the notice when the inbox has its fill of them or is closed.
    pub fn notify(&self, to: Core, notice: N) -> Result<(), Refused<N>> {
        let woke = notify(&self.0.shared, to, notice)?;
        self.0.count(|counters| counters.wakes_sent += u64::from(woke));
        Ok(())
    }

    /// Takes no more: requests that lie in the inbox or come later are [`Gone`]. Requests taken before can still be answered.
    pub fn close(&self) {
        self.0.shared.close(self.0.core);
    }

    /// Takes what arrives, for ever: replies go to their callers, requests and notices to `handle`, which must not block
    /// and returns at once (it starts tasks for what takes time). Run by exactly one task of the thread.
    pub async fn serve(&self, mut handle: impl FnMut(Incoming<Q, R, N>)) {
        let mut taken = vec![0_u32; self.0.shared.inboxes.len()];
        poll_fn(|cx| self.0.poll_drain(cx, &mut taken, &mut handle)).await
    }
}

impl<Q, R, N> Local<Q, R, N> {
    fn count(&self, change: impl FnOnce(&mut MailboxCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    fn push(&self, to: Core, envelope: Envelope<Q, R, N>) {
        let woke = self.shared.push(to, envelope);
        self.count(|counters| counters.wakes_sent += u64::from(woke));
    }

    /// Sends a request whose credit has been taken.
    fn send(&self, to: Core, slot: u32, query: Q) {
        self.count(|counters| counters.requests_sent += 1);
        self.calls.borrow_mut().sent(slot);
        self.push(to, Envelope::Request { from: self.core, slot, query });
    }

    async fn wait_for_credit(&self, to: Core, slot: u32, query: Q) -> Result<(), Gone> {
        let queued = Rc::new(Queued {
            slot,
            query: RefCell::new(Some(query)),
            state: Cell::new(QueuedState::Waiting),
            waker: RefCell::new(None),
        });
        self.lines[to.index()].borrow_mut().push_back(queued.clone());
        let _leave = LeaveLine { line: &self.lines[to.index()], queued: &queued };
        self.serve_line(to);
        poll_fn(|cx| match queued.state.get() {
            QueuedState::Sent => Poll::Ready(Ok(())),
            QueuedState::Gone => Poll::Ready(Err(Gone(to))),
            QueuedState::Waiting => {
                *queued.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Sends what waits for `to` as far as there are credits, and asks for word about more.
    fn serve_line(&self, to: Core) {
        let gone = self.shared.inbox(to).is_closed();
        loop {
            if self.lines[to.index()].borrow().is_empty() {
                return;
            }
            if !gone && !self.shared.take_credit(self.core, to) {
                if self.shared.want_room(self.core, to) {
                    return;
                }
                continue;
            }
            let Some(first) = self.lines[to.index()].borrow_mut().pop_front() else { return };
            let query = first.query.take();
            match query {
                Some(query) if !gone => {
                    first.state.set(QueuedState::Sent);
                    self.send(to, first.slot, query);
                }
                _ => first.state.set(QueuedState::Gone),
            }
            let waker = first.waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn poll_drain(
        self: &Rc<Self>,
        cx: &Context<'_>,
        taken: &mut [u32],
        handle: &mut impl FnMut(Incoming<Q, R, N>),
    ) -> Poll<()> {
        let inbox = self.shared.inbox(self.core);
        inbox.listen(cx.waker());
        let mut drained = 0;
        while drained < DRAIN_MAX {
            let Some(envelope) = inbox.pop() else { break };
            drained += 1;
            match envelope {
                Envelope::Request { from, slot, query } => {
                    taken[from.index()] += 1;
                    self.count(|counters| counters.requests_received += 1);
                    let reply = ReplyTo { local: Some(self.clone()), to: from, slot };
                    handle(Incoming::Request { from, query, reply });
                }
                Envelope::Reply { slot, reply } => {
                    self.count(|counters| counters.replies_received += 1);
                    let wakes = self.calls.borrow_mut().complete(slot, reply.ok_or(Gone(self.core)));
                    wakes.wake();
                }
                Envelope::Notice(notice) => {
                    self.count(|counters| counters.notices_received += 1);
                    handle(Incoming::Notice(notice));
                }
                Envelope::Room { to } => self.serve_line(to),
            }
        }
        for (from, taken) in taken.iter_mut().enumerate() {
            if *taken > 0 {
                self.shared.return_credits(self.core, Core(from as u16), std::mem::take(taken));
            }
        }
        if drained == DRAIN_MAX {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<Q, R, N> Drop for Local<Q, R, N> {
    fn drop(&mut self) {
        self.shared.close(self.core);
    }
}

/// Takes a request out of its line when its sender gives up.
struct LeaveLine<'a, Q> {
    line: &'a Line<Q>,
    queued: &'a Rc<Queued<Q>>,
}

impl<Q> Drop for LeaveLine<'_, Q> {
    fn drop(&mut self) {
        if self.queued.state.get() == QueuedState::Waiting {
            self.line.borrow_mut().retain(|other| !Rc::ptr_eq(other, self.queued));
        }
    }
}

/// The reply to a request that has been sent.
pub struct PendingReply<Q, R, N> {
    local: Rc<Local<Q, R, N>>,
    to: Core,
    slot: Option<u32>,
}

impl<Q, R, N> Future for PendingReply<Q, R, N> {
    type Output = Result<R, Gone>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(slot) = self.slot else { return Poll::Ready(Err(Gone(self.to))) };
        let polled = self.local.calls.borrow_mut().poll_reply(slot, cx);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready((reply, wakes)) => {
                self.slot = None;
                wakes.wake();
                Poll::Ready(reply.map_err(|_| Gone(self.to)))
            }
        }
    }
}

impl<Q, R, N> Drop for PendingReply<Q, R, N> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let wakes = self.local.calls.borrow_mut().abandon(slot);
            wakes.wake();
        }
    }
}

/// Where the answer to a request goes. Dropped without an answer, the caller learns that it is [`Gone`].
pub struct ReplyTo<Q, R, N> {
    local: Option<Rc<Local<Q, R, N>>>,
    to: Core,
    slot: u32,
}

impl<Q, R, N> ReplyTo<Q, R, N> {
    /// Answers. Never waits.
    pub fn send(mut self, reply: R) {
        if let Some(local) = self.local.take() {
            local.push(self.to, Envelope::Reply { slot: self.slot, reply: Some(reply) });
        }
    }
}

impl<Q, R, N> Drop for ReplyTo<Q, R, N> {
    fn drop(&mut self) {
        if let Some(local) = self.local.take() {
            local.push(self.to, Envelope::Reply { slot: self.slot, reply: None });
        }
    }
}
