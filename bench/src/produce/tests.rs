//! Encoding and patching against the protocol crate and the storage crate; replies whole, cut and wrong.

mod sessions;

use bytes::{Bytes, BytesMut};
use corelog_storage::batch::{BatchHeader, Compression, HEADER_BYTES, check_crc};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use super::connection::next_sequence;
use super::frames::{self, BatchShape, Frame, Frames, PRODUCE_VERSION};
use super::reply::{ProduceReply, next_frame};
use crate::cold::ProducerIdentity;

fn frames(partitions: usize, compression: Compression) -> Frames {
    let shape = BatchShape { records: 10, record_bytes: 100, compression, timestamp_ms: 1_700_000_000_000 };
    Frames::build("a-topic", partitions, -1, &shape).unwrap()
}

fn decode(frame: &Frame) -> (RequestHeader, ProduceRequest) {
    let mut bytes = Bytes::from(frame.parts().concat());
    let len = i32::from_be_bytes(bytes.split_to(4)[..].try_into().unwrap());
    assert_eq!(len as usize, bytes.len());
    let header = RequestHeader::decode(&mut bytes, ProduceRequest::header_version(PRODUCE_VERSION)).unwrap();
    let request = ProduceRequest::decode(&mut bytes, PRODUCE_VERSION).unwrap();
    assert!(bytes.is_empty());
    (header, request)
}

#[test]
fn a_frame_is_the_request_that_was_meant() {
    for compression in Compression::ALL {
        let frames = frames(3, compression);
        for (partition, number) in [(0, 0), (1, 5), (2, 7)] {
            let frame = frames.frame(partition, number, 4711);
            assert_eq!(frame.len(), frame.parts().concat().len());
            let (header, request) = decode(&frame);
            assert_eq!(
                (header.request_api_key, header.request_api_version),
                (ProduceRequest::KEY, PRODUCE_VERSION)
            );
            assert_eq!(header.correlation_id, 4711);
            assert_eq!((request.acks, request.topic_data.len()), (-1, 1));
            let topic = &request.topic_data[0];
            assert_eq!((topic.name.as_str(), topic.partition_data[0].index), ("a-topic", partition as i32));
            let records = topic.partition_data[0].records.clone().unwrap();
            let batch = BatchHeader::parse(&records).unwrap();
            assert_eq!((batch.records_count, batch.total_len()), (10, records.len()));
            assert_eq!(records.len(), frame.batch_len);
            check_crc(&records, &batch).unwrap();
            assert!(frames.has_sent_records(&records[HEADER_BYTES..]));
        }
    }
}

#[test]
fn records_that_were_changed_were_not_sent() {
    let frames = frames(1, Compression::None);
    let (_, request) = decode(&frames.frame(0, 0, 0));
    let mut records =
        request.topic_data[0].partition_data[0].records.clone().unwrap()[HEADER_BYTES..].to_vec();
    records[50] ^= 1;
    assert!(!frames.has_sent_records(&records));
    assert!(!frames.has_sent_records(&records[1..]));
}

#[test]
fn an_identified_batch_has_producer_sequence_and_a_right_crc() {
    let frames = frames(2, Compression::None);
    let mut frame = frames.frame(1, 0, 1);
    let identity = ProducerIdentity { producer_id: 99, producer_epoch: 3 };
    frames::identify(&mut frame, vec![7; 5000], identity, 1230);
    let (_, request) = decode(&frame);
    let records = request.topic_data[0].partition_data[0].records.clone().unwrap();
    let batch = BatchHeader::parse(&records).unwrap();
    assert_eq!((batch.producer_id, batch.producer_epoch, batch.base_sequence), (99, 3, 1230));
    check_crc(&records, &batch).unwrap();
    assert!(frames.has_sent_records(&records[HEADER_BYTES..]));
    // The shared batch stays as it was.
    let (_, untouched) = decode(&frames.frame(1, 0, 1));
    let records = untouched.topic_data[0].partition_data[0].records.clone().unwrap();
    assert_eq!(BatchHeader::parse(&records).unwrap().producer_id, -1);
}

#[test]
fn sequences_start_again_after_the_largest() {
    assert_eq!(next_sequence(0, 10), 10);
    assert_eq!(next_sequence(i32::MAX, 1), 0);
    assert_eq!(next_sequence(i32::MAX - 2, 10), 7);
}

fn reply(error_code: i16, message: Option<&'static str>) -> BytesMut {
    let partition = PartitionProduceResponse::default()
        .with_index(2)
        .with_error_code(error_code)
        .with_base_offset(123_456)
        .with_error_message(message.map(StrBytes::from_static_str));
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(StrBytes::from_static_str("a-topic")))
        .with_partition_responses(vec![partition]);
    let mut frame = BytesMut::from(&[0; 4][..]);
    let header = ResponseHeader::default().with_correlation_id(77);
    header.encode(&mut frame, ProduceResponse::header_version(PRODUCE_VERSION)).unwrap();
    ProduceResponse::default().with_responses(vec![topic]).encode(&mut frame, PRODUCE_VERSION).unwrap();
    let len = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&len.to_be_bytes());
    frame
}

#[test]
fn a_reply_is_read_with_its_error_and_message() {
    let bytes = reply(0, None);
    let (frame, taken) = next_frame(&bytes).unwrap().unwrap();
    assert_eq!(taken, bytes.len());
    let parsed = ProduceReply::parse(frame).unwrap();
    assert_eq!((parsed.correlation, parsed.partition), (77, 2));
    assert_eq!((parsed.error_code, parsed.base_offset, parsed.message), (0, 123_456, &b""[..]));
    let bytes = reply(87, Some("no such thing"));
    let parsed = ProduceReply::parse(&bytes[4..]).unwrap();
    assert_eq!((parsed.error_code, parsed.message), (87, &b"no such thing"[..]));
}

#[test]
fn a_reply_cut_anywhere_waits_for_the_rest_or_is_refused() {
    let bytes = reply(0, Some("text"));
    for len in 0..bytes.len() {
        assert!(next_frame(&bytes[..len]).unwrap().is_none());
    }
    // Behind the message come only tagged fields, which nobody reads.
    let message_ends = bytes.windows(4).position(|window| window == b"text").unwrap() + 4;
    for len in 4..message_ends {
        assert!(ProduceReply::parse(&bytes[4..len]).is_err(), "{len} bytes passed for a whole reply");
    }
    ProduceReply::parse(&bytes[4..message_ends]).unwrap();
}

#[test]
fn a_reply_of_impossible_length_ends_the_run() {
    assert!(next_frame(&[0x7f, 0xff, 0xff, 0xff]).is_err());
    assert!(next_frame(&[0xff, 0xff, 0xff, 0xff, 0]).is_err());
}
