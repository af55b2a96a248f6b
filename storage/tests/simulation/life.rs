//! One process on a simulated disk: it recovers, checks what it finds, works, and stops. Shared with `crash_points`.
//!
//! Deliberately absent: which processes follow one another and how they end (`seeded`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;

use corelog_storage::io::simulated::{Faults, Random, SimIo, Simulation};
use corelog_storage::io::{File, Io, OpenMode};
use corelog_storage::journal::FlushMode;
use corelog_storage::log::{Log, LogConfig, LogIdentity, SharedTenant};
use corelog_storage::recovery::{Advisors, RecoveryOptions, recover};
use corelog_storage::retention;
use corelog_storage::segment::{SegmentFile, file_name, parse_file_name};
use corelog_storage::store::{Store, StoreOptions};
use corelog_storage::types::LogId;
use corelog_storage::{StorageError, compaction};

use crate::model::{Chronicle, SharedModel, Stage};
use crate::planted::Planted;
use crate::workload;

/// The choices of a run.
#[derive(Clone)]
pub struct Plan {
    pub random: Random,
    pub model: SharedModel,
    pub dirs: Vec<PathBuf>,
    pub flush: FlushMode,
    pub segment_bytes: u32,
    /// Whether the disk reports errors now and then while a process works.
    pub faulty: bool,
    /// Whether the disk is nearly full while a process works.
    pub tight: bool,
    /// Whether logs are compacted, and whether their tombstones stay.
    pub compacts: bool,
    pub tombstones_stay: bool,
    /// Up to this many bytes checkpoint files are never rewritten.
    pub checkpoint_rewrite_bytes_min: u64,
    /// Whether the process before stopped cleanly.
    pub stopped_cleanly: bool,
}

/// What a process does before it stops, or is killed.
#[derive(Debug, Clone)]
pub struct Work {
    /// Tasks at a time.
    pub actors: usize,
    /// Steps of each.
    pub steps: Range<u64>,
    /// Steps of one more task, which only does what a broker does by itself.
    pub upkeep: u64,
    /// Whether it stops cleanly in the end.
    pub stops: bool,
}

/// Size of the simulated disk unless a fault says otherwise.
const DISK_BYTES: u64 = 1 << 40;

/// What one process runs with.
pub struct Process {
    pub io: SimIo,
    pub stores: Vec<Rc<Store<SimIo>>>,
    pub model: SharedModel,
    pub random: RefCell<Random>,
    pub config: LogConfig,
    pub dirs: usize,
    pub faulty: bool,
    pub tight: bool,
    /// Whether many of its batches hold whole blocks.
    pub bulky: bool,
    /// Each log's tenant, as the broker would keep it.
    pub tenants: RefCell<BTreeMap<LogId, Rc<RefCell<Chronicle>>>>,
}

impl Plan {
    /// A process from its start to a clean stop (then it is true), or to where it is to be killed.
    pub async fn process(
        &mut self,
        simulation: &Simulation,
        io: SimIo,
        planted: Planted,
        work: Work,
        last: bool,
    ) -> bool {
        let cores = 1 + self.random.below(3) as u32;
        let process = self.start(io, cores, planted).await;
        self.check_recovered(&process).await;
        if self.faulty && !self.tight && !last {
            let errors = |random: &mut Random| if random.coin() { 200 + random.below(400) } else { 0 };
            simulation.set_faults(Faults {
                write_error_one_in: errors(&mut self.random),
                flush_error_one_in: errors(&mut self.random),
                ..Faults::default()
            });
        }
        if self.tight && !last {
            let used = DISK_BYTES - process.io.available_bytes(&self.dirs[0]).await.expect("a figure");
            let capacity_bytes = Some(used + self.random.below(400_000));
            simulation.set_faults(Faults { capacity_bytes, ..Faults::default() });
        }
        let process = Rc::new(process);
        workload::run(&process, &work).await;
        process.count_stats();
        if !work.stops {
            return false;
        }
        let mut clean = true;
        for store in &process.stores {
            if let Err(error) = store.close().await {
                process.accept(&error);
                clean = false;
            }
        }
        drop(process);
        if last {
            self.stopped_cleanly = clean;
            let process = self.start(simulation.io(), 2, planted).await;
            self.check_recovered(&process).await;
            check_nothing_is_left_over(&process).await;
        }
        clean
    }

    pub async fn start(&mut self, io: SimIo, cores: u32, planted: Planted) -> Process {
        let model = self.model.clone();
        {
            // The metadata may or may not know a log whose creation was under way.
            let mut model = model.borrow_mut();
            let random = &mut self.random;
            model.logs.retain(|_, log| match log.stage {
                Stage::Live => true,
                Stage::Creating => random.coin(),
                Stage::Deleting => false,
            });
        }
        let options = RecoveryOptions { dirs: self.dirs.clone(), cores, bugs: planted.journal };
        let random = &mut self.random;
        let mut advisors = Advisors {
            is_live: &mut |identity| {
                model.borrow().logs.get(&identity.log_id).is_some_and(|log| log.identity == *identity)
            },
            assign: &mut |_| random.below(u64::from(cores)) as u32,
            tenant: &mut |_| Box::new(Chronicle::default()),
        };
        let recovered = recover(&io, &options, &mut advisors).await.expect("recovery");
        assert!(recovered.failed_dirs.is_empty(), "{:?}", recovered.failed_dirs);
        if recovered.report.replayed_entries > 0 {
            model.borrow_mut().did("recoveries that replayed");
        }
        if self.stopped_cleanly {
            assert!(!recovered.unclean, "the stop was clean");
            assert_eq!(recovered.report.replayed_entries, 0, "a clean stop leaves nothing to replay");
        }
        self.stopped_cleanly = false;
        let tenants = RefCell::new(BTreeMap::new());
        let config = LogConfig {
            segment_bytes: self.segment_bytes,
            segment_ms: if self.random.coin() { 1_000_000 } else { 200 },
            segment_jitter_ms: self.random.below(50) as i64,
            retention: self.retention(),
            compaction: self.compaction(),
            file_delete_delay_ms: self.random.below(40) as i64,
        };
        let mut stores = Vec::new();
        for core in recovered.cores {
            let mut options =
                StoreOptions::new(self.random.next_u64(), 96 * 1024 + self.random.below(200_000));
            options.journal.first_extent_bytes = 16 * 1024 + self.random.below(40_000);
            options.journal.extent_bytes = 32 * 1024;
            options.journal.commit_bytes_max = 4096 * (1 + self.random.below(4) as usize);
            options.journal.pending_bytes_max = 64 * 1024;
            options.journal.commits_in_flight_max = 1 + self.random.below(4) as usize;
            // From never to whatever holds a whole block.
            options.journal.in_place_bytes_min = [usize::MAX, 8_192, 1, 1][self.random.below(4) as usize];
            options.journal.flush = self.flush;
            options.journal.bugs = planted.journal;
            options.tail_cache_bytes = self.random.below(60_000) as usize;
            options.dirty_bytes_due = 4_000 + self.random.below(80_000);
            options.dirty_age_ms = 1 + self.random.below(50);
            options.open_files_max = 1 + self.random.below(8) as usize;
            options.cold_reads_max = 1 + self.random.below(3) as usize;
            options.bugs = planted.log;
            options.checkpoint_rewrite_bytes_min = self.checkpoint_rewrite_bytes_min;
            let mut tenant_of = |identity: &LogIdentity| -> SharedTenant {
                let tenant = Rc::new(RefCell::new(Chronicle::default()));
                tenants.borrow_mut().insert(identity.log_id, tenant.clone());
                tenant
            };
            let store = Store::open(io.clone(), options, core, &mut tenant_of, &mut |_| config).await;
            stores.push(store.expect("a store opens after recovery"));
        }
        Process {
            io,
            stores,
            model: self.model.clone(),
            random: RefCell::new(Random::new(self.random.next_u64())),
            config,
            dirs: self.dirs.len(),
            faulty: self.faulty,
            tight: self.tight,
            // Drawn beside the other choices.
            bulky: self.random.clone().coin(),
            tenants,
        }
    }

    /// Every other process has logs that lose their oldest segments.
    fn retention(&mut self) -> retention::Policy {
        let random = &mut self.random;
        retention::Policy {
            delete: random.coin(),
            retention_ms: random.coin().then(|| random.below(400) as i64),
            retention_bytes: random.coin().then(|| random.below(100_000)),
        }
    }

    /// In every other run logs are compacted; their tombstones stay for ever, or go with the second pass.
    fn compaction(&mut self) -> compaction::Policy {
        let delete_retention_ms = if self.tombstones_stay { 1 << 40 } else { 0 };
        let dirty_ratio_min = self.random.below(6) as f64 / 10.0;
        compaction::Policy {
            compact: self.compacts,
            dirty_ratio_min,
            delete_retention_ms,
            ..compaction::Policy::default()
        }
    }

    /// Holds every log against the model, byte for byte.
    pub async fn check_recovered(&self, process: &Process) {
        let logs: BTreeMap<LogId, Rc<Log<SimIo>>> = process
            .stores
            .iter()
            .flat_map(|store| store.logs())
            .map(|log| (log.identity().log_id, log))
            .collect();
        self.take_over_ends(process, &logs);
        assert_eq!(logs.len(), self.model.borrow().logs.len(), "logs that nobody knows");
        for log in logs.values() {
            check_closed_segments(&process.io, log).await;
            let mut offset = log.log_start_offset();
            while offset < log.visible_end_offset() {
                let slices = log.read(offset, 20_000, true).await.expect("a recovered log can be read");
                assert!(slices.next_offset > offset, "{log:?}: nothing at {offset}");
                let mut model = self.model.borrow_mut();
                model.check_read(log.identity().log_id, offset, &slices.batches, slices.next_offset);
                offset = slices.next_offset;
            }
        }
    }

    /// Holds ends and tenants against the model, which takes over what survived.
    fn take_over_ends(&self, process: &Process, logs: &BTreeMap<LogId, Rc<Log<SimIo>>>) {
        let mut model = self.model.borrow_mut();
        model.logs.retain(|log_id, model_log| {
            let Some(log) = logs.get(log_id) else {
                assert_eq!(model_log.stage, Stage::Creating, "{} is gone", model_log.identity.dir_name());
                return false;
            };
            model_log.stage = Stage::Live;
            model_log.recovered(log.log_start_offset(), log.log_end_offset());
            assert_eq!(log.visible_end_offset(), log.log_end_offset());
            let tenants = process.tenants.borrow();
            let tenant = tenants.get(log_id).expect("every log was given one").borrow();
            assert_eq!(*tenant, Chronicle::of(model_log), "{}: the tenant", log.identity().dir_name());
            true
        });
    }
}

/// What a checkpoint names must be there, to the last byte.
async fn check_closed_segments(io: &SimIo, log: &Log<SimIo>) {
    for segment in log.closed_segments() {
        let name = file_name(segment.base_offset, segment.generation, SegmentFile::Log);
        let path = log.path().join(name);
        let file = io.open(&path, OpenMode::Existing).await.expect("a closed segment has a file");
        assert_eq!(file.len().await.expect("a length"), segment.len, "{}", path.display());
    }
}

/// Once swept, a log's directory holds the files of its segments and nothing else.
async fn check_nothing_is_left_over(process: &Process) {
    for store in &process.stores {
        store.sweep().await.expect("a sweep");
        for log in store.logs() {
            let closed = log.closed_segments();
            for entry in process.io.read_dir(log.path()).await.expect("a listing") {
                let name = parse_file_name(&entry.name).expect("only segments are left");
                let id = (name.base_offset, name.generation);
                let newest = closed.last().is_none_or(|last| name.base_offset > last.base_offset);
                let mut ids = closed.iter().map(|segment| (segment.base_offset, segment.generation));
                let named = newest || ids.any(|other| other == id);
                assert!(named, "{log:?}: {} is left over", entry.name);
            }
        }
    }
}

impl Process {
    /// Errors that the disk caused on purpose are fine; any other is a bug.
    pub fn accept(&self, error: &StorageError) {
        let expected = match error {
            StorageError::Closed => true,
            StorageError::DirectoryFailed { .. } => self.faulty && !self.tight,
            error => self.tight && error.is_disk_full(),
        };
        assert!(expected, "{error}");
    }

    /// Something that a store does was done.
    pub fn did(&self, what: &'static str) {
        self.model.borrow_mut().did(what);
    }

    fn count_stats(&self) {
        for stats in self.stores.iter().map(|store| store.stats()) {
            if stats.rounds > 0 {
                self.did("rounds of write-back");
            }
            if stats.journals.iter().any(|journal| journal.in_place_bytes > 0) {
                self.did("batches written in place");
            }
        }
    }

    pub fn now_ms(&self) -> i64 {
        (self.io.now_ns() / 1_000_000) as i64
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.random.borrow_mut().below(bound)
    }

    pub fn one_in(&self, n: u64) -> bool {
        self.random.borrow_mut().one_in(n)
    }

    /// A log that is open, chosen at random.
    pub fn any_log(&self) -> Option<Rc<Log<SimIo>>> {
        let mut logs: Vec<_> = self.stores.iter().flat_map(|store| store.logs()).collect();
        // In an order that follows from the seed alone.
        logs.sort_by_key(|log| log.identity().log_id);
        let at = self.below(logs.len().max(1) as u64) as usize;
        logs.into_iter().nth(at)
    }
}
