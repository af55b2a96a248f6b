//! Store and recovery on a real disk through io_uring: what the simulation proves of the logic, here for the real seam.
//!
//! A killed process is an executor that ends without closing its store; its completed direct writes are on the disk.

#![allow(clippy::expect_used)]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::BytesMut;
use corelog_storage::batch::{BatchBuilder, BatchHeader};
use corelog_storage::io::glommio::GlommioIo;
use corelog_storage::log::{Log, LogConfig, LogIdentity, NoTenant, SharedTenant};
use corelog_storage::recovery::{Advisors, Recovered, RecoveryOptions, recover};
use corelog_storage::store::{Store, StoreOptions};
use corelog_storage::types::LogId;
use glommio::{LocalExecutorBuilder, Placement};

const LOGS: u64 = 100;
const BATCHES: usize = 30;

/// Runs one process of one core in `dir`, which is killed when `work` ends.
fn process<F: Future<Output = ()> + 'static>(
    dir: &Path,
    work: impl FnOnce(Rc<Store<GlommioIo>>, Recovered) -> F + Send + 'static,
) {
    let dir = dir.to_path_buf();
    let executor = LocalExecutorBuilder::new(Placement::Unbound).spawn(move || async move {
        let io = GlommioIo::new();
        let options = RecoveryOptions { dirs: vec![dir], cores: 1, bugs: Default::default() };
        let mut advisors =
            Advisors { is_live: &mut |_| true, assign: &mut |_| 0, tenant: &mut |_| Box::new(NoTenant) };
        let recovered = recover(&io, &options, &mut advisors).await.expect("recovery");
        let session = std::process::id().into();
        let mut options = StoreOptions::new(session, 4 << 20);
        options.open_files_max = 40;
        options.tail_cache_bytes = 1 << 20;
        let core = recovered.cores[0].clone();
        let store = Store::open(io, options, core, &mut |_| tenant(), &mut |_| LogConfig::default()).await;
        work(store.expect("a store opens"), recovered).await;
    });
    executor.expect("an executor").join().expect("the work went well");
}

fn tenant() -> SharedTenant {
    Rc::new(RefCell::new(NoTenant))
}

fn batch(log: u64, number: usize) -> Vec<u8> {
    let len = if number % 10 == 9 { 30_000 } else { 700 };
    let value: Vec<u8> = (0..len).map(|i| (i as u64 * 7 + log * 13 + number as u64) as u8).collect();
    BatchBuilder::new().record(number as i64, None, Some(&value)).build()
}

async fn append_all(log: &Rc<Log<GlommioIo>>, from: usize) {
    let mut next_offset = 0;
    for number in from..from + BATCHES {
        let bytes = batch(log.identity().log_id.0, number);
        let header = BatchHeader::parse(&bytes).expect("a built batch");
        let permit = log.prepare(bytes.len(), header.max_timestamp, 0).await.expect("room");
        let backing_bytes = bytes.len();
        let appended = permit.append(BytesMut::from(&bytes[..]), backing_bytes, &header, 0);
        next_offset = appended.expect("appended").next_offset();
    }
    log.durable(next_offset).await.expect("durable");
}

async fn check(log: &Rc<Log<GlommioIo>>, batches: usize) {
    assert_eq!(log.log_end_offset(), batches as i64);
    let mut offset = 0;
    let mut bytes = Vec::new();
    while offset < log.log_end_offset() {
        let slices = log.read(offset, 1 << 20, true).await.expect("readable");
        slices.batches.iter().for_each(|slice| bytes.extend_from_slice(slice));
        offset = slices.next_offset;
    }
    let mut expected = Vec::new();
    for number in 0..batches {
        let mut batch = batch(log.identity().log_id.0, number);
        corelog_storage::batch::assign_offsets(&mut batch, number as i64, 0);
        expected.extend_from_slice(&batch);
    }
    assert!(bytes == expected, "{log:?} reads other bytes than were appended");
}

#[test]
fn logs_survive_a_kill_and_a_clean_stop_leaves_segments_of_exact_length() {
    let dir: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{}", std::process::id()));
    process(&dir, |store, recovered| async move {
        assert!(!recovered.unclean, "an empty directory is clean");
        for number in 1..=LOGS {
            let identity = LogIdentity {
                log_id: LogId(number),
                topic_id: [2; 16],
                topic: "real".to_owned(),
                partition: number as i32 - 1,
            };
            let log = store.create_log(identity, 0, LogConfig::default(), tenant()).await.expect("created");
            append_all(&log, 0).await;
        }
        // More than the journal holds: rounds of write-back have made room.
        assert!(store.stats().rounds > 0);
        assert!(store.stats().open_files <= 40);
    });
    process(&dir, |store, recovered| async move {
        assert!(recovered.unclean, "it was killed");
        assert_eq!(recovered.report.logs, LOGS);
        for log in store.logs() {
            check(&log, BATCHES).await;
            append_all(&log, BATCHES).await;
        }
        store.close().await.expect("a clean stop");
    });
    let segment = dir.join("real-7/00000000000000000000.log");
    let expected: u64 = (0..2 * BATCHES).map(|number| batch(8, number).len() as u64).sum();
    assert_eq!(std::fs::metadata(&segment).expect("the segment").len(), expected);
    process(&dir, |store, recovered| async move {
        assert!(!recovered.unclean, "it was stopped");
        assert_eq!(recovered.report.replayed_entries, 0);
        for log in store.logs() {
            check(&log, 2 * BATCHES).await;
        }
    });
    std::fs::remove_dir_all(&dir).expect("removed");
}
