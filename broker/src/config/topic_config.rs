//! What a topic's keys resolve to: the topic's own value, else the broker's, else the default.
//!
//! Typed for the partitions (`TopicConfig`), and as texts with source and synonyms for DescribeConfigs.

use corelog_storage::batch::Encoding;

use super::setting::list;
use super::topic_settings::{TopicSetting, topic_setting};
use super::values::{BrokerValues, Source, Synonym};

/// The values that partitions act on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopicConfig {
    pub max_message_bytes: usize,
    pub segment_bytes: u64,
    pub segment_ms: u64,
    pub log_append_time: bool,
    /// Random part of `segment_ms`, in milliseconds.
    pub segment_jitter_ms: u64,
    /// How long records are kept, in milliseconds; `None` for ever.
    pub retention_ms: Option<i64>,
    /// How many bytes of a partition are kept; `None` for all.
    pub retention_bytes: Option<u64>,
    /// When and how compacted topics are compacted.
    pub cleanable_ratio_min: f64,
    pub compaction_lag_min_ms: i64,
    pub compaction_lag_max_ms: i64,
    pub delete_retention_ms: i64,
    /// What becomes of old records.
    pub cleanup: CleanupPolicy,
    /// How long the files of removed segments stay, in milliseconds.
    pub file_delete_delay_ms: u64,
    /// What batches are compressed with; `None` for as they came.
    pub compression: Option<Encoding>,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
}

/// `cleanup.policy`; neither is allowed, and keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CleanupPolicy {
    /// Segments that are too old or too many go.
    pub delete: bool,
    /// Of records with the same key the newest stays; records must have keys.
    pub compact: bool,
}

impl CleanupPolicy {
    fn of(text: &str) -> Self {
        let names = |policy: &str| list(text).any(|named| named == policy);
        Self { delete: names("delete"), compact: names("compact") }
    }
}

/// Every place that gives `topic` a value, nearest first; Kafka's `createTopicConfigEntry`.
pub fn synonyms(topic: &TopicSetting, own: Option<&str>, broker: &BrokerValues<'_>) -> Vec<Synonym> {
    let own = own.map(|value| Synonym {
        name: topic.setting.name.to_owned(),
        value: Some(topic.setting.shown(value)),
        source: Source::Topic,
    });
    let inherited = topic.broker_name.map(|name| broker.synonyms(name)).unwrap_or_default();
    own.into_iter().chain(inherited).collect()
}

/// The value that counts for a topic.
pub fn effective(topic: &TopicSetting, own: Option<&str>, broker: &BrokerValues<'_>) -> String {
    let value = match (own, topic.broker_name) {
        (Some(value), _) => Some(value.to_owned()),
        (None, Some(name)) => broker.effective(name),
        (None, None) => None,
    };
    value.or(topic.setting.default.map(str::to_owned)).unwrap_or_default()
}

impl TopicConfig {
    /// Resolves a topic's values. `own` looks up what the topic itself was given.
    pub fn resolve<'a>(own: impl Fn(&str) -> Option<&'a str>, broker: &BrokerValues<'_>) -> Self {
        let text = |name: &'static str| -> String {
            topic_setting(name).map(|topic| effective(topic, own(name), broker)).unwrap_or_default()
        };
        // Checked when it was given; the defaults are checked by the tables' test.
        let number = |name: &'static str| text(name).trim().parse::<i64>().unwrap_or_default();
        let level = |name: &'static str| number(name) as i32;
        let compression = match text("compression.type").trim() {
            "uncompressed" => Some(Encoding::Uncompressed),
            "gzip" => Some(Encoding::Gzip { level: level("compression.gzip.level") }),
            "snappy" => Some(Encoding::Snappy),
            "lz4" => Some(Encoding::Lz4 { level: level("compression.lz4.level") }),
            "zstd" => Some(Encoding::Zstd { level: level("compression.zstd.level") }),
            _ => None,
        };
        Self {
            compression,
            max_message_bytes: number("max.message.bytes").max(0) as usize,
            segment_bytes: number("segment.bytes").max(0) as u64,
            segment_ms: number("segment.ms").max(0) as u64,
            log_append_time: text("message.timestamp.type").trim() == "LogAppendTime",
            segment_jitter_ms: number("segment.jitter.ms").max(0) as u64,
            retention_ms: Some(number("retention.ms")).filter(|ms| *ms >= 0),
            retention_bytes: u64::try_from(number("retention.bytes")).ok(),
            cleanable_ratio_min: text("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5),
            compaction_lag_min_ms: number("min.compaction.lag.ms"),
            compaction_lag_max_ms: number("max.compaction.lag.ms"),
            delete_retention_ms: number("delete.retention.ms"),
            cleanup: CleanupPolicy::of(&text("cleanup.policy")),
            file_delete_delay_ms: number("file.delete.delay.ms").max(0) as u64,
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
        }
    }
}
