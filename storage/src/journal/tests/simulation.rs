//! Crashes at random steps and failing disks, over seeds: what was acknowledged replays, in order, and nothing else does. Each planted
//! bug must be found. `CORELOG_SEEDS` sets the number of seeds, `CORELOG_SEED` runs one.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::*;
use crate::io::simulated::{Faults, Random, Simulation};

const LOGS: usize = 3;
const ROUNDS: u64 = 4;

/// What one log should hold.
#[derive(Default)]
struct Log {
    /// Payloads since the log began; entry `n` has sequence `n + 1`.
    appended: Vec<Vec<u8>>,
    /// Positions of the entries of this session that no checkpoint covers, by sequence.
    starts: Vec<(u64, u64)>,
    /// Entries that were acknowledged.
    acknowledged: Cell<u64>,
    /// Entries that the journal called durable.
    durable: Rc<DurableTo>,
    /// Entries that a checkpoint covers.
    covered: u64,
}

#[derive(Default)]
struct DurableTo(Cell<u64>);

impl Committed for DurableTo {
    fn committed(&self, next_offset: i64) {
        assert!(next_offset as u64 > self.0.get(), "news out of order");
        self.0.set(next_offset as u64);
    }
}

/// What a machine's users know, and what its checkpoint (which this model takes for granted) says.
#[derive(Default)]
struct Model {
    logs: [Log; LOGS],
    sessions: HashMap<u64, u64>,
}

type Shared = Rc<RefCell<Model>>;

/// One machine's life.
fn live(seed: u64, bugs: Bugs) {
    let simulation = Rc::new(Simulation::new(seed));
    simulation.keep_trace(60);
    let mut random = simulation.random();
    let model = Shared::default();
    let flush = if random.coin() { FlushMode::Always } else { FlushMode::Written };
    let mut io = simulation.io();
    simulation.block_on(io.create_dir_all(Path::new("/logs"))).expect("made");
    simulation.block_on(io.sync_dir(Path::new("/"))).expect("synced");
    // Whether what was acknowledged must still be there.
    let mut kept = true;
    for round in 1..=ROUNDS {
        let mut options = JournalOptions { flush, bugs, ..options(seed << 8 | round) };
        options.pending_bytes_max = 1024 * (16 + random.below(32) as usize);
        options.commits_in_flight_max = 1 + random.below(3) as usize;
        if random.below(4) > 0 {
            simulation.crash_after_steps(1 + random.below(150));
        }
        let life = round_of_life(simulation.clone(), model.clone(), options, kept, random.next_u64());
        let ended = simulation.run(life);
        simulation.set_faults(Faults::default());
        let power_cut = random.coin();
        // A round that was cut before it had recovered leaves the question of the one before.
        let recovered = ended.is_some() || model.borrow().sessions.contains_key(&(seed << 8 | round));
        if recovered {
            kept = true;
        }
        if power_cut && flush == FlushMode::Written {
            kept = false;
        }
        io = if power_cut { simulation.crash() } else { simulation.kill() };
    }
    simulation.block_on(recover(&io, &model, bugs, kept));
}

async fn round_of_life(
    simulation: Rc<Simulation>,
    model: Shared,
    options: JournalOptions,
    kept: bool,
    seed: u64,
) {
    let mut random = Random::new(seed);
    let io = simulation.io();
    recover(&io, &model, options.bugs, kept).await;
    {
        let mut model = model.borrow_mut();
        model.sessions.values_mut().for_each(|live| *live = RETIRED);
        model.sessions.insert(options.session, 0);
    }
    retire(&io, Path::new(DIR), 1).await.expect("retired");
    model.borrow_mut().sessions.retain(|_, live| *live != RETIRED);
    let journal = open(&io, options.clone()).await;
    if random.one_in(4) {
        let (write_error_one_in, flush_error_one_in) = (random.below(2) * 40, random.below(2) * 40);
        simulation.set_faults(Faults { write_error_one_in, flush_error_one_in, ..Faults::default() });
    }
    let running = Rc::new(Cell::new(3));
    for _ in 0..3 {
        let appends = append(journal.clone(), model.clone(), Random::new(random.next_u64()), running.clone());
        io.spawn(Class::Foreground, appends);
    }
    while running.get() > 0 {
        io.sleep(Duration::from_micros(100 + random.below(2000))).await;
        if journal.used_bytes() > journal.capacity_bytes() / 2 || random.one_in(4) {
            checkpoint(&journal, &model, options.session);
        }
    }
    if random.coin() {
        assert_eq!(journal.close().await.is_err(), journal.failure().is_some());
    }
}

async fn append(journal: Rc<Journal<SimIo>>, model: Shared, mut random: Random, running: Rc<Cell<u32>>) {
    for _ in 0..12 {
        if let Err(error) = append_one(&journal, &model, &mut random).await {
            assert!(matches!(error, StorageError::DirectoryFailed { .. }), "{error}");
            assert!(journal.failure().is_some());
            break;
        }
    }
    running.set(running.get() - 1);
}

async fn append_one(journal: &Journal<SimIo>, model: &Shared, random: &mut Random) -> Result<()> {
    let which = random.below(LOGS as u64) as usize;
    let len = if random.one_in(4) { random.below(12_000) } else { random.below(1500) };
    let mut payload = vec![0; len as usize];
    random.fill(&mut payload);
    let (ticket, sequence) = loop {
        let appended = {
            let log = &mut model.borrow_mut().logs[which];
            let sequence = log.appended.len() as u64 + 1;
            let listener: Rc<dyn Committed> = log.durable.clone();
            let header = header(which as u64 + 1, sequence);
            journal
                .append(&header, &[&payload[..payload.len() / 2], &payload[payload.len() / 2..]], &listener)
                .map(|ticket| {
                    log.appended.push(payload.clone());
                    log.starts.push((sequence, ticket.start));
                    (ticket, sequence)
                })
        };
        match appended {
            Ok(appended) => break appended,
            Err(AppendError::Full) => journal.room(payload.len()).await?,
            Err(AppendError::Refused(error)) => return Err(error),
        }
    };
    if random.coin() {
        journal.durable(ticket).await?;
        let model = model.borrow();
        let acknowledged = &model.logs[which].acknowledged;
        acknowledged.set(acknowledged.get().max(sequence));
    }
    Ok(())
}

/// Covers what is durable, says so in the checkpoint, and releases it.
fn checkpoint(journal: &Journal<SimIo>, model: &Shared, session: u64) {
    let mut model = model.borrow_mut();
    let mut live = journal.durable_position();
    for log in &mut model.logs {
        log.covered = log.covered.max(log.durable.0.get());
        let covered = log.covered;
        log.starts.retain(|(sequence, _)| *sequence > covered);
        live = log.starts.iter().map(|(_, start)| *start).min().unwrap_or(live).min(live);
    }
    model.sessions.insert(session, live);
    journal.release(live);
}

async fn recover(io: &SimIo, model: &Shared, bugs: Bugs, kept: bool) {
    let sessions = model.borrow().sessions.clone();
    let mut found: Vec<u64> = model.borrow().logs.iter().map(|log| log.covered).collect();
    let mut visitor = Each(|entry: Replayed<'_>| {
        assert_ne!(sessions.get(&entry.session), Some(&RETIRED), "an entry of a retired session");
        let which = entry.header.log_id.0 as usize - 1;
        let sequence = entry.header.sequence;
        let model = model.borrow();
        let appended = model.logs[which].appended.get(sequence as usize - 1).expect("invented");
        assert_eq!(appended, entry.payload, "another payload");
        if sequence > found[which] {
            assert_eq!(sequence, found[which] + 1, "a hole in a log");
            found[which] = sequence;
        }
    });
    replay(io, Path::new(DIR), &sessions, bugs, &mut visitor).await.expect("nothing is corrupt");
    let mut model = model.borrow_mut();
    for (log, found) in model.logs.iter_mut().zip(found) {
        assert!(
            !kept || found >= log.acknowledged.get(),
            "acknowledged {} of {found}",
            log.acknowledged.get()
        );
        log.appended.truncate(found as usize);
        log.acknowledged.set(found);
        log.durable = Rc::new(DurableTo(Cell::new(found)));
        log.starts.clear();
        log.covered = found;
    }
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("CORELOG_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CORELOG_SEEDS").unwrap_or(default),
    }
}

#[test]
fn acknowledged_entries_survive_and_nothing_is_invented() {
    for seed in seeds(400) {
        live(seed, Bugs::default());
    }
}

fn is_found(bugs: Bugs) {
    let found = (0..2000).any(|seed| catch_unwind(AssertUnwindSafe(|| live(seed, bugs))).is_err());
    assert!(found, "2,000 seeds did not find {bugs:?}");
}

#[test]
fn finds_an_acknowledgement_before_the_flush() {
    is_found(Bugs { acknowledge_before_flush: true, ..Bugs::default() });
}

#[test]
fn finds_an_acknowledgement_out_of_order() {
    is_found(Bugs { acknowledge_out_of_order: true, ..Bugs::default() });
}

#[test]
fn finds_unchained_commits() {
    is_found(Bugs { accept_unchained: true, ..Bugs::default() });
}

#[test]
fn finds_retired_sessions() {
    is_found(Bugs { accept_old_session: true, ..Bugs::default() });
}

#[test]
fn finds_space_recycled_too_early() {
    is_found(Bugs { recycle_before_checkpoint: true, ..Bugs::default() });
}

#[test]
fn finds_a_directory_that_was_not_flushed() {
    is_found(Bugs { skip_directory_flush: true, ..Bugs::default() });
}
