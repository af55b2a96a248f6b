//! What the broker counts, and how Prometheus reads it.
//!
//! Each core counts for itself in plain cells; a scrape asks every core for its [`CoreStats`] and `text` renders them.
//! Imports no other room but storage, whose figures it carries.

mod core_stats;
mod latency;
mod text;

#[cfg(test)]
mod tests;

pub use core_stats::{CoreMetrics, CoreStats, NetworkStats, RequestStats, WatchStats};
pub use latency::{BUCKETS_US, Latency};
pub use text::{CONTENT_TYPE, NodeStats, render};
