//! The reference traces: stores that do everything a store does, and every moment at which a flush ends in them, with what was promised.
//!
//! A trace is a few processes of `life`, one after the other: stopped, killed, cut off. It follows from its number alone. Deliberately
//! absent: what the power may leave at such a moment (`main`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use corelog_storage::io::simulated::{CrashPoint, Random, Simulation};
use corelog_storage::journal::FlushMode;

use crate::life::{Plan, Work};
use crate::model::Model;
use crate::planted::Planted;

/// Before or after a flush took effect.
pub struct Moment {
    pub point: CrashPoint,
    /// What was appended, promised and seen until then.
    pub model: Model,
}

/// A trace that has run.
pub struct Reference {
    pub moments: Vec<Moment>,
    /// What it had to do, and how often it did.
    pub done: BTreeMap<&'static str, usize>,
    plan: Plan,
}

/// How the processes of a trace end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    CleanStop,
    Killed,
    PowerCut,
}

const ENDS: [End; 5] = [End::Killed, End::CleanStop, End::PowerCut, End::Killed, End::CleanStop];

/// Whether an operation on the disk is one of those.
type Shows = fn(&str) -> bool;

/// What must be found in the traces: a name, and what an operation on the disk that shows it looks like.
const ACTIONS: [(&str, Shows); 8] = [
    ("commits to journals", |line| line.contains("/journal/") && line.contains("write at")),
    ("journal extents zeroed", |line| line.contains("/journal/") && line.contains("Rename")),
    ("journal extents begun again", |line| {
        line.contains("/journal/") && line.contains("write at 0, 4096 bytes")
    }),
    ("checkpoint files begun", |line| line.contains("/checkpoint/") && line.contains("Rename")),
    ("checkpoint records", |line| line.contains("/checkpoint/") && line.contains("write at")),
    ("segments written", |line| line.contains(".log: write at")),
    ("segments cut to their length", |line| line.contains(".log: SetLen")),
    ("segments removed", |line| line.contains(".log: RemoveFile")),
];

/// What the workload says that it did.
const DONE: [&str; 9] = [
    "batches written in place",
    "clean stops",
    "compactions",
    "log starts advanced",
    "logs deleted",
    "logs made",
    "recoveries that replayed",
    "retention",
    "rounds of write-back",
];

impl Reference {
    /// Runs trace number `number`. Panics when something that was planted shows without any crash.
    pub fn run(number: u64, planted: Planted) -> Self {
        let simulation = Simulation::new(number);
        simulation.keep_trace(1 << 20);
        let mut plan = Plan {
            random: Random::new(number),
            model: Rc::default(),
            dirs: (0..1 + number % 2).map(|dir| PathBuf::from(format!("/d{dir}"))).collect(),
            flush: FlushMode::Always,
            segment_bytes: 16_000,
            faulty: false,
            tight: false,
            compacts: number % 2 == 1,
            tombstones_stay: number % 4 == 3,
            checkpoint_rewrite_bytes_min: 24_000,
            stopped_cleanly: false,
        };
        {
            let mut model = plan.model.borrow_mut();
            (model.compacts, model.tombstones_stay) = (plan.compacts, plan.tombstones_stay);
        }
        let moments = Rc::new(RefCell::new(Vec::new()));
        let (kept, model) = (moments.clone(), plan.model.clone());
        simulation.watch_flushes(Some(Box::new(move |point| {
            kept.borrow_mut().push(Moment { point, model: model.borrow().clone() });
        })));
        let mut io = simulation.io();
        for end in ENDS {
            let work = Work { actors: 3, steps: 10..25, upkeep: 15, stops: end == End::CleanStop };
            let ended = simulation.block_on(plan.process(&simulation, io, planted, work, false));
            plan.stopped_cleanly = ended;
            if ended {
                plan.model.borrow_mut().did("clean stops");
            }
            io = if end == End::PowerCut { simulation.crash() } else { simulation.kill() };
        }
        simulation.watch_flushes(None);
        let trace = simulation.trace();
        if std::env::var_os("CORELOG_TRACE").is_some() {
            eprintln!("{trace}");
        }
        let count = |shows: Shows| trace.lines().filter(|line| shows(line)).count();
        let mut done: BTreeMap<_, _> = ACTIONS.map(|(name, shows)| (name, count(shows))).into();
        done.extend(DONE.map(|what| (what, plan.model.borrow().done.get(what).copied().unwrap_or(0))));
        let moments = moments.take();
        Self { moments, done, plan }
    }

    /// The choices of whoever comes after the power went at this moment.
    pub fn plan_after(&self, model: &Model, seed: u64) -> Plan {
        Plan {
            random: Random::new(seed),
            model: Rc::new(RefCell::new(model.clone())),
            stopped_cleanly: false,
            ..self.plan.clone()
        }
    }
}
