//! A byte of a segment rots under the real process: scrubbing tells of it, and everything else is served.

#![allow(clippy::expect_used, clippy::print_stdout)]

mod process;

use std::os::unix::fs::FileExt;

use corelog_storage::batch::{BatchBuilder, Batches};
use process::metrics::{scrape, sum};
use process::{Place, Start, until};

/// Kafka's number for bytes on the disk that cannot be used.
const KAFKA_STORAGE_ERROR: i16 = 56;

#[test]
fn a_byte_that_rots_is_told_of_before_anybody_reads_it_and_everything_else_is_served() {
    let place = Place::new();
    let dir = place.join("data");
    let broker = Start::in_dir(&dir).set("corelog.scrub.bytes.per.second", 0).ready();
    let mut client = broker.client();
    for topic in ["rotten", "sound"] {
        assert_eq!(client.create_topic(topic, 1), 0);
        for offset in 0..40 {
            let batch = BatchBuilder::new().record(1, Some(b"key"), Some(&[7; 5_000])).build();
            assert_eq!(client.produce(topic, 0, batch), (0, offset));
        }
    }
    let (sound, _) = client.fetch_all("sound", 0, 0);
    broker.stop();

    let segment = dir.join("rotten-0").join("00000000000000000000.log");
    let file = std::fs::File::options().read(true).write(true).open(&segment).expect("a segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 70_000).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x10], 70_000).expect("another byte");
    file.sync_all().expect("it rots");

    let broker = Start::in_dir(&dir)
        .set("corelog.metrics.listen", "127.0.0.1:0")
        .set("corelog.scrub.bytes.per.second", 100_000_000)
        .set("corelog.scrub.interval.ms", 20)
        .ready();
    let told = broker.logged("is damaged in 1 places");
    assert!(told.contains("ERROR") && told.contains("rotten-0/00000000000000000000.log"), "{told}");
    assert!(told.contains("dump-log --verify"), "{told}");
    let metrics = broker.metrics_address();
    // In more than one pass.
    until(|| sum(&scrape(metrics), "corelog_scrub_damaged_segments_total{") >= 2.0, || scrape(metrics));
    let text = scrape(metrics);
    assert!(sum(&text, "corelog_scrub_bytes_total{") >= 400_000.0, "{text}");
    assert!(sum(&text, "corelog_scrub_segments_total{") >= 2.0, "{text}");

    let mut client = broker.client();
    // The damage is in the second 64 KiB, into which the thirteenth batch reaches.
    let mut next_offset = 0;
    let error_code = loop {
        let fetched = client.fetch("rotten", 0, next_offset, 0);
        if fetched.error_code != 0 {
            break fetched.error_code;
        }
        let records = fetched.records.expect("what is sound");
        let last = Batches::new(&records).last().expect("a batch").expect("whole batches").header;
        next_offset = last.next_offset();
    };
    assert_eq!((next_offset, error_code), (12, KAFKA_STORAGE_ERROR));
    let (served, _) = client.fetch_all("sound", 0, 0);
    assert_eq!(served, sound);
    assert!(!broker.log().contains("sound-0/"), "a false alarm: {}", broker.log());
    broker.stop();
}
