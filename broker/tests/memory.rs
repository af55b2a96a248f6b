//! The memory proof: idle connections, half-sent frames and readers that do not read, all at once, against the real process. Its peak
//! (VmHWM) stays within the budget and 64 MiB, and well-behaved clients get every answer meanwhile.
//!
//! Prints the peak and the clients' p99: before, while the attack sets itself up, and while it stands and goes on. `scripts/held-up` runs it in a
//! release build, several times, for the README. Deliberately absent: a bound on that p99, which is a measurement and depends on what
//! else the machine does.

#![allow(clippy::expect_used, clippy::print_stdout)]

mod process;

use std::fmt;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use corelog::shard::preflight::preflight;
use corelog_storage::batch::BatchBuilder;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use process::client::{Client, framed, response};
use process::{Broker, PATIENCE, Place, Start};

const IDLE_CONNECTIONS: usize = 10_000;
const HALF_FRAMES: usize = 500;
/// What each half frame sends before it falls silent: 500 of them are several times the share of partial frames.
const HALF_FRAME_SENT_BYTES: usize = 700 * 1024;
/// So many that those of one core could fill all of its replies' share, the part for small charges included.
const STOPPED_READERS: usize = 400;
/// Partitions that a stopped reader asks for: with 1 MiB from the disk of each, one reply is 50 MiB.
const PARTITIONS: i32 = 50;
/// The topic they read.
const FILLED: &str = "filled";
const FETCH_BYTES: i32 = 55 << 20;
const BATCH_BYTES: usize = 500_000;
/// How long everything is held up at once: longer than the 5 s after which a stopped reader may be closed.
const ATTACK: Duration = Duration::from_secs(7);
/// How long the good clients work before that.
const QUIET: Duration = Duration::from_secs(4);
/// How long large batches are appended while everything is held up.
const FILLING: Duration = Duration::from_secs(5);
/// A stopped reader asks again after this long, or comes back when it was closed; so does half a frame that was closed.
const COMES_BACK_AFTER: Duration = Duration::from_secs(1);
/// Half frames that come back in one round: 10 MiB/s of them.
const HALVES_BACK_PER_ROUND: usize = 2;
/// Time between two looks at all hostile connections.
const ROUND: Duration = Duration::from_millis(100);
/// What a process is allowed beyond its budget.
const SLACK_BYTES: u64 = 64 << 20;
/// Descriptors of the test besides those of its idle and hostile connections.
const SPARE_FILES: u64 = 200;

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

    let (_place, mut broker) = start(scenario.memory_bytes);
    let mut filler = broker.client();
    assert_eq!(filler.create_topic(FILLED, PARTITIONS), 0);
    let mut good = [Good::new(&broker, "good-a"), Good::new(&broker, "good-b")];
    fill(&mut filler, scenario.batches, Instant::now() + PATIENCE);
    let before = Times::of(work(&mut good, Instant::now() + QUIET));
    println!("filled: VmHWM {} MiB", broker.memory_peak_bytes() >> 20);

    let idle: Vec<TcpStream> = (0..IDLE_CONNECTIONS).map(|_| broker.connect()).collect();
    println!("{IDLE_CONNECTIONS} idle connections: VmHWM {} MiB", broker.memory_peak_bytes() >> 20);

    let (attacking, stands) = (AtomicBool::new(true), AtomicBool::new(false));
    let (setting_up, during, halves_closed) = std::thread::scope(|scope| {
        let (address, attacking, stands) = (broker.address, &attacking, &stands);
        let until_dropped = Over(attacking);
        let attack = scope.spawn(move || attack(address, scenario, attacking, stands));
        let (begun, given_up) = (Instant::now(), Instant::now() + PATIENCE);
        let mut setting_up = Vec::new();
        while !stands.load(Ordering::Relaxed) || setting_up.len() < 20 {
            assert!(Instant::now() < given_up, "the attack does not get to stand");
            setting_up.extend(work(&mut good, Instant::now() + ROUND));
        }
        println!("the attack stands after {} ms", begun.elapsed().as_millis());
        let during = work(&mut good, Instant::now() + ATTACK);
        println!("half frames and stopped readers: VmHWM {} MiB", broker.memory_peak_bytes() >> 20);
        // What the readers hold is no longer what the tail caches hold.
        let appended = fill(&mut filler, scenario.batches, Instant::now() + FILLING);
        println!("{appended} large batches appended meanwhile");
        drop(until_dropped);
        (Times::of(setting_up), Times::of(during), attack.join().expect("an attack"))
    });
    for mut stream in idle.into_iter().step_by(100) {
        stream.write_all(&framed(18, 0, false, 1, &[])).expect("an idle connection stays open");
        assert!(response(&mut stream).is_some(), "an idle connection is served");
    }
    let readers_closed = broker.log().matches("has taken nothing of its reply").count();
    println!("closed: {halves_closed} half frames, {readers_closed} readers");
    println!(
        "produce and fetch: {before} before, {setting_up} while the attack sets up, {during} while it stands"
    );
    assert!(halves_closed > 0, "the half frames never filled the share of partial frames");
    assert!(readers_closed > 0, "the stopped readers never filled the share of replies");
    check(&mut broker, scenario.memory_bytes);
}

/// Ends the attack, also when a client did not get its answer.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Holds up what it can until told to stop, and says when everything stands: every half frame has sent its half or was closed for it, and every
/// reader has asked. Returns how many half frames the broker closed.
fn attack(broker: SocketAddr, scenario: &Scenario, attacking: &AtomicBool, stands: &AtomicBool) -> usize {
    let mut half = Vec::with_capacity(4 + HALF_FRAME_SENT_BYTES);
    half.extend_from_slice(&(scenario.announced_bytes as u32).to_be_bytes());
    half.resize(4 + HALF_FRAME_SENT_BYTES, 0);
    // Some of the oldest batches, which only the disk has, and some of the newest that were there before.
    let fetches = [fetch_of_everything(0), fetch_of_everything(scenario.batches as i64 - 1)];
    let mut halves: Vec<Hostile<'_>> = (0..HALF_FRAMES).map(|_| Hostile::new(broker, &half)).collect();
    let mut readers: Vec<Hostile<'_>> =
        (0..STOPPED_READERS).map(|at| Hostile::new(broker, &fetches[at % 2])).collect();
    let mut closed = 0;
    while attacking.load(Ordering::Relaxed) {
        let mut back = 0;
        for half in &mut halves {
            half.go_on();
            let comes_back = half.is_closed && half.since.elapsed() >= COMES_BACK_AFTER;
            if comes_back && back < HALVES_BACK_PER_ROUND && stands.load(Ordering::Relaxed) {
                (back, closed) = (back + 1, closed + 1);
                half.come_back(broker);
            }
        }
        readers.iter_mut().for_each(Hostile::go_on);
        if halves.iter().chain(&readers).all(Hostile::stands) {
            stands.store(true, Ordering::Relaxed);
        }
        for reader in &mut readers {
            reader.come_back(broker);
        }
        std::thread::sleep(ROUND);
    }
    closed + halves.iter().filter(|half| half.is_closed).count()
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
    fn new(broker: SocketAddr, sends: &'a [u8]) -> Self {
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

    /// Has sent what it will, or was closed for it.
    fn stands(&self) -> bool {
        self.is_closed || self.sent == self.sends.len()
    }

    /// Asks once more, which is how a reader that reads nothing learns that it was closed; if it was, a new one takes its place.
    fn come_back(&mut self, broker: SocketAddr) {
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

fn unblocked(broker: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&broker, PATIENCE).expect("the broker accepts");
    stream.set_nonblocking(true).expect("not blocking");
    stream
}

/// Runs each client in a thread of its own until then; returns how long each produce and fetch took.
fn work(clients: &mut [Good], until: Instant) -> Vec<Duration> {
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

/// How long the good clients' produces and fetches took.
struct Times {
    count: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let count = times.len();
        assert!(count >= 20, "only {count} answers");
        Self { count, p50: times[count / 2], p99: times[count * 99 / 100], max: times[count - 1] }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = [self.p50, self.p99, self.max].map(|time| time.as_micros());
        write!(f, "p50 {} us p99 {} us max {} us of {}", us[0], us[1], us[2], self.count)
    }
}

/// A broker that waits for half a frame for longer than the test takes, and the directory it lives in.
fn start(memory_bytes: u64) -> (Place, Broker) {
    let place = Place::new();
    let start = Start::in_dir(&place.join("data"))
        .set("corelog.memory.bytes", memory_bytes)
        .set("corelog.frame.timeout.ms", 600_000);
    (place, start.ready())
}

/// The broker is alive, within its memory, and it never panicked.
fn check(broker: &mut Broker, memory_bytes: u64) {
    let log = broker.log();
    assert!(broker.runs(), "the broker ended: {log}");
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains("announced a length"), "the half frames were refused at once: {log}");
    let peak = broker.memory_peak_bytes();
    println!("VmHWM {} MiB of {} + {}", peak >> 20, memory_bytes >> 20, SLACK_BYTES >> 20);
    assert!(peak <= memory_bytes + SLACK_BYTES, "{peak} bytes");
}

/// A client like any other, with a topic of its own.
struct Good {
    client: Client,
    topic: &'static str,
    written: i64,
}

impl Good {
    fn new(broker: &Broker, topic: &'static str) -> Self {
        let mut client = broker.client();
        assert_eq!(client.create_topic(topic, 1), 0);
        Self { client, topic, written: 0 }
    }

    /// Writes a record, reads it back.
    fn works(&mut self) {
        let batch = BatchBuilder::new().record(1, None, Some(&[b'f'; 1_000])).build();
        assert_eq!(self.client.produce(self.topic, 0, batch), (0, self.written));
        let fetched = self.client.fetch(self.topic, 0, self.written, 5_000);
        self.written += 1;
        assert_eq!((fetched.error_code, fetched.high_watermark), (0, self.written));
        assert!(fetched.records.is_some_and(|records| records.ends_with(b"fff\0")));
    }
}

/// Appends `batches` batches to each partition, one after the other, as far as it gets until then. Returns how many there are.
fn fill(client: &mut Client, batches: usize, until: Instant) -> usize {
    let batch = BatchBuilder::new().record(1, None, Some(&vec![7; BATCH_BYTES])).build();
    let mut appended = 0;
    for partition in (0..batches).flat_map(|_| 0..PARTITIONS) {
        if Instant::now() > until {
            break;
        }
        let (error, _) = client.produce(FILLED, partition, batch.clone());
        assert_eq!(error, 0);
        appended += 1;
    }
    appended
}

/// A fetch of as much as can be had of every partition from `offset` on.
fn fetch_of_everything(offset: i64) -> Vec<u8> {
    let partitions = (0..PARTITIONS).map(|partition| {
        FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(FETCH_BYTES)
    });
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str(FILLED)))
        .with_partitions(partitions.collect());
    let request = FetchRequest::default()
        .with_max_wait_ms(5_000)
        .with_min_bytes(1)
        .with_max_bytes(FETCH_BYTES)
        .with_topics(vec![topic]);
    let mut body = BytesMut::new();
    request.encode(&mut body, 11).expect("a request");
    framed(1, 11, false, 1, &body)
}
