//! What consumer groups did: commits and looks at committed offsets, judged by `committed`, and which records were
//! delivered to some member of each. Filled by `check`. Groups begin at the log start: whoever writes the histories sees
//! to it. Deliberately absent: who owned which partition.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, ensure};

use super::committed::{Commit, Look, Outcome, Register};
use super::settled::Settled;
use super::written::{Place, Places};
use super::{Fault, Report};

/// A group and a partition that it reads.
type Share = (u32, Place);

/// All groups of all histories.
#[derive(Debug, Default)]
pub(super) struct Groups {
    registers: BTreeMap<Share, Register>,
    /// Where a commit is, by group and number.
    commits: HashMap<(u32, u64), (Share, usize)>,
    /// A bit for each offset of a share, from the start of what is settled.
    delivered: HashMap<Share, Vec<u64>>,
    /// When brokers were dead for certain.
    killed: Vec<u64>,
}

impl Groups {
    pub(super) fn commit(
        &mut self,
        group: u32,
        commit: u64,
        place: Place,
        offset: i64,
        at: u64,
    ) -> anyhow::Result<()> {
        let share = (group, place);
        let commits = &mut self.registers.entry(share).or_default().commits;
        let before = self.commits.insert((group, commit), (share, commits.len()));
        ensure!(before.is_none(), "group {group} has two commits with the number {commit}");
        commits.push(Commit { offset, invoked_at: at, outcome: Outcome::Unknown });
        Ok(())
    }

    pub(super) fn answered(&mut self, group: u32, commit: u64, outcome: Outcome) -> anyhow::Result<()> {
        let place = self.commits.get(&(group, commit));
        let entry = place.and_then(|(share, at)| self.registers.get_mut(share)?.commits.get_mut(*at));
        let entry = entry.with_context(|| {
            format!("group {group} got an answer to commit {commit}, which it never invoked")
        })?;
        ensure!(entry.outcome == Outcome::Unknown, "group {group} got two answers to commit {commit}");
        entry.outcome = outcome;
        Ok(())
    }

    pub(super) fn look(&mut self, group: u32, place: Place, look: Look) {
        self.registers.entry((group, place)).or_default().looks.push(look);
    }

    pub(super) fn killed(&mut self, at: u64) {
        self.killed.push(at);
    }

    /// A member of the group was given the record at `offset`, `index` of what is settled.
    pub(super) fn deliver(&mut self, group: u32, place: Place, index: usize) {
        let bits = self.delivered.entry((group, place)).or_default();
        if bits.len() <= index / 64 {
            bits.resize(index / 64 + 1, 0);
        }
        bits[index / 64] |= 1 << (index % 64);
    }

    /// The places that groups committed offsets of.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.registers.keys().map(|(_, place)| *place)
    }

    /// Judges every register, and looks for records that a group passed over.
    pub(super) fn judge(&mut self, places: &Places, settled: &HashMap<Place, Settled>, report: &mut Report) {
        self.killed.sort_unstable();
        for ((group, place), register) in &self.registers {
            let who = || format!("group {group}, {}", places.name(*place));
            register.judge(&self.killed, |fault, text| report.add(fault, || format!("{}: {text}", who())));
            let Some(settled) = settled.get(place) else { continue };
            let highest = register.highest();
            let delivered = self.delivered.get(&(*group, *place)).map_or(&[][..], Vec::as_slice);
            let records = settled.iter().enumerate().take_while(|(_, (offset, _))| *offset < highest);
            for (index, (offset, _)) in records.filter(|(_, (_, digest))| digest.is_some()) {
                if delivered.get(index / 64).is_none_or(|bits| bits & (1 << (index % 64)) == 0) {
                    report.add(Fault::Unseen, || {
                        format!("{} at {offset}, below the committed offset {highest}", who())
                    });
                }
            }
        }
    }
}
