//! What web consoles ask when they start, in the shape of their clients: each must be answered as Kafka without security answers.
//! Deliberately absent: groups and offsets, which have tests of their own.

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use crate::fakes::{Bench, NODE_ID, frame};

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn creation(operation: i8) -> AclCreation {
    AclCreation::default()
        .with_resource_type(2)
        .with_resource_pattern_type(3)
        .with_operation(operation)
        .with_permission_type(3)
}

#[test]
fn an_acl_that_says_of_itself_that_it_is_unknown_closes_the_connection() {
    let bench = Bench::new();
    for version in 1..=3 {
        let request = CreateAclsRequest::default().with_creations(vec![creation(3), creation(0)]);
        let reply = bench.send(&frame(30, version, &request));
        assert!(reply.segments.is_none() && reply.close_after);
    }
}

#[test]
fn acls_without_an_authorizer_are_disabled_in_every_version_and_nothing_is_kept() {
    let bench = Bench::new();
    for version in 1..=3 {
        let any = DescribeAclsRequest::default()
            .with_resource_type_filter(1)
            .with_pattern_type_filter(1)
            .with_operation(1)
            .with_permission_type(1);
        let described: DescribeAclsResponse = bench.ask(29, version, &any);
        assert_eq!((described.error_code, described.resources.len()), (54, 0));
        assert_eq!(
            described.error_message.as_ref().map(|text| text.as_str()),
            Some("No Authorizer is configured on the broker")
        );
        let created: CreateAclsResponse =
            bench.ask(30, version, &CreateAclsRequest::default().with_creations(vec![creation(3); 2]));
        assert_eq!(created.results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [54, 54]);
        let filter = DeleteAclsFilter::default()
            .with_resource_type_filter(1)
            .with_pattern_type_filter(3)
            .with_operation(99)
            .with_permission_type(1);
        let deleted: DeleteAclsResponse =
            bench.ask(31, version, &DeleteAclsRequest::default().with_filters(vec![filter]));
        assert_eq!(deleted.filter_results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [54]);
    }
}

#[test]
fn there_are_no_quotas_and_filters_that_mean_nothing_are_refused() {
    let bench = Bench::new();
    let ask = |version, components: Vec<(&str, i8, Option<&str>)>| {
        let component = |(entity, kind, value): (&str, i8, Option<&str>)| {
            ComponentData::default()
                .with_entity_type(text(entity))
                .with_match_type(kind)
                .with_match(value.map(text))
        };
        let components = components.into_iter().map(component).collect();
        let request = DescribeClientQuotasRequest::default().with_components(components);
        let response: DescribeClientQuotasResponse = bench.ask(48, version, &request);
        (response.error_code, response.entries.map(|entries| entries.len()))
    };
    for version in 0..=1 {
        assert_eq!(ask(version, vec![]), (0, Some(0)));
        assert_eq!(ask(version, vec![("user", 0, Some("a")), ("client-id", 2, None)]), (0, Some(0)));
        assert_eq!(ask(version, vec![("user", 0, None)]), (42, None));
        assert_eq!(ask(version, vec![("user", 1, Some("a"))]), (42, None));
        assert_eq!(ask(version, vec![("user", 7, None)]), (42, None));
        assert_eq!(ask(version, vec![("", 2, None)]), (42, None));
        assert_eq!(ask(version, vec![("user", 2, None), ("user", 2, None)]), (42, None));
        assert_eq!(ask(version, vec![("user", 2, None), ("ip", 2, None)]), (42, None));
        assert_eq!(ask(version, vec![("tenant", 2, None)]), (35, None));
    }
}

#[test]
fn there_are_no_scram_users() {
    let bench = Bench::new();
    let ask = |users: Option<Vec<&str>>| {
        let users = users
            .map(|users| users.into_iter().map(|name| UserName::default().with_name(text(name))).collect());
        let request = DescribeUserScramCredentialsRequest::default().with_users(users);
        let response: DescribeUserScramCredentialsResponse = bench.ask(50, 0, &request);
        response.results.iter().map(|one| (one.user.to_string(), one.error_code)).collect::<Vec<_>>()
    };
    assert_eq!(ask(None), []);
    assert_eq!(ask(Some(vec![])), []);
    let told = ask(Some(vec!["alice", "bob", "alice"]));
    assert_eq!(told, [("alice".to_owned(), 92), ("bob".to_owned(), 91)]);
}

#[test]
fn nobody_can_be_unregistered() {
    let bench = Bench::new();
    let ask = |node_id| {
        let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(node_id));
        let response: UnregisterBrokerResponse = bench.ask(64, 0, &request);
        (response.error_code, response.error_message.map(|text| text.to_string()))
    };
    assert_eq!(ask(5), (102, Some("Broker ID 5 is not currently registered".to_owned())));
    assert_eq!(ask(NODE_ID).0, 44);
}

/// Kafbat and AKHQ describe brokers with synonyms, Redpanda Console without; Kafdrop asks for topics only.
#[test]
fn a_console_learns_of_cluster_brokers_topics_and_directories_in_one_go() {
    let bench = Bench::new();
    bench.topic("orders", 3);
    let cluster: DescribeClusterResponse =
        bench.ask(60, 1, &DescribeClusterRequest::default().with_include_cluster_authorized_operations(true));
    assert_eq!((cluster.error_code, cluster.brokers.len()), (0, 1));
    for (with_synonyms, version) in [(true, 4), (false, 1)] {
        let resource = |kind, name: &str| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(None)
        };
        let resources = vec![resource(4, &NODE_ID.to_string()), resource(2, "orders")];
        let request =
            DescribeConfigsRequest::default().with_resources(resources).with_include_synonyms(with_synonyms);
        let configs: DescribeConfigsResponse = bench.ask(32, version, &request);
        for result in &configs.results {
            assert_eq!(result.error_code, 0);
            assert!(!result.configs.is_empty());
            assert!(with_synonyms || result.configs.iter().all(|config| config.synonyms.is_empty()));
        }
        // What consoles show of a broker and a topic.
        for (at, key) in
            [(0, "log.dirs"), (0, "message.max.bytes"), (1, "cleanup.policy"), (1, "retention.ms")]
        {
            assert!(configs.results[at].configs.iter().any(|config| config.name.as_str() == key), "{key}");
        }
    }
    let dirs: DescribeLogDirsResponse =
        bench.ask(35, 2, &DescribeLogDirsRequest::default().with_topics(None));
    let sizes: i64 = dirs
        .results
        .iter()
        .flat_map(|dir| &dir.topics)
        .flat_map(|topic| &topic.partitions)
        .map(|one| one.partition_size)
        .sum();
    assert_eq!(sizes, 303);
}
