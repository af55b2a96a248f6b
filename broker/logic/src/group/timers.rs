//! What is to happen later: one deadline per key, the nearest first.
//!
//! The driver sleeps until [`Timers::next_deadline_ms`] and then asks the coordinator to expire what is due; nothing polls. Setting a
//! key again replaces its deadline. Bounded by members and groups. Deliberately absent: the clock.

use std::collections::{BTreeSet, HashMap};

use super::consumer::MemberTimer;
use super::{GroupId, MemberId};

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimerKey {
    /// A classic member's session, or a pending member's time to come back.
    Heartbeat(GroupId, MemberId),
    /// A timer of a consumer group's member.
    Consumer(GroupId, MemberId, MemberTimer),
    /// A classic group's join phase.
    Join(GroupId),
    /// A classic group's members that have not synced.
    Sync(GroupId),
    /// The look for expired offsets, in groups after this one.
    OffsetExpiry(Option<GroupId>),
}

/// Deadlines by key, in milliseconds of the monotonic clock.
#[derive(Debug, Default)]
pub struct Timers {
    by_deadline: BTreeSet<(i64, TimerKey)>,
    /// Group ids and member ids are clients' strings: this table is seeded by the standard library, and nothing
    /// depends on its order.
    by_key: HashMap<TimerKey, i64>,
}

impl Timers {
    /// Sets or moves a deadline.
    pub fn set(&mut self, key: TimerKey, deadline_ms: i64) {
        if let Some(before) = self.by_key.insert(key.clone(), deadline_ms) {
            self.by_deadline.remove(&(before, key.clone()));
        }
        self.by_deadline.insert((deadline_ms, key));
    }

    /// Sets a deadline where there is none.
    pub fn set_if_absent(&mut self, key: TimerKey, deadline_ms: i64) {
        if !self.by_key.contains_key(&key) {
            self.set(key, deadline_ms);
        }
    }

    /// Forgets a deadline, if there is one.
    pub fn cancel(&mut self, key: &TimerKey) {
        if let Some(deadline_ms) = self.by_key.remove(key) {
            self.by_deadline.remove(&(deadline_ms, key.clone()));
        }
    }

    /// When to look again.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.by_deadline.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes the next key that is due.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<TimerKey> {
        if self.next_deadline_ms()? > now_ms {
            return None;
        }
        let (_, key) = self.by_deadline.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_set_again_fires_once_and_late() {
        let key = TimerKey::Join(GroupId::from("g"));
        let mut timers = Timers::default();
        timers.set(key.clone(), 10);
        timers.set(TimerKey::OffsetExpiry(None), 15);
        timers.set(key.clone(), 20);
        assert_eq!(timers.next_deadline_ms(), Some(15));
        assert_eq!(timers.pop_due(14), None);
        assert_eq!(timers.pop_due(25), Some(TimerKey::OffsetExpiry(None)));
        assert_eq!(timers.pop_due(25), Some(key.clone()));
        assert_eq!(timers.pop_due(25), None);
        timers.set(key.clone(), 30);
        timers.cancel(&key);
        assert!(timers.is_empty() && timers.next_deadline_ms().is_none());
    }
}
