//! Why a group refuses something: Kafka's errors that the coordinator uses; `api` knows their numbers.
//!
//! Deliberately absent: errors of topics' own partitions, which never come here.

use std::borrow::Cow;

/// One of Kafka's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the Kafka error of the same name")]
pub enum GroupErrorKind {
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    NotCoordinator,
    InvalidGroupId,
    InvalidRequest,
    IllegalGeneration,
    InconsistentGroupProtocol,
    UnknownMemberId,
    InvalidSessionTimeout,
    RebalanceInProgress,
    OffsetMetadataTooLarge,
    NonEmptyGroup,
    GroupIdNotFound,
    FencedInstanceId,
    GroupMaxSizeReached,
    MemberIdRequired,
    GroupSubscribedToTopic,
    UnstableOffsetCommit,
    UnknownTopicOrPartition,
    UnknownServerError,
    FencedMemberEpoch,
    UnreleasedInstanceId,
    UnsupportedAssignor,
    StaleMemberEpoch,
    InvalidRegularExpression,
    UnsupportedVersion,
}

impl GroupErrorKind {
    /// This error with a text for error_message.
    pub fn because(self, message: impl Into<Cow<'static, str>>) -> GroupError {
        GroupError { kind: self, message: message.into() }
    }
}

/// An error with its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GroupError {
    /// Which one.
    pub kind: GroupErrorKind,
    /// The text for error_message; empty for none.
    pub message: Cow<'static, str>,
}

impl From<GroupErrorKind> for GroupError {
    fn from(kind: GroupErrorKind) -> Self {
        kind.because("")
    }
}
