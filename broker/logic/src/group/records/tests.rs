//! Records of `__consumer_offsets` against bytes that Kafka 4.3.1's own serializers wrote, in every version that it reads.

use super::*;
use crate::group::{InstanceId, MemberId, TopicPartition};

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2));
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

const OFFSET_KEY: &str = "00010001670005746f70696300000007";
const OFFSET_VALUES: [&str; 5] = [
    "00000000011f71fb04cb00036dc3a90000018bcfe56800",
    "00010000011f71fb04cb00036dc3a90000018bcfe568000000018bcfe6b980",
    "00020000011f71fb04cb00036dc3a90000018bcfe56800",
    "00030000011f71fb04cb0000000900036dc3a90000018bcfe56800",
    "00040000011f71fb04cb00000009046dc3a90000018bcfe5680000",
];
const OFFSET_VALUE_WITH_TOPIC_ID: &str =
    "00040000011f71fb04cb00000009046dc3a90000018bcfe568000100100102030405060708090a0b0c0d0e0f10";
const GROUP_KEY: &str = "0002000167";
const GROUP_VALUES: [&str; 5] = [
    "00000008636f6e73756d657200000005000572616e676500036d2d310000000100036d2d31000163000a2f3132372e302e302e310000afc80000000201020000000103",
    "00010008636f6e73756d657200000005000572616e676500036d2d310000000100036d2d31000163000a2f3132372e302e302e31000493e00000afc80000000201020000000103",
    "00020008636f6e73756d657200000005000572616e676500036d2d310000018bcfe568000000000100036d2d31000163000a2f3132372e302e302e31000493e00000afc80000000201020000000103",
    "00030008636f6e73756d657200000005000572616e676500036d2d310000018bcfe568000000000100036d2d31000169000163000a2f3132372e302e302e31000493e00000afc80000000201020000000103",
    "000409636f6e73756d6572000000050672616e6765046d2d310000018bcfe5680002046d2d31026902630b2f3132372e302e302e31000493e00000afc803010202030000",
];
const EMPTY_GROUP_VALUE: &str = "0003000000000000ffffffff0000018bcfe5680000000000";

fn offset(version: usize) -> OffsetCommitValue {
    OffsetCommitValue {
        offset: 1_234_567_890_123,
        leader_epoch: if version >= 3 { 9 } else { -1 },
        metadata: "mé".into(),
        commit_timestamp_ms: 1_700_000_000_000,
        expire_timestamp_ms: if version == 1 { 1_700_000_086_400 } else { -1 },
        topic_id: [0; 16],
    }
}

fn offset_record(value: Option<OffsetCommitValue>) -> GroupRecord {
    let partition = TopicPartition { topic: "topic".into(), partition: 7 };
    GroupRecord::OffsetCommit(OffsetCommitKey { group_id: GroupId::from("g"), partition }, value)
}

fn group(version: usize) -> GroupRecord {
    let member = MemberMetadata {
        member_id: MemberId::from("m-1"),
        instance_id: (version >= 3).then(|| InstanceId::from("i")),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: if version >= 1 { 300_000 } else { -1 },
        session_timeout_ms: 45_000,
        subscription: [1, 2].into(),
        assignment: [3].into(),
    };
    let value = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 5,
        protocol: Some("range".into()),
        leader: Some(MemberId::from("m-1")),
        current_state_timestamp_ms: if version >= 2 { 1_700_000_000_000 } else { -1 },
        members: vec![member],
    };
    GroupRecord::GroupMetadata(GroupId::from("g"), Some(value))
}

#[test]
fn every_version_that_kafka_reads_is_read() {
    for version in 0..=4 {
        let read = GroupRecord::decode(&bytes(OFFSET_KEY), Some(&bytes(OFFSET_VALUES[version])));
        assert_eq!(read, Ok(offset_record(Some(offset(version)))), "OffsetCommitValue {version}");
        let read = GroupRecord::decode(&bytes(GROUP_KEY), Some(&bytes(GROUP_VALUES[version])));
        assert_eq!(read, Ok(group(version)), "GroupMetadataValue {version}");
    }
    // Type 0 is the same key as type 1.
    let read = GroupRecord::decode(&bytes("00000001670005746f70696300000007"), None);
    assert_eq!(read, Ok(offset_record(None)));
    assert_eq!(
        GroupRecord::decode(&bytes(GROUP_KEY), None),
        Ok(GroupRecord::GroupMetadata(GroupId::from("g"), None))
    );
}

#[test]
fn what_is_written_is_what_kafka_writes() {
    let written = |record: GroupRecord, key: &str, value: &str| {
        assert_eq!(record.encode(), (bytes(key), Some(bytes(value))));
    };
    written(offset_record(Some(offset(4))), OFFSET_KEY, OFFSET_VALUES[4]);
    written(offset_record(Some(offset(1))), OFFSET_KEY, OFFSET_VALUES[1]);
    let topic_id = std::array::from_fn(|at| at as u8 + 1);
    let with_id = offset_record(Some(OffsetCommitValue { topic_id, ..offset(4) }));
    written(with_id, OFFSET_KEY, OFFSET_VALUE_WITH_TOPIC_ID);
    written(group(3), GROUP_KEY, GROUP_VALUES[3]);
    let empty = GroupMetadataValue {
        protocol_type: "".into(),
        generation: 0,
        protocol: None,
        leader: None,
        current_state_timestamp_ms: 1_700_000_000_000,
        members: vec![],
    };
    written(GroupRecord::GroupMetadata(GroupId::from("g"), Some(empty)), GROUP_KEY, EMPTY_GROUP_VALUE);
    assert_eq!(offset_record(None).encode(), (bytes(OFFSET_KEY), None));
}

#[test]
fn a_cut_record_is_refused_and_never_panics_or_reserves_what_is_not_there() {
    for value in OFFSET_VALUES
        .iter()
        .map(|value| (OFFSET_KEY, value))
        .chain(GROUP_VALUES.iter().map(|v| (GROUP_KEY, v)))
    {
        let (key, value) = (bytes(value.0), bytes(value.1));
        for cut in 0..value.len() {
            assert!(GroupRecord::decode(&key, Some(&value[..cut])).is_err(), "{cut} of {}", value.len());
        }
        for cut in 0..key.len() {
            assert!(GroupRecord::decode(&key[..cut], Some(&value)).is_err());
        }
        for at in 0..value.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut odd = value.clone();
                odd[at] = byte;
                // Whatever it is taken for: no panic.
                let _ignored = GroupRecord::decode(&key, Some(&odd));
            }
        }
    }
}

#[test]
fn unknown_types_and_versions_are_told_apart_from_damage() {
    assert_eq!(GroupRecord::decode(&[0, 99, 1], Some(&[0])), Err(RecordError::UnknownType(99)));
    let newer = GroupRecord::decode(&bytes(OFFSET_KEY), Some(&[0, 5, 0]));
    assert_eq!(newer, Err(RecordError::UnknownVersion { what: "OffsetCommitValue", version: 5 }));
    assert_eq!(GroupRecord::decode(&[0], None), Err(RecordError::Malformed("record type")));
}
