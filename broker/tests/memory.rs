//! The memory proof: idle connections, half-sent frames and readers that do not read, all at once, against the real process. Its peak
//! (VmHWM) stays within the budget and 64 MiB, and well-behaved clients get every answer meanwhile.
//!
//! Prints the peak and the clients' p99 before and during. Deliberately absent: a bound on that p99, which is a measurement and depends
//! on what else the machine does.

#![allow(clippy::expect_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use corelog::shard::preflight::preflight;
use corelog_storage::batch::BatchBuilder;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

const IDLE_CONNECTIONS: usize = 10_000;
const HALF_FRAMES: usize = 500;
/// What each half frame sends before it falls silent: 500 of them are several times the share of partial frames.
const HALF_FRAME_SENT_BYTES: usize = 700 * 1024;
const STOPPED_READERS: usize = 400;
/// Partitions that a stopped reader asks for: with 1 MiB from the disk of each, one reply is 50 MiB.
const PARTITIONS: i32 = 50;
const FETCH_BYTES: i32 = 55 << 20;
const BATCH_BYTES: usize = 500_000;
/// How long everything is held up at once: longer than the 5 s after which a stopped reader may be closed.
const ATTACK: Duration = Duration::from_secs(7);
/// How long the good clients work before that.
const QUIET: Duration = Duration::from_secs(2);
/// A stopped reader asks again after this long, or comes back when it was closed.
const COMES_BACK_AFTER: Duration = Duration::from_secs(1);
/// Time between two looks at all hostile connections.
const ROUND: Duration = Duration::from_millis(100);
/// What a process is allowed beyond its budget.
const SLACK_BYTES: u64 = 64 << 20;
/// Descriptors of the test besides those of its idle and hostile connections.
const SPARE_FILES: u64 = 200;
/// How long a test waits for an answer before it says that there is none.
const PATIENCE: Duration = Duration::from_secs(20);

/// How large a broker is attacked with what.
struct Scenario {
    memory_bytes: u64,
    /// What a half frame announces.
    announced_bytes: usize,
    /// Batches per partition, before the attack and again during it. Both together are more than the tail caches hold.
    batches: usize,
}

#[test]
fn nothing_that_clients_hold_up_takes_a_small_broker_over_its_budget() {
    // A core refuses longer frames than its share of partial frames could hold: 14 MiB here.
    prove(&Scenario { memory_bytes: 256 << 20, announced_bytes: 14 << 20, batches: 4 });
}

#[test]
fn half_sent_frames_of_90_mib_take_no_more_than_what_arrived_of_them() {
    // The smallest budget with which two cores take frames of 90 MiB at all.
    prove(&Scenario { memory_bytes: 1_616 << 20, announced_bytes: 90 << 20, batches: 14 });
}

fn prove(scenario: &Scenario) {
    // One at a time: both want the machine.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let files = preflight().expect("the limits of a core").open_files_max;
    let needed = (IDLE_CONNECTIONS + HALF_FRAMES + STOPPED_READERS) as u64 + SPARE_FILES;
    assert!(files >= needed, "{needed} open files are needed and {files} are allowed: raise ulimit -n");

    let mut broker = Broker::start(scenario.memory_bytes);
    let mut filler = Client::new(&broker, "big", PARTITIONS);
    let mut good = [Client::new(&broker, "good-a", 1), Client::new(&broker, "good-b", 1)];
    filler.fill(scenario.batches);
    let before = p99(work(&mut good, Instant::now() + QUIET));
    println!("filled: VmHWM {} MiB", broker.memory_peak_bytes() >> 20);

    let idle: Vec<TcpStream> = (0..IDLE_CONNECTIONS).map(|_| broker.connect()).collect();
    println!("{IDLE_CONNECTIONS} idle connections: VmHWM {} MiB", broker.memory_peak_bytes() >> 20);

    let attacking = AtomicBool::new(true);
    let (during, halves_closed) = std::thread::scope(|scope| {
        let until_dropped = Over(&attacking);
        let attack = scope.spawn(|| attack(&broker, scenario, &attacking));
        let during = work(&mut good, Instant::now() + ATTACK);
        println!("half frames and stopped readers: VmHWM {} MiB", broker.memory_peak_bytes() >> 20);
        // What the readers hold is no longer what the tail caches hold.
        filler.fill(scenario.batches);
        drop(until_dropped);
        (p99(during), attack.join().expect("an attack"))
    });
    for mut stream in idle.into_iter().step_by(100) {
        stream.write_all(&framed(18, 0, &[])).expect("an idle connection stays open");
        response(&mut stream);
    }
    let readers_closed = broker.log().matches("has taken nothing of its reply").count();
    println!("closed: {halves_closed} half frames, {readers_closed} readers");
    println!("p99 of produce and fetch: {} us before, {} us during", before.as_micros(), during.as_micros());
    assert!(halves_closed > 0, "the half frames never filled the share of partial frames");
    assert!(readers_closed > 0, "the stopped readers never filled the share of replies");
    broker.check();
}

/// Ends the attack, also when a client did not get its answer.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Holds up what it can until told to stop; returns how many half frames the broker closed.
fn attack(broker: &Broker, scenario: &Scenario, attacking: &AtomicBool) -> usize {
    let mut half = Vec::with_capacity(4 + HALF_FRAME_SENT_BYTES);
    half.extend_from_slice(&(scenario.announced_bytes as u32).to_be_bytes());
    half.resize(4 + HALF_FRAME_SENT_BYTES, 0);
    let fetch = |offset| framed(1, 11, &encoded(11, &fetch_request("big", PARTITIONS, offset, FETCH_BYTES)));
    // Some of the oldest batches, which only the disk has, and some of the newest that were there before.
    let fetches = [fetch(0), fetch(scenario.batches as i64 - 1)];
    let mut halves: Vec<Hostile<'_>> = (0..HALF_FRAMES).map(|_| Hostile::new(broker, &half)).collect();
    let mut readers: Vec<Hostile<'_>> =
        (0..STOPPED_READERS).map(|at| Hostile::new(broker, &fetches[at % 2])).collect();
    while attacking.load(Ordering::Relaxed) {
        for half in &mut halves {
            half.go_on();
        }
        for reader in &mut readers {
            reader.go_on();
            reader.come_back(broker);
        }
        std::thread::sleep(ROUND);
    }
    halves.iter().filter(|half| half.is_closed).count()
}

/// A connection that sends something and reads nothing.
struct Hostile<'a> {
    stream: TcpStream,
    since: Instant,
    sends: &'a [u8],
    sent: usize,
    is_closed: bool,
}

impl<'a> Hostile<'a> {
    fn new(broker: &Broker, sends: &'a [u8]) -> Self {
        let stream = unblocked(broker);
        Self { stream, since: Instant::now(), sends, sent: 0, is_closed: false }
    }

    /// Sends what the socket takes, and looks whether the broker has closed it.
    fn go_on(&mut self) {
        while !self.is_closed && self.sent < self.sends.len() {
            match self.stream.write(&self.sends[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.is_closed = true,
            }
        }
        match self.stream.peek(&mut [0]) {
            Ok(1) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => self.is_closed = true,
        }
    }

    /// Asks once more, which is how a reader that reads nothing learns that it was closed; if it was, a new one takes its place.
    fn come_back(&mut self, broker: &Broker) {
        if self.since.elapsed() < COMES_BACK_AFTER {
            return;
        }
        if self.is_closed {
            *self = Self::new(broker, self.sends);
        } else if self.sent == self.sends.len() {
            self.sent = 0;
            self.since = Instant::now();
        }
    }
}

fn unblocked(broker: &Broker) -> TcpStream {
    let stream = broker.connect();
    stream.set_nonblocking(true).expect("not blocking");
    stream
}

/// Runs each client in a thread of its own until then; returns how long each produce and fetch took.
fn work(clients: &mut [Client], until: Instant) -> Vec<Duration> {
    std::thread::scope(|scope| {
        let working: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while Instant::now() < until {
                        let started = Instant::now();
                        client.works();
                        times.push(started.elapsed());
                    }
                    times
                })
            })
            .collect();
        working.into_iter().flat_map(|client| client.join().expect("every answer came")).collect()
    })
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    assert!(times.len() >= 20, "only {} answers", times.len());
    times[times.len() * 99 / 100]
}

struct Broker {
    process: Child,
    address: SocketAddr,
    log: std::path::PathBuf,
    memory_bytes: u64,
    _dir: tempfile::TempDir,
}

impl Broker {
    fn start(memory_bytes: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("stderr");
        let mut process = Command::new(env!("CARGO_BIN_EXE_corelog"))
            .arg("start")
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", &format!("log.dirs={}", dir.path().join("data").display())])
            .args(["--override", "corelog.cores=2"])
            .args(["--override", &format!("corelog.memory.bytes={memory_bytes}")])
            // A frame's silence must not end it before the peak.
            .args(["--override", "corelog.frame.timeout.ms=600000"])
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
        Self { process, address, log, memory_bytes, _dir: dir }
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

    /// Alive, within its memory, and it never panicked.
    fn check(&mut self) {
        let log = self.log();
        assert!(self.process.try_wait().expect("a state").is_none(), "the broker ended: {log}");
        assert!(!log.contains("panicked"), "{log}");
        assert!(!log.contains("announced a length"), "the half frames were refused at once: {log}");
        let peak = self.memory_peak_bytes();
        println!("VmHWM {} MiB of {} + {}", peak >> 20, self.memory_bytes >> 20, SLACK_BYTES >> 20);
        assert!(peak <= self.memory_bytes + SLACK_BYTES, "{peak} bytes");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        let _already_gone = self.process.kill();
        let _already_gone = self.process.wait();
    }
}

/// A client like any other.
struct Client {
    stream: TcpStream,
    topic: &'static str,
    partitions: i32,
    written: i64,
}

impl Client {
    fn new(broker: &Broker, topic: &'static str, partitions: i32) -> Self {
        let mut client = Self { stream: broker.connect(), topic, partitions, written: 0 };
        let asked = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(topic)))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![asked]).with_timeout_ms(30_000);
        let created: CreateTopicsResponse = client.ask(19, 4, &request);
        assert_eq!(created.topics[0].error_code, 0);
        client
    }

    fn ask<S: Decodable>(&mut self, key: i16, version: i16, request: &impl Encodable) -> S {
        self.stream.write_all(&framed(key, version, &encoded(version, request))).expect("written");
        S::decode(&mut response(&mut self.stream), version).expect("a response")
    }

    /// Writes a record, reads it back.
    fn works(&mut self) {
        let offset = self.written;
        self.produce(0, BatchBuilder::new().record(1, None, Some(&[b'f'; 1_000])).build());
        self.written += 1;
        let fetched: FetchResponse = self.ask(1, 11, &fetch_request(self.topic, 1, offset, 1 << 20));
        let partition = &fetched.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark), (0, self.written));
        assert!(partition.records.as_ref().is_some_and(|records| records.ends_with(b"fff\0")));
    }

    /// Appends `batches` batches to each partition, one after the other.
    fn fill(&mut self, batches: usize) {
        let batch = BatchBuilder::new().record(1, None, Some(&vec![7; BATCH_BYTES])).build();
        for _ in 0..batches {
            for partition in 0..self.partitions {
                self.produce(partition, batch.clone());
            }
        }
        self.written += batches as i64;
    }

    fn produce(&mut self, partition: i32, records: Vec<u8>) {
        let written = self.written;
        let data =
            PartitionProduceData::default().with_index(partition).with_records(Some(Bytes::from(records)));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_static_str(self.topic)))
            .with_partition_data(vec![data]);
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
        let response: ProduceResponse = self.ask(0, 8, &request);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 0);
        assert!(partition.base_offset >= written);
    }
}

fn fetch_request(topic: &'static str, partitions: i32, offset: i64, bytes_max: i32) -> FetchRequest {
    let partitions = (0..partitions).map(|partition| {
        FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(bytes_max)
    });
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(topic)))
        .with_partitions(partitions.collect());
    FetchRequest::default()
        .with_max_wait_ms(5_000)
        .with_min_bytes(1)
        .with_max_bytes(bytes_max)
        .with_topics(vec![topic])
}

fn encoded(version: i16, request: &impl Encodable) -> BytesMut {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).expect("a request");
    body
}

/// A frame of a version that is not flexible, with its length.
fn framed(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(77)
        .with_client_id(Some(StrBytes::from_static_str("memory")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, 1).expect("a header");
    frame.extend_from_slice(body);
    [&(frame.len() as u32).to_be_bytes()[..], &frame[..]].concat()
}

/// One response without its length and correlation id.
fn response(stream: &mut TcpStream) -> Bytes {
    let mut len = [0; 4];
    stream.read_exact(&mut len).expect("an answer, and the connection stays open");
    let mut body = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut body).expect("a whole answer");
    assert_eq!(body[..4], 77i32.to_be_bytes());
    Bytes::from(body).split_off(4)
}
