//! Crashes at random steps of starts with changing numbers of cores, commits and rewrites, over seeds: what was
//! committed is loaded, and every log is in exactly one file. `CORELOG_SEEDS` sets the number, `CORELOG_SEED` one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::io::simulated::Random;

const LOGS: u64 = 5;

/// What may and what must be found of each log.
#[derive(Default)]
struct Model {
    committed: [u64; LOGS as usize],
    issued: [u64; LOGS as usize],
}

type Shared = Rc<RefCell<Model>>;

fn live(seed: u64, bugs: Bugs) {
    let simulation = Simulation::new(seed);
    simulation.keep_trace(40);
    let mut random = simulation.random();
    let model = Shared::default();
    let mut io = simulation.io();
    simulation.block_on(io.create_dir_all(Path::new("/logs"))).expect("made");
    simulation.block_on(io.sync_dir(Path::new("/"))).expect("synced");
    for _ in 0..6 {
        if random.below(5) > 0 {
            simulation.crash_after_steps(1 + random.below(60));
        }
        simulation.run(start(io.clone(), model.clone(), bugs, random.next_u64()));
        io = if random.coin() { simulation.crash() } else { simulation.kill() };
    }
    simulation.block_on(check(&io, &model));
}

async fn check(io: &SimIo, model: &Shared) -> (Loaded, [u64; LOGS as usize]) {
    let loaded = load(io, Path::new(DIR)).await.expect("nothing is corrupt");
    let mut all = [0; LOGS as usize];
    for id in 0..LOGS {
        let found: Vec<_> =
            (0..loaded.files.len()).filter_map(|file| sequence(&loaded, file, id + 1)).collect();
        assert!(found.len() <= 1, "log {id} in {} files", found.len());
        let found = found.first().copied().unwrap_or(0);
        let model = model.borrow();
        let known = (model.committed[id as usize], model.issued[id as usize]);
        assert!(known.0 <= found && found <= known.1, "log {id}: {found}, not in {known:?}");
        all[id as usize] = found;
    }
    (loaded, all)
}

async fn start(io: SimIo, model: Shared, bugs: Bugs, seed: u64) {
    let mut random = Random::new(seed);
    let (loaded, found) = check(&io, &model).await;
    let cores = 1 + random.below(3);
    let records = |sequences: &[u64; LOGS as usize], core: u64| -> Vec<Record> {
        let own = (0..LOGS).filter(|id| id % cores == core);
        own.flat_map(|id| [log(id + 1), state(id + 1, sequences[id as usize])]).collect()
    };
    let dir = Path::new(DIR);
    let mut checkpoints = Vec::new();
    for core in 0..cores {
        let (generation, replaces) = (loaded.next_generation, loaded.generation);
        let identity = FileIdentity { core: core as u32, cores: cores as u32, generation, replaces };
        let created = CheckpointLog::create(io.clone(), dir, identity, &records(&found, core), bugs).await;
        checkpoints.push(created.expect("no faults"));
    }
    // From here on what was found is durable; before, a crash may still bring back less of what was never promised.
    *model.borrow_mut() = Model { committed: found, issued: found };
    remove_other_generations(&io, dir, loaded.next_generation).await.expect("no faults");
    for _ in 0..20 {
        let mut waiting = Vec::new();
        for _ in 0..1 + random.below(3) {
            let id = random.below(LOGS);
            let core = id % cores;
            let checkpoint = &checkpoints[core as usize];
            let sequence = model.borrow().issued[id as usize] + 1;
            model.borrow_mut().issued[id as usize] = sequence;
            if random.one_in(5) {
                let all = records(&model.borrow().issued, core);
                waiting.push((id, sequence, checkpoint.rewrite(all).await));
            } else {
                waiting.push((id, sequence, checkpoint.commit(vec![state(id + 1, sequence)]).await));
            }
        }
        for (id, sequence, done) in waiting {
            done.expect("no faults");
            let committed = &mut model.borrow_mut().committed[id as usize];
            *committed = sequence.max(*committed);
        }
    }
}

#[test]
fn what_was_committed_is_loaded() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("CORELOG_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CORELOG_SEEDS").unwrap_or(400),
    };
    for seed in seeds {
        live(seed, Bugs::default());
    }
}

#[test]
fn finds_a_directory_that_was_not_flushed() {
    let bugs = Bugs { skip_directory_flush: true, ..Bugs::default() };
    let found = (0..2000).any(|seed| catch_unwind(AssertUnwindSafe(|| live(seed, bugs))).is_err());
    assert!(found, "2,000 seeds did not find it");
}
