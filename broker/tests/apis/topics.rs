//! Metadata, CreateTopics and DeleteTopics.

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::fakes::{Bench, NODE_ID, frame};

fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}

fn metadata(names: &[&str]) -> MetadataRequest {
    let topics =
        names.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic)))).collect();
    MetadataRequest::default().with_topics(Some(topics))
}

/// Name, error, partitions.
fn told(response: &MetadataResponse) -> Vec<(Option<String>, i16, usize)> {
    response
        .topics
        .iter()
        .map(|topic| {
            (topic.name.as_ref().map(|name| name.to_string()), topic.error_code, topic.partitions.len())
        })
        .collect()
}

fn topic(text: &str, error: i16, partitions: usize) -> (Option<String>, i16, usize) {
    (Some(text.to_owned()), error, partitions)
}

#[test]
fn a_client_is_told_the_address_it_dialled() {
    let bench = Bench::new();
    for version in 0..=13 {
        let response: MetadataResponse = bench.ask(3, version, &metadata(&[]));
        let broker = &response.brokers[0];
        assert_eq!((broker.node_id.0, broker.host.as_str(), broker.port), (NODE_ID, "127.0.0.9", 19092));
        if version >= 1 {
            assert_eq!(response.controller_id.0, NODE_ID);
        }
        if version >= 2 {
            assert_eq!(response.cluster_id.as_ref().map(|id| id.as_str()), Some("AAAAAAAAAAAAAAAAAAAAAA"));
        }
    }
}

#[test]
fn no_topics_means_all_in_version_0_and_none_later_where_null_means_all() {
    let bench = Bench::new();
    bench.topic("a", 1);
    bench.topic("b", 2);
    let all = [topic("a", 0, 1), topic("b", 0, 2)];
    assert_eq!(told(&bench.ask(3, 0, &metadata(&[]))), all);
    for version in 1..=13 {
        assert_eq!(told(&bench.ask(3, version, &metadata(&[]))), []);
        assert_eq!(told(&bench.ask(3, version, &MetadataRequest::default().with_topics(None))), all);
    }
}

#[test]
fn leaders_and_epochs_are_told() {
    let bench = Bench::new();
    let id = bench.topic("a", 1);
    for version in 0..=13 {
        let response: MetadataResponse = bench.ask(3, version, &metadata(&["a"]));
        let partition = &response.topics[0].partitions[0];
        assert_eq!(
            (partition.leader_id.0, partition.replica_nodes[0].0, partition.isr_nodes[0].0),
            (7, 7, 7)
        );
        assert_eq!(partition.leader_epoch, if version >= 7 { 0 } else { -1 });
        let told = if version >= 10 { Uuid::from_bytes(id.0) } else { Uuid::nil() };
        assert_eq!(response.topics[0].topic_id, told);
    }
}

#[test]
fn asking_for_a_topic_creates_it_where_both_sides_allow_it() {
    let bench = Bench::new();
    let response: MetadataResponse = bench.ask(3, 9, &metadata(&["new", "new", "not allowed", "..", ""]));
    assert_eq!(
        told(&response),
        [topic("new", 0, 3), topic("not allowed", 17, 0), topic("..", 17, 0), topic("", 17, 0)]
    );
    let request = metadata(&["other", ".."]).with_allow_auto_topic_creation(false);
    assert_eq!(told(&bench.ask(3, 4, &request)), [topic("other", 3, 0), topic("..", 17, 0)]);
    let closed = Bench::with(&[("auto.create.topics.enable", "false")]);
    assert_eq!(told(&closed.ask(3, 1, &metadata(&["new"]))), [topic("new", 3, 0)]);
}

#[test]
fn a_controller_that_does_not_answer_makes_the_client_ask_again() {
    let bench = Bench::new();
    bench.world.controller_hangs.set(true);
    bench.world.time_is_up.set(true);
    assert_eq!(told(&bench.ask(3, 9, &metadata(&["new"]))), [topic("new", 5, 0)]);
}

#[test]
fn topics_are_found_by_id_from_version_12_on() {
    let bench = Bench::new();
    let id = Uuid::from_bytes(bench.topic("a", 1).0);
    let by_id = |id: Uuid| MetadataRequestTopic::default().with_topic_id(id).with_name(None);
    let request =
        MetadataRequest::default().with_topics(Some(vec![by_id(id), by_id(Uuid::from_bytes([9; 16]))]));
    let response: MetadataResponse = bench.ask(3, 12, &request);
    assert_eq!(told(&response), [topic("a", 0, 1), (None, 100, 0)]);
    assert_eq!(response.topics[1].topic_id, Uuid::from_bytes([9; 16]));
    let named = MetadataRequestTopic::default().with_topic_id(id).with_name(Some(name("a")));
    let request = MetadataRequest::default().with_topics(Some(vec![named]));
    let response: MetadataResponse = bench.ask(3, 10, &request);
    assert_eq!(told(&response), [topic("a", 42, 0)]);
    // What is no request is told nothing of the cluster.
    assert!(response.brokers.is_empty() && response.cluster_id.is_none());
    assert_eq!(response.controller_id, BrokerId(-1));
    let neither = MetadataRequest::default()
        .with_topics(Some(vec![by_id(Uuid::nil()), by_id(Uuid::nil()).with_name(Some(name("a")))]));
    let response: MetadataResponse = bench.ask(3, 13, &neither);
    assert_eq!((response.error_code, told(&response)), (-1, vec![topic("", -1, 0), topic("a", -1, 0)]));
}

#[test]
fn a_null_where_the_version_has_none_closes_the_connection() {
    let bench = Bench::new();
    // No topics in version 0, and a topic without a name in 9: what the protocol crate would not encode.
    let mut no_topics = frame(3, 0, &MetadataRequest::default().with_topics(Some(Vec::new())));
    let end = no_topics.len();
    no_topics[end - 4..].copy_from_slice(&(-1_i32).to_be_bytes());
    let reply = bench.send(&no_topics);
    assert!(reply.segments.is_none() && reply.close_after);
    let named = frame(3, 1, &metadata(&["abc"]));
    let at = named.windows(5).position(|bytes| bytes == [0, 3, b'a', b'b', b'c']).expect("the name");
    let nameless = [&named[..at], &[0xff, 0xff], &named[at + 5..]].concat();
    let reply = bench.send(&nameless);
    assert!(reply.segments.is_none() && reply.close_after);
}

#[test]
fn authorized_operations_are_told_only_when_asked_for() {
    let bench = Bench::new();
    bench.topic("a", 1);
    for version in 8..=13 {
        let response: MetadataResponse = bench.ask(3, version, &metadata(&["a"]));
        assert_eq!(response.topics[0].topic_authorized_operations, i32::MIN);
        let mut request = metadata(&["a"]).with_include_topic_authorized_operations(true);
        request.include_cluster_authorized_operations = version <= 10;
        let response: MetadataResponse = bench.ask(3, version, &request);
        assert_eq!(response.topics[0].topic_authorized_operations, 3576);
        // A topic that is not there could be created.
        let mut missing = metadata(&["nowhere"]).with_include_topic_authorized_operations(true);
        missing.allow_auto_topic_creation = false;
        let response_of_missing: MetadataResponse = bench.ask(3, version, &missing);
        assert_eq!(response_of_missing.topics[0].topic_authorized_operations, 3576);
        assert_eq!(response.cluster_authorized_operations, if version <= 10 { 8096 } else { i32::MIN });
    }
}

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(1_000)
}

fn new_topic(text: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(text))
        .with_num_partitions(partitions)
        .with_replication_factor(-1)
}

fn config(key: &'static str, value: &'static str) -> CreatableTopicConfig {
    CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str(key))
        .with_value(Some(StrBytes::from_static_str(value)))
}

#[test]
fn created_topics_are_answered_with_id_counts_and_configurations() {
    for version in 2..=7 {
        let bench = Bench::new();
        let asked = new_topic("a", -1).with_configs(vec![config("max.message.bytes", "2048")]);
        let response: CreateTopicsResponse = bench.ask(19, version, &create(vec![asked, new_topic("..", 1)]));
        let errors: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(errors, [0, 17]);
        assert!(response.topics[1].error_message.is_some());
        let made = &response.topics[0];
        if version >= 5 {
            assert_eq!((made.num_partitions, made.replication_factor), (3, 1));
            let configs = made.configs.as_ref().expect("configurations");
            let find = |key: &str| {
                let one = configs.iter().find(|config| config.name.as_str() == key).expect("a configuration");
                (one.value.as_ref().map(|value| value.to_string()), one.config_source)
            };
            assert_eq!(find("max.message.bytes"), (Some("2048".into()), 1));
            assert_eq!(find("cleanup.policy"), (Some("delete".into()), 5));
            assert_eq!((response.topics[1].num_partitions, response.topics[1].replication_factor), (-1, -1));
        }
        if version >= 7 {
            let id = bench.partition("a", 0).topic_id;
            assert_eq!(made.topic_id, Uuid::from_bytes(id.0));
        }
        assert_eq!(told(&bench.ask(3, 9, &metadata(&["a"]))), [topic("a", 0, 3)]);
    }
}

#[test]
fn topics_are_refused_one_by_one_with_kafkas_errors() {
    let bench = Bench::new();
    bench.topic("there", 1);
    let cases = vec![
        (new_topic("there", 1), 36),
        (new_topic("none", 0), 37),
        (new_topic("copies", 1).with_replication_factor(3), 38),
        (new_topic("odd", 1).with_configs(vec![config("max.message.bytes", "many")]), 40),
        (new_topic("odder", 1).with_configs(vec![config("no.such.key", "1")]), 40),
    ];
    let (topics, codes): (Vec<_>, Vec<i16>) = cases.into_iter().unzip();
    let response: CreateTopicsResponse = bench.ask(19, 7, &create(topics));
    let told: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(told, codes);
    let twice = create(vec![new_topic("twice", 1), new_topic("twice", 1)]);
    let response: CreateTopicsResponse = bench.ask(19, 7, &twice);
    assert!(response.topics.iter().all(|topic| topic.error_code == 42));
}

#[test]
fn validate_only_answers_as_if_and_creates_nothing() {
    let bench = Bench::new();
    let response: CreateTopicsResponse =
        bench.ask(19, 7, &create(vec![new_topic("a", 2)]).with_validate_only(true));
    assert_eq!((response.topics[0].error_code, response.topics[0].num_partitions), (0, 2));
    let request = metadata(&["a"]).with_allow_auto_topic_creation(false);
    assert_eq!(told(&bench.ask(3, 9, &request)), [topic("a", 3, 0)]);
}

#[test]
fn a_creation_that_takes_too_long_is_request_timed_out() {
    let bench = Bench::new();
    bench.world.controller_hangs.set(true);
    bench.world.time_is_up.set(true);
    let response: CreateTopicsResponse = bench.ask(19, 7, &create(vec![new_topic("a", 2)]));
    assert_eq!(response.topics[0].error_code, 7);
}

#[test]
fn topics_are_deleted_by_name() {
    for version in 1..=5 {
        let bench = Bench::new();
        bench.topic("a", 1);
        let request = DeleteTopicsRequest::default().with_topic_names(vec![name("a"), name("nowhere")]);
        let response: DeleteTopicsResponse = bench.ask(20, version, &request);
        let told: Vec<(String, i16)> = response
            .responses
            .iter()
            .map(|topic| (topic.name.as_ref().expect("a name").to_string(), topic.error_code))
            .collect();
        assert_eq!(told, [("a".into(), 0), ("nowhere".into(), 3)]);
        assert!(bench.world.image.borrow().topic_by_name("a").is_none());
    }
}

#[test]
fn topics_are_deleted_by_name_or_id_and_named_in_exactly_one_way() {
    let bench = Bench::new();
    let id = Uuid::from_bytes(bench.topic("a", 1).0);
    bench.topic("b", 1);
    let ask = |name: Option<TopicName>, id: Uuid| {
        let topics = vec![DeleteTopicState::default().with_name(name).with_topic_id(id)];
        let response: DeleteTopicsResponse =
            bench.ask(20, 6, &DeleteTopicsRequest::default().with_topics(topics));
        response.responses[0].error_code
    };
    assert_eq!(ask(Some(name("a")), id), 42);
    assert_eq!(ask(None, Uuid::nil()), 42);
    assert_eq!(ask(None, id), 0);
    assert_eq!(ask(None, id), 100);
    assert_eq!(ask(Some(name("b")), Uuid::nil()), 0);
}

#[test]
fn deletion_can_be_switched_off() {
    let bench = Bench::with(&[("delete.topic.enable", "false")]);
    bench.topic("a", 1);
    for (version, code) in [(1, 42), (3, 73), (5, 73)] {
        let request = DeleteTopicsRequest::default().with_topic_names(vec![name("a")]);
        let response: DeleteTopicsResponse = bench.ask(20, version, &request);
        assert_eq!(response.responses[0].error_code, code);
    }
    assert!(bench.world.image.borrow().topic_by_name("a").is_some());
}
