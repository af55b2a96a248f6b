//! Lets one of many equal log lines through: what a client may ask for a thousand times a second is told once a minute.

use std::cell::Cell;

/// Between two equal lines, in ns.
const INTERVAL_NS: u64 = 60 * 1_000_000_000;

/// When something was told last.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Cell<Option<u64>>);

impl Seldom {
    /// Whether it is to be told now; then it counts as told.
    pub(crate) fn due(&self, now_ns: u64) -> bool {
        let due = self.0.get().is_none_or(|told_ns| now_ns.saturating_sub(told_ns) >= INTERVAL_NS);
        if due {
            self.0.set(Some(now_ns));
        }
        due
    }

    /// It is over. Returns whether it had been told; the next time is told at once.
    pub(crate) fn over(&self) -> bool {
        self.0.take().is_some()
    }
}
