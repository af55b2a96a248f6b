//! Monotonic nanoseconds since the start of the run; every time in `load`, `produce` and `fetch` is one of these.
//! Deliberately absent: wall-clock time.

use std::time::Instant;

/// Starts at 0 when it is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
