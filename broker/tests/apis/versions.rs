//! Every advertised request and version is answered in its own version; what is not served is refused as Kafka refuses it.

use bytes::BytesMut;
use corelog::api::shape::{SHAPES, Shape};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use crate::fakes::{Bench, bytes_of, decode_reply, frame, frame_of};
use crate::samples;

fn answered(bench: &Bench, key: i16, version: i16, body: &[u8]) {
    let header_version = if version >= Shape::of(key).expect("a shape").flexible { 2 } else { 1 };
    let reply = bench.send(&frame_of(key, version, header_version, body));
    match key {
        0 if reply.segments.is_none() => {}
        0 => drop(decode_reply::<ProduceResponse>(reply, version)),
        1 => drop(decode_reply::<FetchResponse>(reply, version)),
        2 => drop(decode_reply::<ListOffsetsResponse>(reply, version)),
        3 => drop(decode_reply::<MetadataResponse>(reply, version)),
        8 => drop(decode_reply::<OffsetCommitResponse>(reply, version)),
        9 => drop(decode_reply::<OffsetFetchResponse>(reply, version)),
        10 => drop(decode_reply::<FindCoordinatorResponse>(reply, version)),
        11 => drop(decode_reply::<JoinGroupResponse>(reply, version)),
        12 => drop(decode_reply::<HeartbeatResponse>(reply, version)),
        13 => drop(decode_reply::<LeaveGroupResponse>(reply, version)),
        14 => drop(decode_reply::<SyncGroupResponse>(reply, version)),
        15 => drop(decode_reply::<DescribeGroupsResponse>(reply, version)),
        16 => drop(decode_reply::<ListGroupsResponse>(reply, version)),
        18 => drop(decode_reply::<ApiVersionsResponse>(reply, version)),
        19 => drop(decode_reply::<CreateTopicsResponse>(reply, version)),
        20 => drop(decode_reply::<DeleteTopicsResponse>(reply, version)),
        21 => drop(decode_reply::<DeleteRecordsResponse>(reply, version)),
        22 => drop(decode_reply::<InitProducerIdResponse>(reply, version)),
        32 => drop(decode_reply::<DescribeConfigsResponse>(reply, version)),
        42 => drop(decode_reply::<DeleteGroupsResponse>(reply, version)),
        47 => drop(decode_reply::<OffsetDeleteResponse>(reply, version)),
        60 => drop(decode_reply::<DescribeClusterResponse>(reply, version)),
        23 => drop(decode_reply::<OffsetForLeaderEpochResponse>(reply, version)),
        29 => drop(decode_reply::<DescribeAclsResponse>(reply, version)),
        30 => drop(decode_reply::<CreateAclsResponse>(reply, version)),
        31 => drop(decode_reply::<DeleteAclsResponse>(reply, version)),
        33 => drop(decode_reply::<AlterConfigsResponse>(reply, version)),
        35 => drop(decode_reply::<DescribeLogDirsResponse>(reply, version)),
        37 => drop(decode_reply::<CreatePartitionsResponse>(reply, version)),
        43 => drop(decode_reply::<ElectLeadersResponse>(reply, version)),
        44 => drop(decode_reply::<IncrementalAlterConfigsResponse>(reply, version)),
        45 => drop(decode_reply::<AlterPartitionReassignmentsResponse>(reply, version)),
        46 => drop(decode_reply::<ListPartitionReassignmentsResponse>(reply, version)),
        48 => drop(decode_reply::<DescribeClientQuotasResponse>(reply, version)),
        50 => drop(decode_reply::<DescribeUserScramCredentialsResponse>(reply, version)),
        55 => drop(decode_reply::<DescribeQuorumResponse>(reply, version)),
        57 => drop(decode_reply::<UpdateFeaturesResponse>(reply, version)),
        61 => drop(decode_reply::<DescribeProducersResponse>(reply, version)),
        64 => drop(decode_reply::<UnregisterBrokerResponse>(reply, version)),
        74 => drop(decode_reply::<ListConfigResourcesResponse>(reply, version)),
        75 => drop(decode_reply::<DescribeTopicPartitionsResponse>(reply, version)),
        68 => drop(decode_reply::<ConsumerGroupHeartbeatResponse>(reply, version)),
        69 => drop(decode_reply::<ConsumerGroupDescribeResponse>(reply, version)),
        other => panic!("no response type for API {other}"),
    }
}

#[test]
fn every_advertised_request_and_version_is_answered_in_its_version() {
    for sample in samples::all() {
        let bench = Bench::new();
        bench.topic("orders", 4);
        bench.world.time_is_up.set(true);
        answered(&bench, sample.key, sample.version, &sample.body);
    }
}

#[test]
fn api_versions_tells_what_is_served_and_produce_from_zero() {
    let bench = Bench::new();
    for version in 0..=4 {
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request.client_software_name = StrBytes::from_static_str("test");
            request.client_software_version = StrBytes::from_static_str("1.0-rc.1");
        }
        let response: ApiVersionsResponse = bench.ask(18, version, &request);
        assert_eq!(response.error_code, 0);
        let told: Vec<(i16, i16, i16)> =
            response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        let served: Vec<(i16, i16, i16)> = SHAPES
            .iter()
            .map(|shape| (shape.key, if shape.key == 0 { 0 } else { shape.min }, shape.max))
            .collect();
        assert_eq!(told, served);
        if version >= 3 {
            // What can be turned off is not told before version 4: it would read 0 as nothing.
            let supported: Vec<_> = response.supported_features.iter().map(|one| one.name.as_str()).collect();
            let expected = ["group.version", "metadata.version"];
            assert_eq!(supported, expected[usize::from(version == 3)..]);
            let finalized = response.finalized_features.iter();
            let finalized: Vec<_> = finalized.map(|one| (one.name.as_str(), one.max_version_level)).collect();
            assert_eq!(finalized, [("group.version", 1), ("metadata.version", 30)]);
        }
    }
}

#[test]
fn a_later_api_versions_is_answered_in_v0_with_its_range_whatever_its_body_is() {
    let bench = Bench::new();
    for (version, body) in [(5, &[0xff; 40][..]), (99, &[][..]), (-1, &[][..])] {
        let mut raw = BytesMut::new();
        raw.extend_from_slice(&18i16.to_be_bytes());
        raw.extend_from_slice(&(version as i16).to_be_bytes());
        raw.extend_from_slice(&crate::fakes::CORRELATION_ID.to_be_bytes());
        raw.extend_from_slice(body);
        let response: ApiVersionsResponse = decode_reply(bench.send(&raw), 0);
        assert_eq!(response.error_code, 35);
        let told: Vec<_> =
            response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        assert_eq!(told, [(18, 0, 4)]);
    }
}

#[test]
fn a_nameless_client_is_told_so() {
    let bench = Bench::new();
    for (name, version) in [("", "1"), ("a", ""), ("-a", "1"), ("a", "1."), ("a b", "1")] {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(name))
            .with_client_software_version(StrBytes::from_static_str(version));
        let response: ApiVersionsResponse = bench.ask(18, 3, &request);
        assert_eq!(response.error_code, 42, "{name:?} {version:?}");
    }
}

#[test]
fn api_versions_response_header_has_no_tagged_fields() {
    let bench = Bench::new();
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("a"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    let bytes = bytes_of(bench.send(&frame(18, 4, &request)));
    // Correlation id, then at once the error code: 0.
    assert_eq!(bytes[4..6], [0, 0]);
    assert_eq!(bytes[6] as usize, SHAPES.len() + 1, "the compact count of the API keys");
}

#[test]
fn what_is_not_served_closes_the_connection() {
    let bench = Bench::new();
    let closes = |key: i16, version: i16, body: &[u8]| {
        let reply = bench.send(&frame_of(key, version, 1, body));
        assert!(reply.close_after && reply.segments.is_none(), "key {key} version {version}");
    };
    closes(9_999, 0, &[]);
    closes(-1, 0, &[]);
    closes(i16::MAX, i16::MIN, &[]);
    for shape in SHAPES.iter().filter(|shape| shape.key != 18) {
        closes(shape.key, shape.min - 1, &[]);
        closes(shape.key, shape.max + 1, &[]);
        closes(shape.key, i16::MAX, &[]);
    }
    // A version that is served, a body that is not one.
    closes(3, 1, &[0x7f, 0xff, 0xff, 0xff]);
}

#[test]
fn half_a_header_closes_the_connection() {
    let bench = Bench::new();
    let whole = frame_of(3, 9, 2, &[]);
    for len in 0..whole.len() {
        let reply = bench.send(&whole[..len]);
        assert!(reply.close_after && reply.segments.is_none(), "cut at {len}");
    }
}

#[test]
fn only_produce_and_fetch_may_overlap_with_their_neighbours() {
    let bench = Bench::new();
    for sample in samples::all() {
        let flexible = sample.version >= Shape::of(sample.key).expect("a shape").flexible;
        let frame = frame_of(sample.key, sample.version, if flexible { 2 } else { 1 }, &sample.body);
        assert_eq!(bench.dispatch(&frame).barrier, sample.key > 1, "key {}", sample.key);
    }
}
