//! A moment at which the power may go, kept, so that a test can try what a power cut then may leave.
//!
//! Made by the simulation at every flush, see [`Simulation::watch_flushes`]. Deliberately absent: which moments, and which survivors.

use std::path::PathBuf;

use super::Simulation;
use super::disk::Disk;
use super::random::Random;
use super::request::Request;
use super::survivors::{Settling, Survivors};

/// The disk at one moment, with what was in flight.
#[derive(Debug, Clone)]
pub struct CrashPoint {
    pub(super) disk: Disk,
    /// Where, what, and whether it was to fail.
    pub(super) in_flight: Vec<(PathBuf, Request, bool)>,
    pub(super) now_ns: u64,
}

impl CrashPoint {
    /// A machine whose power went here and is back, with the unflushed changes that survived. What is left open, where a write is torn for
    /// example, follows from `seed`.
    pub fn after(&self, seed: u64, survivors: Survivors) -> Simulation {
        Simulation::after_crash(seed, self.settled(seed, survivors).0, self.now_ns)
    }

    /// How many decisions there are about unflushed changes when all of them survive.
    pub fn decisions(&self) -> u32 {
        self.settled(0, Survivors::All).1
    }

    fn settled(&self, seed: u64, survivors: Survivors) -> (Disk, u32) {
        let mut random = Random::new(seed ^ 0xc4a5);
        let mut settling = Settling::new(survivors, &mut random);
        let mut disk = self.disk.clone();
        for (path, request, fails) in &self.in_flight {
            request.interrupt(path, *fails, &mut disk, &mut settling);
        }
        disk.crash(&mut settling);
        (disk, settling.decided)
    }
}
