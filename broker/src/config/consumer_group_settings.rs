//! The broker's keys for consumer groups of KIP-848: a part of the table, and their values as the coordinator wants them.
//!
//! Names, defaults, bounds and contradictions are Kafka's (GroupCoordinatorConfig). Deliberately absent: settings of single groups, and assignors
//! that are loaded as classes.

use corelog_logic::group::assignors::Assignor;
use corelog_logic::group::consumer::{ConsumerGroupConfig, MigrationPolicy};

use super::load::{ConfigError, Given};
use super::setting::{Allowed, Effect, Kind, Setting, list};

const fn setting(name: &'static str, default: &'static str, allowed: Allowed, doc: &'static str) -> Setting {
    Setting { name, kind: Kind::Int, default: Some(default), allowed, effect: Effect::Acts, doc }
}

/// The keys.
pub(super) const CONSUMER_GROUP_SETTINGS: [Setting; 14] = {
    use Allowed::AtLeast;
    [
        setting(
            "group.consumer.session.timeout.ms",
            "45000",
            AtLeast(1),
            "How long a member may send no heartbeat, in milliseconds.",
        ),
        setting(
            "group.consumer.min.session.timeout.ms",
            "45000",
            AtLeast(1),
            "Shortest session timeout that may be set, in milliseconds.",
        ),
        setting(
            "group.consumer.max.session.timeout.ms",
            "60000",
            AtLeast(1),
            "Longest session timeout that may be set, in milliseconds.",
        ),
        setting(
            "group.consumer.heartbeat.interval.ms",
            "5000",
            AtLeast(1),
            "How often members are told to send heartbeats, in milliseconds.",
        ),
        setting(
            "group.consumer.min.heartbeat.interval.ms",
            "5000",
            AtLeast(1),
            "Shortest heartbeat interval that may be set, in milliseconds.",
        ),
        setting(
            "group.consumer.max.heartbeat.interval.ms",
            "15000",
            AtLeast(1),
            "Longest heartbeat interval that may be set, in milliseconds.",
        ),
        setting(
            "group.consumer.max.size",
            "2147483647",
            AtLeast(1),
            "Members that a consumer group may have. For groups of the classic protocol see group.max.size.",
        ),
        Setting {
            name: "group.consumer.assignors",
            kind: Kind::List,
            default: Some("uniform,range"),
            allowed: Allowed::EachOf(&["uniform", "range"]),
            effect: Effect::Acts,
            doc: "Assignors that members may ask for. The first one is taken when nobody asks.",
        },
        Setting {
            name: "group.consumer.migration.policy",
            kind: Kind::String,
            default: Some("bidirectional"),
            allowed: Allowed::OneOf(&["bidirectional", "upgrade", "downgrade", "disabled"]),
            effect: Effect::Acts,
            doc: "Which groups may change their protocol while they have members: classic ones to the new protocol (upgrade), back (downgrade), both ways, or none.",
        },
        setting(
            "group.consumer.assignment.interval.ms",
            "1000",
            AtLeast(0),
            "Shortest time between two assignments of a group, in milliseconds.",
        ),
        setting(
            "group.consumer.min.assignment.interval.ms",
            "0",
            AtLeast(0),
            "Lowest group.consumer.assignment.interval.ms that may be set.",
        ),
        setting(
            "group.consumer.max.assignment.interval.ms",
            "15000",
            AtLeast(0),
            "Highest group.consumer.assignment.interval.ms that may be set.",
        ),
        Setting {
            name: "group.consumer.assignor.offload.enable",
            kind: Kind::Boolean,
            default: Some("true"),
            allowed: Allowed::Any,
            effect: Effect::NotYet,
            doc: "Whether assignments are computed on a thread of their own. The core that owns the group computes them.",
        },
        setting(
            "group.consumer.regex.refresh.interval.ms",
            "600000",
            AtLeast(10_000),
            "How often the topics that match a group's regular expressions are looked for when no topic was created, in milliseconds.",
        ),
    ]
};

/// Builds the values from checked texts.
///
/// # Errors
/// Values outside of their own bounds, or a heartbeat interval that no session could survive.
pub(super) fn build(given: &Given) -> Result<ConsumerGroupConfig, ConfigError> {
    let number = |name: &'static str| -> i64 {
        given.effective(name).and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    };
    let at_least = |key: &'static str, least: &'static str| {
        let (value, bound) = (number(key), number(least));
        if value >= bound {
            return Ok(());
        }
        let why = format!("it is below {least}={bound}; raise this or lower that");
        Err(ConfigError::Contradiction { key, value: value.to_string(), why })
    };
    let bounded = [
        (
            "group.consumer.session.timeout.ms",
            "group.consumer.min.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
        ),
        (
            "group.consumer.heartbeat.interval.ms",
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
        ),
        (
            "group.consumer.assignment.interval.ms",
            "group.consumer.min.assignment.interval.ms",
            "group.consumer.max.assignment.interval.ms",
        ),
    ];
    for (key, min, max) in bounded {
        at_least(key, min)?;
        at_least(max, key)?;
    }
    let session_timeout_ms = number("group.consumer.session.timeout.ms");
    let heartbeat_interval_ms = number("group.consumer.heartbeat.interval.ms");
    if heartbeat_interval_ms >= session_timeout_ms {
        return Err(ConfigError::Contradiction {
            key: "group.consumer.heartbeat.interval.ms",
            value: heartbeat_interval_ms.to_string(),
            why: format!(
                "it must be less than group.consumer.session.timeout.ms={session_timeout_ms}; lower this or raise that"
            ),
        });
    }
    let text = |name: &'static str| given.effective(name).unwrap_or_default();
    Ok(ConsumerGroupConfig {
        session_timeout_ms: session_timeout_ms as i32,
        heartbeat_interval_ms: heartbeat_interval_ms as i32,
        max_size: number("group.consumer.max.size") as usize,
        assignors: list(text("group.consumer.assignors")).filter_map(Assignor::by_name).collect(),
        assignment_interval_ms: number("group.consumer.assignment.interval.ms") as i32,
        regex_refresh_interval_ms: number("group.consumer.regex.refresh.interval.ms"),
        migration_policy: MigrationPolicy::by_name(text("group.consumer.migration.policy"))
            .unwrap_or(MigrationPolicy::Bidirectional),
    })
}
