//! When a core's coordinators append commits: at the same moments, so that one write and one flush of the journal serve them all.
//!
//! Time is cut into slots. Without a configured linger a commit goes at once where its slot has seen none, and with the next slot's beginning
//! otherwise: who is alone waits for nobody, and a thousand groups that commit one by one do not make a thousand flushes. Deliberately
//! absent: what is appended, and waiting.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The slot when `group.coordinator.append.linger.ms` is -1: about what a flush takes on a slow disk.
const SLOT: Duration = Duration::from_millis(1);

/// The slots of one core.
#[derive(Debug)]
pub(super) struct Pace {
    started: Instant,
    /// Zero when nobody waits.
    slot: Duration,
    /// Whether the first of a slot waits, too.
    always: bool,
    /// The last slot in which somebody appended.
    last: Cell<Option<u128>>,
}

impl Pace {
    /// `group.coordinator.append.linger.ms`: -1 decides by load, 0 never waits.
    pub(super) fn new(linger_ms: i64, started: Instant) -> Self {
        let configured = u64::try_from(linger_ms).ok();
        Self {
            started,
            slot: configured.map_or(SLOT, Duration::from_millis),
            always: configured.is_some(),
            last: Cell::new(None),
        }
    }

    fn slot_of(&self, now: Instant) -> Option<u128> {
        now.duration_since(self.started).as_nanos().checked_div(self.slot.as_nanos())
    }

    /// Until when a commit that is here now waits; `None` when it does not.
    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        let slot = self.slot_of(now)?;
        if !self.always && self.last.get() != Some(slot) {
            return None;
        }
        let left = self.slot.as_nanos() - now.duration_since(self.started).as_nanos() % self.slot.as_nanos();
        Some(now + Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
    }

    /// Commits are appended now.
    pub(super) fn appended(&self, now: Instant) {
        self.last.set(self.slot_of(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_slot_waits_for_nobody_and_those_behind_it_for_the_next_slot() {
        let started = Instant::now();
        let at = |micros| started + Duration::from_micros(micros);
        let pace = Pace::new(-1, started);
        assert_eq!(pace.waits_until(at(5_300)), None);
        pace.appended(at(5_300));
        assert_eq!(pace.waits_until(at(5_300)), Some(at(6_000)));
        assert_eq!(pace.waits_until(at(5_999)), Some(at(6_000)));
        // Two that have waited append in the next one; who comes then waits again.
        pace.appended(at(6_001));
        pace.appended(at(6_002));
        assert_eq!(pace.waits_until(at(6_003)), Some(at(7_000)));
        assert_eq!(pace.waits_until(at(7_000)), None);

        let pace = Pace::new(20, started);
        assert_eq!(pace.waits_until(at(25_000)), Some(at(40_000)));
        let pace = Pace::new(0, started);
        pace.appended(at(25_000));
        assert_eq!(pace.waits_until(at(25_000)), None);
    }
}
