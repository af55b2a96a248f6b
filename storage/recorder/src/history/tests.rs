//! The layout is the checker's; that the checker reads it is seen at every power cut.

use super::{Event, MAGIC, Recorded, encode, write_pass};
use crate::scratch::Scratch;

#[test]
fn an_event_is_forty_bytes_in_the_checkers_order() {
    let mut bytes = Vec::new();
    let event = Event::Acknowledged { writer: 0x01020304, sequence: 7, topic: 9, partition: 3, offset: -2 };
    encode(&[event], &mut bytes);
    let expected = [
        &[2, 0, 9, 0, 3, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0][..],
        &7_u64.to_le_bytes(),
        &(-2_i64).to_le_bytes(),
        &[0; 8],
    ]
    .concat();
    assert_eq!(bytes, expected);
}

#[test]
fn a_topic_is_followed_by_its_name() {
    let mut bytes = Vec::new();
    encode(&[Event::Topic { name: "abc" }], &mut bytes);
    assert_eq!((bytes[0], bytes[16], &bytes[40..]), (0, 3, &b"abc"[..]));
}

#[test]
fn a_readers_history_starts_with_the_magic_and_a_recorded_one_does_not() {
    let scratch = Scratch::new();
    write_pass(&scratch.path("read"), "t", &[]).unwrap();
    assert!(std::fs::read(scratch.path("read")).unwrap().starts_with(&MAGIC));
    std::fs::write(scratch.path("recorded"), b"").unwrap();
    let recorded = Recorded::open(&scratch.path("recorded")).unwrap();
    recorded.append(&[Event::Topic { name: "t" }]).unwrap();
    assert_eq!(std::fs::read(scratch.path("recorded")).unwrap().len(), 41);
}

#[test]
fn more_than_one_write_can_hold_is_refused() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("recorded"), b"").unwrap();
    let recorded = Recorded::open(&scratch.path("recorded")).unwrap();
    let event = Event::Consumed { partition: 0, offset: 0, digest: 0 };
    assert!(recorded.append(&[event; 1638]).is_ok());
    assert!(recorded.append(&[event; 1639]).is_err());
}
