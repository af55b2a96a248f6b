//! What is left of a batch when records are taken out of it.

use proptest::prelude::*;

use super::super::{BatchBuilder, Origin, ValidationLimits, check_crc, find_timestamp, validate};
use super::*;

const MAX: u64 = 1 << 20;

fn compressions() -> impl Strategy<Value = Compression> {
    prop::sample::select(Compression::ALL.to_vec())
}

type Fields = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn records(batch: &[u8]) -> Vec<(i64, Fields)> {
    let header = BatchHeader::parse(batch).unwrap();
    let mut found = Vec::new();
    visit_records(batch, &header, MAX, |record| {
        let fields = (record.timestamp_ms, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        found.push((record.offset, fields));
        true
    })
    .unwrap();
    found
}

proptest! {
    #[test]
    fn what_stays_keeps_its_offset_its_time_and_its_bytes(
        codec in compressions(),
        fields in prop::collection::vec(
            (0i64..1000, prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
             prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), any::<bool>()),
            1..20,
        ),
        append_time in prop::option::of(0i64..5000),
    ) {
        let mut builder = BatchBuilder::new().base_offset(100).leader_epoch(4).compression(codec).producer(7, 1, 50);
        if let Some(now_ms) = append_time {
            builder = builder.log_append_time(now_ms);
        }
        for (timestamp_ms, key, value, _) in &fields {
            let headers = [("h", Some(&b"v"[..])), ("n", None)];
            builder = builder.record_with_headers(*timestamp_ms, key.as_deref(), value.as_deref(), &headers);
        }
        let batch = builder.build();
        let header = BatchHeader::parse(&batch).unwrap();
        let keep = |record: &BatchRecord<'_>| fields[(record.offset - 100) as usize].3;
        let filtered = filter(&batch, &header, MAX, (9_000, false), keep).unwrap();
        let expected: Vec<_> = records(&batch).into_iter().filter(|(offset, _)| fields[(offset - 100) as usize].3).collect();
        prop_assert_eq!(filtered.retained, expected.len());
        let tombstone = expected.iter().any(|(_, (_, _, value))| value.is_none());
        let changes = expected.len() < fields.len() || tombstone;
        prop_assert_eq!(filtered.rewritten.is_some(), changes && !expected.is_empty());
        if let Some(rewritten) = &filtered.rewritten {
            let new = BatchHeader::parse(rewritten).unwrap();
            check_crc(rewritten, &new).unwrap();
            let limits = ValidationLimits { origin: Origin::Broker, ..ValidationLimits::default() };
            validate(rewritten, &limits).unwrap();
            prop_assert_eq!(records(rewritten), expected.clone());
            prop_assert_eq!(new.has_delete_horizon(), tombstone);
            if tombstone {
                prop_assert_eq!(new.base_timestamp, 9_000);
            }
            let kept = |header: &BatchHeader| (
                header.base_offset, header.last_offset_delta, header.partition_leader_epoch, header.producer_id,
                header.producer_epoch, header.base_sequence, header.compression(), header.timestamp_type(),
            );
            prop_assert_eq!(kept(&new), kept(&header));
            let latest = expected.iter().map(|(_, (timestamp, ..))| *timestamp).max();
            prop_assert_eq!(Some(new.max_timestamp), latest);
            let first = find_timestamp(rewritten, 500, 0).unwrap();
            prop_assert_eq!(first.map(|(offset, _)| offset), expected.iter().find(|(_, (at, ..))| *at >= 500).map(|(offset, _)| *offset));
        }
    }
}

#[test]
fn a_horizon_once_set_stays_whatever_is_taken_out_later() {
    let batch = BatchBuilder::new()
        .record(10, Some(b"a"), None)
        .record(20, Some(b"b"), Some(b"1"))
        .record(30, Some(b"c"), Some(b"2"))
        .build();
    let header = BatchHeader::parse(&batch).unwrap();
    let first = filter(&batch, &header, MAX, (500, false), |_| true).unwrap().rewritten.unwrap();
    let header = BatchHeader::parse(&first).unwrap();
    assert!(header.has_delete_horizon());
    let same = filter(&first, &header, MAX, (900, false), |_| true).unwrap();
    assert_eq!(same.rewritten, None, "nothing is taken out, and the horizon is there");
    let second = filter(&first, &header, MAX, (900, false), |record| record.offset != 1).unwrap();
    let second = second.rewritten.unwrap();
    let header = BatchHeader::parse(&second).unwrap();
    assert_eq!((header.has_delete_horizon(), header.base_timestamp), (true, 500));
    assert_eq!(records(&second).iter().map(|(_, (at, ..))| *at).collect::<Vec<_>>(), [10, 30]);
}

#[test]
fn an_empty_batch_keeps_offsets_and_the_producers_sequence() {
    let batch = BatchBuilder::new()
        .base_offset(40)
        .leader_epoch(3)
        .producer(9, 2, 17)
        .compression(Compression::Zstd)
        .record(10, Some(b"a"), Some(b"1"))
        .record(20, Some(b"b"), Some(b"1"))
        .build();
    let header = BatchHeader::parse(&batch).unwrap();
    let empty = empty_batch(&header);
    let new = BatchHeader::parse(&empty).unwrap();
    check_crc(&empty, &new).unwrap();
    assert_eq!(empty.len(), HEADER_BYTES);
    assert_eq!((new.base_offset, new.last_offset(), new.last_sequence()), (40, 41, 18));
    assert_eq!((new.producer_id, new.producer_epoch, new.max_timestamp), (9, 2, 20));
    assert_eq!((new.records_count, new.base_timestamp), (0, -1));
    assert_eq!(records(&empty), []);
    assert_eq!(find_timestamp(&empty, 0, 0).unwrap(), None);
}

#[test]
fn records_that_are_cut_off_are_an_error_and_not_a_loss() {
    let batch = BatchBuilder::new().record(10, Some(b"a"), Some(b"1")).build();
    let mut header = BatchHeader::parse(&batch).unwrap();
    header.records_count = 2;
    assert!(filter(&batch, &header, MAX, (0, false), |_| true).is_err());
    assert!(visit_records(&batch, &header, MAX, |_| true).is_err());
}
