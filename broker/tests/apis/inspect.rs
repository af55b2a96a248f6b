//! What is asked about partitions and the cluster: epochs, producers, log directories, leaders, reassignments, quorum, features.

use corelog_logic::partition::producer_state::ActiveProducer;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::*;
use kafka_protocol::messages::{describe_producers_request, describe_quorum_request};
use kafka_protocol::protocol::StrBytes;

use crate::fakes::{Bench, NODE_ID};

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

#[test]
fn an_epoch_ends_where_its_log_does_and_partitions_are_asked_of_their_cores() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    for partition in 0..2 {
        let id = bench.partition("orders", partition);
        bench.world.logs.borrow_mut().entry(id).or_default().next_offset = 40 + i64::from(partition);
    }
    let ask = |version, name: &str, partition, leader_epoch| {
        let asked = OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(-1)
            .with_leader_epoch(leader_epoch);
        let asked = OffsetForLeaderTopic::default().with_topic(topic(name)).with_partitions(vec![asked]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![asked]);
        let response: OffsetForLeaderEpochResponse = bench.ask(23, version, &request);
        let told = &response.topics[0].partitions[0];
        (told.error_code, told.leader_epoch, told.end_offset)
    };
    for version in 2..=4 {
        assert_eq!(ask(version, "orders", 0, 0), (0, 0, 40));
        assert_eq!(ask(version, "orders", 1, 0), (0, 0, 41));
        assert_eq!(ask(version, "orders", 1, 5), (0, -1, -1));
        assert_eq!(ask(version, "orders", 9, 0), (3, -1, -1));
        assert_eq!(ask(version, "nowhere", 0, 0), (3, -1, -1));
    }
    let cores: Vec<u16> = bench.world.messages.borrow().iter().take(2).map(|(core, ..)| core.0).collect();
    assert_eq!(cores, [0, 1]);
}

#[test]
fn producers_are_told_with_their_last_sequence_and_timestamp() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let producer =
        ActiveProducer { producer_id: 12, producer_epoch: 3, last_sequence: 77, last_timestamp_ms: 1_000 };
    bench.world.producers.borrow_mut().push(producer);
    let ask = |name: &str, partition| {
        let asked = describe_producers_request::TopicRequest::default()
            .with_name(topic(name))
            .with_partition_indexes(vec![partition]);
        let mut response: DescribeProducersResponse =
            bench.ask(61, 0, &DescribeProducersRequest::default().with_topics(vec![asked]));
        response.topics.remove(0).partitions.remove(0)
    };
    let told = ask("orders", 0);
    assert_eq!((told.error_code, told.active_producers.len()), (0, 1));
    let one = &told.active_producers[0];
    assert_eq!(
        (one.producer_id.0, one.producer_epoch, one.last_sequence, one.last_timestamp),
        (12, 3, 77, 1_000)
    );
    assert_eq!((one.coordinator_epoch, one.current_txn_start_offset), (-1, -1));
    for (name, partition, code) in [("orders", 9, 3), ("nowhere", 0, 3), ("a/b", 0, 17)] {
        let told = ask(name, partition);
        assert_eq!((told.error_code, told.active_producers.len()), (code, 0), "{name}-{partition}");
    }
}

#[test]
fn log_directories_are_told_with_what_every_core_has_in_them() {
    let bench = Bench::new();
    bench.topic("orders", 3);
    bench.topic("other", 1);
    for version in 1..=4 {
        let ask =
            |request: DescribeLogDirsRequest| -> DescribeLogDirsResponse { bench.ask(35, version, &request) };
        let all = ask(DescribeLogDirsRequest::default().with_topics(None));
        let dir = &all.results[0];
        assert!(dir.log_dir.as_str().starts_with('/') && dir.log_dir.as_str().ends_with("corelog-data"));
        let space = (dir.total_bytes, dir.usable_bytes);
        assert_eq!(space, if version >= 4 { (5_000, 3_000) } else { (-1, -1) });
        let told: Vec<(&str, Vec<(i32, i64)>)> = dir
            .topics
            .iter()
            .map(|topic| {
                let sizes = topic.partitions.iter().map(|one| (one.partition_index, one.partition_size));
                (topic.name.as_str(), sizes.collect())
            })
            .collect();
        assert_eq!(told, [("orders", vec![(0, 100), (1, 101), (2, 102)]), ("other", vec![(0, 100)])]);
        let asked =
            DescribableLogDirTopic::default().with_topic(topic("orders")).with_partitions(vec![2, 99]);
        let some = ask(DescribeLogDirsRequest::default().with_topics(Some(vec![asked])));
        assert_eq!(some.results[0].topics.len(), 1);
        assert_eq!(some.results[0].topics[0].partitions.len(), 1);
    }
}

#[test]
fn every_partition_is_led_by_the_only_one_that_can() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let elect = |version: i16, kind: i8, asked: Option<Vec<(&str, i32)>>| {
        let topics = asked.map(|asked| {
            let one = |(name, partition): (&str, i32)| {
                TopicPartitions::default().with_topic(topic(name)).with_partitions(vec![partition])
            };
            asked.into_iter().map(one).collect()
        });
        let mut request = ElectLeadersRequest::default().with_topic_partitions(topics);
        request.election_type = kind;
        let response: ElectLeadersResponse = bench.ask(43, version, &request);
        let codes: Vec<Vec<i16>> = response
            .replica_election_results
            .iter()
            .map(|topic| topic.partition_result.iter().map(|one| one.error_code).collect())
            .collect();
        (response.error_code, codes)
    };
    let asked = || Some(vec![("orders", 0), ("orders", 9), ("nowhere", 0)]);
    for version in 0..=2 {
        assert_eq!(elect(version, 0, asked()), (0, vec![vec![84], vec![3], vec![3]]));
        assert_eq!(elect(version, 0, None), (0, vec![vec![]]));
    }
    assert_eq!(elect(2, 1, asked()), (0, vec![vec![84], vec![3], vec![3]]));
    assert_eq!(elect(2, 9, asked()), (42, vec![vec![42]; 3]));
    assert_eq!(elect(2, 9, Some(Vec::new())), (0, vec![]));
}

#[test]
fn a_partition_can_only_be_reassigned_to_where_it_is() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let reassign = |name: &str, partition, replicas: Option<Vec<i32>>| {
        let asked = ReassignablePartition::default()
            .with_partition_index(partition)
            .with_replicas(replicas.map(|ids| ids.into_iter().map(BrokerId).collect()));
        let asked = ReassignableTopic::default().with_name(topic(name)).with_partitions(vec![asked]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![asked]);
        let response: AlterPartitionReassignmentsResponse = bench.ask(45, 0, &request);
        assert_eq!(response.error_code, 0);
        let told = &response.responses[0].partitions[0];
        (told.error_code, told.error_message.as_ref().map(|text| text.to_string()).unwrap_or_default())
    };
    let refused = |code, text: &str| (code, text.to_owned());
    assert_eq!(reassign("orders", 0, Some(vec![NODE_ID])), refused(0, ""));
    assert_eq!(reassign("orders", 0, None), refused(85, ""));
    assert_eq!(reassign("nowhere", 0, None), refused(3, "Unable to find a topic named nowhere."));
    assert_eq!(reassign("orders", 9, None), refused(3, "Unable to find partition orders:9."));
    let invalid = |text: &str| refused(39, &format!("The manual partition assignment includes {text}"));
    assert_eq!(reassign("orders", 0, Some(vec![])), invalid("an empty replica list."));
    assert_eq!(reassign("orders", 0, Some(vec![8])), invalid("broker 8, but no such broker is registered."));
    let twice = Some(vec![NODE_ID, NODE_ID]);
    assert_eq!(reassign("orders", 0, twice), invalid("the broker 7 more than once."));
    let ongoing: ListPartitionReassignmentsResponse =
        bench.ask(46, 0, &ListPartitionReassignmentsRequest::default().with_topics(None));
    assert_eq!((ongoing.error_code, ongoing.topics.len()), (0, 0));
}

#[test]
fn the_quorum_is_this_node_and_knows_one_log() {
    let bench = Bench::new();
    let ask = |version, name: &str, partition| -> DescribeQuorumResponse {
        let asked = describe_quorum_request::PartitionData::default().with_partition_index(partition);
        let asked = describe_quorum_request::TopicData::default()
            .with_topic_name(topic(name))
            .with_partitions(vec![asked]);
        bench.ask(55, version, &DescribeQuorumRequest::default().with_topics(vec![asked]))
    };
    for version in 0..=2 {
        let response = ask(version, "__cluster_metadata", 0);
        let told = &response.topics[0].partitions[0];
        assert_eq!((told.error_code, told.leader_id.0, told.leader_epoch), (0, NODE_ID, 4));
        assert_eq!((told.high_watermark, told.current_voters[0].log_end_offset), (9, 10));
        assert_eq!((told.current_voters.len(), told.observers.len()), (1, 0));
        assert_eq!(told.current_voters[0].last_caught_up_timestamp > 0, version >= 1);
        assert_eq!(response.nodes.len(), usize::from(version >= 2));
        for (name, partition) in [("__cluster_metadata", 1), ("orders", 0)] {
            assert_eq!(ask(version, name, partition).topics[0].partitions[0].error_code, 3);
        }
    }
}

#[test]
fn features_are_updated_as_a_whole() {
    let bench = Bench::new();
    let ask = |version: i16, name: &str, level| -> UpdateFeaturesResponse {
        let update = FeatureUpdateKey::default().with_feature(text(name)).with_max_version_level(level);
        bench.ask(57, version, &UpdateFeaturesRequest::default().with_feature_updates(vec![update]))
    };
    for version in 0..=2 {
        let done = ask(version, "metadata.version", 30);
        assert_eq!((done.error_code, done.results.len()), (0, usize::from(version < 2)));
        let refused = ask(version, "metadata.version", 99);
        assert_eq!(refused.error_code, 95);
        let text = refused.error_message.expect("a text");
        assert!(text.ends_with("Local controller 7 only supports versions 7-30"), "{text:?}");
    }
}

/// Topics with their partitions, and the cursor.
type Page = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

fn page(bench: &Bench, names: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> Page {
    let topics = names.iter().map(|name| TopicRequest::default().with_name(topic(name))).collect();
    let cursor = cursor.map(|(name, partition)| {
        Cursor::default().with_topic_name(topic(name)).with_partition_index(partition)
    });
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(topics)
        .with_response_partition_limit(limit)
        .with_cursor(cursor);
    let response: DescribeTopicPartitionsResponse = bench.ask(75, 0, &request);
    let told = response.topics.iter().map(|topic| {
        let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        (name, topic.error_code, topic.partitions.iter().map(|one| one.partition_index).collect())
    });
    (told.collect(), response.next_cursor.map(|next| (next.topic_name.to_string(), next.partition_index)))
}

#[test]
fn topics_are_described_page_by_page() {
    let bench = Bench::new();
    bench.topic("a", 2);
    bench.topic("b", 3);
    bench.topic("c", 1);
    let one = |name: &str, partitions: &[i32]| (name.to_owned(), 0, partitions.to_vec());
    let at = |name: &str, partition| Some((name.to_owned(), partition));
    assert_eq!(
        page(&bench, &[], 2000, None),
        (vec![one("a", &[0, 1]), one("b", &[0, 1, 2]), one("c", &[0])], None)
    );
    assert_eq!(page(&bench, &[], 2, None), (vec![one("a", &[0, 1])], at("b", 0)));
    assert_eq!(page(&bench, &[], 3, None), (vec![one("a", &[0, 1]), one("b", &[0])], at("b", 1)));
    assert_eq!(page(&bench, &[], 2, Some(("b", 1))), (vec![one("b", &[1, 2])], at("c", 0)));
    assert_eq!(page(&bench, &[], 9, Some(("c", 0))), (vec![one("c", &[0])], None));
    // A limit that makes no sense is one partition.
    assert_eq!(page(&bench, &[], 0, None), (vec![one("a", &[0])], at("a", 1)));
    // The broker's own limit counts too.
    let small = Bench::with(&[("max.request.partition.size.limit", "1")]);
    small.topic("a", 2);
    assert_eq!(page(&small, &[], 2000, None).1, at("a", 1));
}

#[test]
fn topics_that_are_asked_for_by_name_are_each_answered_in_order_of_their_names() {
    let bench = Bench::new();
    bench.topic("a", 1);
    bench.topic("b", 1);
    let (topics, next) = page(&bench, &["b", "nowhere", "a/b", "a", "a"], 2000, None);
    let told: Vec<(&str, i16)> = topics.iter().map(|(name, code, _)| (name.as_str(), *code)).collect();
    assert_eq!(told, [("a", 0), ("a/b", 17), ("b", 0), ("nowhere", 3)]);
    assert_eq!(next, None);
    // A cursor must be in what is asked for, and in range.
    assert!(page(&bench, &["a"], 9, Some(("b", 0))).0.iter().all(|(_, code, _)| *code == 42));
    assert!(page(&bench, &["a"], 9, Some(("a", -1))).0.iter().all(|(_, code, _)| *code == 42));
    assert_eq!(page(&bench, &["a"], 9, Some(("a", 99))).0, [("a".to_owned(), 0, vec![])]);
}
