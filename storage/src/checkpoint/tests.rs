//! Tests of the checkpoint log on the simulated disk: behaviour here, crashes over seeds and damaged bits below.

mod bits;
mod records;
mod simulation;

use bytes::Bytes;

use super::*;
use crate::io::simulated::{Faults, Operation, SimIo, Simulation};
use crate::journal::RETIRED;
use crate::types::LogId;

const DIR: &str = "/logs/checkpoint";

fn log(id: u64) -> Record {
    Record::Log(LogRecord {
        log_id: LogId(id),
        topic_id: [7; 16],
        partition: 3,
        owner_epoch: 1,
        directory: format!("topic-{id}"),
    })
}

fn state(id: u64, sequence: u64) -> Record {
    Record::State(StateRecord {
        log_id: LogId(id),
        sequence,
        segment_base_offset: 0,
        segment_len: 100 * sequence,
        next_offset: sequence as i64,
        log_start_offset: 0,
        max_timestamp_ms: -1,
        high_watermark: sequence as i64,
        first_timestamp_ms: -1,
        modified_ms: -1,
        first_dirty_offset: 0,
        leader_epochs: vec![(0, 0), (4, 17)],
        tail: Bytes::from(vec![id as u8; (sequence % 300) as usize]),
    })
}

fn identity(core: u32, cores: u32, generation: u64) -> FileIdentity {
    FileIdentity { core, cores, generation, replaces: generation - 1 }
}

async fn create(io: &SimIo, identity: FileIdentity, records: &[Record]) -> Rc<CheckpointLog<SimIo>> {
    CheckpointLog::create(io.clone(), Path::new(DIR), identity, records, Bugs::default())
        .await
        .expect("created")
}

async fn loaded(io: &SimIo) -> Loaded {
    load(io, Path::new(DIR)).await.expect("loads")
}

fn sequence(loaded: &Loaded, file: usize, id: u64) -> Option<u64> {
    Some(loaded.files.get(file)?.logs.get(&LogId(id))?.state.as_ref()?.sequence)
}

#[test]
fn records_fold_into_what_each_log_was() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    let segment = |base_offset| SegmentRecord {
        log_id: LogId(1),
        base_offset,
        len: 5,
        max_timestamp_ms: 9,
        first_timestamp_ms: 8,
        modified_ms: 7,
        generation: 0,
    };
    let tenant =
        TenantRecord { log_id: LogId(1), end_offset: 12, state: Bytes::from_static(b"producers, opaque") };
    let loaded = simulation.block_on(async {
        let checkpoint = create(&io, identity(0, 1, 1), &[log(1), log(2), state(2, 1)]).await;
        let session = |live_position| Record::Session { session: 5, live_position };
        let first = [
            state(1, 1),
            Record::SegmentClosed(segment(0)),
            Record::SegmentClosed(segment(9)),
            session(4096),
        ];
        checkpoint.commit(first.into()).await.expect("committed");
        let removed = Record::SegmentRemoved { log_id: LogId(1), base_offset: 0 };
        let second =
            [removed, Record::Tenant(tenant.clone()), Record::Dropped { log_id: LogId(2) }, session(RETIRED)];
        checkpoint.commit(second.into()).await.expect("committed");
        loaded(&io).await
    });
    assert_eq!((loaded.generation, loaded.next_generation), (1, 2));
    assert_eq!(loaded.sessions.get(&5), Some(&RETIRED));
    let logs = &loaded.files[0].logs;
    assert_eq!(logs.len(), 1);
    let records: Vec<_> = logs[&LogId(1)].clone().into_records().collect();
    let expected = [log(1), Record::SegmentClosed(segment(9)), state(1, 1), Record::Tenant(tenant)];
    assert_eq!(records, expected);
}

#[test]
fn commits_that_wait_together_share_a_flush() {
    let simulation = Simulation::new(2);
    let io = simulation.io();
    simulation.block_on(async {
        let checkpoint = create(&io, identity(0, 1, 1), &[log(1)]).await;
        let before = simulation.counters().issued(Operation::Flush);
        let commits: Vec<_> = (1..=50).map(|sequence| checkpoint.commit(vec![state(1, sequence)])).collect();
        for commit in commits {
            commit.await.expect("committed");
        }
        assert_eq!(simulation.counters().issued(Operation::Flush), before + 1);
        assert_eq!(sequence(&loaded(&io).await, 0, 1), Some(50));
    });
}

/// Above what a few commits take.
const REWRITE_BYTES_MIN: u64 = 8 << 20;

#[test]
fn a_rewrite_takes_the_place_of_the_file_and_later_commits_go_behind_it() {
    let simulation = Simulation::new(3);
    let io = simulation.io();
    simulation.block_on(async {
        let checkpoint = create(&io, identity(0, 1, 1), &[log(1)]).await;
        assert!(!checkpoint.needs_rewrite(REWRITE_BYTES_MIN));
        let mut written = 0;
        while !checkpoint.needs_rewrite(REWRITE_BYTES_MIN) {
            written += 1;
            checkpoint.commit((0..4000).map(|_| state(1, 299)).collect()).await.expect("committed");
        }
        assert!((5..20).contains(&written), "{written} commits of 1.6 MB");
        let rewritten = checkpoint.rewrite(vec![log(1), state(1, 7)]);
        let behind = checkpoint.commit(vec![log(2), state(2, 1)]);
        rewritten.await.expect("rewritten");
        behind.await.expect("committed");
        assert!(!checkpoint.needs_rewrite(REWRITE_BYTES_MIN) && checkpoint.file_bytes() == 3 * 4096);
        let loaded = loaded(&io).await;
        assert_eq!((sequence(&loaded, 0, 1), sequence(&loaded, 0, 2)), (Some(7), Some(1)));
        assert_eq!(simulation.paths().len(), 1, "{:?}", simulation.paths());
    });
}

#[test]
fn a_generation_counts_when_all_its_files_are_there() {
    let simulation = Simulation::new(4);
    let io = simulation.io();
    simulation.block_on(async {
        let dir = Path::new(DIR);
        create(&io, identity(0, 2, 1), &[log(1), state(1, 1)]).await;
        assert!(loaded(&io).await.files.is_empty(), "a first start that was cut short");
        create(&io, identity(1, 2, 1), &[log(2), state(2, 2)]).await;
        let next = FileIdentity { core: 0, cores: 3, generation: 2, replaces: 1 };
        create(&io, next, &[log(1), log(2), state(1, 9), state(2, 9)]).await;
        let cut_short = loaded(&io).await;
        assert_eq!((cut_short.generation, cut_short.next_generation), (1, 3));
        assert_eq!((sequence(&cut_short, 0, 1), sequence(&cut_short, 1, 2)), (Some(1), Some(2)));

        let replacing = FileIdentity { core: 0, cores: 1, generation: 3, replaces: 1 };
        create(&io, replacing, &[log(1), log(2), state(1, 3), state(2, 4)]).await;
        remove_other_generations(&io, dir, 3).await.expect("removed");
        let whole = loaded(&io).await;
        assert_eq!((whole.generation, whole.files.len()), (3, 1));
        assert_eq!((sequence(&whole, 0, 1), sequence(&whole, 0, 2)), (Some(3), Some(4)));

        let lost = FileIdentity { core: 1, cores: 2, generation: 4, replaces: 3 };
        create(&io, lost, &[]).await;
        remove_other_generations(&io, dir, 4).await.expect("removed");
        let error = load(&io, dir).await.expect_err("core 0's file is gone");
        assert!(error.to_string().contains("should have 2 files"), "{error}");
    });
}

#[test]
fn a_full_disk_refuses_a_commit_and_the_next_one_succeeds() {
    let simulation = Simulation::new(5);
    let io = simulation.io();
    simulation.block_on(async {
        let checkpoint = create(&io, identity(0, 1, 1), &[log(1)]).await;
        simulation.set_faults(Faults { capacity_bytes: Some(9 << 20), ..Faults::default() });
        let large: Vec<_> = (0..30_000).map(|_| state(1, 299)).collect();
        let refused = checkpoint.commit(large.clone()).await.expect_err("12 MB on a disk of 9");
        assert!(matches!(refused, StorageError::DiskFull { .. }), "{refused}");
        let refused =
            checkpoint.rewrite(std::iter::once(log(1)).chain(large).collect()).await.expect_err("full");
        assert!(matches!(refused, StorageError::DiskFull { .. }), "{refused}");
        checkpoint.commit(vec![state(1, 2)]).await.expect("reserved before");
        assert_eq!(sequence(&loaded(&io).await, 0, 1), Some(2));
    });
}

#[test]
fn a_failed_write_is_final() {
    let simulation = Simulation::new(6);
    let io = simulation.io();
    simulation.block_on(async {
        let checkpoint = create(&io, identity(0, 1, 1), &[log(1)]).await;
        simulation.fail_nth(Operation::Flush, 1);
        let behind = checkpoint.commit(vec![state(1, 1)]);
        for commit in [behind, checkpoint.commit(vec![state(1, 2)])] {
            let error = commit.await.expect_err("the flush failed");
            assert!(matches!(error, StorageError::DirectoryFailed { .. }), "{error}");
        }
        let flushes = simulation.counters().issued(Operation::Flush);
        assert!(checkpoint.commit(vec![state(1, 3)]).await.is_err());
        assert_eq!(simulation.counters().issued(Operation::Flush), flushes);
    });
}
