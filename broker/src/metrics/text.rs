//! Renders the counters of all cores as OpenMetrics text, which Prometheus reads.

use std::collections::BTreeSet;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::core_stats::{CoreStats, WatchStats};
use super::latency::Latency;

/// The text's content type.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that one scrape shows.
#[derive(Debug, Clone, Default)]
pub struct NodeStats {
    pub cores: Vec<CoreStats>,
    /// What the watchdog has seen, by core.
    pub watched: Vec<WatchStats>,
}

/// The scrape's text. `api_name` names an API key.
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub fn render(stats: NodeStats, api_name: fn(i16) -> String) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("corelog");
    registry.register_collector(Box::new(Scrape { stats, api_name }));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

struct Scrape {
    stats: NodeStats,
    api_name: fn(i16) -> String,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("cores", &self.stats.cores.len()).finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.requests(&mut encoder)?;
        self.journals(&mut encoder)?;
        self.per_core(&mut encoder)?;
        self.memory(&mut encoder)?;
        self.log_dirs(&mut encoder)?;
        self.watchdog(&mut encoder)
    }
}

impl Scrape {
    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let of_all = |metric: &mut MetricEncoder<'_>, value: fn(&super::RequestStats) -> u64| {
            for core in &self.stats.cores {
                for (key, stats) in &core.requests {
                    let labels = [("api", (self.api_name)(*key)), ("core", core.core.to_string())];
                    count(metric, &labels, value(stats))?;
                }
            }
            Ok(())
        };
        family(encoder, "requests", "Requests answered", MetricType::Counter, |metric| {
            of_all(metric, |stats| stats.requests)
        })?;
        family(encoder, "request_bytes", "Bytes of requests", MetricType::Counter, |metric| {
            of_all(metric, |stats| stats.request_bytes)
        })?;
        family(encoder, "response_bytes", "Bytes of responses", MetricType::Counter, |metric| {
            of_all(metric, |stats| stats.response_bytes)
        })?;
        let help = "From the complete request to the complete reply";
        family(encoder, "request_seconds", help, MetricType::Histogram, |metric| {
            for core in &self.stats.cores {
                for (key, stats) in &core.requests {
                    let labels = [("api", (self.api_name)(*key)), ("core", core.core.to_string())];
                    histogram(metric, &labels, &stats.latency)?;
                }
            }
            Ok(())
        })
    }

    fn journals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let journal = |metric: &mut MetricEncoder<'_>,
                       value: fn(&corelog_storage::journal::JournalStats) -> u64| {
            for core in &self.stats.cores {
                for (dir, stats) in core.store.journals.iter().enumerate() {
                    let labels = [("core", core.core.to_string()), ("dir", dir.to_string())];
                    count(metric, &labels, value(stats))?;
                }
            }
            Ok(())
        };
        family(encoder, "journal_commits", "Group commits written", MetricType::Counter, |metric| {
            journal(metric, |stats| stats.commits)
        })?;
        family(encoder, "journal_entries", "Entries in group commits", MetricType::Counter, |metric| {
            journal(metric, |stats| stats.entries)
        })?;
        family(encoder, "journal_bytes", "Bytes written to journals", MetricType::Counter, |metric| {
            journal(metric, |stats| stats.bytes)
        })?;
        family(
            encoder,
            "journal_in_place_bytes",
            "Bytes of large batches that commits wrote straight to their segments",
            MetricType::Counter,
            |metric| journal(metric, |stats| stats.in_place_bytes),
        )?;
        family(encoder, "journal_flush_seconds", "How long flushes took", MetricType::Histogram, |metric| {
            for core in &self.stats.cores {
                histogram(metric, &[("core", core.core.to_string())], &core.flush)?;
            }
            Ok(())
        })
    }

    fn per_core(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Value = fn(&CoreStats) -> u64;
        let rows: [(&str, &str, MetricType, Value); 20] = [
            ("connections", "Open connections", MetricType::Gauge, |core| core.network.connections),
            ("connections_accepted", "Connections accepted", MetricType::Counter, |core| {
                core.network.connections_accepted
            }),
            ("connections_handed_over", "Connections handed to another core", MetricType::Counter, |core| {
                core.network.connections_handed_over
            }),
            ("received_bytes", "Bytes received", MetricType::Counter, |core| core.network.received_bytes),
            ("sent_bytes", "Bytes sent", MetricType::Counter, |core| core.network.sent_bytes),
            ("partitions", "Partitions owned", MetricType::Gauge, |core| core.partitions),
            (
                "offline_partitions",
                "Partitions owned that cannot be used: their log directory failed, or their log could not be opened",
                MetricType::Gauge,
                |core| core.offline_partitions,
            ),
            ("groups", "Groups coordinated", MetricType::Gauge, |core| core.groups),
            ("group_offsets", "Offsets committed by groups", MetricType::Gauge, |core| core.group_offsets),
            ("log_bytes", "Bytes of the partitions' logs", MetricType::Gauge, |core| core.log_bytes),
            ("log_segments", "Segments of the partitions' logs", MetricType::Gauge, |core| core.log_segments),
            ("cross_core_requests", "Requests to other cores", MetricType::Counter, |core| {
                core.cross_core_requests
            }),
            (
                "cross_core_waits",
                "Requests to other cores that waited for a credit",
                MetricType::Counter,
                |core| core.cross_core_waits,
            ),
            ("dirty_bytes", "Bytes that are in the journal only", MetricType::Gauge, |core| {
                core.store.dirty_bytes
            }),
            ("scrub_passes", "Times that all logs were scrubbed", MetricType::Counter, |core| {
                core.store.scrubbed.passes
            }),
            ("scrub_segments", "Segments read to their end by scrubbing", MetricType::Counter, |core| {
                core.store.scrubbed.segments
            }),
            ("scrub_bytes", "Bytes of segments verified by scrubbing", MetricType::Counter, |core| {
                core.store.scrubbed.bytes
            }),
            (
                "scrub_damaged_segments",
                "Segments that scrubbing found damaged or unreadable, again in each pass",
                MetricType::Counter,
                |core| core.store.scrubbed.damaged_segments,
            ),
            ("scrub_mended_indexes", "Indexes that scrubbing made again", MetricType::Counter, |core| {
                core.store.scrubbed.mended_indexes
            }),
            ("open_segment_files", "Segment files open", MetricType::Gauge, |core| {
                core.store.open_files as u64
            }),
        ];
        for (name, help, kind, value) in rows {
            family(encoder, name, help, kind, |metric| {
                for core in &self.stats.cores {
                    let labels = [("core", core.core.to_string())];
                    match kind {
                        MetricType::Gauge => gauge(metric, &labels, value(core))?,
                        _ => count(metric, &labels, value(core))?,
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Kafka's `kafka.log:type=LogManager,name=OfflineLogDirectoryCount`.
    fn log_dirs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let offline: BTreeSet<_> = self.stats.cores.iter().flat_map(|core| &core.offline_dirs).collect();
        let help = "Log directories that cannot be used: they failed, or are missing";
        family(encoder, "offline_log_directories", help, MetricType::Gauge, |metric| {
            gauge(metric, &[], offline.len() as u64)
        })
    }

    fn watchdog(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Value = fn(&WatchStats) -> u64;
        let rows: [(&str, &str, Value); 2] = [
            ("watchdog_wakes", "Times a core slept with work to do and was woken", |seen| seen.wakes),
            ("watchdog_stalls", "Times a core did not answer for 200 ms", |seen| seen.stalls),
        ];
        for (name, help, value) in rows {
            family(encoder, name, help, MetricType::Counter, |metric| {
                for (core, seen) in self.stats.watched.iter().enumerate() {
                    count(metric, &[("core", core.to_string())], value(seen))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn memory(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        family(encoder, "memory_bytes", "Memory charged to the budget", MetricType::Gauge, |metric| {
            for core in &self.stats.cores {
                let storage = [
                    ("tail_cache", core.store.tail_cache_bytes as u64),
                    ("cold_reads", core.store.cold_bytes),
                ];
                for (share, bytes) in core.memory_bytes.iter().chain(&storage) {
                    gauge(
                        metric,
                        &[("core", core.core.to_string()), ("share", (*share).to_owned())],
                        *bytes,
                    )?;
                }
            }
            Ok(())
        })
    }
}

fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    fill: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    fill(&mut encoder.encode_descriptor(name, help, None, kind)?)
}

type Labels<'a> = [(&'a str, String)];

fn count(metric: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: u64) -> fmt::Result {
    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn gauge(metric: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: u64) -> fmt::Result {
    metric.encode_family(&labels)?.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
}

fn histogram(metric: &mut MetricEncoder<'_>, labels: &Labels<'_>, latency: &Latency) -> fmt::Result {
    let buckets: Vec<(f64, u64)> = latency.buckets().collect();
    let sum = latency.sum_us() as f64 / 1e6;
    metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, latency.count(), &buckets, None)
}
