//! The APIs of groups: how versions differ, what is refused before a coordinator is asked, what two cores answer together.

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use crate::fakes::{Bench, NODE_ID};

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// A broker that a client has asked for its coordinator.
fn bench() -> Bench {
    let bench = Bench::new();
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    let found: FindCoordinatorResponse = bench.ask(10, 6, &request);
    assert_eq!(found.coordinators[0].error_code, 0);
    bench
}

fn join(name: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    JoinGroupRequest::default()
        .with_group_id(group(name))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

fn commit(name: &str, topic: &str, partitions: &[i32]) -> OffsetCommitRequest {
    let partition = |index: &i32| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*index)
            .with_committed_offset(i64::from(*index) + 10)
            .with_committed_metadata(Some(text("m")))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(topic)))
        .with_partitions(partitions.iter().map(partition).collect());
    OffsetCommitRequest::default()
        .with_group_id(group(name))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

fn committed(response: &OffsetCommitResponse) -> Vec<(String, i32, i16)> {
    let topics = response.topics.iter();
    topics
        .flat_map(|topic| {
            topic.partitions.iter().map(|p| (topic.name.to_string(), p.partition_index, p.error_code))
        })
        .collect()
}

#[test]
fn the_first_question_for_a_coordinator_makes_the_offsets_topic() {
    let bench = Bench::with(&[("offsets.topic.num.partitions", "7")]);
    let response: JoinGroupResponse = bench.ask(11, 9, &join("g"));
    assert_eq!((response.error_code, response.generation_id), (16, -1), "nobody coordinates before");
    let listed: ListGroupsResponse = bench.ask(16, 5, &ListGroupsRequest::default());
    assert_eq!((listed.error_code, listed.groups.len()), (0, 0));

    let found: FindCoordinatorResponse =
        bench.ask(10, 0, &FindCoordinatorRequest::default().with_key(text("g")));
    assert_eq!((found.error_code, found.node_id.0, found.port), (0, NODE_ID, 19092));
    assert_eq!(found.host.as_str(), "127.0.0.9");
    let image = bench.world.image.borrow().clone();
    let topic = image.topic_by_name("__consumer_offsets").expect("it was made");
    assert_eq!(topic.partitions.len(), 7);
    let resource = corelog_logic::controller::ConfigResource::topic("__consumer_offsets");
    assert_eq!(image.config(&resource, "cleanup.policy"), Some("compact"));
    assert_eq!(image.config(&resource, "segment.bytes"), Some("104857600"));

    let metadata: MetadataResponse = bench.ask(3, 12, &MetadataRequest::default().with_topics(None));
    assert!(metadata.topics[0].is_internal);
}

#[test]
fn other_kinds_of_coordinators_are_not_here() {
    let bench = Bench::new();
    let find = |key_type, version| {
        let mut request = FindCoordinatorRequest::default().with_key_type(key_type);
        if version >= 4 {
            request.coordinator_keys = vec![text("a"), text("b")];
        }
        let found: FindCoordinatorResponse = bench.ask(10, version, &request);
        match found.coordinators.as_slice() {
            [] => (found.error_code, found.node_id.0),
            all => {
                assert_eq!(all.len(), 2);
                (all[1].error_code, all[1].node_id.0)
            }
        }
    };
    assert_eq!(find(1, 3), (15, -1));
    assert_eq!(find(1, 4), (15, -1));
    assert_eq!(find(2, 6), (15, -1));
    assert_eq!(find(2, 5), (42, -1));
    assert_eq!(find(9, 6), (42, -1));
}

#[test]
fn a_new_member_is_sent_away_with_an_id_from_version_4_on_and_joins_at_once_before() {
    let bench = bench();
    let sent_away: JoinGroupResponse = bench.ask(11, 4, &join("g"));
    assert_eq!(sent_away.error_code, 79);
    assert!(sent_away.member_id.starts_with("test-"), "{}", sent_away.member_id.as_str());
    assert_eq!(sent_away.protocol_name.as_deref(), Some(""), "not null before version 7");
    let sent_away: JoinGroupResponse = bench.ask(11, 7, &join("g"));
    assert_eq!((sent_away.error_code, sent_away.protocol_name), (79, None));
    for version in 0..4 {
        let joined: JoinGroupResponse = bench.ask(11, version, &join(&format!("of-{version}")));
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        assert_eq!((joined.leader.clone(), joined.members.len()), (joined.member_id, 1));
    }
}

#[test]
fn names_that_cannot_be_kept_and_groups_without_one_are_refused() {
    let bench = bench();
    let refused = |request: JoinGroupRequest| bench.ask::<_, JoinGroupResponse>(11, 9, &request).error_code;
    assert_eq!(refused(join("")), 24);
    assert_eq!(refused(join(&"x".repeat(40_000))), 24);
    assert_eq!(refused(join("g").with_protocol_type(text(&"x".repeat(40_000)))), 42);
    assert_eq!(refused(join("g").with_group_instance_id(Some(text(&"x".repeat(40_000))))), 42);
    let sync =
        |version| bench.ask::<_, SyncGroupResponse>(14, version, &SyncGroupRequest::default()).error_code;
    // From version 5 on a protocol that is not named is refused before everything else.
    assert_eq!((sync(4), sync(5)), (24, 23));
    let response: HeartbeatResponse = bench.ask(12, 4, &HeartbeatRequest::default());
    assert_eq!(response.error_code, 24);
    let response: LeaveGroupResponse = bench.ask(13, 5, &LeaveGroupRequest::default());
    assert_eq!(response.error_code, 24);
    let response: OffsetDeleteResponse = bench.ask(47, 0, &OffsetDeleteRequest::default());
    assert_eq!(response.error_code, 24);
}

#[test]
fn a_member_that_leaves_by_an_old_version_gets_its_error_at_the_top() {
    let bench = bench();
    let old = LeaveGroupRequest::default().with_group_id(group("g")).with_member_id(text("nobody"));
    let response: LeaveGroupResponse = bench.ask(13, 2, &old);
    assert_eq!(response.error_code, 25);
    let member = MemberIdentity::default().with_member_id(text("nobody"));
    let new =
        LeaveGroupRequest::default().with_group_id(group("g")).with_members(vec![member.clone(), member]);
    let response: LeaveGroupResponse = bench.ask(13, 3, &new);
    assert_eq!(response.error_code, 0);
    assert_eq!(response.members.iter().map(|m| m.error_code).collect::<Vec<_>>(), [25, 25]);
}

#[test]
fn commits_for_what_does_not_exist_are_refused_one_by_one() {
    let bench = bench();
    bench.topic("orders", 2);
    let response: OffsetCommitResponse = bench.ask(8, 9, &commit("g", "orders", &[0, 5, 1]));
    assert_eq!(
        committed(&response),
        [("orders".into(), 5, 3), ("orders".into(), 0, 0), ("orders".into(), 1, 0)],
        "in Kafka's order"
    );
    let response: OffsetCommitResponse = bench.ask(8, 2, &commit("g", "nowhere", &[0]));
    assert_eq!(committed(&response), [("nowhere".into(), 0, 3)]);

    let ask = |topics| OffsetFetchRequest::default().with_group_id(group("g")).with_topics(topics);
    let orders = OffsetFetchRequestTopic::default()
        .with_name(TopicName(text("orders")))
        .with_partition_indexes(vec![1, 9]);
    let response: OffsetFetchResponse = bench.ask(9, 5, &ask(Some(vec![orders])));
    let told: Vec<_> = response.topics[0]
        .partitions
        .iter()
        .map(|p| {
            (
                p.partition_index,
                p.committed_offset,
                p.committed_leader_epoch,
                p.metadata.clone(),
                p.error_code,
            )
        })
        .collect();
    assert_eq!(told, [(1, 11, -1, Some(text("m")), 0), (9, -1, -1, Some(text("")), 0)]);
    let response: OffsetFetchResponse = bench.ask(9, 2, &ask(None));
    assert_eq!(response.topics[0].partitions.len(), 2);
}

#[test]
fn many_groups_are_fetched_in_the_order_of_the_request() {
    let bench = bench();
    bench.topic("orders", 2);
    for name in ["a", "b"] {
        let response: OffsetCommitResponse = bench.ask(8, 9, &commit(name, "orders", &[0]));
        assert_eq!(committed(&response)[0].2, 0);
    }
    let groups = ["b", "none", "a"]
        .map(|name| OffsetFetchRequestGroup::default().with_group_id(group(name)).with_topics(None));
    let response: OffsetFetchResponse =
        bench.ask(9, 9, &OffsetFetchRequest::default().with_groups(groups.to_vec()));
    let told: Vec<_> = response
        .groups
        .iter()
        .map(|group| (group.group_id.to_string(), group.topics.len(), group.error_code))
        .collect();
    assert_eq!(told, [("b".into(), 1, 0), ("none".into(), 0, 0), ("a".into(), 1, 0)]);
}

#[test]
fn a_group_that_does_not_exist_is_dead_or_not_found_by_version() {
    let bench = bench();
    let request = DescribeGroupsRequest::default().with_groups(vec![group("none")]);
    let response: DescribeGroupsResponse = bench.ask(15, 5, &request);
    assert_eq!((response.groups[0].error_code, response.groups[0].group_state.as_str()), (0, "Dead"));
    let response: DescribeGroupsResponse = bench.ask(15, 6, &request);
    assert_eq!((response.groups[0].error_code, response.groups[0].group_state.as_str()), (69, "Dead"));
    assert_eq!(response.groups[0].error_message.as_deref(), Some("Group none not found."));
}

#[test]
fn groups_of_all_partitions_are_listed_described_and_deleted() {
    let bench = bench();
    bench.topic("orders", 1);
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        let _committed: OffsetCommitResponse = bench.ask(8, 9, &commit(name, "orders", &[0]));
    }
    let listed: ListGroupsResponse = bench.ask(16, 5, &ListGroupsRequest::default());
    let mut told: Vec<String> = listed.groups.iter().map(|group| group.group_id.to_string()).collect();
    told.sort();
    assert_eq!(told, names);
    assert!(listed.groups.iter().all(|group| group.group_state.as_str() == "Empty"));
    let request = DescribeGroupsRequest::default()
        .with_groups(names.map(group).to_vec())
        .with_include_authorized_operations(true);
    let described: DescribeGroupsResponse = bench.ask(15, 5, &request);
    assert_eq!(described.groups.len(), 5);
    assert!(described.groups.iter().all(|group| group.authorized_operations == 0b1101_0100_1000));
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group("a"), group("x"), group("a")]);
    let deleted: DeleteGroupsResponse = bench.ask(42, 2, &request);
    let mut told: Vec<_> =
        deleted.results.iter().map(|result| (result.group_id.to_string(), result.error_code)).collect();
    told.sort();
    assert_eq!(told, [("a".into(), 0), ("x".into(), 69)]);
}

#[test]
fn clients_do_not_write_to_the_offsets_topic() {
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let bench = bench();
    let batch = corelog_storage::batch::BatchBuilder::new().record(1, Some(b"k"), Some(b"v")).build();
    let partition = PartitionProduceData::default().with_records(Some(batch.into()));
    let topic = TopicProduceData::default()
        .with_name(TopicName(text("__consumer_offsets")))
        .with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    let response: ProduceResponse = bench.ask(0, 9, &request);
    assert_eq!(response.responses[0].partition_responses[0].error_code, 17);
}
