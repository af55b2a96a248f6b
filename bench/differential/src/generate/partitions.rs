//! CreatePartitions, ElectLeaders, AlterPartitionReassignments and ListPartitionReassignments: one node's answers.

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreatePartitionsRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
};

use super::{Maker, topic_name, topics};

/// Longer than anything should take, in milliseconds.
const TIMEOUT_MS: i32 = 15_000;

/// A topic that grows, and what is asked of its partitions meanwhile.
pub(super) fn any(maker: &mut Maker<'_>) {
    let topic = maker.topic(2, &[]);
    for _ in 0..10 {
        match maker.random.below(8) {
            0..=3 => create(maker, &topic),
            4 => elect(maker, &topic),
            5 | 6 => reassign(maker, &topic),
            _ => list(maker, &topic),
        }
        // Kafka's broker hears of what the controller has decided a little later.
        maker.steps.push(crate::script::Step::Exist(vec![topic.clone()]));
    }
    maker.clean_up(&[&topic]);
}

fn name(maker: &mut Maker<'_>, own: &str) -> String {
    match maker.random.below(10) {
        0 => "no-such-topic".to_owned(),
        1 => maker.random.pick(&topics::odd_names()),
        _ => own.to_owned(),
    }
}

fn brokers(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn create(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(37) else { return };
    let mut request = CreatePartitionsRequest::default()
        .with_timeout_ms(TIMEOUT_MS)
        .with_validate_only(maker.random.once_in(3));
    for _ in 0..maker.random.pick(&[0, 1, 1, 1, 1, 2]) {
        let mut topic = CreatePartitionsTopic::default()
            .with_name(topic_name(&name(maker, own)))
            // Not more than Kafka would make: of a hundred million it falls silent.
            .with_count(maker.random.pick(&[1, 2, 3, 3, 4, 5, 0, -1, i32::MIN]))
            .with_assignments(None);
        if maker.random.once_in(3) {
            let shapes: &[&[&[i32]]] = &[
                &[],
                &[&[1]],
                &[&[1], &[1]],
                &[&[2]],
                &[&[]],
                &[&[1, 1]],
                &[&[1, 2]],
                &[&[-1]],
                &[&[1], &[]],
            ];
            let assignments = maker
                .random
                .pick(shapes)
                .iter()
                .map(|ids| CreatePartitionsAssignment::default().with_broker_ids(brokers(ids)));
            topic.assignments = Some(assignments.collect());
        }
        request.topics.push(topic);
    }
    maker.send(37, version, &request);
}

fn indexes(maker: &mut Maker<'_>) -> Vec<i32> {
    maker.random.pick(&[vec![0], vec![0, 1], vec![1, 0, 9], vec![-1], vec![], vec![0, 0]])
}

fn elect(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(43) else { return };
    let mut request = ElectLeadersRequest::default().with_timeout_ms(TIMEOUT_MS);
    if version >= 1 {
        request.election_type = maker.random.pick(&[0, 0, 1, 2, -1]);
    }
    let mut asked = Vec::new();
    for _ in 0..maker.random.pick(&[0, 1, 1, 2]) {
        let topic = TopicPartitions::default().with_topic(topic_name(&name(maker, own)));
        asked.push(topic.with_partitions(indexes(maker)));
    }
    request.topic_partitions = if maker.random.once_in(6) { None } else { Some(asked) };
    maker.send(43, version, &request);
}

fn reassign(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(45) else { return };
    let mut request = AlterPartitionReassignmentsRequest::default().with_timeout_ms(TIMEOUT_MS);
    if version >= 1 {
        request.allow_replication_factor_change = maker.random.once_in(2);
    }
    for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2]) {
        let mut topic = ReassignableTopic::default().with_name(topic_name(&name(maker, own)));
        for index in indexes(maker) {
            let replicas = maker.random.pick(&[
                None,
                Some(&[1][..]),
                Some(&[1]),
                Some(&[]),
                Some(&[2]),
                Some(&[1, 1]),
                Some(&[1, 2]),
                Some(&[-1]),
            ]);
            topic.partitions.push(
                ReassignablePartition::default()
                    .with_partition_index(index)
                    .with_replicas(replicas.map(brokers)),
            );
        }
        request.topics.push(topic);
    }
    maker.send(45, version, &request);
}

fn list(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(46) else { return };
    let mut asked = Vec::new();
    for _ in 0..maker.random.pick(&[0, 1, 1, 2]) {
        let topic = ListPartitionReassignmentsTopics::default().with_name(topic_name(&name(maker, own)));
        asked.push(topic.with_partition_indexes(indexes(maker)));
    }
    let topics = if maker.random.once_in(3) { None } else { Some(asked) };
    let request =
        ListPartitionReassignmentsRequest::default().with_timeout_ms(TIMEOUT_MS).with_topics(topics);
    maker.send(46, version, &request);
}
