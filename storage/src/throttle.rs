//! How long compaction or scrubbing must pause to stay below its rate. Pure.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_any_second_and_unused_allowance_is_not_saved_up() {
        let mut throttle = Throttle::new(1000.0, 0);
        assert_eq!(throttle.pause_ns(100, 0), 100_000_000);
        assert_eq!(throttle.pause_ns(100, 100_000_000), 100_000_000);
        assert_eq!(throttle.pause_ns(100, 5_000_000_000), 0);
        assert_eq!(throttle.pause_ns(1000, 5_000_000_000), 1_000_000_000, "the idle seconds do not count");
        assert_eq!(Throttle::new(f64::MAX, 0).pause_ns(u64::MAX, 0), 0);
    }
}
