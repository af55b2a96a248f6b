//! What a node is and where it lives: listeners, roles, quorum, directories.
//!
//! One section of the broker's table (`mod.rs`). Deliberately absent: what the values become (`broker_config.rs`).

use super::super::key;
use super::super::setting::Setting;

/// Listeners, roles, directories.
pub(super) const NODE: &[Setting] = &[
    key::list("listeners", Some("PLAINTEXT://127.0.0.1:9092")).acts("Addresses to listen on: NAME://host:port, comma-separated. An empty host means every interface, port 0 any free port. Corelog's default is loopback only, unlike Kafka's."),
    key::list("advertised.listeners", None).acts("Addresses that clients are told to use. Unset, each client is told the address it dialled."),
    key::list("listener.security.protocol.map", Some("PLAINTEXT:PLAINTEXT")).acts("Protocol of each listener name. Only PLAINTEXT is served so far; CONTROLLER listeners are ignored, for one node is its own controller."),
    key::int("node.id", Some("1")).at_least(0).acts("Number of this node. Kept in meta.properties at the first start."),
    key::int("broker.id", Some("-1")).not_yet("Kafka's older name for node.id, which counts."),
    key::list("process.roles", Some("broker,controller")).each_of(&["broker", "controller"]).not_yet("Roles of this process. A single Corelog node always plays both."),
    key::list("controller.quorum.voters", Some("")).not_yet("Voters of the metadata quorum. A single node is its own quorum."),
    key::list("controller.quorum.bootstrap.servers", Some("")).not_yet("Where to find the metadata quorum. A single node is its own quorum."),
    key::list("controller.listener.names", Some("CONTROLLER")).acts("Names of the controllers' listeners. Listeners of these names are ignored."),
    key::string("inter.broker.listener.name", None).not_yet("Listener between brokers."),
    key::string("security.inter.broker.protocol", Some("PLAINTEXT")).not_yet("Protocol between brokers. One node talks to nobody."),
    key::string("broker.rack", None).acts("Where this node stands, as clients are told it, so that they can read from a near replica."),
    key::list("log.dirs", None).acts("Directories for data, comma-separated. Unset, log.dir counts; with no configuration file, ./corelog-data."),
    key::string("log.dir", Some("corelog-data")).acts("The one directory for data when log.dirs is unset."),
    key::string("metadata.log.dir", None).not_yet("Directory of the metadata log. Corelog keeps it in the first of log.dirs."),
];
