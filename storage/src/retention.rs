//! Which segments of a log are too old or too much, as Kafka decides it (UnifiedLog.deleteOldSegments).
//!
//! Pure: the log hands in its segments and the time, and moves its start to where this says. Deliberately absent: removing
//! anything, compaction, and when to look.

use crate::types::Offset;

/// What a log may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Whether anything is removed by age or size at all: `cleanup.policy` names delete.
    pub delete: bool,
    /// A segment goes when its largest timestamp is older than this many ms; none for never (`retention.ms`).
    pub retention_ms: Option<i64>,
    /// The oldest segments go while the others hold this many bytes or more; none for never (`retention.bytes`).
    pub retention_bytes: Option<u64>,
}

/// A segment as retention sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aged {
    /// Its first offset.
    pub base_offset: Offset,
    /// Its length in bytes.
    pub len: u64,
    /// Its largest timestamp in ms; where its records have none, when it was written to last.
    pub largest_timestamp_ms: i64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Where the log is to start.
    pub log_start_offset: Offset,
    /// Whether the active segment goes too, so that a new one must be begun first.
    pub roll: bool,
}

/// Decides. `segments` are all of the log, oldest first, the active one last; `end_offset` is where that ends. What is not below
/// `high_watermark` stays. None when everything may stay.
pub fn decide(
    segments: &[Aged],
    end_offset: Offset,
    high_watermark: Offset,
    policy: Policy,
    now_ms: i64,
) -> Option<Verdict> {
    if !policy.delete {
        return None;
    }
    let total: u64 = segments.iter().map(|segment| segment.len).sum();
    let mut excess = policy.retention_bytes.map_or(0, |bytes| total.saturating_sub(bytes));
    let too_much = |segment: &Aged| {
        let goes = excess >= segment.len;
        excess -= if goes { segment.len } else { 0 };
        goes && policy.retention_bytes.is_some_and(|bytes| total >= bytes)
    };
    let too_old = |segment: &Aged| {
        // A timestamp of the future makes the age negative: the segment stays until its time has come and gone.
        let age_ms = now_ms.saturating_sub(segment.largest_timestamp_ms);
        policy.retention_ms.is_some_and(|retention_ms| age_ms > retention_ms)
    };
    let large = first_kept(segments, end_offset, high_watermark, too_much);
    let first = large + first_kept(&segments[large..], end_offset, high_watermark, too_old);
    let kept = segments.get(first);
    (first > 0).then(|| Verdict {
        log_start_offset: kept.map_or(end_offset, |kept| kept.base_offset),
        roll: kept.is_none(),
    })
}

/// How many of the first segments go.
fn first_kept(
    segments: &[Aged],
    end_offset: Offset,
    high_watermark: Offset,
    mut goes: impl FnMut(&Aged) -> bool,
) -> usize {
    let ends = segments.iter().skip(1).map(|segment| segment.base_offset).chain([end_offset]);
    let last = segments.len().saturating_sub(1);
    segments
        .iter()
        .zip(ends)
        .enumerate()
        .take_while(|(at, (segment, end))| {
            let empty_and_last = *at == last && segment.len == 0;
            high_watermark >= *end && goes(segment) && !empty_and_last
        })
        .count()
}

#[cfg(test)]
mod tests;
