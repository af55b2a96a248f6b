//! Connections against a socket whose other end answers rightly, wrongly, or not at all: what a run must notice.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::load::{Plan, Schedule, WarmupArgs};
use crate::produce::connection::{Connection, Shared, Spread};
use crate::produce::{Clock, Load, Outcome, ProduceLoad, Tally, load};

/// How the other end behaves from the request with this number on; it is right before that.
#[derive(Debug, Clone, Copy)]
enum Behaviour {
    AlwaysRight,
    OffsetsRepeat(usize),
    Error(usize, i16),
    Closes(usize),
    SkipsAReply(usize),
    NoReplies,
}

/// A reply for partition 2 of the topic, as in the tests beside this one.
fn answer(correlation: i32, base_offset: i64, error_code: i16) -> BytesMut {
    let mut frame = reply(error_code, None);
    frame[4..8].copy_from_slice(&correlation.to_be_bytes());
    let known = 123_456_i64.to_be_bytes();
    let at = frame.windows(8).position(|window| window == known).unwrap();
    frame[at..at + 8].copy_from_slice(&base_offset.to_be_bytes());
    frame
}

/// Answers until the connection is closed. Returns how many requests came.
fn serve(listener: &TcpListener, behaviour: Behaviour) -> usize {
    let (mut socket, _) = listener.accept().unwrap();
    let mut count = 0;
    loop {
        let mut len = [0; 4];
        if socket.read_exact(&mut len).is_err() {
            return count;
        }
        let mut request = vec![0; i32::from_be_bytes(len) as usize];
        socket.read_exact(&mut request).unwrap();
        let correlation = i32::from_be_bytes(request[4..8].try_into().unwrap());
        let base_offset = 10 * count as i64;
        let reply = match behaviour {
            Behaviour::NoReplies => None,
            Behaviour::Closes(from) if count >= from => return count,
            Behaviour::SkipsAReply(from) if count == from => None,
            Behaviour::OffsetsRepeat(from) if count >= from => Some(answer(correlation, base_offset - 1, 0)),
            Behaviour::Error(from, code) if count >= from => Some(answer(correlation, -1, code)),
            _ => Some(answer(correlation, base_offset, 0)),
        };
        count += 1;
        // The generator may have given up meanwhile: then the next read ends it.
        if let Some(reply) = reply {
            let _ = socket.write_all(&reply);
        }
    }
}

fn peer(behaviour: Behaviour) -> (TcpStream, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    (socket, std::thread::spawn(move || serve(&listener, behaviour)))
}

/// One connection, pinned to partition 2 of 3, with room for 8 requests.
fn load_on(socket: TcpStream, schedule: Option<Schedule>, replies: bool) -> ProduceLoad {
    let shared = Shared {
        frames: frames(3, Compression::None),
        partitions: 3,
        in_flight_max: 8,
        spread: Spread::Pinned,
        replies,
        acknowledged: vec![0; 3],
    };
    ProduceLoad { shared, connections: vec![Connection::new(socket, 2, 3, schedule, None)] }
}

/// A short run. Returns its outcome, the records that it believes acknowledged, and the requests that came.
fn run_against(behaviour: Behaviour, replies: bool) -> (anyhow::Result<Outcome>, u64, usize) {
    let (socket, server) = peer(behaviour);
    let mut load = load_on(socket, None, replies);
    let plan = Plan {
        warmup: WarmupArgs { warmup_s: 0, warmup_stable_percent: None, warmup_s_max: 0 },
        duration: Duration::from_millis(400),
        broker_pid: Some(std::process::id()),
        label: "test",
    };
    let outcome = load::drive(&mut load, &plan, &Clock::start(), &mut Tally::new());
    let acknowledged = load.shared.acknowledged.iter().sum();
    drop(load);
    (outcome, acknowledged, server.join().unwrap())
}

fn error_of(behaviour: Behaviour) -> String {
    run_against(behaviour, true).0.unwrap_err().to_string()
}

#[test]
fn all_that_was_acknowledged_is_counted_and_nothing_is_left_in_flight() {
    let (outcome, acknowledged, requests) = run_against(Behaviour::AlwaysRight, true);
    let outcome = outcome.unwrap();
    assert_eq!(acknowledged, 10 * requests as u64);
    assert!(outcome.window.records > 0 && outcome.window.records <= acknowledged);
    assert_eq!((outcome.unanswered, outcome.errors.len()), (0, 0));
    assert!(outcome.latency.count > 0 && outcome.latency.p50_us > 0.0);
    assert!(outcome.broker.unwrap().memory.resident_bytes > 0);
}

#[test]
fn without_replies_a_request_counts_when_the_socket_has_it() {
    let (outcome, acknowledged, requests) = run_against(Behaviour::NoReplies, false);
    assert!(outcome.unwrap().window.records > 0);
    assert_eq!(acknowledged, 10 * requests as u64);
}

#[test]
fn a_base_offset_that_was_given_before_ends_the_run() {
    let error = error_of(Behaviour::OffsetsRepeat(20));
    assert!(error.contains("partition 2 gave base offset 199"), "{error}");
}

#[test]
fn a_reply_that_is_left_out_ends_the_run() {
    let error = error_of(Behaviour::SkipsAReply(5));
    assert!(error.contains("where request 5 of partition 2 was next"), "{error}");
}

#[test]
fn a_broker_that_closes_the_connection_ends_the_run() {
    let error = error_of(Behaviour::Closes(30));
    assert!(error.contains("connection 2"), "{error}");
}

#[test]
fn failed_requests_are_told_and_not_counted_as_acknowledged() {
    let error = error_of(Behaviour::Error(0, 87));
    assert!(error.contains("87"), "{error}");
    let (_, acknowledged, _) = run_against(Behaviour::Error(3, 87), true);
    assert_eq!(acknowledged, 30);
}

#[test]
fn no_more_than_the_window_is_in_flight() {
    let (socket, server) = peer(Behaviour::NoReplies);
    let mut load = load_on(socket, None, true);
    let (clock, mut tally) = (Clock::start(), Tally::new());
    for _ in 0..5 {
        load.turn(0, false, &clock, &mut tally).unwrap();
        assert_eq!(load.outstanding(), 8);
    }
    drop(load);
    assert_eq!(server.join().unwrap(), 8);
}

#[test]
fn an_open_loop_sends_what_is_due_and_says_when_the_next_one_is() {
    let (socket, server) = peer(Behaviour::NoReplies);
    let clock = Clock::start();
    // One request every ten hours.
    let schedule = Schedule::new(0, 1, 36_000, 1, 0);
    let mut load = load_on(socket, Some(schedule), true);
    for _ in 0..3 {
        load.turn(0, false, &clock, &mut Tally::new()).unwrap();
        assert_eq!(load.outstanding(), 1);
        assert_eq!(load.due_ns(), Some(36_000_000_000_000));
    }
    load.stop();
    assert_eq!(load.due_ns(), None);
    drop(load);
    assert_eq!(server.join().unwrap(), 1);
}
