//! Starts whose `log.dirs` are not what they were: another order, one too few, an empty one where a disk should be. The real process, which must lose
//! nothing by it and say what it misses.
//!
//! Deliberately absent: disks that give errors, which takes root (`failing_disk`).

#![allow(clippy::expect_used, clippy::print_stdout)]

mod process;

use std::path::{Path, PathBuf};

use corelog_storage::batch::BatchBuilder;
use process::client::Client;
use process::{Broker, Place, Start};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 6;
const NO_LEADER: i16 = 5;
const STORAGE_ERROR: i16 = 56;

fn batch() -> Vec<u8> {
    BatchBuilder::new().record(1_000, None, Some(b"value")).build()
}

fn start(dirs: &[&Path]) -> Start {
    let joined: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    Start::in_dir(dirs[0]).set("log.dirs", joined.join(","))
}

/// A broker that was stopped, with a record in each partition.
fn begun(dirs: &[&Path]) {
    let broker = start(dirs).ready();
    let mut client = broker.client();
    assert_eq!(client.create_topic(TOPIC, PARTITIONS), 0);
    for partition in 0..PARTITIONS {
        assert_eq!(client.produce(TOPIC, partition, batch()), (0, 0));
    }
    broker.stop();
}

/// Partitions that have a leader; the others answer nothing.
fn served(client: &mut Client) -> Vec<i32> {
    let partitions = client.partitions(TOPIC);
    let (served, offline): (Vec<_>, Vec<_>) = partitions.into_iter().partition(|one| one.leader_id.0 >= 0);
    for one in &offline {
        assert_eq!((one.error_code, one.offline_replicas.len()), (NO_LEADER, 1));
        assert_eq!(client.produce(TOPIC, one.partition_index, batch()).0, STORAGE_ERROR);
        assert_eq!(client.fetch(TOPIC, one.partition_index, 0, 0).error_code, STORAGE_ERROR);
    }
    served.iter().map(|one| one.partition_index).collect()
}

/// So many records in each partition of the topic.
fn check(broker: &Broker, records: i64) {
    let mut client = broker.client();
    assert_eq!(served(&mut client).len(), PARTITIONS as usize);
    for partition in 0..PARTITIONS {
        let (all, high_watermark) = client.fetch_all(TOPIC, partition, 0);
        assert_eq!((high_watermark, all.len()), (records, batch().len() * records as usize));
    }
}

fn names(line: &str, expected: &[&Path]) {
    for dir in expected {
        assert!(line.contains(&dir.display().to_string()), "{line}");
    }
}

struct Dirs {
    place: Place,
    a: PathBuf,
    b: PathBuf,
}

impl Dirs {
    fn new() -> Self {
        let place = Place::new();
        let (a, b) = (place.join("a"), place.join("b"));
        Self { place, a, b }
    }
}

#[test]
fn another_order_of_the_directories_is_refused_because_the_first_holds_the_metadata() {
    let Dirs { place, a, b } = Dirs::new();
    begun(&[&a, &b]);
    let line = start(&[&b, &a]).refused();
    names(&line, &[&a, &b]);
    assert!(line.contains("name") && line.contains("first"), "{line}");
    let fresh = place.join("fresh");
    names(&start(&[&fresh, &a, &b]).refused(), &[&fresh, &a]);
    // The first one is not mounted.
    std::fs::rename(&a, place.join("elsewhere")).expect("renamed");
    let line = start(&[&a, &b]).refused();
    names(&line, &[&a, &b]);
    assert!(line.contains("does not hold the metadata"), "{line}");
    assert!(!a.exists() && !fresh.exists(), "nothing was made");
    std::fs::rename(place.join("elsewhere"), &a).expect("renamed");
    let broker = start(&[&a, &b]).ready();
    check(&broker, 1);
    broker.stop();
}

#[test]
fn a_directory_that_log_dirs_no_longer_names_has_its_partitions_offline_until_it_is_named_again() {
    let Dirs { place: _kept, a, b } = Dirs::new();
    begun(&[&a, &b]);
    for _ in 0..2 {
        let broker = start(&[&a]).ready();
        let line = broker.logged("ERROR");
        names(&line, &[&b]);
        assert!(line.contains("name it again"), "{line}");
        let mut client = broker.client();
        let served = served(&mut client);
        assert!((1..PARTITIONS as usize).contains(&served.len()), "{served:?}");
        // What is new is made, for it is in no other directory.
        assert!([0, 36].contains(&client.create_topic("fresh", 3)));
        for partition in 0..3 {
            assert_eq!(client.produce("fresh", partition, batch()).0, 0);
        }
        broker.kill();
    }
    let broker = start(&[&a, &b]).ready();
    assert!(!broker.log().contains("ERROR"), "{}", broker.log());
    check(&broker, 1);
    assert_eq!(broker.client().fetch("fresh", 2, 0, 0).high_watermark, 2);
    broker.stop();
}

#[test]
fn an_empty_directory_where_partitions_were_is_a_disk_that_is_not_mounted_and_not_a_new_one() {
    let Dirs { place, a, b } = Dirs::new();
    begun(&[&a, &b]);
    std::fs::rename(&b, place.join("elsewhere")).expect("renamed");
    std::fs::create_dir(&b).expect("a mount point");
    let broker = start(&[&a, &b]).ready();
    let line = broker.logged("ERROR");
    names(&line, &[&b]);
    assert!(line.contains("mount its disk"), "{line}");
    assert!(served(&mut broker.client()).len() < PARTITIONS as usize);
    assert_eq!(std::fs::read_dir(&b).expect("a directory").count(), 0, "nothing was made in it");
    broker.stop();
    std::fs::remove_dir(&b).expect("removed");
    std::fs::rename(place.join("elsewhere"), &b).expect("renamed");
    let broker = start(&[&a, &b]).ready();
    check(&broker, 1);
    broker.stop();
}

#[test]
fn a_directory_that_is_gone_for_good_is_forgotten_when_the_topics_of_its_partitions_are_deleted() {
    let Dirs { place, a, b } = Dirs::new();
    begun(&[&a, &b]);
    std::fs::remove_dir_all(&b).expect("removed");
    let c = place.join("c");
    let broker = start(&[&a, &c]).ready();
    names(&broker.logged("ERROR"), &[&b]);
    let mut client = broker.client();
    assert!(served(&mut client).len() < PARTITIONS as usize);
    assert_eq!(client.delete_topic(TOPIC), 0);
    assert_eq!(client.create_topic(TOPIC, PARTITIONS), 0);
    for partition in 0..PARTITIONS {
        assert_eq!(client.produce(TOPIC, partition, batch()), (0, 0));
    }
    broker.stop();
    for _ in 0..2 {
        let broker = start(&[&a, &c]).ready();
        check(&broker, 1);
        broker.stop();
    }
    // The second start has nothing to miss any more.
    let broker = start(&[&a, &c]).ready();
    assert!(!broker.log().contains("ERROR"), "{}", broker.log());
    broker.stop();
}
