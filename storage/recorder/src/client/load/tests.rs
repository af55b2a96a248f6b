//! What a broker takes: brokers refuse a produce request with more than one batch for a partition.

use kafka_protocol::records::RecordBatchDecoder;

use super::{BATCH_RECORDS_MAX, encode, record};
use crate::client::digest;

#[test]
fn all_records_of_a_request_are_one_batch_and_come_back_the_same() {
    for count in 1..=BATCH_RECORDS_MAX {
        let records: Vec<_> =
            (0..count).map(|index| record(index, 1000, format!("0-{index}"), vec![7; 10])).collect();
        let mut bytes = encode(&records).unwrap();
        let length = i32::from_be_bytes(bytes[8..12].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap() + 12, bytes.len(), "{count} records");
        let found = RecordBatchDecoder::decode(&mut bytes).unwrap().records;
        let digests = |records: &[_]| records.iter().map(digest).collect::<Vec<_>>();
        assert_eq!(digests(&found), digests(&records));
        assert!((0..).zip(&found).all(|(offset, record)| record.offset == offset));
    }
}
