//! A disk that fills up under the real process: a small ext4 on a loop device, filled by its producers and then by somebody else to the last
//! block. What is asked gets an answer, what was acknowledged stays, and room can be made in every way that Kafka has.
//!
//! Needs root, loop devices and mkfs.ext4, and says so without them. `scripts/test full-disk` runs it. Deliberately absent: the faults of the
//! simulated disk (`storage/tests/simulation`), which has full disks too.

#![allow(clippy::expect_used, clippy::print_stdout)]

mod process;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corelog_storage::batch::BatchBuilder;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use process::client::Client;
use process::mount::Mount;
use process::{Broker, PATIENCE, Place, Start};

const IMAGE_BYTES: u64 = 224 << 20;
const SEGMENT_BYTES: u64 = 1 << 20;
const BATCH_BYTES: usize = 60_000;
/// What each topic that will make room has before the disk is full.
const SPARE_BATCHES: usize = 150;
const KEPT: &str = "kept";
const KEPT_PARTITIONS: i32 = 2;
const STORAGE_ERROR: i16 = 56;
/// Codes of answers to a commit of offsets that cannot be kept now: COORDINATOR_NOT_AVAILABLE and NOT_COORDINATOR.
const COMMIT_ERRORS: [i16; 2] = [15, 16];
/// How long any answer may take although the disk is full.
const ANSWER: Duration = Duration::from_secs(5);

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// A small file system, and who fills it.
struct Disk {
    mounted: PathBuf,
    _mount: Mount,
}

impl Disk {
    fn new(place: &Place) -> Self {
        let mount = Mount::new(place, "disk", IMAGE_BYTES);
        Self { mounted: mount.path().to_owned(), _mount: mount }
    }

    fn data(&self) -> PathBuf {
        self.mounted.join("data")
    }

    fn filler(&self) -> PathBuf {
        self.mounted.join("filler")
    }

    /// Somebody else takes every block that is left.
    fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).expect("a file");
        for bytes in [1 << 20, 4096] {
            while filler.write_all(&vec![7; bytes]).and_then(|()| filler.sync_data()).is_ok() {}
        }
    }

    fn available(&self) -> u64 {
        let output =
            Command::new("stat").args(["-f", "-c", "%a %S"]).arg(&self.mounted).output().expect("stat");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().map(|word| word.parse::<u64>().expect("a number")).product()
    }
}

/// What was acknowledged: each partition's batches as they must come back, by base offset.
#[derive(Default)]
struct Acknowledged {
    batches: BTreeMap<i32, BTreeMap<i64, Vec<u8>>>,
    produced: u64,
}

impl Acknowledged {
    /// Produces one batch to a partition. Returns the error.
    fn produce(&mut self, client: &mut Client, partition: i32) -> i16 {
        self.produced += 1;
        let batch = batch(self.produced);
        let (error, offset) = timely("a produce", || client.produce(KEPT, partition, batch.clone()));
        if error == 0 {
            self.batches.entry(partition).or_default().insert(offset, batch);
        }
        error
    }

    /// Produces until there is room for no more, also not in what is reserved for the partitions.
    fn produce_until_full(&mut self, client: &mut Client) {
        for partition in 0..KEPT_PARTITIONS {
            let mut error = 0;
            while error == 0 {
                error = self.produce(client, partition);
            }
            assert_eq!(error, STORAGE_ERROR);
        }
    }

    /// Everything that was acknowledged is there, at its offset and byte for byte, and nothing else.
    fn check(&self, client: &mut Client) {
        for (partition, batches) in &self.batches {
            let (all, high_watermark) = timely("a read", || client.fetch_all(KEPT, *partition, 0));
            let mut rest = &all[..];
            for (nth, (offset, sent)) in batches.iter().enumerate() {
                assert_eq!(*offset, nth as i64, "what was refused is not in partition {partition}");
                assert!(rest.len() >= sent.len(), "offset {offset} of partition {partition} is lost");
                let (one, behind) = rest.split_at(sent.len());
                assert_eq!(one[..8], offset.to_be_bytes());
                // From the magic on a batch is as it was sent; before it lie offset and leader epoch.
                assert!(one[16..] == sent[16..], "offset {offset} of partition {partition}");
                rest = behind;
            }
            assert!(rest.is_empty(), "{} bytes that nobody sent", rest.len());
            assert_eq!(high_watermark, batches.len() as i64);
        }
    }
}

fn batch(number: u64) -> Vec<u8> {
    let value: Vec<u8> =
        (0..BATCH_BYTES as u64 / 8).flat_map(|word| (number << 32 | word).to_le_bytes()).collect();
    BatchBuilder::new().record(now_ms(), None, Some(&value)).build()
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    i64::try_from(now.as_millis()).expect("a time")
}

/// Nothing may hang because the disk is full.
fn timely<T>(what: &str, ask: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let answer = ask();
    assert!(begun.elapsed() < ANSWER, "{what} took {:?}", begun.elapsed());
    answer
}

/// Sets one key of a topic.
fn alter(client: &mut Client, topic: &str, key: &str, value: &str) -> i16 {
    let config = AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(0)
        .with_value(Some(text(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response: IncrementalAlterConfigsResponse = client.ask(44, 0, &request);
    response.responses[0].error_code
}

/// Deletes all records of a topic's only partition.
fn delete_records(client: &mut Client, topic: &str) -> i16 {
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(-1);
    let topic =
        DeleteRecordsTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(5_000);
    let response: DeleteRecordsResponse = client.ask(21, 1, &request);
    response.topics[0].partitions[0].error_code
}

/// Finds the coordinator of a group, which makes `__consumer_offsets`, and commits an offset of no member.
fn commit_offset(client: &mut Client, offset: i64) -> i16 {
    let group = GroupId(text("readers"));
    let find = FindCoordinatorRequest::default().with_key(group.0.clone());
    let _found: FindCoordinatorResponse = client.ask(10, 2, &find);
    let partition =
        OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(offset);
    let topic =
        OffsetCommitRequestTopic::default().with_name(TopicName(text(KEPT))).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group)
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let response: OffsetCommitResponse = client.ask(8, 5, &request);
    response.topics[0].partitions[0].error_code
}

fn start(disk: &Disk) -> Broker {
    Start::in_dir(&disk.data())
        .set("log.segment.bytes", SEGMENT_BYTES)
        .set("log.segment.delete.delay.ms", 0)
        .set("log.retention.check.interval.ms", 200)
        .set("log.initial.task.delay.ms", 0)
        .set("offsets.topic.num.partitions", 1)
        .ready()
}

/// What is answered while not a block is left: reads and metadata as always, the others with a clear error or because they need no room.
fn answers(broker: &mut Broker, acknowledged: &mut Acknowledged) {
    let mut client = broker.client();
    acknowledged.check(&mut client);
    for partition in 0..KEPT_PARTITIONS {
        assert_eq!(acknowledged.produce(&mut client, partition), STORAGE_ERROR);
    }
    let partitions = timely("metadata", || client.partitions(KEPT));
    assert!(partitions.iter().all(|partition| partition.error_code == 0 && partition.leader_id.0 >= 0));
    let committed = timely("a commit of offsets", || commit_offset(&mut client, 3));
    assert!(committed == 0 || COMMIT_ERRORS.contains(&committed), "{committed}");
    assert_eq!(timely("a creation", || client.create_topic("one-more", 3)), STORAGE_ERROR);
    assert!(broker.runs(), "{}", broker.log());
}

/// Writes go on soon after room was made.
fn goes_on(broker: &Broker, acknowledged: &mut Acknowledged, way: &str) {
    let mut client = broker.client();
    let given_up = Instant::now() + PATIENCE;
    while acknowledged.produce(&mut client, 0) != 0 {
        assert!(Instant::now() < given_up, "{way} made no room: {}", broker.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{way} made room");
}

#[test]
fn a_disk_that_is_full_refuses_writes_serves_reads_and_takes_every_way_to_make_room() {
    let place = Place::new();
    let disk = Disk::new(&place);
    let mut acknowledged = Acknowledged::default();
    let mut broker = start(&disk);
    let mut client = broker.client();
    assert_eq!(client.create_topic(KEPT, KEPT_PARTITIONS), 0);
    for topic in ["trimmed", "aged", "deleted"] {
        assert_eq!(client.create_topic(topic, 1), 0);
        for number in 0..SPARE_BATCHES as u64 {
            assert_eq!(client.produce(topic, 0, batch(number)).0, 0);
        }
    }
    assert_eq!(commit_offset(&mut client, 2), 0);
    println!("{} MiB left", disk.available() >> 20);
    acknowledged.produce_until_full(&mut client);
    disk.fill();
    acknowledged.produce_until_full(&mut client);
    let line = broker.logged("bytes left");
    println!("full: {line}");
    assert!(line.contains("WARN") && line.contains("free some space"), "{line}");
    answers(&mut broker, &mut acknowledged);

    // Killed and started while not a block is free: several times, as each could take a little.
    for _ in 0..3 {
        broker.kill();
        disk.fill();
        broker = start(&disk);
        disk.fill();
        acknowledged.produce_until_full(&mut broker.client());
        answers(&mut broker, &mut acknowledged);
    }

    assert_eq!(timely("deleting records", || delete_records(&mut broker.client(), "trimmed")), 0);
    goes_on(&broker, &mut acknowledged, "DeleteRecords");
    acknowledged.produce_until_full(&mut broker.client());
    disk.fill();
    acknowledged.produce_until_full(&mut broker.client());
    assert_eq!(timely("a configuration", || alter(&mut broker.client(), "aged", "retention.bytes", "1")), 0);
    goes_on(&broker, &mut acknowledged, "retention");
    acknowledged.produce_until_full(&mut broker.client());
    disk.fill();
    acknowledged.produce_until_full(&mut broker.client());

    // Stopped and started while it is full.
    broker.stop();
    let mut broker = start(&disk);
    disk.fill();
    acknowledged.produce_until_full(&mut broker.client());
    answers(&mut broker, &mut acknowledged);
    assert_eq!(timely("a deletion", || broker.client().delete_topic("deleted")), 0);
    goes_on(&broker, &mut acknowledged, "DeleteTopics");

    // Somebody else makes room.
    std::fs::remove_file(disk.filler()).expect("the filler goes");
    goes_on(&broker, &mut acknowledged, "a removed file");
    let mut client = broker.client();
    assert_eq!(client.create_topic("one-more", 3), 0);
    assert_eq!(commit_offset(&mut client, 4), 0);
    broker.kill();
    let broker = start(&disk);
    acknowledged.check(&mut broker.client());
    println!("{} batches acknowledged", acknowledged.batches.values().map(BTreeMap::len).sum::<usize>());
    broker.stop();
}
