//! DescribeQuorum (key 55, KIP-595): the metadata quorum, which is this node alone.
//!
//! Version notes: flexible from 0; 1 adds timestamps (KIP-836), which are the present ones for a leader; 2 adds the directory, nodes and error texts (KIP-853).
//! The quorum has no listener of its own, and none is told.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::describe_quorum_response::{Node, PartitionData, ReplicaState, TopicData};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};

use super::broker::{Broker, Quorum};
use super::dispatch::Request;
use super::error_code::ErrorCode;
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DescribeQuorumRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let (version, quorum) = (request.version, broker.controller.quorum());
        let is_the_log = matches!(body.topics.as_slice(), [topic]
            if topic.topic_name.as_str() == "__cluster_metadata"
                && matches!(topic.partitions.as_slice(), [partition] if partition.partition_index == 0));
        let topics = body.topics.iter().map(|topic| {
            let partition = |index: i32| {
                if is_the_log {
                    told(index, broker.node_id, quorum, version)
                } else {
                    let code = ErrorCode::UnknownTopicOrPartition.number();
                    PartitionData::default().with_partition_index(index).with_error_code(code)
                }
            };
            TopicData::default()
                .with_topic_name(topic.topic_name.clone())
                .with_partitions(topic.partitions.iter().map(|one| partition(one.partition_index)).collect())
        });
        let mut response = DescribeQuorumResponse::default().with_topics(topics.collect());
        if version >= 2 && is_the_log {
            response.nodes = vec![Node::default().with_node_id(BrokerId(broker.node_id))];
        }
        request.reply(&response)
    }))
}

fn told(index: i32, node_id: i32, quorum: Quorum, version: i16) -> PartitionData {
    let mut voter =
        ReplicaState::default().with_replica_id(BrokerId(node_id)).with_log_end_offset(quorum.log_end_offset);
    if version >= 1 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        voter.last_fetch_timestamp = now;
        voter.last_caught_up_timestamp = now;
    }
    PartitionData::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(node_id))
        .with_leader_epoch(quorum.leader_epoch)
        .with_high_watermark(quorum.high_watermark)
        .with_current_voters(vec![voter])
}
