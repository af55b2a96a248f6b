//! A check finds what is damaged, wherever it is, and what is not it leaves in peace.

use super::*;
use crate::batch::{BatchBuilder, assign_offsets};
use crate::segment::BatchStart;
use crate::types::Offset;

/// A segment of batches of these lengths of values, and its table.
fn segment(values: &[usize]) -> (Vec<u8>, BlockTable) {
    let (mut bytes, mut starts, mut next_offset) = (Vec::new(), Vec::new(), 7);
    for len in values {
        let mut batch = BatchBuilder::new().record(5, None, Some(&vec![b'v'; *len])).build();
        assign_offsets(&mut batch, next_offset, 0);
        let position = bytes.len() as u32;
        starts.push(BatchStart { position, base_offset: next_offset, max_timestamp: 5 });
        bytes.extend_from_slice(&batch);
        next_offset += 1;
    }
    let mut table = BlockTable::new(7);
    table.extend(&bytes, starts);
    (bytes, table)
}

/// All that is found in `bytes`, read `step` chunks at a time.
fn found(bytes: &[u8], table: &BlockTable, step: usize, trusts: bool) -> Vec<u64> {
    let mut positions = Vec::new();
    let mut check = SegmentCheck::new(table, false, trusts);
    for piece in bytes.chunks(step * CHUNK_BYTES) {
        check.chunks(piece, |damage| positions.push(damage.position));
    }
    positions.extend(check.finish().map(|damage| damage.position));
    positions
}

/// Four chunks and a little more: many small batches, one of more than a chunk, small ones again.
fn mixed() -> (Vec<u8>, BlockTable) {
    let mut lens = vec![900; 80];
    lens.push(100_000);
    lens.extend([900; 100]);
    segment(&lens)
}

#[test]
fn a_sound_segment_is_sound_whatever_the_steps_and_whoever_checks() {
    let (bytes, table) = mixed();
    assert!(bytes.len() > 4 * CHUNK_BYTES);
    for step in 1..6 {
        assert_eq!(found(&bytes, &table, step, false), [] as [u64; 0]);
        assert_eq!(found(&bytes, &table, step, true), [] as [u64; 0]);
    }
    let empty = BlockTable::new(7);
    assert_eq!(found(&[], &empty, 1, false), [] as [u64; 0]);
}

#[test]
fn each_damaged_chunk_is_found_and_hides_no_other() {
    let (bytes, table) = mixed();
    let chunk = CHUNK_BYTES as u64;
    for damaged in [vec![0], vec![1], vec![0, 2], vec![1, 2, 3], vec![0, 4], vec![4]] {
        let mut bytes = bytes.clone();
        damaged.iter().for_each(|at| bytes[at * CHUNK_BYTES + 100] ^= 4);
        let expected: Vec<u64> = damaged.iter().map(|at| *at as u64 * chunk).collect();
        assert_eq!(found(&bytes, &table, 2, false), expected);
    }
}

#[test]
fn what_was_changed_before_it_was_hashed_is_found_by_its_crc_or_its_offset() {
    let (sound, _) = segment(&[900; 200]);
    let batch = sound.len() / 200;
    // In the records; in the base offset, which no CRC covers; in the length.
    for (within, first) in [(batch - 3, 150), (7, 150), (11, 150)] {
        let mut bytes = sound.clone();
        bytes[150 * batch + within] ^= 1;
        let starts = (0..200_usize).map(|at| BatchStart {
            position: (at * batch) as u32,
            base_offset: 7 + at as Offset,
            max_timestamp: 5,
        });
        let mut table = BlockTable::new(7);
        table.extend(&bytes, starts);
        let positions = found(&bytes, &table, 2, false);
        // Lost until the next chunk, where the index knows a batch again.
        assert_eq!(positions.first(), Some(&((first * batch) as u64)), "byte {within}: {positions:?}");
        assert_eq!(positions.len(), 1, "byte {within}: {positions:?}");
    }
}

#[test]
fn a_check_that_does_not_compare_hashes_misses_what_no_crc_covers() {
    let (mut bytes, table) = segment(&[900; 10]);
    // The leader epoch.
    bytes[12] ^= 1;
    assert_eq!(found(&bytes, &table, 1, false), [0]);
    assert_eq!(found(&bytes, &table, 1, true), [] as [u64; 0], "or the test above shows nothing");
}

#[test]
fn a_segment_that_ends_inside_a_batch_is_found() {
    let (bytes, _) = segment(&[900; 3]);
    let cut = &bytes[..bytes.len() - 1];
    let mut table = BlockTable::new(7);
    let starts = (0..3_usize).map(|at| BatchStart {
        position: (at * bytes.len() / 3) as u32,
        base_offset: 7 + at as Offset,
        max_timestamp: 5,
    });
    table.extend(cut, starts);
    assert_eq!(found(cut, &table, 1, false), [(bytes.len() / 3 * 2) as u64]);
}
