//! What the cores' cleaners go by at one version of the metadata: all of it can be changed while the broker runs.
//!
//! Resolved by `shard` with each version, read by `drive`. Deliberately absent: `log.cleaner.enable`, which is fixed at the start,
//! and what single topics say of their compaction (`topic_config.rs`).

use super::values::BrokerValues;

/// The node's values; each core takes its part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanerConfig {
    /// How long to rest when nothing is due, in ms (`log.cleaner.backoff.ms`).
    pub backoff_ms: u64,
    /// Memory for keys of all cores together (`log.cleaner.dedupe.buffer.size`).
    pub dedupe_buffer_bytes: u64,
    /// How fast all cores together may read and write (`log.cleaner.io.max.bytes.per.second`).
    pub io_bytes_per_second: f64,
}

impl CleanerConfig {
    /// As of the newest values. What is no number was refused when it was given.
    pub fn resolve(broker: &BrokerValues<'_>) -> Self {
        let text = |name: &str| broker.get(name).unwrap_or_default().trim();
        let number = |name: &str| text(name).parse::<i64>().unwrap_or_default().max(0) as u64;
        Self {
            backoff_ms: number("log.cleaner.backoff.ms"),
            dedupe_buffer_bytes: number("log.cleaner.dedupe.buffer.size"),
            io_bytes_per_second: text("log.cleaner.io.max.bytes.per.second").parse().unwrap_or(f64::MAX),
        }
    }
}

impl Default for CleanerConfig {
    /// Kafka's defaults, until the first version of the metadata is there.
    fn default() -> Self {
        Self { backoff_ms: 15_000, dedupe_buffer_bytes: 128 << 20, io_bytes_per_second: f64::MAX }
    }
}
