//! One log against a plain list of batches: any sequence of appends, reads, look-ups, pauses, stops and kills gives what the list gives.
//!
//! The simulation (`simulation/`) has many logs and crashes at every step; here a failure shrinks to a few readable steps.

#![allow(clippy::expect_used)]

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog_storage::StorageError;
use corelog_storage::batch::{BatchBuilder, BatchHeader, Compression, find_timestamp};
use corelog_storage::io::Io;
use corelog_storage::io::simulated::{SimIo, Simulation};
use corelog_storage::log::{Log, LogConfig, LogIdentity, NoTenant, SharedTenant};
use corelog_storage::recovery::{Advisors, RecoveryOptions, recover};
use corelog_storage::store::{Store, StoreOptions};
use corelog_storage::types::LogId;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// Records with these value lengths and timestamps, compressed or not, and whether the buffer is pinned.
    Append {
        values: Vec<(usize, i64)>,
        compressed: bool,
        pinned: bool,
    },
    /// From an offset in thousandths of the log, so that it falls inside however long it is.
    Read {
        at: i64,
        max_bytes: usize,
        at_least_one: bool,
    },
    /// The first record at or after a time.
    LookUp {
        target_ms: i64,
    },
    /// Long enough for a write-back, or not.
    Pause {
        ms: u64,
    },
    /// Another segment size from here on.
    Resize {
        segment_bytes: u32,
    },
    CleanStop,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let values =
        prop::collection::vec((prop_oneof![8 => 0usize..400, 1 => 3_000usize..9_000], 0i64..200), 1..5);
    prop_oneof![
        10 => (values, any::<bool>(), any::<bool>())
            .prop_map(|(values, compressed, pinned)| Step::Append { values, compressed, pinned }),
        6 => (0i64..1100, 0usize..20_000, any::<bool>())
            .prop_map(|(at, max_bytes, at_least_one)| Step::Read { at, max_bytes, at_least_one }),
        3 => (-1i64..220).prop_map(|target_ms| Step::LookUp { target_ms }),
        2 => (0u64..20).prop_map(|ms| Step::Pause { ms }),
        1 => (1_000u32..40_000).prop_map(|segment_bytes| Step::Resize { segment_bytes }),
        1 => Just(Step::CleanStop),
        1 => Just(Step::Kill),
    ]
}

const LOG_ID: LogId = LogId(9);

fn identity() -> LogIdentity {
    LogIdentity { log_id: LOG_ID, topic_id: [1; 16], topic: "topic".to_owned(), partition: 0 }
}

fn tenant() -> SharedTenant {
    Rc::new(RefCell::new(NoTenant))
}

async fn open(io: SimIo, session: u64, config: LogConfig) -> (Rc<Store<SimIo>>, Rc<Log<SimIo>>) {
    let options = RecoveryOptions { dirs: vec![PathBuf::from("/d")], cores: 1, bugs: Default::default() };
    let mut advisors =
        Advisors { is_live: &mut |_| true, assign: &mut |_| 0, tenant: &mut |_| Box::new(NoTenant) };
    let mut recovered = recover(&io, &options, &mut advisors).await.expect("recovery");
    let core = recovered.cores.remove(0);
    let mut options = StoreOptions::new(session, 200_000);
    options.tail_cache_bytes = 6_000;
    options.dirty_age_ms = 10;
    let store =
        Store::open(io, options, core, &mut |_| tenant(), &mut |_| config).await.expect("a store opens");
    let log = match store.log(LOG_ID) {
        Some(log) => log,
        None => store.create_log(identity(), 0, config, tenant()).await.expect("created"),
    };
    (store, log)
}

/// The log and the list that says what it holds.
struct Pair {
    log: Rc<Log<SimIo>>,
    list: Vec<(BatchHeader, Bytes)>,
}

impl Pair {
    fn end_offset(&self) -> i64 {
        self.list.last().map_or(0, |(header, _)| header.next_offset())
    }

    async fn append(&mut self, values: &[(usize, i64)], compressed: bool, pinned: bool, now_ms: i64) {
        let mut builder = BatchBuilder::new();
        if compressed {
            builder = builder.compression(Compression::Lz4);
        }
        for (at, (len, timestamp_ms)) in values.iter().enumerate() {
            let value: Vec<u8> = (0..*len).map(|i| (i * 31 + at) as u8).collect();
            builder = builder.record(*timestamp_ms, Some(b"key"), Some(&value));
        }
        let built = builder.build();
        let header = BatchHeader::parse(&built).expect("a built batch");
        let permit = match self.log.prepare(built.len(), header.max_timestamp, now_ms).await {
            Err(StorageError::BatchTooLarge { .. }) => return,
            permit => permit.expect("room"),
        };
        let backing_bytes = if pinned { built.len() } else { built.len() * 3 };
        let appended =
            permit.append(BytesMut::from(&built[..]), backing_bytes, &header, 5).expect("appended");
        assert_eq!(appended.base_offset, self.end_offset());
        self.log.durable(appended.next_offset()).await.expect("durable");
        let mut expected = built;
        corelog_storage::batch::assign_offsets(&mut expected, appended.base_offset, 5);
        let header = BatchHeader::parse(&expected).expect("still a batch");
        self.list.push((header, expected.into()));
    }

    async fn read(&self, at: i64, max_bytes: usize, at_least_one: bool) {
        let offset = self.end_offset() * at / 1000;
        let result = self.log.read(offset, max_bytes, at_least_one).await;
        if offset > self.end_offset() {
            assert!(matches!(result, Err(StorageError::OffsetOutOfRange { .. })));
            return;
        }
        let slices = result.expect("in range");
        let from = self.list.partition_point(|(header, _)| header.next_offset() <= offset);
        let read: Vec<u8> = slices.batches.iter().flat_map(|batch| batch.iter().copied()).collect();
        let mut expected = Vec::new();
        let mut next_offset = offset;
        for (header, bytes) in &self.list[from..] {
            if expected.len() == read.len() {
                break;
            }
            expected.extend_from_slice(bytes);
            next_offset = header.next_offset();
        }
        assert_eq!(read, expected);
        assert_eq!(slices.next_offset, next_offset);
        let first_fits = self.list.get(from).is_some_and(|(_, first)| first.len() <= max_bytes);
        let must_give = from < self.list.len() && (at_least_one || first_fits);
        assert_eq!(!read.is_empty(), must_give, "offset {offset} of {}", self.end_offset());
    }

    async fn look_up(&self, target_ms: i64) {
        let expected = self
            .list
            .iter()
            .filter(|(header, _)| header.max_timestamp >= target_ms)
            .find_map(|(_, bytes)| find_timestamp(bytes, target_ms, 0).expect("a sound batch"));
        assert_eq!(self.log.offset_for_timestamp(target_ms).await.expect("searched"), expected);
        let latest = self.list.iter().map(|(header, _)| header.max_timestamp).max();
        let found = self.log.max_timestamp_offset().await.expect("searched");
        assert_eq!(found.map(|(_, timestamp)| timestamp), latest);
    }
}

/// Runs steps until the process ends; returns how many were done.
async fn process(io: SimIo, session: u64, steps: &[Step], list: &mut Vec<(BatchHeader, Bytes)>) -> usize {
    let mut config = LogConfig { segment_bytes: 10_000, segment_ms: 50, ..LogConfig::default() };
    let (store, log) = open(io.clone(), session, config).await;
    let mut pair = Pair { log, list: std::mem::take(list) };
    assert_eq!(pair.log.log_end_offset(), pair.end_offset());
    let mut done = 0;
    for step in steps {
        done += 1;
        match step {
            Step::Append { values, compressed, pinned } => {
                let now_ms = (io.now_ns() / 1_000_000) as i64;
                pair.append(values, *compressed, *pinned, now_ms).await;
            }
            Step::Read { at, max_bytes, at_least_one } => pair.read(*at, *max_bytes, *at_least_one).await,
            Step::LookUp { target_ms } => pair.look_up(*target_ms).await,
            Step::Pause { ms } => io.sleep(Duration::from_millis(*ms)).await,
            Step::Resize { segment_bytes } => {
                config.segment_bytes = *segment_bytes;
                pair.log.set_config(config);
            }
            Step::CleanStop => {
                store.close().await.expect("a clean stop");
                assert!(matches!(pair.log.read(0, 1, true).await, Err(StorageError::Closed)));
                break;
            }
            Step::Kill => break,
        }
    }
    *list = pair.list;
    done
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_log_gives_what_a_list_gives(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..60)) {
        let simulation = Simulation::new(seed);
        let mut io = simulation.io();
        let mut list = Vec::new();
        let mut done = 0;
        let mut session = 1;
        while done < steps.len() {
            done += simulation.block_on(process(io, session, &steps[done..], &mut list));
            io = simulation.kill();
            session += 1;
        }
    }
}
