//! DeleteRecords: offsets inside, at the ends of and outside of what a topic of the script has; and what is left afterwards.

use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

use super::{Maker, batches, fetch, produce, topic_name, topics};

/// Longer than anything should take, in milliseconds.
const TIMEOUT_MS: i32 = 15_000;

/// A topic that loses its beginning bit by bit.
pub(super) fn any(maker: &mut Maker<'_>) {
    let configs: &[&[(&str, &str)]] =
        &[&[], &[], &[("cleanup.policy", "compact,delete")], &[("cleanup.policy", "compact")]];
    let configs = maker.random.pick(configs);
    let own = maker.topic(2, configs);
    for partition in [0, 0, 1] {
        let batch = batches::sound(&mut maker.random);
        maker.send(0, 8, &produce::request(8, &own, -1, vec![(partition, Some(batch))]));
    }
    for _ in 0..8 {
        let Some(version) = maker.version(21) else { return };
        let mut request = DeleteRecordsRequest::default().with_timeout_ms(TIMEOUT_MS);
        for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2]) {
            let name = match maker.random.below(8) {
                0 => "no-such-topic".to_owned(),
                1 => maker.random.pick(&topics::odd_names()),
                _ => own.clone(),
            };
            let mut topic = DeleteRecordsTopic::default().with_name(topic_name(&name));
            for _ in 0..maker.random.pick(&[0, 1, 1, 2]) {
                topic.partitions.push(
                    DeleteRecordsPartition::default()
                        .with_partition_index(maker.random.pick(&[0, 0, 1, 9, -1]))
                        .with_offset(maker.random.pick(&[0, 1, 2, 3, -1, -2, 1_000, i64::MAX])),
                );
            }
            request.topics.push(topic);
        }
        maker.send(21, version, &request);
    }
    for partition in 0..2 {
        fetch::all_of(maker, &own, partition);
    }
    maker.clean_up(&[&own]);
}
