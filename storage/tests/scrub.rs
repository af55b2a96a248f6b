//! Scrubbing on a simulated disk on which bits rot: all damage is found, in every pass, sound logs are left in peace, and indexes are mended.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::BytesMut;
use corelog_storage::StorageError;
use corelog_storage::batch::{BatchBuilder, BatchHeader};
use corelog_storage::io::Io;
use corelog_storage::io::simulated::{Operation, SimIo, Simulation};
use corelog_storage::log::{Bugs, Log, LogConfig, LogIdentity, NoTenant};
use corelog_storage::recovery::{Advisors, RecoveryOptions, recover};
use corelog_storage::scrub::{Finding, ScrubStats};
use corelog_storage::store::{Store, StoreOptions};
use corelog_storage::throttle::Throttle;
use corelog_storage::types::LogId;

const LOGS: u64 = 3;
const SEGMENT_BYTES: u32 = 200_000;

async fn open(io: &SimIo, bugs: Bugs) -> Rc<Store<SimIo>> {
    let options = RecoveryOptions { dirs: vec!["/d".into()], cores: 1, bugs: Default::default() };
    let mut advisors =
        Advisors { is_live: &mut |_| true, assign: &mut |_| 0, tenant: &mut |_| Box::new(NoTenant) };
    let mut recovered = recover(io, &options, &mut advisors).await.unwrap();
    let mut options = StoreOptions::new(1, 4 << 20);
    options.tail_cache_bytes = 10_000;
    options.dirty_age_ms = 10;
    options.bugs = bugs;
    let tenant = || Rc::new(RefCell::new(NoTenant));
    Store::open(io.clone(), options, recovered.cores.remove(0), &mut |_| tenant(), &mut |_| config())
        .await
        .unwrap()
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: SEGMENT_BYTES, ..LogConfig::default() }
}

/// A store with logs of several segments, the last of them half full; all of it is covered by a checkpoint.
async fn filled(simulation: &Simulation, bugs: Bugs) -> Rc<Store<SimIo>> {
    let io = simulation.io();
    let store = open(&io, bugs).await;
    for partition in 0..LOGS {
        let log_id = LogId(partition + 1);
        let identity =
            LogIdentity { log_id, topic_id: [0; 16], topic: "t".into(), partition: partition as i32 };
        let tenant = Rc::new(RefCell::new(NoTenant));
        let log = store.create_log(identity, 0, config(), tenant).await.unwrap();
        for _ in 0..250 {
            append(&log).await;
        }
    }
    // Long enough for write-back.
    io.sleep(std::time::Duration::from_secs(1)).await;
    store
}

async fn append(log: &Rc<Log<SimIo>>) {
    let bytes = BatchBuilder::new().record(1, None, Some(&[7; 2_000])).build();
    let header = BatchHeader::parse(&bytes).unwrap();
    let permit = log.prepare(bytes.len(), header.max_timestamp, 0).await.unwrap();
    let len = bytes.len();
    let appended = permit.append(BytesMut::from(&bytes[..]), len, &header, 0).unwrap();
    log.durable(appended.next_offset()).await.unwrap();
}

/// One pass.
async fn scrub(store: &Store<SimIo>, throttle: &mut Throttle) -> Vec<Finding> {
    let mut found = Vec::new();
    assert!(store.scrub(LogId(2), throttle, &mut |finding| found.push(finding)).await);
    found
}

fn unthrottled() -> Throttle {
    Throttle::new(f64::MAX, 0)
}

fn segments_of(log: &Log<SimIo>, suffix: &str) -> Vec<PathBuf> {
    let closed = log.closed_segments();
    closed.iter().map(|segment| log.path().join(format!("{:020}{suffix}", segment.base_offset))).collect()
}

/// The segments that were found damaged, with how many places of each.
fn damaged(found: &[Finding]) -> Vec<(&Path, u64)> {
    let one = |finding| match finding {
        &Finding::Damaged { ref path, places, .. } => Some((path.as_path(), places)),
        Finding::Mended { .. } => None,
    };
    found.iter().filter_map(one).collect()
}

#[test]
fn sound_logs_are_read_to_their_last_byte_at_the_given_rate_and_nothing_is_said() {
    let simulation = Simulation::new(1);
    simulation.block_on(async {
        let store = filled(&simulation, Bugs::default()).await;
        let bytes: u64 = store.logs().iter().map(|log| log.size_bytes()).sum();
        assert!(bytes > LOGS * 500_000, "{bytes}");
        let begun_ns = simulation.now_ns();
        let mut throttle = Throttle::new(1e6, begun_ns);
        assert_eq!(scrub(&store, &mut throttle).await, []);
        let segments = store.logs().iter().map(|log| log.segment_count() as u64).sum();
        let stats = ScrubStats { passes: 1, segments, bytes, ..ScrubStats::default() };
        assert_eq!(store.stats().scrubbed, stats);
        let took_s = (simulation.now_ns() - begun_ns) as f64 / 1e9;
        let due_s = bytes as f64 / 1e6;
        assert!((due_s * 0.9..due_s * 1.2).contains(&took_s), "{took_s} s for {bytes} bytes");
    });
}

#[test]
fn every_damaged_segment_is_named_in_every_pass_and_the_others_are_served() {
    let simulation = Simulation::new(2);
    simulation.block_on(async {
        let store = filled(&simulation, Bugs::default()).await;
        let logs = store.logs();
        let closed = segments_of(&logs[0], ".log");
        // Two chunks of one segment; what only a hash covers; the active segment, which is the last one named.
        simulation.flip_bit(&closed[0], 8 * 1_000);
        simulation.flip_bit(&closed[0], 8 * 140_000);
        let of_another = segments_of(&logs[2], ".log");
        simulation.flip_bit(&of_another[1], 8 * 13);
        let active = simulation.paths().into_iter().filter(|path| {
            path.parent() == Some(logs[1].path()) && path.extension().is_some_and(|end| end == "log")
        });
        let active = active.max().expect("an active segment");
        simulation.flip_bit(&active, 8 * 2_500);
        for pass in 1..3 {
            let found = scrub(&store, &mut unthrottled()).await;
            let mut paths = damaged(&found);
            paths.sort_unstable();
            assert_eq!(paths, [(&*closed[0], 2), (&*active, 1), (&*of_another[1], 1)]);
            assert_eq!(store.stats().scrubbed.damaged_segments, 3 * pass);
        }
        assert!(matches!(logs[0].read(0, 1, true).await, Err(StorageError::Corrupt { .. })));
        let next = logs[0].closed_segments()[1].base_offset;
        assert!(logs[0].read(next, 1, true).await.is_ok());
    });
}

#[test]
fn who_does_not_compare_hashes_does_not_see_what_no_crc_covers() {
    let simulation = Simulation::new(2);
    simulation.block_on(async {
        let store = filled(&simulation, Bugs { scrub_trusts_hashes: true, ..Bugs::default() }).await;
        // A leader epoch.
        simulation.flip_bit(&segments_of(&store.logs()[2], ".log")[1], 8 * 13);
        assert_eq!(scrub(&store, &mut unthrottled()).await, [], "or the test above shows nothing");
    });
}

#[test]
fn a_damaged_index_and_one_that_is_gone_are_made_again_and_sound_at_the_next_pass() {
    let simulation = Simulation::new(3);
    simulation.block_on(async {
        let store = filled(&simulation, Bugs::default()).await;
        let indexes = segments_of(&store.logs()[1], ".blocks");
        let before: Vec<_> = indexes.iter().map(|path| simulation.contents(path)).collect();
        simulation.flip_bit(&indexes[0], 8 * 60);
        let paths: Vec<_> = simulation.paths();
        assert!(paths.contains(&indexes[1]), "{paths:?}");
        simulation.flip_bit(&indexes[1], 3);
        let found = scrub(&store, &mut unthrottled()).await;
        let mended = [0, 1].map(|at: usize| Finding::Mended { path: indexes[at].clone() });
        assert_eq!(found, mended);
        assert_eq!(store.stats().scrubbed.mended_indexes, 2);
        assert_eq!(scrub(&store, &mut unthrottled()).await, []);
        assert_eq!(indexes.iter().map(|path| simulation.contents(path)).collect::<Vec<_>>(), before);
    });
}

#[test]
fn an_index_is_not_made_from_a_segment_that_is_damaged_itself() {
    let simulation = Simulation::new(4);
    simulation.block_on(async {
        let store = filled(&simulation, Bugs::default()).await;
        let log = &store.logs()[0];
        let (segment, index) = (&segments_of(log, ".log")[0], &segments_of(log, ".blocks")[0]);
        simulation.flip_bit(index, 8 * 60);
        simulation.flip_bit(segment, 8 * 1_000);
        let as_it_was = simulation.contents(index);
        for _ in 0..2 {
            let found = scrub(&store, &mut unthrottled()).await;
            assert_eq!(damaged(&found), [(&**segment, 1)]);
        }
        assert_eq!(simulation.contents(index), as_it_was);
    });
}

#[test]
fn a_block_that_the_disk_cannot_read_is_damage_and_the_pass_goes_on() {
    let simulation = Simulation::new(5);
    simulation.block_on(async {
        let store = filled(&simulation, Bugs::default()).await;
        // A page of an index is read, then the segment.
        simulation.fail_nth(Operation::Read, 2);
        let found = scrub(&store, &mut unthrottled()).await;
        let unreadable = segments_of(&store.logs()[1], ".log");
        assert_eq!(damaged(&found), [(&*unreadable[0], 1)], "{found:?}");
        assert_eq!(scrub(&store, &mut unthrottled()).await, [], "it was read the next time");
        assert_eq!(store.stats().failed_dirs, [] as [PathBuf; 0]);
    });
}
