//! The part of a mailbox that threads share: one inbox per endpoint, its credits, its wake-up.
//!
//! Used by `mailbox` only. Nothing here waits: a sender that finds no credit is told so, and a full lane raises a flag
//! that makes the receiver send word when there is room.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crossbeam_queue::SegQueue;

use super::Limits;
use crate::shard::Core;

/// What travels between endpoints.
pub(super) enum Envelope<Q, R, N> {
    /// A request, and where its sender keeps the place for the reply.
    Request { from: Core, slot: u32, query: Q },
    /// The reply for a slot; `None` when there will never be one.
    Reply { slot: u32, reply: Option<R> },
    /// A message that is not answered.
    Notice(N),
    /// The lane to this endpoint, which was full, has room again (or its endpoint is gone).
    Room { to: Core },
}

/// Requests of one source that wait in one inbox. Aligned so that lanes of different cores share no cache line.
#[repr(align(128))]
#[derive(Default)]
struct Lane {
    queued: AtomicU32,
    /// The source found the lane full and wants to hear about room.
    wanted: AtomicBool,
}

/// One endpoint's inbox: pushed to by everybody, drained by its owner.
pub(super) struct Inbox<Q, R, N> {
    /// Bounded by what may be put in: requests by the lanes' credits, replies by the calls their receiver has open,
    /// notices by `notices`, words about room by one per lane.
    queue: SegQueue<Envelope<Q, R, N>>,
    lanes: Box<[Lane]>,
    notices: AtomicU32,
    /// Set while a wake-up is under way that will see everything pushed so far: one wake for many messages.
    notified: AtomicBool,
    closed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Everything that the endpoints of one mailbox share.
pub(super) struct Shared<Q, R, N> {
    pub(super) inboxes: Box<[Inbox<Q, R, N>]>,
    pub(super) limits: Limits,
}

impl<Q, R, N> Shared<Q, R, N> {
    pub(super) fn new(endpoints: u16, limits: Limits) -> Self {
        let inbox = || Inbox {
            queue: SegQueue::new(),
            lanes: (0..endpoints).map(|_| Lane::default()).collect(),
            notices: AtomicU32::new(0),
            notified: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waker: Mutex::new(None),
        };
        Self { inboxes: (0..endpoints).map(|_| inbox()).collect(), limits }
    }

    pub(super) fn inbox(&self, core: Core) -> &Inbox<Q, R, N> {
        &self.inboxes[core.index()]
    }

    /// Puts an envelope into an inbox and wakes its owner unless a wake-up is already on its way. Returns whether
    /// this push woke it.
    pub(super) fn push(&self, to: Core, envelope: Envelope<Q, R, N>) -> bool {
        let inbox = self.inbox(to);
        inbox.queue.push(envelope);
        // SeqCst, here and in `close`: either this push is seen by the drain of a closing owner, or the owner
        // is seen to be closed here. Otherwise a request could lie in a dead inbox and its sender wait for ever.
        let wake = !inbox.notified.swap(true, Ordering::SeqCst);
        if inbox.closed.load(Ordering::SeqCst) {
            self.discard(to);
            return false;
        }
        if wake {
            // Cloned first: the wake itself may be a system call and needs no lock.
            let waker = inbox.waker().clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        wake
    }

    /// Takes one of the lane's credits.
    pub(super) fn take_credit(&self, from: Core, to: Core) -> bool {
        let lane = &self.inbox(to).lanes[from.index()];
        // Only `from` adds to this lane, so the check cannot be overtaken.
        if lane.queued.load(Ordering::SeqCst) >= self.limits.queued_requests_max {
            return false;
        }
        lane.queued.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Asks for word when the lane has room. Returns false when it has some already.
    pub(super) fn want_room(&self, from: Core, to: Core) -> bool {
        let inbox = self.inbox(to);
        let lane = &inbox.lanes[from.index()];
        lane.wanted.store(true, Ordering::SeqCst);
        // SeqCst, here and in `return_credits`: one of the two sides sees the other.
        lane.queued.load(Ordering::SeqCst) >= self.limits.queued_requests_max && !inbox.is_closed()
    }

    /// Returns credits of requests that were taken out of `at`'s inbox.
    pub(super) fn return_credits(&self, at: Core, from: Core, credits: u32) {
        let lane = &self.inbox(at).lanes[from.index()];
        lane.queued.fetch_sub(credits, Ordering::SeqCst);
        if lane.wanted.load(Ordering::SeqCst) && lane.wanted.swap(false, Ordering::SeqCst) {
            self.push(from, Envelope::Room { to: at });
        }
    }

    /// Takes room for one notice.
    pub(super) fn take_notice_room(&self, to: Core) -> bool {
        let inbox = self.inbox(to);
        if inbox.notices.fetch_add(1, Ordering::Relaxed) < self.limits.notices_max {
            return true;
        }
        inbox.notices.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Nobody drains this inbox any more. Whoever waits for an answer from it is told.
    pub(super) fn close(&self, core: Core) {
        let inbox = self.inbox(core);
        inbox.closed.store(true, Ordering::SeqCst);
        *inbox.waker() = None;
        inbox.notified.swap(false, Ordering::SeqCst);
        self.discard(core);
        for source in (0..self.inboxes.len() as u16).map(Core).filter(|source| *source != core) {
            self.push(source, Envelope::Room { to: core });
        }
    }

    /// Empties a closed inbox.
    fn discard(&self, core: Core) {
        while let Some(envelope) = self.inbox(core).queue.pop() {
            if let Envelope::Request { from, slot, .. } = envelope
                && from != core
            {
                self.push(from, Envelope::Reply { slot, reply: None });
            }
        }
    }
}

impl<Q, R, N> Inbox<Q, R, N> {
    /// Makes `waker` the one that is woken, and from here on every push wakes it again.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut registered = self.waker();
        if !registered.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
        drop(registered);
        self.notified.swap(false, Ordering::SeqCst);
    }

    pub(super) fn pop(&self) -> Option<Envelope<Q, R, N>> {
        let envelope = self.queue.pop()?;
        if matches!(envelope, Envelope::Notice(_)) {
            self.notices.fetch_sub(1, Ordering::Relaxed);
        }
        Some(envelope)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        // Nothing in here can leave the waker half written.
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
