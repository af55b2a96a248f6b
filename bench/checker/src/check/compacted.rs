//! Compacted topics: what a reader of one may rely on. Filled by `check`: first with all keyed records, then with every
//! pass. Deliberately absent: what holds for every topic (see `check`), and when a broker has to compact.
//!
//! Whoever reads from start to end must find, of every key, the newest record that was acknowledged before it began, or
//! a newer one. What is newer is what has the higher offset. Three things excuse that it is not there: it was superseded
//! by a record that the pass did not reach any more, or by one whose fate is unknown, while others still wrote; or what
//! superseded it was a tombstone (or itself is one), and tombstones are kept for `delete.retention.ms` only. Then the
//! older ones of the key are gone, too, unless the reader took longer than that. The time that a tombstone is kept counts
//! from when it was sent, which is earlier than the broker counts: a tombstone that is gone too early by less than its
//! way to the disk and to the cleaner is not noticed.

use std::collections::{BTreeMap, HashMap};

use super::written::{Name, Place, Places, Writers, fate};
use super::{Fault, Report, promise};
use crate::history::Key;

/// A keyed record's part that `Written` has no room for.
#[derive(Debug, Clone, Copy)]
struct Keyed {
    key: Key,
    place: Place,
    invoked_at: u64,
    /// [`NEVER`] as long as it is not.
    acknowledged_at: u64,
}

const NEVER: u64 = u64::MAX;

/// One pass over one partition.
#[derive(Debug)]
struct Pass {
    complete: bool,
    begins: u64,
    ends: u64,
    /// `from..to`, once it is known.
    scope: Option<(i64, i64)>,
    /// Offsets that were read below the end of the scope are counted here, wherever that will be.
    read: u64,
    newest: HashMap<u64, i64>,
    last: HashMap<u32, Name>,
}

/// A record as a pass read it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) pass: u32,
    pub(super) place: Place,
    pub(super) offset: i64,
    pub(super) digest: u64,
}

/// All compacted topics of all histories.
#[derive(Debug, Default)]
pub(super) struct Compacted {
    /// Nanoseconds that tombstones are kept.
    topics: HashMap<String, u64>,
    records: HashMap<Name, Keyed>,
    passes: BTreeMap<(u32, Place), Pass>,
    /// Which record is acknowledged at an offset.
    acknowledged: HashMap<(Place, i64), Name>,
    /// Where a record was first seen that nobody acknowledged.
    found: HashMap<Name, i64>,
}

impl Compacted {
    pub(super) fn topic(&mut self, name: &str, delete_retention_ms: u64) {
        self.topics.insert(name.to_owned(), delete_retention_ms.saturating_mul(1_000_000));
    }

    /// Whether a place is one of a compacted topic.
    pub(super) fn has(&self, places: &Places, place: Place) -> bool {
        !self.topics.is_empty() && self.topics.contains_key(places.topic(place))
    }

    pub(super) fn invoke(&mut self, name: Name, place: Place, key: Key, at: u64) {
        self.records.insert(name, Keyed { key, place, invoked_at: at, acknowledged_at: NEVER });
    }

    pub(super) fn acknowledge(&mut self, name: Name, offset: i64, at: u64) {
        if let Some(record) = self.records.get_mut(&name).filter(|_| offset >= 0) {
            record.acknowledged_at = at;
            self.acknowledged.insert((record.place, offset), name);
        }
    }

    /// A pass begins; which places it will read is seen later.
    pub(super) fn touch(&mut self, pass: u32, place: Place, complete: bool, begins: u64, at: u64) {
        let entry = self.passes.entry((pass, place)).or_insert_with(|| Pass {
            complete,
            begins,
            ends: at,
            scope: None,
            read: 0,
            newest: HashMap::new(),
            last: HashMap::new(),
        });
        entry.ends = entry.ends.max(at);
    }

    pub(super) fn scope(&mut self, pass: u32, place: Place, from: i64, to: i64) {
        if let Some(pass) = self.passes.get_mut(&(pass, place)) {
            pass.scope = Some((from, to));
        }
    }

    /// A record was read: is it one that was sent, where it belongs, in its writer's order?
    pub(super) fn read(
        &mut self,
        record: Read,
        writers: &mut Writers,
        report: &mut Report,
        at: impl Fn() -> String,
    ) {
        let Read { pass, place, offset, digest } = record;
        let Some(view) = self.passes.get_mut(&(pass, place)) else { return };
        view.read += 1;
        let Some((name, record)) = writers.find(digest) else {
            let fault = match self.acknowledged.get(&(place, offset)) {
                Some(_) => Fault::Changed,
                None => Fault::Invented,
            };
            return report.add(fault, || format!("{}: digest {digest:016x} was never sent", at()));
        };
        if record.place != place {
            return report.add(Fault::Moved, || format!("{}: {name:?} was sent elsewhere", at()));
        }
        let belongs = match record.offset {
            fate::UNKNOWN | fate::UNPROMISED => *self.found.entry(name).or_insert(offset),
            acknowledged => acknowledged,
        };
        if let Some(keyed) = self.records.get(&name) {
            let newest = view.newest.entry(keyed.key.digest).or_insert(offset);
            *newest = (*newest).max(offset);
        }
        if belongs != offset {
            if record.promises & promise::ONCE != 0 {
                report.add(Fault::Moved, || format!("{}: {name:?} was at {belongs}", at()));
            } else {
                report.duplicates_allowed += 1;
            }
            return;
        }
        let ordered = record.promises & promise::ORDERED != 0;
        let before = view.last.insert(name.writer, name);
        if let Some(before) = before.filter(|before| ordered && before.sequence > name.sequence) {
            report.add(Fault::Reordered, || format!("{}: {name:?} after {before:?}", at()));
        }
    }

    /// Looks for the newest record of every key in every pass that read from start to end.
    pub(super) fn judge(&self, places: &Places, writers: &Writers, report: &mut Report) {
        let mut keys: HashMap<Place, HashMap<u64, Vec<Version>>> = HashMap::new();
        for (name, record) in &self.records {
            let offset = writers.get(*name).map_or(fate::UNKNOWN, |written| written.offset);
            let of_place = keys.entry(record.place).or_default();
            of_place.entry(record.key.digest).or_default().push(Version {
                offset: (offset >= 0).then_some(offset),
                tombstone: record.key.tombstone,
                invoked_at: record.invoked_at,
                acknowledged_at: record.acknowledged_at,
            });
        }
        for ((number, place), pass) in &self.passes {
            let Some((from, to)) = pass.scope else { continue };
            let away = u64::try_from(to.saturating_sub(from)).unwrap_or(0).saturating_sub(pass.read);
            if pass.complete {
                report.compacted_away = report.compacted_away.max(away);
            } else {
                report.compacted_away_live = report.compacted_away_live.max(away);
                report.compacted_passes += 1;
            }
            let retention = self.topics.get(places.topic(*place)).copied().unwrap_or(NEVER);
            for (key, versions) in keys.get(place).into_iter().flatten() {
                let newest = pass.newest.get(key).copied();
                if let Some((fault, due)) = pass.misses(newest, versions, to, retention) {
                    report.add(fault, || {
                        let found = newest.map_or("none".to_owned(), |newest| format!("the one at {newest}"));
                        let what = if due.tombstone { "tombstone" } else { "record" };
                        let due = due.offset.unwrap_or(fate::UNKNOWN);
                        let place = places.name(*place);
                        format!("pass {number}: {place}, key {key:016x}: its newest {what} is that at {due}, {found} was found")
                    });
                }
            }
        }
    }
}

/// One record of a key.
#[derive(Debug, Clone, Copy)]
struct Version {
    /// As acknowledged.
    offset: Option<i64>,
    tombstone: bool,
    invoked_at: u64,
    acknowledged_at: u64,
}

impl Pass {
    /// What is wrong with `newest` as the newest record that was found of a key, and which record should have been.
    fn misses(
        &self,
        newest: Option<i64>,
        versions: &[Version],
        to: i64,
        retention: u64,
    ) -> Option<(Fault, Version)> {
        let before = |version: &&Version| self.complete || version.acknowledged_at < self.begins;
        let due = *versions.iter().filter(before).max_by_key(|version| version.offset)?;
        let due_offset = due.offset?;
        if newest.is_some_and(|newest| newest >= due_offset) {
            return None;
        }
        // What may have made the cleaner remove it, and itself.
        let superseding = || {
            versions.iter().filter(|version| {
                version.invoked_at <= self.ends && version.offset.is_none_or(|offset| offset >= due_offset)
            })
        };
        let beyond = |version: &Version| match version.offset {
            Some(offset) => offset > due_offset && offset >= to,
            None => true,
        };
        if !self.complete && superseding().any(beyond) {
            return None;
        }
        let forgettable = match newest {
            // Everything of the key may be gone once its tombstone is old enough.
            None => superseding().any(|version| {
                version.tombstone && self.ends.saturating_sub(version.invoked_at) >= retention
            }),
            // The older one was read before the tombstone took it away, and the tombstone's time ran out meanwhile.
            Some(_) => {
                self.ends.saturating_sub(self.begins) >= retention
                    && superseding().any(|version| version.tombstone)
            }
        };
        if forgettable {
            return None;
        }
        Some((if newest.is_some() { Fault::Resurrected } else { Fault::Forgotten }, due))
    }
}
