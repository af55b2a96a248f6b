//! Fetch: offsets, epochs, limits, names and sessions that are good, at the edge and wrong.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest};
use uuid::Uuid;

use super::{Maker, text, topic_id, topic_name, topics};
use crate::names::NOMINAL_SESSION_ID;

/// The id of no topic.
const UNKNOWN_ID: Uuid = Uuid::from_bytes([9; 16]);

/// Everything from a partition's start, in the plainest version.
pub(super) fn all_of(maker: &mut Maker<'_>, topic: &str, partition: i32) {
    let asked = FetchPartition::default().with_partition(partition).with_partition_max_bytes(8 << 20);
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![asked]);
    let request =
        FetchRequest::default().with_max_wait_ms(0).with_max_bytes(8 << 20).with_topics(vec![topic]);
    maker.send(1, 12, &request);
}

/// Requests over the fixtures.
pub(super) fn any(maker: &mut Maker<'_>) {
    for _ in 0..12 {
        full(maker);
    }
}

fn full(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(1) else { return };
    let mut request = FetchRequest::default()
        .with_max_wait_ms(maker.random.pick(&[0, 0, 1, 20, -1]))
        .with_min_bytes(maker.random.pick(&[0, 0, 1, 1, 1_000, i32::MAX, -1]))
        .with_max_bytes(maker.random.pick(&[8 << 20, 8 << 20, i32::MAX, 0, 1, 100, 500, -1]))
        .with_isolation_level(maker.random.pick(&[0, 0, 1, 1, 2, -1]));
    if version < 15 && maker.random.once_in(8) {
        request.replica_id = BrokerId(maker.random.pick(&[-2, 0, 1, 5]));
    }
    if version >= 7 {
        let (id, epoch) = maker.random.pick(&[
            (0, -1),
            (0, -1),
            (0, -1),
            (0, 0),
            (0, 1),
            (0, 5),
            (77, -1),
            (77, 0),
            (77, 1),
            (77, 2),
            (-1, 1),
            (0, i32::MIN),
            // The largest ids lie beyond the array of Kafka's caches, which answers UNKNOWN_SERVER_ERROR.
            (1 << 30, i32::MAX),
        ]);
        request.session_id = id;
        request.session_epoch = epoch;
    }
    if version >= 11 && maker.random.once_in(4) {
        request.rack_id = text("rack");
    }
    for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2]) {
        let topic = fetch_topic(maker, version);
        request.topics.push(topic);
    }
    maker.send(1, version, &request);
}

fn fetch_topic(maker: &mut Maker<'_>, version: i16) -> FetchTopic {
    let fixtures = maker.world.fixtures();
    let name = match maker.random.below(8) {
        0 => "no-such-topic".to_owned(),
        1 => maker.random.pick(&topics::odd_names()),
        _ => maker.random.pick(&fixtures).0,
    };
    let mut topic = named(&name, version);
    if version >= 13 && maker.random.once_in(10) {
        // Over no id at all, in the place of one, Kafka sometimes stumbles.
        topic.topic_id = UNKNOWN_ID;
    }
    for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2, 3]) {
        topic.partitions.push(partition(maker, version));
    }
    topic
}

fn named(name: &str, version: i16) -> FetchTopic {
    if version >= 13 {
        FetchTopic::default().with_topic_id(topic_id(name))
    } else {
        FetchTopic::default().with_topic(topic_name(name))
    }
}

fn partition(maker: &mut Maker<'_>, version: i16) -> FetchPartition {
    let mut partition = FetchPartition::default()
        .with_partition(maker.random.pick(&[0, 0, 0, 1, 2, 3, -1, i32::MAX]))
        .with_fetch_offset(maker.random.pick(&[
            0,
            0,
            1,
            2,
            5,
            10,
            11,
            20,
            31,
            32,
            33,
            1_000,
            -1,
            -2,
            i64::MAX,
            i64::MIN,
        ]))
        .with_partition_max_bytes(maker.random.pick(&[1 << 20, 1 << 20, 0, 1, 100, 300, -1, i32::MAX]));
    if version >= 9 {
        partition.current_leader_epoch = maker.random.pick(&[-1, -1, -1, 0, 0, 1, 7, -2, i32::MAX]);
    }
    if version >= 12 {
        partition.last_fetched_epoch = maker.random.pick(&[-1, -1, -1, 0, 1, -2]);
    }
    if version >= 5 {
        partition.log_start_offset = maker.random.pick(&[-1, 0, 5]);
    }
    partition
}

/// A session from its beginning to its end (KIP-227), with records arriving meanwhile.
pub(super) fn session(maker: &mut Maker<'_>) {
    let Some((min, max)) = maker.world.versions.get(&1).copied() else { return };
    let version = (min.max(7) + maker.random.below((max - min.max(7) + 1) as usize) as i16).min(max);
    let topic = maker.topic(3, &[]);
    let batch = super::batches::sound(&mut maker.random);
    maker.send(0, 8, &super::produce::request(8, &topic, 1, vec![(0, Some(batch))]));
    let asked = |index: i32, offset| {
        FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20)
    };
    let begin = FetchRequest::default().with_max_wait_ms(0).with_min_bytes(0).with_max_bytes(8 << 20);
    let first = begin
        .clone()
        .with_session_epoch(0)
        .with_topics(vec![named(&topic, version).with_partitions(vec![asked(0, 0), asked(1, 0)])]);
    maker.send(1, version, &first);
    for epoch in 1..8 {
        let mut request = begin.clone().with_session_id(NOMINAL_SESSION_ID).with_session_epoch(epoch);
        match maker.random.below(8) {
            0 => {
                let batch = super::batches::sound(&mut maker.random);
                let partition = maker.random.below(3) as i32;
                maker.send(0, 8, &super::produce::request(8, &topic, 1, vec![(partition, Some(batch))]));
            }
            1 => request.topics = vec![named(&topic, version).with_partitions(vec![asked(2, 0)])],
            2 => {
                let offset = maker.random.pick(&[0, 1, 50]);
                request.topics = vec![named(&topic, version).with_partitions(vec![asked(0, offset)])];
            }
            3 => {
                let forgotten = if version >= 13 {
                    ForgottenTopic::default().with_topic_id(topic_id(&topic))
                } else {
                    ForgottenTopic::default().with_topic(topic_name(&topic))
                };
                request.forgotten_topics_data =
                    vec![forgotten.with_partitions(vec![maker.random.pick(&[0, 1, 2, 9])])];
            }
            4 => request.topics = vec![named(&topic, version).with_partitions(vec![asked(9, 0)])],
            5 => request.session_epoch = maker.random.pick(&[epoch + 1, epoch - 1, 100]),
            _ => {}
        }
        maker.send(1, version, &request);
    }
    let end = begin.with_session_id(NOMINAL_SESSION_ID).with_session_epoch(-1);
    maker.send(1, version, &end);
    maker.clean_up(&[&topic]);
}
