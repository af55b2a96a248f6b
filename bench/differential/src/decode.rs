//! From the bytes of a reply to its tree: header, body, and records as batches.
//!
//! Called by `run`. Which header a reply has follows from its request's; ApiVersions' never has tagged fields.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, HeaderVersion};

use crate::records;
use crate::tree::Tree;

macro_rules! responses {
    ($($key:literal => $response:ident,)*) => {
        fn body(key: i16, version: i16, bytes: &mut Bytes) -> Result<Tree> {
            match key {
                $($key => Tree::of_debug(&$response::decode(bytes, version)?),)*
                _ => bail!("the protocol crate has no response for key {key}"),
            }
        }

        fn header_version(key: i16, version: i16) -> i16 {
            match key {
                $($key => $response::header_version(version),)*
                _ => 0,
            }
        }

        /// Whether replies of this API can be read.
        pub fn is_known(key: i16) -> bool {
            matches!(key, $($key)|*)
        }
    };
}

responses! {
    0 => ProduceResponse,
    1 => FetchResponse,
    2 => ListOffsetsResponse,
    3 => MetadataResponse,
    8 => OffsetCommitResponse,
    9 => OffsetFetchResponse,
    10 => FindCoordinatorResponse,
    11 => JoinGroupResponse,
    12 => HeartbeatResponse,
    13 => LeaveGroupResponse,
    14 => SyncGroupResponse,
    15 => DescribeGroupsResponse,
    16 => ListGroupsResponse,
    17 => SaslHandshakeResponse,
    18 => ApiVersionsResponse,
    19 => CreateTopicsResponse,
    20 => DeleteTopicsResponse,
    21 => DeleteRecordsResponse,
    22 => InitProducerIdResponse,
    23 => OffsetForLeaderEpochResponse,
    24 => AddPartitionsToTxnResponse,
    25 => AddOffsetsToTxnResponse,
    26 => EndTxnResponse,
    27 => WriteTxnMarkersResponse,
    28 => TxnOffsetCommitResponse,
    29 => DescribeAclsResponse,
    30 => CreateAclsResponse,
    31 => DeleteAclsResponse,
    32 => DescribeConfigsResponse,
    33 => AlterConfigsResponse,
    34 => AlterReplicaLogDirsResponse,
    35 => DescribeLogDirsResponse,
    36 => SaslAuthenticateResponse,
    37 => CreatePartitionsResponse,
    38 => CreateDelegationTokenResponse,
    39 => RenewDelegationTokenResponse,
    40 => ExpireDelegationTokenResponse,
    41 => DescribeDelegationTokenResponse,
    42 => DeleteGroupsResponse,
    43 => ElectLeadersResponse,
    44 => IncrementalAlterConfigsResponse,
    45 => AlterPartitionReassignmentsResponse,
    46 => ListPartitionReassignmentsResponse,
    47 => OffsetDeleteResponse,
    48 => DescribeClientQuotasResponse,
    49 => AlterClientQuotasResponse,
    50 => DescribeUserScramCredentialsResponse,
    51 => AlterUserScramCredentialsResponse,
    55 => DescribeQuorumResponse,
    57 => UpdateFeaturesResponse,
    60 => DescribeClusterResponse,
    61 => DescribeProducersResponse,
    64 => UnregisterBrokerResponse,
    65 => DescribeTransactionsResponse,
    66 => ListTransactionsResponse,
    68 => ConsumerGroupHeartbeatResponse,
    69 => ConsumerGroupDescribeResponse,
    71 => GetTelemetrySubscriptionsResponse,
    72 => PushTelemetryResponse,
    74 => ListConfigResourcesResponse,
    75 => DescribeTopicPartitionsResponse,
    76 => ShareGroupHeartbeatResponse,
    77 => ShareGroupDescribeResponse,
    78 => ShareFetchResponse,
    79 => ShareAcknowledgeResponse,
}

/// Decodes a reply (without its length) to a request of this key and version.
///
/// # Errors
/// What no client could read.
pub fn reply(key: i16, version: i16, correlation_id: i32, mut bytes: Bytes) -> Result<Tree> {
    ensure!(bytes.len() >= 4, "a reply of {} bytes", bytes.len());
    let found = bytes.get_i32();
    ensure!(found == correlation_id, "correlation id {found} instead of {correlation_id}");
    // ApiVersions answers an unknown version in version 0, and its decoder is told so by the caller.
    if header_version(key, version) >= 1 {
        ensure!(
            bytes.try_get_u8().context("no tagged fields in the header")? == 0,
            "tags in the reply's header"
        );
    }
    let mut tree = body(key, version, &mut bytes)?;
    ensure!(bytes.is_empty(), "{} bytes are left after the last field", bytes.len());
    records::show_batches(&mut tree);
    Ok(tree)
}
