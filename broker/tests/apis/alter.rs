//! AlterConfigs, IncrementalAlterConfigs, ListConfigResources and CreatePartitions, as requests and replies.

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::*;
use kafka_protocol::messages::{alter_configs_request, incremental_alter_configs_request};
use kafka_protocol::protocol::StrBytes;

use crate::fakes::{Bench, NODE_ID};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// What was done to one resource: operation, key, value.
type Change<'a> = (i8, &'a str, Option<&'a str>);

fn incremental(
    kind: i8,
    name: &str,
    changes: &[Change<'_>],
) -> incremental_alter_configs_request::AlterConfigsResource {
    let config = |(operation, key, value): &Change<'_>| {
        incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(changes.iter().map(config).collect())
}

/// Error number and text of one changed resource.
fn alter(bench: &Bench, kind: i8, name: &str, changes: &[Change<'_>]) -> (i16, Option<String>) {
    let request =
        IncrementalAlterConfigsRequest::default().with_resources(vec![incremental(kind, name, changes)]);
    let mut response: IncrementalAlterConfigsResponse = bench.ask(44, 1, &request);
    let answer = response.responses.remove(0);
    assert_eq!((answer.resource_type, answer.resource_name.as_str()), (kind, name));
    (answer.error_code, answer.error_message.map(|text| text.to_string()))
}

fn described(bench: &Bench, kind: i8, name: &str) -> Vec<DescribeConfigsResourceResult> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let mut response: DescribeConfigsResponse = bench.ask(32, 4, &request);
    response.results.remove(0).configs
}

/// Value and the sources of all that gives it one, nearest first.
fn sources(bench: &Bench, kind: i8, name: &str, key: &str) -> (Option<String>, Vec<i8>) {
    let configs = described(bench, kind, name);
    let config = configs.iter().find(|config| config.name.as_str() == key).expect("the key");
    let sources: Vec<i8> = config.synonyms.iter().map(|synonym| synonym.source).collect();
    assert_eq!(config.config_source, sources.first().copied().unwrap_or(5));
    (config.value.as_ref().map(|value| value.to_string()), sources)
}

#[test]
fn values_come_from_the_topic_the_broker_all_brokers_the_file_and_the_defaults_in_this_order() {
    let bench = Bench::with(&[("message.max.bytes", "4000")]);
    bench.topic("orders", 1);
    let told = || sources(&bench, 2, "orders", "max.message.bytes");
    let set = |kind, name: &str, key: &str, value: &str| {
        assert_eq!(alter(&bench, kind, name, &[(SET, key, Some(value))]), (0, None));
    };
    assert_eq!(told(), (Some("4000".into()), vec![4, 5]));
    set(4, "", "message.max.bytes", "5000");
    assert_eq!(told(), (Some("5000".into()), vec![3, 4, 5]));
    set(4, &NODE_ID.to_string(), "message.max.bytes", "6000");
    assert_eq!(told(), (Some("6000".into()), vec![2, 3, 4, 5]));
    set(2, "orders", "max.message.bytes", " 7000 ");
    assert_eq!(told(), (Some("7000".into()), vec![1, 2, 3, 4, 5]));
    assert_eq!(sources(&bench, 4, &NODE_ID.to_string(), "message.max.bytes").1, [2, 3, 4, 5]);
    assert_eq!(sources(&bench, 4, "", "message.max.bytes"), (Some("5000".into()), vec![3]));
    let delete = (DELETE, "message.max.bytes", None);
    assert_eq!(alter(&bench, 4, "", &[delete]), (0, None));
    assert_eq!(told(), (Some("7000".into()), vec![1, 2, 4, 5]));
}

#[test]
fn a_coarser_unit_of_the_broker_is_scaled() {
    let bench = Bench::with(&[("log.roll.hours", "2"), ("log.roll.ms", "9")]);
    bench.topic("orders", 1);
    assert_eq!(sources(&bench, 2, "orders", "segment.ms"), (Some("9".into()), vec![4, 4, 5]));
    let bench = Bench::with(&[("log.roll.hours", "2")]);
    bench.topic("orders", 1);
    assert_eq!(sources(&bench, 2, "orders", "segment.ms"), (Some("7200000".into()), vec![]));
}

#[test]
fn bad_values_are_refused_in_kafkas_words() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    for (key, value, why) in [
        (
            "retention.ms",
            "soon",
            "Invalid value soon for configuration retention.ms: Not a number of type LONG",
        ),
        ("retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"),
        (
            "segment.bytes",
            "99999999999",
            "Invalid value 99999999999 for configuration segment.bytes: Not a number of type INT",
        ),
        (
            "min.cleanable.dirty.ratio",
            "2",
            "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            "preallocate",
            "maybe",
            "Invalid value maybe for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "message.timestamp.type",
            "never",
            "Invalid value never for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
        ),
        (
            "compression.gzip.level",
            "0",
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
        ),
        (
            "compression.lz4.level",
            "18",
            "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17",
        ),
        (
            "cleanup.policy",
            "x",
            "Invalid value x for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        ("cleanup.policy", "delete,", "Configuration 'cleanup.policy' values must not be empty."),
        (
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ),
        ("no.such", "1", "Unknown topic config name: no.such"),
    ] {
        let refused = (40, Some(why.to_owned()));
        assert_eq!(alter(&bench, 2, "orders", &[(SET, key, Some(value))]), refused, "{key}={value}");
    }
    let lags = [(SET, "min.compaction.lag.ms", Some("100")), (SET, "max.compaction.lag.ms", Some("10"))];
    let (code, why) = alter(&bench, 2, "orders", &lags);
    assert_eq!(code, 40);
    assert_eq!(
        why.as_deref(),
        Some("conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (10)")
    );
    // A batch that no journal takes.
    assert_eq!(alter(&bench, 2, "orders", &[(SET, "max.message.bytes", Some("40000000"))]).0, 40);
    for (key, value, why) in [
        ("num.partitions", "3", "Cannot update these configs dynamically: [num.partitions]"),
        ("listeners", "PLAINTEXT://:1", "Cannot update these configs dynamically: [listeners]"),
        (
            "message.max.bytes",
            "x",
            "Invalid value x for configuration message.max.bytes: Not a number of type INT",
        ),
    ] {
        let refused = (42, Some(why.to_owned()));
        assert_eq!(alter(&bench, 4, "", &[(SET, key, Some(value))]), refused, "{key}={value}");
    }
}

#[test]
fn a_key_of_nobody_is_kept_for_brokers_and_its_value_not_told() {
    let bench = Bench::new();
    assert_eq!(alter(&bench, 4, "", &[(SET, "plugin.password", Some("secret"))]), (0, None));
    let configs = described(&bench, 4, "");
    assert_eq!(configs.len(), 1);
    assert!(configs[0].is_sensitive && configs[0].read_only && configs[0].value.is_none());
    assert!(configs[0].synonyms.iter().all(|synonym| synonym.value.is_none()));
}

#[test]
fn what_cannot_be_changed_is_refused_resource_by_resource() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    let good = || incremental(2, "orders", &[(APPEND, "cleanup.policy", Some("compact"))]);
    let any = [(SET, "k", Some("v"))];
    let resources = vec![
        incremental(16, "m", &any),
        incremental(32, "", &any),
        incremental(0, "x", &any),
        incremental(8, "7", &any),
        incremental(8, "8", &[(SET, "root", Some("DEBUG"))]),
        incremental(2, "orders", &[(9, "k", Some("v"))]),
        good(),
        incremental(2, "nowhere", &[(SET, "retention.ms", Some("1"))]),
    ];
    let told = |resources: Vec<_>| {
        let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
        let response: IncrementalAlterConfigsResponse = bench.ask(44, 0, &request);
        response.responses.iter().map(|answer| answer.error_code).collect::<Vec<i16>>()
    };
    // The same resource twice spoils both.
    assert_eq!(told(resources), [42, 42, 42, 40, 42, 42, 42, 3]);
    assert_eq!(told(vec![incremental(8, "7", &[(SET, "root", Some("DEBUG"))])]), [40]);
    // What is wrong with any resource comes before what is wrong with a logger.
    assert_eq!(told(vec![incremental(8, "7", &[(SET, "none", None)])]), [42]);
    assert_eq!(told(vec![incremental(8, "7", &[(SET, "none", Some("x")), (DELETE, "none", None)])]), [42]);
    assert_eq!(told(vec![good()]), [0]);
    assert_eq!(sources(&bench, 2, "orders", "cleanup.policy"), (Some("delete,compact".into()), vec![1, 5]));
}

#[test]
fn the_old_way_resets_what_it_does_not_name_and_validating_changes_nothing() {
    let bench = Bench::new();
    bench.topic("orders", 1);
    alter(&bench, 2, "orders", &[(SET, "retention.ms", Some("1")), (SET, "segment.ms", Some("2"))]);
    for version in 0..=2 {
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("segment.ms"))
            .with_value(Some(text("3")));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("orders"))
            .with_configs(vec![config]);
        let logger = resource.clone().with_resource_type(8);
        let ask = |validate_only: bool| -> AlterConfigsResponse {
            let request = AlterConfigsRequest::default()
                .with_resources(vec![resource.clone(), logger.clone()])
                .with_validate_only(validate_only);
            bench.ask(33, version, &request)
        };
        let before = sources(&bench, 2, "orders", "segment.ms");
        let codes = |response: AlterConfigsResponse| {
            response.responses.iter().map(|one| one.error_code).collect::<Vec<_>>()
        };
        assert_eq!(codes(ask(true)), [0, 42]);
        assert_eq!(sources(&bench, 2, "orders", "segment.ms"), before);
        assert_eq!(codes(ask(false)), [0, 42]);
        assert_eq!(sources(&bench, 2, "orders", "segment.ms"), (Some("3".into()), vec![1]));
        assert_eq!(sources(&bench, 2, "orders", "retention.ms").0, Some("604800000".into()));
    }
}

#[test]
fn a_group_has_its_own_values_before_the_brokers_and_within_the_brokers_bounds() {
    let bench = Bench::with(&[("group.consumer.max.session.timeout.ms", "90000")]);
    let (session, heartbeat) = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms");
    let set = |key, value| alter(&bench, 32, "readers", &[(SET, key, Some(value))]);
    assert_eq!(set(session, " 80000 "), (0, None));
    assert_eq!(sources(&bench, 32, "readers", session), (Some("80000".into()), vec![8, 5]));
    assert_eq!(sources(&bench, 32, "writers", session), (Some("45000".into()), vec![5]));
    let refused = |key, value, why: &str| assert_eq!(set(key, value), (40, Some(why.to_owned())));
    refused(session, "x", &format!("Invalid value x for configuration {session}: Not a number of type INT"));
    refused(session, "0", &format!("Invalid value 0 for configuration {session}: Value must be at least 1"));
    let bound = "group.consumer.min.session.timeout.ms";
    refused(session, "44999", &format!("{session} must be greater than or equal to {bound}"));
    let bound = "group.consumer.max.session.timeout.ms";
    refused(session, "90001", &format!("{session} must be less than or equal to {bound}"));
    refused("retention.ms", "1", "Unknown group config name: retention.ms");
    assert_eq!(
        alter(&bench, 32, "readers", &[(APPEND, heartbeat, Some("1"))]).1,
        Some(format!("Can't APPEND to key {heartbeat} because its type is not LIST."))
    );
    assert_eq!(
        alter(&bench, 32, "", &[(SET, heartbeat, Some("6000"))]),
        (42, Some("Default group resources are not allowed.".to_owned()))
    );
    assert_eq!(alter(&bench, 32, "readers", &[(DELETE, session, None)]), (0, None));
    assert_eq!(sources(&bench, 32, "readers", session), (Some("45000".into()), vec![5]));
}

#[test]
fn a_groups_session_must_outlast_its_heartbeats() {
    let bench = Bench::with(&[
        ("group.consumer.min.session.timeout.ms", "10"),
        ("group.consumer.max.heartbeat.interval.ms", "60000"),
    ]);
    let (session, heartbeat) = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms");
    let why = Some(format!("{session} must be greater than {heartbeat}"));
    assert_eq!(alter(&bench, 32, "g", &[(SET, session, Some("5000"))]), (40, why.clone()));
    assert_eq!(alter(&bench, 32, "g", &[(SET, heartbeat, Some("45000"))]), (40, why));
    let both = [(SET, session, Some("7001")), (SET, heartbeat, Some("7000"))];
    assert_eq!(alter(&bench, 32, "g", &both), (0, None));
}

#[test]
fn what_has_configurations_is_listed_by_kind() {
    let bench = Bench::new();
    bench.topic("b", 1);
    bench.topic("a", 1);
    let list = |version, types: &[i8]| {
        let request = ListConfigResourcesRequest::default().with_resource_types(types.to_vec());
        let response: ListConfigResourcesResponse = bench.ask(74, version, &request);
        let told: Vec<(i8, String)> = response
            .config_resources
            .iter()
            .map(|one| (one.resource_type, one.resource_name.to_string()))
            .collect();
        (response.error_code, told)
    };
    let one = |kind, name: &str| (kind, name.to_owned());
    assert_eq!(list(0, &[]), (0, vec![]));
    assert_eq!(list(1, &[]), (0, vec![one(8, "7"), one(4, "7"), one(2, "a"), one(2, "b")]));
    assert_eq!(list(1, &[2]), (0, vec![one(2, "a"), one(2, "b")]));
    assert_eq!(list(1, &[16, 32]), (0, vec![]));
    alter(&bench, 32, "readers", &[(SET, "consumer.session.timeout.ms", Some("45001"))]);
    assert_eq!(list(1, &[16, 32]), (0, vec![one(32, "readers")]));
    assert_eq!(list(1, &[2, 0]), (35, vec![]));
}

#[test]
fn a_topic_grows_and_every_topic_of_the_request_is_answered() {
    let bench = Bench::new();
    bench.topic("orders", 2);
    let grow = |version, count, by_hand: Option<Vec<i32>>, validate_only| {
        let assignments = by_hand.map(|brokers| {
            let ids = brokers.into_iter().map(BrokerId).collect();
            vec![CreatePartitionsAssignment::default().with_broker_ids(ids)]
        });
        let topic =
            |name: &str| CreatePartitionsTopic::default().with_name(TopicName(text(name))).with_count(count);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![topic("orders").with_assignments(assignments), topic("nowhere")])
            .with_validate_only(validate_only);
        let response: CreatePartitionsResponse = bench.ask(37, version, &request);
        let codes: Vec<i16> = response.results.iter().map(|one| one.error_code).collect();
        let partitions = bench.world.image.borrow().topic_by_name("orders").expect("there").partitions.len();
        (codes, partitions)
    };
    assert_eq!(grow(0, 3, None, false), (vec![0, 3], 3));
    assert_eq!(grow(1, 4, Some(vec![NODE_ID]), false), (vec![0, 3], 4));
    assert_eq!(grow(2, 9, None, true), (vec![0, 3], 4));
    assert_eq!(grow(3, 4, None, false), (vec![37, 3], 4));
    assert_eq!(grow(3, 5, Some(vec![8]), false), (vec![39, 3], 4));
    // Too many at once are refused as a whole.
    assert_eq!(grow(3, i32::MAX, None, false), (vec![44, 44], 4));
}
