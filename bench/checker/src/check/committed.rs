//! Whether the committed offsets that were seen are those that were committed: a register for each group and partition,
//! written by commits, read by whoever asks. Filled by `check`. Deliberately absent: files, and what was delivered.
//!
//! A committed offset may lawfully become smaller: a member that starts where the last one committed commits less than
//! a commit of that one whose answer got lost. So what is judged is not "never smaller" but "never older". Of each look
//! we ask whether some commit of that value could have been the last one. Evidence that another value was in force is an
//! acknowledged commit or another look. Where the evidence had ended before the look began, a commit that had ended
//! before the evidence began was overwritten before the look, and cannot be what was seen. If that is so of all commits
//! of the value, the history has no lawful order; if not, nothing is said: no lawful history is accused.
//!
//! A commit without an answer may take effect as long as its request lives: until the broker that it was sent to is dead.

use std::collections::HashMap;

use super::Fault;

/// Says that nothing is committed.
pub(super) const NONE: i64 = -1;

/// Ends later than everything.
const NEVER: u64 = u64::MAX;

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Acknowledged { at: u64 },
    Failed { at: u64 },
    Unknown,
}

/// One commit of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commit {
    pub(super) offset: i64,
    pub(super) invoked_at: u64,
    pub(super) outcome: Outcome,
}

impl Commit {
    /// The last moment at which it may have taken effect. `killed` is sorted.
    fn ends(&self, killed: &[u64]) -> u64 {
        match self.outcome {
            Outcome::Acknowledged { at } => at,
            Outcome::Failed { at } => {
                let dead = killed.partition_point(|killed| *killed <= at);
                killed.get(dead).copied().unwrap_or(NEVER)
            }
            Outcome::Unknown => NEVER,
        }
    }
}

/// One look at the committed offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) offset: i64,
    pub(super) asked_at: u64,
    pub(super) answered_at: u64,
}

/// That a value was in force at some moment between these two.
#[derive(Debug, Clone, Copy)]
struct Evidence {
    offset: i64,
    begins: u64,
    ends: u64,
}

/// Everything that one group did with one partition's committed offset.
#[derive(Debug, Default)]
pub(super) struct Register {
    pub(super) commits: Vec<Commit>,
    pub(super) looks: Vec<Look>,
}

impl Register {
    /// The highest offset that was certainly committed at some time.
    pub(super) fn highest(&self) -> i64 {
        let acknowledged = |commit: &&Commit| matches!(commit.outcome, Outcome::Acknowledged { .. });
        let committed = self.commits.iter().filter(acknowledged).map(|commit| commit.offset);
        committed.chain(self.looks.iter().map(|look| look.offset)).max().unwrap_or(NONE)
    }

    /// Calls `fault` for every look that no lawful order of commits explains. `killed`: when brokers died, sorted.
    pub(super) fn judge(&self, killed: &[u64], mut fault: impl FnMut(Fault, String)) {
        let writes = self.writes(killed);
        let mut evidence = self.evidence();
        evidence.sort_by_key(|evidence| evidence.ends);
        let mut looks = self.looks.clone();
        looks.sort_by_key(|look| look.asked_at);
        let mut latest = Latest::default();
        let mut evidence = evidence.into_iter().peekable();
        for look in looks {
            while let Some(before) = evidence.next_if(|evidence| evidence.ends < look.asked_at) {
                latest.note(before);
            }
            let of_value = writes.get(&look.offset).map_or(&[][..], Vec::as_slice);
            let begun = of_value.partition_point(|write| write.begins <= look.answered_at);
            let Some(write) = begun.checked_sub(1).and_then(|at| of_value.get(at)) else {
                fault(Fault::Uncommitted, format!("{} was seen, which nobody had committed", look.offset));
                continue;
            };
            if let Some(newer) = latest.other_than(look.offset).filter(|newer| write.ends < newer.begins) {
                let text =
                    format!("{} was seen after {} was in force", shown(look.offset), shown(newer.offset));
                fault(Fault::Rewound, text);
            }
        }
    }

    /// For each value its commits in the order of their beginnings, with the latest end of all up to that one.
    fn writes(&self, killed: &[u64]) -> HashMap<i64, Vec<Evidence>> {
        let mut writes: HashMap<i64, Vec<Evidence>> = HashMap::new();
        writes.entry(NONE).or_default().push(Evidence { offset: NONE, begins: 0, ends: 0 });
        for commit in &self.commits {
            let ends = commit.ends(killed);
            let write = Evidence { offset: commit.offset, begins: commit.invoked_at, ends };
            writes.entry(commit.offset).or_default().push(write);
        }
        for of_value in writes.values_mut() {
            of_value.sort_by_key(|write| write.begins);
            let mut latest = 0;
            for write in of_value {
                latest = latest.max(write.ends);
                write.ends = latest;
            }
        }
        writes
    }

    fn evidence(&self) -> Vec<Evidence> {
        let acknowledged = self.commits.iter().filter_map(|commit| match commit.outcome {
            Outcome::Acknowledged { at } => {
                Some(Evidence { offset: commit.offset, begins: commit.invoked_at, ends: at })
            }
            _ => None,
        });
        let looks = self.looks.iter().map(|look| Evidence {
            offset: look.offset,
            begins: look.asked_at,
            ends: look.answered_at,
        });
        acknowledged.chain(looks).collect()
    }
}

fn shown(offset: i64) -> String {
    if offset == NONE { "no offset".to_owned() } else { format!("offset {offset}") }
}

/// The evidence that began last, and the one that began last among those of any other value.
#[derive(Debug, Default)]
struct Latest {
    first: Option<Evidence>,
    other: Option<Evidence>,
}

impl Latest {
    fn note(&mut self, new: Evidence) {
        let newer = |than: Option<Evidence>| than.is_none_or(|than| new.begins > than.begins);
        let same = self.first.is_some_and(|first| first.offset == new.offset);
        if newer(self.first) {
            if !same {
                self.other = self.first;
            }
            self.first = Some(new);
        } else if !same && newer(self.other) {
            self.other = Some(new);
        }
    }

    fn other_than(&self, offset: i64) -> Option<Evidence> {
        self.first.filter(|first| first.offset != offset).or(self.other)
    }
}
