//! What was answered, how long it took and what failed. Written by the loads, read by the loop.
//! Deliberately absent: phases; the loop takes differences of the totals.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};

use anyhow::{Result, bail};
use kafka_protocol::error::ParseResponseErrorCode;
use serde::{Deserialize, Serialize};

use super::latency::{Latencies, LatencySummary};

/// A run with more failed requests than this ends: its figures would mean nothing.
const ERRORS_MAX: u64 = 1000;

/// Amounts of what was answered without an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) records: u64,
    /// Bytes of record batches as they are on the wire, headers included.
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.requests += other.requests;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            records: self.records - earlier.records,
            bytes: self.bytes - earlier.bytes,
            requests: self.requests - earlier.requests,
        }
    }
}

/// Totals since the start of the run, and latencies of the measured part of it.
pub(crate) struct Tally {
    total: Counts,
    latency: Latencies,
    second: Latencies,
    generator_late: Latencies,
    errors: BTreeMap<i16, u64>,
    /// Requests intended before this are not part of the measured latencies.
    latency_from_ns: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            total: Counts::default(),
            latency: Latencies::new(),
            second: Latencies::new(),
            generator_late: Latencies::new(),
            errors: BTreeMap::new(),
            latency_from_ns: u64::MAX,
        }
    }

    /// Latencies count from here on.
    pub(crate) fn record_latency_from(&mut self, from_ns: u64) {
        self.latency_from_ns = from_ns;
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, intended_ns: u64, now_ns: u64, counts: Counts) {
        self.total += counts;
        let latency_ns = now_ns.saturating_sub(intended_ns);
        self.second.record_ns(latency_ns);
        if intended_ns >= self.latency_from_ns {
            self.latency.record_ns(latency_ns);
        }
    }

    /// A part of an answer has come; `answered` follows at its end.
    pub(crate) fn received(&mut self, counts: Counts) {
        self.total += counts;
    }

    /// A request that was due at `due_ns`, and that nothing held up, was sent at `now_ns`.
    pub(crate) fn sent_when_due(&mut self, due_ns: u64, now_ns: u64) {
        if due_ns >= self.latency_from_ns {
            self.generator_late.record_ns(now_ns.saturating_sub(due_ns));
        }
    }

    /// A request, or a partition of it, was answered with an error.
    ///
    /// # Errors
    /// There were too many of them.
    pub(crate) fn failed(&mut self, code: i16) -> Result<()> {
        *self.errors.entry(code).or_default() += 1;
        let count: u64 = self.errors.values().sum();
        if count > ERRORS_MAX {
            bail!("more than {ERRORS_MAX} requests failed, the last one with {:?} ({code})", code.err());
        }
        Ok(())
    }

    pub(crate) fn total(&self) -> Counts {
        self.total
    }

    pub(crate) fn latency(&self) -> LatencySummary {
        self.latency.summary()
    }

    pub(crate) fn generator_late(&self) -> LatencySummary {
        self.generator_late.summary()
    }

    /// Latencies since the last call.
    pub(crate) fn take_second(&mut self) -> LatencySummary {
        let summary = self.second.summary();
        self.second.clear();
        summary
    }

    pub(crate) fn errors(&self) -> Vec<(i16, u64)> {
        self.errors.iter().map(|(code, count)| (*code, *count)).collect()
    }
}
