//! One run: a few processes one after the other on the same disk, whose ends and choices follow from a seed.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use corelog_storage::io::simulated::{Faults, Random, Simulation};
use corelog_storage::journal::FlushMode;

use crate::life::{Plan, Work};
use crate::model::Model;
use crate::planted::Planted;

/// How a process shall end, unless a crash comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    CleanStop,
    PowerCut,
    Killed,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        // Not the simulation's own numbers: the same choices whatever the simulation draws.
        let mut random = Random::new(seed ^ 0x5eed_0fa5_70e5);
        let dirs = 1 + random.below(2);
        Self {
            dirs: (0..dirs).map(|dir| PathBuf::from(format!("/d{dir}"))).collect(),
            flush: if random.one_in(5) { FlushMode::Written } else { FlushMode::Always },
            segment_bytes: 4_000 + random.below(60_000) as u32,
            faulty: random.one_in(8),
            tight: random.one_in(8),
            // Apart from the other choices, which stay what they were.
            checkpoint_rewrite_bytes_min: 16 * 1024 + Random::new(seed).below(200_000),
            stopped_cleanly: false,
            compacts: false,
            tombstones_stay: false,
            model: Rc::new(RefCell::new(Model::default())),
            random,
        }
        .with_compaction()
    }

    fn with_compaction(mut self) -> Self {
        (self.compacts, self.tombstones_stay) = (self.random.coin(), self.random.coin());
        let mut model = self.model.borrow_mut();
        (model.compacts, model.tombstones_stay) = (self.compacts, self.tombstones_stay);
        drop(model);
        self
    }

    pub fn run(&mut self, simulation: &Simulation, planted: Planted) {
        let mut io = simulation.io();
        let lives = 2 + self.random.below(3);
        let mut life = 0;
        while life < lives {
            let last = life + 1 == lives;
            if !last && self.random.one_in(4) {
                simulation.crash_after_steps(1 + self.random.below(60));
            } else if !last {
                simulation.crash_after_steps(30 + self.random.below(500));
            }
            let end = match self.random.below(3) {
                _ if last => End::CleanStop,
                1 => End::PowerCut,
                2 => End::Killed,
                _ => End::CleanStop,
            };
            let work = Work {
                actors: if last { 2 } else { 4 },
                steps: 10..50,
                upkeep: 0,
                stops: end == End::CleanStop,
            };
            let ended = simulation.run(self.process(simulation, io, planted, work, last));
            simulation.set_faults(Faults::default());
            self.stopped_cleanly = ended == Some(true);
            io = if ended.is_none() && self.random.coin() || end == End::PowerCut {
                if self.flush == FlushMode::Written && !self.stopped_cleanly {
                    // Without flushes a power cut may take any end of a log, but never a middle.
                    for log in self.model.borrow_mut().logs.values_mut() {
                        (log.must_hold, log.start_held) = (0, 0);
                    }
                }
                simulation.crash()
            } else {
                simulation.kill()
            };
            life += 1;
        }
    }
}
