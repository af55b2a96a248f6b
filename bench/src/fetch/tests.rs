//! The walk over Fetch replies that the protocol crate encodes: whole, in pieces, cut batches, lies about lengths.

use bytes::{Bytes, BytesMut};
use corelog_storage::batch::BatchBuilder;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchResponse, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};

use super::reply::{Event, Walk};
use super::*;

fn batch(base_offset: i64, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(base_offset);
    for _ in 0..records {
        builder = builder.record(1_700_000_000_000, None, Some(b"some value or other"));
    }
    builder.build()
}

fn partition(index: i32, records: &[u8]) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_high_watermark(100)
        .with_records(Some(Bytes::copy_from_slice(records)))
}

fn frame(correlation: i32, topics: Vec<Vec<PartitionData>>) -> Vec<u8> {
    let topics = topics
        .into_iter()
        .map(|partitions| {
            FetchableTopicResponse::default()
                .with_topic(TopicName(StrBytes::from_static_str("a-topic")))
                .with_partitions(partitions)
        })
        .collect();
    let mut frame = BytesMut::from(&[0; 4][..]);
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut frame, FetchResponse::header_version(FETCH_VERSION)).unwrap();
    FetchResponse::default().with_responses(topics).encode(&mut frame, FETCH_VERSION).unwrap();
    let len = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&len.to_be_bytes());
    frame.to_vec()
}

/// Feeds `bytes` in pieces of `piece` bytes, as a socket would bring them.
fn walk(bytes: &[u8], piece: usize) -> Result<Vec<Event>> {
    let mut walk = Walk::new(true);
    let (mut events, mut held) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        held.extend_from_slice(piece);
        let done = walk.feed(&held, &mut |event| {
            events.push(event);
            Ok(())
        })?;
        held.drain(..done);
    }
    ensure!(held.is_empty(), "{} bytes were left over", held.len());
    Ok(events)
}

fn batch_offsets(events: &[Event]) -> Vec<(i64, Option<bool>)> {
    let batch = |event: &Event| match event {
        Event::Batch { header, crc_ok } => Some((header.base_offset, *crc_ok)),
        _ => None,
    };
    events.iter().filter_map(batch).collect()
}

#[test]
fn replies_in_pieces_of_any_size_are_walked_alike() {
    let records = [batch(0, 3), batch(3, 1)].concat();
    let aborted = AbortedTransaction::default().with_producer_id(7.into()).with_first_offset(5);
    let second = partition(4, &batch(90, 2)).with_aborted_transactions(Some(vec![aborted]));
    let mut bytes = frame(1, vec![vec![partition(0, &records), second], vec![partition(1, &[])]]);
    bytes.extend(frame(2, vec![]));
    bytes.extend(frame(3, vec![vec![partition(0, &batch(4, 5)).with_error_code(6)]]));
    let whole = walk(&bytes, bytes.len()).unwrap();
    assert_eq!(batch_offsets(&whole), [(0, Some(true)), (3, Some(true)), (90, Some(true)), (4, Some(true))]);
    assert_eq!(whole.iter().filter(|event| **event == Event::End).count(), 3);
    assert!(whole.contains(&Event::Reply { correlation: 2, error_code: 0 }));
    assert!(whole.contains(&Event::Partition { partition: 0, error_code: 6 }));
    for piece in [1, 2, 3, 7, 60, 61, 62, 100] {
        assert_eq!(walk(&bytes, piece).unwrap(), whole, "in pieces of {piece}");
    }
}

#[test]
fn a_batch_that_the_limit_has_cut_is_passed_over() {
    let whole = [batch(0, 3), batch(3, 4)].concat();
    let first = batch(0, 3).len();
    for cut in [first + 1, first + 60, first + 61, whole.len() - 1] {
        let bytes = frame(1, vec![vec![partition(0, &whole[..cut]), partition(1, &batch(8, 1))]]);
        let events = walk(&bytes, 50).unwrap();
        assert_eq!(batch_offsets(&events), [(0, Some(true)), (8, Some(true))], "cut at {cut}");
    }
}

#[test]
fn a_changed_byte_in_a_record_is_seen() {
    let mut records = batch(0, 3);
    let last = records.len() - 1;
    records[last] ^= 0x40;
    let events = walk(&frame(1, vec![vec![partition(0, &records)]]), 33).unwrap();
    assert_eq!(batch_offsets(&events), [(0, Some(false))]);
}

#[test]
fn a_frame_whose_length_lies_is_refused() {
    let good = frame(1, vec![vec![partition(0, &batch(0, 3))]]);
    for lie in [-1_i32, 1] {
        let mut bytes = good.clone();
        let len = good.len() as i32 - 4 + lie;
        bytes[..4].copy_from_slice(&len.to_be_bytes());
        assert!(walk(&bytes, 16).is_err(), "a length off by {lie} passed");
    }
    let mut bytes = good;
    bytes[..4].copy_from_slice(&(-5_i32).to_be_bytes());
    assert!(walk(&bytes, 16).is_err());
}

#[test]
fn a_hot_window_is_as_many_records_as_fit() {
    let header = BatchHeader::parse(&batch(0, 10)).unwrap();
    let bytes = header.total_len() as u64;
    assert_eq!(records_in(bytes * 7, &header), 70);
    // A window smaller than a record still reads one.
    assert_eq!(records_in(1, &header), 1);
}
