//! DescribeConfigs and DescribeCluster.

use corelog::config::{TOPIC_SETTINGS, broker_settings};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use crate::fakes::{Bench, NODE_ID};

fn resource(kind: i8, name: &str) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(StrBytes::from_string(name.to_owned()))
        .with_configuration_keys(None)
}

fn describe(bench: &Bench, version: i16, resource: DescribeConfigsResource) -> DescribeConfigsResult {
    let mut request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    request.include_documentation = version >= 3;
    let mut response: DescribeConfigsResponse = bench.ask(32, version, &request);
    response.results.remove(0)
}

/// Value and source of one key.
fn value(result: &DescribeConfigsResult, key: &str) -> (Option<String>, i8) {
    let config = result.configs.iter().find(|config| config.name.as_str() == key).expect("the key");
    (config.value.as_ref().map(|value| value.to_string()), config.config_source)
}

#[test]
fn a_topics_values_come_with_their_sources_synonyms_types_and_documentation() {
    let bench = Bench::with(&[("message.max.bytes", "4096"), ("log.retention.hours", "2")]);
    let config = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("segment.bytes"))
        .with_value(Some(StrBytes::from_static_str("1048576")));
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("orders")))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let made: CreateTopicsResponse =
        bench.ask(19, 7, &CreateTopicsRequest::default().with_topics(vec![topic]));
    assert_eq!(made.topics[0].error_code, 0, "{:?}", made.topics[0].error_message);
    for version in 1..=4 {
        let result = describe(&bench, version, resource(2, "orders"));
        assert_eq!((result.error_code, result.configs.len()), (0, TOPIC_SETTINGS.len()));
        assert_eq!(value(&result, "segment.bytes"), (Some("1048576".into()), 1));
        assert_eq!(value(&result, "max.message.bytes"), (Some("4096".into()), 4));
        // By its coarser name alone: the value counts and, as in Kafka, its source is not told.
        assert_eq!(value(&result, "retention.ms"), (Some("7200000".into()), 5));
        assert_eq!(value(&result, "cleanup.policy"), (Some("delete".into()), 5));
        let segment =
            result.configs.iter().find(|one| one.name.as_str() == "segment.bytes").expect("the key");
        assert!(
            segment.synonyms.iter().any(|one| one.name.as_str() == "log.segment.bytes" && one.source == 5)
        );
        assert!(!segment.read_only);
        if version >= 3 {
            assert_eq!(segment.config_type, 3);
            assert!(segment.documentation.as_ref().is_some_and(|text| !text.is_empty()));
        }
    }
}

#[test]
fn only_the_keys_that_are_asked_for_are_told() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let keys = |keys: &[&'static str]| {
        let keys = keys.iter().map(|key| StrBytes::from_static_str(key)).collect();
        let asked = resource(2, "orders").with_configuration_keys(Some(keys));
        describe(&bench, 4, asked).configs.len()
    };
    assert_eq!(keys(&["retention.ms", "cleanup.policy", "no.such.key"]), 2);
    assert_eq!(keys(&[]), TOPIC_SETTINGS.len());
}

#[test]
fn this_brokers_values_are_told_and_which_of_them_can_be_changed() {
    let bench = Bench::with(&[("num.partitions", "6")]);
    let result = describe(&bench, 4, resource(4, &NODE_ID.to_string()));
    assert_eq!((result.error_code, result.configs.len()), (0, broker_settings().count()));
    assert_eq!(value(&result, "num.partitions"), (Some("6".into()), 4));
    assert_eq!(value(&result, "node.id").0, Some(NODE_ID.to_string()));
    let read_only =
        |key: &str| result.configs.iter().find(|one| one.name.as_str() == key).map(|one| one.read_only);
    assert_eq!((read_only("num.partitions"), read_only("message.max.bytes")), (Some(true), Some(false)));
    let defaults = describe(&bench, 4, resource(4, ""));
    assert_eq!((defaults.error_code, defaults.configs.len()), (0, 0));
}

#[test]
fn what_has_no_configurations_here_is_refused() {
    let bench = Bench::new();
    for (kind, name, code) in [
        (2, "nowhere", 3),
        (2, "..", 17),
        (4, "8", 42),
        (4, "eight", 42),
        (8, "8", 42),
        (8, "", 42),
        (16, "", 42),
        (32, "", 42),
        (0, "", 42),
    ] {
        let result = describe(&bench, 4, resource(kind, name));
        assert_eq!((result.error_code, result.configs.len()), (code, 0), "{kind} {name}");
        // Kafka leaves the text for an unknown topic to the client.
        assert_eq!(result.error_message.is_some_and(|text| text.is_empty()), code == 3);
        assert_eq!((result.resource_type, result.resource_name.as_str()), (kind, name));
    }
}

#[test]
fn a_group_has_the_brokers_values_and_a_subscription_to_metrics_that_is_not_there_has_none() {
    let bench = Bench::new();
    let group = describe(&bench, 4, resource(32, "readers"));
    let told: Vec<(&str, Option<&str>, bool)> = group
        .configs
        .iter()
        .map(|config| (config.name.as_str(), config.value.as_deref(), config.read_only))
        .collect();
    let expected = [
        ("consumer.assignment.interval.ms", Some("1000"), false),
        ("consumer.heartbeat.interval.ms", Some("5000"), false),
        ("consumer.session.timeout.ms", Some("45000"), false),
    ];
    assert_eq!((group.error_code, told), (0, expected.to_vec()));
    let metrics = describe(&bench, 4, resource(16, "subscription"));
    assert_eq!((metrics.error_code, metrics.configs.len()), (0, 0));
}

#[test]
fn the_only_logger_is_told_with_its_level() {
    let result = describe(&Bench::new(), 4, resource(8, &NODE_ID.to_string()));
    assert_eq!((result.error_code, result.configs.len()), (0, 1));
    assert_eq!((result.configs[0].name.as_str(), result.configs[0].config_source), ("root", 6));
}

#[test]
fn the_cluster_is_described_to_brokers_clients_only() {
    let bench = Bench::new();
    for version in 0..=2 {
        let response: DescribeClusterResponse = bench.ask(60, version, &DescribeClusterRequest::default());
        assert_eq!((response.error_code, response.controller_id.0), (0, NODE_ID));
        assert_eq!(response.cluster_id.as_str(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(response.brokers[0].port, 19092);
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
        let asked = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        let response: DescribeClusterResponse = bench.ask(60, version, &asked);
        assert_eq!(response.cluster_authorized_operations, 8096);
    }
    for (kind, code) in [(2, 114), (3, 115), (0, 115)] {
        let request = DescribeClusterRequest::default().with_endpoint_type(kind);
        let response: DescribeClusterResponse = bench.ask(60, 1, &request);
        assert_eq!(response.error_code, code);
        assert!(response.error_message.is_some());
    }
}
