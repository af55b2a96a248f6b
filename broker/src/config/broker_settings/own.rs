//! Corelog's own keys. Kafka does not know them: all begin with `corelog.`.
//!
//! One section of the broker's table (`mod.rs`).

use super::super::key;
use super::super::setting::Setting;

/// Corelog's own keys.
pub(super) const OWN: &[Setting] = &[
    key::int("corelog.cores", Some("0")).at_least(0).acts("Cores that serve: 0 means all that the process may use."),
    key::long("corelog.memory.bytes", Some("0")).acts("Memory for requests, caches and replies, in bytes: 0 means a quarter of the machine, at most 2 GiB. At least 64 MiB."),
    key::string("corelog.flush", Some("always")).one_of(&["always", "written"]).acts("When a record counts as stored: `always` when the disk has flushed it; `written` when the write has completed, which survives a killed process but not a power cut."),
    key::long("corelog.journal.bytes", Some("268435456")).at_least(16777216).acts("Size of each core's journal per log directory, in bytes. A batch may take an eighth of it."),
    key::int("corelog.frame.timeout.ms", Some("30000")).at_least(1).acts("How long a request may take to arrive once it has begun, in milliseconds."),
    key::int("corelog.shutdown.timeout.ms", Some("10000")).at_least(0).acts("How long SIGTERM waits for requests under way, in milliseconds."),
    key::string("corelog.validate.records", Some("full")).one_of(&["full", "header"]).acts("`full` walks every record of a batch as Kafka does, decompressing it; `header` checks the batch's header and checksum only."),
    key::long("corelog.scrub.bytes.per.second", Some("10485760")).at_least(0).acts("How fast segments are read to verify them when nobody asks for them, in bytes per second of the whole node. 0: never."),
    key::long("corelog.scrub.interval.ms", Some("604800000")).at_least(0).acts("How often all segments are verified, in milliseconds, when corelog.scrub.bytes.per.second is enough for that."),
    key::string("corelog.metrics.listen", Some("")).acts("host:port that serves Prometheus text at /metrics. Empty: none."),
];
