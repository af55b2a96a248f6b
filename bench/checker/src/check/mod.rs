//! The verdict: joins what writers were promised with what readers saw. Called by `main`.
//!
//! Three scans over the histories: the writers; the complete passes, which settle what is at every offset and show
//! what was lost; all passes once more, each held against what is settled. Memory: see `written`, and 8 bytes for each
//! offset of a complete pass. Deliberately absent: compacted or expired logs, transactions.

mod report;
mod settled;
#[cfg(test)]
mod tests;
mod written;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

use crate::history::{Event, Reader, promise};
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
    Ok(check.report)
}

#[derive(Default)]
struct Check {
    places: Places,
    writers: Writers,
    settled: HashMap<Place, Settled>,
    report: Report,
}

impl Check {
    /// Calls `each` with every event and the place it is about (for events without one: an arbitrary place).
    fn scan(
        &mut self,
        histories: &[PathBuf],
        mut each: impl FnMut(&mut Self, Place, Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for path in histories {
            let mut topics = Vec::new();
            let mut known = HashMap::new();
            for event in Reader::open(path)? {
                let event = event?;
                let place = match &event {
                    Event::Topic { name } => {
                        topics.push(name.clone());
                        continue;
                    }
                    Event::Invoked { topic, partition, .. }
                    | Event::Acknowledged { topic, partition, .. }
                    | Event::Scope { topic, partition, .. }
                    | Event::Consumed { topic, partition, .. } => {
                        let name = topics.get(usize::from(*topic)).context("a topic without a name")?;
                        *known
                            .entry((*topic, *partition))
                            .or_insert_with(|| self.places.number(name, *partition))
                    }
                    Event::Failed { .. } | Event::PassBegins { .. } => Place(0),
                };
                each(self, place, event).with_context(|| format!("history {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn read_writers(&mut self, histories: &[PathBuf]) -> anyhow::Result<()> {
        // Answers may stand in another file than the invocations only if that file comes later: writers keep one file.
        self.scan(histories, |check, place, event| {
            match event {
                Event::Invoked { writer, sequence, digest, promises, .. } => {
                    let record =
                        Written { offset: fate::UNKNOWN, place, promises, seen: false, seen_in_place: false };
                    check.writers.invoke(writer, sequence, digest, record)?;
                }
                Event::Acknowledged { writer, sequence, offset, .. } => {
                    check.report.acknowledged += u64::from(offset >= 0);
                    let record = check.writers.answered(writer, sequence)?;
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
                _ => {}
            }
            Ok(())
        })?;
        self.report.invoked = self.writers.len();
        self.writers.index()
    }

    /// Records what the first complete pass found at each offset.
    fn settle(&mut self, histories: &[PathBuf]) -> anyhow::Result<()> {
        let mut complete = HashSet::new();
        self.scan(histories, |check, place, event| {
            match event {
                Event::PassBegins { pass, complete: true } => {
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
        Ok(())
    }

    /// Walks what is settled in offset order: copies, order, invention, and then what is not there.
    fn lost(&mut self) {
        let mut places: Vec<_> = self.settled.iter().collect();
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
            if record.offset < settled.from() {
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
        let mut reached: HashMap<(u32, Place), i64> = HashMap::new();
        self.scan(histories, |check, place, event| {
            let Event::Consumed { pass, offset, digest, .. } = event else { return Ok(()) };
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
            let Some(settled) = check.settled.get(&place) else { return Ok(()) };
            if offset >= settled.from() && settled.get(offset) != Some(digest) {
                check.report.add(Fault::Disappeared, || format!("{}: it is not there any more", at()));
            }
            Ok(())
        })
    }
}
