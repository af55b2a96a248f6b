//! What a dump tells of sound files, and that it finds every bit that is not what was written.

use std::path::{Path, PathBuf};

use corelog_storage::batch::{BatchBuilder, BatchHeader, Compression};
use corelog_storage::journal::format::{
    COMMIT_HEADER_BYTES, CommitHeader, ENTRY_HEADER_BYTES, EXTENT_OVERHEAD_BYTES, ExtentHeader,
    JOURNAL_COMMIT, entry_padding,
};
use corelog_storage::journal::{EntryHeader, EntryKind};
use corelog_storage::segment::{
    BatchStart, BlockTable, SegmentFile, blocks_file_name, file_name, log_file_name,
};
use corelog_storage::types::LogId;

use super::report::time;
use super::*;

fn dumped(path: &Path, records: bool, verify: bool) -> (u64, String) {
    let options = DumpOptions { paths: vec![path.to_path_buf()], records, verify };
    let mut out = Vec::new();
    let wrong = dump(&options, &mut out).unwrap();
    (wrong, String::from_utf8(out).unwrap())
}

fn batches() -> Vec<Vec<u8>> {
    vec![
        BatchBuilder::new().base_offset(5).record(1_000, Some(b"k"), Some(b"one")).producer(7, 0, 3).build(),
        BatchBuilder::new()
            .base_offset(6)
            .compression(Compression::Zstd)
            .record(2_000, Some(b"k\xff"), None)
            .record(1_500, None, Some(b"two"))
            .build(),
        BatchBuilder::new().base_offset(8).record(2_500, None, Some(&[b'x'; 300])).build(),
    ]
}

/// A segment of these batches in a directory of its own, with its sidecar.
fn segment(batches: &[Vec<u8>], base_offset: i64, generation: u32) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(file_name(base_offset, generation, SegmentFile::Log));
    let mut table = BlockTable::new(base_offset);
    for batch in batches {
        let header = BatchHeader::parse(batch).unwrap();
        let position = table.len() as u32;
        let (base_offset, max_timestamp) = (header.base_offset, header.max_timestamp);
        table.extend(batch, [BatchStart { position, base_offset, max_timestamp }]);
    }
    std::fs::write(&path, batches.concat()).unwrap();
    std::fs::write(dir.path().join(file_name(base_offset, generation, SegmentFile::Blocks)), table.page(0))
        .unwrap();
    (dir, path)
}

#[test]
fn a_segment_is_told_batch_by_batch_and_record_by_record() {
    let (dir, path) = segment(&batches(), 5, 0);
    let (wrong, text) = dumped(dir.path(), true, false);
    assert_eq!(wrong, 0, "{text}");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines[0], path.display().to_string());
    assert!(lines[1].starts_with("offsets=5..=5 position=0 "), "{text}");
    assert!(
        lines[1].ends_with("time=1970-01-01T00:00:01.000Z leader_epoch=-1 producer=7 epoch=0 sequence=3..=3"),
        "{text}"
    );
    assert_eq!(lines[2], "offset=5 time=1970-01-01T00:00:01.000Z key=\"k\" value=\"one\"");
    assert!(lines[3].contains("records=2 codec=zstd time=1970-01-01T00:00:02.000Z"), "{text}");
    assert_eq!(lines[4], "offset=6 time=1970-01-01T00:00:02.000Z key=\"k\\xff\" value=null");
    assert!(lines[7].ends_with("… (300 bytes)"), "{text}");
    assert!(lines[8].contains("3 batches with 4 records, offsets 5..9"), "{text}");
    let (wrong, text) = dumped(&path, false, true);
    assert_eq!((wrong, text.lines().count()), (0, 1), "{text}");
}

#[test]
fn every_flipped_bit_of_a_segment_is_wrong() {
    let (_dir, path) = segment(&batches()[..2], 5, 0);
    let sound = std::fs::read(&path).unwrap();
    for bit in 0..sound.len() * 8 {
        let mut odd = sound.clone();
        odd[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &odd).unwrap();
        let (wrong, text) = dumped(&path, false, true);
        assert!(wrong > 0, "bit {bit}: {text}");
    }
    for len in 1..sound.len() {
        std::fs::write(&path, &sound[..len]).unwrap();
        let (wrong, text) = dumped(&path, false, true);
        assert!(wrong > 0, "cut to {len}: {text}");
    }
}

#[test]
fn compaction_may_leave_holes_and_nothing_else_may() {
    let mut holes = batches();
    holes.remove(1);
    let (_dir, path) = segment(&holes, 4, 2);
    assert_eq!(dumped(&path, false, true).0, 0);
    let (_dir, path) = segment(&holes, 5, 0);
    let (wrong, text) = dumped(&path, false, true);
    assert!(wrong == 1 && text.contains("offset 6 should follow, and 8 does"), "{text}");
}

#[test]
fn space_behind_the_last_batch_is_fine_where_the_log_goes_on_and_nowhere_else() {
    let (dir, path) = segment(&batches(), 5, 0);
    let mut padded = std::fs::read(&path).unwrap();
    padded.resize(8192, 0);
    std::fs::write(&path, &padded).unwrap();
    let (wrong, text) = dumped(&path, false, true);
    assert!(wrong == 0 && text.contains("are reserved"), "{text}");
    let later = BatchBuilder::new().base_offset(9).record(1, None, None).build();
    std::fs::write(dir.path().join(log_file_name(9)), later).unwrap();
    assert_eq!(dumped(dir.path(), false, true).0, 1, "a segment that was closed ends with a batch");
}

#[test]
fn what_cannot_be_read_is_wrong_and_the_rest_is_told() {
    let (dir, _path) = segment(&batches(), 5, 0);
    let paths =
        vec![dir.path().join("nowhere"), dir.path().join(blocks_file_name(5)), dir.path().to_path_buf()];
    let mut out = Vec::new();
    let options = DumpOptions { paths, records: false, verify: true };
    assert_eq!(dump(&options, &mut out).unwrap(), 2);
    assert!(String::from_utf8(out).unwrap().contains("3 batches with 4 records"));
    let empty = tempfile::tempdir().unwrap();
    assert!(dumped(empty.path(), false, true).1.contains("no segment and no journal"));
}

/// A journal file with a commit for each group of entries, each knowing that those before it are on the disk.
fn journal(commits: &[Vec<(EntryKind, Vec<u8>)>]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0-1.journal");
    let session = 0x51;
    let header =
        ExtentHeader { core: 0, session, sequence: 0, position: 0, size: 1 << 20, previous_hash: session };
    let mut file = header.encode().to_vec();
    file.resize(EXTENT_OVERHEAD_BYTES as usize, 0);
    let (mut position, mut previous_hash, mut sequence) = (0, session, 0);
    for entries in commits {
        let mut body = Vec::new();
        for (kind, payload) in entries {
            sequence += 1;
            let entry = EntryHeader {
                kind: *kind,
                log_id: LogId(9),
                owner_epoch: 0,
                segment_position: 0,
                sequence,
                segment_base_offset: 5,
                next_offset: 6,
            };
            body.extend_from_slice(&entry.encode(payload.len() as u32));
            body.extend_from_slice(payload);
            body.resize(body.len() + entry_padding(payload.len()), 0);
        }
        let commit = CommitHeader {
            len: (COMMIT_HEADER_BYTES + body.len()) as u32,
            session,
            position,
            previous_hash,
            durable_position: position,
            entries: entries.len() as u32,
            body_hash: xxhash_rust::xxh3::xxh3_64(&body),
        };
        let (bytes, hash) = commit.encode(JOURNAL_COMMIT);
        let start = file.len();
        file.extend_from_slice(&bytes);
        file.extend_from_slice(&body);
        file.resize(start + commit.padded_len() as usize, 0);
        (position, previous_hash) = (position + commit.padded_len(), hash);
    }
    file.resize(1 << 16, 0);
    std::fs::write(&path, &file).unwrap();
    (dir, path)
}

#[test]
fn a_journal_is_told_commit_by_commit_and_damage_below_what_was_durable_is_wrong() {
    let first =
        vec![(EntryKind::Append, batches()[0].clone()), (EntryKind::LogStart, 5_i64.to_le_bytes().to_vec())];
    let (_dir, path) = journal(&[first.clone(), vec![(EntryKind::Drop, Vec::new())]]);
    let (wrong, text) = dumped(&path, true, false);
    assert_eq!(wrong, 0, "{text}");
    for part in [
        "log=0000000000000009 sequence=1 segment=5 next_offset=6 append",
        "value=\"one\"",
        "log start 5",
        "drop",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.contains("2 commits with 3 entries"), "{text}");
    let sound = std::fs::read(&path).unwrap();
    let commit_bytes = COMMIT_HEADER_BYTES + 2 * ENTRY_HEADER_BYTES + first[0].1.len() + 8;
    for byte in EXTENT_OVERHEAD_BYTES as usize..EXTENT_OVERHEAD_BYTES as usize + commit_bytes {
        let mut odd = sound.clone();
        odd[byte] ^= 0x10;
        std::fs::write(&path, &odd).unwrap();
        let (wrong, text) = dumped(&path, false, true);
        assert!(wrong > 0, "byte {byte}: {text}");
    }
    // What nobody said was on the disk is a torn tail, and no damage.
    let mut torn = sound;
    torn[2 * EXTENT_OVERHEAD_BYTES as usize + 70] ^= 1;
    std::fs::write(&path, &torn).unwrap();
    let (wrong, text) = dumped(&path, false, true);
    assert!(wrong == 0 && text.contains("1 commits with 2 entries"), "{text}");
}

#[test]
fn times_are_dates() {
    assert_eq!(time(-1), "none");
    assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000Z");
    assert_eq!(time(1_764_083_409_123), "2025-11-25T15:10:09.123Z");
    assert_eq!(time(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
}
