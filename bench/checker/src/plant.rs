//! Spoils a real consumer history on purpose, so that a suite can show that the checker would have noticed.
//! Called by `main` for the suites. Deliberately absent: cleverness; most faults are put into the middle of the history.

use std::path::Path;

use anyhow::ensure;
use clap::ValueEnum;

use crate::history::{Event, Reader, Writer};

/// What can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// One record is not there.
    Lost,
    /// One record is read twice.
    Duplicated,
    /// The first two records of a partition change places.
    Reordered,
    /// One bit of a record differs.
    Changed,
    /// One record more than was sent.
    Invented,
    /// From some record on all offsets of a partition are one higher.
    Moved,
}

/// Copies `from` to `to` with one fault.
pub(crate) fn plant(fault: Fault, from: &Path, to: &Path) -> anyhow::Result<()> {
    // Histories to be spoilt are those of tests: they fit into memory.
    let mut events = Reader::open(from)?.collect::<anyhow::Result<Vec<_>>>()?;
    let consumed: Vec<usize> =
        (0..events.len()).filter(|at| matches!(events.get(*at), Some(Event::Consumed { .. }))).collect();
    ensure!(consumed.len() >= 4, "{} holds too few records to spoil one", from.display());
    let at = consumed[consumed.len() / 2];
    spoil(fault, &mut events, at);
    let mut writer = Writer::create(to)?;
    for event in &events {
        writer.write(event)?;
    }
    writer.finish()
}

fn spoil(fault: Fault, events: &mut Vec<Event>, at: usize) {
    let Event::Consumed { pass, topic, partition, .. } = events[at].clone() else { return };
    let same = move |event: &Event| matches!(event, Event::Consumed { topic: t, partition: p, .. } if *t == topic && *p == partition);
    let widen = |events: &mut [Event]| {
        let mut end = 0;
        for event in events {
            if let Event::Scope { topic: t, partition: p, to, .. } = event
                && *t == topic
                && *p == partition
            {
                end = *to;
                *to += 1;
            }
        }
        end
    };
    match fault {
        Fault::Lost => {
            events.remove(at);
        }
        Fault::Duplicated => events.insert(at, events[at].clone()),
        Fault::Changed => {
            if let Event::Consumed { digest, .. } = &mut events[at] {
                *digest ^= 1 << 17;
            }
        }
        Fault::Reordered => {
            // The first two: workloads start with a writer that relies on its order.
            let mut pair = (0..events.len()).filter(|i| same(&events[*i]));
            let (Some(one), Some(two)) = (pair.next(), pair.next()) else { return };
            drop(pair);
            let (first, second) = (digest_of(&events[one]), digest_of(&events[two]));
            set_digest(&mut events[one], second);
            set_digest(&mut events[two], first);
        }
        Fault::Invented => {
            let offset = widen(events);
            events.push(Event::Consumed { pass, topic, partition, offset, digest: 0x0BAD_C0DE_0BAD_C0DE });
        }
        Fault::Moved => {
            widen(events);
            for event in events[at..].iter_mut().filter(|event| same(event)) {
                if let Event::Consumed { offset, .. } = event {
                    *offset += 1;
                }
            }
        }
    }
}

fn digest_of(event: &Event) -> u64 {
    if let Event::Consumed { digest, .. } = event { *digest } else { 0 }
}

fn set_digest(event: &mut Event, to: u64) {
    if let Event::Consumed { digest, .. } = event {
        *digest = to;
    }
}
