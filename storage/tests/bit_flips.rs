//! Every bit of every file of a small store, flipped in turn: it does not matter, it is mended, or it is told. Never a wrong byte, never a
//! record less, never a panic.
//!
//! An ordinary run takes a sample of each file's bits, the same at every run; `CORELOG_EVERY_BIT=1` takes all of them, and hours.
//! `stores` makes the stores whose bits are flipped, `judge` holds what is read afterwards against what was there before.

#![allow(clippy::expect_used, clippy::print_stdout)]

#[path = "bit_flips/judge.rs"]
mod judge;
#[path = "bit_flips/stores.rs"]
mod stores;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use corelog_storage::batch::Batches;
use corelog_storage::io::simulated::Simulation;
use corelog_storage::{journal, log};
use judge::{Before, Outcome};
use stores::Ending;

/// Bits of each file that an ordinary run flips where the file is padding.
const SAMPLE_OF_PADDING: usize = 2;

/// Bits of a file that an ordinary run flips where the file has something.
fn sample_of(path: &Path) -> usize {
    match kind(path).as_str() {
        "checkpoint" => 120,
        "journal" => 48,
        _ => 24,
    }
}

/// Failures after which a run has seen enough.
const FAILURES_MAX: usize = 20;

/// Rules to break on purpose.
#[derive(Debug, Clone, Copy, Default)]
struct Planted {
    journal: journal::Bugs,
    log: log::Bugs,
}

/// How often each outcome came, by the kind of file.
type Tally = BTreeMap<(String, String), u64>;

/// The bits of a file that are to be flipped.
fn bits(path: &Path, contents: &[u8]) -> Vec<u64> {
    if std::env::var_os("CORELOG_EVERY_BIT").is_some() {
        return (0..contents.len() as u64 * 8).collect();
    }
    let (mut content, mut padding) = (Vec::new(), Vec::new());
    for (number, block) in contents.chunks(4096).enumerate() {
        let used = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let first = number * 4096;
        content.extend(first..first + used);
        padding.extend(first + used..first + block.len());
    }
    let sample = |bytes: &[usize], count: usize| -> Vec<u64> {
        // Odd, so that every bit of a byte has its turn.
        let step = (bytes.len() * 8 / count).max(1) | 1;
        (0..bytes.len() * 8).step_by(step).map(|bit| bytes[bit / 8] as u64 * 8 + bit as u64 % 8).collect()
    };
    let mut bits = [sample(&content, sample_of(path)), sample(&padding, SAMPLE_OF_PADDING)].concat();
    if path.extension().is_some_and(|ending| ending == "log") {
        // What a batch's own checksum leaves out: base offset, length, leader epoch, magic; and the checksum itself.
        let mut at = 0;
        for batch in Batches::new(contents).map_while(Result::ok).step_by(13) {
            let start = (batch.bytes.as_ptr() as usize - contents.as_ptr() as usize) as u64;
            assert!(start >= at, "batches in order");
            at = start;
            bits.extend([7, 8 + 2, 8 + 3, 12, 15, 16, 17].map(|byte| (start + byte) * 8 + start % 8));
        }
    }
    bits
}

fn kind(path: &Path) -> String {
    path.extension().map_or_else(|| "none".to_owned(), |ending| ending.to_string_lossy().into_owned())
}

/// Flips the bits that fall to one of several workers; returns what came of them, and what must not be.
fn flip_share(
    ending: Ending,
    planted: Planted,
    (share, shares): (usize, usize),
    failures_max: usize,
) -> (Tally, Vec<String>) {
    let written = stores::written(ending);
    let before = Before::of(&written);
    let (mut tally, mut failures) = (Tally::new(), Vec::new());
    let mut nth = 0;
    for path in written.simulation.paths() {
        let contents = written.simulation.contents(&path).expect("a file");
        for bit in bits(&path, &contents) {
            nth += 1;
            if nth % shares != share {
                continue;
            }
            let copy = written.simulation.copy();
            copy.flip_bit(&path, bit);
            let goes_on = nth / shares % 4 == 0 || kind(&path) == "blocks";
            let judged = catch_unwind(AssertUnwindSafe(|| before.judge(&copy, &path, bit, planted, goes_on)));
            match judged {
                Ok(outcome) => *tally.entry((kind(&path), outcome.name().to_owned())).or_default() += 1,
                Err(panic) => {
                    let what = panic.downcast_ref::<String>().cloned();
                    let what = what.or(panic.downcast_ref::<&str>().map(|what| (*what).to_owned()));
                    failures.push(format!("{ending:?}, bit {bit} of {}: {what:?}", path.display()));
                    if failures.len() >= failures_max {
                        return (tally, failures);
                    }
                }
            }
        }
    }
    (tally, failures)
}

fn flip(ending: Ending) {
    let shares = std::thread::available_parallelism().map_or(2, usize::from);
    let (mut tally, mut failures) = (Tally::new(), Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..shares)
            .map(|share| {
                scope.spawn(move || flip_share(ending, Planted::default(), (share, shares), FAILURES_MAX))
            })
            .collect();
        for worker in workers {
            let (counted, failed) = worker.join().expect("a worker");
            failures.extend(failed);
            for (key, count) in counted {
                *tally.entry(key).or_default() += count;
            }
        }
    });
    for ((kind, outcome), count) in &tally {
        println!("{ending:?}: {kind}: {outcome}: {count}");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let of = |kind: &str, outcomes: &[Outcome]| -> u64 {
        let key = |outcome: &Outcome| (kind.to_owned(), outcome.name().to_owned());
        outcomes.iter().map(|outcome| tally.get(&key(outcome)).copied().unwrap_or(0)).sum()
    };
    // The test must not have looked past what it is about.
    assert!(of("log", &[Outcome::Told]) > 50, "flipped bits of segments are told");
    assert!(of("blocks", &[Outcome::Same]) > 30, "flipped bits of indexes do not matter");
    assert_eq!(of("blocks", &[Outcome::Told, Outcome::Refused, Outcome::Cut]), 0);
    assert!(of("checkpoint", &[Outcome::Refused]) > 20, "flipped bits of checkpoints are told");
    match ending {
        Ending::CleanStop => assert_eq!(of("journal", &[Outcome::Cut, Outcome::Told]), 0),
        _ => assert!(of("journal", &[Outcome::Refused]) > 5, "flipped bits of journals are told"),
    }
}

#[test]
fn no_flipped_bit_of_a_store_that_stopped_cleanly_is_served_or_loses_anything() {
    flip(Ending::CleanStop);
}

#[test]
fn no_flipped_bit_of_a_store_that_was_killed_is_served_or_loses_more_than_its_last_commit() {
    flip(Ending::Killed);
}

#[test]
fn no_flipped_bit_of_a_store_killed_behind_a_large_batch_is_served_or_loses_more_than_its_last_commit() {
    flip(Ending::KilledBehindLargeBatch);
}

#[test]
fn no_flipped_bit_of_a_store_that_lost_its_power_is_served_or_loses_more_than_its_last_commit() {
    flip(Ending::PowerCut);
}

fn is_noticed(planted: Planted) {
    let (_, failures) = flip_share(Ending::KilledBehindLargeBatch, planted, (0, 1), 1);
    println!("{}", failures.join("\n"));
    assert!(!failures.is_empty(), "no flipped bit noticed {planted:?}");
}

#[test]
fn accepting_a_wrong_hash_is_noticed() {
    let bugs = journal::Bugs { accept_wrong_hash: true, ..journal::Bugs::default() };
    is_noticed(Planted { journal: bugs, ..Planted::default() });
}

#[test]
fn trusting_what_batches_do_not_checksum_is_noticed() {
    let bugs = log::Bugs { trust_batch_headers: true, ..log::Bugs::default() };
    is_noticed(Planted { log: bugs, ..Planted::default() });
}

/// What recovery and stores work on.
fn dirs() -> Vec<PathBuf> {
    vec![PathBuf::from("/d")]
}

/// The machine that is judged, with whatever runs on it ended.
fn rest(simulation: &Simulation) -> corelog_storage::io::simulated::SimIo {
    simulation.kill()
}
