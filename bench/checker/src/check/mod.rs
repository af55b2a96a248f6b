//! The verdict: joins what writers were promised with what readers saw. Called by `main`.
//!
//! Three scans over the histories: the writers and the groups' commits; the complete passes, which settle what is at every
//! offset and show what was lost; all passes once more, each held against what is settled. Memory: see `written`, 8 bytes
//! for each offset of a complete pass, one bit of it for each group, about 100 bytes for each record of a compacted topic.
//! Deliberately absent: expired logs, transactions.

mod committed;
mod compacted;
mod groups;
mod report;
mod settled;
#[cfg(test)]
mod tests;
mod written;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

use crate::history::{Event, Reader, Timed, promise};
use committed::{Look, Outcome};
use compacted::{Compacted, Read};
use groups::Groups;
pub(crate) use report::{Fault, Report};
use settled::Settled;
use written::{Name, Place, Places, Writers, Written, fate};

/// Reads all histories and judges them together.
///
/// # Errors
///
/// A history that cannot be read or contradicts itself, or a set of histories without a complete pass: then nothing
/// can be said, which is not the same as no fault.
pub(crate) fn verify(histories: &[PathBuf]) -> anyhow::Result<Report> {
    let mut check = Check::default();
    check.read_writers(histories)?;
    check.settle(histories)?;
    check.covered()?;
    check.lost();
    check.read_passes(histories)?;
    check.groups.judge(&check.places, &check.settled, &mut check.report);
    check.compacted.judge(&check.places, &check.writers, &mut check.report);
    Ok(check.report)
}

#[derive(Default)]
struct Check {
    places: Places,
    writers: Writers,
    groups: Groups,
    compacted: Compacted,
    settled: HashMap<Place, Settled>,
    report: Report,
}

/// One event, when it was, and the place it is about (an arbitrary one for an event without).
struct Noted {
    at: u64,
    place: Place,
    event: Event,
}

impl Check {
    /// Calls `each` with every event.
    fn scan(
        &mut self,
        histories: &[PathBuf],
        mut each: impl FnMut(&mut Self, Noted) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for path in histories {
            let mut topics = Vec::new();
            let mut known = HashMap::new();
            for timed in Reader::open(path)? {
                let Timed { at, event } = timed?;
                let place = match &event {
                    Event::Topic { name } => {
                        topics.push(name.clone());
                        continue;
                    }
                    Event::Compacted { topic, delete_retention_ms } => {
                        let name = topics.get(usize::from(*topic)).context("a topic without a name")?;
                        self.compacted.topic(name, *delete_retention_ms);
                        continue;
                    }
                    Event::Invoked { topic, partition, .. }
                    | Event::Acknowledged { topic, partition, .. }
                    | Event::Scope { topic, partition, .. }
                    | Event::Consumed { topic, partition, .. }
                    | Event::CommitInvoked { topic, partition, .. }
                    | Event::CommittedSeen { topic, partition, .. } => {
                        let name = topics.get(usize::from(*topic)).context("a topic without a name")?;
                        *known
                            .entry((*topic, *partition))
                            .or_insert_with(|| self.places.number(name, *partition))
                    }
                    Event::Failed { .. }
                    | Event::PassBegins { .. }
                    | Event::CommitAcknowledged { .. }
                    | Event::CommitFailed { .. }
                    | Event::Killed
                    | Event::Ready => Place(0),
                };
                each(self, Noted { at, place, event })
                    .with_context(|| format!("history {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn read_writers(&mut self, histories: &[PathBuf]) -> anyhow::Result<()> {
        // Answers may stand in another file than the invocations only if that file comes later: writers keep one file.
        self.scan(histories, |check, Noted { at, place, event }| {
            match event {
                Event::Invoked { writer, sequence, digest, promises, key, .. } => {
                    let record =
                        Written { offset: fate::UNKNOWN, place, promises, seen: false, seen_in_place: false };
                    let name = check.writers.invoke(writer, sequence, digest, record)?;
                    if let Some(key) = key {
                        check.compacted.invoke(name, place, key, at);
                    }
                }
                Event::Acknowledged { writer, sequence, offset, .. } => {
                    check.report.acknowledged += u64::from(offset >= 0);
                    let (name, record) = check.writers.answered(writer, sequence)?;
                    check.compacted.acknowledge(name, offset, at);
                    ensure!(record.offset == fate::UNKNOWN, "writer {writer} got two answers to number {sequence}");
                    record.offset = offset.max(fate::UNPROMISED);
                    if record.place != place {
                        let (sent, answered) = (check.places.name(record.place), check.places.name(place));
                        check.report.add(Fault::Moved, || {
                            format!("writer {writer} number {sequence}: sent to {sent}, acknowledged in {answered}")
                        });
                    }
                }
                Event::Failed { writer, sequence } => {
                    check.report.failed += 1;
                    check.writers.answered(writer, sequence)?;
                }
                event => check.note_group(at, place, &event)?,
            }
            Ok(())
        })?;
        self.report.invoked = self.writers.len();
        self.writers.index()
    }

    /// Takes what a group did, or what was done to its broker.
    fn note_group(&mut self, at: u64, place: Place, event: &Event) -> anyhow::Result<()> {
        match *event {
            Event::CommitInvoked { group, commit, offset, .. } => {
                self.report.commits += 1;
                self.groups.commit(group, commit, place, offset, at)
            }
            Event::CommitAcknowledged { group, commit } => {
                self.report.commits_acknowledged += 1;
                self.groups.answered(group, commit, Outcome::Acknowledged { at })
            }
            Event::CommitFailed { group, commit } => {
                self.groups.answered(group, commit, Outcome::Failed { at })
            }
            Event::CommittedSeen { group, offset, asked, .. } => {
                self.report.looks += 1;
                self.groups.look(group, place, Look { offset, asked_at: asked, answered_at: at });
                Ok(())
            }
            Event::Killed => {
                self.report.kills += 1;
                self.groups.killed(at);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Records what the first complete pass found at each offset.
    fn settle(&mut self, histories: &[PathBuf]) -> anyhow::Result<()> {
        let mut complete = HashSet::new();
        self.scan(histories, |check, Noted { place, event, .. }| {
            match event {
                Event::PassBegins { pass, complete: true, .. } => {
                    ensure!(complete.insert(pass), "two complete passes have the number {pass}");
                }
                Event::Scope { pass, from, to, .. } if complete.contains(&pass) => {
                    check.settled.entry(place).or_insert_with(|| Settled::new(pass, from, to));
                }
                Event::Consumed { pass, offset, digest, .. } => {
                    if let Some(settled) =
                        check.settled.get_mut(&place).filter(|settled| settled.pass == pass)
                    {
                        settled.put(offset, digest);
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        ensure!(
            !self.settled.is_empty(),
            "no complete pass in these histories: nothing can be said of what was lost"
        );
        Ok(())
    }

    /// Refuses to judge when something was acknowledged where no complete pass looked.
    fn covered(&self) -> anyhow::Result<()> {
        let uncovered =
            self.writers.all().find(|(_, r)| r.offset >= 0 && !self.settled.contains_key(&r.place));
        if let Some((_, record)) = uncovered {
            bail!(
                "records of {} were acknowledged, but no complete pass read it",
                self.places.name(record.place)
            );
        }
        if let Some(place) = self.groups.places().find(|place| !self.settled.contains_key(place)) {
            bail!("a group committed offsets of {}, but no complete pass read it", self.places.name(place));
        }
        Ok(())
    }

    /// Walks what is settled in offset order: copies, order, invention, and then what is not there.
    fn lost(&mut self) {
        let mut places: Vec<_> =
            self.settled.iter().filter(|(place, _)| !self.compacted.has(&self.places, **place)).collect();
        places.sort_by_key(|(place, _)| **place);
        for (place, settled) in places {
            let at = |offset: i64| format!("{} at {offset}", self.places.name(*place));
            let mut last: HashMap<u32, Name> = HashMap::new();
            for (offset, digest) in settled.iter() {
                let Some(digest) = digest else {
                    self.report.add(Fault::Missing, || at(offset));
                    continue;
                };
                // An unknown digest is told apart below, once the acknowledged offsets are known to be filled or not.
                let Some((name, record)) = self.writers.find(digest) else { continue };
                if record.place != *place {
                    self.report.add(Fault::Moved, || {
                        format!("{name:?} was sent elsewhere and is in {}", at(offset))
                    });
                    continue;
                }
                record.seen_in_place |= record.offset == offset;
                if record.seen {
                    if record.promises & promise::ONCE != 0 {
                        self.report.add(Fault::Duplicated, || format!("{name:?} again in {}", at(offset)));
                    } else {
                        self.report.duplicates_allowed += 1;
                    }
                    continue;
                }
                record.seen = true;
                let ordered = record.promises & promise::ORDERED != 0;
                let before = last.insert(name.writer, name);
                if let Some(before) = before.filter(|before| ordered && before.sequence > name.sequence) {
                    self.report
                        .add(Fault::Reordered, || format!("{name:?} after {before:?} in {}", at(offset)));
                }
            }
        }
        self.unfound();
    }

    /// What was acknowledged and not found at its offset, and what was found and never sent.
    fn unfound(&mut self) {
        let mut changed = HashSet::new();
        for (name, record) in
            self.writers.all().filter(|(_, record)| record.offset >= 0 && !record.seen_in_place)
        {
            let Some(settled) = self.settled.get(&record.place) else { continue };
            if record.offset < settled.from() || self.compacted.has(&self.places, record.place) {
                continue;
            }
            let there = settled.get(record.offset);
            let text = || {
                format!("{name:?} acknowledged in {} at {}", self.places.name(record.place), record.offset)
            };
            if record.seen {
                self.report.add(Fault::Moved, || format!("{}, but found at another offset", text()));
            } else if there.is_some() {
                changed.insert((record.place, record.offset));
                self.report.add(Fault::Changed, || format!("{}, where other bytes are", text()));
            } else {
                self.report.add(Fault::Lost, text);
            }
        }
        for (place, settled) in &self.settled {
            if self.compacted.has(&self.places, *place) {
                continue;
            }
            for (offset, digest) in settled.iter() {
                let Some(digest) = digest else { continue };
                if self.writers.find(digest).is_none() && !changed.contains(&(*place, offset)) {
                    self.report.add(Fault::Invented, || {
                        format!(
                            "{} at {offset}: digest {digest:016x} was never sent",
                            self.places.name(*place)
                        )
                    });
                }
            }
        }
    }

    /// Holds every pass against what is settled, and its own order.
    fn read_passes(&mut self, histories: &[PathBuf]) -> anyhow::Result<()> {
        let mut begun: HashMap<u32, (u64, bool, Option<u32>)> = HashMap::new();
        let mut reached: HashMap<(u32, Place), i64> = HashMap::new();
        self.scan(histories, |check, Noted { at: now, place, event }| {
            let (pass, offset, digest) = match event {
                Event::Consumed { pass, offset, digest, .. } => (pass, offset, digest),
                Event::PassBegins { pass, complete, group } => {
                    begun.insert(pass, (now, complete, group));
                    return Ok(());
                }
                Event::Scope { pass, from, to, .. } if check.compacted.has(&check.places, place) => {
                    let (begins, complete, _) = begun.get(&pass).copied().unwrap_or_default();
                    check.compacted.touch(pass, place, complete, begins, now);
                    check.compacted.scope(pass, place, from, to);
                    return Ok(());
                }
                _ => return Ok(()),
            };
            check.report.consumed += 1;
            let at = || format!("pass {pass}: {} at {offset}", check.places.name(place));
            match reached.insert((pass, place), offset) {
                Some(before) if before == offset => {
                    check.report.add(Fault::Duplicated, || format!("{} read twice", at()));
                }
                Some(before) if before > offset => {
                    check.report.add(Fault::Reordered, || format!("{} read after {before}", at()));
                }
                _ => {}
            }
            let (begins, complete, group) = begun.get(&pass).copied().unwrap_or_default();
            let settled = check.settled.get(&place);
            if let Some((group, index)) = group.zip(settled.and_then(|settled| settled.index(offset))) {
                check.groups.deliver(group, place, index);
            }
            if check.compacted.has(&check.places, place) {
                check.compacted.touch(pass, place, complete, begins, now);
                let read = Read { pass, place, offset, digest };
                check.compacted.read(read, &mut check.writers, &mut check.report, at);
                return Ok(());
            }
            if settled.is_some_and(|settled| offset >= settled.from() && settled.get(offset) != Some(digest))
            {
                check.report.add(Fault::Disappeared, || format!("{}: it is not there any more", at()));
            }
            Ok(())
        })
    }
}
