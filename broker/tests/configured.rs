//! What is configured before the start and changed while the broker runs, on the real process: it acts on every core, and is there
//! after a kill.

#![allow(clippy::expect_used, clippy::print_stdout)]

mod process;

use corelog_storage::batch::BatchBuilder;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsPartition;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use process::client::Client;
use process::{Place, Start};

const MESSAGE_TOO_LARGE: i16 = 10;
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn batch(bytes: usize) -> Vec<u8> {
    BatchBuilder::new().record(0, Some(b"key"), Some(&vec![7; bytes])).build()
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// Sets one key, or takes it back.
fn alter(client: &mut Client, kind: i8, name: &str, key: &str, value: Option<&str>) -> i16 {
    let config = AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(i8::from(value.is_none()))
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response: IncrementalAlterConfigsResponse = client.ask(44, 0, &request);
    response.responses[0].error_code
}

#[test]
fn kafkas_own_sample_starts_as_it_is() {
    let place = Place::new();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server.properties");
    let broker = Start::bare()
        .arg(sample)
        .set("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0")
        .set("log.dirs", place.join("data").display())
        .set("corelog.cores", 1)
        .set("corelog.memory.bytes", process::MEMORY_BYTES)
        .ready();
    assert!(!broker.log().contains("WARN"), "nothing to warn of: {}", broker.log());
    assert_eq!(broker.client().create_topic("t", 1), 0);
    broker.stop();
}

#[test]
fn replication_factors_above_the_number_of_nodes_are_clamped_and_said() {
    let place = Place::new();
    let broker = Start::in_dir(&place.join("data"))
        .set("default.replication.factor", 3)
        .set("offsets.topic.replication.factor", 3)
        .set("transaction.state.log.min.isr", 2)
        .ready();
    for line in [
        "default.replication.factor=3 is more than there are nodes, and counts as 1",
        "offsets.topic.replication.factor=3 is more than there are nodes, and counts as 1",
        "transaction.state.log.min.isr=2 is more than there are nodes, and counts as 1",
    ] {
        assert!(broker.log().contains(line), "{line} is not in {}", broker.log());
    }
    broker.stop();
}

#[test]
fn a_changed_configuration_acts_on_every_core_at_once_and_after_a_kill() {
    let place = Place::new();
    let start = || Start::in_dir(&place.join("data")).set("node.id", 7).set("message.max.bytes", 2_000);
    let broker = start().ready();
    let mut client = broker.client();
    assert_eq!(client.create_topic("t", 4), 0);
    let produce = |client: &mut Client, bytes: usize| -> Vec<i16> {
        (0..4).map(|partition| client.produce("t", partition, batch(bytes)).0).collect()
    };
    let (good, refused) = (vec![0; 4], vec![MESSAGE_TOO_LARGE; 4]);
    assert_eq!(produce(&mut client, 3_000), refused, "the file's limit");
    assert_eq!(alter(&mut client, BROKER, "", "message.max.bytes", Some("4000")), 0);
    assert_eq!(produce(&mut client, 3_000), good, "the limit of all brokers");
    assert_eq!(alter(&mut client, BROKER, "7", "message.max.bytes", Some("1000")), 0);
    assert_eq!(produce(&mut client, 3_000), refused, "this broker's own limit");
    assert_eq!(alter(&mut client, TOPIC, "t", "max.message.bytes", Some("6000")), 0);
    assert_eq!(produce(&mut client, 5_000), good, "the topic's limit");
    broker.kill();

    let broker = start().ready();
    let mut client = broker.client();
    assert_eq!(produce(&mut client, 5_000), good, "the topic's limit");
    assert_eq!(alter(&mut client, TOPIC, "t", "max.message.bytes", None), 0);
    assert_eq!(produce(&mut client, 1_500), refused, "this broker's own limit");
    assert_eq!(alter(&mut client, BROKER, "7", "message.max.bytes", None), 0);
    assert_eq!(produce(&mut client, 3_000), good, "the limit of all brokers");
    broker.stop();
}

#[test]
fn new_partitions_can_be_written_when_they_are_answered_and_are_there_after_a_kill() {
    let place = Place::new();
    let start = || Start::in_dir(&place.join("data"));
    let broker = start().ready();
    let (mut client, mut other) = (broker.client(), broker.client());
    assert_eq!(client.create_topic("t", 1), 0);
    let topic = CreatePartitionsTopic::default().with_name(TopicName(text("t"))).with_count(6);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![topic.with_assignments(None)])
        .with_timeout_ms(5_000);
    let grown: CreatePartitionsResponse = client.ask(37, 1, &request);
    assert_eq!(grown.results[0].error_code, 0);
    for partition in 0..6 {
        assert_eq!(other.produce("t", partition, batch(10)), (0, 0), "partition {partition}");
    }
    broker.kill();

    let broker = start().ready();
    let mut client = broker.client();
    assert_eq!(client.partitions("t").len(), 6);
    for partition in 0..6 {
        assert_eq!(client.produce("t", partition, batch(10)), (0, 1), "partition {partition}");
    }
    broker.stop();
}

#[test]
fn log_directories_tell_what_is_in_them_and_how_much_room_there_is() {
    let place = Place::new();
    let data = place.join("data");
    let broker = Start::in_dir(&data).ready();
    let mut client = broker.client();
    assert_eq!(client.create_topic("t", 4), 0);
    let records = batch(1_000);
    let size = records.len() as i64;
    assert_eq!(client.produce("t", 2, records), (0, 0));
    let described: DescribeLogDirsResponse =
        client.ask(35, 1, &DescribeLogDirsRequest::default().with_topics(None));
    let dir = &described.results[0];
    assert_eq!((dir.error_code, dir.log_dir.as_str()), (0, data.display().to_string().as_str()));
    let told = |one: &DescribeLogDirsPartition| (one.partition_index, one.partition_size, one.offset_lag);
    let sizes: Vec<(i32, i64, i64)> = dir.topics[0].partitions.iter().map(told).collect();
    assert_eq!(sizes, [(0, 0, 0), (1, 0, 0), (2, size, 0), (3, 0, 0)]);
    broker.stop();
}
