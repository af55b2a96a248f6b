//! The controller's vocabulary: what can be asked of it, what it answers, and why it refuses.
//!
//! Made by `api` and `boot`, decided by `decide`. Deliberately absent: deciding, and the protocol's error numbers (each
//! [`CommandErrorKind`] is one of them).

use super::records::{ConfigResource, Listener, TopicId};

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
    /// CreatePartitions.
    CreatePartitions {
        /// The topics in the order of the request; a name that occurs twice is refused once.
        topics: Vec<MorePartitions>,
        /// Answer as if, create nothing.
        validate_only: bool,
    },
    /// AlterConfigs and IncrementalAlterConfigs.
    AlterConfigs {
        /// By resource; either all of a resource's changes happen or none.
        changes: Vec<ConfigChange>,
        /// Answer as if, change nothing.
        validate_only: bool,
    },
    /// UpdateFeatures.
    UpdateFeatures {
        /// All of them or none.
        updates: Vec<FeatureUpdate>,
        /// Answer as if, change nothing.
        validate_only: bool,
    },
    /// Finalizes features at levels (0 removes one), unasked: what a new cluster begins with.
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

/// Partitions to be added to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MorePartitions {
    /// Its name.
    pub name: String,
    /// How many partitions it shall have.
    pub count: i32,
    /// The replicas' node ids of each new partition; None to let the controller place them.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// Changes to one resource's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Of what.
    pub resource: ConfigResource,
    /// What is done to which key.
    pub operations: Vec<ConfigOperation>,
    /// What is not named goes back to its default (the old AlterConfigs).
    pub resets_others: bool,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOperation {
    /// The key.
    pub name: String,
    /// What is done to it.
    pub kind: OperationKind,
    /// With which value; a null value is refused but for a deletion.
    pub value: Option<String>,
}

/// What is done to a key (AlterConfigOp.OpType, KIP-339).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is Kafka's operation of the same name")]
pub enum OperationKind {
    Set,
    Delete,
    /// To a list.
    Append,
    /// From a list.
    Subtract,
}

/// A feature to be finalized at another level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// Its name.
    pub name: String,
    /// The level; 0 turns it off.
    pub level: i16,
    /// Which way.
    pub upgrade_type: UpgradeType,
}

/// Which way a feature may go (FeatureUpdate.UpgradeType).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is Kafka's type of the same name")]
pub enum UpgradeType {
    Unknown,
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
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
    /// For CreatePartitions, by first occurrence in the request.
    PartitionsCreated(Vec<(String, Result<(), CommandError>)>),
    /// For AlterConfigs, in the order of the request.
    ConfigsAltered(Vec<Result<(), CommandError>>),
    /// For UpdateFeatures.
    FeaturesUpdated,
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
    InvalidUpdateVersion,
    PolicyViolation,
    UnknownTopicOrPartition,
    UnknownTopicId,
    StaleBrokerEpoch,
    UnknownServerError,
}

impl CommandErrorKind {
    /// This error with a text.
    pub fn because(self, message: impl Into<String>) -> CommandError {
        CommandError { kind: self, message: message.into() }
    }
}
