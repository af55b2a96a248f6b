//! The APIs of KIP-848: what is null and what is empty, errors with their texts, what versions tell.

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use crate::fakes::Bench;

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// A broker with a topic of two partitions, that a client has asked for its coordinator.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.topic("orders", 2);
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    let found: FindCoordinatorResponse = bench.ask(10, 6, &request);
    assert_eq!(found.coordinators[0].error_code, 0);
    bench
}

fn join(name: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(name))
        .with_member_id(text("member"))
        .with_rebalance_timeout_ms(30_000)
        .with_subscribed_topic_names(Some(vec![TopicName(text("orders"))]))
        .with_topic_partitions(Some(Vec::new()))
}

fn stay(name: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(name))
        .with_member_id(text("member"))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None)
}

fn heartbeat(
    bench: &Bench,
    version: i16,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    bench.ask(68, version, request)
}

#[test]
fn an_assignment_is_told_once_then_null_and_empty_only_when_everything_goes() {
    let bench = bench();
    let joined = heartbeat(&bench, 1, &join("g"));
    assert_eq!((joined.error_code, joined.member_epoch, joined.heartbeat_interval_ms), (0, 2, 5_000));
    assert_eq!(joined.member_id.as_deref(), Some("member"));
    let assigned = joined.assignment.expect("what it owns").topic_partitions;
    assert_eq!(assigned.len(), 1);
    assert_eq!(assigned[0].partitions, [0, 1]);

    let unchanged = heartbeat(&bench, 1, &stay("g", 2));
    assert_eq!((unchanged.error_code, unchanged.assignment), (0, None));

    let owned = TopicPartitions::default().with_topic_id(assigned[0].topic_id).with_partitions(vec![0, 1]);
    let nothing =
        stay("g", 2).with_subscribed_topic_names(Some(Vec::new())).with_topic_partitions(Some(vec![owned]));
    let taken = heartbeat(&bench, 1, &nothing);
    assert_eq!(taken.assignment.expect("an empty assignment").topic_partitions, []);
}

#[test]
fn refusals_have_kafkas_numbers_and_words() {
    let bench = bench();
    let refused = |version, request: &ConsumerGroupHeartbeatRequest| {
        let response = heartbeat(&bench, version, request);
        assert_eq!(response.assignment, None);
        (response.error_code, response.error_message.map(|message| message.to_string()).unwrap_or_default())
    };
    let nameless = join("g").with_member_id(text(""));
    assert_eq!(refused(1, &nameless), (42, "MemberId can't be empty.".to_owned()));
    assert_eq!(heartbeat(&bench, 0, &nameless).error_code, 0, "version 0 is given an id");
    let words = "ServerAssignor mine is not supported. Supported assignors: uniform, range.";
    assert_eq!(refused(1, &join("g").with_server_assignor(Some(text("mine")))), (112, words.to_owned()));
    let words = "SubscribedTopicRegex `(` is not a valid regular expression: missing closing ).";
    assert_eq!(refused(1, &join("g").with_subscribed_topic_regex(Some(text("(")))), (128, words.to_owned()));
    assert_eq!(refused(1, &stay("nobody", 3)), (69, "Consumer group nobody not found.".to_owned()));
    assert_eq!(refused(1, &stay("g", 3)), (25, "Member member is not a member of group g.".to_owned()));
    assert_eq!(heartbeat(&bench, 1, &join("g")).error_code, 0);
    let (code, words) = refused(1, &stay("g", 99));
    assert_eq!(code, 110);
    assert!(words.starts_with("The consumer group member has a greater member epoch (99)"), "{words}");
    let long = join("g").with_subscribed_topic_regex(Some(text(&"a".repeat(40_000))));
    let (code, words) = refused(1, &long);
    assert_eq!(code, 42);
    assert!(words.contains("40000") && words.contains("32767"), "{words}");
}

#[test]
fn without_its_feature_the_protocol_is_refused() {
    let bench = bench();
    let off = FeatureUpdateKey::default().with_feature(text("group.version")).with_upgrade_type(2);
    let update = UpdateFeaturesRequest::default().with_feature_updates(vec![off]);
    let updated: UpdateFeaturesResponse = bench.ask(57, 2, &update);
    assert_eq!(updated.error_code, 0);
    assert_eq!(heartbeat(&bench, 1, &join("g")).error_code, 35);
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("g")]);
    let described: ConsumerGroupDescribeResponse = bench.ask(69, 1, &request);
    assert_eq!(described.groups[0].error_code, 35);
}

#[test]
fn before_there_is_a_coordinator_nothing_is_made() {
    let bench = Bench::new();
    assert_eq!(heartbeat(&bench, 1, &join("g")).error_code, 16);
}

#[test]
fn groups_are_described_with_names_and_in_version_1_with_the_types_of_their_members() {
    let bench = bench();
    heartbeat(&bench, 1, &join("g").with_instance_id(Some(text("i"))).with_rack_id(Some(text("r"))));
    let request = ConsumerGroupDescribeRequest::default()
        .with_group_ids(vec![group("g"), group(""), group("nobody")])
        .with_include_authorized_operations(true);
    for version in [0, 1] {
        let response: ConsumerGroupDescribeResponse = bench.ask(69, version, &request);
        let of = |name: &str| {
            response
                .groups
                .iter()
                .find(|described| described.group_id.as_str() == name)
                .expect("an answer for each")
        };
        assert_eq!(of("").error_code, 24);
        assert_eq!(of("nobody").error_code, 69);
        assert_eq!(of("nobody").error_message.as_deref(), Some("Group nobody not found."));
        let described = of("g");
        assert_eq!((described.error_code, described.group_state.as_str()), (0, "Stable"));
        assert_eq!((described.group_epoch, described.assignment_epoch), (2, 2));
        assert_eq!(described.assignor_name.as_str(), "uniform");
        assert_ne!(described.authorized_operations, i32::MIN);
        let member = &described.members[0];
        assert_eq!((member.member_id.as_str(), member.member_epoch), ("member", 2));
        assert_eq!((member.instance_id.as_deref(), member.rack_id.as_deref()), (Some("i"), Some("r")));
        assert_eq!(member.subscribed_topic_names[0].as_str(), "orders");
        for assignment in [&member.assignment, &member.target_assignment] {
            assert_eq!(assignment.topic_partitions[0].topic_name.as_str(), "orders");
            assert_eq!(assignment.topic_partitions[0].partitions, [0, 1]);
        }
        assert_eq!(member.member_type, if version == 0 { -1 } else { 1 });
    }
}

#[test]
fn other_apis_know_the_kinds_of_groups_apart() {
    let bench = bench();
    heartbeat(&bench, 1, &join("g"));
    let listed = |kind: &str| {
        let request = ListGroupsRequest::default().with_types_filter(vec![text(kind)]);
        let response: ListGroupsResponse = bench.ask(16, 5, &request);
        response.groups.iter().map(|group| group.group_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed("consumer"), ["g"]);
    assert!(listed("classic").is_empty());
    let request = DescribeGroupsRequest::default().with_groups(vec![group("g")]);
    let response: DescribeGroupsResponse = bench.ask(15, 6, &request);
    assert_eq!(response.groups[0].error_code, 69);
    assert_eq!(response.groups[0].error_message.as_deref(), Some("Group g is not a classic group."));
    let deleted: DeleteGroupsResponse =
        bench.ask(42, 2, &DeleteGroupsRequest::default().with_groups_names(vec![group("g")]));
    assert_eq!(deleted.results[0].error_code, 68);
    heartbeat(&bench, 1, &stay("g", -1));
    let deleted: DeleteGroupsResponse =
        bench.ask(42, 2, &DeleteGroupsRequest::default().with_groups_names(vec![group("g")]));
    assert_eq!(deleted.results[0].error_code, 0);
    assert!(listed("consumer").is_empty());
}
