//! How many connections each core has, which core a new one goes to, and the connection on its way there.
//!
//! The kernel spreads connections over the cores' sockets by hash, which for a handful of clients is no spread at all:
//! four connections on two cores must be two and two. Deliberately absent: moving a connection that has begun.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Core;

/// Connections per core. Shared by the cores; touched when a connection opens or ends, never per request.
#[derive(Debug, Clone)]
pub struct Balance(Arc<[Count]>);

/// Apart, so that counting on one core does not slow another.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU32);

impl Balance {
    /// Nobody has a connection yet.
    pub fn new(cores: u16) -> Self {
        Self((0..cores).map(|_| Count::default()).collect())
    }

    /// Finds a place for a connection that `accepting` has just accepted: its own, unless it has clearly more than the core with the
    /// fewest (more by an eighth: with few connections one more is clear, with many a handover is not worth it).
    pub(crate) fn seat(&self, accepting: Core) -> Seat {
        let count =
            |index: usize| self.0.get(index).map_or(u32::MAX, |count| count.0.load(Ordering::Relaxed));
        let mine = count(accepting.index());
        let fewest = (0..self.0.len()).min_by_key(|index| count(*index)).unwrap_or(accepting.index());
        let least = count(fewest);
        let core = if mine > least + least / 8 { Core(fewest as u16) } else { accepting };
        Seat::take(self.clone(), core)
    }

    /// Connections per core now.
    pub fn counts(&self) -> Vec<u32> {
        self.0.iter().map(|count| count.0.load(Ordering::Relaxed)).collect()
    }
}

/// A freshly accepted connection on its way to another core. Dropped, it is closed.
#[derive(Debug)]
pub struct Handover {
    pub(crate) socket: OwnedFd,
    pub(crate) seat: Seat,
    /// Index among the listeners.
    pub(crate) listener: usize,
}

/// A connection's place on a core; given up when dropped.
#[derive(Debug)]
pub struct Seat {
    balance: Balance,
    core: Core,
}

impl Seat {
    fn take(balance: Balance, core: Core) -> Self {
        if let Some(count) = balance.0.get(core.index()) {
            count.0.fetch_add(1, Ordering::Relaxed);
        }
        Self { balance, core }
    }

    /// The core it is on.
    pub(crate) fn core(&self) -> Core {
        self.core
    }

    /// The same connection on another core after all.
    pub(crate) fn on(&self, core: Core) -> Seat {
        Seat::take(self.balance.clone(), core)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(count) = self.balance.0.get(self.core.index()) {
            count.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_connections_that_one_core_accepts_are_two_and_two() {
        let balance = Balance::new(2);
        let seats: Vec<_> = (0..4).map(|_| balance.seat(Core(0))).collect();
        assert_eq!(balance.counts(), [2, 2]);
        drop(seats);
        assert_eq!(balance.counts(), [0, 0]);
    }

    #[test]
    fn with_many_connections_small_differences_stay() {
        let balance = Balance::new(2);
        let seats: Vec<_> = (0..1000).map(|n| Seat::take(balance.clone(), Core(n % 2))).collect();
        let more: Vec<_> = (0..50).map(|_| balance.seat(Core(0))).collect();
        assert_eq!(balance.counts(), [550, 500]);
        drop((seats, more));
    }

    #[test]
    fn a_refused_handover_is_counted_where_it_stays() {
        let balance = Balance::new(2);
        let _first = balance.seat(Core(0));
        let refused = balance.seat(Core(0));
        assert_eq!(refused.core(), Core(1));
        let _kept = refused.on(Core(0));
        drop(refused);
        assert_eq!(balance.counts(), [2, 0]);
    }
}
