//! Small stores with every kind of file there is, and everything that was acknowledged in them.
//!
//! Built anew for each thread, the same each time. Deliberately absent: what a flipped bit does to them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog_storage::batch::{BatchBuilder, BatchHeader, assign_offsets};
use corelog_storage::compaction;
use corelog_storage::io::Io;
use corelog_storage::io::simulated::{Random, SimIo, Simulation};
use corelog_storage::log::{CompactionMeans, Log, LogConfig, LogIdentity, SharedTenant, Tenant};
use corelog_storage::recovery::{Advisors, RecoveryOptions, recover};
use corelog_storage::store::{Store, StoreOptions};
use corelog_storage::throttle::Throttle;
use corelog_storage::types::LogId;
use corelog_storage::{Result, retention};

use crate::{Planted, dirs};

/// How the store came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    CleanStop,
    /// With commits that no checkpoint covers, the last of them a small one.
    Killed,
    /// The same; the last commit has a batch that it wrote to its segment.
    KilledBehindLargeBatch,
    /// As `Killed`; of what was not flushed, indexes among it, some is lost.
    PowerCut,
}

/// A partition with a segment of more than one chunk.
pub const LONG: LogId = LogId(0x11);
/// With many small segments; the first are gone.
pub const SHORT: LogId = LogId(0x22);
/// Compacted.
pub const COMPACTED: LogId = LogId(0x33);
/// With batches that were written in place.
pub const LARGE: LogId = LogId(0x44);

/// A store at rest.
pub struct Written {
    pub simulation: Simulation,
    pub ending: Ending,
    /// What was acknowledged, each batch with its base offset. Compaction has taken some of it.
    pub acknowledged: BTreeMap<LogId, Vec<(i64, Bytes)>>,
    /// Where each log starts.
    pub starts: BTreeMap<LogId, i64>,
    /// Whose batch the journal's last commit holds.
    pub last: LogId,
}

pub fn identity(log_id: LogId) -> LogIdentity {
    let partition = (log_id.0 >> 4) as i32;
    LogIdentity { log_id, topic_id: [3; 16], topic: "t".to_owned(), partition }
}

pub fn config(log_id: LogId) -> LogConfig {
    LogConfig {
        segment_bytes: match log_id {
            LONG => 70_000,
            SHORT | COMPACTED => 4_000,
            _ => 100_000,
        },
        segment_ms: 1 << 40,
        segment_jitter_ms: 0,
        retention: retention::Policy { delete: false, ..retention::Policy::default() },
        compaction: compaction::Policy {
            compact: log_id == COMPACTED,
            dirty_ratio_min: 0.0,
            delete_retention_ms: 1 << 40,
            ..compaction::Policy::default()
        },
        file_delete_delay_ms: 10,
    }
}

/// Counts batches, and remembers their checksums in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Witness {
    pub batches: u64,
    pub hash: u64,
}

impl Tenant for Witness {
    fn restore(&mut self, snapshot: &[u8]) {
        let field = |at: usize| u64::from_le_bytes(snapshot[at..at + 8].try_into().expect("eight bytes"));
        (self.batches, self.hash) = (field(0), field(8));
    }

    fn replay(&mut self, batch: &BatchHeader) {
        self.batches += 1;
        self.hash = self.hash.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(batch.crc);
    }

    fn snapshot(&self) -> Option<Bytes> {
        let bytes = [self.batches.to_le_bytes(), self.hash.to_le_bytes()].concat();
        (self.batches > 0).then(|| bytes.into())
    }
}

/// An open store.
pub struct Opened {
    pub store: Rc<Store<SimIo>>,
    pub witnesses: BTreeMap<LogId, Rc<RefCell<Witness>>>,
}

/// Recovers and opens. Every log is wanted.
pub async fn open(io: &SimIo, session: u64, planted: Planted) -> Result<Opened> {
    let options = RecoveryOptions { dirs: dirs(), cores: 1, bugs: planted.journal };
    let mut advisors = Advisors {
        is_live: &mut |_| true,
        assign: &mut |_| 0,
        tenant: &mut |_| Box::new(Witness::default()),
    };
    let mut recovered = recover(io, &options, &mut advisors).await?;
    if let Some((_, error)) = recovered.failed_dirs.pop() {
        return Err(error);
    }
    let mut options = StoreOptions::new(session, 128 << 10);
    options.journal.first_extent_bytes = 20 << 10;
    options.journal.extent_bytes = 24 << 10;
    options.journal.commit_bytes_max = 16 << 10;
    options.journal.in_place_bytes_min = 8_192;
    options.journal.bugs = planted.journal;
    options.dirty_age_ms = 1_000;
    options.bugs = planted.log;
    let mut witnesses = BTreeMap::new();
    let mut tenants = |identity: &LogIdentity| -> SharedTenant {
        let witness = Rc::new(RefCell::new(Witness::default()));
        witnesses.insert(identity.log_id, witness.clone());
        witness
    };
    let core = recovered.cores.remove(0);
    let store =
        Store::open(io.clone(), options, core, &mut tenants, &mut |identity| config(identity.log_id)).await?;
    Ok(Opened { store, witnesses })
}

/// A batch of a record or two with random values of `bytes` together, as it lies in the log.
pub async fn append(
    log: &Rc<Log<SimIo>>,
    random: &mut Random,
    bytes: usize,
    leader_epoch: i32,
) -> Result<(i64, Bytes)> {
    let mut builder = BatchBuilder::new();
    for _ in 0..2 {
        let mut value = vec![0; bytes / 2];
        random.fill(&mut value);
        let timestamp_ms = log.log_end_offset() * 10;
        builder = builder.record(timestamp_ms, Some(&[random.below(5) as u8]), Some(&value));
    }
    let built = builder.build();
    let header = BatchHeader::parse(&built).expect("a built batch");
    let permit = log.prepare(built.len(), header.max_timestamp, 0).await?;
    let appended = permit.append(BytesMut::from(&built[..]), built.len(), &header, leader_epoch)?;
    let mut copy = built.to_vec();
    assign_offsets(&mut copy, appended.base_offset, leader_epoch);
    log.durable(appended.next_offset()).await?;
    Ok((appended.base_offset, copy.into()))
}

/// Whoever appends, and what was acknowledged.
struct Writer {
    io: SimIo,
    store: Rc<Store<SimIo>>,
    random: Random,
    acknowledged: BTreeMap<LogId, Vec<(i64, Bytes)>>,
    last: LogId,
    leader_epoch: i32,
}

impl Writer {
    async fn append(&mut self, log_id: LogId, bytes: usize) {
        let log = self.store.log(log_id).expect("a log");
        let appended = append(&log, &mut self.random, bytes, self.leader_epoch).await.expect("appended");
        self.acknowledged.entry(log_id).or_default().push(appended);
        self.last = log_id;
    }

    /// Until everything is covered by a checkpoint.
    async fn write_back(&self) {
        self.io.sleep(Duration::from_secs(2)).await;
        assert_eq!(self.store.stats().dirty_bytes, 0, "{:?}", self.store.stats());
    }

    async fn work(&mut self) {
        for _ in 0..55 {
            self.append(LONG, 1_300).await;
        }
        for _ in 0..14 {
            self.append(SHORT, 700).await;
            self.append(COMPACTED, 700).await;
        }
        self.append(LARGE, 300).await;
        self.write_back().await;
        self.leader_epoch = 5;
        let short = self.store.log(SHORT).expect("a log");
        short.advance_log_start(11).await.expect("advanced");
        let compacted = self.store.log(COMPACTED).expect("a log");
        let throttle = Throttle::new(f64::MAX, self.io.now_ns());
        let mut means = CompactionMeans { map_bytes_max: 1 << 16, throttle };
        let done = compacted.compact(1, &mut means).await.expect("compacted").expect("it was due");
        assert!(done.bytes_after < done.bytes_before, "{done:?}");
        for log_id in [LONG, SHORT, COMPACTED, LARGE, LONG, SHORT] {
            self.append(log_id, 900).await;
        }
        self.append(LARGE, 13_000).await;
        self.write_back().await;
        self.store.sweep().await.expect("swept");
    }

    /// What no checkpoint covers when the process is killed.
    async fn work_on(&mut self, ending: Ending) {
        self.append(LONG, 300).await;
        self.append(LARGE, 14_000).await;
        let short = self.store.log(SHORT).expect("a log");
        short.advance_log_start(13).await.expect("advanced");
        self.append(SHORT, 5_000).await;
        self.append(COMPACTED, 300).await;
        match ending {
            Ending::KilledBehindLargeBatch => self.append(LARGE, 12_000).await,
            _ => self.append(SHORT, 200).await,
        }
        assert!(self.store.stats().dirty_bytes > 15_000, "it was written back early");
    }
}

/// The store that has come to its end in this way.
pub fn written(ending: Ending) -> Written {
    let simulation = Simulation::new(20);
    let io = simulation.io();
    let (acknowledged, starts, last) = simulation.block_on(async {
        let opened = open(&io, 1, Planted::default()).await.expect("an empty store");
        for log_id in [LONG, SHORT, COMPACTED, LARGE] {
            let tenant = Rc::new(RefCell::new(Witness::default()));
            let made = opened.store.create_log(identity(log_id), 0, config(log_id), tenant).await;
            made.expect("a log is made");
        }
        let mut writer = Writer {
            io: io.clone(),
            store: opened.store.clone(),
            random: Random::new(9),
            acknowledged: BTreeMap::new(),
            last: LONG,
            leader_epoch: 3,
        };
        writer.work().await;
        writer.work_on(ending).await;
        let starts = opened.store.logs().into_iter();
        let starts = starts.map(|log| (log.identity().log_id, log.log_start_offset())).collect();
        if ending == Ending::CleanStop {
            opened.store.close().await.expect("closed");
        }
        (writer.acknowledged, starts, writer.last)
    });
    drop(io);
    if ending == Ending::PowerCut {
        simulation.crash()
    } else {
        simulation.kill()
    };
    Written { simulation, ending, acknowledged, starts, last }
}
