//! Produce and InitProducerId.

use bytes::Bytes;
use corelog::drive::tasks::PartitionError;
use corelog::shard::Core;
use corelog_logic::partition::producer_state::ProducerError;
use corelog_storage::StorageError;
use corelog_storage::batch::{BatchBuilder, Compression};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::fakes::{Bench, frame};

fn batch(records: i64) -> Vec<u8> {
    (0..records).fold(BatchBuilder::new(), |batch, at| batch.record(1_000 + at, None, Some(b"value"))).build()
}

fn produce(acks: i16, topic: &'static str, partitions: Vec<(i32, Vec<u8>)>) -> ProduceRequest {
    let partitions = partitions
        .into_iter()
        .map(|(index, records)| {
            PartitionProduceData::default().with_index(index).with_records(Some(Bytes::from(records)))
        })
        .collect();
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str(topic)))
        .with_partition_data(partitions);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1_000).with_topic_data(vec![topic])
}

/// Error and base offset per partition.
fn outcome(response: &ProduceResponse) -> Vec<(i32, i16, i64)> {
    response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .map(|partition| (partition.index, partition.error_code, partition.base_offset))
        .collect()
}

#[test]
fn batches_get_their_offsets_and_each_core_one_message() {
    let bench = Bench::new();
    bench.topic("orders", 4);
    let request = produce(-1, "orders", vec![(0, batch(2)), (1, batch(1)), (2, batch(1)), (3, batch(1))]);
    let response: ProduceResponse = bench.ask(0, 9, &request);
    assert_eq!(outcome(&response), [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)]);
    let response: ProduceResponse = bench.ask(0, 3, &produce(1, "orders", vec![(0, batch(1))]));
    assert_eq!(outcome(&response), [(0, 0, 2)]);
    assert_eq!(response.responses[0].partition_responses[0].log_append_time_ms, -1);
    assert_eq!(
        *bench.world.messages.borrow(),
        [(Core(0), "append", 2), (Core(1), "append", 2), (Core(0), "append", 1)]
    );
}

#[test]
fn a_topic_is_found_by_its_id_from_version_13_on() {
    let bench = Bench::new();
    let id = bench.topic("orders", 1);
    let mut request = produce(-1, "", vec![(0, batch(1))]);
    request.topic_data[0].topic_id = Uuid::from_bytes(id.0);
    let response: ProduceResponse = bench.ask(0, 13, &request);
    assert_eq!(outcome(&response), [(0, 0, 0)]);
    assert_eq!(response.responses[0].topic_id, Uuid::from_bytes(id.0));
    request.topic_data[0].topic_id = Uuid::from_bytes([9; 16]);
    let response: ProduceResponse = bench.ask(0, 13, &request);
    assert_eq!(outcome(&response), [(0, 100, -1)]);
}

#[test]
fn unknown_topics_and_partitions_are_refused_one_by_one() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let response: ProduceResponse =
        bench.ask(0, 8, &produce(1, "orders", vec![(0, batch(1)), (1, batch(1)), (-1, batch(1))]));
    assert_eq!(outcome(&response), [(0, 0, 0), (1, 3, -1), (-1, 3, -1)]);
    let response: ProduceResponse = bench.ask(0, 8, &produce(1, "nowhere", vec![(0, batch(1))]));
    assert_eq!(outcome(&response), [(0, 3, -1)]);
}

#[test]
fn acks_other_than_minus_one_to_one_are_refused_without_an_append() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    for acks in [2, -2, i16::MAX] {
        let response: ProduceResponse = bench.ask(0, 9, &produce(acks, "orders", vec![(0, batch(1))]));
        assert_eq!(outcome(&response), [(0, 21, -1)]);
    }
    assert!(bench.world.messages.borrow().is_empty());
}

#[test]
fn acks_0_gets_no_reply_and_its_error_closes_the_connection() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let reply = bench.send(&frame(0, 9, &produce(0, "orders", vec![(0, batch(1))])));
    assert!(reply.segments.is_none() && !reply.close_after);
    assert_eq!(bench.world.logs.borrow()[&bench.partition("orders", 0)].next_offset, 1);
    let reply = bench.send(&frame(0, 9, &produce(0, "nowhere", vec![(0, batch(1))])));
    assert!(reply.segments.is_none() && reply.close_after);
}

#[test]
fn two_batches_for_one_partition_are_both_refused_and_neither_is_stored() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    let mut request = produce(1, "orders", vec![(0, batch(1)), (1, batch(1))]);
    request.topic_data.push(request.topic_data[0].clone());
    request.topic_data[1].partition_data.truncate(1);
    let response: ProduceResponse = bench.ask(0, 9, &request);
    assert_eq!(outcome(&response), [(0, 42, -1), (1, 0, 0), (0, 42, -1)]);
    assert!(!bench.world.logs.borrow().contains_key(&bench.partition("orders", 0)));
}

#[test]
fn what_is_wrong_with_a_batch_becomes_kafkas_error() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let with = |at: usize, value: u8| {
        let mut bytes = batch(1);
        bytes[at] = value;
        bytes
    };
    let oversized = BatchBuilder::new().record(0, None, Some(&vec![0; 2 << 20])).build();
    let cases: Vec<(&str, Vec<u8>, i16)> = vec![
        ("CRC", with(70, 0xee), 2),
        ("magic 0", with(16, 0), 87),
        ("magic 1", with(16, 1), 87),
        ("magic 9", with(16, 9), 2),
        ("too large", oversized, 10),
        ("nothing", Vec::new(), 87),
        ("cut", batch(1)[..40].to_vec(), 87),
        ("two batches", [batch(1), batch(1)].concat(), 87),
        ("a control batch", BatchBuilder::new().control().record(0, None, None).build(), 87),
        (
            "a transaction",
            BatchBuilder::new().producer(1, 0, 0).transactional().record(0, None, None).build(),
            53,
        ),
    ];
    for (what, records, code) in cases {
        let response: ProduceResponse = bench.ask(0, 8, &produce(1, "orders", vec![(0, records)]));
        assert_eq!(outcome(&response), [(0, code, -1)], "{what}");
        assert!(response.responses[0].partition_responses[0].error_message.is_some(), "{what}");
    }
    assert_eq!(bench.world.logs.borrow()[&bench.partition("orders", 0)].next_offset, 0);
}

#[test]
fn bytes_behind_the_batch_are_dropped_and_a_placed_or_oddly_marked_batch_is_as_in_kafka() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let trailing = [batch(1), vec![0; 9]].concat();
    let placed = BatchBuilder::new().base_offset(3).record(0, None, None).build();
    let marked = corelog_with_attributes(batch(1), [0x80, 0]);
    let codec = corelog_with_attributes(batch(1), [0, 7]);
    let not_gzip = corelog_with_attributes(batch(1), [0, 1]);
    for (what, records, code) in [
        ("trailing bytes", trailing, 0),
        ("a base offset", placed, 87),
        ("unknown attributes", marked, 0),
        ("an unknown codec", codec, -1),
        ("bytes that are no gzip", not_gzip, -1),
    ] {
        let response: ProduceResponse = bench.ask(0, 9, &produce(1, "orders", vec![(0, records)]));
        assert_eq!(response.responses[0].partition_responses[0].error_code, code, "{what}");
    }
}

/// The batch with these attributes, and a CRC over them.
fn corelog_with_attributes(mut batch: Vec<u8>, attributes: [u8; 2]) -> Vec<u8> {
    batch[21..23].copy_from_slice(&attributes);
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

#[test]
fn a_topic_comes_back_once_and_not_without_partitions() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    let mut request = produce(1, "orders", vec![(0, batch(1))]);
    request.topic_data.push(produce(1, "orders", vec![(1, batch(1))]).topic_data.remove(0));
    request.topic_data.push(produce(1, "empty", Vec::new()).topic_data.remove(0));
    let response: ProduceResponse = bench.ask(0, 9, &request);
    assert_eq!(response.responses.len(), 1);
    assert_eq!(outcome(&response), [(0, 0, 0), (1, 0, 0)]);
}

#[test]
fn what_the_topic_and_the_batch_lack_is_told_before_what_is_wrong_with_acks() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let request = produce(7, "orders", vec![(1, batch(1)), (0, Vec::new())]);
    let response: ProduceResponse = bench.ask(0, 9, &request);
    assert_eq!(outcome(&response), [(1, 3, -1), (0, 87, -1)]);
}

#[test]
fn a_refused_batch_is_told_where_the_log_starts_unless_it_is_corrupt() {
    let bench = Bench::new();
    let id = bench.partition_of_new_topic("orders");
    let refused = |error: PartitionError| {
        bench.world.logs.borrow_mut().entry(id).or_default().fails_with = Some(error);
        let response: ProduceResponse = bench.ask(0, 9, &produce(1, "orders", vec![(0, batch(1))]));
        response.responses[0].partition_responses[0].log_start_offset
    };
    let sequence = ProducerError::InvalidSequence { producer_id: 1, base_sequence: -9 };
    assert_eq!(refused(sequence.into()), 0);
    let corrupt = corelog_storage::batch::BatchError::Crc { stored: 1, computed: 2 };
    assert_eq!(refused(corrupt.into()), -1);
}

#[test]
fn null_records_are_refused() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let mut request = produce(1, "orders", vec![(0, batch(1))]);
    request.topic_data[0].partition_data[0].records = None;
    let response: ProduceResponse = bench.ask(0, 9, &request);
    assert_eq!(outcome(&response), [(0, 87, -1)]);
}

#[test]
fn zstd_needs_version_7() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let zstd = || BatchBuilder::new().compression(Compression::Zstd).record(0, None, Some(b"v")).build();
    let response: ProduceResponse = bench.ask(0, 6, &produce(1, "orders", vec![(0, zstd())]));
    assert_eq!(outcome(&response), [(0, 76, -1)]);
    let response: ProduceResponse = bench.ask(0, 7, &produce(1, "orders", vec![(0, zstd())]));
    assert_eq!(outcome(&response), [(0, 0, 0)]);
}

#[test]
fn zstd_before_its_version_is_told_of_before_what_else_is_wrong() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let mut zstd = BatchBuilder::new().compression(Compression::Zstd).record(0, None, Some(b"v")).build();
    // The last offset delta.
    zstd[23..27].copy_from_slice(&i32::MIN.to_be_bytes());
    let response: ProduceResponse = bench.ask(0, 5, &produce(1, "orders", vec![(0, zstd)]));
    assert_eq!(outcome(&response), [(0, 76, -1)]);
}

#[test]
fn a_whole_batch_that_is_too_short_for_a_header_is_corrupt_and_one_that_was_cut_is_none() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let told = |declared: i32, len: usize| {
        let mut short = batch(1);
        short[8..12].copy_from_slice(&declared.to_be_bytes());
        short.truncate(len);
        let response: ProduceResponse = bench.ask(0, 9, &produce(1, "orders", vec![(0, short)]));
        outcome(&response)
    };
    assert_eq!(told(48, 60), [(0, 2, -1)]);
    assert_eq!(told(49, 60), [(0, 87, -1)]);
    assert_eq!(told(48, 59), [(0, 87, -1)]);
}

#[test]
fn the_record_at_fault_is_named() {
    let bench = Bench::new();
    let id = bench.partition_of_new_topic("orders");
    let error = corelog_storage::batch::BatchError::KeyMissing { index: 4 };
    bench.world.logs.borrow_mut().entry(id).or_default().fails_with = Some(error.into());
    let response: ProduceResponse = bench.ask(0, 8, &produce(1, "orders", vec![(0, batch(1))]));
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!((partition.error_code, partition.record_errors[0].batch_index), (87, 4));
    assert!(partition.error_message.as_ref().is_some_and(|text| text.contains("cleanup.policy")));
}

#[test]
fn all_records_at_fault_are_named() {
    use corelog_storage::batch::BatchError;
    let bench = Bench::new();
    let id = bench.partition_of_new_topic("orders");
    let late = |index| BatchError::Timestamp { index, timestamp_ms: 9, min_ms: 0, max_ms: 5 };
    let error = BatchError::Several(vec![BatchError::KeyMissing { index: 1 }, late(4)]);
    bench.world.logs.borrow_mut().entry(id).or_default().fails_with = Some(error.into());
    let response: ProduceResponse = bench.ask(0, 8, &produce(1, "orders", vec![(0, batch(1))]));
    let partition = &response.responses[0].partition_responses[0];
    let named: Vec<i32> = partition.record_errors.iter().map(|record| record.batch_index).collect();
    // A timestamp that is refused decides about the error.
    assert_eq!((partition.error_code, named), (32, vec![1, 4]));
}

#[test]
fn errors_of_the_owner_become_kafkas_numbers() {
    let bench = Bench::new();
    let id = bench.partition_of_new_topic("orders");
    let cases = [
        (ProducerError::OutOfOrderSequence { producer_id: 1, base_sequence: 9, last_sequence: 2 }.into(), 45),
        (
            ProducerError::NewEpochNotAtZero {
                producer_id: 1,
                producer_epoch: 2,
                base_sequence: 9,
                current_epoch: 1,
            }
            .into(),
            45,
        ),
        (
            ProducerError::InvalidProducerEpoch { producer_id: 1, producer_epoch: 0, current_epoch: 1 }
                .into(),
            47,
        ),
        (ProducerError::InvalidSequence { producer_id: 1, base_sequence: -9 }.into(), 87),
        (PartitionError::Transactional, 48),
        (PartitionError::UnknownPartition, 3),
        (PartitionError::Storage(StorageError::Closed), 3),
        (PartitionError::Storage(StorageError::BatchTooLarge { len: 2, limit: 1 }), 10),
        (PartitionError::Storage(StorageError::DiskFull { dir: "/d".into(), available: 0, needed: 1 }), 56),
    ];
    for (error, code) in cases {
        bench.world.logs.borrow_mut().entry(id).or_default().fails_with = Some(error.clone());
        let response: ProduceResponse = bench.ask(0, 9, &produce(1, "orders", vec![(0, batch(1))]));
        assert_eq!(outcome(&response), [(0, code, -1)], "{error}");
    }
}

#[test]
fn a_core_that_is_gone_acknowledges_nothing() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    bench.world.cores_are_gone.set(true);
    let response: ProduceResponse = bench.ask(0, 9, &produce(1, "orders", vec![(0, batch(1))]));
    assert_eq!(outcome(&response), [(0, 6, -1)]);
}

fn idempotent() -> InitProducerIdRequest {
    InitProducerIdRequest::default().with_transactional_id(None)
}

#[test]
fn idempotent_producers_get_ids_that_are_never_given_twice() {
    let bench = Bench::new();
    let mut seen = std::collections::HashSet::new();
    for at in 0..2_500 {
        let version = at % 6;
        let response: InitProducerIdResponse = bench.ask(22, version, &idempotent());
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        assert!(response.producer_id.0 >= 0 && seen.insert(response.producer_id.0));
    }
}

#[test]
fn transactional_ids_find_no_coordinator_here() {
    let bench = Bench::new();
    let ask = |id: &'static str| {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(StrBytes::from_static_str(id))));
        let response: InitProducerIdResponse = bench.ask(22, 4, &request);
        (response.error_code, response.producer_id.0, response.producer_epoch)
    };
    assert_eq!(ask("orders-writer"), (16, -1, -1));
    assert_eq!(ask(""), (42, -1, -1));
}

#[test]
fn half_of_a_producers_identity_is_refused() {
    let bench = Bench::new();
    let request = idempotent().with_producer_id(ProducerId(5)).with_producer_epoch(-1);
    let response: InitProducerIdResponse = bench.ask(22, 3, &request);
    assert_eq!(response.error_code, 42);
}

#[test]
fn a_producer_waits_no_longer_than_the_controllers_patience() {
    let bench = Bench::new();
    bench.world.controller_hangs.set(true);
    bench.world.time_is_up.set(true);
    let response: InitProducerIdResponse = bench.ask(22, 4, &idempotent());
    assert_eq!(response.error_code, 14);
}
