//! When a round is due; what a store refuses; what a failed directory means for the others.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;

use super::plan::{Due, Pressure, due};
use super::{Store, StoreOptions};
use crate::StorageError;
use crate::batch::{BatchBuilder, BatchHeader};
use crate::io::simulated::{Faults, SimIo, Simulation};
use crate::io::{Class, Io, TRANSFER_BYTES_MAX};
use crate::journal::JournalOptions;
use crate::log::home::APPENDING_FILES_MAX;
use crate::log::together::together;
use crate::log::{Log, LogConfig, LogIdentity, NoTenant, SharedTenant};
use crate::recovery::{Advisors, RecoveryOptions, recover};
use crate::types::LogId;

const CALM: Pressure = Pressure { dirty_logs: 1, age_ns: 10, pressed: false, full: false };

#[test]
fn a_round_is_due_when_something_presses_or_has_waited_long_and_never_without_work() {
    assert_eq!(due(CALM, 100), Due::InNs(90));
    assert_eq!(due(Pressure { age_ns: 100, ..CALM }, 100), Due::Now);
    assert_eq!(due(Pressure { pressed: true, ..CALM }, 100), Due::Now);
    assert_eq!(due(Pressure { full: true, ..CALM }, 100), Due::Now);
    assert_eq!(due(Pressure { dirty_logs: 0, age_ns: 500, pressed: true, full: true }, 100), Due::Idle);
}

fn no_tenant() -> SharedTenant {
    Rc::new(RefCell::new(NoTenant))
}

/// A store over two log directories on a simulated disk, with the logs that are found there.
async fn recovered(io: SimIo) -> Rc<Store<SimIo>> {
    recovered_with(io, |_| ()).await
}

/// The same, with what `configure` changes.
async fn recovered_with(io: SimIo, configure: impl FnOnce(&mut StoreOptions)) -> Rc<Store<SimIo>> {
    let dirs = vec![PathBuf::from("/a"), PathBuf::from("/b")];
    let options = RecoveryOptions { dirs, cores: 1, bugs: Default::default() };
    let mut advisors =
        Advisors { is_live: &mut |_| true, assign: &mut |_| 0, tenant: &mut |_| Box::new(NoTenant) };
    let mut recovered = recover(&io, &options, &mut advisors).await.unwrap();
    let mut options = StoreOptions::new(1, 1 << 20);
    options.tail_cache_bytes = 20_000;
    configure(&mut options);
    let core = recovered.cores.remove(0);
    Store::open(io, options, core, &mut |_| no_tenant(), &mut |_| LogConfig::default()).await.unwrap()
}

/// The same with one log in each directory.
async fn two_directories(io: SimIo) -> (Rc<Store<SimIo>>, [Rc<Log<SimIo>>; 2]) {
    let store = recovered(io).await;
    let mut logs = Vec::new();
    for dir_index in [0, 1] {
        let log_id = LogId(dir_index as u64 + 1);
        let identity = LogIdentity { log_id, topic_id: [0; 16], topic: "t".into(), partition: dir_index };
        logs.push(
            store.create_log(identity, dir_index as usize, LogConfig::default(), no_tenant()).await.unwrap(),
        );
    }
    (store, logs.try_into().unwrap())
}

async fn append(log: &Rc<Log<SimIo>>) -> crate::Result<()> {
    append_of(log, 3000).await
}

async fn append_of(log: &Rc<Log<SimIo>>, value_len: usize) -> crate::Result<()> {
    let bytes = BatchBuilder::new().record(1, None, Some(&vec![7; value_len])).build();
    let header = BatchHeader::parse(&bytes).unwrap();
    let permit = log.prepare(bytes.len(), header.max_timestamp, 0).await?;
    let len = bytes.len();
    let appended = permit.append(BytesMut::from(&bytes[..]), len, &header, 0)?;
    log.durable(appended.next_offset()).await
}

#[test]
fn a_failed_directory_takes_only_its_own_logs_with_it_and_leaves_their_memory_to_the_others() {
    let simulation = Simulation::new(5);
    simulation.block_on(async {
        let (store, [broken, sound]) = two_directories(simulation.io()).await;
        append(&broken).await.unwrap();
        let waiting = broken.watch(broken.visible_end_offset());
        simulation.set_faults(Faults { broken_below: vec!["/a".into()], ..Faults::default() });
        let error = append(&broken).await.unwrap_err();
        assert!(matches!(error, StorageError::DirectoryFailed { .. }), "{error}");
        assert!(waiting.await.is_err(), "who waited is told");
        assert!(matches!(broken.read(0, 1, true).await, Err(StorageError::DirectoryFailed { .. })));
        assert_eq!(store.stats().failed_dirs, [PathBuf::from("/a")]);
        for _ in 0..40 {
            append(&sound).await.unwrap();
            simulation.io().sleep(Duration::from_secs(6)).await;
        }
        assert!(store.stats().tail_cache_bytes <= 20_000, "{:?}", store.stats());
        assert!(sound.read(0, 1, true).await.unwrap().total_bytes > 3000, "evicted, and read from the disk");
    });
}

#[test]
fn a_directory_that_failed_elsewhere_fails_here_is_told_of_once_and_leaves_the_names_of_its_deleted_logs_free()
 {
    let simulation = Simulation::new(5);
    simulation.block_on(async {
        let (store, [broken, sound]) = two_directories(simulation.io()).await;
        append(&broken).await.unwrap();
        let cause = StorageError::DirectoryFailed { dir: "/a".into(), cause: "elsewhere".to_owned() };
        store.fail_directory(0, &cause);
        let told = store.failed_directories().await;
        assert!(matches!(&told[..], [(0, StorageError::DirectoryFailed { .. })]), "{told:?}");
        let again = futures_lite::future::poll_once(store.failed_directories()).await;
        assert!(again.is_none(), "{again:?}");
        assert!(append(&broken).await.is_err());
        let identity = LogIdentity { log_id: LogId(9), ..broken.identity().clone() };
        assert!(store.delete_log(LogId(1)).await.is_err());
        let fresh = store.create_log(identity, 1, LogConfig::default(), no_tenant()).await.unwrap();
        append(&fresh).await.unwrap();
        append(&sound).await.unwrap();
    });
}

#[test]
fn recovery_leaves_out_a_directory_that_gives_errors_and_finds_all_of_it_when_it_is_back() {
    let simulation = Simulation::new(5);
    simulation.block_on(async {
        let (_, [first, second]) = two_directories(simulation.io()).await;
        append(&first).await.unwrap();
        append(&second).await.unwrap();
    });
    let io = simulation.kill();
    simulation.block_on(async {
        let dirs = vec![PathBuf::from("/a"), PathBuf::from("/b")];
        let options = RecoveryOptions { dirs, cores: 1, bugs: Default::default() };
        let mut advisors =
            Advisors { is_live: &mut |_| true, assign: &mut |_| 0, tenant: &mut |_| Box::new(NoTenant) };
        for broken in ["/a", "/b"] {
            simulation.set_faults(Faults { broken_below: vec![broken.into()], ..Faults::default() });
            let recovered = recover(&io, &options, &mut advisors).await.unwrap();
            let failed: Vec<_> = recovered.failed_dirs.iter().map(|(dir, _)| dir.clone()).collect();
            assert_eq!(failed, [PathBuf::from(broken)]);
            assert!(recovered.unclean, "nobody knows what its journals say");
            let core = &recovered.cores[0];
            assert_eq!((core.dirs.len(), core.logs.len(), core.logs[0].dir_index), (1, 1, 0));
            assert_ne!(core.dirs[0].path, PathBuf::from(broken));
            assert_eq!(core.logs[0].covered.next_offset, 1);
        }
        simulation.set_faults(Faults::default());
        let recovered = recover(&io, &options, &mut advisors).await.unwrap();
        assert_eq!((recovered.failed_dirs.len(), recovered.cores[0].logs.len()), (0, 2));
        assert!(recovered.cores[0].logs.iter().all(|log| log.covered.next_offset == 1));
    });
}

#[test]
fn a_log_of_a_partition_that_is_there_is_refused_until_the_other_is_deleted() {
    let simulation = Simulation::new(6);
    simulation.block_on(async {
        let (store, [log, _]) = two_directories(simulation.io()).await;
        let again = LogIdentity { log_id: LogId(9), ..log.identity().clone() };
        let refused = store.create_log(again.clone(), 1, LogConfig::default(), no_tenant()).await;
        assert!(matches!(refused, Err(StorageError::LogExists { .. })));
        append(&log).await.unwrap();
        store.delete_log(LogId(1)).await.unwrap();
        assert!(matches!(append(&log).await, Err(StorageError::Closed)));
        let fresh = store.create_log(again, 0, LogConfig::default(), no_tenant()).await.unwrap();
        assert_eq!(fresh.log_end_offset(), 0);
        append(&fresh).await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn a_partition_directory_of_unknown_origin_refuses_the_start_and_is_left_alone() {
    let simulation = Simulation::new(7);
    simulation.block_on(async {
        let io = simulation.io();
        io.create_dir_all(Path::new("/a/foreign-0")).await.unwrap();
        let options = RecoveryOptions { dirs: vec!["/a".into()], cores: 1, bugs: Default::default() };
        let mut advisors =
            Advisors { is_live: &mut |_| true, assign: &mut |_| 0, tenant: &mut |_| Box::new(NoTenant) };
        let error = recover(&io, &options, &mut advisors).await.unwrap_err();
        assert!(error.to_string().starts_with("/a/foreign-0 looks like"), "{error}");
        assert_eq!(io.read_dir(Path::new("/a/foreign-0")).await.unwrap(), []);
    });
}

#[test]
fn nothing_is_swept_up_where_a_named_segment_is_missing_and_a_read_of_it_says_so() {
    let simulation = Simulation::new(8);
    simulation.block_on(async {
        let (store, [log, _]) = two_directories(simulation.io()).await;
        log.set_config(LogConfig { segment_bytes: 4_000, ..LogConfig::default() });
        for _ in 0..3 {
            append(&log).await.unwrap();
        }
        store.close().await.unwrap();
    });
    let io = simulation.kill();
    simulation.block_on(async {
        let store = recovered_with(io.clone(), |options| options.session = 2).await;
        let log = store.log(LogId(1)).unwrap();
        // As when the checkpoint has lost the record that named the file which compaction made in its place.
        let named = log.path().join("00000000000000000000.log");
        let made = log.path().join("00000000000000000000.1.log");
        io.rename(&named, &made).await.unwrap();
        assert_eq!(store.sweep().await.unwrap(), 0);
        assert!(simulation.paths().contains(&made));
        let error = log.read(0, 1, true).await.unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
        assert!(log.read(1, 1, true).await.unwrap().total_bytes > 3000, "its neighbour is there");
        io.rename(&made, &named).await.unwrap();
        assert!(log.read(0, 1, true).await.unwrap().total_bytes > 3000);
    });
}

/// The places `(from, to)` of a file that were written to, by the trace's lines.
fn writes<'a>(trace: impl Iterator<Item = &'a str>, file: &str) -> Vec<(u64, u64)> {
    let written = trace.filter_map(|line| line.split_once(file)?.1.strip_prefix(": write at "));
    let places = written.filter_map(|place| {
        let (from, len) = place.strip_suffix(" bytes")?.split_once(", ")?;
        let from: u64 = from.parse().ok()?;
        Some((from, from + len.parse::<u64>().ok()?))
    });
    places.collect()
}

#[test]
fn a_large_batch_is_written_to_its_segment_once_and_never_again_not_even_by_recovery() {
    const FILE: &str = "/a/t-0/00000000000000000000.log";
    let simulation = Simulation::new(8);
    simulation.keep_trace(100_000);
    simulation.block_on(async {
        let (store, [log, _]) = two_directories(simulation.io()).await;
        // The first round that writes to the segment makes its file durable in its directory.
        append_of(&log, 5_000).await.unwrap();
        simulation.io().sleep(Duration::from_secs(6)).await;
        for _ in 0..3 {
            append_of(&log, 100_000).await.unwrap();
        }
        assert!(store.stats().journals.iter().any(|journal| journal.in_place_bytes >= 3 * 90_000));
    });
    let before = simulation.trace().lines().count();
    let in_place: Vec<_> = writes(simulation.trace().lines(), FILE)
        .into_iter()
        .filter(|(from, to)| to - from >= 90_000)
        .collect();
    assert!(!in_place.is_empty(), "{}", simulation.trace());
    let io = simulation.kill();
    simulation.block_on(async {
        let store = recovered(io).await;
        let log = store.log(LogId(1)).unwrap();
        assert_eq!(log.log_end_offset(), 4);
        // Neither does write-back.
        simulation.io().sleep(Duration::from_secs(6)).await;
        let slices = log.read(1, 1 << 20, true).await.unwrap();
        assert_eq!(slices.next_offset, 4);
    });
    let trace = simulation.trace();
    for (from, to) in writes(trace.lines().skip(before), FILE) {
        let again = in_place.iter().find(|(start, end)| from < *end && to > *start);
        assert_eq!(again, None, "{from}..{to} was written again\n{trace}");
    }
}

#[test]
fn a_cold_batch_that_is_larger_than_a_read_counts_as_what_it_takes() {
    const VALUE_BYTES: usize = 1_600_000;
    const READERS: i64 = 5;
    for (permits, at_once_max) in [(1, 1), (3, 1), (6, 2)] {
        let simulation = Simulation::new(permits as u64);
        simulation.block_on(async {
            let io = simulation.io();
            let configure = |options: &mut StoreOptions| {
                options.journal = JournalOptions::new(0, 1, 64 << 20);
                options.cold_reads_max = permits;
            };
            let store = recovered_with(io.clone(), configure).await;
            let identity =
                LogIdentity { log_id: LogId(1), topic_id: [0; 16], topic: "t".into(), partition: 0 };
            let log = store.create_log(identity, 0, LogConfig::default(), no_tenant()).await.unwrap();
            for _ in 0..READERS {
                append_of(&log, VALUE_BYTES).await.unwrap();
            }
            while store.stats().tail_cache_bytes > 20_000 {
                io.sleep(Duration::from_secs(6)).await;
            }
            let (peak, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
            let (store_seen, peak_seen, over, timer) =
                (store.clone(), peak.clone(), done.clone(), io.clone());
            io.spawn(Class::Foreground, async move {
                while !over.get() {
                    peak_seen.set(peak_seen.get().max(store_seen.stats().cold_bytes));
                    timer.sleep(Duration::from_nanos(100)).await;
                }
            });
            together((0..READERS).map(|offset| {
                let log = log.clone();
                async move {
                    let read = log.read(offset, 1, true).await?;
                    assert_eq!(read.next_offset, offset + 1);
                    assert!(read.total_bytes > VALUE_BYTES);
                    let time = log.offset_for_timestamp(1).await?;
                    assert_eq!(time, Some((0, 1)));
                    Ok(())
                }
            }))
            .await
            .unwrap();
            done.set(true);
            let one = (VALUE_BYTES + TRANSFER_BYTES_MAX) as u64;
            let counted = peak.get() / one;
            assert_eq!(counted, at_once_max, "{} bytes with {permits} permits", peak.get());
            assert_eq!(store.stats().cold_bytes, 0);
        });
    }
}

#[test]
fn logs_that_wait_for_room_in_the_journal_hold_no_files_open() {
    const LOGS: usize = 300;
    const FILES_MAX: usize = 4;
    let simulation = Simulation::new(9);
    simulation.block_on(async {
        let io = simulation.io();
        let store = recovered_with(io.clone(), |options| options.open_files_max = FILES_MAX).await;
        let mut logs = Vec::new();
        for partition in 0..LOGS {
            let log_id = LogId(partition as u64 + 1);
            let partition = partition as i32;
            let identity = LogIdentity { log_id, topic_id: [0; 16], topic: "t".into(), partition };
            let log = store.create_log(identity, 0, LogConfig::default(), no_tenant()).await.unwrap();
            // The first round that writes to the segment makes its file durable in its directory.
            append_of(&log, 5_000).await.unwrap();
            logs.push(log);
        }
        io.sleep(Duration::from_secs(6)).await;
        let idle = simulation.open_files();
        // Several times what the journal holds: most of them wait.
        let ended = Rc::new(Cell::new(0));
        for log in logs {
            let ended = ended.clone();
            io.spawn(Class::Foreground, async move {
                append_of(&log, 100_000).await.unwrap();
                ended.set(ended.get() + 1);
            });
        }
        let mut most = 0;
        while ended.get() < LOGS {
            most = most.max(simulation.open_files());
            io.sleep(Duration::from_micros(50)).await;
        }
        let in_place: u64 = store.stats().journals.iter().map(|journal| journal.in_place_bytes).sum();
        assert!(in_place > LOGS as u64 * 80_000, "they went to their segments: {in_place}");
        // Besides those of the cache: what two commits write to, 16 segments each at most, and the appends whose turn it is.
        let bound = idle + 32 + APPENDING_FILES_MAX as u64;
        assert!(most <= bound, "{most} files were open, {idle} before");
    });
}

#[test]
fn on_a_full_disk_a_log_that_lost_its_reservation_in_a_power_cut_refuses_to_roll_and_goes_on_when_there_is_room()
 {
    let simulation = Simulation::new(12);
    simulation.block_on(async {
        let (_, [log, _]) = two_directories(simulation.io()).await;
        append_of(&log, 100).await.unwrap();
    });
    let io = simulation.crash();
    simulation.block_on(async {
        let store = recovered(io.clone()).await;
        let log = store.log(LogId(1)).unwrap();
        log.set_config(LogConfig { segment_bytes: 200, ..LogConfig::default() });
        simulation.set_faults(Faults { capacity_bytes: Some(1), ..Faults::default() });
        for _ in 0..3 {
            let refused = append_of(&log, 100).await.unwrap_err();
            assert!(refused.is_disk_full(), "{refused}");
            io.sleep(Duration::from_secs(20)).await;
        }
        simulation.set_faults(Faults::default());
        for _ in 0..3 {
            append_of(&log, 100).await.unwrap();
            io.sleep(Duration::from_secs(20)).await;
        }
        assert_eq!((log.segment_count(), store.stats().failed_dirs.len()), (4, 0));
        store.close().await.unwrap();
    });
}

#[test]
fn a_clean_stop_is_clean_also_when_its_last_commit_has_the_checkpoint_rewritten() {
    for rounds in 0..12 {
        let simulation = Simulation::new(5);
        simulation.block_on(async {
            let io = simulation.io();
            let store = recovered_with(io.clone(), |options| options.checkpoint_rewrite_bytes_min = 0).await;
            let identity =
                LogIdentity { log_id: LogId(1), topic_id: [0; 16], topic: "t".into(), partition: 0 };
            let log = store.create_log(identity, 0, LogConfig::default(), no_tenant()).await.unwrap();
            for _ in 0..rounds {
                append(&log).await.unwrap();
                io.sleep(Duration::from_secs(6)).await;
            }
            store.close().await.unwrap();
        });
        let io = simulation.kill();
        let unclean = simulation.block_on(async {
            let dirs = vec![PathBuf::from("/a"), PathBuf::from("/b")];
            let options = RecoveryOptions { dirs, cores: 1, bugs: Default::default() };
            let mut advisors =
                Advisors { is_live: &mut |_| true, assign: &mut |_| 0, tenant: &mut |_| Box::new(NoTenant) };
            recover(&io, &options, &mut advisors).await.unwrap().unclean
        });
        assert!(!unclean, "after {rounds} rounds of write-back");
    }
}
