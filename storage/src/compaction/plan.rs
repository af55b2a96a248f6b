//! Which part of a log may be compacted, whether that is worth it, and which segments become one.
//!
//! Follows Kafka's `LogCleanerManager.cleanableOffsets` and `Cleaner.groupSegmentsBySize`.

use crate::log::ClosedSegment;
use crate::types::Offset;

/// When a log is compacted, and what of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Whether it is at all: `cleanup.policy` names compact.
    pub compact: bool,
    /// The share of dirty bytes above which it is due (`min.cleanable.dirty.ratio`).
    pub dirty_ratio_min: f64,
    /// A segment with a younger record stays as it is, in ms (`min.compaction.lag.ms`).
    pub lag_ms_min: i64,
    /// A log with an older dirty record is due whatever its ratio, in ms (`max.compaction.lag.ms`).
    pub lag_ms_max: i64,
    /// How long tombstones stay, in ms (`delete.retention.ms`).
    pub delete_retention_ms: i64,
}

impl Default for Policy {
    /// Kafka's defaults, for a log that is not compacted.
    fn default() -> Self {
        Self {
            compact: false,
            dirty_ratio_min: 0.5,
            lag_ms_min: 0,
            lag_ms_max: i64::MAX,
            delete_retention_ms: 24 * 3600 * 1000,
        }
    }
}

/// What of a log could be compacted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dirty {
    /// Everything below was compacted before.
    pub first_dirty_offset: Offset,
    /// Where it must end: the base of a segment.
    pub first_uncleanable_offset: Offset,
    /// Bytes of the segments between.
    pub dirty_bytes: u64,
    /// Their share of all bytes below `first_uncleanable_offset`.
    pub ratio: f64,
    /// Whether it should be compacted now.
    pub due: bool,
}

/// What the log knows of itself.
#[derive(Debug, Clone, Copy)]
pub struct Dust<'a> {
    /// Its closed segments, oldest first.
    pub closed: &'a [ClosedSegment],
    /// Where the last of them ends.
    pub closed_end_offset: Offset,
    /// Where it starts.
    pub log_start_offset: Offset,
    /// How far the last compaction came.
    pub first_dirty_offset: Offset,
    /// Nothing at or above may be looked at: undecided transactions, or not durable.
    pub last_stable_offset: Offset,
}

/// Decides. None when there is nothing to compact.
pub fn dirty(log: &Dust<'_>, policy: &Policy, now_ms: i64) -> Option<Dirty> {
    let end_offset = log.closed_end_offset;
    // A start that has passed it, or an end that has not come to it, makes what was noted worthless.
    let noted = log.first_dirty_offset;
    let first_dirty_offset =
        if (log.log_start_offset..=end_offset).contains(&noted) { noted } else { log.log_start_offset };
    let ends: Vec<Offset> =
        log.closed.iter().skip(1).map(|segment| segment.base_offset).chain([end_offset]).collect();
    let uncleanable = |(segment, end): &(&ClosedSegment, &Offset)| {
        let too_young = policy.lag_ms_min > 0
            && **end > first_dirty_offset
            && largest_timestamp_ms(segment) > now_ms.saturating_sub(policy.lag_ms_min);
        too_young || **end > log.last_stable_offset
    };
    let cleanable: Vec<_> =
        log.closed.iter().zip(&ends).take_while(|segment| !uncleanable(segment)).collect();
    let first_uncleanable_offset = *cleanable.last()?.1;
    let bytes = |of: &dyn Fn(Offset) -> bool| -> u64 {
        cleanable.iter().filter(|(_, end)| of(**end)).map(|(segment, _)| segment.len).sum()
    };
    let dirty_bytes = bytes(&|end| end > first_dirty_offset);
    let total_bytes = bytes(&|_| true);
    if dirty_bytes == 0 {
        return None;
    }
    let ratio = dirty_bytes as f64 / total_bytes as f64;
    let oldest_ms = cleanable
        .iter()
        .filter(|(_, end)| **end > first_dirty_offset)
        .map(|(segment, _)| segment.first_timestamp)
        .filter(|timestamp| *timestamp > 0)
        .min();
    let overdue = oldest_ms.is_some_and(|oldest| oldest < now_ms.saturating_sub(policy.lag_ms_max.max(0)));
    let due = policy.compact && (overdue || ratio > policy.dirty_ratio_min);
    Some(Dirty { first_dirty_offset, first_uncleanable_offset, dirty_bytes, ratio, due })
}

fn largest_timestamp_ms(segment: &ClosedSegment) -> i64 {
    if segment.max_timestamp >= 0 { segment.max_timestamp } else { segment.modified_ms }
}

/// Divides segments, oldest first, into groups that are written as one: at most `segment_bytes` together, and no more offsets
/// than an index counts. `end_offset` is where the last of them ends.
pub fn groups(segments: &[ClosedSegment], end_offset: Offset, segment_bytes: u32) -> Vec<&[ClosedSegment]> {
    let mut groups = Vec::new();
    let mut first = 0;
    while first < segments.len() {
        let mut bytes = segments[first].len;
        let mut next = first + 1;
        while let Some(segment) = segments.get(next) {
            let end = segments.get(next + 1).map_or(end_offset, |after| after.base_offset);
            let offsets = end - segments[first].base_offset;
            if bytes + segment.len > u64::from(segment_bytes) || offsets > i64::from(i32::MAX / 2) {
                break;
            }
            bytes += segment.len;
            next += 1;
        }
        groups.push(&segments[first..next]);
        first = next;
    }
    groups
}
