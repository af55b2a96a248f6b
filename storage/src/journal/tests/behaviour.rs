//! What callers of a journal can rely on.

use super::*;
use crate::io::simulated::{Faults, Operation, Simulation};

#[test]
fn appends_of_one_run_share_a_commit_and_each_log_hears_once() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    simulation.block_on(async {
        let journal = open(&io, options(1)).await;
        let (first, first_log) = listener();
        let (second, second_log) = listener();
        let mut last = None;
        for sequence in 1..=5 {
            last = Some(journal.append(&header(1, sequence), &[b"abc", b"de"], &first_log).expect("room"));
            journal.append(&header(2, sequence + 10), &[b"x"], &second_log).expect("room");
        }
        journal.durable(last.expect("five appends")).await.expect("durable");
        assert_eq!((journal.stats().commits, journal.stats().entries), (1, 10));
        assert_eq!(*first.0.borrow(), [5]);
        assert_eq!(*second.0.borrow(), [15]);
    });
    let entries = simulation.block_on(replayed(&simulation.kill(), &[(1, 0)])).expect("whole");
    assert_eq!(entries[0], (1, 1, b"abcde".to_vec()));
    assert_eq!(entries[9], (2, 15, b"x".to_vec()));
}

#[test]
fn an_entry_larger_than_a_commit_gets_its_own_and_beyond_the_limit_is_refused() {
    let simulation = Simulation::new(2);
    let io = simulation.io();
    simulation.block_on(async {
        let journal = open(&io, options(1)).await;
        let (_, log) = listener();
        let limit = journal.payload_bytes_max();
        assert_eq!(limit, 12 * 1024);
        journal.append(&header(1, 1), &[b"small"], &log).expect("room");
        journal.room(limit).await.expect("room");
        let ticket = journal.append(&header(1, 2), &[&vec![2; limit]], &log).expect("room");
        journal.durable(ticket).await.expect("durable");
        assert_eq!(journal.stats().commits, 2);
        let refused = journal.append(&header(1, 3), &[&vec![2; limit + 1]], &log);
        assert!(matches!(refused, Err(AppendError::Refused(StorageError::BatchTooLarge { .. }))));
    });
    let entries = simulation.block_on(replayed(&simulation.kill(), &[(1, 0)])).expect("whole");
    assert_eq!(entries[1].2, vec![2; 12 * 1024]);
}

#[test]
fn a_full_journal_makes_appends_wait_for_a_release() {
    let simulation = Simulation::new(3);
    let io = simulation.io();
    simulation.block_on(async {
        let journal = open(&io, options(1)).await;
        let (_, log) = listener();
        let mut sequence = 0;
        let mut last = Ticket { start: 0, end: 0 };
        let pressed = journal.used_above(journal.capacity_bytes() / 2);
        loop {
            sequence += 1;
            match journal.append(&header(1, sequence), &[&[3; 4000]], &log) {
                Ok(ticket) => last = ticket,
                Err(AppendError::Full) if journal.durable_position() >= last.end => {
                    // The zeroing task may still be at work: only a journal at its capacity is full for good.
                    if journal.stats().extents == 4 {
                        break;
                    }
                    io.sleep(std::time::Duration::from_millis(1)).await;
                }
                Err(AppendError::Full) => journal.durable(last).await.expect("durable"),
                Err(error) => panic!("{error}"),
            }
        }
        pressed.await;
        assert!(!journal.has_room(4000).expect("open"));
        assert!(journal.used_bytes() > journal.capacity_bytes() / 2);
        let release = async {
            io.sleep(std::time::Duration::from_millis(5)).await;
            journal.release(u64::MAX);
            assert_eq!(journal.oldest_live_position(), journal.durable_position());
        };
        let before = io.now_ns();
        let mut release = std::pin::pin!(release);
        let mut room = std::pin::pin!(journal.room(4000));
        std::future::poll_fn(|cx| {
            let _ = release.as_mut().poll(cx);
            room.as_mut().poll(cx)
        })
        .await
        .expect("room again");
        assert!(io.now_ns() - before >= 5_000_000, "room came before the release");
    });
}

/// A journal that has its three extents, with nothing under way.
async fn open_and_quiet(io: &SimIo, commits_in_flight_max: usize) -> Rc<Journal<SimIo>> {
    let options = JournalOptions { capacity_bytes: 1, commits_in_flight_max, ..options(1) };
    let journal = open(io, JournalOptions { pending_bytes_max: 1 << 20, ..options }).await;
    let first = journal.append(&header(9, 1), &[b"a"], &listener().1).expect("room");
    journal.durable(first).await.expect("durable");
    while journal.stats().extents < 3 {
        io.sleep(std::time::Duration::from_millis(1)).await;
    }
    journal
}

/// An entry that fills a commit.
const FULL: &[u8] = &[7; 6 * 1024];

/// Nanoseconds until three full commits are durable, and who heard of them.
fn three_full_commits(commits_in_flight_max: usize) -> (u64, Vec<i64>) {
    let simulation = Simulation::new(10);
    let io = simulation.io();
    simulation.block_on(async {
        let journal = open_and_quiet(&io, commits_in_flight_max).await;
        let (heard, log) = listener();
        let began_ns = simulation.now_ns();
        for sequence in 1..=3 {
            journal.append(&header(1, sequence), &[FULL], &log).expect("room");
        }
        journal.close().await.expect("durable");
        assert_eq!(journal.stats().commits, 1 + 3);
        (simulation.now_ns() - began_ns, heard.0.take())
    })
}

#[test]
fn full_commits_are_written_beside_each_other_and_heard_of_in_order() {
    let (one_by_one_ns, heard) = three_full_commits(1);
    assert_eq!(heard, [1, 2, 3]);
    let (together_ns, heard) = three_full_commits(3);
    assert_eq!(heard, [1, 2, 3]);
    assert!(together_ns < one_by_one_ns, "{together_ns} ns together, {one_by_one_ns} ns one by one");
}

#[test]
fn a_commit_behind_one_that_failed_never_counts() {
    for operation in [Operation::Write, Operation::Flush] {
        let simulation = Simulation::new(11);
        let io = simulation.io();
        simulation.block_on(async {
            let journal = open_and_quiet(&io, 3).await;
            let (heard, log) = listener();
            simulation.fail_nth(operation, 1);
            for sequence in 1..=3 {
                journal.append(&header(1, sequence), &[FULL], &log).expect("room");
            }
            assert!(journal.close().await.is_err());
            io.sleep(std::time::Duration::from_secs(10)).await;
            assert!(heard.0.borrow().is_empty(), "something was called durable");
        });
    }
}

#[test]
fn a_failed_flush_is_final_and_never_repeated() {
    for operation in [Operation::Write, Operation::Flush] {
        let simulation = Simulation::new(4);
        let io = simulation.io();
        simulation.block_on(async {
            let journal = open(&io, JournalOptions { capacity_bytes: 1, ..options(1) }).await;
            let (heard, log) = listener();
            // Let the zeroing task finish, so that the next write or flush is the commit's.
            let (_, other_log) = listener();
            let first = journal.append(&header(9, 1), &[b"a"], &other_log).expect("room");
            journal.durable(first).await.expect("durable");
            while journal.stats().extents < 3 {
                io.sleep(std::time::Duration::from_millis(1)).await;
            }
            simulation.fail_nth(operation, 1);
            let failing = journal.append(&header(1, 1), &[b"a"], &log).expect("room");
            let behind = journal.append(&header(2, 1), &[b"b"], &log).expect("room");
            for ticket in [failing, behind] {
                let error = journal.durable(ticket).await.expect_err("the disk failed");
                assert!(matches!(error, StorageError::DirectoryFailed { .. }), "{error}");
            }
            let flushes = simulation.counters().issued(Operation::Flush);
            let refused = journal.append(&header(1, 2), &[b"c"], &log);
            assert!(matches!(refused, Err(AppendError::Refused(StorageError::DirectoryFailed { .. }))));
            assert!(journal.room(1).await.is_err() && journal.close().await.is_err());
            io.sleep(std::time::Duration::from_secs(10)).await;
            assert_eq!(simulation.counters().issued(Operation::Flush), flushes, "a flush was repeated");
            assert!(heard.0.borrow().is_empty(), "something was called durable");
        });
    }
}

#[test]
fn without_flushes_a_commit_is_acknowledged_when_written() {
    let simulation = Simulation::new(5);
    let io = simulation.io();
    simulation.block_on(async {
        let journal = open(&io, JournalOptions { flush: FlushMode::Written, ..options(1) }).await;
        while journal.stats().extents < 2 {
            io.sleep(std::time::Duration::from_millis(1)).await;
        }
        let flushes = simulation.counters().issued(Operation::Flush);
        let (_, log) = listener();
        let ticket = journal.append(&header(1, 1), &[b"a"], &log).expect("room");
        journal.durable(ticket).await.expect("written");
        assert_eq!(simulation.counters().issued(Operation::Flush), flushes);
    });
    let entries = simulation.block_on(replayed(&simulation.kill(), &[(1, 0)])).expect("whole");
    assert_eq!(entries.len(), 1, "a killed process loses nothing that was written");
}

#[test]
fn the_next_session_takes_over_retired_extents_and_refuses_others() {
    let simulation = Simulation::new(6);
    let io = simulation.io();
    simulation.block_on(async {
        let dir = Path::new(DIR);
        let journal = open(&io, options(1)).await;
        let (_, log) = listener();
        let ticket = journal.append(&header(1, 1), &[b"a"], &log).expect("room");
        journal.durable(ticket).await.expect("durable");
        while journal.stats().extents < 3 {
            io.sleep(std::time::Duration::from_millis(1)).await;
        }
        journal.close().await.expect("closed");
        assert!(matches!(
            journal.append(&header(1, 2), &[b"b"], &log),
            Err(AppendError::Refused(StorageError::Closed))
        ));
        drop(journal);
        let refused = Journal::open(io.clone(), dir, options(2)).await.expect_err("not retired");
        assert!(matches!(refused, StorageError::Corrupt { .. }), "{refused}");

        retire(&io, dir, 1).await.expect("retired");
        assert_eq!(replayed(&io, &[]).await.expect("empty"), []);
        let writes = simulation.counters().issued(Operation::Write);
        let journal = open(&io, options(2)).await;
        assert_eq!(journal.stats().extents, 3);
        assert_eq!(simulation.counters().issued(Operation::Write), writes, "nothing was zeroed again");
        journal.close().await.expect("closed");
        drop(journal);

        // Other sizes do not fit, and a core that is no more needs no files.
        let other = JournalOptions { extent_bytes: 28 * 1024, capacity_bytes: 128 * 1024, ..options(3) };
        let journal = open(&io, other).await;
        assert_eq!(journal.stats().extents, 1);
        journal.close().await.expect("closed");
        retire(&io, dir, 0).await.expect("retired");
        assert!(
            simulation.paths().iter().all(|path| path.extension().is_none_or(|ending| ending != "journal"))
        );
    });
}

#[test]
fn a_full_disk_stops_growth_until_there_is_room() {
    let simulation = Simulation::new(7);
    let io = simulation.io();
    simulation.block_on(async {
        simulation.set_faults(Faults { capacity_bytes: Some(20 * 1024), ..Faults::default() });
        let journal = open(&io, options(1)).await;
        io.sleep(std::time::Duration::from_secs(3)).await;
        assert_eq!(journal.stats().extents, 1);
        simulation.set_faults(Faults::default());
        io.sleep(std::time::Duration::from_secs(3)).await;
        assert_eq!(journal.stats().extents, 2);
        assert!(journal.failure().is_none());
    });
}

#[test]
fn odd_geometries_are_brought_into_shape() {
    for (capacity_bytes, first_extent_bytes, extent_bytes) in
        [(0, 0, 0), (1 << 20, 1 << 20, 1 << 20), (256 << 20, 8 << 20, 31 << 20), (100_001, 4097, 1)]
    {
        let options = JournalOptions { capacity_bytes, first_extent_bytes, extent_bytes, ..options(1) };
        let geometry = Geometry::of(&options);
        let Geometry { first_extent_bytes: first, extent_bytes: extent, .. } = geometry;
        assert!(first + 2 * extent <= geometry.capacity_bytes, "{geometry:?}");
        assert!(geometry.commit_bytes_max as u64 <= first.min(extent) - 4096, "{geometry:?}");
        assert!(entry_bytes(geometry.payload_bytes_max) + COMMIT_HEADER_BYTES <= extent as usize - 4096);
        assert!(geometry.payload_bytes_max > 0);
    }
}
