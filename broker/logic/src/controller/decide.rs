//! Commands to the controller: each one is decided on an image and becomes records and a reply.
//!
//! Called by the control thread's only proposer, over the image with everything in flight; semantics and messages are those of
//! Kafka's KRaft controller. Topics, partitions and configurations are decided in files of their own. Deliberately absent: committing, authorization,
//! what configurations mean.

use std::collections::BTreeMap;

use super::command::{Command, CommandError, CommandErrorKind, Reply};
use super::image::MetadataImage;
use super::records::{
    ConfigResource, FeatureLevelRecord, PartitionChangeRecord, ProducerIdsRecord, Record,
    RegisterBrokerRecord, ResourceKind,
};
use super::{configs, features, partitions, topics};

/// How many producer ids a broker gets at once (Kafka's `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Knows which configurations exist and what they may be.
pub trait ConfigSchema {
    /// Whether a key is a list, which can be appended to and subtracted from.
    fn is_list(&self, kind: ResourceKind, name: &str) -> bool;
    /// What a list holds that was never set.
    fn default(&self, kind: ResourceKind, name: &str) -> Option<String>;
    /// Judges all that a resource would have set.
    ///
    /// # Errors
    /// INVALID_CONFIG or INVALID_REQUEST with a text that says name, value and what is allowed.
    fn validate(
        &self,
        resource: &ConfigResource,
        configs: &BTreeMap<String, String>,
    ) -> Result<(), CommandError>;
}

/// What `decide` needs beside the image and the command.
pub struct Context<'a> {
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// Checks configurations.
    pub configs: &'a dyn ConfigSchema,
    /// The next 64 random bits.
    pub random: &'a mut dyn FnMut() -> u64,
}

/// Decides a command: the records that must be committed, and what to answer when they are.
///
/// # Errors
/// The whole command is refused. What concerns one topic or resource only is in the reply.
pub fn decide(
    image: &MetadataImage,
    command: &Command,
    context: &mut Context<'_>,
) -> Result<(Vec<Record>, Reply), CommandError> {
    match command {
        Command::CreateTopics { topics, validate_only } => {
            topics::create(image, topics, *validate_only, context)
        }
        Command::DeleteTopics { topics } => Ok(topics::delete(image, topics)),
        Command::CreatePartitions { topics, validate_only } => {
            partitions::create(image, topics, *validate_only, context)
        }
        Command::AllocateProducerIds { broker_id, broker_epoch } => {
            allocate_producer_ids(image, *broker_id, *broker_epoch)
        }
        Command::RegisterBroker { broker_id, incarnation_id, listeners, rack } => {
            let broker_epoch = image.next_broker_epoch();
            let record = RegisterBrokerRecord {
                broker_id: *broker_id,
                incarnation_id: *incarnation_id,
                broker_epoch,
                listeners: listeners.clone(),
                rack: rack.clone(),
            };
            Ok((vec![Record::RegisterBroker(record)], Reply::BrokerRegistered { broker_epoch }))
        }
        Command::BumpLeaderEpochs { broker_id } => Ok(bump_leader_epochs(image, *broker_id)),
        Command::AlterConfigs { changes, validate_only } => {
            Ok(configs::alter(image, changes, *validate_only, context.configs))
        }
        Command::UpdateFeatures { updates, validate_only } => {
            features::update(image, updates, *validate_only)
        }
        Command::SetFeatures { levels } => {
            let record = |(name, level): &(String, i16)| {
                Record::FeatureLevel(FeatureLevelRecord { name: name.clone(), feature_level: *level })
            };
            Ok((levels.iter().map(record).collect(), Reply::FeaturesSet))
        }
    }
}

fn allocate_producer_ids(
    image: &MetadataImage,
    broker_id: i32,
    broker_epoch: i64,
) -> Result<(Vec<Record>, Reply), CommandError> {
    match image.broker(broker_id) {
        Some(broker) if broker.epoch == broker_epoch => {}
        Some(broker) => {
            return Err(CommandErrorKind::StaleBrokerEpoch.because(format!(
                "Expected broker epoch {broker_epoch} of broker {broker_id}, but found broker epoch {}",
                broker.epoch
            )));
        }
        None => {
            return Err(CommandErrorKind::StaleBrokerEpoch
                .because(format!("No broker registration found for broker id {broker_id}")));
        }
    }
    let first = image.next_producer_id();
    let next_producer_id = first.checked_add(PRODUCER_ID_BLOCK).ok_or_else(|| {
        CommandErrorKind::UnknownServerError.because(format!("All producer ids up to {first} are given away"))
    })?;
    let record = Record::ProducerIds(ProducerIdsRecord { broker_id, next_producer_id });
    Ok((vec![record], Reply::ProducerIds { first, count: PRODUCER_ID_BLOCK }))
}

fn bump_leader_epochs(image: &MetadataImage, broker_id: i32) -> (Vec<Record>, Reply) {
    let mut records = Vec::new();
    for topic in image.topics() {
        for (partition, state) in topic.partitions.iter().enumerate() {
            if state.leader == broker_id {
                records.push(Record::PartitionChange(PartitionChangeRecord {
                    topic_id: topic.id,
                    partition: partition as i32,
                    leader: Some(broker_id),
                    isr: None,
                }));
            }
        }
    }
    let partitions = records.len();
    (records, Reply::LeaderEpochsBumped { partitions })
}
