//! Our own codecs against the protocol crate's, for every version.

use bytes::{Bytes, BytesMut};
use corelog::api::error_code::{ErrorCode, Refusal};
use corelog::api::fetch::{self, FetchRequest};
use corelog::api::produce::{self, ProduceRequest, TopicKey};
use corelog::api::shape::{Mark, Prefix, Shape, walk};
use corelog::drive::tasks::{Appended, Fetched, Isolation};
use corelog_logic::controller::TopicId;
use corelog_logic::fetch_session;
use corelog_logic::partition::epoch_end::EpochEnd;
use kafka_protocol::messages::fetch_response::{EpochEndOffset, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{self, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use uuid::Uuid;

use crate::samples;

fn name(key: &TopicKey) -> TopicName {
    match key {
        TopicKey::Name(name) => TopicName(StrBytes::from_string(name.clone())),
        TopicKey::Id(_) => TopicName::default(),
    }
}

fn id(key: &TopicKey) -> Uuid {
    match key {
        TopicKey::Name(_) => Uuid::nil(),
        TopicKey::Id(TopicId(id)) => Uuid::from_bytes(*id),
    }
}

#[test]
fn produce_requests_are_decoded_as_the_crate_decodes_them() {
    for sample in samples::all().into_iter().filter(|sample| sample.key == 0) {
        let theirs =
            messages::ProduceRequest::decode(&mut sample.body.clone(), sample.version).expect("a sample");
        let ours =
            ProduceRequest::decode(BytesMut::from(&sample.body[..]), sample.version).expect("a sample");
        assert_eq!(ours.transactional_id.as_deref(), theirs.transactional_id.as_ref().map(|id| id.as_str()));
        assert_eq!((ours.acks, ours.timeout_ms), (theirs.acks, theirs.timeout_ms));
        assert_eq!(ours.topics.len(), theirs.topic_data.len());
        let mut partitions = ours.partitions.iter();
        for (topic, (ours, theirs)) in ours.topics.iter().zip(&theirs.topic_data).enumerate() {
            assert_eq!((name(&ours.key), id(&ours.key)), (theirs.name.clone(), theirs.topic_id));
            assert_eq!(ours.partition_count, theirs.partition_data.len());
            for theirs in &theirs.partition_data {
                let ours = partitions.next().expect("as many partitions");
                assert_eq!((ours.topic, ours.index), (topic, theirs.index));
                assert_eq!(ours.records.as_deref(), theirs.records.as_deref());
            }
        }
        assert!(partitions.next().is_none());
    }
}

#[test]
fn fetch_requests_are_decoded_as_the_crate_decodes_them() {
    for sample in samples::all().into_iter().filter(|sample| sample.key == 1) {
        let theirs =
            messages::FetchRequest::decode(&mut sample.body.clone(), sample.version).expect("a sample");
        let ours = FetchRequest::decode(&sample.body, sample.version).expect("a sample");
        let replica_id =
            if sample.version >= 15 { theirs.replica_state.replica_id } else { theirs.replica_id };
        assert_eq!(ours.replica_id, replica_id.0);
        assert_eq!((ours.max_wait_ms, ours.min_bytes), (theirs.max_wait_ms, theirs.min_bytes));
        assert_eq!((ours.max_bytes, ours.isolation_level), (theirs.max_bytes, theirs.isolation_level));
        assert_eq!((ours.session_id, ours.session_epoch), (theirs.session_id, theirs.session_epoch));
        assert_eq!(ours.topics.len(), theirs.topics.len());
        let mut partitions = ours.partitions.iter();
        for (topic, (ours, theirs)) in ours.topics.iter().zip(&theirs.topics).enumerate() {
            assert_eq!(named(ours), (theirs.topic.clone(), theirs.topic_id));
            for theirs in &theirs.partitions {
                let ours = partitions.next().expect("as many partitions");
                assert_eq!((ours.topic, ours.index), (topic, theirs.partition));
                assert_eq!(ours.current_leader_epoch, theirs.current_leader_epoch);
                assert_eq!(ours.last_fetched_epoch, theirs.last_fetched_epoch);
                assert_eq!(
                    (ours.fetch_offset, ours.max_bytes),
                    (theirs.fetch_offset, theirs.partition_max_bytes)
                );
            }
        }
        assert!(partitions.next().is_none());
        let forgotten: Vec<_> =
            ours.forgotten.iter().map(|(key, partitions)| (named(key), partitions.clone())).collect();
        let expected: Vec<_> = theirs
            .forgotten_topics_data
            .iter()
            .map(|topic| ((topic.topic.clone(), topic.topic_id), topic.partitions.clone()))
            .collect();
        assert_eq!(forgotten, expected);
    }
}

/// A topic of a fetch as the crate has it.
fn named(key: &fetch_session::TopicKey) -> (messages::TopicName, Uuid) {
    match key {
        fetch_session::TopicKey::Name(name) => {
            (messages::TopicName(StrBytes::from_string(name.to_string())), Uuid::nil())
        }
        fetch_session::TopicKey::Id(id) => (messages::TopicName::default(), Uuid::from_bytes(id.0)),
    }
}

/// Everything the hot decoders must refuse, from the walker's marks; and what they ignore, as Kafka does.
fn decode(key: i16, version: i16, body: &[u8]) -> Result<String, String> {
    match key {
        0 => ProduceRequest::decode(BytesMut::from(body), version).map(|request| format!("{request:?}")),
        _ => FetchRequest::decode(body, version).map(|request| format!("{request:?}")),
    }
    .map_err(|malformed| malformed.to_string())
}

#[test]
fn inflated_counts_and_truncations_are_refused_and_leftovers_ignored_by_our_decoders() {
    let mut inflated = 0;
    for sample in samples::all().into_iter().filter(|sample| sample.key <= 1) {
        let refused = |body: &[u8], why: &str| {
            assert!(
                decode(sample.key, sample.version, body).is_err(),
                "key {} v{}: {why}",
                sample.key,
                sample.version
            );
        };
        for len in 0..sample.body.len() {
            refused(&sample.body[..len], &format!("cut at {len}"));
        }
        let with_leftover = [&sample.body[..], &[0]].concat();
        let whole = decode(sample.key, sample.version, &sample.body).expect("a sample");
        assert_eq!(decode(sample.key, sample.version, &with_leftover).as_ref(), Ok(&whole));
        let mut marks: Vec<Mark> = Vec::new();
        let shape = Shape::of(sample.key).expect("a shape");
        walk(shape, sample.version, &sample.body, |mark| marks.push(mark)).expect("a sample");
        for mark in marks {
            let values: &[&[u8]] = match mark.prefix {
                Prefix::Int16 => &[&[0x7f, 0xff], &[0x80, 0]],
                Prefix::Int32 => &[&[0x7f, 0xff, 0xff, 0xff], &[0x80, 0, 0, 0], &[0, 0x10, 0, 0]],
                Prefix::Varint => {
                    &[&[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff, 0xff, 0xff, 0xff, 0x7f], &[0xff, 0x7f]]
                }
            };
            for value in values {
                let body = [&sample.body[..mark.start], value, &sample.body[mark.end..]].concat();
                // A count inside a tagged field that is skipped over as a whole only makes it longer than it says: the rest is leftover.
                if decode(sample.key, sample.version, &body).as_ref() != Ok(&whole) {
                    refused(&body, "inflated");
                }
                inflated += 1;
            }
        }
    }
    assert!(inflated > 400, "only {inflated}");
}

#[test]
fn records_are_split_out_without_a_copy() {
    for sample in samples::all().into_iter().filter(|sample| sample.key == 0) {
        let body = BytesMut::from(&sample.body[..]);
        let frame = body.as_ptr_range();
        let ours = ProduceRequest::decode(body, sample.version).expect("a sample");
        for records in ours.partitions.iter().filter_map(|partition| partition.records.as_ref()) {
            assert!(frame.contains(&records.as_ptr()), "version {}", sample.version);
        }
    }
}

#[test]
fn produce_responses_are_encoded_as_the_crate_encodes_them() {
    for sample in samples::all().into_iter().filter(|sample| sample.key == 0) {
        let version = sample.version;
        let request = ProduceRequest::decode(BytesMut::from(&sample.body[..]), version).expect("a sample");
        let slots: Vec<produce::PartitionResponse> = (0..request.partitions.len())
            .map(|slot| match slot % 3 {
                0 => Ok(Appended { base_offset: 42, log_append_time_ms: 99, log_start_offset: 5 }),
                1 => Err(produce::PartitionRefused {
                    refusal: ErrorCode::InvalidTimestamp.because("too old"),
                    records: vec![(3, "too old".to_owned()), (5, "older".to_owned())],
                    log_start_offset: 5,
                }),
                _ => Err(Refusal::from(ErrorCode::KafkaStorageError).into()),
            })
            .collect();
        let mut slot = slots.iter().zip(&request.partitions);
        let topics: Vec<TopicProduceResponse> = request
            .topics
            .iter()
            .map(|topic| {
                let partitions = slot
                    .by_ref()
                    .take(topic.partition_count)
                    .map(|(slot, partition)| {
                        let response = PartitionProduceResponse::default().with_index(partition.index);
                        match slot {
                            Ok(appended) => response
                                .with_base_offset(appended.base_offset)
                                .with_log_append_time_ms(appended.log_append_time_ms)
                                .with_log_start_offset(appended.log_start_offset),
                            Err(refused) => {
                                let message = refused.refusal.message.as_deref();
                                let message = message.map(|text| StrBytes::from_string(text.into()));
                                let errors = refused.records.iter().map(|(index, why)| {
                                    BatchIndexAndErrorMessage::default()
                                        .with_batch_index(*index)
                                        .with_batch_index_error_message(Some(StrBytes::from_string(
                                            why.clone(),
                                        )))
                                });
                                let response = response
                                    .with_error_code(refused.refusal.code.number())
                                    .with_base_offset(-1)
                                    .with_log_append_time_ms(-1)
                                    .with_log_start_offset(if version >= 5 {
                                        refused.log_start_offset
                                    } else {
                                        -1
                                    });
                                if version >= 8 {
                                    response.with_record_errors(errors.collect()).with_error_message(message)
                                } else {
                                    response
                                }
                            }
                        }
                    })
                    .collect();
                TopicProduceResponse::default()
                    .with_name(name(&topic.key))
                    .with_topic_id(id(&topic.key))
                    .with_partition_responses(partitions)
            })
            .collect();
        // Under one entry what the request had of a topic under several, as Kafka answers.
        let mut grouped: Vec<TopicProduceResponse> = Vec::new();
        for topic in topics {
            let same = |other: &&mut TopicProduceResponse| {
                (&other.name, other.topic_id) == (&topic.name, topic.topic_id)
            };
            match grouped.iter_mut().find(same) {
                Some(first) => first.partition_responses.extend(topic.partition_responses),
                None => grouped.push(topic),
            }
        }
        let mut theirs = BytesMut::new();
        messages::ProduceResponse::default()
            .with_responses(grouped)
            .encode(&mut theirs, version)
            .expect("encodable");
        let mut ours = BytesMut::new();
        produce::encode_response(&mut ours, version, &request, &slots);
        assert_eq!(ours, theirs, "version {version}");
    }
}

/// Some of the logs part from the client's.
fn diverging(slot: usize) -> Option<EpochEnd> {
    (slot % 3 == 1).then_some(EpochEnd { leader_epoch: 4, end_offset: 77 })
}

#[test]
fn fetch_responses_are_encoded_as_the_crate_encodes_them() {
    for sample in samples::all().into_iter().filter(|sample| sample.key == 1) {
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let version = sample.version;
            let request = FetchRequest::decode(&sample.body, version).expect("a sample");
            let batches = |slot: usize| match slot % 3 {
                0 => vec![Bytes::from_static(b"batch one"), Bytes::from_static(b"batch two")],
                _ => vec![],
            };
            let mut slots: Vec<fetch::PartitionResponse> = (0..request.partitions.len())
                .map(|slot| match slot % 3 {
                    2 => Err(ErrorCode::OffsetOutOfRange),
                    _ => Ok(Fetched {
                        high_watermark: 30,
                        last_stable_offset: 20,
                        log_start_offset: 10,
                        batches: batches(slot),
                        diverging: diverging(slot),
                    }),
                })
                .collect();
            let topics = request
                .topics
                .iter()
                .enumerate()
                .map(|(topic, key)| {
                    let partitions = slots
                        .iter()
                        .zip(&request.partitions)
                        .enumerate()
                        .filter(|(_, (_, partition))| partition.topic == topic)
                        .map(|(index, (slot, partition))| {
                            let data = PartitionData::default()
                                .with_partition_index(partition.index)
                                .with_records(Some(Bytes::from(batches(index).concat())));
                            match slot {
                                Ok(found) => data
                                    .with_high_watermark(30)
                                    .with_last_stable_offset(20)
                                    .with_log_start_offset(10)
                                    .with_diverging_epoch(match found.diverging {
                                        Some(end) if version >= 12 => EpochEndOffset::default()
                                            .with_epoch(end.leader_epoch)
                                            .with_end_offset(end.end_offset),
                                        _ => EpochEndOffset::default(),
                                    })
                                    .with_aborted_transactions(
                                        (isolation == Isolation::ReadCommitted && found.diverging.is_none())
                                            .then(Vec::new),
                                    ),
                                Err(code) => data
                                    .with_error_code(code.number())
                                    .with_high_watermark(-1)
                                    .with_last_stable_offset(-1)
                                    .with_log_start_offset(-1)
                                    .with_records(Some(Bytes::new()))
                                    .with_aborted_transactions(None),
                            }
                        })
                        .collect();
                    let (name, id) = named(key);
                    FetchableTopicResponse::default()
                        .with_topic(name)
                        .with_topic_id(id)
                        .with_partitions(partitions)
                })
                // A topic without partitions is not told of.
                .filter(|topic| !topic.partitions.is_empty())
                .collect();
            let session_id = if version >= 7 { 77 } else { 0 };
            let mut theirs = BytesMut::new();
            messages::FetchResponse::default()
                .with_session_id(session_id)
                .with_responses(topics)
                .encode(&mut theirs, version)
                .expect("encodable");
            let included: Vec<usize> = (0..request.partitions.len()).collect();
            let contents = fetch::Contents {
                session_id,
                topics: &request.topics,
                partitions: &request.partitions,
                included: &included,
                isolation,
            };
            let frame = BytesMut::from(&[0u8; 4][..]);
            let pieces = fetch::encode_response(frame, version, &contents, &mut slots);
            let ours = pieces.concat();
            assert_eq!(u32::from_be_bytes(ours[..4].try_into().expect("a length")) as usize, theirs.len());
            assert_eq!(ours[4..], theirs[..], "version {version}");
            let parts: usize = pieces.iter().filter(|piece| &piece[..] == b"batch one").count();
            assert_eq!(parts, request.partitions.len().div_ceil(3), "batches are passed on as they are");
        }
    }
}

#[test]
fn fetch_errors_are_encoded_as_the_crate_encodes_them() {
    for version in 7..=18 {
        let mut theirs = BytesMut::new();
        let code = ErrorCode::FetchSessionIdNotFound;
        let response = messages::FetchResponse::default().with_error_code(code.number()).with_session_id(9);
        response.encode(&mut theirs, version).expect("encodable");
        let ours = fetch::encode_error(BytesMut::from(&[0u8; 4][..]), version, code, 9);
        assert_eq!(ours[4..], theirs[..], "version {version}");
    }
}
