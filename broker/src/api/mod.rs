//! Kafka's APIs: what a frame says, and what it is answered. Called by `net` for every frame.
//!
//! One file or folder per API, named by its key; the table below is what ApiVersions answers from and what requests are
//! dispatched by. A new API is its shape (`shape/table.rs`), its file, and its line here.

mod altered_configs;
pub mod broker;
mod config_entries;
mod config_resource;
pub mod cores;
pub mod dispatch;
pub mod error_code;
mod group;
mod grouping;
mod inspecting;
pub mod service;
pub mod shape;
pub mod wire;

#[path = "29_30_31_acls.rs"]
mod acls;
#[path = "33_alter_configs.rs"]
mod alter_configs;
#[path = "45_alter_partition_reassignments.rs"]
mod alter_partition_reassignments;
#[path = "18_api_versions.rs"]
mod api_versions;
#[path = "69_consumer_group_describe.rs"]
mod consumer_group_describe;
#[path = "68_consumer_group_heartbeat.rs"]
mod consumer_group_heartbeat;
#[path = "37_create_partitions.rs"]
mod create_partitions;
#[path = "19_create_topics.rs"]
mod create_topics;
#[path = "42_delete_groups.rs"]
mod delete_groups;
#[path = "21_delete_records.rs"]
mod delete_records;
#[path = "20_delete_topics.rs"]
mod delete_topics;
#[path = "48_describe_client_quotas.rs"]
mod describe_client_quotas;
#[path = "60_describe_cluster.rs"]
mod describe_cluster;
#[path = "32_describe_configs.rs"]
mod describe_configs;
#[path = "15_describe_groups.rs"]
mod describe_groups;
#[path = "35_describe_log_dirs.rs"]
mod describe_log_dirs;
#[path = "61_describe_producers.rs"]
mod describe_producers;
#[path = "55_describe_quorum.rs"]
mod describe_quorum;
#[path = "75_describe_topic_partitions.rs"]
mod describe_topic_partitions;
#[path = "50_describe_user_scram_credentials.rs"]
mod describe_user_scram_credentials;
#[path = "43_elect_leaders.rs"]
mod elect_leaders;
#[path = "01_fetch/mod.rs"]
pub mod fetch;
#[path = "10_find_coordinator.rs"]
mod find_coordinator;
#[path = "12_heartbeat.rs"]
mod heartbeat;
#[path = "44_incremental_alter_configs.rs"]
mod incremental_alter_configs;
#[path = "22_init_producer_id.rs"]
mod init_producer_id;
#[path = "11_join_group.rs"]
mod join_group;
#[path = "13_leave_group.rs"]
mod leave_group;
#[path = "74_list_config_resources.rs"]
mod list_config_resources;
#[path = "16_list_groups.rs"]
mod list_groups;
#[path = "02_list_offsets.rs"]
mod list_offsets;
#[path = "46_list_partition_reassignments.rs"]
mod list_partition_reassignments;
#[path = "03_metadata.rs"]
mod metadata;
#[path = "08_offset_commit.rs"]
mod offset_commit;
#[path = "47_offset_delete.rs"]
mod offset_delete;
#[path = "09_offset_fetch.rs"]
mod offset_fetch;
#[path = "23_offset_for_leader_epoch.rs"]
mod offset_for_leader_epoch;
#[path = "00_produce/mod.rs"]
pub mod produce;
#[path = "14_sync_group.rs"]
mod sync_group;
#[path = "64_unregister_broker.rs"]
mod unregister_broker;
#[path = "57_update_features.rs"]
mod update_features;

use std::rc::Rc;

use broker::Broker;
use dispatch::Request;
use service::Dispatched;
use wire::Read;

pub use dispatch::Kafka;

/// An API that is served. Its versions are those of its shape.
pub(crate) struct Api {
    /// API key.
    pub(crate) key: i16,
    /// First version that ApiVersions tells, where it is lower than the first one served.
    pub(crate) advertised_min: Option<i16>,
    /// Reads the body and says how to answer it; refuses what is malformed.
    pub(crate) handle: fn(&Rc<Broker>, Request) -> Read<Dispatched>,
}

/// Every API that is served, by key.
pub(crate) const APIS: &[Api] = &[
    // Produce is told from 0 on, although 0 to 2 are gone (KIP-896): older librdkafka stops compressing otherwise.
    Api { key: 0, advertised_min: Some(0), handle: produce::handle },
    Api { key: 1, advertised_min: None, handle: fetch::handle },
    Api { key: 2, advertised_min: None, handle: list_offsets::handle },
    Api { key: 3, advertised_min: None, handle: metadata::handle },
    Api { key: 8, advertised_min: None, handle: offset_commit::handle },
    Api { key: 9, advertised_min: None, handle: offset_fetch::handle },
    Api { key: 10, advertised_min: None, handle: find_coordinator::handle },
    Api { key: 11, advertised_min: None, handle: join_group::handle },
    Api { key: 12, advertised_min: None, handle: heartbeat::handle },
    Api { key: 13, advertised_min: None, handle: leave_group::handle },
    Api { key: 14, advertised_min: None, handle: sync_group::handle },
    Api { key: 15, advertised_min: None, handle: describe_groups::handle },
    Api { key: 16, advertised_min: None, handle: list_groups::handle },
    Api { key: api_versions::KEY, advertised_min: None, handle: api_versions::handle },
    Api { key: 19, advertised_min: None, handle: create_topics::handle },
    Api { key: 20, advertised_min: None, handle: delete_topics::handle },
    Api { key: 21, advertised_min: None, handle: delete_records::handle },
    Api { key: 22, advertised_min: None, handle: init_producer_id::handle },
    Api { key: 23, advertised_min: None, handle: offset_for_leader_epoch::handle },
    Api { key: 29, advertised_min: None, handle: acls::describe },
    Api { key: 30, advertised_min: None, handle: acls::create },
    Api { key: 31, advertised_min: None, handle: acls::delete },
    Api { key: 32, advertised_min: None, handle: describe_configs::handle },
    Api { key: 33, advertised_min: None, handle: alter_configs::handle },
    Api { key: 35, advertised_min: None, handle: describe_log_dirs::handle },
    Api { key: 37, advertised_min: None, handle: create_partitions::handle },
    Api { key: 42, advertised_min: None, handle: delete_groups::handle },
    Api { key: 43, advertised_min: None, handle: elect_leaders::handle },
    Api { key: 44, advertised_min: None, handle: incremental_alter_configs::handle },
    Api { key: 45, advertised_min: None, handle: alter_partition_reassignments::handle },
    Api { key: 46, advertised_min: None, handle: list_partition_reassignments::handle },
    Api { key: 47, advertised_min: None, handle: offset_delete::handle },
    Api { key: 48, advertised_min: None, handle: describe_client_quotas::handle },
    Api { key: 50, advertised_min: None, handle: describe_user_scram_credentials::handle },
    Api { key: 55, advertised_min: None, handle: describe_quorum::handle },
    Api { key: 57, advertised_min: None, handle: update_features::handle },
    Api { key: 60, advertised_min: None, handle: describe_cluster::handle },
    Api { key: 61, advertised_min: None, handle: describe_producers::handle },
    Api { key: 64, advertised_min: None, handle: unregister_broker::handle },
    Api { key: 68, advertised_min: None, handle: consumer_group_heartbeat::handle },
    Api { key: 69, advertised_min: None, handle: consumer_group_describe::handle },
    Api { key: 74, advertised_min: None, handle: list_config_resources::handle },
    Api { key: 75, advertised_min: None, handle: describe_topic_partitions::handle },
];

/// The name of an API, as Kafka writes it; for metrics.
pub fn name_of(key: i16) -> String {
    shape::Shape::of(key).map_or_else(|| format!("api_{key}"), |shape| shape.name.to_owned())
}
