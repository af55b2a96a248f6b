//! Records of consumer groups against bytes that Kafka 4.3.1's own classes wrote; scenarios are in `tests/group_scenarios`.

use crate::controller::TopicId;
use crate::group::consumer::{Assignment, ClassicMember, MemberState, OwnedPartitions};
use crate::group::records::{
    ConsumerMemberMetadata, ConsumerRecord, ConsumerRecordBody as Body, CurrentAssignment, GroupEpoch,
    ResolvedRegex, TargetEpoch,
};
use crate::group::{GroupRecord, Protocol};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[track_caller]
fn assert_bytes(body: Body, key: &str, value: &str) {
    let record = GroupRecord::Consumer(ConsumerRecord { group_id: "g".into(), body });
    let (encoded_key, encoded_value) = record.encode();
    assert_eq!(encoded_key, bytes(key));
    assert_eq!(encoded_value.as_deref(), Some(&*bytes(value)));
    assert_eq!(GroupRecord::decode(&encoded_key, encoded_value.as_deref()), Ok(record));
    let value = bytes(value);
    for len in 0..value.len() {
        assert!(GroupRecord::decode(&encoded_key, Some(&value[..len])).is_err(), "cut to {len}");
    }
}

fn topic() -> TopicId {
    TopicId([1; 16])
}

fn metadata() -> ConsumerMemberMetadata {
    ConsumerMemberMetadata {
        instance_id: None,
        rack_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        subscribed_topic_names: [].into(),
        subscribed_topic_regex: "".into(),
        rebalance_timeout_ms: -1,
        server_assignor: None,
        classic: None,
    }
}

#[test]
fn records_are_those_of_kafka() {
    let epoch = GroupEpoch { epoch: 3, metadata_hash: 0x0102_0304_0506_0708 };
    assert_bytes(Body::Epoch(Some(epoch)), "0003000167", "0000000000030100080102030405060708");
    let epoch = GroupEpoch { epoch: 3, metadata_hash: 0 };
    assert_bytes(Body::Epoch(Some(epoch)), "0003000167", "00000000000300");

    let member = ConsumerMemberMetadata {
        instance_id: Some("i".into()),
        subscribed_topic_names: ["a".into(), "b".into()].into(),
        rebalance_timeout_ms: 300,
        server_assignor: Some("range".into()),
        ..metadata()
    };
    let value = "00000269000263032f680302610262010000012c0672616e676501000100";
    assert_bytes(Body::Member("m".into(), Some(member)), "000500016700016d", value);

    let range = Protocol { name: "range".into(), metadata: [1, 2].into() };
    let classic = ConsumerMemberMetadata {
        rack_id: Some("r".into()),
        subscribed_topic_regex: "x.*".into(),
        classic: Some(ClassicMember { session_timeout_ms: 10, protocols: vec![range] }.into()),
        ..metadata()
    };
    let value = "00000002720263032f680104782e2affffffff00010011010000000a020672616e67650301020000";
    assert_bytes(Body::Member("m".into(), Some(classic)), "000500016700016d", value);

    let target = TargetEpoch { epoch: 4, timestamp_ms: 5 };
    assert_bytes(Body::TargetEpoch(Some(target)), "0006000167", "0000000000040100080000000000000005");

    let assignment: Assignment = [(topic(), 0, ()), (topic(), 2, ())].into_iter().collect();
    let value = "000002010101010101010101010101010101010300000000000000020000";
    assert_bytes(Body::TargetMember("m".into(), Some(assignment)), "000700016700016d", value);

    let current = CurrentAssignment {
        member_epoch: 4,
        previous_member_epoch: 3,
        state: MemberState::UnrevokedPartitions,
        assigned: [(topic(), 0, 3), (topic(), 2, 4)].into_iter().collect(),
        pending_revocation: OwnedPartitions::default(),
    };
    let value = "000000000004000000030102010101010101010101010101010101010300000000000000020100090300000003000000040100";
    assert_bytes(Body::CurrentAssignment("m".into(), Some(current)), "000800016700016d", value);

    let resolved = ResolvedRegex { topics: vec!["a".into(), "b".into()], version: 7, timestamp_ms: 8 };
    let value = "000003026102620000000000000007000000000000000800";
    assert_bytes(Body::RegularExpression("x".into(), Some(resolved)), "0010000167000178", value);
}

#[test]
fn partitions_of_an_older_kafka_have_their_members_epoch() {
    let value = "00000000000400000003000201010101010101010101010101010101030000000000000002000100";
    let key = bytes("000800016700016d");
    let Ok(GroupRecord::Consumer(ConsumerRecord { body: Body::CurrentAssignment(_, Some(current)), .. })) =
        GroupRecord::decode(&key, Some(&bytes(value)))
    else {
        panic!("it is not read");
    };
    assert_eq!(current.assigned, [(topic(), 0, 4), (topic(), 2, 4)].into_iter().collect());
}

#[test]
fn versions_that_kafka_does_not_have_are_refused() {
    assert!(GroupRecord::decode(&bytes("0003000167"), Some(&bytes("0001000000000300"))).is_err());
    assert!(
        GroupRecord::decode(&bytes("0009000167"), None).is_err(),
        "a type between those of consumer groups"
    );
}
