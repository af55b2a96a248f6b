//! Commands to the controller: each one is decided on an image and becomes records and a reply.
//!
//! Called by the control thread's only proposer, over the image with everything in flight; semantics and messages are those of
//! Kafka's KRaft controller (ReplicationControlManager, ConfigurationControlManager, ProducerIdControlManager). Deliberately absent: committing,
//! authorization, the protocol's error numbers (each [`CommandErrorKind`] is one of them), what configurations mean.

use std::collections::{BTreeMap, BTreeSet};

use super::assign;
use super::image::{Delta, MetadataImage};
use super::records::{
    ConfigRecord, ConfigResource, FeatureLevelRecord, Listener, PartitionChangeRecord, PartitionRecord,
    ProducerIdsRecord, Record, RegisterBrokerRecord, RemoveTopicRecord, ResourceKind, TopicId, TopicRecord,
};
use super::topic_name::check_topic_name;

/// How many producer ids a broker gets at once (Kafka's `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub const PRODUCER_ID_BLOCK: i64 = 1000;
/// How many partitions one request may create, as in Kafka's `ReplicationControlManager`.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;
/// How many partitions a cluster may have: bounds the memory of the image on every node.
pub const PARTITIONS_MAX: usize = 1_000_000;

/// Longest configuration value in bytes, as in Kafka's `ConfigurationControlManager`.
pub const CONFIG_VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// What can be asked of the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// CreateTopics, and auto-creation (-1 partitions, replication factor -1).
    CreateTopics {
        /// The topics in the order of the request; a name that occurs twice is refused once.
        topics: Vec<NewTopic>,
        /// Answer as if, create nothing.
        validate_only: bool,
    },
    /// DeleteTopics.
    DeleteTopics {
        /// The topics in the order of the request.
        topics: Vec<TopicRef>,
    },
    /// A broker needs a block of producer ids.
    AllocateProducerIds {
        /// Its node id.
        broker_id: i32,
        /// The epoch of its registration.
        broker_epoch: i64,
    },
    /// A broker has started.
    RegisterBroker {
        /// Its node id.
        broker_id: i32,
        /// Random for each start of the process.
        incarnation_id: TopicId,
        /// Where it listens.
        listeners: Vec<Listener>,
        /// Its rack, if it has one.
        rack: Option<String>,
    },
    /// After an unclean start: no partition is led in an epoch in which offsets may have been lost.
    BumpLeaderEpochs {
        /// The leader whose partitions get a new epoch.
        broker_id: i32,
    },
    /// Sets and removes configurations; what is not named stays.
    SetConfigs {
        /// By resource; either all of a resource's changes happen or none.
        changes: Vec<ConfigChange>,
        /// Answer as if, change nothing.
        validate_only: bool,
    },
    /// Finalizes features at levels (0 removes one).
    SetFeatures {
        /// Name and level.
        levels: Vec<(String, i16)>,
    },
}

/// A topic to be created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the default, and when there are assignments.
    pub num_partitions: i32,
    /// How many replicas; -1 for the default, and when there are assignments.
    pub replication_factor: i16,
    /// Partition and its replicas' node ids; empty to let the controller place them.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Configurations. A null value is refused.
    pub configs: Vec<NewTopicConfig>,
}

/// A configuration of a topic to be created: name and value (None: null in the request).
pub type NewTopicConfig = (String, Option<String>);

/// How a request names a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By identity.
    Id(TopicId),
}

/// Changes to one resource's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Of what.
    pub resource: ConfigResource,
    /// Name and new value; None removes it.
    pub configs: Vec<(String, Option<String>)>,
}

/// What was decided, to be told when the records are committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// For CreateTopics, by first occurrence in the request.
    TopicsCreated(Vec<CreatedTopic>),
    /// For DeleteTopics, by first occurrence in the request.
    TopicsDeleted(Vec<DeletedTopic>),
    /// For AllocateProducerIds: the first id, and [`PRODUCER_ID_BLOCK`] of them.
    ProducerIds {
        /// The first id of the block.
        first: i64,
        /// How many there are.
        count: i64,
    },
    /// For RegisterBroker.
    BrokerRegistered {
        /// The epoch of this registration.
        broker_epoch: i64,
    },
    /// For BumpLeaderEpochs.
    LeaderEpochsBumped {
        /// How many partitions.
        partitions: usize,
    },
    /// For SetConfigs, in the order of the request.
    ConfigsSet(Vec<(ConfigResource, Result<(), CommandError>)>),
    /// For SetFeatures.
    FeaturesSet,
}

/// What became of one topic of a CreateTopics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// What there is now, or why not.
    pub result: Result<TopicCreated, CommandError>,
}

/// A topic that was created (or would be).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicCreated {
    /// Its identity.
    pub topic_id: TopicId,
    /// How many partitions it has.
    pub num_partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
}

/// What became of one topic of a DeleteTopics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name, where it is known.
    pub name: Option<String>,
    /// Its identity, where it is known.
    pub topic_id: Option<TopicId>,
    /// Whether it is gone.
    pub result: Result<(), CommandError>,
}

/// Why a command, or one item of it, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// One of Kafka's error codes.
    pub kind: CommandErrorKind,
    /// The text for error_message and logs.
    pub message: String,
}

/// Kafka's error codes that the controller uses; `api` knows their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the Kafka error of the same name")]
pub enum CommandErrorKind {
    InvalidTopicException,
    TopicAlreadyExists,
    InvalidPartitions,
    InvalidReplicationFactor,
    InvalidReplicaAssignment,
    InvalidConfig,
    InvalidRequest,
    PolicyViolation,
    UnknownTopicOrPartition,
    UnknownTopicId,
    StaleBrokerEpoch,
    UnknownServerError,
}

impl CommandErrorKind {
    /// This error with a text.
    pub(super) fn because(self, message: impl Into<String>) -> CommandError {
        CommandError { kind: self, message: message.into() }
    }
}

/// Knows which configurations exist and what they may be.
pub trait ConfigValidator {
    /// Says why a value is refused: name, value, what is allowed.
    ///
    /// # Errors
    /// The text for error_message; the code is INVALID_CONFIG.
    fn validate(&self, kind: ResourceKind, name: &str, value: &str) -> Result<(), String>;
}

/// What `decide` needs beside the image and the command.
pub struct Context<'a> {
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// Checks configurations.
    pub configs: &'a dyn ConfigValidator,
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
            create_topics(image, topics, *validate_only, context)
        }
        Command::DeleteTopics { topics } => Ok(delete_topics(image, topics)),
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
        Command::SetConfigs { changes, validate_only } => {
            Ok(set_configs(image, changes, *validate_only, context.configs))
        }
        Command::SetFeatures { levels } => {
            let record = |(name, level): &(String, i16)| {
                Record::FeatureLevel(FeatureLevelRecord { name: name.clone(), feature_level: *level })
            };
            Ok((levels.iter().map(record).collect(), Reply::FeaturesSet))
        }
    }
}

fn create_topics(
    image: &MetadataImage,
    topics: &[NewTopic],
    validate_only: bool,
    context: &mut Context<'_>,
) -> Result<(Vec<Record>, Reply), CommandError> {
    let announced: i64 =
        topics.iter().map(|t| i64::from(t.num_partitions.max(1)) + t.assignments.len() as i64).sum();
    assign::check_partitions_per_request(usize::try_from(announced).unwrap_or(usize::MAX))?;

    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let mut answered = BTreeSet::new();
    let mut results = Vec::new();
    let mut records = Vec::new();
    // Topics of this request collide with each other, too.
    let mut work = image.clone();
    for topic in topics {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let result = if times.get(topic.name.as_str()).is_some_and(|times| *times > 1) {
            Err(CommandErrorKind::InvalidRequest.because("Duplicate topic name."))
        } else {
            create_topic(&mut work, topic, context).map(|(created, of_topic)| {
                records.extend(of_topic);
                created
            })
        };
        results.push(CreatedTopic { name: topic.name.clone(), result });
    }
    if validate_only {
        records.clear();
    }
    Ok((records, Reply::TopicsCreated(results)))
}

fn create_topic(
    work: &mut MetadataImage,
    topic: &NewTopic,
    context: &mut Context<'_>,
) -> Result<(TopicCreated, Vec<Record>), CommandError> {
    use CommandErrorKind as Kind;
    if topic.name == "__cluster_metadata" {
        return Err(
            Kind::InvalidRequest.because("Creation of internal topic __cluster_metadata is prohibited.")
        );
    }
    check_topic_name(&topic.name).map_err(|why| Kind::InvalidTopicException.because(why))?;
    if work.topic_by_name(&topic.name).is_some() {
        return Err(Kind::TopicAlreadyExists.because(format!("Topic '{}' already exists.", topic.name)));
    }
    if let Some(other) = work.colliding_topic(&topic.name) {
        return Err(Kind::InvalidTopicException
            .because(format!("Topic '{}' collides with existing topic: {other}", topic.name)));
    }
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|(_, v)| v.is_none()).map(|(n, _)| n.as_str()).collect();
    if !nulls.is_empty() {
        let nulls = nulls.join(",");
        return Err(
            Kind::InvalidConfig.because(format!("Null value not supported for topic configs: {nulls}"))
        );
    }
    let mut configs = BTreeMap::new();
    for (name, value) in &topic.configs {
        let value = value.as_deref().unwrap_or_default();
        check_config(context.configs, ResourceKind::Topic, name, value)?;
        configs.insert(name, value);
    }
    let first = (context.random)();
    let replicas =
        assign::replicas(work, topic, context.num_partitions, context.default_replication_factor, first)?;
    if work.partition_count() + replicas.len() > PARTITIONS_MAX {
        return Err(Kind::PolicyViolation.because(format!(
            "The cluster has {} partitions and may have {PARTITIONS_MAX}; {} more do not fit. Delete topics that are not needed.",
            work.partition_count(),
            replicas.len()
        )));
    }

    let topic_id = new_topic_id(work, context.random);
    let created = TopicCreated {
        topic_id,
        num_partitions: replicas.len() as i32,
        replication_factor: replicas.first().map_or(0, |r| r.len() as i16),
    };
    let mut records = vec![Record::Topic(TopicRecord { name: topic.name.clone(), topic_id })];
    for (partition, replicas) in replicas.into_iter().enumerate() {
        records.push(Record::Partition(PartitionRecord {
            topic_id,
            partition: partition as i32,
            isr: replicas.clone(),
            leader: replicas.first().copied().unwrap_or(-1),
            replicas,
            leader_epoch: 0,
            partition_epoch: 0,
            // Zero means "no log" to storage.
            log_id: (context.random)().max(1),
        }));
    }
    for (name, value) in configs {
        records.push(Record::Config(ConfigRecord {
            resource: ConfigResource::topic(&topic.name),
            name: name.clone(),
            value: Some(value.to_owned()),
        }));
    }
    let mut ignored = Delta::default();
    for record in &records {
        work.replay(record, &mut ignored).map_err(|e| Kind::UnknownServerError.because(e.to_string()))?;
    }
    Ok((created, records))
}

fn new_topic_id(work: &MetadataImage, random: &mut dyn FnMut() -> u64) -> TopicId {
    loop {
        if let Some(id) = TopicId::from_random(random(), random())
            && work.topic(&id).is_none()
        {
            return id;
        }
    }
}

fn delete_topics(image: &MetadataImage, topics: &[TopicRef]) -> (Vec<Record>, Reply) {
    use CommandErrorKind as Kind;
    let mut times: BTreeMap<&TopicRef, usize> = BTreeMap::new();
    for topic in topics {
        *times.entry(topic).or_default() += 1;
    }
    let mut answered = BTreeSet::new();
    let mut removed = BTreeSet::new();
    let mut records = Vec::new();
    let mut results = Vec::new();
    for topic in topics {
        if !answered.insert(topic) {
            continue;
        }
        let found = match topic {
            TopicRef::Name(name) => image.topic_by_name(name),
            TopicRef::Id(id) => image.topic(id),
        };
        let twice = times.get(topic).is_some_and(|times| *times > 1);
        let result = match (topic, found) {
            (TopicRef::Name(_), _) if twice => Err(Kind::InvalidRequest.because("Duplicate topic name.")),
            (TopicRef::Id(_), _) if twice => Err(Kind::InvalidRequest.because("Duplicate topic id.")),
            (TopicRef::Name(_), None) => {
                Err(Kind::UnknownTopicOrPartition.because("This server does not host this topic-partition."))
            }
            (TopicRef::Id(_), None) => {
                Err(Kind::UnknownTopicId.because("This server does not host this topic ID."))
            }
            (_, Some(topic)) if !removed.insert(topic.id) => Err(Kind::InvalidRequest
                .because("The provided topic name maps to an ID that was already supplied.")),
            (_, Some(topic)) => {
                records.push(Record::RemoveTopic(RemoveTopicRecord { topic_id: topic.id }));
                Ok(())
            }
        };
        let (name, topic_id) = match (topic, found) {
            (_, Some(topic)) => (Some(topic.name.to_string()), Some(topic.id)),
            (TopicRef::Name(name), None) => (Some(name.clone()), None),
            (TopicRef::Id(id), None) => (None, Some(*id)),
        };
        results.push(DeletedTopic { name, topic_id, result });
    }
    (records, Reply::TopicsDeleted(results))
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

fn set_configs(
    image: &MetadataImage,
    changes: &[ConfigChange],
    validate_only: bool,
    validator: &dyn ConfigValidator,
) -> (Vec<Record>, Reply) {
    let mut seen = BTreeSet::new();
    let mut records = Vec::new();
    let mut results = Vec::new();
    for change in changes {
        let result = if seen.insert(&change.resource) {
            check_config_change(image, change, validator)
        } else {
            let name = &change.resource.name;
            Err(CommandErrorKind::InvalidRequest.because(format!("Resource '{name}' occurs more than once.")))
        };
        if result.is_ok() && !validate_only {
            records.extend(change.configs.iter().map(|(name, value)| {
                let (resource, name, value) = (change.resource.clone(), name.clone(), value.clone());
                Record::Config(ConfigRecord { resource, name, value })
            }));
        }
        results.push((change.resource.clone(), result));
    }
    (records, Reply::ConfigsSet(results))
}

fn check_config_change(
    image: &MetadataImage,
    change: &ConfigChange,
    validator: &dyn ConfigValidator,
) -> Result<(), CommandError> {
    let ConfigResource { kind, name } = &change.resource;
    match kind {
        ResourceKind::Topic => {
            if image.topic_by_name(name).is_none() {
                return Err(CommandErrorKind::UnknownTopicOrPartition
                    .because(format!("The topic '{name}' does not exist.")));
            }
        }
        ResourceKind::Broker => {
            if !name.is_empty() && name.parse().ok().and_then(|id| image.broker(id)).is_none() {
                return Err(CommandErrorKind::InvalidRequest.because(format!(
                    "Broker '{name}' is not registered; the empty name means all brokers."
                )));
            }
        }
    }
    for (name, value) in &change.configs {
        if let Some(value) = value {
            validator
                .validate(*kind, name, value)
                .map_err(|why| CommandErrorKind::InvalidConfig.because(why))?;
        }
    }
    Ok(())
}

fn check_config(
    validator: &dyn ConfigValidator,
    kind: ResourceKind,
    name: &str,
    value: &str,
) -> Result<(), CommandError> {
    if value.len() > CONFIG_VALUE_BYTES_MAX {
        return Err(CommandErrorKind::InvalidConfig.because(format!(
            "The value of configuration {name} has {} bytes and may have {CONFIG_VALUE_BYTES_MAX}",
            value.len()
        )));
    }
    validator.validate(kind, name, value).map_err(|why| CommandErrorKind::InvalidConfig.because(why))
}
