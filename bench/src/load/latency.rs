//! Latencies in an HDR histogram and the seven figures that are told of it.
//! Used by `tally`. Deliberately absent: averages of percentiles; runs are compared by their medians in `report`.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What is shorter counts as this, in nanoseconds.
const LOWEST_NS: u64 = 1_000;
/// What is longer counts as this, in nanoseconds: ten minutes.
const HIGHEST_NS: u64 = 600_000_000_000;

/// Latencies with three significant digits, in bounded memory.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
}

/// Microseconds. All zero when nothing was recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) p9999_us: f64,
    pub(crate) max_us: f64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        match Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 3) {
            Ok(histogram) => Self { histogram },
            Err(error) => unreachable!("constant bounds were refused: {error}"),
        }
    }

    pub(crate) fn record_ns(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
    }

    pub(crate) fn clear(&mut self) {
        self.histogram.reset();
    }

    pub(crate) fn summary(&self) -> LatencySummary {
        let histogram = &self.histogram;
        if histogram.is_empty() {
            return LatencySummary::default();
        }
        let us = |ns: f64| (ns / 100.0).round() / 10.0;
        let at = |quantile: f64| us(histogram.value_at_quantile(quantile) as f64);
        LatencySummary {
            count: histogram.len(),
            mean_us: us(histogram.mean()),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: us(histogram.max() as f64),
        }
    }
}
