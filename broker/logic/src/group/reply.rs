//! What a group coordinator answers, as plain values: one variant per request.
//!
//! `api` puts them on the wire. Deliberately absent: error numbers.

use std::sync::Arc;

use super::consumer::{ConsumerGroupDescription, ConsumerGroupHeartbeatReply};
use super::{GroupError, GroupErrorKind, GroupId, InstanceId, MemberId, Opaque};

/// The answer to a [`super::Request`], variant by variant.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each answers the request of the same name")]
pub enum Reply {
    JoinGroup(JoinGroupReply),
    SyncGroup(SyncGroupReply),
    Heartbeat(Result<(), GroupErrorKind>),
    LeaveGroup(Result<Vec<LeftMember>, GroupErrorKind>),
    OffsetCommit(Result<Vec<TopicCommitted>, GroupErrorKind>),
    OffsetFetch(Result<Vec<TopicFetched>, GroupErrorKind>),
    OffsetDelete(Result<Vec<TopicCommitted>, GroupErrorKind>),
    DescribeGroups(Vec<DescribedGroup>),
    ListGroups(Result<Vec<ListedGroup>, GroupErrorKind>),
    DeleteGroups(Vec<(GroupId, Result<(), GroupErrorKind>)>),
    ConsumerGroupHeartbeat(Result<ConsumerGroupHeartbeatReply, GroupError>),
    ConsumerGroupDescribe(Vec<(GroupId, Result<ConsumerGroupDescription, GroupError>)>),
}

impl Reply {
    /// The reply that takes this one's place when the records that it stands on could not be appended.
    #[must_use]
    pub fn refuse(self, error: GroupErrorKind) -> Self {
        match self {
            Self::JoinGroup(reply) => Self::JoinGroup(JoinGroupReply::refused(reply.member_id, error)),
            Self::SyncGroup(_) => Self::SyncGroup(SyncGroupReply::refused(error)),
            Self::Heartbeat(_) => Self::Heartbeat(Err(error)),
            Self::LeaveGroup(_) => Self::LeaveGroup(Err(error)),
            Self::OffsetCommit(_) => Self::OffsetCommit(Err(error)),
            Self::OffsetFetch(_) => Self::OffsetFetch(Err(error)),
            Self::OffsetDelete(_) => Self::OffsetDelete(Err(error)),
            Self::DescribeGroups(groups) => {
                let refused = |group: DescribedGroup| DescribedGroup::refused(group.group_id, error);
                Self::DescribeGroups(groups.into_iter().map(refused).collect())
            }
            Self::ListGroups(_) => Self::ListGroups(Err(error)),
            Self::DeleteGroups(groups) => {
                Self::DeleteGroups(groups.into_iter().map(|(group, _)| (group, Err(error))).collect())
            }
            Self::ConsumerGroupHeartbeat(_) => Self::ConsumerGroupHeartbeat(Err(error.into())),
            Self::ConsumerGroupDescribe(groups) => {
                let refused = groups.into_iter().map(|(group, _)| (group, Err(error.into())));
                Self::ConsumerGroupDescribe(refused.collect())
            }
        }
    }
}

/// JoinGroup's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinGroupReply {
    pub error: Option<GroupErrorKind>,
    /// -1 with an error.
    pub generation_id: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    /// Empty with an error.
    pub leader: MemberId,
    pub skip_assignment: bool,
    pub member_id: MemberId,
    /// For the leader only.
    pub members: Vec<JoinedMember>,
}

impl JoinGroupReply {
    /// An error, to the member that goes by this id.
    pub fn refused(member_id: MemberId, error: GroupErrorKind) -> Self {
        Self {
            error: Some(error),
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: MemberId::default(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

/// A member as its leader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinedMember {
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub metadata: Opaque,
}

/// SyncGroup's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncGroupReply {
    pub error: Option<GroupErrorKind>,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    pub assignment: Opaque,
}

impl SyncGroupReply {
    /// An error.
    pub fn refused(error: GroupErrorKind) -> Self {
        Self { error: Some(error), protocol_type: None, protocol_name: None, assignment: Arc::default() }
    }
}

/// Who left, or why not.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftMember {
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub error: Option<GroupErrorKind>,
}

/// What became of one topic's offsets in a commit or a deletion.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicCommitted {
    pub topic: Arc<str>,
    pub partitions: Vec<(i32, Option<GroupErrorKind>)>,
}

/// One topic's committed offsets.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicFetched {
    pub topic: Arc<str>,
    pub partitions: Vec<PartitionFetched>,
}

/// A committed offset as it was committed, or -1 where there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionFetched {
    pub partition: i32,
    pub offset: i64,
    /// -1 for none.
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
    pub error: Option<GroupErrorKind>,
}

/// A group as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedGroup {
    pub group_id: GroupId,
    pub error: Option<GroupErrorKind>,
    /// From version 6 on (KIP-1043).
    pub message: Option<String>,
    pub state: &'static str,
    pub protocol_type: Arc<str>,
    pub protocol: Arc<str>,
    pub members: Vec<DescribedMember>,
}

impl DescribedGroup {
    /// An error.
    pub fn refused(group_id: GroupId, error: GroupErrorKind) -> Self {
        Self {
            group_id,
            error: Some(error),
            message: None,
            state: "",
            protocol_type: "".into(),
            protocol: "".into(),
            members: Vec::new(),
        }
    }
}

/// A member as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedMember {
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub metadata: Opaque,
    pub assignment: Opaque,
}

/// A group as ListGroups shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedGroup {
    pub group_id: GroupId,
    pub protocol_type: Arc<str>,
    pub state: &'static str,
    pub group_type: &'static str,
}
