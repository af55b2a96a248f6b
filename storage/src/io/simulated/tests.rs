//! Pins the model: what a power cut may and may not do, that a seed repeats, that broken rules are noticed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::io::{ALIGN, Class, File, Io, OpenMode, TRANSFER_BYTES_MAX};

const SEEDS: u64 = 200;

fn block_of(io: &SimIo, byte: u8) -> SimBuf {
    let mut buf = io.buffer(ALIGN);
    buf.as_mut().fill(byte);
    buf
}

/// Creates `/d/f` durably, `blocks` blocks of `byte`.
async fn durable_file(io: &SimIo, blocks: u64, byte: u8) -> SimFile {
    let dir = Path::new("/d");
    io.create_dir_all(dir).await.unwrap();
    io.sync_dir(Path::new("/")).await.unwrap();
    let file = io.open(&dir.join("f"), OpenMode::CreateNew).await.unwrap();
    for block in 0..blocks {
        file.write_at(block_of(io, byte), block * ALIGN as u64).await.unwrap();
    }
    file.flush().await.unwrap();
    io.sync_dir(dir).await.unwrap();
    file
}

#[test]
fn an_unflushed_write_is_kept_lost_and_torn_across_seeds() {
    let (mut kept, mut lost, mut torn, mut garbage) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            let file = durable_file(&io, 1, 1).await;
            file.write_at(block_of(&io, 2), 0).await.unwrap();
        });
        simulation.crash();
        let bytes = simulation.contents("/d/f").unwrap();
        assert_eq!(bytes.len(), ALIGN);
        match (bytes.contains(&1), bytes.contains(&2)) {
            (false, true) if bytes.iter().all(|&byte| byte == 2) => kept += 1,
            (true, false) if bytes.iter().all(|&byte| byte == 1) => lost += 1,
            _ => torn += 1,
        }
        garbage += usize::from(bytes.iter().any(|&byte| byte != 1 && byte != 2));
    }
    assert!(kept > 20 && lost > 20 && torn > 10 && garbage > 10, "{kept} {lost} {torn} {garbage}");
}

#[test]
fn a_flushed_write_in_a_synced_directory_is_never_lost() {
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            let file = durable_file(&io, 3, 7).await;
            // Neighbours in flight do no harm to it.
            file.write_at(block_of(&io, 9), 3 * ALIGN as u64).await.unwrap();
        });
        simulation.crash();
        let bytes = simulation.contents("/d/f").unwrap();
        assert!(bytes[..3 * ALIGN].iter().all(|&byte| byte == 7), "seed {seed}");
    }
}

#[test]
fn a_flush_does_not_cover_a_write_that_completes_after_it_was_issued() {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            let file = Rc::new(durable_file(&io, 1, 1).await);
            let written = Rc::new(Cell::new(false));
            let (writer, done, buf) = (file.clone(), written.clone(), block_of(&io, 2));
            io.spawn(Class::Foreground, async move {
                writer.write_at(buf, 0).await.unwrap();
                done.set(true);
            });
            // A few polls, so that the write is issued in most seeds and completed in none.
            for _ in 0..8 {
                io.yield_if_needed().await;
            }
            file.flush().await.unwrap();
            while !written.get() {
                io.sleep(Duration::from_millis(1)).await;
            }
        });
        simulation.crash();
        lost += usize::from(simulation.contents("/d/f").unwrap().contains(&1));
    }
    assert!(lost > 20, "only {lost} of {SEEDS} seeds lost it");
}

#[test]
fn a_file_whose_directory_was_not_synced_may_be_gone_with_its_content() {
    let mut gone = 0;
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            let file = io.open(Path::new("/f"), OpenMode::CreateNew).await.unwrap();
            file.write_at(block_of(&io, 5), 0).await.unwrap();
            file.flush().await.unwrap();
        });
        simulation.crash();
        match simulation.contents("/f") {
            None => gone += 1,
            Some(bytes) => assert!(bytes == [5; ALIGN], "the content was flushed"),
        }
    }
    assert!(gone > 20 && gone < SEEDS - 20, "{gone}");
}

#[test]
fn a_rename_without_sync_dir_may_be_undone_and_is_never_half_done() {
    let (mut undone, mut done) = (0, 0);
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            drop(durable_file(&io, 1, 1).await);
            io.rename(Path::new("/d/f"), Path::new("/d/g")).await.unwrap();
        });
        simulation.crash();
        match (simulation.contents("/d/f"), simulation.contents("/d/g")) {
            (Some(_), None) => undone += 1,
            (None, Some(_)) => done += 1,
            other => panic!("half a rename: {:?}", (other.0.is_some(), other.1.is_some())),
        }
    }
    assert!(undone > 20 && done > 20, "{undone} {done}");
}

#[test]
fn names_of_one_directory_come_back_as_a_prefix_of_what_was_done() {
    let mut lengths = BTreeSet::new();
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            for name in ["/a", "/b", "/c", "/d"] {
                io.open(Path::new(name), OpenMode::CreateNew).await.unwrap();
            }
        });
        simulation.crash();
        let paths = simulation.paths();
        let expected: Vec<_> =
            ["/a", "/b", "/c", "/d"].iter().take(paths.len()).map(std::path::PathBuf::from).collect();
        assert_eq!(paths, expected, "seed {seed}");
        lengths.insert(paths.len());
    }
    assert_eq!(lengths, BTreeSet::from([0, 1, 2, 3, 4]));
}

#[test]
fn a_rename_between_directories_happens_in_both_or_in_neither() {
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            drop(durable_file(&io, 1, 1).await);
            io.create_dir_all(Path::new("/e")).await.unwrap();
            io.sync_dir(Path::new("/")).await.unwrap();
            io.rename(Path::new("/d/f"), Path::new("/e/f")).await.unwrap();
            if seed % 2 == 0 {
                io.sync_dir(Path::new("/e")).await.unwrap();
            }
        });
        simulation.crash();
        let there = simulation.contents("/e/f").is_some();
        assert_ne!(there, simulation.contents("/d/f").is_some(), "seed {seed}");
        assert!(there || seed % 2 == 1, "a synced rename was undone, seed {seed}");
    }
}

#[test]
fn a_kill_keeps_completed_writes_and_a_later_power_cut_may_lose_them() {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            let file = durable_file(&io, 1, 1).await;
            file.write_at(block_of(&io, 2), 0).await.unwrap();
        });
        simulation.kill();
        assert!(simulation.contents("/d/f").unwrap().iter().all(|&byte| byte == 2));
        simulation.crash();
        lost += usize::from(simulation.contents("/d/f").unwrap().contains(&1));
    }
    assert!(lost > 20, "{lost}");
}

#[test]
fn a_killed_process_leaves_its_last_write_kept_lost_or_torn() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async { drop(durable_file(&io, 1, 1).await) });
        simulation.crash_after_steps(2);
        let outcome = simulation.run(async {
            let file = io.open(Path::new("/d/f"), OpenMode::Existing).await.unwrap();
            file.write_at(block_of(&io, 2), 0).await.unwrap();
        });
        assert!(outcome.is_none(), "the second step is the write, and it never completes");
        simulation.kill();
        let bytes = simulation.contents("/d/f").unwrap();
        seen.insert((bytes.contains(&1), bytes.contains(&2)));
    }
    assert!(seen.is_superset(&BTreeSet::from([(true, false), (false, true), (true, true)])), "{seen:?}");
}

#[test]
fn a_lost_truncation_takes_the_writes_behind_its_cut_with_it() {
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            let file = durable_file(&io, 4, 1).await;
            file.set_len(2 * ALIGN as u64).await.unwrap();
            file.write_at(block_of(&io, 2), 2 * ALIGN as u64).await.unwrap();
        });
        simulation.crash();
        let bytes = simulation.contents("/d/f").unwrap();
        assert!([2, 3, 4].contains(&(bytes.len() / ALIGN)), "{}", bytes.len());
        let old = bytes.len() == 4 * ALIGN;
        assert!(
            !old || bytes.iter().all(|&byte| byte == 1),
            "seed {seed}: new bytes in blocks that were freed"
        );
    }
}

#[test]
fn what_a_failed_flush_covered_is_not_made_durable_by_the_next() {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            let file = durable_file(&io, 1, 1).await;
            file.write_at(block_of(&io, 2), 0).await.unwrap();
            simulation.fail_nth(Operation::Flush, 1);
            assert!(file.flush().await.is_err());
            assert_eq!(file.read_at(0, ALIGN).await.unwrap().as_ref(), [2; ALIGN], "reads still show it");
            file.flush().await.unwrap();
        });
        simulation.crash();
        lost += usize::from(simulation.contents("/d/f").unwrap().contains(&1));
    }
    assert!(lost > 20, "{lost}");
}

#[test]
fn sync_file_system_covers_names_and_bytes_of_everything() {
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let io = simulation.io();
        simulation.block_on(async {
            for dir in ["/x", "/y/z"] {
                io.create_dir_all(Path::new(dir)).await.unwrap();
                let file = io.open(&Path::new(dir).join("f"), OpenMode::CreateNew).await.unwrap();
                file.write_at(block_of(&io, 3), 0).await.unwrap();
            }
            io.sync_file_system(Path::new("/x")).await.unwrap();
        });
        simulation.crash();
        for path in ["/x/f", "/y/z/f"] {
            assert_eq!(simulation.contents(path).unwrap(), [3; ALIGN]);
        }
    }
}

#[test]
fn a_full_disk_refuses_writes_reads_on_and_has_room_again_after_a_removal() {
    let simulation = Simulation::new(1);
    simulation.set_faults(Faults { capacity_bytes: Some(3 * ALIGN as u64), ..Faults::default() });
    let io = simulation.io();
    simulation.block_on(async {
        let reserved = io.open(Path::new("/reserved"), OpenMode::CreateNew).await.unwrap();
        reserved.allocate(2 * ALIGN as u64).await.unwrap();
        let other = io.open(Path::new("/other"), OpenMode::CreateNew).await.unwrap();
        other.write_at(block_of(&io, 1), 0).await.unwrap();
        assert_eq!(io.available_bytes(Path::new("/")).await.unwrap(), 0);
        assert!(other.write_at(block_of(&io, 1), ALIGN as u64).await.unwrap_err().is_disk_full());
        assert!(other.allocate(2 * ALIGN as u64).await.unwrap_err().is_disk_full());
        assert_eq!(other.read_at(0, ALIGN).await.unwrap().len, ALIGN);
        reserved.write_at(block_of(&io, 2), ALIGN as u64).await.expect("reserved room");
        drop(other);
        io.remove_file(Path::new("/other")).await.unwrap();
        assert_eq!(io.available_bytes(Path::new("/")).await.unwrap(), ALIGN as u64);
    });
}

#[test]
fn a_broken_directory_fails_alone() {
    let simulation = Simulation::new(1);
    simulation.set_faults(Faults { broken_below: vec!["/bad".into()], ..Faults::default() });
    let io = simulation.io();
    simulation.block_on(async {
        assert!(io.create_dir_all(Path::new("/bad/dir")).await.is_err());
        io.create_dir_all(Path::new("/badly-named-but-good")).await.unwrap();
    });
}

#[test]
fn a_flipped_bit_is_seen_and_survives_a_power_cut() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    simulation.block_on(async { drop(durable_file(&io, 2, 0).await) });
    simulation.flip_bit("/d/f", 8 * 5000 + 3);
    simulation.crash();
    let bytes = simulation.contents("/d/f").unwrap();
    assert_eq!(bytes[5000], 8);
    assert_eq!(bytes.iter().filter(|&&byte| byte != 0).count(), 1);
}

/// A run with many tasks, told as a string.
fn told(seed: u64) -> String {
    let simulation = Simulation::new(seed);
    simulation.keep_trace(10_000);
    let io = simulation.io();
    simulation.block_on(async {
        let file = Rc::new(durable_file(&io, 16, 1).await);
        let order = Rc::new(RefCell::new(Vec::new()));
        for block in 0..16u64 {
            let (io, file, order) = (io.clone(), file.clone(), order.clone());
            io.clone().spawn(Class::Background, async move {
                file.write_at(block_of(&io, block as u8), block * ALIGN as u64).await.unwrap();
                order.borrow_mut().push(block);
            });
        }
        io.sleep(Duration::from_secs(1)).await;
        assert_eq!(order.borrow().len(), 16);
    });
    simulation.crash();
    format!("{}{:?}", simulation.trace(), simulation.contents("/d/f"))
}

#[test]
fn a_seed_repeats_exactly_and_another_seed_differs() {
    assert_eq!(told(42), told(42));
    assert_ne!(told(42), told(43));
}

#[test]
fn the_clock_jumps_over_idle_time_and_sleeps_end_in_order() {
    let simulation = Simulation::new(3);
    let io = simulation.io();
    let order = Rc::new(RefCell::new(Vec::new()));
    for hours in [3u64, 1, 2] {
        let (sleeper, order) = (io.clone(), order.clone());
        io.spawn(Class::Housekeeping, async move {
            sleeper.sleep(Duration::from_secs(hours * 3600)).await;
            order.borrow_mut().push(hours);
        });
    }
    let started_ns = io.now_ns();
    simulation.block_on(io.sleep(Duration::from_secs(4 * 3600)));
    assert_eq!(*order.borrow(), [1, 2, 3]);
    assert!(io.now_ns() - started_ns >= 4 * 3600 * 1_000_000_000);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_deadlock_is_a_failure_and_not_a_hang() {
    Simulation::new(1).block_on(std::future::pending::<()>());
}

#[test]
#[should_panic(expected = "only timers tick")]
fn waiting_for_ever_beside_a_ticking_timer_is_a_failure_too() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    io.clone().spawn(Class::Background, async move {
        loop {
            io.sleep(Duration::from_secs(60)).await;
        }
    });
    simulation.block_on(std::future::pending::<()>());
}

#[test]
#[should_panic(expected = "must be multiples of 4096")]
fn an_unaligned_write_is_refused() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    simulation.block_on(async {
        let file = durable_file(&io, 1, 1).await;
        let _ = file.write_at(io.buffer(ALIGN), 512).await;
    });
}

#[test]
#[should_panic(expected = "split it")]
fn a_transfer_above_the_limit_is_refused() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    simulation.block_on(async {
        let file = durable_file(&io, 1, 1).await;
        let _ = file.write_at(io.buffer(TRANSFER_BYTES_MAX + ALIGN), 0).await;
    });
}

#[test]
#[should_panic(expected = "overlaps one in flight")]
fn overlapping_writes_in_flight_are_refused() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    simulation.block_on(async {
        let file = Rc::new(durable_file(&io, 1, 1).await);
        for byte in 0..2 {
            let (file, buf) = (file.clone(), block_of(&io, byte));
            io.spawn(Class::Foreground, async move { file.write_at(buf, 0).await.map(drop).unwrap() });
        }
        io.sleep(Duration::from_secs(1)).await;
    });
}

#[test]
#[should_panic(expected = "before the last crash")]
fn a_handle_from_before_a_crash_is_dead() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    simulation.crash();
    let _ = simulation.block_on(io.create_dir_all(Path::new("/d")));
}

#[test]
fn a_crash_drops_tasks_and_closes_files() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    let alive = Rc::new(());
    let held = alive.clone();
    simulation.block_on(async {
        let file = durable_file(&io, 1, 1).await;
        io.spawn(Class::Background, async move {
            let _held = (held, file);
            std::future::pending::<()>().await;
        });
        io.sleep(Duration::from_millis(1)).await;
    });
    assert_eq!((Rc::strong_count(&alive), simulation.open_files()), (2, 1));
    simulation.crash();
    assert_eq!((Rc::strong_count(&alive), simulation.open_files()), (1, 0));
}

#[test]
fn a_dropped_wait_does_not_recall_the_write() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    simulation.block_on(async {
        let file = durable_file(&io, 1, 1).await;
        {
            let mut write = std::pin::pin!(file.write_at(block_of(&io, 2), 0));
            std::future::poll_fn(|cx| {
                assert!(write.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        }
        io.sleep(Duration::from_secs(1)).await;
        assert_eq!(file.read_at(0, ALIGN).await.unwrap().as_ref(), [2; ALIGN]);
    });
}

#[test]
fn the_random_numbers_are_splitmix64() {
    let mut random = Random::new(1234567);
    assert_eq!([random.next_u64(), random.next_u64()], [6457827717110365317, 3203168211198807973]);
}
