//! Properties of record batches: what is built is accepted, what is damaged is refused, and nothing panics.

use corelog_storage::batch::{
    BatchBuilder, BatchHeader, Batches, Compression, Origin, ValidationLimits, find_timestamp,
    max_timestamp_record, validate,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

type Bytes = Vec<u8>;
type Record = (i64, Option<Bytes>, Option<Bytes>, Vec<(String, Option<Bytes>)>);

fn record() -> impl Strategy<Value = Record> {
    let field = || option::of(vec(any::<u8>(), 0..40));
    (0..1_000_000_i64, field(), field(), vec(("[a-z]{0,5}", field()), 0..3))
}

fn batch() -> impl Strategy<Value = (Vec<Record>, Compression, Bytes)> {
    (
        vec(record(), 1..20),
        prop::sample::select(&Compression::ALL[..]),
        option::of((0..1_000_i64, 0..5_i16, 0..1_000)),
    )
        .prop_map(|(records, compression, producer)| {
            let mut builder = BatchBuilder::new().compression(compression);
            if let Some((id, epoch, sequence)) = producer {
                builder = builder.producer(id, epoch, sequence);
            }
            for (timestamp, key, value, headers) in &records {
                let headers: Vec<_> =
                    headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                builder = builder.record_with_headers(*timestamp, key.as_deref(), value.as_deref(), &headers);
            }
            (records, compression, builder.build())
        })
}

/// Makes the CRC of arbitrary bytes true, so that the walk behind it is reached.
fn seal(bytes: &mut [u8]) {
    if bytes.len() >= 61 {
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_built_batch_validates_and_is_searched_exactly((records, compression, bytes) in batch(), target in 0..1_000_000_i64) {
        let header = validate(&bytes, &ValidationLimits::default()).unwrap();
        prop_assert_eq!(header.compression(), compression);
        prop_assert_eq!(header, BatchHeader::parse(&bytes).unwrap());
        prop_assert_eq!(header.records_count as usize, records.len());
        let first = records.iter().position(|record| record.0 >= target).map(|i| (i as i64, records[i].0));
        prop_assert_eq!(find_timestamp(&bytes, target, 0).unwrap(), first);
        let max = records.iter().map(|record| record.0).max().unwrap();
        let first_max = records.iter().position(|record| record.0 == max).unwrap() as i64;
        prop_assert_eq!(max_timestamp_record(&bytes).unwrap(), Some((first_max, max)));
    }

    #[test]
    fn every_truncation_is_refused((_, _, bytes) in batch()) {
        for len in 0..bytes.len() {
            prop_assert!(validate(&bytes[..len], &ValidationLimits::default()).is_err());
        }
    }

    #[test]
    fn every_changed_byte_is_refused_unless_the_crc_leaves_it_out((_, _, bytes) in batch(), flip in 1..=255_u8) {
        let broker = ValidationLimits { origin: Origin::Broker, ..ValidationLimits::default() };
        let original = BatchHeader::parse(&bytes).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= flip;
            if let Ok(found) = validate(&changed, &broker) {
                prop_assert!(position < 8 || (12..16).contains(&position), "byte {} is not covered", position);
                let restored = BatchHeader {
                    base_offset: original.base_offset,
                    partition_leader_epoch: original.partition_leader_epoch,
                    ..found
                };
                prop_assert_eq!(restored, original);
                prop_assert_ne!(found, original);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..400), codec in 0..8_u8, count in 0..40_i32) {
        let broker = ValidationLimits { origin: Origin::Broker, decompressed_bytes_max: 1 << 20, ..ValidationLimits::default() };
        let _ = validate(&bytes, &broker);
        let _ = Batches::new(&bytes).count();
        seal(&mut bytes);
        if bytes.len() >= 61 {
            // A header that lets the walk begin.
            bytes[0] &= 0x7f;
            bytes[21..23].copy_from_slice(&[0, codec]);
            bytes[23..27].copy_from_slice(&count.to_be_bytes());
            bytes[43..57].fill(0xff);
            bytes[57..61].copy_from_slice(&(count + 1).to_be_bytes());
            seal(&mut bytes);
        }
        let _ = validate(&bytes, &broker);
        let _ = find_timestamp(&bytes, 5, 0);
        let _ = max_timestamp_record(&bytes);
    }

    #[test]
    fn damaged_records_behind_a_true_crc_never_panic((_, _, mut bytes) in batch(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let records = bytes.len() - 61;
        bytes[61 + at.index(records)] = value;
        seal(&mut bytes);
        let _ = validate(&bytes, &ValidationLimits::default());
        let _ = find_timestamp(&bytes, 500_000, 0);
    }
}
