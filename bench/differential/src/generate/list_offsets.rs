//! ListOffsets: every special timestamp, times before, between and after the records, names and epochs good and bad.

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest};

use super::batches::MADE_MS;
use super::{Maker, topic_name, topics};

/// Requests over the fixtures.
pub(super) fn any(maker: &mut Maker<'_>) {
    for _ in 0..16 {
        let Some(version) = maker.version(2) else { return };
        let mut request = ListOffsetsRequest::default();
        request.replica_id = BrokerId(maker.random.pick(&[-1, -1, -1, -1, -2, 0, 1, 5]));
        if version >= 2 {
            request.isolation_level = maker.random.pick(&[0, 0, 1, 1, 2, -1]);
        }
        if version >= 10 {
            request.timeout_ms = maker.random.pick(&[0, 1_000, -1, i32::MAX]);
        }
        let fixtures = maker.world.fixtures();
        for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2, 3]) {
            let name = match maker.random.below(8) {
                0 => "no-such-topic".to_owned(),
                1 => maker.random.pick(&topics::odd_names()),
                _ => maker.random.pick(&fixtures).0,
            };
            let mut topic = ListOffsetsTopic::default().with_name(topic_name(&name));
            for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2, 3]) {
                topic.partitions.push(partition(maker, version));
            }
            request.topics.push(topic);
        }
        maker.send(2, version, &request);
    }
}

fn partition(maker: &mut Maker<'_>, version: i16) -> ListOffsetsPartition {
    let near = MADE_MS + maker.random.pick(&[-2_000, -1, 0, 1, 5, 500, 1_000, 5_000, 9_999, 10_000, 1 << 40]);
    let timestamp = maker.random.pick(&[
        near,
        near,
        near,
        near,
        -1,
        -1,
        -2,
        -2,
        -3,
        -3,
        -4,
        -5,
        -6,
        -7,
        0,
        1,
        i64::MAX,
        i64::MIN,
    ]);
    let mut partition = ListOffsetsPartition::default()
        .with_partition_index(maker.random.pick(&[0, 0, 0, 1, 2, 3, -1, i32::MAX]))
        .with_timestamp(timestamp);
    if version >= 4 {
        partition.current_leader_epoch = maker.random.pick(&[-1, -1, -1, 0, 0, 1, 7, -2]);
    }
    partition
}
