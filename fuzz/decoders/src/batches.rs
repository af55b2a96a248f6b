//! A record batch from a client, or one that lies in a segment.
//!
//! The first byte chooses the rules. Lengths and checksums are made right where it says so, or no fuzzer would get past them.

use corelog_storage::batch::{
    BatchHeader, Batches, Encoding, HEADER_BYTES, LENGTH_PREFIX_BYTES, Origin, RecordValidation,
    TimestampType, ValidationLimits, correct_timestamps, empty_batch, filter, find_timestamp,
    for_each_record, max_timestamp_record, only_batch_len, recompress, validate, visit_records,
};

const BATCH_BYTES_MAX: usize = 1 << 16;
const DECOMPRESSED_BYTES_MAX: u64 = 1 << 20;

const ENCODINGS: [Encoding; 5] = [
    Encoding::Uncompressed,
    Encoding::Gzip { level: 1 },
    Encoding::Snappy,
    Encoding::Lz4 { level: 9 },
    Encoding::Zstd { level: 1 },
];

/// Validates a batch and does with it what the broker does. What was validated in full must be readable in every way, and say the same.
pub fn run(bytes: &[u8]) {
    let Some((&options, batch)) = bytes.split_first() else { return };
    let has = |bit: u8| options & bit != 0;
    let mut batch = batch.to_vec();
    if !has(1) {
        seal(&mut batch);
    }
    let split: usize = Batches::new(&batch).map_while(Result::ok).map(|batch| batch.bytes.len()).sum();
    assert!(split <= batch.len());
    let Ok(len) = only_batch_len(&batch) else { return };
    let batch = &mut batch[..len];
    let limits = ValidationLimits {
        batch_bytes_max: BATCH_BYTES_MAX,
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        records: if has(2) { RecordValidation::Header } else { RecordValidation::Full },
        keys_required: has(4),
        log_append_time: has(8),
        origin: if has(16) { Origin::Broker } else { Origin::Client },
        ..ValidationLimits::default()
    };
    let Ok(header) = validate(batch, &limits) else { return };
    correct_timestamps(batch, &header);
    let header = BatchHeader::parse(batch).expect("a validated header");
    match limits.records {
        RecordValidation::Full => sound(batch, &header),
        RecordValidation::Header => {
            // The records may lie: each way of reading them may refuse, and must not panic.
            drop(seen(batch, &header));
            drop(for_each_record(batch, |_| {}));
            drop(max_timestamp_record(batch));
            drop(find_timestamp(batch, header.base_timestamp, header.base_offset));
            drop(filter(batch, &header, DECOMPRESSED_BYTES_MAX, (7, true), |record| record.offset % 2 == 0));
            drop(recompress(batch, Encoding::Snappy, BATCH_BYTES_MAX));
        }
    }
}

/// Offset, timestamp, key and value of a record.
type Seen = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn seen(batch: &[u8], header: &BatchHeader) -> Result<Vec<Seen>, corelog_storage::batch::BatchError> {
    let mut records = Vec::new();
    visit_records(batch, header, DECOMPRESSED_BYTES_MAX, |record| {
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        records.push((record.offset, record.timestamp_ms, key, value));
        true
    })?;
    Ok(records)
}

/// A batch that was validated to its last record.
fn sound(batch: &[u8], header: &BatchHeader) {
    let records = seen(batch, header).expect("validated records are read");
    assert_eq!(records.len(), header.records_count as usize);
    let mut stored = Vec::new();
    for_each_record(batch, |record| {
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        stored.push((record.offset, record.timestamp_ms, key, value));
    })
    .expect("validated records are read");
    if header.timestamp_type() == TimestampType::CreateTime {
        assert_eq!(stored, records, "two ways of reading");
    }
    let largest = max_timestamp_record(batch).expect("validated records are searched");
    if let Some((offset, timestamp_ms)) = largest
        && header.timestamp_type() == TimestampType::CreateTime
        && !header.has_delete_horizon()
    {
        assert_eq!(Some(timestamp_ms), records.iter().map(|record| record.1).max());
        let found = find_timestamp(batch, timestamp_ms, header.base_offset).expect("searched");
        assert_eq!(found, Some((offset, timestamp_ms)), "the largest timestamp is found by time");
    }
    for keep in [|offset: i64| offset % 2 == 0, |_| false, |_| true] {
        let kept = filter(batch, header, DECOMPRESSED_BYTES_MAX, (7, false), |record| keep(record.offset));
        let kept = kept.expect("validated records are filtered");
        let Some(rewritten) = kept.rewritten else { continue };
        let left = validated(&rewritten);
        let expected = records.iter().filter(|record| keep(record.0)).count();
        assert_eq!((left.len(), kept.retained), (expected, expected));
        let wanted = records.iter().filter(|record| keep(record.0));
        assert!(wanted.zip(&left).all(|(was, is)| (was.0, &was.2, &was.3) == (is.0, &is.2, &is.3)));
    }
    validated(&empty_batch(header));
    for encoding in ENCODINGS {
        if let Ok(again) = recompress(batch, encoding, BATCH_BYTES_MAX) {
            assert_eq!(validated(&again), records, "{encoding:?}");
        }
    }
}

/// The records of a batch that Corelog wrote: nothing may be wrong with it.
fn validated(batch: &[u8]) -> Vec<Seen> {
    let limits = ValidationLimits {
        batch_bytes_max: usize::MAX,
        origin: Origin::Broker,
        log_append_time: true,
        ..ValidationLimits::default()
    };
    let header = validate(batch, &limits).expect("what was written is sound");
    seen(batch, &header).expect("what was written is read")
}

/// Makes length, magic and CRC those of one whole batch.
fn seal(batch: &mut [u8]) {
    if batch.len() < HEADER_BYTES {
        return;
    }
    let length = (batch.len() - LENGTH_PREFIX_BYTES) as u32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[16] = 2;
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}
