//! What the batch module promises, example by example. Properties over many batches are in `tests/batch_properties.rs`.

use super::header::MAGIC_AT;
use super::*;

fn limits() -> ValidationLimits {
    ValidationLimits::default()
}

fn three_records(compression: Compression) -> Vec<u8> {
    BatchBuilder::new()
        .compression(compression)
        .record(1_000, Some(b"a"), Some(b"first"))
        .record_with_headers(3_000, None, Some(&[7; 300]), &[("trace", Some(b"1")), ("empty", None)])
        .record(2_000, Some(b"c"), None)
        .build()
}

/// Changes a batch and makes its CRC true again.
fn altered(mut batch: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut batch);
    let max_timestamp = i64::from_be_bytes(batch[35..43].try_into().unwrap());
    set_max_timestamp(&mut batch, max_timestamp);
    batch
}

/// A batch of one record whose encoded bytes are given, length included.
fn with_record_bytes(record: &[u8]) -> Vec<u8> {
    altered(BatchBuilder::new().record(5, None, None).build(), |batch| {
        batch.truncate(HEADER_BYTES);
        batch.extend_from_slice(record);
        let length = (batch.len() - LENGTH_PREFIX_BYTES) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
    })
}

#[test]
fn a_header_survives_encoding() {
    let batch = BatchBuilder::new()
        .base_offset(77)
        .leader_epoch(5)
        .producer(9, 2, 40)
        .transactional()
        .compression(Compression::Zstd)
        .record(10, None, Some(b"x"))
        .record(12, None, Some(b"y"))
        .build();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(header.encode()[..], batch[..HEADER_BYTES]);
    assert_eq!(header.total_len(), batch.len());
    assert_eq!((header.base_offset, header.last_offset(), header.next_offset()), (77, 78, 79));
    assert_eq!((header.base_timestamp, header.max_timestamp), (10, 12));
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (9, 2, 40));
    assert_eq!(header.last_sequence(), 41);
    assert_eq!(header.compression(), Compression::Zstd);
    assert!(header.is_transactional() && header.has_producer() && !header.is_control());
    check_crc(&batch, &header).unwrap();
}

#[test]
fn a_known_batch_has_the_bytes_that_kafka_writes() {
    // One record, key "k", value "v", timestamp 1, as laid down in Kafka's protocol guide.
    let batch = BatchBuilder::new().record(1, Some(b"k"), Some(b"v")).build();
    let mut expected = Vec::new();
    expected.extend_from_slice(&0_i64.to_be_bytes());
    expected.extend_from_slice(&58_i32.to_be_bytes());
    expected.extend_from_slice(&(-1_i32).to_be_bytes());
    expected.push(2);
    expected.extend_from_slice(&batch[17..21]);
    expected.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&1_i64.to_be_bytes());
    expected.extend_from_slice(&1_i64.to_be_bytes());
    expected.extend_from_slice(&[0xff; 14]);
    expected.extend_from_slice(&1_i32.to_be_bytes());
    expected.extend_from_slice(&[16, 0, 0, 0, 2, b'k', 2, b'v', 0]);
    assert_eq!(batch, expected);
}

#[test]
fn sequences_wrap_to_zero_after_the_largest() {
    let batch =
        BatchBuilder::new().producer(1, 0, i32::MAX).record(1, None, None).record(1, None, None).build();
    assert_eq!(BatchHeader::parse(&batch).unwrap().last_sequence(), 0);
}

#[test]
fn every_codec_validates_and_finds_the_true_max_timestamp() {
    for compression in Compression::ALL {
        let header = validate(&three_records(compression), &limits()).unwrap();
        assert_eq!((header.records_count, header.max_timestamp), (3, 3_000), "{compression}");
    }
}

#[test]
fn records_larger_than_the_read_buffer_validate_in_every_codec() {
    let mut value = vec![0; 300_000];
    let mut state = 1_u32;
    for byte in &mut value {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 28) as u8;
    }
    for compression in Compression::ALL {
        let batch = BatchBuilder::new()
            .compression(compression)
            .record(1, Some(&value[..70_000]), Some(&value))
            .record_with_headers(2, None, None, &[("large", Some(&value[..40_000]))])
            .build();
        validate(&batch, &limits()).unwrap_or_else(|error| panic!("{compression}: {error}"));
    }
}

#[test]
fn raw_snappy_without_framing_is_read() {
    let plain = BatchBuilder::new().record(5, Some(b"key"), Some(&[3; 200_000])).build();
    let raw = snap::raw::Encoder::new().compress_vec(&plain[HEADER_BYTES..]).unwrap();
    let batch = altered(plain, |batch| {
        batch.truncate(HEADER_BYTES);
        batch.extend_from_slice(&raw);
        let length = (batch.len() - LENGTH_PREFIX_BYTES) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[22] = Compression::Snappy.id();
    });
    assert_eq!(validate(&batch, &limits()).unwrap().max_timestamp, 5);
}

#[test]
fn a_decompression_bomb_ends_at_the_bound() {
    for compression in Compression::ALL.into_iter().skip(1) {
        let batch =
            BatchBuilder::new().compression(compression).record(1, None, Some(&[0; 1_000_000])).build();
        let bound = |decompressed_bytes_max| ValidationLimits { decompressed_bytes_max, ..limits() };
        let error = validate(&batch, &bound(999_999)).unwrap_err();
        assert_eq!(error, BatchError::DecompressedTooLarge { codec: compression, limit: 999_999 });
        validate(&batch, &bound(1_000_016)).unwrap();
    }
}

#[test]
fn a_zstd_frame_with_a_large_window_is_read_up_to_its_own_bound() {
    let compress = |plain: &[u8]| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        encoder.finish().unwrap()
    };
    let batch_of = |value_bytes: usize| {
        let plain = BatchBuilder::new().record(1, None, Some(&vec![0; value_bytes])).build();
        let records = compress(&plain[HEADER_BYTES..]);
        altered(plain, |batch| {
            batch.truncate(HEADER_BYTES);
            batch.extend_from_slice(&records);
            let length = (batch.len() - LENGTH_PREFIX_BYTES) as i32;
            batch[8..12].copy_from_slice(&length.to_be_bytes());
            batch[22] = Compression::Zstd.id();
        })
    };
    validate(&batch_of(10 << 20), &limits()).unwrap();
    let error = validate(&batch_of(17 << 20), &limits()).unwrap_err();
    assert_eq!(error, BatchError::DecompressedTooLarge { codec: Compression::Zstd, limit: 16 << 20 });
}

#[test]
fn compressed_data_that_is_cut_is_named_by_its_codec() {
    for codec in Compression::ALL.into_iter().skip(1) {
        let batch = altered(three_records(codec), |batch| {
            batch.truncate(batch.len() - 3);
            let length = (batch.len() - LENGTH_PREFIX_BYTES) as i32;
            batch[8..12].copy_from_slice(&length.to_be_bytes());
        });
        let error = validate(&batch, &limits()).unwrap_err();
        assert!(
            matches!(error, BatchError::Decompression { codec: named, .. } if named == codec),
            "{codec}: {error}"
        );
    }
}

#[test]
fn old_message_sets_are_told_from_garbage() {
    let mut message_set = vec![0; 26];
    for magic in [0, 1] {
        message_set[MAGIC_AT] = magic as u8;
        assert_eq!(validate(&message_set, &limits()), Err(BatchError::OldMagic { magic }));
    }
    message_set[MAGIC_AT] = 0xff;
    assert_eq!(validate(&message_set, &limits()), Err(BatchError::UnknownMagic { magic: -1 }));
    assert_eq!(validate(&[], &limits()), Err(BatchError::Truncated { len: 0, needed: HEADER_BYTES }));
}

#[test]
fn lying_lengths_are_refused() {
    let batch = three_records(Compression::None);
    for declared in [i32::MIN, -1, 0, 48] {
        let mut lying = batch.clone();
        lying[8..12].copy_from_slice(&declared.to_be_bytes());
        assert_eq!(validate(&lying, &limits()), Err(BatchError::Length { declared }));
    }
    let mut lying = batch.clone();
    lying[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(matches!(validate(&lying, &limits()), Err(BatchError::Truncated { .. })));
    let mut longer = batch.clone();
    longer.push(0);
    assert!(matches!(validate(&longer, &limits()), Err(BatchError::TrailingBytes { .. })));
    let tight = ValidationLimits { batch_bytes_max: batch.len() - 1, ..limits() };
    assert_eq!(
        validate(&batch, &tight),
        Err(BatchError::TooLarge { len: batch.len(), limit: batch.len() - 1 })
    );
}

#[test]
fn counts_that_do_not_fit_the_offsets_are_refused() {
    for records_count in [i32::MIN, -1, 0, 2, 4, i32::MAX] {
        let batch = altered(three_records(Compression::None), |batch| {
            batch[57..61].copy_from_slice(&records_count.to_be_bytes());
        });
        assert_eq!(
            validate(&batch, &limits()),
            Err(BatchError::Count { records_count, last_offset_delta: 2 })
        );
    }
    // Count and delta agree with each other, and not with the records.
    for (count, delta) in [(2_i32, 1_i32), (4, 3)] {
        let batch = altered(three_records(Compression::Gzip), |batch| {
            batch[57..61].copy_from_slice(&count.to_be_bytes());
            batch[23..27].copy_from_slice(&delta.to_be_bytes());
        });
        assert!(matches!(validate(&batch, &limits()), Err(BatchError::Record { .. })), "{count}");
    }
}

#[test]
fn what_only_brokers_write_is_refused_from_clients_and_taken_from_brokers() {
    let broker = ValidationLimits { origin: Origin::Broker, ..limits() };
    let control =
        BatchBuilder::new().control().producer(1, 0, -1).record(1, Some(&[0; 4]), Some(&[0; 6])).build();
    assert_eq!(validate(&control, &limits()), Err(BatchError::ControlFromClient));
    validate(&control, &broker).unwrap();
    let append_time = BatchBuilder::new().log_append_time(9).record(1, None, None).build();
    let appending = ValidationLimits { log_append_time: true, ..limits() };
    assert_eq!(validate(&append_time, &appending), Err(BatchError::LogAppendTimeFromClient { index: 0 }));
    assert_eq!(validate(&append_time, &broker).unwrap().max_timestamp, 9);
    let placed = BatchBuilder::new().base_offset(3).record(1, None, None).build();
    assert_eq!(validate(&placed, &limits()), Err(BatchError::BaseOffset { base_offset: 3 }));
    validate(&placed, &broker).unwrap();
}

#[test]
fn attribute_bits_without_a_meaning_pass_and_are_cleared_when_the_header_is_written_anew() {
    let mut unknown = altered(three_records(Compression::None), |batch| batch[21] = 1);
    let header = validate(&unknown, &limits()).unwrap();
    assert_eq!(header.attributes, 0x100);
    set_log_append_time(&mut unknown, 9_000);
    assert_eq!(BatchHeader::parse(&unknown).unwrap().attributes, 0x08);
    let horizon = altered(three_records(Compression::None), |batch| batch[22] |= 0x40);
    assert!(validate(&horizon, &limits()).is_ok());
    for id in 5..8 {
        let codec = altered(three_records(Compression::None), |batch| batch[22] = id);
        assert_eq!(validate(&codec, &limits()), Err(BatchError::UnknownCompression { id }));
    }
}

#[test]
fn a_producer_needs_a_sequence_and_a_negative_id_is_none() {
    let batch = BatchBuilder::new().producer(5, 0, -1).record(1, None, None).build();
    assert!(matches!(validate(&batch, &limits()), Err(BatchError::Producer { .. })));
    for (id, epoch, sequence) in [(-2, 0, 0), (-1, 3, 3), (5, -1, 0)] {
        let batch = BatchBuilder::new().producer(id, epoch, sequence).record(1, None, None).build();
        assert!(validate(&batch, &limits()).is_ok(), "{id} {epoch} {sequence}");
    }
    let batch = BatchBuilder::new().transactional().record(1, None, None).build();
    assert!(matches!(validate(&batch, &limits()), Err(BatchError::Producer { .. })));
}

#[test]
fn compacted_topics_need_keys_in_either_mode() {
    for records in [RecordValidation::Full, RecordValidation::Header] {
        let compacted = ValidationLimits { keys_required: true, records, ..limits() };
        let error = validate(&three_records(Compression::Lz4), &compacted).unwrap_err();
        assert_eq!(error, BatchError::KeyMissing { index: 1 });
    }
}

#[test]
fn timestamps_outside_the_topic_s_range_are_refused() {
    let range = ValidationLimits { timestamp_ms_min: 900, timestamp_ms_max: 2_999, ..limits() };
    let error = validate(&three_records(Compression::None), &range).unwrap_err();
    assert!(matches!(error, BatchError::Timestamp { index: 1, timestamp_ms: 3_000, .. }));
    let without = BatchBuilder::new().record(-1, None, None).build();
    assert_eq!(validate(&without, &range).unwrap().max_timestamp, -1);
}

#[test]
fn a_lying_max_timestamp_is_corrected() {
    let honest = three_records(Compression::Snappy);
    let mut lying = honest.clone();
    set_max_timestamp(&mut lying, i64::MAX);
    let header = validate(&lying, &limits()).unwrap();
    assert_eq!(header.max_timestamp, 3_000);
    assert!(correct_timestamps(&mut lying, &header));
    assert_eq!(lying, honest);
    assert!(!correct_timestamps(&mut lying, &header));
}

#[test]
fn a_batch_that_says_it_has_the_broker_s_time_is_stored_with_the_producer_s() {
    let mut batch = BatchBuilder::new().log_append_time(9_000).record(1_000, None, None).build();
    let header = validate(&batch, &limits()).unwrap();
    assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::CreateTime, 9_000));
    assert!(correct_timestamps(&mut batch, &header));
    let stored = BatchHeader::parse(&batch).unwrap();
    assert_eq!((stored.attributes, stored.max_timestamp), (0, 9_000));
    check_crc(&batch, &stored).unwrap();
}

#[test]
fn every_record_that_a_topic_does_not_accept_is_named() {
    let range = ValidationLimits { timestamp_ms_max: 1_500, keys_required: true, ..limits() };
    let batch = BatchBuilder::new()
        .record(1_000, Some(b"k"), None)
        .record(2_000, Some(b"k"), None)
        .record(1_000, None, None)
        .build();
    let Err(BatchError::Several(errors)) = validate(&batch, &range) else { panic!("it is refused") };
    assert!(matches!(
        errors[..],
        [BatchError::Timestamp { index: 1, .. }, BatchError::KeyMissing { index: 2 }]
    ));
}

#[test]
fn what_follows_the_one_batch_is_no_batch_or_refused() {
    let batch = three_records(Compression::None);
    let followed = |rest: &[u8]| [&batch[..], rest].concat();
    for rest in [&[][..], &[0; 7], &batch[..40], &batch[..batch.len() - 1]] {
        assert_eq!(only_batch_len(&followed(rest)), Ok(batch.len()), "{} bytes", rest.len());
    }
    assert!(matches!(only_batch_len(&followed(&batch)), Err(BatchError::TrailingBytes { .. })));
    assert_eq!(only_batch_len(&followed(&[0; 20])), Err(BatchError::Length { declared: 0 }));
    assert!(matches!(only_batch_len(&batch[..batch.len() - 1]), Err(BatchError::Truncated { .. })));
    assert!(matches!(only_batch_len(&[]), Err(BatchError::Truncated { .. })));
    let mut odd = batch.clone();
    odd[MAGIC_AT] = 3;
    assert_eq!(only_batch_len(&odd), Err(BatchError::UnknownMagic { magic: 3 }));
    odd[MAGIC_AT] = 1;
    assert_eq!(only_batch_len(&odd), Err(BatchError::OldMagic { magic: 1 }));
}

#[test]
fn malformed_records_are_refused_each_for_its_reason() {
    let cases: [(&[u8], &str); 13] = [
        (&[], "ends inside"),
        (&[12, 0, 0, 0, 1, 1], "ends inside"),
        (&[12, 0, 0, 0, 1, 1, 0, 0], "bytes follow"),
        (&[14, 0, 0, 0, 1, 1, 0, 0], "longer than its fields"),
        (&[10, 0, 0, 0, 1, 1], "ends inside"),
        (&[1], "negative length"),
        (&[12, 0, 0, 2, 1, 1, 0], "offset out of order"),
        (&[12, 0, 0, 1, 1, 1, 0], "offset out of order"),
        (&[12, 0, 0, 0, 1, 1, 1], "negative number of headers"),
        (&[16, 0, 0, 0, 1, 1, 2, 1, 1], "header without a key"),
        (&[12, 0, 0, 0, 100, 1, 0], "ends inside"),
        (&[22, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 0], "too many bytes"),
        (&[20, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 1, 0], "beyond 32 bits"),
    ];
    for (record, expected) in cases {
        let error = validate(&with_record_bytes(record), &limits()).unwrap_err().to_string();
        assert!(error.contains(expected), "{record:?}: {error}");
        let header_only = ValidationLimits { records: RecordValidation::Header, ..limits() };
        validate(&with_record_bytes(record), &header_only).unwrap();
    }
}

#[test]
fn a_timestamp_beyond_64_bits_is_refused() {
    let batch = altered(three_records(Compression::None), |batch| {
        batch[27..35].copy_from_slice(&i64::MAX.to_be_bytes());
    });
    let error = validate(&batch, &limits()).unwrap_err();
    assert_eq!(error, BatchError::Record { index: 1, what: "has a timestamp beyond 64 bits" });
}

#[test]
fn offsets_are_assigned_outside_the_crc() {
    let mut batch = three_records(Compression::None);
    assign_offsets(&mut batch, 1_000, 7);
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (1_000, 7));
    check_crc(&batch, &header).unwrap();
}

#[test]
fn log_append_time_is_every_record_s_timestamp() {
    let mut batch = three_records(Compression::Gzip);
    set_log_append_time(&mut batch, 9_000);
    let header = validate(&batch, &ValidationLimits { origin: Origin::Broker, ..limits() }).unwrap();
    assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::LogAppendTime, 9_000));
    assert_eq!(find_timestamp(&batch, 8_000, 0), Ok(Some((0, 9_000))));
    assert_eq!(max_timestamp_record(&batch), Ok(Some((0, 9_000))));
}

#[test]
fn timestamps_are_found_exactly_inside_every_codec() {
    for compression in Compression::ALL {
        let mut batch = three_records(compression);
        assign_offsets(&mut batch, 50, 0);
        assert_eq!(find_timestamp(&batch, 0, 0), Ok(Some((50, 1_000))));
        assert_eq!(find_timestamp(&batch, 1_001, 0), Ok(Some((51, 3_000))));
        assert_eq!(find_timestamp(&batch, 1_001, 52), Ok(Some((52, 2_000))));
        assert_eq!(find_timestamp(&batch, 2_001, 52), Ok(None));
        assert_eq!(find_timestamp(&batch, 3_001, 0), Ok(None));
        assert_eq!(find_timestamp(&batch, 0, 53), Ok(None));
        assert_eq!(max_timestamp_record(&batch), Ok(Some((51, 3_000))));
    }
    let without = BatchBuilder::new().record(-1, None, None).build();
    assert_eq!(max_timestamp_record(&without), Ok(None));
}

#[test]
fn batches_are_split_and_a_cut_one_is_told() {
    let mut bytes = three_records(Compression::None);
    let first_len = bytes.len();
    bytes.extend_from_slice(&three_records(Compression::Lz4));
    let positions: Vec<_> = Batches::new(&bytes).map(|batch| batch.unwrap().position).collect();
    assert_eq!(positions, [0, first_len]);
    bytes.pop();
    let mut cut = Batches::new(&bytes);
    assert_eq!(cut.next().unwrap().unwrap().bytes.len(), first_len);
    assert!(matches!(cut.next(), Some(Err(BatchError::Truncated { .. }))));
    assert_eq!((cut.position(), cut.next()), (first_len, None));
}
