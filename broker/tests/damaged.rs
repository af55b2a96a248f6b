//! The real process on a data directory with a damaged byte: it serves exactly what was acknowledged, or answers an error where the damage
//! lies, or refuses to start with a line that names the file. It never panics, never hangs, and serves nothing that was not written.
//!
//! A sample of the bytes of each file, the same at every run. Every bit is flipped where the files are made: `storage/tests/bit_flips`,
//! `control/raft/tests`. Deliberately absent: files that are missing or cut.

#![allow(clippy::expect_used, clippy::print_stdout)]

mod process;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use corelog_storage::batch::BatchBuilder;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use process::client::Client;
use process::{Broker, PATIENCE, Place, Start, until};

const TOPIC: &str = "kept";
const PARTITIONS: i32 = 2;
/// More than a segment, in batches of which each is written in place.
const LARGE_BATCHES: u64 = 21;
const LARGE_BYTES: usize = 60_000;
const COMMITTED: i64 = 7;

/// Codes by which a read says that records are damaged: CORRUPT_MESSAGE and KAFKA_STORAGE_ERROR.
const DAMAGED: [i16; 2] = [2, 56];
/// Codes of a coordinator that has not loaded, or cannot: COORDINATOR_LOAD_IN_PROGRESS, _NOT_AVAILABLE and NOT_COORDINATOR.
const LOADING: i16 = 14;
const NO_COORDINATOR: [i16; 2] = [15, 16];

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn batch(number: u64, bytes: usize) -> Vec<u8> {
    let words = 1 + bytes as u64 / 8;
    let value: Vec<u8> = (0..words)
        .flat_map(|word| (number << 32 | word).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    BatchBuilder::new().record(number as i64 + 1, Some(b"key"), Some(&value)).build()
}

fn start(dir: &Path) -> Start {
    Start::in_dir(dir)
        .set("corelog.cores", 1)
        .set("corelog.journal.bytes", 16 << 20)
        .set("log.segment.bytes", 1 << 20)
        .set("offsets.topic.num.partitions", 1)
}

/// What was acknowledged: each partition's batches.
type Acknowledged = BTreeMap<i32, Vec<Vec<u8>>>;

fn produce(client: &mut Client, acknowledged: &mut Acknowledged, partition: i32, bytes: usize) {
    let batches = acknowledged.entry(partition).or_default();
    let batch = batch(batches.len() as u64, bytes);
    assert_eq!(client.produce(TOPIC, partition, batch.clone()), (0, batches.len() as i64));
    batches.push(batch);
}

fn group() -> GroupId {
    GroupId(text("readers"))
}

fn commit_offset(client: &mut Client) {
    let find = FindCoordinatorRequest::default().with_key(group().0);
    let _found: FindCoordinatorResponse = client.ask(10, 2, &find);
    let partition =
        OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(COMMITTED);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(TOPIC)))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let response: OffsetCommitResponse = client.ask(8, 5, &request);
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
}

/// Error and committed offset of the group.
fn committed_offset(client: &mut Client) -> (i16, i64) {
    let topic =
        OffsetFetchRequestTopic::default().with_name(TopicName(text(TOPIC))).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
    let response: OffsetFetchResponse = client.ask(9, 5, &request);
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    (response.error_code, partition.map_or(-1, |partition| partition.committed_offset))
}

/// A directory with some of every kind of file.
fn written(dir: &Path, cleanly: bool) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let broker = start(dir).ready();
    let mut client = broker.client();
    assert_eq!(client.create_topic(TOPIC, PARTITIONS), 0);
    for _ in 0..5 {
        produce(&mut client, &mut acknowledged, 1, 500);
    }
    for _ in 0..LARGE_BATCHES {
        produce(&mut client, &mut acknowledged, 0, LARGE_BYTES);
    }
    commit_offset(&mut client);
    // A checkpoint comes after five seconds, and sooner with a clean stop.
    broker.stop();
    let broker = start(dir).ready();
    let mut client = broker.client();
    assert_eq!(client.create_topic("another", 1), 0);
    produce(&mut client, &mut acknowledged, 0, LARGE_BYTES);
    produce(&mut client, &mut acknowledged, 0, 300);
    produce(&mut client, &mut acknowledged, 1, 300);
    if cleanly {
        broker.stop()
    } else {
        broker.kill()
    }
    acknowledged
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// What is in these means nothing.
fn is_meaningless(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "reserve" || name == ".lock")
}

/// How many bytes of a file are damaged, each in a start of its own.
fn damages(path: &Path) -> usize {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("journal") => 12,
        Some("raft" | "checkpoint") => 8,
        Some("log") => 6,
        _ => 4,
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else if !is_meaningless(&from) {
            // Journals are mostly zeros: only what is not is written.
            let bytes = fs::read(&from).expect("a file");
            let file = fs::File::create(&to).expect("a file");
            file.set_len(bytes.len() as u64).expect("a length");
            for (number, block) in bytes.chunks(1 << 16).enumerate() {
                if block.iter().any(|byte| *byte != 0) {
                    std::os::unix::fs::FileExt::write_all_at(&file, block, (number << 16) as u64)
                        .expect("written");
                }
            }
        }
    }
}

/// Holds what a broker serves against what was acknowledged.
struct Judge<'a> {
    acknowledged: &'a Acknowledged,
    /// The damaged file, below the data directory.
    damaged: &'a Path,
    /// Whether the journal's last commit may be gone, which is what a crash might have done (decision 0001).
    may_cut: bool,
}

impl Judge<'_> {
    /// Everything that is served is what was acknowledged. Returns whether some of it was answered with an error.
    fn served(&self, broker: &Broker) -> bool {
        let mut client = broker.client();
        let mut told = false;
        for (partition, batches) in self.acknowledged {
            told |= self.partition_served(&mut client, *partition, batches);
        }
        let mut committed = committed_offset(&mut client);
        until_loaded(broker, &mut committed);
        match committed {
            (0, offset) => assert_eq!(offset, COMMITTED, "the group's offset, {}", self.damaged.display()),
            (error, _) => {
                assert!(NO_COORDINATOR.contains(&error), "{error} for the group, {}", self.damaged.display());
                told = true;
            }
        }
        told
    }

    fn partition_served(&self, client: &mut Client, partition: i32, batches: &[Vec<u8>]) -> bool {
        let damaged = self.damaged.display();
        let (mut told, mut offset) = (false, 0);
        while offset < batches.len() {
            let fetched = client.fetch(TOPIC, partition, offset as i64, 0);
            if DAMAGED.contains(&fetched.error_code) {
                told = true;
                offset += 1;
                continue;
            }
            assert_eq!(fetched.error_code, 0, "offset {offset} of partition {partition}, {damaged}");
            let end = fetched.high_watermark as usize;
            let cut = self.may_cut && partition == 1 && end == batches.len() - 1;
            assert!(end == batches.len() || cut, "{end} records of {}, {damaged}", batches.len());
            let records = fetched.records.unwrap_or_default();
            if cut && offset == end {
                break;
            }
            let mut rest = &records[..];
            assert!(!rest.is_empty(), "nothing at offset {offset} of partition {partition}, {damaged}");
            while !rest.is_empty() {
                let sent = &batches[offset];
                assert!(rest.len() >= sent.len(), "offset {offset} of partition {partition}, {damaged}");
                let (one, behind) = rest.split_at(sent.len());
                assert_eq!(one[..8], (offset as i64).to_be_bytes(), "{damaged}");
                assert!(one[16..] == sent[16..], "offset {offset} of partition {partition}, {damaged}");
                rest = behind;
                offset += 1;
            }
        }
        told
    }
}

/// Asks again until the coordinator has loaded its partition.
fn until_loaded(broker: &Broker, committed: &mut (i16, i64)) {
    let asked = std::cell::Cell::new(*committed);
    let loaded = || {
        if asked.get().0 == LOADING {
            asked.set(committed_offset(&mut broker.client()));
        }
        asked.get().0 != LOADING
    };
    until(loaded, || format!("the group does not load in {PATIENCE:?}"));
    *committed = asked.get();
}

/// Damages bytes of each file of the directory in turn, starts a broker on it and judges what it does.
fn damage_each_file(cleanly: bool) {
    let place = Place::new();
    let sound = place.join("sound");
    let acknowledged = written(&sound, cleanly);
    let mut paths = Vec::new();
    files(&sound, &mut paths);
    let mut tally: BTreeMap<(String, &str), u32> = BTreeMap::new();
    for path in paths.iter().filter(|path| !is_meaningless(path)) {
        let damaged = path.strip_prefix(&sound).expect("below it");
        let kind = damaged.extension().unwrap_or(damaged.as_os_str()).to_string_lossy().into_owned();
        let bytes = fs::read(path).expect("a file");
        // Of a journal the beginning, where the present session's commits are.
        let end = if kind == "journal" { bytes.len().min(16 << 10) } else { bytes.len() };
        let content: Vec<usize> = (0..end).filter(|at| bytes[*at] != 0).collect();
        for nth in 0..damages(path) {
            let Some(at) = content.get((nth * 2 + 1) * content.len() / (2 * damages(path))) else { continue };
            let dir = place.join("damaged");
            copy(&sound, &dir);
            let mut broken = bytes.clone();
            broken[*at] ^= 1 << ((nth + at % 3) % 8);
            fs::write(dir.join(damaged), &broken).expect("a damaged file");
            let journal = kind == "journal" && !cleanly;
            let judge = Judge { acknowledged: &acknowledged, damaged, may_cut: journal };
            let outcome = match start(&dir).ready_or_refused() {
                Ok(mut broker) => {
                    let told = judge.served(&broker);
                    assert!(!broker.log().contains("panicked"), "{}: {}", damaged.display(), broker.log());
                    assert!(broker.runs(), "{}: {}", damaged.display(), broker.log());
                    if told {
                        let name = damaged.display().to_string();
                        assert!(broker.log().contains(&name), "{name} is at fault: {}", broker.log());
                    }
                    if told { "told when it is read" } else { "served" }
                }
                Err(line) => {
                    let name = damaged.display().to_string();
                    assert!(line.contains(&name), "{name} is at fault, and the start says: {line}");
                    "start refused"
                }
            };
            *tally.entry((kind.clone(), outcome)).or_default() += 1;
            fs::remove_dir_all(&dir).expect("removed");
        }
    }
    for ((kind, outcome), count) in &tally {
        println!("{kind}: {outcome}: {count}");
    }
    let of = |kind: &str, outcome| tally.get(&(kind.to_owned(), outcome)).copied().unwrap_or(0);
    // The test must not have looked past what it is about.
    assert!(of("log", "told when it is read") > 0 && of("checkpoint", "start refused") > 0, "{tally:?}");
    assert!(of("raft", "start refused") > 0 && of("properties", "start refused") > 0, "{tally:?}");
    // Journals of a broker that stopped cleanly are not read.
    assert!((of("journal", "start refused") > 0) != cleanly, "{tally:?}");
    assert_eq!(
        of("blocks", "served"),
        tally.iter().filter(|(key, _)| key.0 == "blocks").map(|(_, n)| n).sum()
    );
}

#[test]
fn a_damaged_byte_of_a_broker_that_stopped_cleanly_is_told_or_does_not_matter() {
    damage_each_file(true);
}

#[test]
fn a_damaged_byte_of_a_killed_broker_is_told_or_does_not_matter() {
    damage_each_file(false);
}
