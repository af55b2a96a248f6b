//! Every codec into every other, at every kind of level, with nothing lost.

use super::*;
use crate::batch::{
    BatchBuilder, RecordValidation, TimestampType, ValidationLimits, check_crc, find_timestamp,
    set_log_append_time, validate,
};

const ENCODINGS: [Encoding; 14] = [
    Encoding::Uncompressed,
    Encoding::Gzip { level: -1 },
    Encoding::Gzip { level: 1 },
    Encoding::Gzip { level: 9 },
    Encoding::Snappy,
    Encoding::Lz4 { level: 1 },
    Encoding::Lz4 { level: 9 },
    Encoding::Lz4 { level: 12 },
    Encoding::Lz4 { level: 17 },
    Encoding::Zstd { level: -131_072 },
    Encoding::Zstd { level: -1 },
    Encoding::Zstd { level: 3 },
    Encoding::Zstd { level: 19 },
    Encoding::Zstd { level: 22 },
];

fn value(index: i32) -> Vec<u8> {
    (0..index * 37 % 4_000).map(|i| (i * index % 251) as u8).collect()
}

fn batch(compression: Compression) -> Vec<u8> {
    (0..200)
        .fold(BatchBuilder::new().compression(compression).producer(7, 1, 40), |batch, index| {
            let key = index.to_string();
            batch.record_with_headers(
                1_000 + i64::from(index * 13 % 100),
                (index % 3 != 0).then_some(key.as_bytes()),
                (index % 5 != 0).then_some(&value(index)),
                &[("a", Some(b"b")), ("null", None)],
            )
        })
        .build()
}

fn plain(batch: &[u8]) -> Vec<u8> {
    let header = BatchHeader::parse(batch).unwrap();
    let mut out = Vec::new();
    match header.compression() {
        Compression::None => out.extend_from_slice(&batch[HEADER_BYTES..]),
        codec => {
            let mut source =
                compression::open(codec, &batch[HEADER_BYTES..], DECOMPRESSED_BYTES_MAX).unwrap();
            source.read_to_end(&mut out).unwrap();
        }
    }
    out
}

#[test]
fn every_codec_becomes_every_other_with_the_same_records_and_a_header_that_fits() {
    for from in Compression::ALL {
        let before = batch(from);
        for encoding in ENCODINGS {
            let after = recompress(&before, encoding, 1 << 20).unwrap();
            let header = validate(&after, &ValidationLimits::default()).unwrap();
            check_crc(&after, &header).unwrap();
            assert_eq!(header.compression(), encoding.compression(), "{from} to {encoding:?}");
            assert_eq!(plain(&after), plain(&before), "{from} to {encoding:?}");
            let old = BatchHeader::parse(&before).unwrap();
            let same = BatchHeader {
                batch_length: old.batch_length,
                crc: old.crc,
                attributes: old.attributes,
                ..header
            };
            assert_eq!(same, old, "everything else stays");
            assert_eq!(find_timestamp(&after, 1_050, 0), find_timestamp(&before, 1_050, 0));
        }
    }
}

#[test]
fn a_level_makes_a_difference() {
    let len = |encoding| recompress(&batch(Compression::None), encoding, 1 << 20).unwrap().len();
    assert!(len(Encoding::Gzip { level: 9 }) < len(Encoding::Gzip { level: 1 }));
    assert!(len(Encoding::Zstd { level: 19 }) < len(Encoding::Zstd { level: -5 }));
    assert!(len(Encoding::Lz4 { level: 12 }) < len(Encoding::Lz4 { level: 9 }), "9 is Kafka's fast one");
}

#[test]
fn append_time_and_compression_do_not_disturb_each_other() {
    let mut after = recompress(&batch(Compression::Lz4), Encoding::Zstd { level: 3 }, 1 << 20).unwrap();
    set_log_append_time(&mut after, 77);
    let header = BatchHeader::parse(&after).unwrap();
    assert_eq!(
        (header.compression(), header.timestamp_type()),
        (Compression::Zstd, TimestampType::LogAppendTime)
    );
    check_crc(&after, &header).unwrap();
}

#[test]
fn what_grows_beyond_the_limit_is_refused_with_its_size() {
    let small =
        BatchBuilder::new().compression(Compression::Gzip).record(1, None, Some(&[7; 100_000])).build();
    assert!(small.len() < 1_000);
    let error = recompress(&small, Encoding::Uncompressed, 50_000).unwrap_err();
    assert!(matches!(error, BatchError::TooLarge { len, limit: 50_000 } if len > 100_000), "{error}");
    assert_eq!(recompress(&small, Encoding::Uncompressed, 200_000).unwrap().len(), {
        BatchBuilder::new().record(1, None, Some(&[7; 100_000])).build().len()
    });
}

#[test]
fn a_damaged_stream_is_an_error_and_no_batch() {
    // Header-only validation lets it come this far.
    let mut damaged = batch(Compression::Zstd);
    let at = damaged.len() - 20;
    damaged[at] ^= 0xff;
    let limits = ValidationLimits { records: RecordValidation::Header, ..ValidationLimits::default() };
    assert!(validate(&damaged, &limits).is_err(), "its CRC tells");
    let cut = &batch(Compression::Gzip)[..HEADER_BYTES + 30];
    assert!(recompress(cut, Encoding::Snappy, 1 << 20).is_err());
}
