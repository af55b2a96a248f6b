//! OffsetForLeaderEpoch, DescribeLogDirs, DescribeProducers and DescribeTopicPartitions: what is in a topic's partitions.

use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest as ProducersTopic;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeLogDirsRequest, DescribeProducersRequest, DescribeTopicPartitionsRequest,
    OffsetForLeaderEpochRequest,
};

use super::{Maker, batches, produce, topic_name, topics};

/// Over a topic of the script with some batches in it, the fixtures, and what is not there.
pub(super) fn any(maker: &mut Maker<'_>) {
    let own = maker.topic(2, &[]);
    for partition in 0..2 {
        let batch = batches::sound(&mut maker.random);
        maker.send(0, 8, &produce::request(8, &own, -1, vec![(partition, Some(batch))]));
    }
    for _ in 0..12 {
        match maker.random.below(4) {
            0 => epochs(maker, &own),
            1 => log_dirs(maker, &own),
            2 => producers(maker, &own),
            _ => partitions(maker, &own),
        }
    }
    maker.clean_up(&[&own]);
}

fn name(maker: &mut Maker<'_>, own: &str) -> String {
    let fixtures = maker.world.fixtures();
    match maker.random.below(10) {
        0 => "no-such-topic".to_owned(),
        1 => maker.random.pick(&topics::odd_names()),
        2..=5 => maker.random.pick(&fixtures).0,
        _ => own.to_owned(),
    }
}

fn names(maker: &mut Maker<'_>, own: &str) -> Vec<String> {
    (0..maker.random.pick(&[0, 1, 1, 1, 2, 3])).map(|_| name(maker, own)).collect()
}

fn indexes(maker: &mut Maker<'_>) -> Vec<i32> {
    maker.random.pick(&[vec![0], vec![0, 1], vec![1, 0, 9], vec![-1], vec![], vec![0, 0]])
}

fn epochs(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(23) else { return };
    let mut request = OffsetForLeaderEpochRequest::default();
    if version >= 3 {
        request.replica_id = BrokerId(maker.random.pick(&[-2, -2, -1, 1, 5]));
    }
    for name in names(maker, own) {
        let mut topic = OffsetForLeaderTopic::default().with_topic(topic_name(&name));
        for index in indexes(maker) {
            topic.partitions.push(
                OffsetForLeaderPartition::default()
                    .with_partition(index)
                    .with_current_leader_epoch(maker.random.pick(&[-1, -1, 0, 0, 1, 7, -2]))
                    .with_leader_epoch(maker.random.pick(&[0, 0, 1, 7, -1, -2, i32::MAX])),
            );
        }
        request.topics.push(topic);
    }
    maker.send(23, version, &request);
}

fn log_dirs(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(35) else { return };
    let mut asked = Vec::new();
    for name in names(maker, own) {
        let topic = DescribableLogDirTopic::default().with_topic(topic_name(&name));
        asked.push(topic.with_partitions(indexes(maker)));
    }
    let topics = if maker.random.once_in(4) { None } else { Some(asked) };
    maker.send(35, version, &DescribeLogDirsRequest::default().with_topics(topics));
}

fn producers(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(61) else { return };
    let mut request = DescribeProducersRequest::default();
    for name in names(maker, own) {
        let topic = ProducersTopic::default().with_name(topic_name(&name));
        request.topics.push(topic.with_partition_indexes(indexes(maker)));
    }
    maker.send(61, version, &request);
}

fn partitions(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(75) else { return };
    let names = names(maker, own);
    let asked = names.iter().map(|name| TopicRequest::default().with_name(topic_name(name)));
    let mut request = DescribeTopicPartitionsRequest::default()
        .with_topics(asked.collect())
        .with_response_partition_limit(maker.random.pick(&[2_000, 2_000, 1, 2, 3, 0, -1, i32::MAX]));
    // Without a cursor Kafka takes a topic without a name for the one where the cursor stands, stumbles (a NullPointerException in
    // DescribeTopicPartitionsRequestHandler) and answers UNKNOWN_SERVER_ERROR; Corelog says that the name is none.
    let nameless = names.iter().any(String::is_empty);
    if maker.random.once_in(2) || nameless {
        let cursor = Cursor::default().with_topic_name(topic_name(&name(maker, own)));
        request.cursor = Some(cursor.with_partition_index(maker.random.pick(&[0, 1, 2, 9, -1])));
    }
    maker.send(75, version, &request);
}
