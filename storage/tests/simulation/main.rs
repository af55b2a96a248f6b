//! Stores on a simulated disk against a model, over thousands of seeds: crashes at any step, other core counts, planted bugs.
//!
//! `CORELOG_SEEDS=n` sets how many seeds run (2,000), `CORELOG_SEED=n` runs one and prints what the disk did. A failing seed prints
//! itself. `life` is one process from start to crash, `workload` what its tasks do, `model` what must be true afterwards.

#![allow(clippy::expect_used, clippy::print_stdout)]

mod compacted;
mod life;
mod model;
mod workload;

use std::panic::{AssertUnwindSafe, catch_unwind};

use corelog_storage::io::simulated::Simulation;
use corelog_storage::{journal, log};
use life::Plan;

/// Bugs to plant, in the journal and above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Planted {
    journal: journal::Bugs,
    log: log::Bugs,
}

const SEEDS: u64 = 2_000;

fn seeds() -> u64 {
    std::env::var("CORELOG_SEEDS").ok().and_then(|value| value.parse().ok()).unwrap_or(SEEDS)
}

/// Everything that happens under one seed. Panics when an invariant breaks.
fn run(seed: u64, planted: Planted) {
    let simulation = Simulation::new(seed);
    simulation.keep_trace(if std::env::var_os("CORELOG_SEED").is_some() { 4_000 } else { 0 });
    let mut plan = Plan::new(seed);
    plan.run(&simulation, planted);
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_invented() {
    if let Some(seed) = std::env::var("CORELOG_SEED").ok().and_then(|value| value.parse().ok()) {
        return run(seed, Planted::default());
    }
    let seeds = seeds();
    // Two threads: simulations share nothing.
    let failed = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || {
                (half..seeds)
                    .step_by(2)
                    .find(|seed| catch_unwind(AssertUnwindSafe(|| run(*seed, Planted::default()))).is_err())
            })
        });
        halves.into_iter().filter_map(|half| half.join().expect("the search itself does not panic")).min()
    });
    assert_eq!(failed, None, "run it again with CORELOG_SEED set to this seed");
}

#[test]
fn a_seed_is_one_run() {
    for seed in [3, 11] {
        let traces = [(), ()].map(|()| {
            let simulation = Simulation::new(seed);
            simulation.keep_trace(100_000);
            Plan::new(seed).run(&simulation, Planted::default());
            simulation.trace()
        });
        assert!(!traces[0].is_empty());
        let parted = traces[0].lines().zip(traces[1].lines()).find(|(one, other)| one != other);
        assert_eq!(parted, None, "seed {seed} took two different runs");
    }
}

/// The first seed that notices the bug.
fn caught(planted: Planted) -> Option<u64> {
    (0..seeds().max(SEEDS)).find(|seed| catch_unwind(AssertUnwindSafe(|| run(*seed, planted))).is_err())
}

macro_rules! caught {
    ($($test:ident: $part:ident . $bug:ident,)*) => {$(
        #[test]
        fn $test() {
            let mut planted = Planted::default();
            planted.$part.$bug = true;
            let seed = caught(planted);
            assert!(seed.is_some(), "no seed noticed {}", stringify!($bug));
            println!("{} is noticed by seed {seed:?}", stringify!($bug));
        }
    )*};
}

caught! {
    acknowledging_before_the_flush_is_noticed: journal.acknowledge_before_flush,
    acknowledging_out_of_order_is_noticed: journal.acknowledge_out_of_order,
    replaying_unchained_commits_is_noticed: journal.accept_unchained,
    replaying_retired_sessions_is_noticed: journal.accept_old_session,
    recycling_before_the_checkpoint_is_noticed: journal.recycle_before_checkpoint,
    skipping_directory_flushes_of_journals_is_noticed: journal.skip_directory_flush,
    showing_before_durable_is_noticed: log.show_before_durable,
    losing_tenant_state_is_noticed: log.lose_tenant_state,
    skipping_directory_flushes_of_logs_is_noticed: log.skip_directory_flush,
    skipping_segment_flushes_is_noticed: log.skip_segment_flush,
    misplacing_the_tail_is_noticed: log.misplace_tail,
    evicting_what_is_uncovered_is_noticed: log.evict_uncovered,
    releasing_before_the_checkpoint_is_noticed: log.release_before_checkpoint,
    skipping_flushes_of_blocks_in_place_is_noticed: journal.skip_in_place_flush,
    trusting_blocks_in_place_is_noticed: journal.trust_blocks_in_place,
    writing_into_new_files_is_noticed: log.write_into_new_files,
    acknowledging_a_log_start_early_is_noticed: log.acknowledge_log_start_early,
    forgetting_the_log_start_is_noticed: log.forget_log_start,
    removing_segments_before_the_checkpoint_is_noticed: log.remove_before_checkpoint,
    sweeping_open_segments_is_noticed: log.sweep_open_segments,
    swapping_before_the_flush_is_noticed: log.swap_before_flush,
    replacing_before_the_checkpoint_is_noticed: log.replace_before_checkpoint,
    dropping_tombstones_early_is_noticed: log.drop_tombstones_early,
    losing_the_newest_record_of_a_key_is_noticed: log.lose_newest_records,
    expiring_what_is_not_durable_is_noticed: log.expire_undurable_records,
    expiring_the_active_segment_is_noticed: log.expire_active_segment,
    scrubbing_without_the_tail_is_noticed: log.scrub_without_tail,
}
