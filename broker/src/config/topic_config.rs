//! What a topic's keys resolve to: the topic's own value, else the broker's, else the default.
//!
//! Typed for the partitions (`TopicConfig`), and as texts with source and synonyms for DescribeConfigs.

use super::broker_settings::broker_setting;
use super::load::Given;
use super::setting::{InvalidValue, list};
use super::topic_settings::{TopicSetting, topic_setting};

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

/// Where an effective value comes from, with Kafka's numbers (DescribeConfigsResponse.ConfigSource, KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Topic,
    StaticBroker,
    Default,
}

impl Source {
    /// Kafka's number for the source.
    pub fn code(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::StaticBroker => 4,
            Self::Default => 5,
        }
    }
}

/// One place that gives a key a value, nearest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    pub value: Option<String>,
    pub source: Source,
}

/// Checks one of a topic's keys.
///
/// # Errors
/// An unknown key, or a value it does not take.
pub fn check(name: &str, value: &str) -> Result<(), InvalidValue> {
    match topic_setting(name) {
        Some(topic) => topic.setting.check(value),
        None => Err(InvalidValue {
            key: name.to_owned(),
            value: value.to_owned(),
            expected: "a topic configuration that exists; this name is unknown".to_owned(),
            example: String::new(),
        }),
    }
}

/// Every place that gives `topic` a value, nearest first; the first one counts.
pub fn synonyms(topic: &TopicSetting, own: Option<&str>, broker: &Given) -> Vec<Synonym> {
    let mut found = Vec::new();
    if let Some(value) = own {
        found.push(Synonym {
            name: topic.setting.name,
            value: Some(value.to_owned()),
            source: Source::Topic,
        });
    }
    if let Some(name) = topic.broker_name {
        if let Some(value) = broker.get(name) {
            found.push(Synonym { name, value: Some(value.to_owned()), source: Source::StaticBroker });
        }
        // Kafka keeps coarser units as older names of the same value.
        for (coarse, factor) in coarser_names(name) {
            if let Some(value) = broker.get(coarse) {
                let scaled = value.parse::<i64>().ok().map(|n| n.saturating_mul(*factor).to_string());
                found.push(Synonym { name: coarse, value: scaled, source: Source::StaticBroker });
            }
        }
        let default = broker_setting(name).and_then(|setting| setting.default).or(topic.setting.default);
        found.push(Synonym { name, value: default.map(str::to_owned), source: Source::Default });
    } else {
        found.push(Synonym {
            name: topic.setting.name,
            value: topic.setting.default.map(str::to_owned),
            source: Source::Default,
        });
    }
    found
}

fn coarser_names(name: &str) -> &'static [(&'static str, i64)] {
    match name {
        "log.roll.ms" => &[("log.roll.hours", 3_600_000)],
        "log.roll.jitter.ms" => &[("log.roll.jitter.hours", 3_600_000)],
        "log.retention.ms" => &[("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)],
        _ => &[],
    }
}

impl TopicConfig {
    /// Resolves a topic's values. `own` looks up what the topic itself was given.
    pub fn resolve<'a>(own: impl Fn(&str) -> Option<&'a str>, broker: &Given) -> Self {
        let text = |name: &'static str| -> String {
            let first = topic_setting(name)
                .and_then(|topic| synonyms(topic, own(name), broker).into_iter().next())
                .and_then(|synonym| synonym.value);
            first.unwrap_or_default()
        };
        // Checked when it was given; the defaults are checked by the tables' test.
        let number = |name: &'static str| text(name).trim().parse::<i64>().unwrap_or_default();
        Self {
            max_message_bytes: number("max.message.bytes").max(0) as usize,
            segment_bytes: number("segment.bytes").max(0) as u64,
            segment_ms: number("segment.ms").max(0) as u64,
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
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
