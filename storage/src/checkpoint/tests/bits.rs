//! Every bit that means something in a small file is flipped in turn.

use super::*;

#[test]
fn every_flipped_bit_is_detected_or_cuts_the_last_commit() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    simulation.block_on(async {
        let checkpoint = create(&io, identity(0, 1, 1), &[log(1), state(1, 1)]).await;
        for sequence in 2..=3 {
            checkpoint.commit(vec![state(1, sequence)]).await.expect("committed");
        }
    });
    let io = simulation.kill();
    let path = format!("{DIR}/0-1.checkpoint");
    let contents = simulation.contents(&path).expect("written");
    assert_eq!(contents.len(), 4 * 4096);
    let (mut detected, mut cut) = (0, 0);
    for bit in 0..contents.len() as u64 * 8 {
        // Only padding is longer than what is written in this block.
        let block = &contents[(bit / 8 / 4096 * 4096) as usize..][..4096];
        let written = block.iter().rposition(|byte| *byte != 0).expect("written") as u64;
        let meaningful = bit / 8 % 4096 <= written;
        if !meaningful && bit % 251 != 0 {
            continue;
        }
        simulation.flip_bit(&path, bit);
        match simulation.block_on(load(&io, Path::new(DIR))) {
            Ok(loaded) => {
                let found = sequence(&loaded, 0, 1);
                let last = bit / 8 >= 3 * 4096;
                assert_eq!(found, Some(if last && meaningful { 2 } else { 3 }), "bit {bit}");
                assert!(last || !meaningful, "bit {bit} flipped unnoticed");
                cut += u64::from(meaningful);
            }
            Err(StorageError::Corrupt { .. } | StorageError::UnknownVersion { .. }) => detected += 1,
            Err(error) => panic!("bit {bit}: {error}"),
        }
        simulation.flip_bit(&path, bit);
    }
    assert!(detected > 3000 && cut > 1000, "{detected} detected, {cut} cut");
}

#[test]
fn a_file_of_another_version_is_refused() {
    let simulation = Simulation::new(1);
    let io = simulation.io();
    simulation.block_on(create(&io, identity(0, 1, 1), &[log(1)]));
    let io = simulation.kill();
    simulation.flip_bit(format!("{DIR}/0-1.checkpoint"), 8 * 8 + 1);
    let error = simulation.block_on(load(&io, Path::new(DIR))).expect_err("version 3");
    assert!(matches!(error, StorageError::UnknownVersion { found: 3, known: 1, .. }), "{error}");
}
