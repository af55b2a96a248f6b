//! Record batches: sound ones in every codec, and ones that are wrong in exactly one way.

use corelog_storage::batch::{BatchBuilder, Compression};

use crate::random::Random;

/// When the records of every script were made, in milliseconds: scripts must not depend on a clock.
pub const MADE_MS: i64 = 1_750_000_000_000;

/// First byte that the CRC covers, where it lies, and the fields behind it.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

/// A sound batch of a few records.
pub fn sound(random: &mut Random) -> Vec<u8> {
    let count = random.pick(&[1, 1, 2, 3, 10]);
    let codec = random.pick(&Compression::ALL);
    let base = MADE_MS + random.below(1_000_000) as i64;
    of(random, count, codec, base).build()
}

/// A builder with records, timestamps in an order that need not be theirs.
pub fn of(random: &mut Random, count: usize, codec: Compression, base_ms: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::new().compression(codec);
    for record in 0..count {
        let timestamp = base_ms + random.pick(&[0, 0, 1, 5, 1_000, -1_000]) * record as i64;
        let key = format!("key-{record}");
        let value = "v".repeat(random.pick(&[0, 1, 20, 200]));
        let key = (!random.once_in(5)).then_some(key.as_bytes());
        let value = (!random.once_in(8)).then_some(value.as_bytes());
        builder = if random.once_in(4) {
            builder.record_with_headers(timestamp, key, value, &[("h", Some(b"x")), ("null", None)])
        } else {
            builder.record(timestamp, key, value)
        };
    }
    builder
}

/// A batch, and what is wrong with it.
pub fn damaged(random: &mut Random) -> (Vec<u8>, String) {
    let count = random.pick(&[1, 2, 3]);
    let codec = random.pick(&[
        Compression::None,
        Compression::None,
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ]);
    let builder = of(random, count, codec, MADE_MS);
    let mut batch = builder.clone().build();
    let (what, renew) = match random.below(33) {
        0 => (patch(&mut batch, 17, &[1, 2, 3, 4], "crc"), false),
        1 => (patch(&mut batch, 16, &[random.pick(&[3, 4, -1_i8 as u8, 127])], "magic"), true),
        2 => (patch(&mut batch, 16, &[random.pick(&[0, 1])], "old magic on a new batch"), true),
        3 => {
            let length = random.pick(&[0, 1, 48, 49, 50, -1, i32::MAX, i32::MIN, 10_000]);
            (patch(&mut batch, 8, &length.to_be_bytes(), "batch length"), false)
        }
        4 => {
            let length = batch.len() as i32 - 12 + random.pick(&[-1, 1]);
            (patch(&mut batch, 8, &length.to_be_bytes(), "batch length off by one"), false)
        }
        5 => {
            let base = random.pick(&[1_i64, -1, 5, i64::MAX, i64::MIN]);
            (patch(&mut batch, 0, &base.to_be_bytes(), "base offset"), false)
        }
        6 => {
            let epoch = random.pick(&[0_i32, 5, i32::MAX]);
            (patch(&mut batch, 12, &epoch.to_be_bytes(), "leader epoch"), false)
        }
        7 => {
            let attributes = random.pick(&[5_i16, 6, 7]);
            (patch(&mut batch, 21, &attributes.to_be_bytes(), "unknown codec"), true)
        }
        8 => {
            let attributes = codec_bits(codec) | random.pick(&[0x80_i16, 0x100, 0x4000, i16::MIN]);
            (patch(&mut batch, 21, &attributes.to_be_bytes(), "unknown attributes"), true)
        }
        9 => {
            let attributes = codec_bits(codec) | 0x08;
            (patch(&mut batch, 21, &attributes.to_be_bytes(), "log append time"), true)
        }
        10 => {
            let attributes = codec_bits(codec) | 0x10;
            (patch(&mut batch, 21, &attributes.to_be_bytes(), "transactional without a producer"), true)
        }
        11 => {
            let attributes = codec_bits(codec) | random.pick(&[0x20_i16, 0x30]);
            (patch(&mut batch, 21, &attributes.to_be_bytes(), "control"), true)
        }
        12 => {
            let attributes = codec_bits(codec) | 0x40;
            (patch(&mut batch, 21, &attributes.to_be_bytes(), "delete horizon"), true)
        }
        13 => {
            let other = random.pick(&[0_i16, 1, 2, 3, 4]);
            (patch(&mut batch, 21, &other.to_be_bytes(), "another codec than the bytes have"), true)
        }
        14 => {
            let delta = count as i32 - 1 + random.pick(&[1, -1, 100]);
            (patch(&mut batch, 23, &delta.to_be_bytes(), "last offset delta"), true)
        }
        15 => {
            let delta = random.pick(&[-1_i32, i32::MIN, i32::MAX]);
            (patch(&mut batch, 23, &delta.to_be_bytes(), "wild last offset delta"), true)
        }
        16 => {
            // Not so late that a record's time would be beyond 64 bits: Kafka lets it wrap around and finds it too early, Corelog
            // finds no time in it.
            let base = random.pick(&[-1_i64, 0, i64::MAX - 100_000, i64::MIN + 100_000, MADE_MS * 1_000]);
            (patch(&mut batch, 27, &base.to_be_bytes(), "base timestamp"), true)
        }
        17 => {
            let max = random.pick(&[-1_i64, 0, i64::MAX, i64::MIN, MADE_MS + 50_000_000]);
            (patch(&mut batch, 35, &max.to_be_bytes(), "max timestamp"), true)
        }
        18 => {
            let id = random.pick(&[-2_i64, i64::MIN]);
            (patch(&mut batch, 43, &id.to_be_bytes(), "producer id"), true)
        }
        19 => (patch(&mut batch, 43, &7_000_i64.to_be_bytes(), "producer id without epoch"), true),
        20 => (patch(&mut batch, 51, &3_i16.to_be_bytes(), "producer epoch without id"), true),
        21 => (patch(&mut batch, 53, &3_i32.to_be_bytes(), "sequence without producer"), true),
        22 => {
            let records = count as i32 + random.pick(&[1, -1, 50]);
            (patch(&mut batch, 57, &records.to_be_bytes(), "records count"), true)
        }
        23 => {
            let records = random.pick(&[0_i32, -1, i32::MAX, i32::MIN]);
            (patch(&mut batch, 57, &records.to_be_bytes(), "wild records count"), true)
        }
        24 => {
            let cut = random.below(batch.len());
            batch.truncate(cut);
            (format!("cut to {cut} bytes"), false)
        }
        25 => {
            batch.extend_from_slice(&[0; 7]);
            ("bytes after it".to_owned(), false)
        }
        26 => {
            batch.extend_from_slice(&builder.build());
            ("two batches".to_owned(), false)
        }
        27 => (inside(&mut batch, random), true),
        28 => (inside(&mut batch, random), true),
        29 => {
            batch.truncate(61);
            let length = 49_i32.to_be_bytes();
            (patch(&mut batch, 8, &length, "no records behind the header"), true)
        }
        30 => return (message_set(random, 0), "message set v0".to_owned()),
        31 => return (message_set(random, 1), "message set v1".to_owned()),
        _ => {
            let garbage: Vec<u8> = (0..random.below(120)).map(|_| random.next() as u8).collect();
            return (garbage, "garbage".to_owned());
        }
    };
    if renew && let Some(covered) = batch.get(CRC_FROM..) {
        let crc = crc32c::crc32c(covered);
        patch(&mut batch, CRC_AT, &crc.to_be_bytes(), "");
    }
    (batch, format!("{codec}: {what}"))
}

fn codec_bits(codec: Compression) -> i16 {
    i16::from(codec.id())
}

fn patch(batch: &mut [u8], at: usize, bytes: &[u8], what: &str) -> String {
    if let Some(place) = batch.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
    format!("{what} {bytes:?}")
}

/// One byte of the records, changed; the CRC will be right. Offsets that do not follow are left out where nothing is compressed:
/// Kafka does not look at those and gives them to consumers, Corelog refuses them.
fn inside(batch: &mut [u8], random: &mut Random) -> String {
    let records = batch.len().saturating_sub(61);
    loop {
        let at = 61 + random.below(records.min(12));
        let byte = random.pick(&[0_u8, 1, 0x7f, 0x80, 0xff]);
        let Some(before) = batch.get(at).copied() else { return String::new() };
        let what = patch(batch, at, &[byte], &format!("records at byte {at} changed to"));
        if !has_strange_offsets(batch) {
            return what;
        }
        patch(batch, at, &[before], "");
    }
}

/// Whether the offsets of its records are all that is wrong with a batch that is not compressed.
fn has_strange_offsets(batch: &[u8]) -> bool {
    let mut batch = batch.to_vec();
    if let Some(covered) = batch.get(CRC_FROM..) {
        let crc = crc32c::crc32c(covered);
        patch(&mut batch, CRC_AT, &crc.to_be_bytes(), "");
    }
    let compressed = batch.get(22).is_some_and(|attributes| attributes & 7 != 0);
    let found = corelog_storage::batch::validate(&batch, &Default::default());
    !compressed && found.is_err_and(|error| error.to_string().contains("offset out of order"))
}

/// A message set as producers before Kafka 0.11 sent it.
fn message_set(random: &mut Random, magic: i8) -> Vec<u8> {
    let mut set = Vec::new();
    for offset in 0..random.pick(&[1_i64, 2]) {
        let mut message = vec![magic as u8, 0];
        if magic == 1 {
            message.extend_from_slice(&MADE_MS.to_be_bytes());
        }
        message.extend_from_slice(&(-1_i32).to_be_bytes());
        message.extend_from_slice(&5_i32.to_be_bytes());
        message.extend_from_slice(b"value");
        let crc = crc32_ieee(&message) ^ u32::from(random.once_in(5));
        set.extend_from_slice(&offset.to_be_bytes());
        set.extend_from_slice(&(message.len() as i32 + 4).to_be_bytes());
        set.extend_from_slice(&crc.to_be_bytes());
        set.extend_from_slice(&message);
    }
    set
}

/// The CRC of formats 0 and 1, bit by bit.
fn crc32_ieee(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_crc_is_that_of_every_zip_file() {
        assert_eq!(crc32_ieee(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_sound_batch_is_one_that_corelog_accepts() {
        let mut random = Random::new(1, "batches");
        for _ in 0..200 {
            let batch = sound(&mut random);
            corelog_storage::batch::validate(&batch, &Default::default()).expect("a sound batch");
        }
    }
}
