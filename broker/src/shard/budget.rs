//! A core's share of the memory budget: pools for the things that grow with load, and the charges taken from them.
//!
//! `net` charges frames and replies, `api` charges fetches before they read; storage is told how much its tail cache and its cold reads may take,
//! and counts them itself. Nothing is allocated here: a [`Charge`] is a promise about bytes that its holder keeps. Deliberately absent: sharing between
//! cores (each core has its own budget) and eviction (whoever holds the bytes knows what can go).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[cfg(test)]
mod tests;

/// The most that the default budget takes, in bytes.
const DEFAULT_BYTES_MAX: u64 = 2 << 30;

/// A charge of at most this many bytes counts as small and may use a pool's reserve.
pub const SMALL_BYTES: u64 = 64 * 1024;

/// `corelog.memory.bytes` when nothing is configured: a quarter of the machine's memory, at most 2 GiB.
pub fn default_memory_bytes(machine_bytes: u64) -> u64 {
    (machine_bytes / 4).min(DEFAULT_BYTES_MAX)
}

/// What a core's memory is divided among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Frames that have not arrived completely.
    PartialFrames,
    /// Requests from their last byte until they are answered.
    Requests,
    /// The newest batches of the core's partitions, and what waits for write-back.
    TailCache,
    /// Reads from the disk for consumers that lag, while they run; what they have read is part of a reply.
    ColdReads,
    /// Replies until their last byte has gone to the socket.
    Replies,
    /// What consumers' fetch sessions remember.
    FetchSessions,
    /// The keys of the log that is being compacted.
    Compaction,
}

impl Share {
    const ALL: [Share; 7] = [
        Share::PartialFrames,
        Share::Requests,
        Share::TailCache,
        Share::ColdReads,
        Share::Replies,
        Share::FetchSessions,
        Share::Compaction,
    ];

    /// Percent of the core's memory.
    fn percent(self) -> u64 {
        match self {
            Share::PartialFrames => 15,
            Share::Requests => 20,
            Share::TailCache => 29,
            Share::ColdReads => 10,
            Share::Replies => 20,
            Share::FetchSessions => 2,
            Share::Compaction => 4,
        }
    }
}

/// One core's memory. Cheap to clone; stays on its core.
#[derive(Debug, Clone)]
pub struct Budget {
    pools: Rc<[Pool; 7]>,
}

impl Budget {
    /// Divides `bytes`, which is `corelog.memory.bytes` divided by the number of cores.
    pub fn new(bytes: u64) -> Self {
        Self { pools: Rc::new(Share::ALL.map(|share| Pool::new(share, bytes / 100 * share.percent()))) }
    }

    /// Bytes charged by share, under names for metrics. Storage counts for itself.
    pub fn used(&self) -> Vec<(&'static str, u64)> {
        let shares = [
            (Share::PartialFrames, "partial_frames"),
            (Share::Requests, "requests"),
            (Share::Replies, "replies"),
            (Share::FetchSessions, "fetch_sessions"),
        ];
        shares.map(|(share, name)| (name, self.pool(share).used())).to_vec()
    }

    /// The pool of one share.
    pub fn pool(&self, share: Share) -> &Pool {
        &self.pools[share as usize]
    }
}

/// A charge that no wait could satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{bytes} bytes exceed the {limit} bytes a core has for {share:?}; raise corelog.memory.bytes or lower corelog.cores"
)]
pub struct TooLarge {
    /// What was asked for.
    pub bytes: u64,
    /// The most that one charge can have.
    pub limit: u64,
    /// From which share.
    pub share: Share,
}

/// A bounded number of bytes that charges are taken from, first come first served.
///
/// A quarter is kept for charges of at most [`SMALL_BYTES`]: a few stopped readers of big replies must not keep every
/// other client from its small ones. Small charges wait in a line of their own, served first.
#[derive(Debug, Clone)]
pub struct Pool(Rc<PoolState>);

#[derive(Debug)]
struct PoolState {
    share: Share,
    limit: u64,
    used: Cell<u64>,
    peak: Cell<u64>,
    small: RefCell<VecDeque<Rc<Waiter>>>,
    large: RefCell<VecDeque<Rc<Waiter>>>,
}

#[derive(Debug)]
struct Waiter {
    bytes: u64,
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Pool {
    fn new(share: Share, limit: u64) -> Self {
        Self(Rc::new(PoolState {
            share,
            limit,
            used: Cell::new(0),
            peak: Cell::new(0),
            small: RefCell::default(),
            large: RefCell::default(),
        }))
    }

    /// The pool's size in bytes.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes charged now.
    pub fn used(&self) -> u64 {
        self.0.used.get()
    }

    /// The most bytes that were ever charged at once.
    pub fn peak(&self) -> u64 {
        self.0.peak.get()
    }

    /// How many charges are waiting for room.
    pub fn waiting(&self) -> usize {
        self.0.small.borrow().len() + self.0.large.borrow().len()
    }

    /// The largest single charge that can ever be granted, in bytes.
    pub fn charge_max(&self) -> u64 {
        self.0.ceiling(u64::MAX)
    }

    /// Whether a charge of `bytes` would be granted at once.
    pub fn has_room(&self, bytes: u64) -> bool {
        let line_is_empty =
            self.0.small.borrow().is_empty() && (bytes <= SMALL_BYTES || self.0.large.borrow().is_empty());
        line_is_empty && self.0.fits(bytes)
    }

    /// Takes `bytes` if there is room and nobody waits in front.
    pub fn try_charge(&self, bytes: u64) -> Option<Charge> {
        self.has_room(bytes).then(|| {
            self.0.take(bytes);
            Charge { pool: self.0.clone(), bytes }
        })
    }

    /// Takes `bytes`, waiting for room. Dropping the future gives up the place in the line.
    ///
    /// # Errors
    /// [`TooLarge`] when the pool could not grant it even if it were empty.
    pub async fn charge(&self, bytes: u64) -> Result<Charge, TooLarge> {
        if bytes > self.0.ceiling(bytes) {
            return Err(TooLarge { bytes, limit: self.0.ceiling(bytes), share: self.0.share });
        }
        match self.try_charge(bytes) {
            Some(charge) => Ok(charge),
            None => Ok(Wait { pool: self.0.clone(), waiter: None, bytes }.await),
        }
    }

    /// Charges bytes that exist already, over the limit if need be. For what has its own bound elsewhere: the caller
    /// says which in a comment.
    pub fn charge_anyway(&self, bytes: u64) -> Charge {
        self.0.take(bytes);
        Charge { pool: self.0.clone(), bytes }
    }
}

impl PoolState {
    /// Up to where a charge of this size may fill the pool.
    fn ceiling(&self, bytes: u64) -> u64 {
        if bytes <= SMALL_BYTES { self.limit } else { self.limit - self.limit / 4 }
    }

    fn fits(&self, bytes: u64) -> bool {
        self.used.get().saturating_add(bytes) <= self.ceiling(bytes)
    }

    fn take(&self, bytes: u64) {
        self.used.set(self.used.get() + bytes);
        self.peak.set(self.peak.get().max(self.used.get()));
    }

    fn give_back(&self, bytes: u64) {
        assert!(self.used.get() >= bytes, "more bytes returned to {:?} than were charged", self.share);
        self.used.set(self.used.get() - bytes);
        self.grant();
    }

    /// Serves the lines, small ones first, as long as the first in line fits.
    fn grant(&self) {
        for line in [&self.small, &self.large] {
            loop {
                let granted = {
                    let mut line = line.borrow_mut();
                    match line.front() {
                        Some(first) if self.fits(first.bytes) => line.pop_front(),
                        _ => None,
                    }
                };
                let Some(waiter) = granted else { break };
                self.take(waiter.bytes);
                waiter.granted.set(true);
                if let Some(waker) = waiter.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    fn line(&self, bytes: u64) -> &RefCell<VecDeque<Rc<Waiter>>> {
        if bytes <= SMALL_BYTES { &self.small } else { &self.large }
    }
}

/// A place in a pool's line.
struct Wait {
    pool: Rc<PoolState>,
    waiter: Option<Rc<Waiter>>,
    bytes: u64,
}

impl Future for Wait {
    type Output = Charge;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Charge> {
        if let Some(waiter) = &self.waiter {
            if waiter.granted.get() {
                self.waiter = None;
                return Poll::Ready(Charge { pool: self.pool.clone(), bytes: self.bytes });
            }
            *waiter.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let waiter = Rc::new(Waiter {
            bytes: self.bytes,
            granted: Cell::new(false),
            waker: RefCell::new(Some(cx.waker().clone())),
        });
        self.pool.line(self.bytes).borrow_mut().push_back(waiter.clone());
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        if waiter.granted.get() {
            self.pool.give_back(waiter.bytes);
        } else {
            self.pool.line(self.bytes).borrow_mut().retain(|other| !Rc::ptr_eq(other, &waiter));
            // The one behind may fit where this one did not.
            self.pool.grant();
        }
    }
}

/// Bytes taken from a pool; returned when dropped. Stays on its core.
#[derive(Debug)]
pub struct Charge {
    pool: Rc<PoolState>,
    bytes: u64,
}

impl Charge {
    /// How many bytes it stands for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns what exceeds `bytes`. A charge never grows this way.
    pub fn shrink_to(&mut self, bytes: u64) {
        if bytes < self.bytes {
            let returned = self.bytes - bytes;
            self.bytes = bytes;
            self.pool.give_back(returned);
        }
    }

    /// Adds another charge of the same pool to this one.
    pub fn merge(&mut self, mut other: Charge) {
        assert!(Rc::ptr_eq(&self.pool, &other.pool), "charges of different pools cannot be merged");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Cuts off a charge for `bytes` of it (at most all of it).
    pub fn split(&mut self, bytes: u64) -> Charge {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Charge { pool: self.pool.clone(), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.pool.give_back(self.bytes);
        }
    }
}
