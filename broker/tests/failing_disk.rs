//! Log directories that fail under the real process: an ext4 on a loop device that answers everything with an I/O error from one moment on. Its
//! partitions are offline and say so, the others are served as if nothing were; when the disk is back, nothing acknowledged is missing.
//!
//! Needs root, loop devices and mkfs.ext4, and says so without them. `scripts/test failing-disk` runs it. Deliberately absent: the faults of the
//! simulated disk (`storage/tests/simulation`, `storage/src/store/tests.rs`), and handlers (`apis/offline.rs`).

#![allow(clippy::expect_used, clippy::print_stdout)]

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use corelog_storage::batch::BatchBuilder;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use process::client::Client;
use process::metrics::{scrape, sum};
use process::mount::Mount;
use process::{Broker, Place, Start, until};

const DISK_BYTES: u64 = 256 << 20;
const TOPIC: &str = "orders";
const PARTITIONS: i32 = 8;
const GROUPS: usize = 12;
/// Codes of Kafka's: LEADER_NOT_AVAILABLE, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, KAFKA_STORAGE_ERROR.
const NO_LEADER: i16 = 5;
const NO_COORDINATOR: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
const STORAGE_ERROR: i16 = 56;
/// How long a consumer is willing to wait, and how soon it must hear that its partition is gone.
const WAIT_MS: i32 = 15_000;
const SOON: Duration = Duration::from_secs(2);

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn batch(number: i64) -> Vec<u8> {
    BatchBuilder::new().record(1_000 + number, None, Some(format!("record {number}").as_bytes())).build()
}

/// Two log directories: one beside the test, and one on a disk of its own.
struct Disks {
    // Dropped first: a directory with a mount in it cannot be removed.
    mount: Mount,
    place: Place,
}

impl Disks {
    fn new() -> Self {
        let place = Place::new();
        let mount = Mount::new(&place, "disk", DISK_BYTES);
        Self { mount, place }
    }

    fn sound(&self) -> PathBuf {
        self.place.join("sound")
    }

    fn mortal(&self) -> PathBuf {
        self.mount.path().join("data")
    }

    fn start(&self, dirs: &[&Path]) -> Start {
        let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        Start::in_dir(&self.sound())
            .set("log.dirs", dirs.join(","))
            .set("corelog.journal.bytes", 16 << 20)
            .set("offsets.topic.num.partitions", 4)
            .set("corelog.metrics.listen", "127.0.0.1:0")
    }

    /// The metadata is on the sound one.
    fn broker(&self) -> Broker {
        self.start(&[&self.sound(), &self.mortal()]).ready()
    }
}

/// Error and partitions, as topic and number, of a log directory.
type Told = (i16, BTreeSet<(String, i32)>);

fn log_dirs(client: &mut Client) -> BTreeMap<PathBuf, Told> {
    let response: DescribeLogDirsResponse =
        client.ask(35, 1, &DescribeLogDirsRequest::default().with_topics(None));
    let dir = |result: describe_log_dirs_response::DescribeLogDirsResult| {
        let partitions = result.topics.iter().flat_map(|topic| {
            let number = |one: &describe_log_dirs_response::DescribeLogDirsPartition| one.partition_index;
            topic.partitions.iter().map(move |one| (topic.name.to_string(), number(one)))
        });
        (PathBuf::from(result.log_dir.as_str()), (result.error_code, partitions.collect()))
    };
    response.results.into_iter().map(dir).collect()
}

/// The partitions of a topic in a log directory.
fn in_dir(client: &mut Client, dir: &Path, topic: &str) -> BTreeSet<i32> {
    let dirs = log_dirs(client);
    let (error, partitions) = &dirs[dir];
    assert_eq!(*error, 0);
    partitions.iter().filter(|(name, _)| name == topic).map(|(_, partition)| *partition).collect()
}

fn latest(client: &mut Client, topic: &str, partition: i32) -> (i16, i64) {
    let partition = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(-1);
    let topic =
        ListOffsetsTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let response: ListOffsetsResponse = client.ask(2, 1, &request);
    let told = &response.topics[0].partitions[0];
    (told.error_code, told.offset)
}

fn group(number: usize) -> GroupId {
    GroupId(text(&format!("readers-{number}")))
}

fn find_coordinator(client: &mut Client, group: &GroupId) -> i16 {
    let found: FindCoordinatorResponse =
        client.ask(10, 2, &FindCoordinatorRequest::default().with_key(group.0.clone()));
    found.error_code
}

/// Commits an offset of no member.
fn commit(client: &mut Client, group: &GroupId, offset: i64) -> i16 {
    let partition =
        OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(TOPIC)))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group.clone())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let response: OffsetCommitResponse = client.ask(8, 5, &request);
    response.topics[0].partitions[0].error_code
}

/// Error and offset that a group has committed.
fn committed(client: &mut Client, group: &GroupId) -> (i16, i64) {
    let topic =
        OffsetFetchRequestTopic::default().with_name(TopicName(text(TOPIC))).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_group_id(group.clone()).with_topics(Some(vec![topic]));
    let response: OffsetFetchResponse = client.ask(9, 5, &request);
    let offset = response.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset);
    (response.error_code, offset)
}

/// What was acknowledged, by partition of [`TOPIC`]: so many batches of one record, numbered by their offsets.
#[derive(Default)]
struct Acknowledged(BTreeMap<i32, i64>);

impl Acknowledged {
    fn produce(&mut self, client: &mut Client, partition: i32) -> i16 {
        let next = self.0.entry(partition).or_default();
        let (error, offset) = client.produce(TOPIC, partition, batch(*next));
        if error == 0 {
            assert_eq!(offset, *next);
            *next += 1;
        }
        error
    }

    fn check(&self, client: &mut Client, partition: i32) {
        let next = self.0.get(&partition).copied().unwrap_or_default();
        let (all, high_watermark) = client.fetch_all(TOPIC, partition, 0);
        assert_eq!(high_watermark, next, "partition {partition}");
        let mut rest = &all[..];
        for number in 0..next {
            let sent = batch(number);
            let (one, behind) = rest.split_at(sent.len());
            assert_eq!(one[..8], number.to_be_bytes());
            // From the magic on a batch is as it was sent; before it lie offset and leader epoch.
            assert!(one[16..] == sent[16..], "offset {number} of partition {partition}");
            rest = behind;
        }
        assert!(rest.is_empty());
    }
}

/// Journals are zeroed ahead, one piece after the other.
fn wait_for_zeroed_journals(dir: &Path) {
    let zeroing = || {
        let mut names = std::fs::read_dir(dir.join("journal")).expect("a journal");
        names.any(|entry| entry.expect("a file").file_name().to_string_lossy().ends_with("zeroing"))
    };
    let mut looks_without = 0;
    while looks_without < 30 {
        looks_without = if zeroing() { 0 } else { looks_without + 1 };
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_log_directory_that_dies_takes_its_partitions_offline_and_no_others_and_brings_all_of_it_back() {
    let disks = Disks::new();
    let mut broker = disks.broker();
    let mut client = broker.client();
    let mut acknowledged = Acknowledged::default();
    assert_eq!(client.create_topic(TOPIC, PARTITIONS), 0);
    assert_eq!(client.create_topic("doomed", 4), 0);
    for number in 0..5 * PARTITIONS {
        assert_eq!(acknowledged.produce(&mut client, number % PARTITIONS), 0);
    }
    for number in 0..GROUPS {
        assert_eq!(find_coordinator(&mut client, &group(number)), 0);
        assert_eq!(commit(&mut client, &group(number), 3), 0);
    }
    let lost = in_dir(&mut client, &disks.mortal(), TOPIC);
    assert!((1..PARTITIONS as usize).contains(&lost.len()), "{lost:?}");
    let served: BTreeSet<i32> = (0..PARTITIONS).filter(|one| !lost.contains(one)).collect();
    let lost_groups = in_dir(&mut client, &disks.mortal(), "__consumer_offsets");
    println!("on the disk that dies: partitions {lost:?}, groups' partitions {lost_groups:?}");
    // Nothing goes on in the background that would meet the dead disk first.
    wait_for_zeroed_journals(&disks.mortal());
    // A consumer that is at the end and waits for more.
    let mut waiting = broker.client();
    let last = *lost.last().expect("one");
    waiting.send_fetch(TOPIC, last, acknowledged.0[&last], WAIT_MS);

    disks.mount.die();
    let died = Instant::now();
    let first = *lost.first().expect("one");
    assert_eq!(acknowledged.produce(&mut client, first), STORAGE_ERROR);
    assert_eq!(waiting.receive_fetch().error_code, STORAGE_ERROR, "who waits is told");
    // Also of those that nobody has written to since, on whatever core.
    for partition in &lost {
        until(|| latest(&mut broker.client(), TOPIC, *partition).0 == STORAGE_ERROR, || broker.log());
        assert_eq!(client.fetch(TOPIC, *partition, 0, 0).error_code, STORAGE_ERROR);
        assert_eq!(acknowledged.produce(&mut client, *partition), STORAGE_ERROR);
    }
    assert!(died.elapsed() < SOON, "{:?}", died.elapsed());
    for told in client.partitions(TOPIC) {
        let is_lost = lost.contains(&told.partition_index);
        let (error, leader) = if is_lost { (NO_LEADER, -1) } else { (0, 1) };
        assert_eq!((told.error_code, told.leader_id.0), (error, leader), "{told:?}");
        assert_eq!((told.replica_nodes.len(), told.isr_nodes.len()), (1, 1));
        assert_eq!(told.offline_replicas.len(), usize::from(is_lost));
    }
    let dirs = log_dirs(&mut client);
    assert_eq!(dirs[&disks.mortal()], (STORAGE_ERROR, BTreeSet::new()));
    assert_eq!(dirs[&disks.sound()].0, 0);
    for _ in 0..20 {
        served.iter().for_each(|partition| assert_eq!(acknowledged.produce(&mut client, *partition), 0));
    }
    served.iter().for_each(|partition| acknowledged.check(&mut client, *partition));

    // Groups: nobody coordinates those of the lost partitions, the others go on.
    let mut lost_offsets = 0;
    for number in 0..GROUPS {
        let group = group(number);
        match find_coordinator(&mut client, &group) {
            0 => {
                assert_eq!(commit(&mut client, &group, 4), 0);
                assert_eq!(committed(&mut client, &group), (0, 4));
            }
            error => {
                assert_eq!(error, NO_COORDINATOR);
                assert_eq!(commit(&mut client, &group, 4), NOT_COORDINATOR);
                lost_offsets += 1;
            }
        }
    }
    assert_eq!(lost_offsets > 0, !lost_groups.is_empty());

    // What is new goes where it can be kept, and a name is free again when its topic is deleted.
    assert_eq!(client.delete_topic("doomed"), 0);
    for topic in ["fresh", "doomed"] {
        assert_eq!(client.create_topic(topic, 6), 0);
        for partition in 0..6 {
            assert_eq!(client.produce(topic, partition, batch(0)), (0, 0), "{topic}-{partition}");
        }
    }

    let error = broker.logged("ERROR");
    println!("{error}");
    let dir = disks.mortal().display().to_string();
    assert!(error.contains(&dir) && error.contains("Input/output error"), "{error}");
    let log = broker.log();
    assert_eq!(log.lines().filter(|line| line.contains("ERROR")).count(), 1, "it is said once: {log}");
    let metrics = scrape(broker.metrics_address());
    assert_eq!(sum(&metrics, "corelog_offline_log_directories"), 1.0);
    assert_eq!(sum(&metrics, "corelog_offline_partitions"), (lost.len() + lost_groups.len()) as f64);
    assert!(broker.runs());
    broker.stop();

    // The disk is mended.
    disks.mount.unmount();
    disks.mount.mount();
    let broker = disks.broker();
    let mut client = broker.client();
    (0..PARTITIONS).for_each(|partition| acknowledged.check(&mut client, partition));
    for partition in 0..PARTITIONS {
        assert_eq!(acknowledged.produce(&mut client, partition), 0);
    }
    for number in 0..GROUPS {
        until(|| find_coordinator(&mut broker.client(), &group(number)) == 0, || broker.log());
        until(|| committed(&mut broker.client(), &group(number)).0 == 0, || broker.log());
        assert!(committed(&mut client, &group(number)).1 >= 3);
    }
    for topic in ["fresh", "doomed"] {
        for partition in 0..6 {
            assert_eq!(latest(&mut client, topic, partition), (0, 1), "{topic}-{partition}");
        }
    }
    assert_eq!(in_dir(&mut client, &disks.mortal(), "doomed"), BTreeSet::new());
    broker.stop();
}

#[test]
fn without_the_directory_of_the_metadata_the_broker_stops_with_one_line_and_goes_on_when_it_is_back() {
    let disks = Disks::new();
    let start = || disks.start(&[&disks.mortal(), &disks.sound()]).ready();
    let mut broker = start();
    let mut client = broker.client();
    let mut acknowledged = Acknowledged::default();
    assert_eq!(client.create_topic(TOPIC, PARTITIONS), 0);
    for number in 0..5 * PARTITIONS {
        assert_eq!(acknowledged.produce(&mut client, number % PARTITIONS), 0);
    }
    let first = *in_dir(&mut client, &disks.mortal(), TOPIC).first().expect("one");
    disks.mount.die();
    // The answer, if there still is one, is of no interest.
    client.send(0, 8, &produce(first));
    let status = broker.ended();
    assert_eq!(status.code(), Some(1), "{}", broker.log());
    let errors: Vec<String> =
        broker.log().lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect();
    println!("{errors:?}");
    let dir = disks.mortal().display().to_string();
    assert!(errors.len() == 1 && errors[0].contains(&dir) && errors[0].contains("metadata"), "{errors:?}");

    disks.mount.unmount();
    disks.mount.mount();
    let broker = start();
    let mut client = broker.client();
    (0..PARTITIONS).for_each(|partition| acknowledged.check(&mut client, partition));
    broker.stop();
}

#[test]
fn a_start_does_without_a_directory_whose_disk_is_dead_or_not_mounted_and_finds_it_when_it_is_back() {
    let disks = Disks::new();
    let broker = disks.broker();
    let mut client = broker.client();
    let mut acknowledged = Acknowledged::default();
    assert_eq!(client.create_topic(TOPIC, PARTITIONS), 0);
    for number in 0..3 * PARTITIONS {
        assert_eq!(acknowledged.produce(&mut client, number % PARTITIONS), 0);
    }
    let lost = in_dir(&mut client, &disks.mortal(), TOPIC);
    broker.kill();
    // Killed with a live journal: what is there is known when it is read.
    for is_mounted in [true, false] {
        if is_mounted {
            disks.mount.die();
        } else {
            disks.mount.unmount();
        }
        let broker = disks.broker();
        let mut client = broker.client();
        let error = broker.logged("ERROR");
        println!("{error}");
        assert!(error.contains(&disks.mortal().display().to_string()), "{error}");
        assert_eq!(sum(&scrape(broker.metrics_address()), "corelog_offline_log_directories"), 1.0);
        let dirs = log_dirs(&mut client);
        assert_eq!(dirs[&disks.mortal()], (STORAGE_ERROR, BTreeSet::new()));
        for partition in 0..PARTITIONS {
            let expected = if lost.contains(&partition) { STORAGE_ERROR } else { 0 };
            assert_eq!(acknowledged.produce(&mut client, partition), expected);
        }
        broker.kill();
    }
    disks.mount.mount();
    let broker = disks.broker();
    (0..PARTITIONS).for_each(|partition| acknowledged.check(&mut broker.client(), partition));
    broker.stop();

    // Without the metadata's there is no start.
    let first = |dirs: &[&Path]| disks.start(dirs);
    let (other, place) = (Disks::new(), disks.place.join("beside"));
    first(&[&other.mortal(), &place]).ready().stop();
    other.mount.die();
    let line = first(&[&other.mortal(), &place]).refused();
    println!("{line}");
    assert!(line.contains(&other.mortal().display().to_string()), "{line}");
}

fn produce(partition: i32) -> ProduceRequest {
    let partition = produce_request::PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch(0).into()));
    let topic = produce_request::TopicProduceData::default()
        .with_name(TopicName(text(TOPIC)))
        .with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(5_000).with_topic_data(vec![topic])
}
