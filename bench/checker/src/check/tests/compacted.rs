//! Compacted topics: what may be away, and what is lost or came back.

use super::{Folder, STRICT, digest, expect, judged, store, topic};
use crate::check::{Fault, Report, verify};
use crate::history::{Event, Key, Timed};

/// Tombstones are kept for so long, in milliseconds and on the clock of the events.
const RETENTION_MS: u64 = 10;
const RETENTION: u64 = 10_000_000;

/// A writer that sends one record each tick to one partition, and passes over it.
struct Story {
    written: Vec<Timed>,
    passes: Vec<Timed>,
    next: u64,
}

const A: u64 = 0xA;
const B: u64 = 0xB;

impl Story {
    fn new() -> Self {
        let compacted = Event::Compacted { topic: 0, delete_retention_ms: RETENTION_MS };
        let written = [topic(), compacted].map(|event| Timed { at: 0, event }).to_vec();
        let passes = vec![Timed { at: 0, event: topic() }];
        Self { written, passes, next: 0 }
    }

    fn invoked(mut self, at: u64, key: u64, tombstone: bool) -> Self {
        let sequence = self.next;
        self.next += 1;
        let key = Some(Key { digest: key, tombstone });
        let digest = digest(sequence);
        let event =
            Event::Invoked { writer: 7, sequence, topic: 0, partition: 0, digest, promises: STRICT, key };
        self.written.push(Timed { at, event });
        self
    }

    /// At the offset that is its number.
    fn acknowledged(mut self, at: u64) -> Self {
        let sequence = self.next - 1;
        let offset = sequence as i64;
        let event = Event::Acknowledged { writer: 7, sequence, topic: 0, partition: 0, offset };
        self.written.push(Timed { at, event });
        self
    }

    fn value(self, at: u64, key: u64) -> Self {
        self.invoked(at, key, false).acknowledged(at)
    }

    fn tombstone(self, at: u64, key: u64) -> Self {
        self.invoked(at, key, true).acknowledged(at)
    }

    /// A pass over all offsets below `to` that finds these.
    fn pass(mut self, complete: bool, times: (u64, u64), to: i64, found: &[i64]) -> Self {
        let pass = self.passes.len() as u32;
        let mut note = |at, event| self.passes.push(Timed { at, event });
        note(times.0, Event::PassBegins { pass, complete, group: None });
        for offset in found {
            let digest = digest(*offset as u64);
            note(times.0, Event::Consumed { pass, topic: 0, partition: 0, offset: *offset, digest });
        }
        note(times.1, Event::Scope { pass, topic: 0, partition: 0, from: 0, to });
        self
    }

    fn finally(self, at: u64, to: i64, found: &[i64]) -> Report {
        self.pass(true, (at, at + 1), to, found).verdict()
    }

    fn verdict(self) -> Report {
        judged(&[self.written, self.passes]).unwrap()
    }
}

/// a, b, a, b, b: the values at 2 and 4 are the newest.
fn five() -> Story {
    Story::new().value(1, A).value(2, B).value(3, A).value(4, B).value(5, B)
}

#[test]
fn what_was_superseded_may_be_there_or_not() {
    for found in [&[0, 1, 2, 3, 4][..], &[2, 4], &[1, 2, 4]] {
        let report = five().finally(10, 5, found);
        expect(&report, &[]);
        assert_eq!(report.compacted_away, 5 - found.len() as u64);
    }
}

#[test]
fn a_key_without_its_newest_record_is_forgotten() {
    expect(&five().finally(10, 5, &[4]), &[(Fault::Forgotten, 1)]);
    expect(&five().finally(10, 5, &[]), &[(Fault::Forgotten, 2)]);
}

#[test]
fn an_older_value_in_place_of_the_newest_is_resurrected() {
    expect(&five().finally(10, 5, &[0, 4]), &[(Fault::Resurrected, 1)]);
    expect(&five().finally(10, 5, &[2, 3]), &[(Fault::Resurrected, 1)]);
}

#[test]
fn a_newer_record_whose_fate_is_unknown_may_be_there_or_not() {
    let story = || five().invoked(6, A, false);
    expect(&story().finally(10, 6, &[2, 4, 5]), &[]);
    expect(&story().finally(10, 6, &[4, 5]), &[]);
    expect(&story().finally(10, 5, &[2, 4]), &[]);
    // But it cannot have removed what it does not stand for.
    expect(&story().finally(10, 5, &[4]), &[(Fault::Forgotten, 1)]);
}

#[test]
fn a_tombstone_may_go_when_its_time_is_over_and_not_before() {
    let story = || five().tombstone(6, A);
    expect(&story().finally(10, 6, &[4, 5]), &[]);
    expect(&story().finally(10, 6, &[4]), &[(Fault::Forgotten, 1)]);
    expect(&story().finally(6 + RETENTION, 6, &[4]), &[]);
}

#[test]
fn a_value_does_not_come_back_behind_a_tombstone_however_old() {
    let story = || five().tombstone(6, A);
    expect(&story().finally(10, 6, &[2, 4]), &[(Fault::Resurrected, 1)]);
    expect(&story().finally(6 + 2 * RETENTION, 6, &[2, 4]), &[(Fault::Resurrected, 1)]);
}

#[test]
fn a_reader_slower_than_tombstones_are_kept_may_miss_one() {
    let story = five().tombstone(6, A).pass(true, (10, 10 + RETENTION), 6, &[2, 4]);
    expect(&story.verdict(), &[]);
}

#[test]
fn a_value_written_after_a_tombstone_is_the_newest() {
    let story = || five().tombstone(6, A).value(7, A);
    expect(&story().finally(10, 7, &[4, 6]), &[]);
    expect(&story().finally(10, 7, &[4, 5]), &[(Fault::Resurrected, 1)]);
}

#[test]
fn a_tombstone_whose_fate_is_unknown_may_have_taken_all_of_its_key() {
    let story = || five().invoked(6, A, true);
    expect(&story().finally(6 + RETENTION, 6, &[4]), &[]);
    expect(&story().finally(10, 6, &[4]), &[(Fault::Forgotten, 1)]);
    expect(&story().finally(6 + RETENTION, 6, &[0, 4]), &[(Fault::Resurrected, 1)]);
}

#[test]
fn a_pass_while_others_write_owes_what_was_acknowledged_before_it_began() {
    let sound = [2, 4];
    // The records at 3 and 4 were acknowledged after it began, and 1 is not superseded within its reach.
    let story = || five().pass(true, (20, 21), 5, &sound);
    expect(&story().pass(false, (4, 5), 4, &[1, 2, 3]).verdict(), &[]);
    expect(&story().pass(false, (4, 4), 3, &[1]).verdict(), &[(Fault::Forgotten, 1)]);
    // A later record of its key, which the pass did not reach, may have taken it away.
    expect(&story().pass(false, (4, 5), 3, &[2]).verdict(), &[]);
    // What was not acknowledged yet is not due.
    expect(&story().pass(false, (3, 4), 3, &[0, 1]).verdict(), &[]);
    expect(&story().pass(false, (4, 4), 3, &[0, 1]).verdict(), &[(Fault::Resurrected, 1)]);
    let report = story().pass(false, (8, 9), 5, &[1, 2, 4]).verdict();
    assert_eq!((report.compacted_passes, report.compacted_away_live, report.compacted_away), (1, 2, 3));
}

#[test]
fn a_record_that_survives_is_as_it_was_written_and_where() {
    let spoil = |change: fn(&mut Event)| {
        let mut story = five().pass(true, (10, 11), 5, &[2, 4]);
        story.passes.iter_mut().for_each(|timed| change(&mut timed.event));
        story.verdict()
    };
    let report = spoil(|event| {
        if let Event::Consumed { offset: 2, digest, .. } = event {
            *digest ^= 1;
        }
    });
    expect(&report, &[(Fault::Changed, 1), (Fault::Forgotten, 1)]);
    let report = spoil(|event| {
        if let Event::Consumed { offset: offset @ 2, .. } = event {
            *offset = 3;
        }
    });
    expect(&report, &[(Fault::Moved, 1)]);
}

#[test]
fn a_record_that_nobody_sent_is_invented() {
    let mut story = five().invoked(6, B, false).pass(true, (10, 11), 6, &[2, 4, 5]);
    for timed in &mut story.passes {
        if let Event::Consumed { offset: 5, digest, .. } = &mut timed.event {
            *digest ^= 1;
        }
    }
    expect(&story.verdict(), &[(Fault::Invented, 1)]);
}

#[test]
fn a_record_that_nobody_acknowledged_stays_where_it_was_seen_first() {
    let story = five().invoked(6, B, false).pass(false, (7, 8), 6, &[2, 4, 5]);
    let mut story = story.pass(true, (10, 11), 7, &[2, 5]);
    if let Some(Timed { event: Event::Consumed { offset, .. }, .. }) = story.passes.iter_mut().rev().nth(1) {
        *offset = 6;
    }
    expect(&story.verdict(), &[(Fault::Moved, 1)]);
}

#[test]
fn what_is_left_is_in_the_order_in_which_it_was_sent() {
    let mut story = five();
    // Nobody knows where these went, so that only the order can show it.
    story.written.retain(|timed| !matches!(timed.event, Event::Acknowledged { .. }));
    let mut story = story.pass(true, (10, 11), 5, &[2, 4]);
    for timed in &mut story.passes {
        if let Event::Consumed { offset, digest: found, .. } = &mut timed.event {
            *found = digest(if *offset == 2 { 4 } else { 2 });
        }
    }
    expect(&story.verdict(), &[(Fault::Reordered, 1)]);
}

#[test]
fn every_fault_that_plant_puts_into_a_writer_of_a_compacted_topic_is_found() {
    use crate::plant;
    let story = five().pass(true, (10, 11), 5, &[2, 4]);
    let folder = Folder::new();
    let sent = store(&folder, "sent", &story.written);
    let seen = store(&folder, "seen", &story.passes);
    let spoilt = folder.0.join("spoilt");
    for (planted, found) in
        [(plant::Fault::Forgotten, Fault::Forgotten), (plant::Fault::Resurrected, Fault::Resurrected)]
    {
        plant::plant(planted, &sent, &spoilt).unwrap();
        expect(&verify(&[spoilt.clone(), seen.clone()]).unwrap(), &[(found, 1)]);
        let error = plant::plant(planted, &seen, &spoilt).unwrap_err();
        assert!(error.to_string().contains("cannot be spoilt so"), "{error}");
    }
}
