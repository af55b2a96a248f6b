//! Every flush of the reference traces is a moment at which the power goes, just before it takes effect and just after; and what is left
//! of the writes that no flush covers is tried: none, all, all but one, one alone, any, and every subset where they are few.
//!
//! An ordinary run takes a sample, the same at every run; `CORELOG_EVERY_CRASH_POINT=1` takes all of them. A failure prints its case;
//! `CORELOG_CRASH_POINT=trace:moment` runs all cases of one moment. `trace` runs the traces; model, workload and judge are the
//! simulation's.

#![allow(clippy::expect_used, clippy::print_stdout)]

#[path = "../simulation/compacted.rs"]
mod compacted;
#[path = "../simulation/life.rs"]
mod life;
#[path = "../simulation/model.rs"]
mod model;
#[path = "../simulation/planted.rs"]
mod planted;
mod trace;
#[path = "../simulation/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use corelog_storage::io::simulated::{CrashPoint, Random, Survivors};
use life::Work;
use model::Model;
use planted::Planted;
use trace::{Moment, Reference};

const TRACES: u64 = 4;

/// Up to this many unflushed changes every subset of them is tried, in a full run.
const DECISIONS_MAX: u32 = 6;

/// How much is tried.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// One moment in so many.
    moments_step: usize,
    /// Cases of a moment; None for all that `survivors` knows.
    cases: Option<usize>,
}

const SAMPLE: Effort = Effort { moments_step: 7, cases: Some(3) };
const EVERYTHING: Effort = Effort { moments_step: 1, cases: None };

/// One thing to try.
#[derive(Clone, Copy)]
struct Case {
    trace: u64,
    moment: usize,
    nth: usize,
    survivors: Survivors,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, moment, nth, survivors } = self;
        write!(f, "CORELOG_CRASH_POINT={trace}:{moment}, case {nth}, surviving: {survivors:?}")
    }
}

impl Case {
    fn seed(&self) -> u64 {
        (self.trace << 48) ^ ((self.moment as u64) << 16) ^ self.nth as u64
    }
}

/// What is tried at a moment with so many unflushed changes.
fn survivors(decisions: u32, random: &mut Random) -> Vec<Survivors> {
    let mut all = vec![Survivors::None, Survivors::All, Survivors::Drawn];
    let mut any = |decisions: u32| random.below(u64::from(decisions.max(1))) as u32;
    for _ in 0..2 {
        all.extend([Survivors::AllBut(any(decisions)), Survivors::Only(any(decisions)), Survivors::Drawn]);
    }
    if decisions <= DECISIONS_MAX {
        all.extend((0..1 << decisions).map(Survivors::Subset));
    } else {
        all.extend((0..decisions.min(40)).flat_map(|one| [Survivors::AllBut(one), Survivors::Only(one)]));
        all.extend([Survivors::Drawn; 8]);
    }
    all
}

/// The cases of a moment: all of them, or a sample.
fn cases(trace: u64, nth_moment: usize, moment: &Moment, effort: Effort) -> Vec<Case> {
    let mut random = Random::new(trace << 32 | nth_moment as u64);
    let all = survivors(moment.point.decisions(), &mut random).into_iter().enumerate();
    let all = all.map(|(nth, survivors)| Case { trace, moment: nth_moment, nth, survivors });
    let all: Vec<Case> = all.collect();
    match effort.cases {
        None => all,
        // What keeps nothing, which also shows what was promised too early, and others in turn.
        Some(count) => {
            let others = all.len() - 1;
            let first = random.below(others as u64) as usize;
            let others = (1..count).map(|nth| all[1 + (first + nth * 7) % others]);
            std::iter::once(all[0]).chain(others).collect()
        }
    }
}

/// The power goes at this moment and comes back; what is found is held against what was promised. One case in four goes on from there.
fn judge(reference: &Reference, case: Case, planted: Planted) {
    let Moment { point, model } = &reference.moments[case.moment];
    let mut choice = Random::new(case.seed());
    if choice.one_in(4) {
        // It goes again, during recovery.
        let again = recovery_points(reference, case, planted);
        if !again.is_empty() {
            let (point, model) = &again[choice.below(again.len() as u64) as usize];
            let survivors = survivors(point.decisions(), &mut choice);
            let survivors = survivors[choice.below(survivors.len() as u64) as usize];
            return judge_after(
                reference,
                (point, model, survivors),
                choice.next_u64(),
                planted,
                choice.one_in(4),
            );
        }
    }
    judge_after(reference, (point, model, case.survivors), choice.next_u64(), planted, choice.one_in(4));
}

/// The flushes of the recovery that follows a case.
fn recovery_points(reference: &Reference, case: Case, planted: Planted) -> Vec<(CrashPoint, Model)> {
    let Moment { point, model } = &reference.moments[case.moment];
    let simulation = point.after(case.seed(), case.survivors);
    let mut plan = reference.plan_after(model, case.seed());
    let points = Rc::new(std::cell::RefCell::new(Vec::new()));
    let (kept, model) = (points.clone(), plan.model.clone());
    simulation.watch_flushes(Some(Box::new(move |point| {
        kept.borrow_mut().push((point, model.borrow().clone()));
    })));
    let process = simulation.block_on(plan.start(simulation.io(), 2, planted));
    simulation.watch_flushes(None);
    drop(process);
    simulation.kill();
    points.take()
}

/// Recovers what the power left, judges it, and, when it goes on, works, stops, and does both once more.
fn judge_after(
    reference: &Reference,
    (point, model, survivors): (&CrashPoint, &Model, Survivors),
    seed: u64,
    planted: Planted,
    goes_on: bool,
) {
    let simulation = point.after(seed, survivors);
    let mut plan = reference.plan_after(model, seed);
    let work = Work { actors: 2, steps: 3..8, upkeep: 2, stops: true };
    if goes_on {
        let stopped = simulation.block_on(plan.process(&simulation, simulation.io(), planted, work, true));
        assert!(stopped, "it did not stop cleanly");
    } else {
        simulation.block_on(async {
            let process = plan.start(simulation.io(), 1 + (seed % 3) as u32, planted).await;
            plan.check_recovered(&process).await;
        });
    }
    simulation.kill();
}

/// What a share of the cases came to.
#[derive(Default)]
struct Tried {
    moments: usize,
    cases: usize,
    done: BTreeMap<&'static str, usize>,
    failure: Option<String>,
}

/// Tries the moments of one trace that fall to one of several workers, up to the first failure.
fn try_trace(trace: u64, effort: Effort, (share, shares): (usize, usize), planted: Planted) -> Tried {
    let mut tried = Tried::default();
    let reference = match catch_unwind(|| Reference::run(trace, planted)) {
        Ok(reference) => reference,
        Err(_) => return Tried { failure: Some(format!("trace {trace}, without a crash")), ..tried },
    };
    tried.done.clone_from(&reference.done);
    let offset = trace as usize % effort.moments_step;
    let moments = reference.moments.iter().enumerate().skip(offset).step_by(effort.moments_step);
    for (nth, moment) in moments.skip(share).step_by(shares) {
        tried.moments += 1;
        for case in cases(trace, nth, moment, effort) {
            tried.cases += 1;
            if catch_unwind(AssertUnwindSafe(|| judge(&reference, case, planted))).is_err() {
                tried.failure = Some(case.to_string());
                return tried;
            }
        }
    }
    tried
}

#[test]
fn whatever_the_power_leaves_at_any_flush_nothing_acknowledged_is_lost_and_nothing_is_invented() {
    if let Ok(alone) = std::env::var("CORELOG_CRASH_POINT") {
        return try_alone(&alone);
    }
    let effort = if std::env::var_os("CORELOG_EVERY_CRASH_POINT").is_some() { EVERYTHING } else { SAMPLE };
    let shares = std::thread::available_parallelism().map_or(2, usize::from);
    let mut done = BTreeMap::new();
    for trace in 0..TRACES {
        // Simulations share nothing.
        let tried: Vec<Tried> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..shares)
                .map(|share| {
                    scope.spawn(move || try_trace(trace, effort, (share, shares), Planted::default()))
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker")).collect()
        });
        let (moments, cases) =
            tried.iter().fold((0, 0), |(moments, cases), one| (moments + one.moments, cases + one.cases));
        println!("trace {trace}: {cases} cases at {moments} moments");
        let failures: Vec<_> = tried.iter().filter_map(|one| one.failure.as_ref()).collect();
        assert!(failures.is_empty(), "{failures:#?}");
        for (action, times) in &tried[0].done {
            *done.entry(*action).or_insert(0) += times;
        }
    }
    println!("{done:#?}");
    assert!(done.values().all(|times| *times > 0), "the traces do not do everything: {done:#?}");
}

/// All cases of one moment, named as a failure prints it.
fn try_alone(name: &str) {
    let (trace, moment) = name.split_once(':').expect("CORELOG_CRASH_POINT=trace:moment");
    let (trace, moment) = (trace.parse().expect("a number"), moment.parse().expect("a number"));
    let reference = Reference::run(trace, Planted::default());
    for case in cases(trace, moment, &reference.moments[moment], EVERYTHING) {
        println!("{case}");
        judge(&reference, case, Planted::default());
    }
}

/// The first case that notices the bug, after how many others.
fn caught(planted: Planted) -> Option<(usize, String)> {
    let mut before = 0;
    for trace in 0..TRACES {
        let tried = try_trace(trace, SAMPLE, (0, 1), planted);
        before += tried.cases;
        if let Some(failure) = tried.failure {
            return Some((before, failure));
        }
    }
    None
}

macro_rules! caught {
    ($($test:ident: $part:ident . $bug:ident,)*) => {$(
        #[test]
        fn $test() {
            let mut planted = Planted::default();
            planted.$part.$bug = true;
            let caught = caught(planted);
            assert!(caught.is_some(), "no crash point noticed {}", stringify!($bug));
            println!("{} is noticed: {caught:?}", stringify!($bug));
        }
    )*};
}

planted::for_each_bug!(caught);
