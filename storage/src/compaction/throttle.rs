//! How long compaction must pause to stay below a rate (`log.cleaner.io.max.bytes.per.second`). Pure.

/// Bytes per second, allowed and used.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    bytes_per_second: f64,
    since_ns: u64,
    bytes: f64,
}

/// Unused allowance is forgotten after this long, in ns.
const WINDOW_NS: u64 = 1_000_000_000;

impl Throttle {
    /// Allows so many bytes per second from `now_ns` on.
    pub fn new(bytes_per_second: f64, now_ns: u64) -> Self {
        Self { bytes_per_second, since_ns: now_ns, bytes: 0.0 }
    }

    /// Notes that `bytes` were read or written, and says for how many ns to pause.
    pub fn pause_ns(&mut self, bytes: u64, now_ns: u64) -> u64 {
        self.bytes += bytes as f64;
        let due_ns = self.bytes / self.bytes_per_second * 1e9;
        let elapsed_ns = now_ns.saturating_sub(self.since_ns);
        let pause_ns = (due_ns - elapsed_ns as f64).max(0.0);
        if elapsed_ns > WINDOW_NS && pause_ns == 0.0 {
            (self.since_ns, self.bytes) = (now_ns, 0.0);
        }
        // A rate of next to nothing must not overflow; a long pause is looked at again.
        pause_ns.min(60e9) as u64
    }
}
