//! Sample requests of the APIs of groups.

use bytes::Bytes;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;

use super::{Sample, encode, id, text};

fn group() -> GroupId {
    GroupId(text("billing"))
}

fn orders() -> TopicName {
    TopicName(text("orders"))
}

/// The samples of one API and version.
pub(super) fn one(samples: &mut Vec<Sample>, key: i16, version: i16, flexible: bool) {
    match key {
        8 => {
            encode(samples, key, version, &OffsetCommitRequest::default());
            let mut partition =
                tagged!(OffsetCommitRequestPartition::default().with_committed_offset(5), flexible);
            partition.committed_metadata = Some(text("where"));
            let null =
                tagged!(OffsetCommitRequestPartition::default().with_committed_metadata(None), flexible);
            let topic = OffsetCommitRequestTopic::default()
                .with_name(orders())
                .with_partitions(vec![partition, null]);
            let topic = tagged!(topic, flexible);
            let mut request = OffsetCommitRequest::default()
                .with_group_id(group())
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![topic.clone(), topic]);
            if version >= 7 {
                request.group_instance_id = Some(text("instance"));
            }
            if version <= 4 {
                request.retention_time_ms = -1;
            }
            encode(samples, key, version, &tagged!(request, flexible));
        }
        9 if version < 8 => {
            encode(samples, key, version, &OffsetFetchRequest::default().with_topics(Some(vec![])));
            if version >= 2 {
                encode(samples, key, version, &OffsetFetchRequest::default().with_topics(None));
            }
            let topic =
                OffsetFetchRequestTopic::default().with_name(orders()).with_partition_indexes(vec![0, 1, 2]);
            let topic = tagged!(topic, flexible);
            let request = OffsetFetchRequest::default()
                .with_group_id(group())
                .with_topics(Some(vec![topic.clone(), topic]));
            encode(samples, key, version, &tagged!(request, flexible));
        }
        9 => {
            encode(samples, key, version, &OffsetFetchRequest::default());
            let topic =
                OffsetFetchRequestTopics::default().with_name(orders()).with_partition_indexes(vec![0, 1]);
            let mut some = OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![tagged!(topic, flexible)]));
            let all = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
            if version >= 9 {
                some.member_id = Some(text("member"));
            }
            let request = OffsetFetchRequest::default()
                .with_groups(vec![tagged!(some, flexible), tagged!(all, flexible)])
                .with_require_stable(true);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        10 => {
            encode(samples, key, version, &FindCoordinatorRequest::default());
            let mut request = FindCoordinatorRequest::default();
            if version >= 4 {
                request.coordinator_keys = vec![text("billing"), text("")];
            } else {
                request.key = text("billing");
            }
            encode(samples, key, version, &tagged!(request, flexible));
        }
        11 => {
            encode(samples, key, version, &JoinGroupRequest::default());
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(b"subscription"));
            let protocol = tagged!(protocol, flexible);
            let mut request = JoinGroupRequest::default()
                .with_group_id(group())
                .with_session_timeout_ms(10_000)
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol.clone(), protocol]);
            if version >= 5 {
                request.group_instance_id = Some(text("instance"));
            }
            if version >= 8 {
                request.reason = Some(text("new"));
            }
            encode(samples, key, version, &tagged!(request, flexible));
        }
        12 => {
            encode(samples, key, version, &HeartbeatRequest::default());
            let request = HeartbeatRequest::default().with_group_id(group()).with_member_id(text("member"));
            encode(samples, key, version, &tagged!(request, flexible));
        }
        13 => {
            encode(samples, key, version, &LeaveGroupRequest::default());
            let mut request = LeaveGroupRequest::default().with_group_id(group());
            if version >= 3 {
                let mut member = MemberIdentity::default().with_group_instance_id(Some(text("instance")));
                if version >= 5 {
                    member.reason = Some(text("done"));
                }
                let member = tagged!(member, flexible);
                request.members = vec![member.clone(), member];
            } else {
                request.member_id = text("member");
            }
            encode(samples, key, version, &tagged!(request, flexible));
        }
        14 => {
            encode(samples, key, version, &SyncGroupRequest::default());
            let assignment = SyncGroupRequestAssignment::default()
                .with_member_id(text("member"))
                .with_assignment(Bytes::from_static(b"assignment"));
            let assignment = tagged!(assignment, flexible);
            let mut request = SyncGroupRequest::default()
                .with_group_id(group())
                .with_assignments(vec![assignment.clone(), assignment]);
            if version >= 5 {
                request.protocol_type = Some(text("consumer"));
                request.protocol_name = Some(text("range"));
            }
            encode(samples, key, version, &tagged!(request, flexible));
        }
        15 => {
            encode(samples, key, version, &DescribeGroupsRequest::default());
            let mut request = DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(text(""))]);
            request.include_authorized_operations = version >= 3;
            encode(samples, key, version, &tagged!(request, flexible));
        }
        16 => {
            encode(samples, key, version, &ListGroupsRequest::default());
            let mut request = ListGroupsRequest::default();
            if version >= 4 {
                request.states_filter = vec![text("Stable"), text("Empty")];
            }
            if version >= 5 {
                request.types_filter = vec![text("classic")];
            }
            encode(samples, key, version, &tagged!(request, flexible));
        }
        42 => {
            encode(samples, key, version, &DeleteGroupsRequest::default());
            let request =
                DeleteGroupsRequest::default().with_groups_names(vec![group(), GroupId(text("other"))]);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        47 => {
            encode(samples, key, version, &OffsetDeleteRequest::default());
            let partition = OffsetDeleteRequestPartition::default().with_partition_index(3);
            let topic = OffsetDeleteRequestTopic::default()
                .with_name(orders())
                .with_partitions(vec![partition.clone(), partition]);
            let request =
                OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic.clone(), topic]);
            encode(samples, key, version, &request);
        }
        68 => {
            encode(samples, key, version, &ConsumerGroupHeartbeatRequest::default());
            let topic = TopicPartitions::default().with_topic_id(id()).with_partitions(vec![0, 1]);
            let topic = tagged!(topic, flexible);
            let mut request = ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group())
                .with_member_id(text("member"))
                .with_member_epoch(3)
                .with_instance_id(Some(text("instance")))
                .with_rack_id(Some(text("rack")))
                .with_rebalance_timeout_ms(30_000)
                .with_subscribed_topic_names(Some(vec![orders(), orders()]))
                .with_server_assignor(Some(text("range")))
                .with_topic_partitions(Some(vec![topic.clone(), topic]));
            if version >= 1 {
                request.subscribed_topic_regex = Some(text("orders.*"));
            }
            encode(samples, key, version, &tagged!(request, flexible));
        }
        69 => {
            encode(samples, key, version, &ConsumerGroupDescribeRequest::default());
            let request = ConsumerGroupDescribeRequest::default()
                .with_group_ids(vec![group(), GroupId(text(""))])
                .with_include_authorized_operations(true);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        other => panic!("no sample request for API {other}"),
    }
}
