//! Kafka's error numbers, and which one each of our errors becomes. The only place that knows them.
//!
//! Follows `org.apache.kafka.common.protocol.Errors`. Called by every API file; texts for error_message come from the
//! errors themselves. Deliberately absent: numbers that nothing here answers.

use std::borrow::Cow;

use corelog_logic::controller::{CommandError, CommandErrorKind};
use corelog_logic::group::GroupErrorKind;
use corelog_logic::partition::producer_state::ProducerError;
use corelog_storage::StorageError;
use corelog_storage::batch::BatchError;
use kafka_protocol::protocol::StrBytes;

use super::broker::ControllerError;
use crate::drive::tasks::PartitionError;

/// An error number of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
#[allow(missing_docs, reason = "each is the Kafka error of the same name")]
pub enum ErrorCode {
    UnknownServerError = -1,
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    LeaderNotAvailable = 5,
    NotLeaderOrFollower = 6,
    RequestTimedOut = 7,
    MessageTooLarge = 10,
    OffsetMetadataTooLarge = 12,
    CoordinatorLoadInProgress = 14,
    CoordinatorNotAvailable = 15,
    NotCoordinator = 16,
    InvalidTopicException = 17,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidTimestamp = 32,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    InvalidRequest = 42,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    TransactionalIdAuthorizationFailed = 53,
    SecurityDisabled = 54,
    KafkaStorageError = 56,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    FetchSessionIdNotFound = 70,
    InvalidFetchSessionEpoch = 71,
    TopicDeletionDisabled = 73,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    UnsupportedCompressionType = 76,
    StaleBrokerEpoch = 77,
    MemberIdRequired = 79,
    PreferredLeaderNotAvailable = 80,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    EligibleLeadersNotAvailable = 83,
    ElectionNotNeeded = 84,
    NoReassignmentInProgress = 85,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    UnstableOffsetCommit = 88,
    ThrottlingQuotaExceeded = 89,
    ResourceNotFound = 91,
    DuplicateResource = 92,
    InvalidUpdateVersion = 95,
    UnknownTopicId = 100,
    BrokerIdNotRegistered = 102,
    FencedMemberEpoch = 110,
    UnreleasedInstanceId = 111,
    UnsupportedAssignor = 112,
    StaleMemberEpoch = 113,
    InconsistentTopicId = 103,
    FetchSessionTopicIdError = 106,
    MismatchedEndpointType = 114,
    UnsupportedEndpointType = 115,
    InvalidRegularExpression = 128,
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// This error with a text.
    pub fn because(self, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { code: self, message: Some(message.into()) }
    }
}

/// Why (a part of) a request was refused, as it is told to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The number.
    pub code: ErrorCode,
    /// error_message, where the reply has one.
    pub message: Option<Cow<'static, str>>,
}

impl Refusal {
    /// error_message as it is sent.
    pub fn text(self) -> Option<StrBytes> {
        self.message.map(|text| StrBytes::from_string(text.into_owned()))
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

impl From<&PartitionError> for Refusal {
    fn from(error: &PartitionError) -> Self {
        error_code(error).because(error.to_string())
    }
}

impl From<&CommandError> for Refusal {
    fn from(error: &CommandError) -> Self {
        command_code(error.kind).because(error.message.clone())
    }
}

impl From<GroupErrorKind> for ErrorCode {
    fn from(kind: GroupErrorKind) -> Self {
        match kind {
            GroupErrorKind::CoordinatorLoadInProgress => Self::CoordinatorLoadInProgress,
            GroupErrorKind::CoordinatorNotAvailable => Self::CoordinatorNotAvailable,
            GroupErrorKind::NotCoordinator => Self::NotCoordinator,
            GroupErrorKind::InvalidGroupId => Self::InvalidGroupId,
            GroupErrorKind::InvalidRequest => Self::InvalidRequest,
            GroupErrorKind::IllegalGeneration => Self::IllegalGeneration,
            GroupErrorKind::InconsistentGroupProtocol => Self::InconsistentGroupProtocol,
            GroupErrorKind::UnknownMemberId => Self::UnknownMemberId,
            GroupErrorKind::InvalidSessionTimeout => Self::InvalidSessionTimeout,
            GroupErrorKind::RebalanceInProgress => Self::RebalanceInProgress,
            GroupErrorKind::OffsetMetadataTooLarge => Self::OffsetMetadataTooLarge,
            GroupErrorKind::NonEmptyGroup => Self::NonEmptyGroup,
            GroupErrorKind::GroupIdNotFound => Self::GroupIdNotFound,
            GroupErrorKind::FencedInstanceId => Self::FencedInstanceId,
            GroupErrorKind::GroupMaxSizeReached => Self::GroupMaxSizeReached,
            GroupErrorKind::MemberIdRequired => Self::MemberIdRequired,
            GroupErrorKind::GroupSubscribedToTopic => Self::GroupSubscribedToTopic,
            GroupErrorKind::UnstableOffsetCommit => Self::UnstableOffsetCommit,
            GroupErrorKind::UnknownTopicOrPartition => Self::UnknownTopicOrPartition,
            GroupErrorKind::UnknownServerError => Self::UnknownServerError,
            GroupErrorKind::FencedMemberEpoch => Self::FencedMemberEpoch,
            GroupErrorKind::UnreleasedInstanceId => Self::UnreleasedInstanceId,
            GroupErrorKind::UnsupportedAssignor => Self::UnsupportedAssignor,
            GroupErrorKind::StaleMemberEpoch => Self::StaleMemberEpoch,
            GroupErrorKind::InvalidRegularExpression => Self::InvalidRegularExpression,
            GroupErrorKind::UnsupportedVersion => Self::UnsupportedVersion,
        }
    }
}

impl From<&ControllerError> for Refusal {
    fn from(error: &ControllerError) -> Self {
        match error {
            ControllerError::Refused(error) => error.into(),
            ControllerError::TimedOut => ErrorCode::RequestTimedOut.because(error.to_string()),
            ControllerError::DiskFull(_) => ErrorCode::KafkaStorageError.because(error.to_string()),
            ControllerError::Unavailable(_) => ErrorCode::UnknownServerError.because(error.to_string()),
        }
    }
}

fn error_code(error: &PartitionError) -> ErrorCode {
    match error {
        PartitionError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        PartitionError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        PartitionError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        PartitionError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        PartitionError::NotDeletable => ErrorCode::PolicyViolation,
        PartitionError::NoSuchReplica => ErrorCode::NotLeaderOrFollower,
        PartitionError::NegativeLimit => ErrorCode::UnknownServerError,
        PartitionError::Batch(error) => batch_code(error),
        PartitionError::Producer(error) => producer_code(error),
        PartitionError::Transactional => ErrorCode::InvalidTxnState,
        PartitionError::Storage(error) => storage_code(error),
    }
}

fn producer_code(error: &ProducerError) -> ErrorCode {
    match error {
        ProducerError::OutOfOrderSequence { .. } | ProducerError::NewEpochNotAtZero { .. } => {
            ErrorCode::OutOfOrderSequenceNumber
        }
        ProducerError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerError::InvalidSequence { .. } => ErrorCode::InvalidRecord,
    }
}

fn storage_code(error: &StorageError) -> ErrorCode {
    match error {
        StorageError::BatchTooLarge { .. } => ErrorCode::MessageTooLarge,
        // The log's start moved under the request.
        StorageError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        // The log was deleted under the request: the client looks for the topic again.
        StorageError::Closed => ErrorCode::UnknownTopicOrPartition,
        _ => ErrorCode::KafkaStorageError,
    }
}

/// `ProduceRequest.validateRecords`, `LogValidator` and `DefaultRecordBatch`, as the differential test sees them. What Kafka has
/// no error for (an unknown codec, data that cannot be decompressed) ends in its catch-all. One choice of ours: a batch that
/// grows beyond the bound is MESSAGE_TOO_LARGE, because producers split those; Kafka has no bound.
fn batch_code(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Length { .. } | BatchError::UnknownMagic { .. } | BatchError::Crc { .. } => {
            ErrorCode::CorruptMessage
        }
        BatchError::TooLarge { .. } | BatchError::DecompressedTooLarge { .. } => ErrorCode::MessageTooLarge,
        BatchError::UnknownCompression { .. } | BatchError::Decompression { .. } => {
            ErrorCode::UnknownServerError
        }
        BatchError::Timestamp { .. } | BatchError::LogAppendTimeFromClient { .. } => {
            ErrorCode::InvalidTimestamp
        }
        BatchError::Several(errors) => errors
            .iter()
            .map(batch_code)
            .find(|code| *code == ErrorCode::InvalidTimestamp)
            .unwrap_or(ErrorCode::InvalidRecord),
        BatchError::Truncated { .. }
        | BatchError::TrailingBytes { .. }
        | BatchError::OldMagic { .. }
        | BatchError::Count { .. }
        | BatchError::BaseOffset { .. }
        | BatchError::ControlFromClient
        | BatchError::Producer { .. }
        | BatchError::KeyMissing { .. }
        | BatchError::Record { .. } => ErrorCode::InvalidRecord,
    }
}

/// Which records of the batch were at fault, and why, for the `record_errors` of a produce reply (KIP-467). Records that cannot be
/// read at all are not told of one by one, as in Kafka.
pub fn records_at_fault(error: &PartitionError) -> Vec<(i32, String)> {
    let one = |error: &BatchError| match error {
        BatchError::Timestamp { index, .. }
        | BatchError::KeyMissing { index }
        | BatchError::LogAppendTimeFromClient { index } => Some((*index, error.to_string())),
        _ => None,
    };
    match error {
        PartitionError::Batch(BatchError::Several(errors)) => errors.iter().filter_map(one).collect(),
        PartitionError::Batch(error) => one(error).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn command_code(kind: CommandErrorKind) -> ErrorCode {
    match kind {
        CommandErrorKind::InvalidTopicException => ErrorCode::InvalidTopicException,
        CommandErrorKind::TopicAlreadyExists => ErrorCode::TopicAlreadyExists,
        CommandErrorKind::InvalidPartitions => ErrorCode::InvalidPartitions,
        CommandErrorKind::InvalidReplicationFactor => ErrorCode::InvalidReplicationFactor,
        CommandErrorKind::InvalidReplicaAssignment => ErrorCode::InvalidReplicaAssignment,
        CommandErrorKind::InvalidConfig => ErrorCode::InvalidConfig,
        CommandErrorKind::InvalidRequest => ErrorCode::InvalidRequest,
        CommandErrorKind::InvalidUpdateVersion => ErrorCode::InvalidUpdateVersion,
        CommandErrorKind::PolicyViolation => ErrorCode::PolicyViolation,
        CommandErrorKind::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
        CommandErrorKind::UnknownTopicId => ErrorCode::UnknownTopicId,
        CommandErrorKind::StaleBrokerEpoch => ErrorCode::StaleBrokerEpoch,
        CommandErrorKind::UnknownServerError => ErrorCode::UnknownServerError,
    }
}
