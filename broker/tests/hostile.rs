//! Bad input from raw sockets against the real process: each gets Kafka's error or a closed connection, memory stays within
//! the budget, and a well-behaved client notices nothing.

#![allow(clippy::expect_used, clippy::print_stdout)]

mod process;
mod samples;

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use corelog::api::shape::{Mark, Prefix, SHAPES, Shape, walk};
use corelog_storage::batch::BatchBuilder;
use kafka_protocol::messages::{ApiVersionsResponse, ProduceRequest};
use kafka_protocol::protocol::{Decodable, Encodable};
use process::client::{Client, framed, response};
use process::{Broker, MEMORY_BYTES, Place, Start};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// What a process is allowed beyond its budget.
const MEMORY_SLACK_BYTES: u64 = 64 << 20;
/// How long the broker gives a frame to arrive, in milliseconds.
const FRAME_TIMEOUT_MS: u64 = 300;

/// A broker with short patience, and the directory it lives in.
fn start() -> (Place, Broker) {
    let place = Place::new();
    let broker = Start::in_dir(&place.join("data")).set("corelog.frame.timeout.ms", FRAME_TIMEOUT_MS).ready();
    (place, broker)
}

/// The broker is as it should be after an attack: alive, within its memory, and it never panicked.
fn check(broker: &mut Broker) {
    assert!(broker.runs(), "the broker ended: {}", broker.log());
    let peak = broker.memory_peak_bytes();
    println!("VmHWM {} MiB of {} + {}", peak >> 20, MEMORY_BYTES >> 20, MEMORY_SLACK_BYTES >> 20);
    assert!(peak <= MEMORY_BYTES + MEMORY_SLACK_BYTES, "{peak} bytes");
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
}

/// A client like any other, on a connection of its own from before the first attack.
struct Neighbour {
    client: Client,
    topic: &'static str,
    written: i64,
}

impl Neighbour {
    fn new(broker: &Broker, topic: &'static str) -> Self {
        let mut client = broker.client();
        assert_eq!(client.create_topic(topic, 1), 0);
        Self { client, topic, written: 0 }
    }

    /// Writes a record, reads it back.
    fn works(&mut self) {
        let (code, offset) = self.produce(BatchBuilder::new().record(1, None, Some(b"fine")).build());
        assert_eq!((code, offset), (0, self.written));
        self.written += 1;
        let partition = self.client.fetch(self.topic, 0, offset, 5_000);
        assert_eq!((partition.error_code, partition.high_watermark), (0, self.written));
        assert!(partition.records.as_ref().is_some_and(|records| records.ends_with(b"fine\0")));
    }

    /// Error and base offset.
    fn produce(&mut self, records: Vec<u8>) -> (i16, i64) {
        self.client.produce(self.topic, 0, records)
    }
}

fn flexible(sample: &samples::Sample) -> bool {
    sample.version >= Shape::of(sample.key).expect("a shape").flexible
}

/// Sends one frame on a connection of its own, which must be closed without a response.
fn must_close(broker: &Broker, frame: &[u8], what: &str) {
    let mut stream = broker.connect();
    stream.write_all(frame).expect("written");
    assert!(response(&mut stream).is_none(), "answered: {what}");
}

#[test]
fn every_request_and_version_with_each_count_inflated_or_cut_closes_its_connection() {
    let (_place, mut broker) = start();
    let mut neighbour = Neighbour::new(&broker, "fine");
    let mut attacks = 0;
    for sample in samples::all() {
        let mut marks: Vec<Mark> = Vec::new();
        let shape = Shape::of(sample.key).expect("a shape");
        walk(shape, sample.version, &sample.body, |mark| marks.push(mark)).expect("a sample");
        for mark in marks {
            let huge: &[u8] = match mark.prefix {
                Prefix::Int16 => &[0x7f, 0xff],
                Prefix::Int32 => &[0x7f, 0xff, 0xff, 0xff],
                Prefix::Varint => &[0xff, 0xff, 0xff, 0xff, 0x0f],
            };
            let body = [&sample.body[..mark.start], huge, &sample.body[mark.end..]].concat();
            let frame = framed(sample.key, sample.version, flexible(&sample), 1, &body);
            must_close(&broker, &frame, &format!("key {} v{} {mark:?}", sample.key, sample.version));
            attacks += 1;
        }
        if let Some(cut) = sample.body.len().checked_sub(1) {
            let frame = framed(sample.key, sample.version, flexible(&sample), 1, &sample.body[..cut]);
            must_close(&broker, &frame, &format!("key {} v{} cut", sample.key, sample.version));
        }
        neighbour.works();
    }
    println!("{attacks} inflated counts and lengths");
    assert!(attacks > 700, "only {attacks}");
    assert!(broker.log().contains("malformed request"), "the log says why");
    check(&mut broker);
}

#[test]
fn every_request_and_version_is_answered_by_the_real_broker() {
    let (_place, mut broker) = start();
    for sample in samples::all() {
        let mut stream = broker.connect();
        stream
            .write_all(&framed(sample.key, sample.version, flexible(&sample), 5, &sample.body))
            .expect("written");
        // The default Produce has acks=0, which gets no response: the next request's must be the first to come.
        let request = framed(18, 0, false, 6, &[]);
        stream.write_all(&request).expect("written");
        let silent = sample.key == 0 && sample.body[..].starts_with(&default_produce(sample.version)[..]);
        for correlation_id in if silent { &[6][..] } else { &[5, 6][..] } {
            let answer = response(&mut stream)
                .unwrap_or_else(|| panic!("key {} v{} closed: {}", sample.key, sample.version, broker.log()));
            let answered = i32::from_be_bytes(answer[..4].try_into().expect("four bytes"));
            assert_eq!(answered, *correlation_id, "key {} v{}", sample.key, sample.version);
        }
    }
    check(&mut broker);
}

fn default_produce(version: i16) -> BytesMut {
    let mut body = BytesMut::new();
    ProduceRequest::default().encode(&mut body, version).expect("a request");
    body
}

#[test]
fn lengths_that_cannot_be_and_frames_that_never_end_close_their_connections() {
    let (_place, mut broker) = start();
    let mut neighbour = Neighbour::new(&broker, "fine");
    for len in [i32::MAX, i32::MIN, -1, 0, 1, 9] {
        let mut stream = broker.connect();
        stream.write_all(&len.to_be_bytes()).expect("written");
        stream.write_all(&[0; 9][..usize::try_from(len).unwrap_or(0).min(9)]).expect("written");
        assert!(response(&mut stream).is_none(), "a frame of {len} bytes was answered");
        neighbour.works();
    }
    assert!(broker.log().contains("socket.request.max.bytes"), "the log names the limit's setting");
    // Half a frame and then silence: closed by the frame's timeout, however much was announced.
    let mut silent: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = broker.connect();
            stream.write_all(&(90i32 << 20).to_be_bytes()).expect("written");
            stream.write_all(&[0; 1000]).expect("written");
            stream
        })
        .collect();
    neighbour.works();
    for stream in &mut silent {
        assert!(response(stream).is_none(), "half a frame was answered");
    }
    neighbour.works();
    check(&mut broker);
}

#[test]
fn unknown_keys_and_versions_get_what_kafka_gives_them() {
    let (_place, mut broker) = start();
    let mut neighbour = Neighbour::new(&broker, "fine");
    let mut unknown: Vec<(i16, i16)> = vec![(-1, 0), (i16::MIN, 0), (9_999, 3), (i16::MAX, i16::MAX)];
    unknown.extend((0..100).filter(|key| Shape::of(*key).is_none()).map(|key| (key, 0)));
    for shape in SHAPES.iter().filter(|shape| shape.key != 18) {
        unknown.extend([(shape.key, shape.min - 1), (shape.key, shape.max + 1)]);
    }
    for (key, version) in unknown {
        must_close(&broker, &framed(key, version, false, 1, &[0; 20]), &format!("key {key} v{version}"));
    }
    let mut stream = broker.connect();
    stream.write_all(&framed(18, 99, true, 4, &[0xff; 30])).expect("written");
    let mut answer = response(&mut stream).expect("ApiVersions is always answered");
    assert_eq!(answer.split_to(4)[..], 4i32.to_be_bytes());
    let answer = ApiVersionsResponse::decode(&mut answer, 0).expect("a response of version 0");
    assert_eq!((answer.error_code, answer.api_keys.len()), (35, 1));
    stream.write_all(&framed(18, 0, false, 5, &[])).expect("written");
    assert!(response(&mut stream).is_some(), "the connection stays open for the step down");
    neighbour.works();
    check(&mut broker);
}

#[test]
fn bad_batches_get_kafkas_errors_and_nothing_of_them_is_stored() {
    let (_place, mut broker) = start();
    let mut neighbour = Neighbour::new(&broker, "fine");
    neighbour.works();
    let sound = BatchBuilder::new().record(1, Some(b"k"), Some(b"v")).record(2, None, None).build();
    let changed = |at: usize, value: &[u8]| {
        let mut bytes = sound.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    let recounted = |at: usize, value: i32| {
        let mut bytes = changed(at, &value.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    // Offset 0, size 14, CRC, magic 0, attributes 0, no key, no value.
    let v0: Vec<u8> = [&[0; 8][..], &[0, 0, 0, 14], &[0; 4], &[0, 0], &[0xff; 8]].concat();
    let cases: Vec<(&str, Vec<u8>, i16)> = vec![
        ("a flipped bit", changed(sound.len() - 3, b"X"), 2),
        ("a CRC of zero", changed(17, &[0; 4]), 2),
        ("magic 0", changed(16, &[0]), 87),
        ("magic 3", changed(16, &[3]), 2),
        ("a message set of format 0", v0, 87),
        ("a length beyond the bytes", changed(8, &0x7fff_ffffi32.to_be_bytes()), 87),
        ("a negative length", changed(8, &(-1i32).to_be_bytes()), 2),
        ("too many records", recounted(57, 9), 87),
        ("no records", recounted(57, 0), 87),
        ("offsets that do not fit", recounted(23, 7), 87),
        ("a base offset", changed(0, &5i64.to_be_bytes()), 87),
        ("nothing", Vec::new(), 87),
        ("two batches", [&sound[..], &sound[..]].concat(), 87),
    ];
    for (what, records, code) in cases {
        assert_eq!(neighbour.produce(records), (code, -1), "{what}");
        neighbour.works();
    }
    // What is behind a whole batch and is none is ignored, as Kafka does.
    let (error, offset) = neighbour.produce([&sound[..], &sound[..40]].concat());
    assert!(error == 0 && offset > 0, "a batch and a half: {error} at {offset}");
    check(&mut broker);
}

#[test]
fn random_bytes_and_random_changes_leave_the_broker_unmoved() {
    let (_place, mut broker) = start();
    let mut neighbour = Neighbour::new(&broker, "fine");
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let samples = samples::all();
    for round in 0..600 {
        let mut stream = broker.connect();
        let frame = if round % 3 == 0 {
            let mut bytes = vec![0; random.random_range(1..2_000)];
            random.fill_bytes(&mut bytes);
            bytes
        } else {
            let sample = &samples[random.random_range(0..samples.len())];
            // A deletion by luck would take the neighbour's topic, and a long wait the test's time.
            if matches!(sample.key, 1 | 20) {
                continue;
            }
            let mut body = sample.body.to_vec();
            for _ in 0..random.random_range(1..4) {
                if !body.is_empty() {
                    let at = random.random_range(0..body.len());
                    body[at] = random.random();
                }
            }
            framed(sample.key, sample.version, flexible(sample), 1, &body)
        };
        stream.write_all(&frame).expect("written");
        stream.shutdown(std::net::Shutdown::Write).expect("shut down");
        // Answered or not: the connection ends, because nothing more can come.
        let mut rest = Vec::new();
        let _reset_by_peer = stream.read_to_end(&mut rest);
        if round % 50 == 0 {
            neighbour.works();
        }
    }
    neighbour.works();
    check(&mut broker);
}

#[test]
fn names_that_could_leave_the_directory_are_refused() {
    let (_place, mut broker) = start();
    let mut neighbour = Neighbour::new(&broker, "fine");
    for name in [".", "..", "", "a/b", "../x", "nul\0", "ümlaut", &"x".repeat(250)] {
        assert_eq!(neighbour.client.create_topic(name, 1), 17, "{name:?}");
        neighbour.works();
    }
    check(&mut broker);
}
