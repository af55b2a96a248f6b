//! What a decision needs beside the state: settings, time, chance, and the metadata of topics.
//!
//! Deliberately absent: where they come from.

use std::borrow::Cow;

use super::GroupId;
use super::consumer::ConsumerGroupConfig;
use crate::controller::{ConfigResource, MetadataImage, ResourceKind};

/// The broker's settings for groups, by Kafka's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i64,
    /// `group.max.size`.
    pub max_size: usize,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `offset.metadata.max.bytes`; like Kafka, counted in UTF-16 code units.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `group.consumer.…`.
    pub consumer: ConsumerGroupConfig,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX as usize,
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            consumer: ConsumerGroupConfig::default(),
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}

/// The time of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock in milliseconds since 1970: what records carry.
    pub wall_ms: i64,
    /// A clock that never jumps, in milliseconds from any start: what timers count.
    pub monotonic_ms: i64,
}

/// What a decision is made with.
pub struct Context<'a> {
    /// The time.
    pub now: Now,
    /// Settings.
    pub config: &'a GroupConfig,
    /// The topics, as this core knows them.
    pub image: &'a MetadataImage,
    /// The next 64 random bits, for member ids.
    pub random: &'a mut dyn FnMut() -> u64,
}

/// A group's own session timeout, as Kafka's GroupConfig names it (KIP-848).
pub const CONSUMER_SESSION_TIMEOUT_MS: &str = "consumer.session.timeout.ms";
/// A group's own heartbeat interval.
pub const CONSUMER_HEARTBEAT_INTERVAL_MS: &str = "consumer.heartbeat.interval.ms";
/// A group's own least time between two targets.
pub const CONSUMER_ASSIGNMENT_INTERVAL_MS: &str = "consumer.assignment.interval.ms";

impl<'a> Context<'a> {
    /// The settings of a consumer group: what it was given itself, within the bounds that the broker has today, and the broker's.
    pub fn consumer_config(&self, group_id: &GroupId) -> Cow<'a, ConsumerGroupConfig> {
        let of_broker = &self.config.consumer;
        if self.image.configured(ResourceKind::Group).next().is_none() {
            return Cow::Borrowed(of_broker);
        }
        let resource = ConfigResource::group(&**group_id);
        let mut own = self.image.configs(&resource).peekable();
        if own.peek().is_none() {
            return Cow::Borrowed(of_broker);
        }
        let mut config = of_broker.clone();
        for (name, value) in own {
            let (of_group, (min, max)) = match name {
                CONSUMER_SESSION_TIMEOUT_MS => {
                    (&mut config.session_timeout_ms, of_broker.session_timeout_bounds_ms)
                }
                CONSUMER_HEARTBEAT_INTERVAL_MS => {
                    (&mut config.heartbeat_interval_ms, of_broker.heartbeat_interval_bounds_ms)
                }
                CONSUMER_ASSIGNMENT_INTERVAL_MS => {
                    (&mut config.assignment_interval_ms, of_broker.assignment_interval_bounds_ms)
                }
                _ => continue,
            };
            if let Ok(value) = value.trim().parse::<i32>() {
                *of_group = value.min(max).max(min);
            }
        }
        Cow::Owned(config)
    }
}

impl Context<'_> {
    /// A random UUID in Kafka's usual form with dashes.
    pub fn uuid(&mut self) -> String {
        let bits = u128::from((self.random)()) << 64 | u128::from((self.random)());
        // Version 4, variant 1 (RFC 9562).
        let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let hex = format!("{bits:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}
