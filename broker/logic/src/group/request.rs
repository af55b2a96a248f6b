//! What can be asked of a group coordinator: the requests as plain values, whatever their version on the wire was.
//!
//! Made by `api`, which fills in what older versions leave out. Metadata and assignments are opaque here, and shared so that
//! a leader's reply does not copy them. Deliberately absent: the wire.

use std::sync::Arc;

use super::consumer::ConsumerGroupHeartbeat;
use super::{GroupId, InstanceId, MemberId};

/// Opaque bytes of clients: subscriptions and assignments.
pub type Opaque = Arc<[u8]>;

/// A request to the coordinator of the groups that it names.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each is the Kafka request of the same name")]
pub enum Request {
    JoinGroup(JoinGroup),
    SyncGroup(SyncGroup),
    Heartbeat(Heartbeat),
    LeaveGroup(LeaveGroup),
    OffsetCommit(OffsetCommit),
    OffsetFetch(OffsetFetch),
    OffsetDelete(OffsetDelete),
    DescribeGroups(Vec<GroupId>),
    ListGroups(ListGroups),
    DeleteGroups(Vec<GroupId>),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeat),
    ConsumerGroupDescribe(Vec<GroupId>),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// `client.id`.
    pub id: Arc<str>,
    /// Address as Java prints it: `/127.0.0.1`.
    pub host: Arc<str>,
}

/// JoinGroup.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinGroup {
    pub group_id: GroupId,
    /// Empty for a member that is new.
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub client: Client,
    pub session_timeout_ms: i32,
    /// From version 0, which has none, the session timeout.
    pub rebalance_timeout_ms: i32,
    pub protocol_type: Arc<str>,
    /// Most preferred first.
    pub protocols: Vec<Protocol>,
    /// Whether a new member is sent away to come back with an id (version 4 on, KIP-394).
    pub requires_member_id: bool,
    /// Whether a leader may be told to keep the assignment (version 9 on, KIP-814).
    pub supports_skipping_assignment: bool,
    /// Why the client joins (KIP-800).
    pub reason: Option<String>,
}

/// A protocol that a member supports, with its metadata for it (for consumers, the subscription).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    pub name: Arc<str>,
    pub metadata: Opaque,
}

/// SyncGroup.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncGroup {
    pub group_id: GroupId,
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub generation_id: i32,
    /// From version 5 on (KIP-559).
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    /// From the leader only.
    pub assignments: Vec<(MemberId, Opaque)>,
}

/// Heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    pub group_id: GroupId,
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub generation_id: i32,
}

/// LeaveGroup; one member where the version knows no more.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaveGroup {
    pub group_id: GroupId,
    pub members: Vec<LeavingMember>,
}

/// Who is to leave: by member id, by instance id, or both.
#[derive(Debug, Clone, PartialEq)]
pub struct LeavingMember {
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub reason: Option<String>,
}

/// OffsetCommit. Topics and partitions that do not exist never come here.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetCommit {
    pub version: i16,
    pub group_id: GroupId,
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    /// Generation of a classic group, epoch of a member of KIP-848; -1 for neither.
    pub generation_id_or_member_epoch: i32,
    /// How long to keep the offsets, from versions 2 to 4; -1 for `offsets.retention.minutes`.
    pub retention_time_ms: i64,
    pub topics: Vec<TopicCommit>,
}

/// The offsets of one topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicCommit {
    pub topic: Arc<str>,
    /// Zero where the request names the topic by name.
    pub topic_id: [u8; 16],
    pub partitions: Vec<PartitionCommit>,
}

/// The offset of one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionCommit {
    pub partition: i32,
    pub offset: i64,
    /// -1 for none.
    pub leader_epoch: i32,
    pub metadata: Option<Arc<str>>,
}

/// OffsetFetch of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetFetch {
    pub group_id: GroupId,
    /// None for who is no member of KIP-848.
    pub member_id: Option<MemberId>,
    pub member_epoch: i32,
    /// None for all.
    pub topics: Option<Vec<(Arc<str>, Vec<i32>)>>,
    /// Refuse where a transaction may still change the offset (KIP-447).
    pub require_stable: bool,
}

/// OffsetDelete.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetDelete {
    pub group_id: GroupId,
    pub topics: Vec<(Arc<str>, Vec<i32>)>,
}

/// ListGroups, with filters (KIP-518, KIP-848); empty lets everything through.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListGroups {
    pub states: Vec<String>,
    pub types: Vec<String>,
}
