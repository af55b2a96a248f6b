//! The values of the broker's keys for consumer groups of KIP-848, as the coordinator wants them.
//!
//! The keys are a section of the table (`broker_settings/coordinators.rs`). Contradictions are Kafka's (GroupCoordinatorConfig). Deliberately absent: settings of single groups
//! (`single_group_settings.rs`), and assignors that are loaded as classes.

use corelog_logic::group::assignors::Assignor;
use corelog_logic::group::consumer::{ConsumerGroupConfig, MigrationPolicy};

use super::load::{ConfigError, Given};
use super::setting::list;

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
    let bounds = |min: &'static str, max: &'static str| (number(min) as i32, number(max) as i32);
    Ok(ConsumerGroupConfig {
        session_timeout_ms: session_timeout_ms as i32,
        heartbeat_interval_ms: heartbeat_interval_ms as i32,
        session_timeout_bounds_ms: bounds(
            "group.consumer.min.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
        ),
        heartbeat_interval_bounds_ms: bounds(
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
        ),
        assignment_interval_bounds_ms: bounds(
            "group.consumer.min.assignment.interval.ms",
            "group.consumer.max.assignment.interval.ms",
        ),
        max_size: number("group.consumer.max.size") as usize,
        assignors: list(text("group.consumer.assignors")).filter_map(Assignor::by_name).collect(),
        assignment_interval_ms: number("group.consumer.assignment.interval.ms") as i32,
        regex_refresh_interval_ms: number("group.consumer.regex.refresh.interval.ms"),
        migration_policy: MigrationPolicy::by_name(text("group.consumer.migration.policy"))
            .unwrap_or(MigrationPolicy::Bidirectional),
    })
}
