//! Fetch sessions (KIP-227) as a client sees them.

use bytes::BytesMut;
use corelog::drive::tasks::{AppendBatch, PartitionError};
use corelog::shard::Core;
use corelog_storage::batch::BatchBuilder;
use futures_lite::future::{block_on, poll_once};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::fakes::{Bench, decode_reply, frame};

fn append(bench: &Bench, topic: &str, partition: i32) {
    let batch = BatchBuilder::new().record(1, None, Some(b"a value")).build();
    let (records, backing_bytes) = (BytesMut::from(&batch[..]), batch.len());
    bench.append(AppendBatch { partition: bench.partition(topic, partition), records, backing_bytes });
}

fn named(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// A request in a session, for these partitions of topics.
fn request(session: (i32, i32), wanted: &[(&str, i32, i64)]) -> FetchRequest {
    let topics = wanted.iter().map(|(topic, partition, offset)| {
        let partition = FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20);
        FetchTopic::default().with_topic(named(topic)).with_partitions(vec![partition])
    });
    FetchRequest::default()
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_id(session.0)
        .with_session_epoch(session.1)
        .with_topics(topics.collect())
}

/// Topic, partition, error, whether there are records.
fn told(response: &FetchResponse) -> Vec<(String, i32, i16, bool)> {
    let topics = response.responses.iter();
    topics
        .flat_map(|topic| topic.partitions.iter().map(|one| (topic.topic.to_string(), one)))
        .map(|(topic, one)| {
            let has_records = one.records.as_ref().is_some_and(|records| !records.is_empty());
            (topic, one.partition_index, one.error_code, has_records)
        })
        .collect()
}

fn answer(of: &str, partition: i32, code: i16, has_records: bool) -> (String, i32, i16, bool) {
    (of.to_owned(), partition, code, has_records)
}

fn begun(bench: &Bench, wanted: &[(&str, i32, i64)]) -> i32 {
    let response: FetchResponse = bench.ask(1, 12, &request((0, 0), wanted));
    assert_ne!(response.session_id, 0);
    assert_eq!(told(&response).len(), wanted.len());
    response.session_id
}

#[test]
fn a_session_is_begun_told_of_changes_and_ended_in_every_version() {
    for version in 7..=12 {
        let bench = Bench::new();
        bench.topic("orders", 3);
        let all = [("orders", 0, 0), ("orders", 1, 0), ("orders", 2, 0)];
        let response: FetchResponse = bench.ask(1, version, &request((0, 0), &all));
        let id = response.session_id;
        assert_eq!((response.error_code, told(&response).len(), id != 0), (0, 3, true));
        let empty: FetchResponse = bench.ask(1, version, &request((id, 1), &[]));
        assert_eq!((empty.error_code, empty.session_id, told(&empty)), (0, id, vec![]));
        append(&bench, "orders", 1);
        let one: FetchResponse = bench.ask(1, version, &request((id, 2), &[]));
        assert_eq!(told(&one), [answer("orders", 1, 0, true)]);
        // Not asked further: it is still there to be read, and still told.
        let again: FetchResponse = bench.ask(1, version, &request((id, 3), &[]));
        assert_eq!(told(&again), [answer("orders", 1, 0, true)]);
        let read: FetchResponse = bench.ask(1, version, &request((id, 4), &[("orders", 1, 1)]));
        assert_eq!(told(&read), []);
        let ended: FetchResponse = bench.ask(1, version, &request((id, -1), &[]));
        assert_eq!((ended.error_code, ended.session_id, told(&ended)), (0, 0, vec![]));
        let gone: FetchResponse = bench.ask(1, version, &request((id, 5), &[]));
        assert_eq!((gone.error_code, gone.session_id), (70, 0));
    }
}

#[test]
fn a_request_out_of_turn_or_without_a_session_is_told_so() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let id = begun(&bench, &[("orders", 0, 0)]);
    let ask = |version, session| -> (i16, i32) {
        let response: FetchResponse = bench.ask(1, version, &request(session, &[]));
        (response.error_code, response.session_id)
    };
    assert_eq!(ask(12, (id, 2)), (71, 0));
    assert_eq!(ask(12, (id ^ 1, 1)), (70, 0));
    assert_eq!(ask(12, (0, 1)), (70, 0));
    assert_eq!(ask(13, (id, 1)), (106, 0), "it names topics by name");
    assert_eq!(ask(12, (id, 1)), (0, id));
}

#[test]
fn forgotten_partitions_leave_and_what_has_no_more_ends() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    let id = begun(&bench, &[("orders", 0, 0), ("orders", 1, 0)]);
    append(&bench, "orders", 0);
    append(&bench, "orders", 1);
    let forget = |epoch, partition| {
        let topic = ForgottenTopic::default().with_topic(named("orders")).with_partitions(vec![partition]);
        request((id, epoch), &[]).with_forgotten_topics_data(vec![topic])
    };
    let response: FetchResponse = bench.ask(1, 12, &forget(1, 0));
    assert_eq!(told(&response), [answer("orders", 1, 0, true)]);
    let response: FetchResponse = bench.ask(1, 12, &forget(2, 1));
    assert_eq!((response.error_code, response.session_id, told(&response)), (0, 0, vec![]));
    let response: FetchResponse = bench.ask(1, 12, &request((id, 3), &[]));
    assert_eq!(response.error_code, 70);
}

#[test]
fn a_full_response_does_not_starve_the_partitions_behind() {
    let bench = Bench::new();
    bench.topic("orders", 3);
    bench.topic("others", 1);
    let id = begun(&bench, &[("orders", 0, 0), ("orders", 2, 0), ("others", 0, 0)]);
    for (topic, partition) in [("orders", 0), ("orders", 2), ("others", 0)] {
        append(&bench, topic, partition);
    }
    let first = |epoch| -> (String, i32) {
        let mut request = request((id, epoch), &[]);
        request.max_bytes = 1;
        let response: FetchResponse = bench.ask(1, 12, &request);
        let full: Vec<_> = told(&response).into_iter().filter(|one| one.3).collect();
        assert_eq!(full.len(), 1);
        (full[0].0.clone(), full[0].1)
    };
    let orders = |partition| ("orders".to_owned(), partition);
    assert_eq!(first(1), orders(0));
    assert_eq!(first(2), orders(2));
    assert_eq!(first(3), ("others".to_owned(), 0));
    assert_eq!(first(4), orders(0));
}

#[test]
fn an_error_is_told_until_it_is_gone_and_unknown_partitions_come_last() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    let id = begun(&bench, &[("nowhere", 0, 0), ("orders", 0, 0), ("orders", 9, 0), ("orders", 1, 0)]);
    let ask = |epoch| -> Vec<(String, i32, i16, bool)> {
        told(&bench.ask::<_, FetchResponse>(1, 12, &request((id, epoch), &[])))
    };
    let unknown = [answer("nowhere", 0, 3, false), answer("orders", 9, 3, false)];
    assert_eq!(ask(1), unknown);
    let broken = bench.partition("orders", 1);
    bench.world.logs.borrow_mut().entry(broken).or_default().fails_with =
        Some(PartitionError::UnknownPartition);
    assert_eq!(ask(2), [&[answer("orders", 1, 3, false)][..], &unknown].concat());
    bench.world.logs.borrow_mut().entry(broken).or_default().fails_with = None;
    assert_eq!(ask(3), [&[answer("orders", 1, 0, false)][..], &unknown].concat());
    bench.topic("nowhere", 1);
    assert_eq!(ask(4), [answer("nowhere", 0, 0, false), answer("orders", 9, 3, false)]);
    assert_eq!(ask(5), [answer("orders", 9, 3, false)]);
}

#[test]
fn a_topic_that_is_gone_is_told_as_its_session_knew_it() {
    let bench = Bench::new();
    let id = bench.topic("orders", 1);
    let of = |session, topic_id: [u8; 16]| {
        let mut request = request(session, &[("", 0, 0)]);
        request.topics[0].topic_id = Uuid::from_bytes(topic_id);
        request
    };
    let codes = |response: &FetchResponse| -> Vec<i16> {
        response.responses.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code).collect()
    };
    let never: FetchResponse = bench.ask(1, 13, &of((0, 0), [9; 16]));
    let known: FetchResponse = bench.ask(1, 13, &of((0, 0), id.0));
    assert_eq!((codes(&never), codes(&known)), (vec![100], vec![0]));
    let by_id = |session: i32, epoch| -> Vec<i16> {
        codes(&bench.ask::<_, FetchResponse>(1, 13, &request((session, epoch), &[])))
    };
    bench.delete_topic("orders");
    assert_eq!(by_id(never.session_id, 1), [100]);
    assert_eq!(by_id(known.session_id, 1), [3], "it had a name");
    bench.topic("orders", 1);
    assert_eq!(by_id(known.session_id, 2), [103], "that name is another topic's now");
}

#[test]
fn of_two_entries_for_a_partition_the_last_one_counts() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    for _ in 0..3 {
        append(&bench, "orders", 0);
    }
    let twice = [("orders", 0, 0), ("orders", 1, 0), ("orders", 0, 3)];
    for session in [(0, -1), (0, 0)] {
        let response: FetchResponse = bench.ask(1, 12, &request(session, &twice));
        assert_eq!(told(&response), [answer("orders", 0, 0, false), answer("orders", 1, 0, false)]);
        assert_eq!(response.responses.len(), 1, "one topic, one heading");
    }
}

#[test]
fn a_session_of_another_core_is_not_found_and_ended_there_by_a_full_request() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let elsewhere = i32::MAX - 5;
    let response: FetchResponse = bench.ask(1, 12, &request((elsewhere, 4), &[]));
    assert_eq!(response.error_code, 70);
    assert!(bench.world.ended_sessions.borrow().is_empty());
    let response: FetchResponse = bench.ask(1, 12, &request((elsewhere, 0), &[("orders", 0, 0)]));
    assert_eq!((response.error_code, told(&response).len()), (0, 1));
    assert!(response.session_id > 0 && response.session_id < i32::MAX / 2);
    assert_eq!(*bench.world.ended_sessions.borrow(), [(Core(1), elsewhere)]);
}

#[test]
fn without_slots_every_response_is_without_a_session() {
    let bench = Bench::with(&[("max.incremental.fetch.session.cache.slots", "0")]);
    bench.topic("orders", 1);
    let response: FetchResponse = bench.ask(1, 12, &request((0, 0), &[("orders", 0, 0)]));
    assert_eq!((response.error_code, response.session_id, told(&response).len()), (0, 0, 1));
}

#[test]
fn a_request_that_was_overtaken_in_its_session_is_refused_with_the_session_s_id() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let id = begun(&bench, &[("orders", 0, 0)]);
    let mut waiting = request((id, 1), &[]);
    waiting.max_wait_ms = 60_000;
    let dispatched = bench.dispatch(&frame(1, 12, &waiting));
    block_on(async {
        let mut answer = dispatched.start.await;
        assert!(poll_once(&mut answer).await.is_none());
        let overtaking: FetchResponse = bench.ask(1, 12, &request((id, 2), &[]));
        assert_eq!((overtaking.error_code, overtaking.session_id), (0, id));
        append(&bench, "orders", 0);
        let overtaken: FetchResponse = decode_reply(poll_once(&mut answer).await.expect("woken"), 12);
        assert_eq!((overtaken.error_code, overtaken.session_id, overtaken.responses.len()), (71, id, 0));
    });
}

#[test]
fn a_wake_reads_only_what_changed() {
    let bench = Bench::new();
    bench.topic("orders", 40);
    let all: Vec<_> = (0..40).map(|partition| ("orders", partition, 0)).collect();
    let id = begun(&bench, &all);
    let mut waiting = request((id, 1), &[]);
    waiting.max_wait_ms = 60_000;
    let dispatched = bench.dispatch(&frame(1, 12, &waiting));
    block_on(async {
        let mut pending = dispatched.start.await;
        assert!(poll_once(&mut pending).await.is_none());
        bench.world.messages.borrow_mut().clear();
        append(&bench, "orders", 7);
        let response: FetchResponse = decode_reply(poll_once(&mut pending).await.expect("woken"), 12);
        assert_eq!(told(&response), [answer("orders", 7, 0, true)]);
        assert_eq!(*bench.world.messages.borrow(), [(Core(1), "fetch", 1)]);
    });
}
