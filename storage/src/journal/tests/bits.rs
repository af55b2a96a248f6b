//! Every bit that means something in a small extent is flipped in turn.

use super::*;
use crate::io::File;
use crate::io::simulated::Simulation;

/// Three commits of one entry each.
fn written() -> (Simulation, Vec<(u64, u64, Vec<u8>)>) {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    let expected: Vec<_> = (1..=3).map(|sequence| (5, sequence, vec![sequence as u8; 40])).collect();
    simulation.block_on(async {
        let journal = open(&io, options(77)).await;
        let (_, log) = listener();
        for (id, sequence, payload) in &expected {
            let ticket = journal.append(&header(*id, *sequence), &[payload], &log).expect("room");
            journal.durable(ticket).await.expect("durable");
        }
    });
    simulation.kill();
    (simulation, expected)
}

#[test]
fn every_flipped_bit_is_detected_or_cuts_the_last_commit() {
    let (simulation, expected) = written();
    let path = format!("{DIR}/0-0.journal");
    let contents = simulation.contents(&path).expect("written");
    let last_commit = 3 * 4096 * 8..4 * 4096 * 8;
    let io = simulation.io();
    let (mut detected, mut cut, mut harmless) = (0, 0, 0);
    for bit in 0..contents.len() as u64 * 8 {
        let meaningful = bit / 8 % 4096 < 160;
        if !meaningful && bit % 251 != 0 {
            continue;
        }
        simulation.flip_bit(&path, bit);
        match simulation.block_on(replayed(&io, &[(77, 0)])) {
            Ok(entries) if entries == expected => {
                assert!(!meaningful || bit / 8 % 4096 >= 64, "bit {bit} of a header flipped unnoticed");
                harmless += 1;
            }
            Ok(entries) => {
                assert_eq!(entries, expected[..2], "bit {bit} changed what is replayed");
                assert!(last_commit.contains(&bit), "bit {bit} cut a commit that is not the last");
                cut += 1;
            }
            Err(StorageError::Corrupt { .. } | StorageError::UnknownVersion { .. }) => detected += 1,
            Err(error) => panic!("bit {bit}: {error}"),
        }
        simulation.flip_bit(&path, bit);
    }
    // Header, and two commits of 64 + 48 + 40 bytes, less the bits that turn a header into that of another version.
    assert_eq!(detected, 8 * (64 + 2 * 152));
    assert_eq!(cut, 8 * 152);
    assert!(harmless > 0);
}

#[test]
fn an_extent_of_another_version_is_refused() {
    let (simulation, _) = written();
    let path = format!("{DIR}/0-0.journal");
    simulation.flip_bit(&path, 8 * 8 + 2);
    let error = simulation.block_on(replayed(&simulation.io(), &[(77, 0)])).expect_err("version 6");
    assert!(matches!(error, StorageError::UnknownVersion { found: 6, known: 2, .. }), "{error}");
}

#[test]
fn a_session_that_no_checkpoint_names_is_refused() {
    let (simulation, _) = written();
    let error = simulation.block_on(replayed(&simulation.io(), &[])).expect_err("unknown session");
    assert!(error.to_string().contains("no checkpoint names its session"), "{error}");
}

#[test]
fn a_lost_extent_that_is_still_needed_is_corruption() {
    let simulation = Simulation::new(3);
    let io = simulation.io();
    simulation.block_on(async {
        let journal = open(&io, options(9)).await;
        let (_, log) = listener();
        for sequence in 1..=6 {
            let entry = header(1, sequence);
            journal.room(6000).await.expect("room");
            let ticket = journal.append(&entry, &[&[1; 6000]], &log).expect("room");
            journal.durable(ticket).await.expect("durable");
        }
    });
    let io = simulation.kill();
    let whole = simulation.block_on(replayed(&io, &[(9, 0)])).expect("whole");
    assert_eq!(whole.len(), 6);
    simulation.block_on(async {
        let path = Path::new(DIR).join("0-0.journal");
        let file = io.open(&path, crate::io::OpenMode::Existing).await.expect("there");
        file.write_at(io.buffer(4096), 0).await.expect("zeroed");
    });
    let error = simulation.block_on(replayed(&io, &[(9, 0)])).expect_err("its first extent is gone");
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    // Covered by a checkpoint, the same extent is not missed.
    let rest = simulation.block_on(replayed(&io, &[(9, 8192)])).expect("nothing needed is gone");
    assert_eq!(rest.iter().map(|entry| entry.1).collect::<Vec<_>>(), (2..=6).collect::<Vec<_>>());
}
