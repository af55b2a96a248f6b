//! A latency histogram with fixed buckets: cheap to record, to copy and to add up over cores.

/// Upper bounds of the buckets, in microseconds; a last one without a bound follows.
pub const BUCKETS_US: [u64; 16] = [
    50, 100, 200, 350, 500, 750, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 1_000_000,
    5_000_000,
];

/// How long things took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; BUCKETS_US.len() + 1],
    sum_us: u64,
}

impl Latency {
    /// Counts one duration in microseconds.
    pub fn record_us(&mut self, us: u64) {
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// Counts by bucket, the last one for what exceeds every bound.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BUCKETS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.counts)
    }
}
