//! Fetch and ListOffsets.

use std::task::Poll;

use bytes::BytesMut;
use corelog::drive::tasks::{AppendBatch, PartitionError};
use corelog::shard::Core;
use corelog_storage::batch::{BatchBuilder, Batches};
use futures_lite::future::{block_on, poll_once};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::fakes::{Bench, decode_reply, frame};

fn fill(bench: &Bench, topic: &str, partition: i32, timestamps: &[i64]) -> usize {
    let batch = timestamps
        .iter()
        .fold(BatchBuilder::new(), |batch, at| batch.record(*at, None, Some(b"a value")))
        .build();
    let len = batch.len();
    let records = BytesMut::from(&batch[..]);
    bench.append(AppendBatch { partition: bench.partition(topic, partition), records, backing_bytes: len });
    len
}

fn fetch(topic: &'static str, partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions
        .iter()
        .map(|(partition, offset)| {
            FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(1 << 20)
        })
        .collect();
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(topic)))
        .with_partitions(partitions);
    FetchRequest::default().with_min_bytes(1).with_max_bytes(50 << 20).with_topics(vec![topic])
}

/// Partition, error, high watermark, base offsets of the batches.
fn outcome(response: &FetchResponse) -> Vec<(i32, i16, i64, Vec<i64>)> {
    response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| {
            let records = partition.records.as_deref().expect("never null");
            let offsets =
                Batches::new(records).map(|batch| batch.expect("whole batches").header.base_offset).collect();
            (partition.partition_index, partition.error_code, partition.high_watermark, offsets)
        })
        .collect()
}

#[test]
fn the_batch_that_contains_the_offset_comes_whole() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    fill(&bench, "orders", 0, &[1, 2, 3]);
    fill(&bench, "orders", 0, &[4, 5]);
    for version in 4..=12 {
        let response: FetchResponse = bench.ask(1, version, &fetch("orders", &[(0, 1)]));
        assert_eq!(outcome(&response), [(0, 0, 5, vec![0, 3])], "version {version}");
        assert_eq!(response.session_id, 0);
    }
    let response: FetchResponse = bench.ask(1, 12, &fetch("orders", &[(0, 3)]));
    assert_eq!(outcome(&response), [(0, 0, 5, vec![3])]);
}

#[test]
fn the_first_batch_comes_whole_however_small_the_limits_are() {
    let bench = Bench::new();
    bench.topic("orders", 4);
    for partition in 0..4 {
        fill(&bench, "orders", partition, &[1, 2]);
        fill(&bench, "orders", partition, &[1, 2]);
    }
    let mut request = fetch("orders", &[(2, 0), (1, 0), (0, 0), (3, 0)]);
    request.max_bytes = 1;
    request.topics[0].partitions.iter_mut().for_each(|partition| partition.partition_max_bytes = 1);
    let response: FetchResponse = bench.ask(1, 12, &request);
    assert_eq!(
        outcome(&response),
        [(2, 0, 4, vec![0]), (1, 0, 4, vec![]), (0, 0, 4, vec![]), (3, 0, 4, vec![])]
    );
}

#[test]
fn max_bytes_bounds_the_response_in_the_order_of_the_request() {
    let bench = Bench::new();
    bench.topic("orders", 4);
    let len = (0..4).map(|partition| fill(&bench, "orders", partition, &[1, 2])).max().expect("four");
    let mut request = fetch("orders", &[(1, 0), (0, 0), (2, 0), (3, 0)]);
    request.max_bytes = 3 * len as i32;
    let response: FetchResponse = bench.ask(1, 12, &request);
    // Core 1 has the first partition, so its partitions (1 and 3) come before those of core 0.
    assert_eq!(
        outcome(&response),
        [(1, 0, 2, vec![0]), (0, 0, 2, vec![0]), (2, 0, 2, vec![]), (3, 0, 2, vec![0])]
    );
}

#[test]
fn an_empty_fetch_is_woken_by_the_first_record() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    let mut request = fetch("orders", &[(0, 0), (1, 0)]);
    request.max_wait_ms = 500;
    let dispatched = bench.dispatch(&frame(1, 12, &request));
    block_on(async {
        let mut answer = dispatched.start.await;
        assert!(poll_once(&mut answer).await.is_none(), "nothing to read yet");
        assert!(poll_once(&mut answer).await.is_none());
        let before = bench.world.messages.borrow().len();
        assert!(poll_once(&mut answer).await.is_none());
        assert_eq!(bench.world.messages.borrow().len(), before, "waiting asks nobody");
        fill(&bench, "orders", 1, &[1]);
        let reply = poll_once(&mut answer).await.expect("woken");
        let response: FetchResponse = decode_reply(reply, 12);
        assert_eq!(outcome(&response), [(0, 0, 0, vec![]), (1, 0, 1, vec![0])]);
    });
    let watches = bench.world.messages.borrow().iter().filter(|(_, what, _)| *what == "watch").count();
    assert_eq!(watches, 2, "one for each core");
}

#[test]
fn an_empty_fetch_is_answered_when_its_time_is_up() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let mut request = fetch("orders", &[(0, 0)]);
    request.max_wait_ms = 1;
    let dispatched = bench.dispatch(&frame(1, 12, &request));
    let reply = block_on(async {
        let mut answer = dispatched.start.await;
        loop {
            if let Some(reply) = poll_once(&mut answer).await {
                break reply;
            }
            bench.world.time_is_up.set(true);
        }
    });
    assert_eq!(outcome(&decode_reply(reply, 12)), [(0, 0, 0, vec![])]);
}

#[test]
fn min_bytes_is_waited_for_across_cores() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    let len = fill(&bench, "orders", 0, &[1]);
    let mut request = fetch("orders", &[(0, 0), (1, 0)]);
    request.max_wait_ms = 60_000;
    request.min_bytes = 2 * len as i32;
    let dispatched = bench.dispatch(&frame(1, 12, &request));
    block_on(async {
        let mut answer = dispatched.start.await;
        assert!(poll_once(&mut answer).await.is_none());
        fill(&bench, "orders", 1, &[1]);
        assert!(
            std::future::poll_fn(|context| match answer.as_mut().poll(context) {
                Poll::Ready(reply) => {
                    assert_eq!(outcome(&decode_reply(reply, 12)), [(0, 0, 1, vec![0]), (1, 0, 1, vec![0])]);
                    Poll::Ready(true)
                }
                Poll::Pending => Poll::Ready(false),
            })
            .await
        );
    });
}

#[test]
fn limits_that_stand_in_the_way_of_min_bytes_do_not_keep_a_fetch_spinning() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let len = fill(&bench, "orders", 0, &[1]);
    fill(&bench, "orders", 0, &[1]);
    let mut request = fetch("orders", &[(0, 0)]);
    request.max_wait_ms = 60_000;
    request.min_bytes = 2 * len as i32 - 1;
    request.max_bytes = 2 * len as i32 - 1;
    let response: FetchResponse = bench.ask(1, 12, &request);
    assert_eq!(outcome(&response), [(0, 0, 2, vec![0])]);
}

#[test]
fn an_error_is_never_kept_waiting() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    let mut request = fetch("orders", &[(0, 0), (1, 99)]);
    request.max_wait_ms = 60_000;
    let response: FetchResponse = bench.ask(1, 12, &request);
    assert_eq!(outcome(&response), [(0, 0, 0, vec![]), (1, 1, -1, vec![])]);
    let id = bench.partition("orders", 1);
    for (error, code) in [
        (PartitionError::FencedLeaderEpoch { requested: 1, current: 2 }, 74),
        (PartitionError::UnknownLeaderEpoch { requested: 3, current: 2 }, 75),
    ] {
        bench.world.logs.borrow_mut().entry(id).or_default().fails_with = Some(error);
        let response: FetchResponse = bench.ask(1, 12, &request);
        assert_eq!(outcome(&response)[1], (1, code, -1, vec![]));
    }
}

#[test]
fn unknown_topics_are_answered_by_name_and_by_id() {
    let bench = Bench::new();
    let id = bench.topic("orders", 1);
    let response: FetchResponse = bench.ask(1, 12, &fetch("nowhere", &[(0, 0)]));
    assert_eq!(outcome(&response), [(0, 3, -1, vec![])]);
    let mut request = fetch("", &[(0, 0), (8, 0)]);
    request.topics[0].topic_id = Uuid::from_bytes(id.0);
    for version in 13..=18 {
        let response: FetchResponse = bench.ask(1, version, &request);
        assert_eq!(outcome(&response), [(0, 0, 0, vec![]), (8, 3, -1, vec![])]);
        assert_eq!(response.responses[0].topic_id, Uuid::from_bytes(id.0));
    }
    request.topics[0].topic_id = Uuid::from_bytes([9; 16]);
    let response: FetchResponse = bench.ask(1, 18, &request);
    assert_eq!(outcome(&response), [(0, 100, -1, vec![]), (8, 100, -1, vec![])]);
}

#[test]
fn aborted_transactions_are_null_unless_read_committed_or_the_partition_is_unknown() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    for version in [4, 12] {
        let mut request = fetch("orders", &[(0, 0), (0, 99), (7, 0)]);
        let aborted = |request: &FetchRequest| {
            let response: FetchResponse = bench.ask(1, version, request);
            let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
            let lists =
                partitions.map(|one| (one.error_code, one.aborted_transactions.as_ref().map(Vec::len)));
            lists.collect::<Vec<_>>()
        };
        assert_eq!(aborted(&request), [(1, None), (3, Some(0))]);
        request.isolation_level = 1;
        assert_eq!(aborted(&request), [(1, None), (3, Some(0))]);
        let mut request = fetch("orders", &[(0, 0)]);
        assert_eq!(aborted(&request), [(0, None)]);
        request.isolation_level = 1;
        assert_eq!(aborted(&request), [(0, Some(0))]);
    }
}

#[test]
fn an_isolation_level_that_does_not_exist_fails_the_request_when_there_is_something_to_read() {
    let bench = Bench::new();
    let id = bench.topic("orders", 1);
    let ask = |version, mut request: FetchRequest| -> FetchResponse {
        request.isolation_level = 2;
        if version >= 7 {
            request.session_id = 5;
            request.session_epoch = -1;
        }
        bench.ask(1, version, &request)
    };
    for version in 4..=12 {
        let response = ask(version, fetch("orders", &[(0, 0), (9, 0)]));
        assert_eq!(outcome(&response), [(0, -1, -1, vec![]), (9, -1, -1, vec![])]);
        let whole = if version >= 7 { (-1, 5) } else { (0, 0) };
        assert_eq!((response.error_code, response.session_id), whole, "version {version}");
        assert_eq!(outcome(&ask(version, fetch("orders", &[(9, 0)]))), [(9, 3, -1, vec![])]);
    }
    let mut by_id = fetch("", &[(0, 0)]);
    by_id.topics[0].topic_id = Uuid::from_bytes(id.0);
    let response = ask(18, by_id);
    assert_eq!((response.error_code, response.session_id, response.responses.len()), (-1, 5, 0));
}

#[test]
fn a_follower_is_told_that_this_is_not_its_leader() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let mut request = fetch("orders", &[(0, 0)]);
    request.replica_id = BrokerId(2);
    let response: FetchResponse = bench.ask(1, 11, &request);
    assert_eq!(outcome(&response), [(0, 6, -1, vec![])]);
}

fn list(topic: &'static str, queries: &[(i32, i64)]) -> ListOffsetsRequest {
    let partitions = queries
        .iter()
        .map(|(partition, timestamp)| {
            ListOffsetsPartition::default().with_partition_index(*partition).with_timestamp(*timestamp)
        })
        .collect();
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![
        ListOffsetsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(topic)))
            .with_partitions(partitions),
    ])
}

/// Error, timestamp, offset, leader epoch.
fn listed(response: &ListOffsetsResponse) -> Vec<(i16, i64, i64, i32)> {
    response
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|one| (one.error_code, one.timestamp, one.offset, one.leader_epoch))
        .collect()
}

#[test]
fn offsets_are_found_by_time_and_by_their_special_numbers() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    fill(&bench, "orders", 0, &[100, 300, 200]);
    fill(&bench, "orders", 0, &[250]);
    let ask = |version: i16, timestamp: i64| -> (i16, i64, i64, i32) {
        listed(&bench.ask(2, version, &list("orders", &[(0, timestamp)])))[0]
    };
    assert_eq!(ask(10, 150), (0, 300, 1, 0));
    assert_eq!(ask(10, 301), (0, -1, -1, -1));
    assert_eq!(ask(1, 0), (0, 100, 0, -1));
    assert_eq!(ask(10, -1), (0, -1, 4, 0));
    assert_eq!(ask(10, -2), (0, -1, 0, 0));
    assert_eq!(ask(7, -3), (0, 300, 1, 0));
    assert_eq!(ask(8, -4), (0, -1, 0, 0));
    assert_eq!(ask(9, -5), (0, -1, -1, -1));
    for (version, timestamp) in [(6, -3), (7, -4), (8, -5), (10, -6), (10, i64::MIN)] {
        assert_eq!(ask(version, timestamp).0, 35, "{timestamp} in version {version}");
    }
}

#[test]
fn a_special_number_is_judged_before_the_topic_and_an_unknown_isolation_level_before_all() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    assert_eq!(listed(&bench.ask(2, 10, &list("nowhere", &[(0, -7), (0, -7), (1, -1)]))).len(), 2);
    let errors = |version, request: &ListOffsetsRequest| -> Vec<i16> {
        listed(&bench.ask(2, version, request)).iter().map(|one| one.0).collect()
    };
    assert_eq!(errors(10, &list("nowhere", &[(0, -7), (1, -1)])), [35, 3]);
    let strange = list("orders", &[(0, -1), (9, -1), (0, -1)]).with_isolation_level(2);
    assert_eq!(errors(10, &strange), [-1, -1, -1]);
    let mut twice = list("orders", &[(0, -1)]);
    twice.topics.push(list("orders", &[(1, -1)]).topics.remove(0));
    twice.topics.push(list("orders", &[]).topics.remove(0));
    twice.topics.push(list("empty", &[]).topics.remove(0));
    let response: ListOffsetsResponse = bench.ask(2, 10, &twice);
    assert_eq!((response.topics.len(), listed(&response).len()), (1, 2));
}

#[test]
fn each_core_gets_one_query_and_strange_partitions_their_error() {
    let bench = Bench::new();
    bench.topic("orders", 4);
    let response: ListOffsetsResponse =
        bench.ask(2, 6, &list("orders", &[(3, -1), (0, -1), (1, -1), (9, -1), (2, -1), (2, -2)]));
    let errors: Vec<i16> = listed(&response).iter().map(|one| one.0).collect();
    // A partition that is asked for twice comes back once.
    assert_eq!(errors, [0, 0, 0, 3, 42]);
    assert_eq!(*bench.world.messages.borrow(), [(Core(1), "offsets", 2), (Core(0), "offsets", 1)]);
}
