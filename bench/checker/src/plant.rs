//! Spoils a real history on purpose, so that a suite can show that the checker would have noticed.
//! Called by `main` for the suites. Deliberately absent: cleverness; most faults are put into the middle of the history.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, ensure};
use clap::ValueEnum;

use crate::history::{Event, Key, Reader, Timed, Writer};

/// What can be planted, each with the history that it goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// A complete pass: the last record of a partition is not there.
    Lost,
    /// A complete pass: one record is read twice.
    Duplicated,
    /// A complete pass: the first two records of a partition change places.
    Reordered,
    /// A complete pass: one bit of a record differs.
    Changed,
    /// A complete pass: one record more than was sent.
    Invented,
    /// A complete pass: from some record on all offsets of a partition are one higher.
    Moved,
    /// A complete pass: one offset in the middle of a partition is empty.
    Missing,
    /// A complete pass: somebody else saw another record at one of its offsets.
    Disappeared,
    /// A group: one record was given to none of its members.
    Unseen,
    /// A group: in the end its committed offset is an old one again.
    Rewound,
    /// A group: in the end its committed offset is one that nobody committed.
    Uncommitted,
    /// A writer of a compacted topic: the last record that was acknowledged, of a key of its own, will not be there.
    Forgotten,
    /// A writer of a compacted topic: the last thing that was acknowledged is a deletion, but the value will be there.
    Resurrected,
}

/// A digest that no record has.
const FOREIGN: u64 = 0x0BAD_C0DE_0BAD_C0DE;

/// Copies `from` to `to` with one fault.
pub(crate) fn plant(fault: Fault, from: &Path, to: &Path) -> anyhow::Result<()> {
    // Histories to be spoilt are those of tests: they fit into memory.
    let mut events = Reader::open(from)?.collect::<anyhow::Result<Vec<_>>>()?;
    let spoilt = match fault {
        Fault::Unseen => unseen(&mut events),
        Fault::Rewound => committed(&mut events, |offsets| offsets.iter().min().copied()),
        Fault::Uncommitted => committed(&mut events, |offsets| offsets.iter().max().map(|offset| offset + 1)),
        Fault::Forgotten => keyed(&mut events, |_| Key { digest: FOREIGN, tombstone: false }),
        Fault::Resurrected => keyed(&mut events, |key| Key { tombstone: true, ..key }),
        _ => pass(fault, &mut events),
    };
    spoilt.with_context(|| format!("{} cannot be spoilt so", from.display()))?;
    let mut writer = Writer::create(to)?;
    for event in &events {
        writer.write(event)?;
    }
    writer.finish()
}

/// Spoils a complete pass around its middle.
fn pass(fault: Fault, events: &mut Vec<Timed>) -> anyhow::Result<()> {
    let consumed: Vec<usize> =
        (0..events.len()).filter(|at| matches!(events[*at].event, Event::Consumed { .. })).collect();
    ensure!(consumed.len() >= 4, "it holds too few records to spoil one");
    let at = consumed[consumed.len() / 2];
    let Event::Consumed { pass, topic, partition, offset, .. } = events[at].event else { return Ok(()) };
    let same = move |timed: &Timed| matches!(timed.event, Event::Consumed { topic: t, partition: p, .. } if t == topic && p == partition);
    let stretch = |events: &mut [Timed], by: i64| {
        let mut end = 0;
        for timed in events {
            if let Event::Scope { topic: t, partition: p, to, .. } = &mut timed.event
                && *t == topic
                && *p == partition
            {
                end = *to;
                *to += by;
            }
        }
        end
    };
    let push = |events: &mut Vec<Timed>, event: Event| {
        let at = events.last().map_or(0, |last| last.at);
        events.push(Timed { at, event });
    };
    match fault {
        Fault::Lost => {
            let last = events.iter().rposition(same).context("no record of the partition")?;
            events.remove(last);
            stretch(events, -1);
        }
        Fault::Missing => {
            events.remove(at);
        }
        Fault::Duplicated => events.insert(at, events[at].clone()),
        Fault::Changed => {
            let changed = digest_of(&events[at]) ^ (1 << 17);
            set_digest(&mut events[at], changed);
        }
        Fault::Reordered => {
            // The first two: workloads start with a writer that relies on its order.
            let mut pair = (0..events.len()).filter(|i| same(&events[*i]));
            let (one, two) = pair.next().zip(pair.next()).context("only one record of the partition")?;
            drop(pair);
            let (first, second) = (digest_of(&events[one]), digest_of(&events[two]));
            set_digest(&mut events[one], second);
            set_digest(&mut events[two], first);
        }
        Fault::Invented => {
            let offset = stretch(events, 1);
            push(events, Event::Consumed { pass, topic, partition, offset, digest: FOREIGN });
        }
        Fault::Disappeared => {
            let pass = u32::MAX;
            push(events, Event::PassBegins { pass, complete: false, group: None });
            push(events, Event::Consumed { pass, topic, partition, offset, digest: FOREIGN });
        }
        _ => {
            stretch(events, 1);
            for timed in events[at..].iter_mut().filter(|timed| same(timed)) {
                if let Event::Consumed { offset, .. } = &mut timed.event {
                    *offset += 1;
                }
            }
        }
    }
    Ok(())
}

/// Removes every delivery of one record to a group.
fn unseen(events: &mut Vec<Timed>) -> anyhow::Result<()> {
    let passes: HashMap<u32, u32> = events
        .iter()
        .filter_map(|timed| match timed.event {
            Event::PassBegins { pass, group: Some(group), .. } => Some((pass, group)),
            _ => None,
        })
        .collect();
    let delivery = |timed: &Timed| match timed.event {
        Event::Consumed { pass, topic, partition, offset, .. } => {
            passes.get(&pass).map(|group| (*group, topic, partition, offset))
        }
        _ => None,
    };
    let deliveries: Vec<_> = events.iter().filter_map(delivery).collect();
    let one = *deliveries.get(deliveries.len() / 2).context("nothing in it was given to a group")?;
    events.retain(|timed| delivery(timed) != Some(one));
    Ok(())
}

/// Appends a look at the committed offset that was acknowledged last, with what `choose` makes of all that were.
fn committed(events: &mut Vec<Timed>, choose: impl Fn(&[i64]) -> Option<i64>) -> anyhow::Result<()> {
    let mut acknowledged = HashSet::new();
    for timed in events.iter() {
        if let Event::CommitAcknowledged { group, commit } = timed.event {
            acknowledged.insert((group, commit));
        }
    }
    let commits: Vec<_> = events
        .iter()
        .filter_map(|timed| match timed.event {
            Event::CommitInvoked { group, commit, topic, partition, offset } => {
                acknowledged.contains(&(group, commit)).then_some((group, topic, partition, offset))
            }
            _ => None,
        })
        .collect();
    let (group, topic, partition, last) = *commits.last().context("no commit in it was acknowledged")?;
    let share = |commit: &&(u32, u16, u32, i64)| (commit.0, commit.1, commit.2) == (group, topic, partition);
    let offsets: Vec<i64> = commits.iter().filter(share).map(|commit| commit.3).collect();
    let offset =
        choose(&offsets).filter(|offset| *offset != last).context("only one offset was committed")?;
    let at = events.last().map_or(0, |last| last.at) + 1;
    let event = Event::CommittedSeen { group, topic, partition, offset, asked: at };
    events.push(Timed { at, event });
    Ok(())
}

/// Appends a record, acknowledged behind all others of its partition, with what `choose` makes of the last one's key.
fn keyed(events: &mut Vec<Timed>, choose: impl Fn(Key) -> Key) -> anyhow::Result<()> {
    let mut keys = HashMap::new();
    let mut next = HashMap::new();
    let mut last: Option<(u32, u16, u32, i64, Key)> = None;
    for timed in events.iter() {
        match timed.event {
            Event::Invoked { writer, sequence, key: Some(key), .. } => {
                keys.insert((writer, sequence), key);
                next.insert(writer, sequence + 1);
            }
            Event::Acknowledged { writer, sequence, topic, partition, offset } => {
                if let Some(key) = keys.get(&(writer, sequence))
                    && !key.tombstone
                    && last.is_none_or(|last| offset > last.3)
                {
                    last = Some((writer, topic, partition, offset, *key));
                }
            }
            _ => {}
        }
    }
    let (writer, topic, partition, offset, key) =
        last.context("no record of a compacted topic in it was acknowledged")?;
    let sequence = next.get(&writer).copied().unwrap_or(0);
    let at = events.last().map_or(0, |last| last.at);
    let key = Some(choose(key));
    let (digest, promises, offset) = (FOREIGN, 0, offset + 1);
    let invoked = Event::Invoked { writer, sequence, topic, partition, digest, promises, key };
    events.push(Timed { at, event: invoked });
    events.push(Timed { at, event: Event::Acknowledged { writer, sequence, topic, partition, offset } });
    Ok(())
}

fn digest_of(timed: &Timed) -> u64 {
    if let Event::Consumed { digest, .. } = timed.event { digest } else { 0 }
}

fn set_digest(timed: &mut Timed, to: u64) {
    if let Event::Consumed { digest, .. } = &mut timed.event {
        *digest = to;
    }
}
