//! One suite for whatever implements `Io`: the simulated disk and the real one must behave alike, or simulating proves
//! nothing. The suite itself is `suite.rs`; here it is run on both, and the real disk gets what only it can show.

// The whole binary is a test; clippy sees that only of functions marked as one.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod real;
mod suite;

use std::path::Path;

use corelog_storage::io::simulated::Simulation;

#[test]
fn the_simulated_disk_conforms_with_every_seed() {
    for seed in 0..50 {
        let simulation = Simulation::new(seed);
        simulation.block_on(suite::all(&simulation.io(), Path::new("/suite")));
        assert_eq!(simulation.open_files(), 0, "seed {seed}");
    }
}

#[test]
fn the_real_disk_conforms() {
    real::on_executor("conforms", |io, dir| async move { suite::all(&io, &dir).await });
}
