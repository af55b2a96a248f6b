//! The pieces of a run without a broker: intended times, the end of a warm-up, summaries, error limits.

use super::latency::Latencies;
use super::*;

#[test]
fn intended_times_do_not_drift() {
    // 3 requests a second do not divide a second evenly: the error of one must not add up over many.
    let mut schedule = Schedule::new(500, 30, 10, 1, 0);
    for _ in 0..3_000_000 {
        schedule.advance();
    }
    assert_eq!(schedule.due_ns(), 500 + 1_000_000 * SECOND_NS);
}

#[test]
fn connections_share_one_even_sequence() {
    let mut schedules: Vec<Schedule> = (0..3).map(|c| Schedule::new(0, 1000, 10, 3, c)).collect();
    let mut due = Vec::new();
    for _ in 0..4 {
        for schedule in &mut schedules {
            due.push(schedule.due_ns());
            schedule.advance();
        }
    }
    assert_eq!(due, (0..12).map(|k| k * 10_000_000).collect::<Vec<u64>>());
}

#[test]
fn a_far_request_of_a_slow_run_does_not_overflow() {
    let mut schedule = Schedule::new(0, 1, u64::from(u32::MAX), usize::MAX >> 1, 0);
    schedule.advance();
    assert_eq!(schedule.due_ns(), u64::MAX);
}

fn args(warmup_s: u32, percent: Option<f64>, max_s: u32) -> WarmupArgs {
    WarmupArgs { warmup_s, warmup_stable_percent: percent, warmup_s_max: max_s }
}

#[test]
fn a_fixed_warmup_ends_on_time() {
    let mut warmup = Warmup::new(args(3, None, 60));
    assert_eq!(warmup.second(1), None);
    assert_eq!(warmup.second(900), None);
    assert_eq!(warmup.second(5), Some(WarmupOutcome { seconds: 3, stable: None }));
}

#[test]
fn a_broker_that_speeds_up_is_not_warm_until_it_stays_level() {
    let mut warmup = Warmup::new(args(2, Some(10.0), 60));
    let rates = [10, 20, 40, 80, 120, 150, 180, 200, 210, 210, 210, 210, 210, 210, 210];
    let ended = rates.iter().position(|rate| warmup.second(*rate).is_some());
    // 150+180+200+210 = 740 against 840 is too much; 800 against 840 is within a tenth.
    assert_eq!(ended, Some(13));
}

#[test]
fn a_broker_that_never_settles_is_measured_and_called_unstable() {
    let mut warmup = Warmup::new(args(2, Some(5.0), 20));
    let outcome = (0..).find_map(|s| warmup.second(if s % 8 < 4 { 100 } else { 200 } * (s + 1)));
    assert_eq!(outcome, Some(WarmupOutcome { seconds: 20, stable: Some(false) }));
}

#[test]
fn silence_is_not_stable() {
    let mut warmup = Warmup::new(args(1, Some(10.0), 12));
    let outcome = (0..).find_map(|_| warmup.second(0));
    assert_eq!(outcome, Some(WarmupOutcome { seconds: 12, stable: Some(false) }));
}

#[test]
fn a_summary_tells_the_tail_apart() {
    let mut latencies = Latencies::new();
    for _ in 0..9_995 {
        latencies.record_ns(100_000);
    }
    for _ in 0..5 {
        latencies.record_ns(7_000_000);
    }
    let summary = latencies.summary();
    assert_eq!(summary.count, 10_000);
    assert!((summary.p99_us - 100.0).abs() < 1.0 && (summary.p999_us - 100.0).abs() < 1.0);
    assert!((summary.p9999_us - 7_000.0).abs() < 10.0 && (summary.max_us - 7_000.0).abs() < 10.0);
    latencies.clear();
    assert_eq!(latencies.summary(), LatencySummary::default());
}

#[test]
fn what_is_too_long_for_the_histogram_counts_as_its_longest() {
    let mut latencies = Latencies::new();
    latencies.record_ns(u64::MAX);
    assert!(latencies.summary().max_us >= 600e6);
}

#[test]
fn only_requests_intended_within_the_window_make_its_latencies() {
    let mut tally = Tally::new();
    let one = Counts { records: 10, bytes: 1000, requests: 1 };
    tally.answered(0, 5_000_000, one);
    tally.record_latency_from(10_000_000);
    tally.answered(9_000_000, 12_000_000, one);
    tally.answered(10_000_000, 13_000_000, one);
    assert_eq!(tally.total(), Counts { records: 30, bytes: 3000, requests: 3 });
    assert_eq!(tally.latency().count, 1);
    assert_eq!(tally.take_second().count, 3);
    assert_eq!(tally.take_second().count, 0);
}

#[test]
fn a_run_of_errors_ends() {
    let mut tally = Tally::new();
    let ended = (0..5000).position(|_| tally.failed(3).is_err());
    assert_eq!(ended, Some(1000));
    assert_eq!(tally.errors(), [(3, 1001)]);
}
