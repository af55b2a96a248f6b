//! Retention by time and size, segment by segment.

use proptest::prelude::*;

use super::{Aged, Policy, Verdict, decide};

const NOW_MS: i64 = 1_000_000;

fn segments(of: &[(u64, i64)]) -> Vec<Aged> {
    let aged = |(at, (len, largest_timestamp_ms)): (usize, &(u64, i64))| Aged {
        base_offset: at as i64 * 10,
        len: *len,
        largest_timestamp_ms: *largest_timestamp_ms,
    };
    of.iter().enumerate().map(aged).collect()
}

fn by_time(retention_ms: i64) -> Policy {
    Policy { delete: true, retention_ms: Some(retention_ms), retention_bytes: None }
}

fn by_size(retention_bytes: u64) -> Policy {
    Policy { delete: true, retention_ms: None, retention_bytes: Some(retention_bytes) }
}

fn start(of: &[(u64, i64)], policy: Policy) -> Option<Verdict> {
    let segments = segments(of);
    let end_offset = segments.len() as i64 * 10;
    decide(&segments, end_offset, end_offset, policy, NOW_MS)
}

fn from(log_start_offset: i64) -> Option<Verdict> {
    Some(Verdict { log_start_offset, roll: false })
}

#[test]
fn a_segment_goes_when_its_newest_record_is_older_than_allowed_and_all_before_it_go() {
    let of = [(5, 100), (5, 200), (5, 300), (5, 990_000)];
    assert_eq!(start(&of, by_time(NOW_MS - 200)), from(10), "exactly as old as allowed is not too old");
    assert_eq!(start(&of, by_time(NOW_MS - 201)), from(20));
    assert_eq!(start(&of, by_time(NOW_MS)), None);
    let unordered = [(5, 100), (5, 999_999), (5, 100), (5, 100)];
    assert_eq!(start(&unordered, by_time(1000)), from(10), "one that stays keeps all behind it");
}

#[test]
fn a_timestamp_of_the_future_keeps_its_segment() {
    assert_eq!(start(&[(5, NOW_MS + 1), (5, 0)], by_time(0)), None);
    assert_eq!(start(&[(5, i64::MAX), (5, 0)], by_time(1)), None);
    assert_eq!(start(&[(5, i64::MIN), (5, NOW_MS)], by_time(1)), from(10));
}

#[test]
fn the_oldest_segments_go_while_what_is_left_is_not_less_than_allowed() {
    let of = [(30, 0), (30, 0), (30, 0), (10, 0)];
    assert_eq!(start(&of, by_size(100)), None);
    assert_eq!(start(&of, by_size(71)), None, "69 would be left");
    assert_eq!(start(&of, by_size(70)), from(10));
    assert_eq!(start(&of, by_size(41)), from(10));
    assert_eq!(start(&of, by_size(40)), from(20));
    assert_eq!(start(&of, by_size(10)), from(30));
    assert_eq!(start(&of, by_size(0)), Some(Verdict { log_start_offset: 40, roll: true }));
}

#[test]
fn the_active_segment_goes_with_a_new_one_begun_first_but_an_empty_one_stays() {
    assert_eq!(start(&[(5, 0), (5, 0)], by_time(1)), Some(Verdict { log_start_offset: 20, roll: true }));
    let mut empty = segments(&[(5, 0), (0, 0)]);
    empty[1].base_offset = 10;
    assert_eq!(decide(&empty, 10, 10, by_time(1), NOW_MS), from(10));
    assert_eq!(decide(&empty[1..], 10, 10, by_time(1), NOW_MS), None);
}

#[test]
fn nothing_at_or_above_the_high_watermark_goes() {
    let of = segments(&[(5, 0), (5, 0), (5, 0)]);
    assert_eq!(decide(&of, 30, 30, by_time(1), NOW_MS), Some(Verdict { log_start_offset: 30, roll: true }));
    assert_eq!(decide(&of, 30, 29, by_time(1), NOW_MS), from(20));
    assert_eq!(decide(&of, 30, 19, by_time(1), NOW_MS), from(10));
    assert_eq!(decide(&of, 30, 9, by_time(1), NOW_MS), None);
}

#[test]
fn without_delete_in_its_policy_a_log_keeps_everything() {
    assert_eq!(start(&[(5, 0), (5, 0)], Policy { delete: false, ..by_time(0) }), None);
    assert_eq!(start(&[(5, 0), (5, 0)], Policy { delete: true, ..Policy::default() }), None);
}

proptest! {
    #[test]
    fn what_stays_is_never_too_old_at_its_front_nor_a_segment_too_much(
        of in prop::collection::vec((1u64..100, 0i64..NOW_MS), 1..20),
        retention_ms in 0..NOW_MS,
        retention_bytes in 0u64..1000,
    ) {
        let policy = Policy { delete: true, retention_ms: Some(retention_ms), retention_bytes: Some(retention_bytes) };
        let first = start(&of, policy).map_or(0, |verdict| (verdict.log_start_offset / 10) as usize);
        let left: u64 = of[first..].iter().map(|(len, _)| len).sum();
        if let Some((len, timestamp)) = of.get(first) {
            prop_assert!(NOW_MS - timestamp <= retention_ms);
            prop_assert!(left < retention_bytes + len, "{left} bytes stay");
        }
        // What went last by size left enough; what went by time was too old.
        let total: u64 = of.iter().map(|(len, _)| len).sum();
        let mut gone = 0;
        for (len, timestamp) in &of[..first] {
            gone += len;
            prop_assert!(total - gone >= retention_bytes || NOW_MS - timestamp > retention_ms);
        }
    }
}
