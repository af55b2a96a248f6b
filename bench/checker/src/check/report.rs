//! What the checker says in the end: how much was looked at, which faults were found, and a few examples of each.
//! Filled by `check`, printed by `main`.

use std::fmt;

/// Examples kept of each fault; the rest is only counted.
const EXAMPLES_MAX: usize = 5;

/// A way in which a broker can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Acknowledged, and not there.
    Lost,
    /// Stored twice although the writer was idempotent, or read twice in one pass.
    Duplicated,
    /// A writer's records in another order than sent, or offsets that go back within a pass.
    Reordered,
    /// Another record where an acknowledged one was promised, or bytes that are not what was sent.
    Changed,
    /// Never sent by anybody.
    Invented,
    /// There, but not at the acknowledged offset or not in the acknowledged partition.
    Moved,
    /// An offset between the log start and the end at which a complete pass found nothing.
    Missing,
    /// Seen by some consumer, and gone or different afterwards.
    Disappeared,
    /// Below the offset that a group committed, and never given to any of its members.
    Unseen,
    /// A group's committed offset as it was before others that were acknowledged or seen.
    Rewound,
    /// A committed offset that nobody had committed.
    Uncommitted,
    /// Neither the newest record of a key of a compacted topic is there nor a newer one: a value, or a deletion too early.
    Forgotten,
    /// The newest record of a key that is there is older than one that was acknowledged.
    Resurrected,
}

impl Fault {
    /// All of them, in the order of their declaration.
    pub(crate) const ALL: [Self; 13] = [
        Self::Lost,
        Self::Duplicated,
        Self::Reordered,
        Self::Changed,
        Self::Invented,
        Self::Moved,
        Self::Missing,
        Self::Disappeared,
        Self::Unseen,
        Self::Rewound,
        Self::Uncommitted,
        Self::Forgotten,
        Self::Resurrected,
    ];
}

/// The verdict over a set of histories.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Records handed to producers.
    pub(crate) invoked: u64,
    /// Of those, acknowledged with an offset.
    pub(crate) acknowledged: u64,
    /// Of those, given up by the producer.
    pub(crate) failed: u64,
    /// Records read, over all passes.
    pub(crate) consumed: u64,
    /// Second copies of records whose writer never asked for "once". Lawful, and worth knowing.
    pub(crate) duplicates_allowed: u64,
    /// Offsets that groups began to commit, one for each partition.
    pub(crate) commits: u64,
    /// Of those, acknowledged.
    pub(crate) commits_acknowledged: u64,
    /// Looks at committed offsets, one for each partition.
    pub(crate) looks: u64,
    /// Times that a broker was killed.
    pub(crate) kills: u64,
    /// Passes over a partition of a compacted topic while others wrote.
    pub(crate) compacted_passes: u64,
    /// The most offsets of a partition that such a pass did not find any more.
    pub(crate) compacted_away_live: u64,
    /// The same of complete passes.
    pub(crate) compacted_away: u64,
    counts: [u64; Fault::ALL.len()],
    examples: Vec<(Fault, String)>,
}

impl Report {
    /// Counts a fault; `example` is only called while examples of its kind are still wanted.
    pub(crate) fn add(&mut self, fault: Fault, example: impl FnOnce() -> String) {
        let count = &mut self.counts[fault as usize];
        *count += 1;
        if *count <= EXAMPLES_MAX as u64 {
            self.examples.push((fault, example()));
        }
    }

    /// How many faults of one kind.
    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.counts[fault as usize]
    }

    /// How many faults in all.
    pub(crate) fn faults(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} invoked, {} acknowledged, {} failed, {} consumed, {} duplicates of writers that allow them",
            self.invoked, self.acknowledged, self.failed, self.consumed, self.duplicates_allowed
        )?;
        if self.commits + self.looks > 0 {
            writeln!(
                f,
                "{} commits, {} acknowledged, {} looks at committed offsets, {} kills",
                self.commits, self.commits_acknowledged, self.looks, self.kills
            )?;
        }
        if self.compacted_passes + self.compacted_away > 0 {
            writeln!(
                f,
                "{} passes over partitions of compacted topics, {} offsets of one compacted away meanwhile, {} in the end",
                self.compacted_passes, self.compacted_away_live, self.compacted_away
            )?;
        }
        for fault in Fault::ALL {
            if self.count(fault) > 0 {
                writeln!(f, "{fault:?}: {}", self.count(fault))?;
            }
            for (_, example) in self.examples.iter().filter(|(of, _)| *of == fault) {
                writeln!(f, "    {example}")?;
            }
        }
        writeln!(f, "{}", if self.faults() == 0 { "no fault" } else { "FAULTY" })
    }
}
