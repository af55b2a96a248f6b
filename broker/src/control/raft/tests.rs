//! The store under openraft's own suite, and under what happens to disks: cuts at every byte, flips of every bit, crashes between steps.

use std::fs;
use std::path::{Path, PathBuf};

use corelog_logic::controller::FeatureLevelRecord;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload, RaftSnapshotBuilder};
use tempfile::TempDir;

use super::*;

struct Builder;

impl StoreBuilder<Types, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> std::result::Result<(TempDir, LogStore, StateMachine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(dir.path()).unwrap();
        let machine = StateMachine::open(dir.path(), Arc::default()).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn the_store_passes_openrafts_suite() {
    Suite::test_all(Builder).unwrap();
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

fn feature(index: u64) -> Record {
    Record::FeatureLevel(FeatureLevelRecord { name: format!("f{index}"), feature_level: 1 })
}

fn entry(term: u64, index: u64) -> Entry {
    let records = Arc::new(vec![feature(index)]);
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Batch { term, records }) }
}

/// Appends entries in one frame.
fn append(log: &mut LogStore, indexes: std::ops::Range<u64>) {
    let entries: Vec<_> = indexes.map(|index| entry(1, index)).collect();
    block_on(log.blocking_append(entries)).unwrap();
}

fn indexes(log: &mut LogStore) -> Vec<u64> {
    block_on(log.try_get_log_entries(..)).unwrap().iter().map(|entry| entry.log_id.index).collect()
}

fn log_files(dir: &Path) -> Vec<PathBuf> {
    let names = crate::control::durable::list(dir).unwrap();
    names.iter().filter(|name| name.starts_with("log-")).map(|name| dir.join(name)).collect()
}

#[test]
fn entries_vote_and_purge_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    append(&mut log, 0..1);
    append(&mut log, 1..4);
    append(&mut log, 4..9);
    let mut vote = Vote::new(3, 1);
    vote.committed = true;
    block_on(log.save_vote(&vote)).unwrap();
    block_on(log.purge(log_id(1, 2))).unwrap();
    let before = block_on(log.try_get_log_entries(..)).unwrap();
    drop(log);

    let mut log = LogStore::open(dir.path()).unwrap();
    assert_eq!(block_on(log.try_get_log_entries(..)).unwrap(), before);
    assert_eq!(indexes(&mut log), (3..9).collect::<Vec<_>>());
    assert_eq!(block_on(log.read_vote()).unwrap(), Some(vote));
    assert_eq!(log.purged(), Some(log_id(1, 2)));
}

#[test]
fn a_purge_of_everything_removes_the_files_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    append(&mut log, 0..5);
    block_on(log.purge(log_id(1, 4))).unwrap();
    assert_eq!(log_files(dir.path()).len(), 0);
    append(&mut log, 5..6);
    let mut log = LogStore::open(dir.path()).unwrap();
    assert_eq!(indexes(&mut log), [5]);
    assert_eq!(block_on(log.get_log_state()).unwrap().last_log_id, Some(log_id(1, 5)));
}

#[test]
fn a_truncated_log_stays_truncated_and_goes_on() {
    for at in 0..7 {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogStore::open(dir.path()).unwrap();
        append(&mut log, 0..3);
        append(&mut log, 3..6);
        block_on(log.truncate(log_id(1, at))).unwrap();
        let mut log = LogStore::open(dir.path()).unwrap();
        assert_eq!(indexes(&mut log), (0..at.min(6)).collect::<Vec<_>>());
        let next = at.min(6);
        block_on(log.blocking_append([entry(2, next)])).unwrap();
        let mut log = LogStore::open(dir.path()).unwrap();
        assert_eq!(indexes(&mut log), (0..=next).collect::<Vec<_>>());
        assert_eq!(block_on(log.get_log_state()).unwrap().last_log_id, Some(log_id(2, next)));
    }
}

#[test]
fn a_truncation_after_a_purge_keeps_what_lies_between() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    append(&mut log, 0..3);
    append(&mut log, 3..9);
    block_on(log.purge(log_id(1, 3))).unwrap();
    block_on(log.truncate(log_id(1, 7))).unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    assert_eq!(indexes(&mut log), [4, 5, 6]);
    assert_eq!(log_files(dir.path()).len(), 1);
}

/// Writes over a file of the same length. Truncating it first would make ext4 flush it each time.
fn overwrite(path: &Path, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
}

/// A copy where flushes cost nothing, for tests of bytes by the hundred.
fn copy_in_memory(from: &Path) -> TempDir {
    let memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    copy_into(from, memory.unwrap())
}

/// A directory like another one.
fn copy(from: &Path) -> TempDir {
    copy_into(from, tempfile::tempdir().unwrap())
}

fn copy_into(from: &Path, dir: TempDir) -> TempDir {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

#[test]
fn a_log_cut_at_any_byte_keeps_every_whole_frame_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    let mut ends = vec![0];
    for group in [0..1, 1..3, 3..4] {
        append(&mut log, group);
        ends.push(fs::metadata(&log_files(dir.path())[0]).unwrap().len());
    }
    let whole = ends[3];
    for cut in frame::FILE_HEADER_BYTES as u64..whole {
        let copy = copy_in_memory(dir.path());
        let file = fs::OpenOptions::new().write(true).open(&log_files(copy.path())[0]).unwrap();
        file.set_len(cut).unwrap();
        let mut log = LogStore::open(copy.path()).unwrap();
        // A frame that lacks only its mark was never acknowledged, but is whole: it may stay.
        let kept = indexes(&mut log);
        let acknowledged = match ends.iter().filter(|end| **end <= cut).count() {
            0 | 1 => 0,
            2 => 1,
            _ => 3,
        };
        assert!(kept.len() >= acknowledged && kept.len() <= 4, "cut at {cut}: {kept:?}");
        assert_eq!(kept, (0..kept.len() as u64).collect::<Vec<_>>());
        let next = kept.len() as u64;
        append(&mut log, next..next + 1);
        assert_eq!(indexes(&mut LogStore::open(copy.path()).unwrap()), (0..=next).collect::<Vec<_>>());
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    append(&mut log, 0..1);
    append(&mut log, 1..3);
    block_on(log.save_vote(&Vote::new(1, 1))).unwrap();
    let before = block_on(log.try_get_log_entries(..)).unwrap();
    for name in [log_files(dir.path())[0].clone(), dir.path().join(state_file::NAME)] {
        let good = fs::read(&name).unwrap();
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            overwrite(&name, &flipped);
            match LogStore::open(dir.path()) {
                Err(ControlError::Corrupt { .. }) => {}
                Err(other) => panic!("bit {bit} of {}: {other}", name.display()),
                // Only the last mark may be mended: the frame before it is whole.
                Ok(mut log) => {
                    assert!(bit / 8 >= good.len() - 16 && name != dir.path().join(state_file::NAME));
                    assert_eq!(block_on(log.try_get_log_entries(..)).unwrap(), before);
                    assert_eq!(fs::read(&name).unwrap(), good);
                }
            }
        }
        fs::write(&name, &good).unwrap();
    }
}

#[test]
fn an_unknown_version_is_named() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut LogStore::open(dir.path()).unwrap(), 0..1);
    let path = log_files(dir.path())[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let hash = xxhash_rust::xxh3::xxh3_64(&bytes[..32]);
    bytes[32..40].copy_from_slice(&hash.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = LogStore::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("format version 2; this version of Corelog reads 1"), "{error}");
}

#[test]
fn a_missing_file_between_others_is_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    // Files are rolled by size: large records make three of them.
    for index in 0..6 {
        let name = "x".repeat(frame::FILE_HEADER_BYTES + log_store::FILE_BYTES as usize / 2);
        let records = Arc::new(vec![Record::FeatureLevel(FeatureLevelRecord { name, feature_level: 1 })]);
        let payload = EntryPayload::Normal(Batch { term: 1, records });
        block_on(log.blocking_append([Entry { log_id: log_id(1, index), payload }])).unwrap();
    }
    let files = log_files(dir.path());
    assert_eq!(files.len(), 3);
    assert_eq!(indexes(&mut LogStore::open(dir.path()).unwrap()), [0, 1, 2, 3, 4, 5]);
    for missing in 0..2 {
        let copy = copy(dir.path());
        fs::remove_file(&log_files(copy.path())[missing]).unwrap();
        assert!(matches!(LogStore::open(copy.path()), Err(ControlError::Corrupt { .. })));
    }
    let torn = copy(dir.path());
    let first = &log_files(torn.path())[0];
    let len = fs::metadata(first).unwrap().len();
    fs::OpenOptions::new().write(true).open(first).unwrap().set_len(len - 1).unwrap();
    assert!(matches!(LogStore::open(torn.path()), Err(ControlError::Corrupt { .. })));
}

#[test]
fn a_lost_state_file_is_corruption_not_a_fresh_start() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut LogStore::open(dir.path()).unwrap(), 0..1);
    fs::remove_file(dir.path().join(state_file::NAME)).unwrap();
    assert!(matches!(LogStore::open(dir.path()), Err(ControlError::Corrupt { .. })));
}

#[test]
fn a_failed_write_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    log.fail_next_write();
    block_on(log.blocking_append([entry(1, 0)])).unwrap_err();
    block_on(log.blocking_append([entry(1, 0)])).unwrap_err();
    block_on(log.save_vote(&Vote::new(1, 1))).unwrap_err();
    assert_eq!(indexes(&mut LogStore::open(dir.path()).unwrap()), [0_u64; 0]);
}

#[test]
fn records_decided_in_another_term_are_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = StateMachine::open(dir.path(), Arc::default()).unwrap();
    let mut stale = entry(2, 1);
    if let EntryPayload::Normal(batch) = &mut stale.payload {
        batch.term = 1;
    }
    let outcomes = block_on(machine.apply([entry(2, 0), stale, entry(2, 2)])).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Applied { .. }, Outcome::Stale, Outcome::Applied { .. }]));
    let records = block_on(machine.build_snapshot()).unwrap().snapshot.into_inner();
    let records = corelog_logic::controller::decode_records(&records).unwrap();
    assert_eq!(records, [feature(0), feature(2)]);
}

#[test]
fn a_snapshot_survives_a_restart_and_a_flipped_bit_in_it_does_not_pass() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = StateMachine::open(dir.path(), Arc::default()).unwrap();
    block_on(machine.apply([entry(1, 0)])).unwrap();
    block_on(machine.build_snapshot()).unwrap();
    block_on(machine.apply([entry(1, 1)])).unwrap();
    let built = block_on(machine.build_snapshot()).unwrap();
    let names = crate::control::durable::list(dir.path()).unwrap();
    assert_eq!(names, ["snapshot-00000000000000000002.raft"], "the older one is removed");

    let published = Arc::<Published>::default();
    let mut again = StateMachine::open(dir.path(), Arc::clone(&published)).unwrap();
    assert_eq!(again.applied(), Some(log_id(1, 1)));
    assert_eq!(published.image().features().count(), 2);
    let current = block_on(again.get_current_snapshot()).unwrap().unwrap();
    assert_eq!((current.meta, current.snapshot), (built.meta, built.snapshot));

    let path = dir.path().join(&names[0]);
    let good = fs::read(&path).unwrap();
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        overwrite(&path, &flipped);
        assert!(matches!(StateMachine::open(dir.path(), Arc::default()), Err(ControlError::Corrupt { .. })));
    }
}

#[test]
fn a_voter_killed_between_its_election_and_its_first_entry_leads_again() {
    let dir = tempfile::tempdir().unwrap();
    let first =
        block_on(async { start(dir.path(), 1, Arc::default()).await.map(|running| running.term) }).unwrap();
    // As if it had won the next term and died at once.
    let mut log = LogStore::open(dir.path()).unwrap();
    let mut vote = Vote::new(first + 1, 1);
    vote.committed = true;
    block_on(log.save_vote(&vote)).unwrap();
    drop(log);
    let again =
        block_on(async { start(dir.path(), 1, Arc::default()).await.map(|running| running.term) }).unwrap();
    assert_eq!(again, first + 2);
}

#[test]
fn a_log_purged_beyond_the_snapshot_refuses_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    append(&mut log, 0..3);
    block_on(log.purge(log_id(1, 1))).unwrap();
    drop(log);
    let started = block_on(async { start(dir.path(), 1, Arc::default()).await.map(|_| ()) });
    let error = started.unwrap_err().to_string();
    assert!(error.contains("no snapshot reaches that far"), "{error}");
}

#[test]
fn room_is_reserved_behind_the_log_and_its_files_keep_their_length() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    append(&mut log, 0..3);
    let file = log_files(dir.path()).pop().unwrap();
    let before = fs::metadata(&file).unwrap();
    assert!(log.has_room(5_000));
    let after = fs::metadata(&file).unwrap();
    assert_eq!(after.len(), before.len());
    assert!(after.blocks() * 512 > before.blocks() * 512 + (1 << 20), "{} blocks", after.blocks());
    append(&mut log, 3..6);
    drop(log);
    assert_eq!(indexes(&mut LogStore::open(dir.path()).unwrap()), [0, 1, 2, 3, 4, 5]);
}
