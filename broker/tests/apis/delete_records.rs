//! DeleteRecords.

use corelog::drive::tasks::PartitionError;
use corelog_storage::batch::BatchBuilder;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::fakes::Bench;

fn delete(bench: &Bench, topic: &'static str, partitions: &[(i32, i64)]) -> Vec<(i32, i16, i64)> {
    let partitions = partitions
        .iter()
        .map(|(partition, offset)| {
            DeleteRecordsPartition::default().with_partition_index(*partition).with_offset(*offset)
        })
        .collect();
    let topic = DeleteRecordsTopic::default()
        .with_name(TopicName(StrBytes::from_static_str(topic)))
        .with_partitions(partitions);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
    let response: DeleteRecordsResponse = bench.ask(21, 2, &request);
    response
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| (partition.partition_index, partition.error_code, partition.low_watermark))
        .collect()
}

fn fill(bench: &Bench, topic: &str, partition: i32, records: i64) {
    let batch =
        (0..records).fold(BatchBuilder::new(), |batch, at| batch.record(at, None, Some(b"a value"))).build();
    let backing_bytes = batch.len();
    let records = bytes::BytesMut::from(&batch[..]);
    let partition = bench.partition(topic, partition);
    bench.append(corelog::drive::tasks::AppendBatch { partition, records, backing_bytes });
}

#[test]
fn the_answer_is_where_each_log_starts_now() {
    let bench = Bench::new();
    bench.topic("orders", 3);
    (0..3).for_each(|partition| fill(&bench, "orders", partition, 5));
    assert_eq!(
        delete(&bench, "orders", &[(0, 3), (1, -1), (2, 0), (7, 0)]),
        [(0, 0, 3), (1, 0, 5), (2, 0, 0), (7, 3, -1)]
    );
    let asked: Vec<_> = bench.world.messages.borrow().iter().map(|(core, _, n)| (core.0, *n)).collect();
    assert!(asked.ends_with(&[(0, 2), (1, 1)]), "one message per core: {asked:?}");
    assert_eq!(delete(&bench, "orders", &[(0, 1)]), [(0, 0, 3)], "what is gone does not come back");
}

#[test]
fn what_is_named_twice_is_answered_once_and_nothing_not_at_all() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    (0..2).for_each(|partition| fill(&bench, "orders", partition, 5));
    assert_eq!(
        delete(&bench, "orders", &[(0, 4), (1, 1), (0, 2)]),
        [(0, 0, 2), (1, 0, 1)],
        "the last offset counts"
    );
    let topic = |partitions| {
        DeleteRecordsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("orders")))
            .with_partitions(partitions)
    };
    let one = |index| vec![DeleteRecordsPartition::default().with_partition_index(index).with_offset(3)];
    let nothing = DeleteRecordsTopic::default().with_name(TopicName(StrBytes::from_static_str("nothing")));
    let topics = vec![topic(one(0)), nothing, topic(one(1)), topic(Vec::new())];
    let response: DeleteRecordsResponse =
        bench.ask(21, 2, &DeleteRecordsRequest::default().with_topics(topics));
    let answered: Vec<_> = response
        .topics
        .iter()
        .map(|topic| {
            let lows = topic.partitions.iter().map(|partition| partition.low_watermark).collect::<Vec<_>>();
            (topic.name.as_str(), lows)
        })
        .collect();
    assert_eq!(answered, [("orders", vec![3, 3])]);
}

#[test]
fn what_cannot_be_deleted_is_refused_with_kafkas_number() {
    let bench = Bench::new();
    let partition = bench.partition_of_new_topic("orders");
    fill(&bench, "orders", 0, 5);
    assert_eq!(delete(&bench, "orders", &[(0, 6)]), [(0, 1, -1)], "beyond the high watermark");
    assert_eq!(delete(&bench, "orders", &[(0, -2)]), [(0, 1, -1)]);
    assert_eq!(delete(&bench, "nothing", &[(0, 0)]), [(0, 3, -1)]);
    bench.topic("__consumer_offsets", 1);
    assert_eq!(delete(&bench, "__consumer_offsets", &[(0, 0)]), [(0, 17, -1)]);
    bench.world.logs.borrow_mut().entry(partition).or_default().fails_with =
        Some(PartitionError::NotDeletable);
    assert_eq!(delete(&bench, "orders", &[(0, 1)]), [(0, 44, -1)]);
}

#[test]
fn a_core_that_stops_sends_the_client_elsewhere() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    bench.world.cores_are_gone.set(true);
    assert_eq!(delete(&bench, "orders", &[(0, 0)]), [(0, 6, -1)]);
}
