//! Bad input from raw sockets against the real process: each gets Kafka's error or a closed connection, memory stays within
//! the budget, and a well-behaved client notices nothing.

#![allow(clippy::expect_used, clippy::print_stdout)]

mod samples;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog::api::shape::{Mark, Prefix, SHAPES, Shape, walk};
use corelog_storage::batch::BatchBuilder;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

const MEMORY_BYTES: u64 = 64 << 20;
/// What a process is allowed beyond its budget.
const MEMORY_SLACK_BYTES: u64 = 64 << 20;
/// How long the broker gives a frame to arrive, in milliseconds.
const FRAME_TIMEOUT_MS: u64 = 300;
/// How long a test waits for an answer before it says that there is none.
const PATIENCE: Duration = Duration::from_secs(20);

struct Broker {
    process: Child,
    address: SocketAddr,
    log: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Broker {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("stderr");
        let mut process = Command::new(env!("CARGO_BIN_EXE_corelog"))
            .arg("start")
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", &format!("log.dirs={}", dir.path().join("data").display())])
            .args(["--override", "corelog.cores=2"])
            .args(["--override", &format!("corelog.memory.bytes={MEMORY_BYTES}")])
            .args(["--override", &format!("corelog.frame.timeout.ms={FRAME_TIMEOUT_MS}")])
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("a broker");
        let stdout = process.stdout.take().expect("its output");
        let ready = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find(|line| line.starts_with("ready "))
            .unwrap_or_else(|| panic!("not ready: {}", std::fs::read_to_string(&log).unwrap_or_default()));
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("address="));
        let address = address.and_then(|text| text.parse().ok()).expect("an address in the ready line");
        Self { process, address, log, _dir: dir }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the broker accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        stream
    }

    fn memory_peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }

    /// The broker is as it should be after an attack: alive, within its memory, and it never panicked.
    fn check(&mut self) {
        assert!(self.process.try_wait().expect("a state").is_none(), "the broker ended: {}", self.log());
        let peak = self.memory_peak_bytes();
        println!("VmHWM {} MiB of {} + {}", peak >> 20, MEMORY_BYTES >> 20, MEMORY_SLACK_BYTES >> 20);
        assert!(peak <= MEMORY_BYTES + MEMORY_SLACK_BYTES, "{peak} bytes");
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _already_gone = self.process.wait();
    }
}

/// A frame with its length.
fn framed(key: i16, version: i16, flexible: bool, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("hostile")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, if flexible { 2 } else { 1 }).expect("a header");
    frame.extend_from_slice(body);
    [&(frame.len() as u32).to_be_bytes()[..], &frame[..]].concat()
}

/// One response without its length, or `None` when the connection was closed.
fn response(stream: &mut TcpStream) -> Option<Bytes> {
    let mut len = [0; 4];
    match stream.read_exact(&mut len) {
        Ok(()) => {}
        Err(error) => {
            use std::io::ErrorKind;
            assert!(
                !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "neither a response nor a closed connection"
            );
            return None;
        }
    }
    let mut body = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut body).expect("a whole response");
    Some(Bytes::from(body))
}

/// A client like any other, on a connection of its own from before the first attack.
struct Neighbour {
    stream: TcpStream,
    topic: &'static str,
    written: i64,
}

impl Neighbour {
    fn new(broker: &Broker, topic: &'static str) -> Self {
        let mut neighbour = Self { stream: broker.connect(), topic, written: 0 };
        let asked = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(topic)))
            .with_num_partitions(1)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![asked]).with_timeout_ms(5_000);
        let created: CreateTopicsResponse = neighbour.ask(19, 4, false, &request);
        assert_eq!(created.topics[0].error_code, 0);
        neighbour
    }

    fn ask<S: Decodable>(&mut self, key: i16, version: i16, flexible: bool, request: &impl Encodable) -> S {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).expect("a request");
        self.stream.write_all(&framed(key, version, flexible, 77, &body)).expect("written");
        let mut response = response(&mut self.stream).expect("the neighbour's connection stays open");
        assert_eq!(response.split_to(4)[..], 77i32.to_be_bytes());
        S::decode(&mut response, version).expect("a response")
    }

    /// Writes a record, reads it back.
    fn works(&mut self) {
        let (code, offset) = self.produce(BatchBuilder::new().record(1, None, Some(b"fine")).build());
        assert_eq!((code, offset), (0, self.written));
        self.written += 1;
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default()
            .with_topic(TopicName(StrBytes::from_static_str(self.topic)))
            .with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(5_000)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_topics(vec![topic]);
        let fetched: FetchResponse = self.ask(1, 11, false, &request);
        let partition = &fetched.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark), (0, self.written));
        assert!(partition.records.as_ref().is_some_and(|records| records.ends_with(b"fine\0")));
    }

    /// Error and base offset.
    fn produce(&mut self, records: Vec<u8>) -> (i16, i64) {
        let partition =
            PartitionProduceData::default().with_index(0).with_records(Some(Bytes::from(records)));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_static_str(self.topic)))
            .with_partition_data(vec![partition]);
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(5_000).with_topic_data(vec![topic]);
        let response: ProduceResponse = self.ask(0, 8, false, &request);
        let partition = &response.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
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
    let mut broker = Broker::start();
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
    broker.check();
}

#[test]
fn every_request_and_version_is_answered_by_the_real_broker() {
    let mut broker = Broker::start();
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
    broker.check();
}

fn default_produce(version: i16) -> BytesMut {
    let mut body = BytesMut::new();
    ProduceRequest::default().encode(&mut body, version).expect("a request");
    body
}

#[test]
fn lengths_that_cannot_be_and_frames_that_never_end_close_their_connections() {
    let mut broker = Broker::start();
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
    broker.check();
}

#[test]
fn unknown_keys_and_versions_get_what_kafka_gives_them() {
    let mut broker = Broker::start();
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
    broker.check();
}

#[test]
fn bad_batches_get_kafkas_errors_and_nothing_of_them_is_stored() {
    let mut broker = Broker::start();
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
        ("a batch and a half", [&sound[..], &sound[..40]].concat(), 87),
        ("two batches", [&sound[..], &sound[..]].concat(), 87),
    ];
    for (what, records, code) in cases {
        assert_eq!(neighbour.produce(records), (code, -1), "{what}");
        neighbour.works();
    }
    broker.check();
}

#[test]
fn random_bytes_and_random_changes_leave_the_broker_unmoved() {
    let mut broker = Broker::start();
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
    broker.check();
}

#[test]
fn names_that_could_leave_the_directory_are_refused() {
    let mut broker = Broker::start();
    let mut neighbour = Neighbour::new(&broker, "fine");
    for name in [".", "..", "", "a/b", "../x", "nul\0", "ümlaut", &"x".repeat(250)] {
        let topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(name.to_owned())))
            .with_num_partitions(1)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5_000);
        let created: CreateTopicsResponse = neighbour.ask(19, 4, false, &request);
        assert_eq!(created.topics[0].error_code, 17, "{name:?}");
        neighbour.works();
    }
    broker.check();
}
