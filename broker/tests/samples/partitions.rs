//! Samples of what is asked about partitions: epochs, sizes, producers, leaders, reassignments, the quorum. Each with defaults, and
//! with everything filled.

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{describe_producers_request, describe_quorum_request};

use super::*;

fn orders() -> TopicName {
    TopicName(text("orders"))
}

pub(super) fn one(samples: &mut Vec<Sample>, key: i16, version: i16, flexible: bool) {
    match key {
        23 => {
            encode(samples, key, version, &OffsetForLeaderEpochRequest::default());
            let partition = || {
                let asked = OffsetForLeaderPartition::default().with_partition(1).with_leader_epoch(2);
                tagged!(asked.with_current_leader_epoch(0), flexible)
            };
            let topic = OffsetForLeaderTopic::default()
                .with_topic(orders())
                .with_partitions(vec![partition(), partition()]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![tagged!(topic, flexible)]);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        35 => {
            encode(samples, key, version, &DescribeLogDirsRequest::default().with_topics(None));
            let topic = DescribableLogDirTopic::default().with_topic(orders()).with_partitions(vec![0, 99]);
            let request = DescribeLogDirsRequest::default().with_topics(Some(vec![tagged!(topic, flexible)]));
            encode(samples, key, version, &tagged!(request, flexible));
        }
        43 => {
            encode(samples, key, version, &ElectLeadersRequest::default().with_topic_partitions(None));
            let topic = TopicPartitions::default().with_topic(orders()).with_partitions(vec![0, 99]);
            let mut request =
                ElectLeadersRequest::default().with_topic_partitions(Some(vec![tagged!(topic, flexible)]));
            request.election_type = i8::from(version >= 1);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        45 => {
            encode(samples, key, version, &AlterPartitionReassignmentsRequest::default());
            let moved = ReassignablePartition::default().with_replicas(Some(vec![BrokerId(7), BrokerId(8)]));
            let cancelled = ReassignablePartition::default().with_partition_index(1).with_replicas(None);
            let topic = ReassignableTopic::default()
                .with_name(orders())
                .with_partitions(vec![tagged!(moved, flexible), tagged!(cancelled, flexible)]);
            let mut request =
                AlterPartitionReassignmentsRequest::default().with_topics(vec![tagged!(topic, flexible)]);
            request.allow_replication_factor_change = version == 0;
            encode(samples, key, version, &tagged!(request, flexible));
        }
        46 => {
            encode(samples, key, version, &ListPartitionReassignmentsRequest::default().with_topics(None));
            let topic = ListPartitionReassignmentsTopics::default()
                .with_name(orders())
                .with_partition_indexes(vec![0, 1]);
            let request = ListPartitionReassignmentsRequest::default()
                .with_topics(Some(vec![tagged!(topic, flexible)]));
            encode(samples, key, version, &tagged!(request, flexible));
        }
        55 => {
            use describe_quorum_request::{PartitionData, TopicData};
            encode(samples, key, version, &DescribeQuorumRequest::default());
            let topic = TopicData::default()
                .with_topic_name(TopicName(text("__cluster_metadata")))
                .with_partitions(vec![tagged!(PartitionData::default(), flexible)]);
            let request = DescribeQuorumRequest::default().with_topics(vec![tagged!(topic, flexible)]);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        61 => {
            encode(samples, key, version, &DescribeProducersRequest::default());
            let topic = describe_producers_request::TopicRequest::default()
                .with_name(orders())
                .with_partition_indexes(vec![0, 99]);
            let request = DescribeProducersRequest::default().with_topics(vec![tagged!(topic, flexible)]);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        64 => {
            encode(samples, key, version, &UnregisterBrokerRequest::default());
            let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(5));
            encode(samples, key, version, &tagged!(request, flexible));
        }
        75 => {
            encode(samples, key, version, &DescribeTopicPartitionsRequest::default());
            let topic = || tagged!(TopicRequest::default().with_name(orders()), flexible);
            let cursor = Cursor::default().with_topic_name(orders()).with_partition_index(1);
            let request = DescribeTopicPartitionsRequest::default()
                .with_topics(vec![topic(), topic()])
                .with_cursor(Some(tagged!(cursor, flexible)));
            encode(samples, key, version, &tagged!(request, flexible));
        }
        other => panic!("no sample request for API {other}: add one beside its shape"),
    }
}
