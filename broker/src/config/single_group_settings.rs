//! The keys of single groups: one table with type, allowed values, documentation and the broker's keys that give default and bounds.
//!
//! Kafka's GroupConfig, as far as there are such groups here; what a group is given is acted upon in `logic` (`Context::consumer_config`).
//! Deliberately absent: keys of share groups and streams groups.

use std::collections::BTreeMap;

use corelog_logic::group::{
    CONSUMER_ASSIGNMENT_INTERVAL_MS, CONSUMER_HEARTBEAT_INTERVAL_MS, CONSUMER_SESSION_TIMEOUT_MS,
};

use super::key;
use super::load::Given;
use super::setting::Setting;

/// A group's key, and the broker's keys for those groups that were not given it, and for its bounds.
#[derive(Debug, Clone, Copy)]
pub struct GroupSetting {
    pub setting: Setting,
    pub broker_name: &'static str,
    min_name: &'static str,
    max_name: &'static str,
}

/// Every key that a group can be given.
pub const GROUP_SETTINGS: &[GroupSetting] = &[
    GroupSetting {
        setting: key::int(CONSUMER_ASSIGNMENT_INTERVAL_MS, Some("1000"))
            .at_least(0)
            .acts("Shortest time between two assignments of this group, in milliseconds."),
        broker_name: "group.consumer.assignment.interval.ms",
        min_name: "group.consumer.min.assignment.interval.ms",
        max_name: "group.consumer.max.assignment.interval.ms",
    },
    GroupSetting {
        setting: key::int(CONSUMER_HEARTBEAT_INTERVAL_MS, Some("5000"))
            .at_least(1)
            .acts("How often the members of this group are to send heartbeats, in milliseconds."),
        broker_name: "group.consumer.heartbeat.interval.ms",
        min_name: "group.consumer.min.heartbeat.interval.ms",
        max_name: "group.consumer.max.heartbeat.interval.ms",
    },
    GroupSetting {
        setting: key::int(CONSUMER_SESSION_TIMEOUT_MS, Some("45000"))
            .at_least(1)
            .acts("After how long without a heartbeat a member of this group is sent away, in milliseconds."),
        broker_name: "group.consumer.session.timeout.ms",
        min_name: "group.consumer.min.session.timeout.ms",
        max_name: "group.consumer.max.session.timeout.ms",
    },
];

/// Looks a key up by its exact name.
pub fn group_setting(name: &str) -> Option<&'static GroupSetting> {
    GROUP_SETTINGS.iter().find(|group| group.setting.name == name)
}

/// Why Kafka refuses what a group would have, in its words (`GroupConfig.validate`).
pub(super) fn refusal(configs: &BTreeMap<String, String>, given: &Given) -> Option<String> {
    if let Some(unknown) = configs.keys().find(|name| group_setting(name).is_none()) {
        return Some(format!("Unknown group config name: {unknown}"));
    }
    let refused = GROUP_SETTINGS
        .iter()
        .find_map(|group| configs.get(group.setting.name).and_then(|value| group.setting.refusal(value)));
    if refused.is_some() {
        return refused;
    }
    let of_broker = |name: &'static str| number(given.effective(name).unwrap_or_default());
    let of_group = |group: &GroupSetting| match configs.get(group.setting.name) {
        Some(value) => number(value),
        None => of_broker(group.broker_name),
    };
    // In Kafka's order: heartbeats, sessions, assignments.
    let in_order =
        [CONSUMER_HEARTBEAT_INTERVAL_MS, CONSUMER_SESSION_TIMEOUT_MS, CONSUMER_ASSIGNMENT_INTERVAL_MS];
    for group in in_order.into_iter().filter_map(group_setting) {
        let (name, value) = (group.setting.name, of_group(group));
        if value < of_broker(group.min_name) {
            return Some(format!("{name} must be greater than or equal to {}", group.min_name));
        }
        if value > of_broker(group.max_name) {
            return Some(format!("{name} must be less than or equal to {}", group.max_name));
        }
    }
    let value_of = |name: &str| group_setting(name).map_or(0, of_group);
    (value_of(CONSUMER_SESSION_TIMEOUT_MS) <= value_of(CONSUMER_HEARTBEAT_INTERVAL_MS)).then(|| {
        format!("{CONSUMER_SESSION_TIMEOUT_MS} must be greater than {CONSUMER_HEARTBEAT_INTERVAL_MS}")
    })
}

fn number(text: &str) -> i64 {
    text.trim().parse().unwrap_or_default()
}
