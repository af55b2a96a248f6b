//! Scrubbing: reading what nobody asked for, so that damage is known before a consumer, or the only good copy's disk, meets it.
//!
//! Here are its vocabulary and its order; `log::scrubbing` verifies a log, `Store::scrub` goes through all. What a checkpoint covers is
//! verified. Deliberately absent: journals and checkpoints, which every start reads and verifies; repair of records, which needs
//! another copy.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::path::PathBuf;

use crate::types::LogId;

/// What a core's scrubbing has read and found since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubStats {
    /// Times that every log was gone through.
    pub passes: u64,
    /// Segments read to their end.
    pub segments: u64,
    /// Bytes of segments verified.
    pub bytes: u64,
    /// Segments that are not what was written, or cannot be read. Counted again by each pass that meets them.
    pub damaged_segments: u64,
    /// Indexes that were not sound and were made again.
    pub mended_indexes: u64,
}

impl ScrubStats {
    pub(crate) fn count(cell: &Cell<Self>, add: impl FnOnce(&mut Self)) {
        let mut stats = cell.get();
        add(&mut stats);
        cell.set(stats);
    }
}

/// Something that whoever runs the broker should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A segment's bytes are not what was written, or cannot be read. Reads of them answer so; all others go on.
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where it begins and what is wrong, for people.
        first: String,
        /// In how many places: chunks of 64 KiB, or batches.
        places: u64,
    },
    /// A segment's index was damaged or missing, and was made again from the segment, which is sound.
    Mended {
        /// The index.
        path: PathBuf,
    },
}

/// The log that comes after `last` when one begins with `first`, or the next above it, and goes round once.
pub(crate) fn next_log<L>(logs: &BTreeMap<LogId, L>, first: LogId, last: Option<LogId>) -> Option<&L> {
    let next = match last {
        None => logs.range(first..).next().or_else(|| logs.iter().next()),
        Some(last) if last >= first => {
            logs.range((Excluded(last), Unbounded)).next().or_else(|| logs.range(..first).next())
        }
        Some(last) => logs.range((Excluded(last), Excluded(first))).next(),
    };
    next.map(|(_, log)| log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_meets_every_log_once_wherever_it_begins_and_whatever_comes_and_goes() {
        let mut logs: BTreeMap<_, _> = [2, 4, 6].map(|id| (LogId(id), id)).into();
        for first in 0..8 {
            let mut round = Vec::new();
            while let Some(id) = next_log(&logs, LogId(first), round.last().copied().map(LogId)) {
                round.push(*id);
            }
            let mut sorted = round.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [2, 4, 6], "from {first}: {round:?}");
        }
        // The one that was met last is gone, and another came behind it.
        assert_eq!(next_log(&logs, LogId(4), Some(LogId(6))), Some(&2));
        logs.remove(&LogId(6));
        logs.insert(LogId(7), 7);
        assert_eq!(next_log(&logs, LogId(4), Some(LogId(6))), Some(&7));
        assert_eq!(next_log(&BTreeMap::<LogId, u64>::new(), LogId(4), None), None);
    }
}
