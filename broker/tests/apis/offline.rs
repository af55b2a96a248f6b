//! Partitions that cannot be used because their log directory failed: what is told of them, and that it is told of no others.

use corelog::drive::tasks::PartitionError;
use corelog_storage::StorageError;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use corelog_logic::group::partition_for;

use crate::fakes::{Bench, NODE_ID};

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn fail(bench: &Bench, name: &str, partition: i32) {
    let cause = "write /b/journal/0-0: Input/output error (os error 5)".to_owned();
    let error = StorageError::DirectoryFailed { dir: "/b".into(), cause };
    let id = bench.partition(name, partition);
    bench.world.logs.borrow_mut().entry(id).or_default().fails_with = Some(PartitionError::Storage(error));
}

#[test]
fn a_partition_whose_directory_failed_has_no_leader_and_its_replica_is_offline() {
    let bench = Bench::new();
    bench.topic("orders", 3);
    fail(&bench, "orders", 1);
    for version in 0..=13 {
        let asked = MetadataRequestTopic::default().with_name(Some(topic("orders")));
        let response: MetadataResponse =
            bench.ask(3, version, &MetadataRequest::default().with_topics(Some(vec![asked])));
        assert_eq!(response.topics[0].error_code, 0);
        for (partition, told) in response.topics[0].partitions.iter().enumerate() {
            let is_offline = partition == 1;
            let (code, leader) = if is_offline { (5, -1) } else { (0, NODE_ID) };
            assert_eq!((told.error_code, told.leader_id.0), (code, leader), "version {version}: {told:?}");
            assert_eq!((told.replica_nodes[0].0, told.isr_nodes[0].0), (NODE_ID, NODE_ID));
            let offline = if is_offline && version >= 5 { vec![BrokerId(NODE_ID)] } else { Vec::new() };
            assert_eq!(told.offline_replicas, offline, "version {version}");
        }
    }
    let asked = TopicRequest::default().with_name(topic("orders"));
    let request = DescribeTopicPartitionsRequest::default().with_topics(vec![asked]);
    let response: DescribeTopicPartitionsResponse = bench.ask(75, 0, &request);
    let told: Vec<(i16, i32, usize)> = response.topics[0]
        .partitions
        .iter()
        .map(|one| (one.error_code, one.leader_id.0, one.offline_replicas.len()))
        .collect();
    assert_eq!(told, [(0, NODE_ID, 0), (0, -1, 1), (0, NODE_ID, 0)]);
}

#[test]
fn nobody_is_asked_which_partitions_are_offline_while_all_is_well() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    let ask = || -> MetadataResponse { bench.ask(3, 9, &MetadataRequest::default().with_topics(None)) };
    ask();
    assert_eq!(bench.world.messages.borrow().len(), 0);
    fail(&bench, "orders", 0);
    ask();
    assert_eq!(bench.world.messages.borrow().len(), 2, "each core once");
}

#[test]
fn no_election_gives_a_leader_to_a_partition_whose_directory_failed() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    fail(&bench, "orders", 1);
    let elect = |kind: i8| {
        let asked = TopicPartitions::default().with_topic(topic("orders")).with_partitions(vec![0, 1]);
        let mut request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![asked]));
        request.election_type = kind;
        let response: ElectLeadersResponse = bench.ask(43, 2, &request);
        let results = &response.replica_election_results[0].partition_result;
        results.iter().map(|one| one.error_code).collect::<Vec<_>>()
    };
    assert_eq!(elect(0), [84, 80]);
    assert_eq!(elect(1), [84, 83]);
}

#[test]
fn a_group_whose_partition_is_offline_has_no_coordinator_and_others_have_theirs() {
    let bench = Bench::with(&[("offsets.topic.num.partitions", "4")]);
    let find = |groups: &[&str]| {
        let keys = groups.iter().map(|group| text(group)).collect();
        let request = FindCoordinatorRequest::default().with_coordinator_keys(keys);
        let found: FindCoordinatorResponse = bench.ask(10, 6, &request);
        found.coordinators.iter().map(|one| (one.error_code, one.node_id.0)).collect::<Vec<_>>()
    };
    let (lost, kept) = ("lost", "kept-1");
    assert_ne!(partition_for(lost, 4), partition_for(kept, 4));
    assert_eq!(find(&[lost, kept]), [(0, NODE_ID), (0, NODE_ID)]);
    fail(&bench, "__consumer_offsets", partition_for(lost, 4));
    assert_eq!(find(&[lost, kept]), [(15, -1), (0, NODE_ID)]);
    for (group, code) in [(lost, 15), (kept, 0)] {
        let found: FindCoordinatorResponse =
            bench.ask(10, 2, &FindCoordinatorRequest::default().with_key(text(group)));
        assert_eq!(found.error_code, code);
    }
}
