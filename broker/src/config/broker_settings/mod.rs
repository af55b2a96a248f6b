//! The broker's keys: one table with type, default, allowed values, how they can be changed, effect and documentation.
//!
//! Kafka's names and Kafka's defaults, unless the documentation says otherwise. A section is a file. `corelog.` marks our own.

mod cluster;
mod coordinators;
mod logs;
mod network;
mod node;
mod own;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::setting::Setting;

/// Every key that `corelog start` knows, in sections.
pub const BROKER_SECTIONS: &[(&str, &[Setting])] = &[
    ("Node", node::NODE),
    ("Corelog", own::OWN),
    ("Topics and logs", logs::LOGS),
    ("Network", network::NETWORK),
    ("Groups and transactions", coordinators::COORDINATORS),
    ("Cluster", cluster::CLUSTER),
];

/// All sections' keys.
pub fn broker_settings() -> impl Iterator<Item = &'static Setting> {
    BROKER_SECTIONS.iter().flat_map(|(_, settings)| *settings)
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static Setting>> =
    LazyLock::new(|| broker_settings().map(|setting| (setting.name, setting)).collect());

/// Looks a key up by its exact name.
pub fn broker_setting(name: &str) -> Option<&'static Setting> {
    BY_NAME.get(name).copied()
}
