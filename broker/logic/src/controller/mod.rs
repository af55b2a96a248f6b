//! The controller: what the metadata of a cluster is, and how requests change it.
//!
//! `decide` turns a command into records, the control thread commits them, `replay` applies them to the image.
//! Deliberately absent: committing, publishing, error codes of the protocol.

mod assign;
mod decide;
mod image;
mod records;
mod topic_name;

#[cfg(test)]
mod tests;

pub use decide::{
    CONFIG_VALUE_BYTES_MAX, Command, CommandError, CommandErrorKind, ConfigChange, ConfigValidator, Context,
    CreatedTopic, DeletedTopic, NewTopic, NewTopicConfig, PARTITIONS_MAX, PARTITIONS_PER_REQUEST_MAX,
    PRODUCER_ID_BLOCK, Reply, TopicCreated, TopicRef, decide,
};
pub use image::{BrokerImage, Delta, MetadataImage, PartitionImage, ReplayError, TopicImage};
pub use records::{
    ConfigRecord, ConfigResource, FeatureLevelRecord, Listener, PartitionChangeRecord, PartitionRecord,
    ProducerIdsRecord, Record, RegisterBrokerRecord, RemoveTopicRecord, ResourceKind, TopicId, TopicRecord,
    decode_records, encode_records,
};
pub use topic_name::{TOPIC_NAME_BYTES_MAX, check_topic_name};
