//! The controller: what the metadata of a cluster is, and how requests change it.
//!
//! `decide` turns a command into records, the control thread commits them, `replay` applies them to the image.
//! Deliberately absent: committing, publishing, error codes of the protocol.

mod assign;
mod command;
mod configs;
mod decide;
mod features;
mod image;
mod partitions;
mod records;
mod topic_name;
mod topics;

#[cfg(test)]
mod tests;

pub use assign::{PARTITIONS_PER_REQUEST_MAX, check_assigned_replicas};
pub use command::{
    Command, CommandError, CommandErrorKind, ConfigChange, ConfigOperation, CreatedTopic, DeletedTopic,
    FeatureUpdate, MorePartitions, NewTopic, NewTopicConfig, OperationKind, Reply, TopicCreated, TopicRef,
    UpgradeType,
};
pub use configs::{
    CONFIG_VALUE_BYTES_MAX, CONFIGS_PER_RESOURCE_MAX, CONFIGURED_GROUPS_MAX, check_operations,
};
pub use decide::{ConfigSchema, Context, PRODUCER_ID_BLOCK, decide};
pub use features::{FEATURES, Feature, initial_features, serves_consumer_groups};
pub use image::{BrokerImage, Delta, MetadataImage, PartitionImage, ReplayError, TopicImage};
pub use partitions::PARTITIONS_MAX;
pub use records::{
    ConfigRecord, ConfigResource, FeatureLevelRecord, Listener, PartitionChangeRecord, PartitionRecord,
    ProducerIdsRecord, Record, RegisterBrokerRecord, RemoveTopicRecord, ResourceKind, TopicId, TopicRecord,
    decode_records, encode_records,
};
pub use topic_name::{TOPIC_NAME_BYTES_MAX, check_topic_name};
