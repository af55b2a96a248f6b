//! The values of the broker's keys for groups and their topic, as the coordinator wants them.
//!
//! The keys are a section of the table (`broker_settings/coordinators.rs`). Deliberately absent: settings of single groups.

use corelog_logic::group::GroupConfig;

use super::consumer_group_settings;
use super::load::{ConfigError, Given};

/// What the values come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupsConfig {
    /// The coordinator's rules.
    pub rules: GroupConfig,
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_partitions: i32,
    /// `offsets.topic.segment.bytes`.
    pub offsets_topic_segment_bytes: i64,
    /// `group.coordinator.append.linger.ms`; -1 for none.
    pub append_linger_ms: i64,
    /// `offsets.topic.compression.codec`, by its number.
    pub offsets_topic_compression: u8,
}

impl GroupsConfig {
    /// Builds the values from checked texts.
    ///
    /// # Errors
    /// A shortest session timeout above the longest one.
    pub(super) fn build(given: &Given) -> Result<Self, ConfigError> {
        let number = |name: &'static str| -> i64 {
            given.effective(name).and_then(|value| value.trim().parse().ok()).unwrap_or_default()
        };
        let (min, max) = (number("group.min.session.timeout.ms"), number("group.max.session.timeout.ms"));
        if min > max {
            return Err(ConfigError::Contradiction {
                key: "group.min.session.timeout.ms",
                value: min.to_string(),
                why: format!("it exceeds group.max.session.timeout.ms={max}; lower this or raise that"),
            });
        }
        Ok(Self {
            rules: GroupConfig {
                consumer: consumer_group_settings::build(given)?,
                initial_rebalance_delay_ms: number("group.initial.rebalance.delay.ms"),
                max_size: number("group.max.size") as usize,
                min_session_timeout_ms: min as i32,
                max_session_timeout_ms: max as i32,
                offset_metadata_max_bytes: number("offset.metadata.max.bytes") as usize,
                offsets_retention_ms: number("offsets.retention.minutes").saturating_mul(60_000),
                offsets_retention_check_interval_ms: number("offsets.retention.check.interval.ms"),
            },
            offsets_topic_partitions: number("offsets.topic.num.partitions") as i32,
            offsets_topic_segment_bytes: number("offsets.topic.segment.bytes"),
            append_linger_ms: number("group.coordinator.append.linger.ms"),
            offsets_topic_compression: number("offsets.topic.compression.codec") as u8,
        })
    }
}
