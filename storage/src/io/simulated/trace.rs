//! A ring of the simulation's last events, printed when a test fails. Kept by the executor; off until asked for.

use std::collections::VecDeque;
use std::fmt;

/// The last events, oldest first.
#[derive(Debug, Default)]
pub(super) struct Trace {
    events_max: usize,
    events: VecDeque<(u64, String)>,
}

impl Trace {
    /// Keeps the last `events_max` events from now on; 0 switches the trace off.
    pub(super) fn keep(&mut self, events_max: usize) {
        self.events_max = events_max;
        while self.events.len() > events_max {
            self.events.pop_front();
        }
    }

    /// Records an event; the text is only made when the trace is on.
    pub(super) fn record(&mut self, now_ns: u64, event: impl FnOnce() -> String) {
        if self.events_max == 0 {
            return;
        }
        if self.events.len() == self.events_max {
            self.events.pop_front();
        }
        self.events.push_back((now_ns, event()));
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at_ns, event) in &self.events {
            writeln!(f, "{:>14} ns  {event}", at_ns)?;
        }
        Ok(())
    }
}
