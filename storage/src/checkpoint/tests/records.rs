//! Records as bytes: what goes in comes out, and nothing else does harm.

use proptest::prelude::*;

use super::*;

fn bytes(len_max: usize) -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..len_max).prop_map(Bytes::from)
}

fn state_record() -> impl Strategy<Value = Record> {
    let numbers = any::<(u64, u64, i64, u64, i64, i64, i64, i64, [i64; 3])>();
    let epochs = proptest::collection::vec(any::<(i32, i64)>(), 0..5);
    (numbers, epochs, bytes(4096)).prop_map(|(n, leader_epochs, tail)| {
        Record::State(StateRecord {
            log_id: LogId(n.0),
            sequence: n.1,
            segment_base_offset: n.2,
            segment_len: n.3,
            next_offset: n.4,
            log_start_offset: n.5,
            max_timestamp_ms: n.6,
            high_watermark: n.7,
            first_timestamp_ms: n.8[0],
            modified_ms: n.8[1],
            first_dirty_offset: n.8[2],
            leader_epochs,
            tail,
        })
    })
}

fn segment_record(log_id: u64) -> impl Strategy<Value = SegmentRecord> {
    any::<(i64, u64, [i64; 3], u32)>().prop_map(move |(base_offset, len, times, generation)| SegmentRecord {
        log_id: LogId(log_id),
        base_offset,
        len,
        max_timestamp_ms: times[0],
        first_timestamp_ms: times[1],
        modified_ms: times[2],
        generation,
    })
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        any::<(u64, [u8; 16], i32, u32, String)>().prop_map(
            |(id, topic_id, partition, owner_epoch, directory)| {
                Record::Log(LogRecord { log_id: LogId(id), topic_id, partition, owner_epoch, directory })
            }
        ),
        segment_record(7).prop_map(Record::SegmentClosed),
        (proptest::collection::vec(any::<i64>(), 0..5), proptest::option::of(segment_record(8))).prop_map(
            |(replaced, segment)| {
                Record::SegmentsReplaced(ReplacedRecord { log_id: LogId(8), replaced, segment })
            }
        ),
        state_record(),
        (any::<(u64, i64)>(), bytes(300)).prop_map(|((id, end_offset), state)| {
            Record::Tenant(TenantRecord { log_id: LogId(id), end_offset, state })
        }),
        any::<u64>().prop_map(|id| Record::Dropped { log_id: LogId(id) }),
        any::<(u64, i64)>()
            .prop_map(|(id, base_offset)| Record::SegmentRemoved { log_id: LogId(id), base_offset }),
        any::<(u64, u64)>().prop_map(|(session, live_position)| Record::Session { session, live_position }),
    ]
}

proptest! {
    #[test]
    fn a_record_reads_back_as_it_was(record in record(), behind in bytes(20)) {
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        prop_assert_eq!(encoded.len(), record.encoded_len());
        for cut in 0..encoded.len() {
            prop_assert_eq!(Record::decode(&encoded[..cut]), None);
        }
        encoded.extend_from_slice(&behind);
        prop_assert_eq!(Record::decode(&encoded), Some((record, &behind[..])));
    }

    #[test]
    fn any_bytes_are_a_record_or_none(bytes in bytes(200), kind in 0u8..9) {
        let mut bytes = bytes.to_vec();
        let _ = Record::decode(&bytes);
        // The same with a plausible beginning, so that the payloads are reached.
        if bytes.len() >= 16 {
            let len = (bytes.len() - 16) as u32;
            bytes[..4].copy_from_slice(&len.to_le_bytes());
            bytes[4] = kind;
            if let Some((record, _)) = Record::decode(&bytes) {
                // Two kinds have grown: what an earlier version wrote is read, and written as it is today.
                let mut encoded = Vec::new();
                record.encode(&mut encoded);
                prop_assert!(encoded.len() == bytes.len() || encoded.len() > bytes.len() && [2, 3, 8].contains(&kind));
                prop_assert_eq!(Record::decode(&encoded), Some((record, &[][..])));
            }
        }
    }
}
