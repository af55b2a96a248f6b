//! When a core's coordinators append commits, where `group.coordinator.append.linger.ms` lets them wait: at the same moments, so that one
//! write and one flush of the journal serve them all.
//!
//! Time is cut into slots of that length; what comes in one is appended when the next begins. By default nobody waits: the journal collects
//! what comes while it flushes. Deliberately absent: what is appended, and waiting.

use std::time::{Duration, Instant};

/// The slots of one core.
#[derive(Debug)]
pub(super) struct Pace {
    started: Instant,
    /// Zero when nobody waits.
    slot: Duration,
}

impl Pace {
    /// `group.coordinator.append.linger.ms`; with 0, and with -1, nobody waits.
    pub(super) fn new(linger_ms: i64, started: Instant) -> Self {
        Self { started, slot: Duration::from_millis(u64::try_from(linger_ms).unwrap_or(0)) }
    }

    /// Until when a commit that is here now waits; `None` when it does not.
    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        let since = now.duration_since(self.started).as_nanos();
        let in_slot = since.checked_rem(self.slot.as_nanos())?;
        let left = self.slot.as_nanos() - in_slot;
        Some(now + Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_wait_for_the_next_slot_where_they_are_to_wait_at_all() {
        let started = Instant::now();
        let at = |micros| started + Duration::from_micros(micros);
        let pace = Pace::new(20, started);
        assert_eq!(pace.waits_until(at(25_000)), Some(at(40_000)));
        assert_eq!(pace.waits_until(at(39_999)), Some(at(40_000)));
        assert_eq!(pace.waits_until(at(40_000)), Some(at(60_000)));
        assert_eq!(Pace::new(-1, started).waits_until(at(25_000)), None);
        assert_eq!(Pace::new(0, started).waits_until(at(25_000)), None);
    }
}
