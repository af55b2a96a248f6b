//! A core's counters: recorded by `net`, `api` and `shard` on their own core, handed out as a plain copy.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use corelog_storage::store::StoreStats;

use super::latency::Latency;

/// What one API was asked on one core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestStats {
    pub requests: u64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// From the complete request to the complete reply.
    pub latency: Latency,
}

/// Counters that a core's requests and flushes add to.
#[derive(Debug, Default)]
pub struct CoreMetrics {
    requests: RefCell<BTreeMap<i16, RequestStats>>,
    flush: RefCell<Latency>,
}

impl CoreMetrics {
    /// Counts an answered request of an API.
    pub fn request(&self, api_key: i16, request_bytes: usize, response_bytes: usize, us: u64) {
        let mut requests = self.requests.borrow_mut();
        let stats = requests.entry(api_key).or_default();
        stats.requests += 1;
        stats.request_bytes += request_bytes as u64;
        stats.response_bytes += response_bytes as u64;
        stats.latency.record_us(us);
    }

    /// Counts a journal's flush.
    pub fn flush(&self, us: u64) {
        self.flush.borrow_mut().record_us(us);
    }

    /// A copy of the requests by API key.
    pub fn requests(&self) -> BTreeMap<i16, RequestStats> {
        self.requests.borrow().clone()
    }

    /// A copy of the flush times.
    pub fn flushes(&self) -> Latency {
        *self.flush.borrow()
    }
}

/// What a core's connections have done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkStats {
    pub connections: u64,
    pub connections_accepted: u64,
    pub connections_handed_over: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
}

/// What the watchdog has seen of a core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchStats {
    /// Times it slept with work to do and was woken.
    pub wakes: u64,
    /// Times it did not answer for long.
    pub stalls: u64,
}

/// Everything a core tells about itself.
#[derive(Debug, Clone, Default)]
pub struct CoreStats {
    pub core: u16,
    pub requests: BTreeMap<i16, RequestStats>,
    pub flush: Latency,
    pub network: NetworkStats,
    pub store: StoreStats,
    /// Log directories that cannot be used.
    pub offline_dirs: Vec<PathBuf>,
    pub partitions: u64,
    /// Those of them that cannot be used.
    pub offline_partitions: u64,
    /// Groups coordinated, and offsets that they have committed.
    pub groups: u64,
    pub group_offsets: u64,
    /// Bytes of the core's logs, and the segments they are in.
    pub log_bytes: u64,
    pub log_segments: u64,
    /// Requests sent to other cores.
    pub cross_core_requests: u64,
    /// Requests to other cores that had to wait for a credit.
    pub cross_core_waits: u64,
    /// Memory charged to the core's budget, by share, in bytes.
    pub memory_bytes: Vec<(&'static str, u64)>,
}
