//! A faultless history passes; each kind of fault, planted in it, is found and called by its name.

mod compacted;
mod groups;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Fault, Report, verify};
use crate::history::{Event, Timed, Writer, promise};

/// Records of the faultless history, over two partitions.
const RECORDS: u64 = 40;

fn digest(sequence: u64) -> u64 {
    0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(sequence + 1)
}

fn topic() -> Event {
    Event::Topic { name: "t".into() }
}

/// One writer, alternating between two partitions, all acknowledged.
fn written(promises: u8) -> Vec<Event> {
    let mut events = vec![topic()];
    for sequence in 0..RECORDS {
        let partition = (sequence % 2) as u32;
        events.push(Event::Invoked {
            writer: 7,
            sequence,
            topic: 0,
            partition,
            digest: digest(sequence),
            promises,
            key: None,
        });
    }
    for sequence in 0..RECORDS {
        let (partition, offset) = ((sequence % 2) as u32, (sequence / 2) as i64);
        events.push(Event::Acknowledged { writer: 7, sequence, topic: 0, partition, offset });
    }
    events
}

fn scope(pass: u32, partition: u32, to: i64) -> Event {
    Event::Scope { pass, topic: 0, partition, from: 0, to }
}

fn consumed(pass: u32, partition: u32, offset: i64, digest: u64) -> Event {
    Event::Consumed { pass, topic: 0, partition, offset, digest }
}

/// A pass over both partitions that finds everything.
fn read(pass: u32, complete: bool) -> Vec<Event> {
    let end = (RECORDS / 2) as i64;
    let mut events = vec![
        topic(),
        Event::PassBegins { pass, complete, group: None },
        scope(pass, 0, end),
        scope(pass, 1, end),
    ];
    for sequence in 0..RECORDS {
        events.push(consumed(pass, (sequence % 2) as u32, (sequence / 2) as i64, digest(sequence)));
    }
    events
}

/// Index of the record with this sequence among the events of [`read`].
fn at(sequence: usize) -> usize {
    4 + sequence
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("corelog-checker-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Events in histories that keep no time.
fn untimed(events: Vec<Event>) -> Vec<Timed> {
    events.into_iter().map(|event| Timed { at: 0, event }).collect()
}

/// Writes a history into the folder.
fn store(folder: &Folder, name: &str, events: &[Timed]) -> PathBuf {
    let path = folder.0.join(name);
    let mut writer = Writer::create(&path).unwrap();
    events.iter().for_each(|event| writer.write(event).unwrap());
    writer.finish().unwrap();
    path
}

fn judged(histories: &[Vec<Timed>]) -> anyhow::Result<Report> {
    let folder = Folder::new();
    let paths: Vec<_> =
        (0..).zip(histories).map(|(n, events)| store(&folder, &format!("{n}"), events)).collect();
    verify(&paths)
}

fn try_verdict(histories: &[Vec<Event>]) -> anyhow::Result<Report> {
    judged(&histories.iter().cloned().map(untimed).collect::<Vec<_>>())
}

fn verdict(histories: &[Vec<Event>]) -> Report {
    try_verdict(histories).unwrap()
}

/// Exactly these faults, with these counts, and no other.
fn expect(report: &Report, expected: &[(Fault, u64)]) {
    for fault in Fault::ALL {
        let count = expected.iter().find(|(of, _)| *of == fault).map_or(0, |(_, count)| *count);
        assert_eq!(report.count(fault), count, "{fault:?} in\n{report}");
    }
}

const STRICT: u8 = promise::ONCE | promise::ORDERED;

#[test]
fn a_faultless_history_passes() {
    let report = verdict(&[written(STRICT), read(1, true), read(2, false), read(3, true)]);
    expect(&report, &[]);
    assert_eq!((report.invoked, report.acknowledged, report.consumed), (RECORDS, RECORDS, 3 * RECORDS));
}

#[test]
fn a_lost_record_is_found_in_the_middle_and_at_the_end() {
    let mut events = read(1, true);
    events.remove(at(11));
    expect(&verdict(&[written(STRICT), events]), &[(Fault::Lost, 1), (Fault::Missing, 1)]);

    let mut shorter = read(1, true);
    shorter.truncate(at(RECORDS as usize - 1));
    shorter[3] = scope(1, 1, (RECORDS / 2) as i64 - 1);
    expect(&verdict(&[written(STRICT), shorter]), &[(Fault::Lost, 1)]);
}

#[test]
fn a_partition_that_came_back_empty_is_all_lost() {
    let events = vec![
        topic(),
        Event::PassBegins { pass: 1, complete: true, group: None },
        scope(1, 0, 0),
        scope(1, 1, 0),
    ];
    expect(&verdict(&[written(STRICT), events]), &[(Fault::Lost, RECORDS)]);
}

#[test]
fn a_second_copy_is_a_fault_of_an_idempotent_writer_only() {
    let mut events = read(1, true);
    events[2] = scope(1, 0, (RECORDS / 2) as i64 + 1);
    events.push(consumed(1, 0, (RECORDS / 2) as i64, digest(4)));
    expect(&verdict(&[written(STRICT), events.clone()]), &[(Fault::Duplicated, 1)]);

    let plain = verdict(&[written(0), events]);
    expect(&plain, &[]);
    assert_eq!(plain.duplicates_allowed, 1);
}

#[test]
fn a_record_read_twice_in_one_pass_is_a_fault() {
    let mut events = read(1, true);
    events.insert(at(8), events[at(8)].clone());
    // The copy stands before its twin with a record of the other partition between: the same offset twice.
    expect(&verdict(&[written(0), events]), &[(Fault::Duplicated, 1)]);
}

#[test]
fn offsets_that_go_back_within_a_pass_are_a_fault() {
    let mut live = read(2, false);
    live.swap(at(10), at(12));
    expect(&verdict(&[written(STRICT), read(1, true), live]), &[(Fault::Reordered, 1)]);
}

#[test]
fn an_unacknowledged_pair_in_the_wrong_order_is_found() {
    let mut sent = written(STRICT);
    // Without acknowledgements only the order of sending can show it.
    sent.retain(|event| !matches!(event, Event::Acknowledged { .. }));
    let mut events = read(1, true);
    events[at(10)] = consumed(1, 0, 5, digest(12));
    events[at(12)] = consumed(1, 0, 6, digest(10));
    expect(&verdict(&[sent.clone(), events.clone()]), &[(Fault::Reordered, 1)]);

    for event in &mut sent {
        if let Event::Invoked { promises, .. } = event {
            *promises = promise::ONCE;
        }
    }
    expect(&verdict(&[sent, events]), &[]);
}

#[test]
fn two_records_that_changed_places_are_moved_and_reordered() {
    let mut events = read(1, true);
    events[at(10)] = consumed(1, 0, 5, digest(12));
    events[at(12)] = consumed(1, 0, 6, digest(10));
    expect(&verdict(&[written(STRICT), events]), &[(Fault::Moved, 2), (Fault::Reordered, 1)]);
}

#[test]
fn a_changed_record_is_found() {
    let mut events = read(1, true);
    events[at(10)] = consumed(1, 0, 5, digest(10) ^ 1);
    expect(&verdict(&[written(STRICT), events]), &[(Fault::Changed, 1)]);
}

#[test]
fn an_invented_record_is_found() {
    let mut events = read(1, true);
    events[2] = scope(1, 0, (RECORDS / 2) as i64 + 1);
    events.push(consumed(1, 0, (RECORDS / 2) as i64, 0xBAD));
    expect(&verdict(&[written(STRICT), events]), &[(Fault::Invented, 1)]);
}

#[test]
fn a_record_in_another_partition_is_moved() {
    let mut events = read(1, true);
    events[3] = scope(1, 1, (RECORDS / 2) as i64 + 1);
    let last = RECORDS - 2;
    events.remove(at(last as usize));
    events[2] = scope(1, 0, (RECORDS / 2) as i64 - 1);
    events.push(consumed(1, 1, (RECORDS / 2) as i64, digest(last)));
    expect(&verdict(&[written(STRICT), events]), &[(Fault::Lost, 1), (Fault::Moved, 1)]);
}

#[test]
fn an_acknowledgement_for_another_partition_is_a_fault() {
    let mut sent = written(STRICT);
    let last = sent.len() - 1;
    sent[last] = Event::Acknowledged {
        writer: 7,
        sequence: RECORDS - 1,
        topic: 0,
        partition: 0,
        offset: (RECORDS / 2) as i64 - 1,
    };
    let report = verdict(&[sent, read(1, true)]);
    assert_eq!(report.count(Fault::Moved), 1, "{report}");
}

#[test]
fn what_a_consumer_has_seen_must_stay() {
    // Never acknowledged, but seen: a consumer may have acted on it.
    let mut sent = written(STRICT);
    sent.retain(|event| !matches!(event, Event::Acknowledged { sequence, .. } if *sequence == RECORDS - 1));
    let mut after = read(2, true);
    after.truncate(at(RECORDS as usize - 1));
    after[3] = scope(2, 1, (RECORDS / 2) as i64 - 1);
    expect(&verdict(&[sent, read(1, false), after]), &[(Fault::Disappeared, 1)]);
}

#[test]
fn an_unacknowledged_record_may_be_there_or_not() {
    let mut sent = written(STRICT);
    sent.retain(|event| !matches!(event, Event::Acknowledged { sequence, .. } if *sequence == RECORDS - 1));
    sent.push(Event::Failed { writer: 7, sequence: RECORDS - 1 });
    let mut without = read(1, true);
    without.truncate(at(RECORDS as usize - 1));
    without[3] = scope(1, 1, (RECORDS / 2) as i64 - 1);
    expect(&verdict(&[sent.clone(), without]), &[]);
    expect(&verdict(&[sent, read(1, true)]), &[]);
}

#[test]
fn histories_without_a_complete_pass_prove_nothing() {
    let error = try_verdict(&[written(STRICT), read(1, false)]).unwrap_err();
    assert!(error.to_string().contains("no complete pass"), "{error}");
}

#[test]
fn an_acknowledged_partition_that_nobody_read_is_not_judged() {
    let mut events = read(1, true);
    events.retain(|event| {
        !matches!(event, Event::Scope { partition: 1, .. } | Event::Consumed { partition: 1, .. })
    });
    let error = try_verdict(&[written(STRICT), events]).unwrap_err();
    assert!(error.to_string().contains("t-1"), "{error}");
}

#[test]
fn every_fault_that_plant_puts_into_a_complete_pass_is_found() {
    use crate::plant;
    let folder = Folder::new();
    let sent = store(&folder, "sent", &untimed(written(STRICT)));
    let seen = store(&folder, "seen", &untimed(read(1, true)));
    let spoilt = folder.0.join("spoilt");
    for (planted, found) in [
        (plant::Fault::Lost, Fault::Lost),
        (plant::Fault::Duplicated, Fault::Duplicated),
        (plant::Fault::Reordered, Fault::Reordered),
        (plant::Fault::Changed, Fault::Changed),
        (plant::Fault::Invented, Fault::Invented),
        (plant::Fault::Moved, Fault::Moved),
        (plant::Fault::Missing, Fault::Missing),
        (plant::Fault::Disappeared, Fault::Disappeared),
    ] {
        plant::plant(planted, &seen, &spoilt).unwrap();
        let report = verify(&[sent.clone(), spoilt.clone()]).unwrap();
        assert!(report.count(found) > 0, "{planted:?} not found in\n{report}");
    }
}

#[test]
fn a_workload_that_repeats_itself_is_refused() {
    let mut sent = written(STRICT);
    sent.push(Event::Invoked {
        writer: 8,
        sequence: 0,
        topic: 0,
        partition: 0,
        digest: digest(3),
        promises: 0,
        key: None,
    });
    let error = try_verdict(&[sent, read(1, true)]).unwrap_err();
    assert!(error.to_string().contains("unique"), "{error}");
}

#[test]
fn a_cut_history_is_refused() {
    let folder = Folder::new();
    let path = store(&folder, "cut", &untimed(written(STRICT)));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let error = format!("{:#}", verify(&[path]).unwrap_err());
    assert!(error.contains("has only 45 of 48 bytes"), "{error}");
}

/// The same events as version 01 has them: without time.
fn as_version_01(path: &PathBuf) {
    let bytes = std::fs::read(path).unwrap();
    let mut old = b"CLHIST01".to_vec();
    let mut rest = &bytes[8..];
    while !rest.is_empty() {
        let name = if rest[0] == 0 { usize::from(rest[16]) } else { 0 };
        old.extend_from_slice(&rest[..40]);
        old.extend_from_slice(&rest[48..48 + name]);
        rest = &rest[48 + name..];
    }
    std::fs::write(path, old).unwrap();
}

#[test]
fn a_history_of_version_01_is_read_and_judged_as_one_without_time() {
    let folder = Folder::new();
    let sent = store(&folder, "sent", &untimed(written(STRICT)));
    let mut events = read(1, true);
    events.remove(at(11));
    let seen = store(&folder, "seen", &untimed(events));
    as_version_01(&sent);
    as_version_01(&seen);
    expect(&verify(&[sent, seen]).unwrap(), &[(Fault::Lost, 1), (Fault::Missing, 1)]);
}

#[test]
fn an_event_that_version_01_did_not_know_is_refused_in_it() {
    let folder = Folder::new();
    let path = store(&folder, "killed", &untimed(vec![Event::Killed]));
    as_version_01(&path);
    let error = format!("{:#}", verify(&[path]).unwrap_err());
    assert!(error.contains("kind of event 11 in version 01"), "{error}");
}

#[test]
fn a_history_of_an_unknown_version_is_refused() {
    let folder = Folder::new();
    let path = store(&folder, "newer", &[]);
    std::fs::write(&path, b"CLHIST03").unwrap();
    let error = format!("{:#}", verify(&[path]).unwrap_err());
    assert!(error.contains("not a history of version 01 or 02"), "{error}");
}
