//! Committed offsets that go back, that nobody committed, and records that a group passed over.

use super::{Folder, RECORDS, STRICT, digest, expect, judged, read, store, topic, untimed, written};
use crate::check::committed::{Commit, Look, NONE, Outcome, Register};
use crate::check::{Fault, Report, verify};
use crate::history::{Event, Timed};

const END: i64 = (RECORDS / 2) as i64;

/// What a group did with partition 0, in the order of time.
#[derive(Default)]
struct Story {
    events: Vec<Timed>,
    commits: u64,
}

impl Story {
    /// Everything was delivered once.
    fn new() -> Self {
        let mut story = Self::default();
        story.note(0, topic());
        for event in read(9, false).into_iter().skip(4) {
            if story.events.len() == 1 {
                story.note(0, Event::PassBegins { pass: 9, complete: false, group: Some(3) });
            }
            story.note(0, event);
        }
        story
    }

    fn note(&mut self, at: u64, event: Event) {
        self.events.push(Timed { at, event });
    }

    fn invoked(mut self, at: u64, offset: i64) -> Self {
        let commit = self.commits;
        self.commits += 1;
        self.note(at, Event::CommitInvoked { group: 3, commit, topic: 0, partition: 0, offset });
        self
    }

    /// The commit that was invoked last, or one of those before it.
    fn acknowledged(mut self, at: u64, back: u64) -> Self {
        self.note(at, Event::CommitAcknowledged { group: 3, commit: self.commits - 1 - back });
        self
    }

    fn failed(mut self, at: u64) -> Self {
        self.note(at, Event::CommitFailed { group: 3, commit: self.commits - 1 });
        self
    }

    fn committed(self, at: u64, offset: i64) -> Self {
        self.invoked(at, offset).acknowledged(at + 5, 0)
    }

    fn seen(mut self, at: u64, offset: i64) -> Self {
        let asked = at;
        self.note(at + 5, Event::CommittedSeen { group: 3, topic: 0, partition: 0, offset, asked });
        self
    }

    fn killed(mut self, at: u64) -> Self {
        self.note(at, Event::Killed);
        self.note(at + 1, Event::Ready);
        self
    }

    fn verdict(self) -> Report {
        judged(&[untimed(written(STRICT)), untimed(read(1, true)), self.events]).unwrap()
    }

    fn expect(self, expected: &[(Fault, u64)]) {
        expect(&self.verdict(), expected);
    }
}

#[test]
fn a_group_that_sees_what_was_committed_is_faultless() {
    let report = Story::new()
        .seen(10, -1)
        .committed(20, 5)
        .seen(30, 5)
        .killed(40)
        .committed(50, END)
        .seen(60, END)
        .seen(70, END)
        .verdict();
    expect(&report, &[]);
    assert_eq!((report.commits, report.commits_acknowledged, report.looks, report.kills), (2, 2, 4, 1));
}

#[test]
fn an_acknowledged_commit_that_is_not_seen_is_rewound() {
    Story::new().committed(10, 5).committed(20, 9).seen(30, 5).expect(&[(Fault::Rewound, 1)]);
}

#[test]
fn a_committed_offset_that_is_gone_is_rewound() {
    Story::new().committed(10, 5).seen(30, -1).expect(&[(Fault::Rewound, 1)]);
}

#[test]
fn an_offset_that_was_seen_is_in_force_even_if_its_commit_was_never_acknowledged() {
    Story::new().committed(10, 5).invoked(20, 9).seen(30, 9).seen(40, 5).expect(&[(Fault::Rewound, 1)]);
}

#[test]
fn a_look_while_a_commit_is_under_way_may_see_it_or_not() {
    for offset in [5, 9] {
        Story::new().committed(10, 5).invoked(20, 9).seen(22, offset).acknowledged(30, 0).expect(&[]);
    }
}

#[test]
fn two_looks_while_a_commit_is_under_way_may_not_see_it_come_and_go() {
    let story = Story::new().committed(10, 5).invoked(20, 9).seen(22, 9);
    story.seen(30, 5).acknowledged(40, 0).expect(&[(Fault::Rewound, 1)]);
}

#[test]
fn a_commit_without_an_answer_may_be_seen_or_not() {
    for offset in [5, 9] {
        Story::new().committed(10, 5).invoked(20, 9).failed(30).seen(40, offset).expect(&[]);
        Story::new().committed(10, 5).invoked(20, 9).seen(40, offset).expect(&[]);
    }
}

#[test]
fn a_commit_without_an_answer_ends_with_the_broker_that_it_was_sent_to() {
    // It may still arrive behind a newer one, but not at a broker that was started later.
    let story = || Story::new().invoked(10, 5).failed(20);
    story().committed(30, 9).seen(40, 5).expect(&[]);
    story().killed(25).committed(30, 9).seen(40, 5).expect(&[(Fault::Rewound, 1)]);
    // The kill was before it was given up: that was another broker.
    Story::new().invoked(10, 5).killed(15).failed(20).committed(30, 9).seen(40, 5).expect(&[]);
}

#[test]
fn a_smaller_offset_is_no_fault_where_it_was_committed_later() {
    Story::new().committed(10, 9).committed(20, 5).seen(30, 5).expect(&[]);
    Story::new().committed(10, 9).committed(20, 5).seen(30, 9).expect(&[(Fault::Rewound, 1)]);
}

#[test]
fn two_commits_at_once_may_take_effect_in_either_order() {
    for offset in [5, 9] {
        let story = Story::new().invoked(10, 5).invoked(11, 9).acknowledged(20, 1).acknowledged(21, 0);
        story.seen(30, offset).seen(40, offset).expect(&[]);
    }
    let story = Story::new().invoked(10, 5).invoked(11, 9).acknowledged(20, 1).acknowledged(21, 0);
    // Either order, but one.
    story.seen(30, 5).seen(40, 9).expect(&[(Fault::Rewound, 1)]);
}

#[test]
fn an_offset_that_nobody_committed_or_only_later_is_found() {
    Story::new().committed(10, 5).seen(20, 6).expect(&[(Fault::Uncommitted, 1)]);
    Story::new().committed(10, 5).seen(20, 9).committed(30, 9).expect(&[(Fault::Uncommitted, 1)]);
}

#[test]
fn a_record_below_the_committed_offset_that_no_member_was_given_is_unseen() {
    let mut story = Story::new().committed(10, 5);
    story.events.retain(|timed| {
        !matches!(timed.event, Event::Consumed { partition: 0, offset, .. } if offset == 3 || offset == 5)
    });
    // Offset 5 is still to come.
    story.expect(&[(Fault::Unseen, 1)]);
}

#[test]
fn a_record_that_was_given_to_another_group_is_unseen_all_the_same() {
    let mut story = Story::new().committed(10, 2);
    for timed in &mut story.events {
        if let Event::PassBegins { group, .. } = &mut timed.event {
            *group = Some(4);
        }
    }
    story.expect(&[(Fault::Unseen, 2)]);
}

#[test]
fn a_member_that_is_given_a_partition_again_begins_a_pass_of_its_own() {
    let mut story = Story::new();
    story.note(1, Event::PassBegins { pass: 10, complete: false, group: Some(3) });
    story.note(1, Event::Consumed { pass: 10, topic: 0, partition: 0, offset: 0, digest: digest(0) });
    story.expect(&[]);
}

#[test]
fn a_partition_that_a_group_committed_and_nobody_read_is_not_judged() {
    let mut pass = read(1, true);
    pass.retain(|event| !matches!(event, Event::Scope { partition: 0, .. }));
    let mut sent = written(STRICT);
    sent.retain(|event| !matches!(event, Event::Acknowledged { partition: 0, .. }));
    let story = Story::new().committed(10, 5);
    let error = judged(&[untimed(sent), untimed(pass), story.events]).unwrap_err();
    assert!(error.to_string().contains("a group committed offsets of t-0"), "{error}");
}

#[test]
fn a_commit_with_a_number_that_another_one_has_is_refused() {
    let mut story = Story::new().committed(10, 5);
    story.commits = 0;
    let story = story.invoked(20, 6);
    let error = judged(&[untimed(written(STRICT)), untimed(read(1, true)), story.events]).unwrap_err();
    assert!(format!("{error:#}").contains("two commits with the number 0"), "{error:#}");
}

#[test]
fn every_fault_that_plant_puts_into_a_group_is_found() {
    use crate::plant;
    let folder = Folder::new();
    let sent = store(&folder, "sent", &untimed(written(STRICT)));
    let seen = store(&folder, "seen", &untimed(read(1, true)));
    let story = Story::new().committed(10, 5).killed(20).committed(30, END).seen(40, END);
    let group = store(&folder, "group", &story.events);
    let spoilt = folder.0.join("spoilt");
    for (planted, found) in [
        (plant::Fault::Unseen, Fault::Unseen),
        (plant::Fault::Rewound, Fault::Rewound),
        (plant::Fault::Uncommitted, Fault::Uncommitted),
    ] {
        plant::plant(planted, &group, &spoilt).unwrap();
        let report = verify(&[sent.clone(), seen.clone(), spoilt.clone()]).unwrap();
        expect(&report, &[(found, 1)]);
        let error = plant::plant(planted, &seen, &spoilt).unwrap_err();
        assert!(error.to_string().contains("cannot be spoilt so"), "{error}");
    }
}

/// Draws numbers below `end` from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A register that really is one: every commit takes effect at one moment or never, every look sees what is in force.
fn lawful(chance: &mut Chance) -> (Register, Vec<u64>) {
    let killed: Vec<u64> = (1..8).map(|n| n * 500 + chance.below(400)).collect();
    let mut register = Register::default();
    let mut in_force = NONE;
    for moment in (1..400).map(|n| n * 10) {
        let begins = moment - chance.below(40).min(moment - 1);
        let ends = moment + chance.below(40);
        if chance.below(2) == 0 {
            register.looks.push(Look { offset: in_force, asked_at: begins, answered_at: ends });
            continue;
        }
        let offset = chance.below(60) as i64;
        let late = killed.iter().any(|killed| (begins..=moment).contains(killed));
        let outcome = match chance.below(24) {
            0 => Outcome::Unknown,
            // Given up before it takes effect, which the same broker lives to see.
            1..3 if !late => Outcome::Failed { at: begins },
            1..5 => Outcome::Failed { at: ends },
            _ => Outcome::Acknowledged { at: ends },
        };
        register.commits.push(Commit { offset, invoked_at: begins, outcome });
        if matches!(outcome, Outcome::Acknowledged { .. }) || chance.below(2) == 0 {
            in_force = offset;
        }
    }
    (register, killed)
}

#[test]
fn no_lawful_register_is_accused_and_many_spoilt_ones_are() {
    let mut found = 0;
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let (mut register, killed) = lawful(&mut chance);
        register.judge(&killed, |fault, text| panic!("seed {seed}: {fault:?}: {text}"));
        let at = chance.below(register.looks.len() as u64) as usize;
        register.looks[at].offset = chance.below(60) as i64;
        let mut accused = false;
        register.judge(&killed, |_, _| accused = true);
        found += u32::from(accused);
    }
    assert!(found > 100, "only {found} of 300 were noticed");
}
