//! The broker's keys for groups and their topic: a part of the table, and their values as the coordinator wants them.
//!
//! Names, defaults and bounds are Kafka's (GroupCoordinatorConfig). Deliberately absent: settings of single groups.

use corelog_logic::group::GroupConfig;

use super::consumer_group_settings;
use super::load::{ConfigError, Given};
use super::setting::{Allowed, Effect, Kind, Setting};

const fn setting(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    allowed: Allowed,
    effect: Effect,
    doc: &'static str,
) -> Setting {
    Setting { name, kind, default: Some(default), allowed, effect, doc }
}

/// The keys.
pub(super) const GROUP_SETTINGS: [Setting; 14] = {
    use Allowed::{AtLeast, Between};
    use Effect::{Acts, NotYet};
    use Kind::{Int, Long};
    [
        setting(
            "offsets.topic.replication.factor",
            Int,
            "3",
            AtLeast(1),
            Acts,
            "Replication factor of __consumer_offsets. Clamped to the number of nodes, which is one.",
        ),
        setting(
            "offsets.topic.num.partitions",
            Int,
            "50",
            AtLeast(1),
            Acts,
            "Partitions of __consumer_offsets, when it is made.",
        ),
        setting(
            "offsets.topic.segment.bytes",
            Int,
            "104857600",
            AtLeast(1),
            Acts,
            "Size of a segment of __consumer_offsets, in bytes, when it is made.",
        ),
        setting(
            "offsets.topic.compression.codec",
            Int,
            "0",
            Between(0, 4),
            Acts,
            "Codec of what is written to __consumer_offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
        ),
        setting(
            "offset.metadata.max.bytes",
            Int,
            "4096",
            AtLeast(0),
            Acts,
            "Longest metadata string of an offset commit; counted in characters, like in Kafka.",
        ),
        setting(
            "offsets.retention.minutes",
            Int,
            "10080",
            AtLeast(1),
            Acts,
            "How long committed offsets are kept after their group lost its last member, or after the commit where there is no group.",
        ),
        setting(
            "offsets.retention.check.interval.ms",
            Long,
            "600000",
            AtLeast(1),
            Acts,
            "How often expired offsets are looked for, in milliseconds.",
        ),
        setting(
            "offsets.commit.timeout.ms",
            Int,
            "5000",
            AtLeast(1),
            NotYet,
            "How long a commit may wait for replicas, in milliseconds. With one replica it waits for the disk only.",
        ),
        setting(
            "offsets.load.buffer.size",
            Int,
            "5242880",
            AtLeast(1),
            NotYet,
            "Bytes that are read at a time when groups are loaded.",
        ),
        setting(
            "group.initial.rebalance.delay.ms",
            Int,
            "3000",
            AtLeast(0),
            Acts,
            "How long a new group waits for more members, in milliseconds.",
        ),
        setting("group.max.size", Int, "2147483647", AtLeast(1), Acts, "Members that a group may have."),
        setting(
            "group.min.session.timeout.ms",
            Int,
            "6000",
            AtLeast(1),
            Acts,
            "Shortest session timeout that a member may ask for, in milliseconds.",
        ),
        setting(
            "group.max.session.timeout.ms",
            Int,
            "1800000",
            AtLeast(1),
            Acts,
            "Longest session timeout that a member may ask for, in milliseconds.",
        ),
        setting(
            "group.coordinator.threads",
            Int,
            "4",
            AtLeast(1),
            NotYet,
            "Threads of the group coordinator. Groups are coordinated by the core that owns their partition of __consumer_offsets.",
        ),
    ]
};

/// What the values come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupsConfig {
    /// The coordinator's rules.
    pub rules: GroupConfig,
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_partitions: i32,
    /// `offsets.topic.segment.bytes`.
    pub offsets_topic_segment_bytes: i64,
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
            offsets_topic_compression: number("offsets.topic.compression.codec") as u8,
        })
    }
}
