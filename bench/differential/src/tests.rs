//! The harness must be able to fail: brokers made up for the test, one of which is wrong in one planted way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bytes::BytesMut;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataResponse, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::allowed::{Allowed, Field};
use crate::report::Report;
use crate::run::Pair;
use crate::script::{Request, Script, Step};

const VERSION: i16 = 8;

/// What a made-up broker does with a frame.
#[derive(Clone, Copy)]
enum Habit {
    /// Answers with this error of the topic.
    Answer(i16),
    /// Answers, and then some.
    TrailingByte,
    /// Closes the connection.
    Close,
    /// Answers what needs no answer: the probe behind it.
    ProbeOnly,
}

/// Serves every connection by the same habit until the test ends.
fn broker(habit: Habit) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream, habit));
        }
    });
    address
}

fn serve(mut stream: TcpStream, habit: Habit) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame).expect("a frame");
        let is_probe = frame.starts_with(&[0, 18]);
        let correlation_id = &frame[4..8];
        let reply = match habit {
            _ if is_probe => b"any".to_vec(),
            Habit::ProbeOnly => continue,
            Habit::Close => return,
            Habit::Answer(code) => metadata(code),
            Habit::TrailingByte => [metadata(0), vec![0]].concat(),
        };
        let reply = [correlation_id, &reply].concat();
        stream.write_all(&(reply.len() as u32).to_be_bytes()).expect("written");
        stream.write_all(&reply).expect("written");
    }
}

fn metadata(code: i16) -> Vec<u8> {
    let topic = MetadataResponseTopic::default()
        .with_error_code(code)
        .with_name(Some(TopicName(StrBytes::from_static_str("orders"))));
    let mut body = BytesMut::new();
    MetadataResponse::default().with_topics(vec![topic]).encode(&mut body, VERSION).expect("a response");
    body.to_vec()
}

fn request() -> Request {
    let frame =
        [&3_i16.to_be_bytes()[..], &VERSION.to_be_bytes(), &7_i32.to_be_bytes(), b"whatever"].concat();
    Request::new(3, VERSION, 7, frame, "metadata".to_owned())
}

fn allow(fields: Vec<Field>) -> Allowed {
    Allowed { unordered: Vec::new(), fields }
}

/// One frame to two brokers of these habits.
fn report(kafka: Habit, corelog: Habit, request: Request, allowed: &Allowed) -> Report {
    let mut pair = Pair::connect(broker(kafka), broker(corelog), allowed.clone()).expect("two brokers");
    let mut report = Report::new(allowed.clone());
    let script = Script {
        family: "planted",
        seed: 5,
        pinned: None,
        steps: vec![Step::Send(request.clone()), Step::Send(request)],
    };
    pair.run(&script, false, &mut report).expect("a run");
    report
}

#[test]
fn equal_brokers_have_no_differences() {
    let report = report(Habit::Answer(3), Habit::Answer(3), request(), &allow(Vec::new()));
    assert_eq!((report.requests(), report.differing()), (2, 0));
}

#[test]
fn a_reply_that_is_wrong_in_one_field_is_found_and_shown() {
    let report = report(Habit::Answer(3), Habit::Answer(5), request(), &allow(Vec::new()));
    assert_eq!(report.differing(), 2);
    let shown = report.differences().expect("a text");
    assert!(shown.contains("topics[].error_code") && shown.contains("--seed 5"), "{shown}");
}

#[test]
fn a_close_in_the_place_of_a_reply_is_found_either_way() {
    let close = report(Habit::Answer(0), Habit::Close, request(), &allow(Vec::new()));
    assert_eq!(close.differing(), 2);
    let missing = report(Habit::Close, Habit::Answer(0), request(), &allow(Vec::new()));
    assert_eq!(missing.differing(), 2);
}

#[test]
fn a_byte_after_the_last_field_is_found() {
    let report = report(Habit::Answer(0), Habit::TrailingByte, request(), &allow(Vec::new()));
    assert_eq!(report.differing(), 2);
}

#[test]
fn an_answer_where_none_is_due_is_found() {
    let mut quiet = request();
    quiet.expects_reply = false;
    let equal = report(Habit::ProbeOnly, Habit::ProbeOnly, quiet.clone(), &allow(Vec::new()));
    assert_eq!(equal.differing(), 0);
    let answered = report(Habit::ProbeOnly, Habit::Answer(0), quiet.clone(), &allow(Vec::new()));
    assert_eq!(answered.differing(), 2);
    let closed = report(Habit::ProbeOnly, Habit::Close, quiet, &allow(Vec::new()));
    assert_eq!(closed.differing(), 2);
}

#[test]
fn a_difference_is_allowed_for_its_values_alone_and_an_unused_allowance_is_stale() {
    let field = |corelog: &str| Field {
        api: Some(3),
        versions: Some((0, 13)),
        path: "topics[*].error_code".to_owned(),
        kafka: Some("3".to_owned()),
        corelog: Some(corelog.to_owned()),
        reason: "planted".to_owned(),
    };
    let list = allow(vec![field("5")]);
    let allowed = report(Habit::Answer(3), Habit::Answer(5), request(), &list);
    assert_eq!((allowed.differing(), allowed.stale().len()), (0, 0));
    let other = report(Habit::Answer(3), Habit::Answer(6), request(), &list);
    assert_eq!((other.differing(), other.stale().len()), (2, 1));
}

#[test]
fn every_api_that_can_be_served_has_a_generator() {
    for shape in corelog::api::shape::SHAPES {
        let found = crate::generate::FAMILIES.iter().any(|family| family.apis.contains(&shape.key));
        assert!(found, "{} (key {}) has no generator", shape.name, shape.key);
    }
}
