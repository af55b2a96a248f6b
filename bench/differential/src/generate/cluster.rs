//! ApiVersions, DescribeCluster, InitProducerId and what goes to the controller: what is asked of a broker rather than of topics.

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, DescribeClientQuotasRequest, DescribeClusterRequest, DescribeQuorumRequest,
    DescribeUserScramCredentialsRequest, InitProducerIdRequest, ProducerId, TransactionalId,
    UnregisterBrokerRequest, UpdateFeaturesRequest,
};

use super::{Maker, text, topic_name};

/// What clients say about themselves, believable and not.
pub(super) fn api_versions(maker: &mut Maker<'_>) {
    for _ in 0..6 {
        let Some(version) = maker.version(18) else { return };
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            let words =
                ["apache-kafka-java", "4.3.1", "", "-", "a b", "a.", ".a", "a..b", "ä", "x_y", "a", "9-9"];
            request.client_software_name = text(maker.random.pick(&words));
            request.client_software_version = text(maker.random.pick(&words));
        }
        maker.send(18, version, &request);
    }
}

/// Every endpoint type.
pub(super) fn describe(maker: &mut Maker<'_>) {
    for _ in 0..6 {
        let Some(version) = maker.version(60) else { return };
        let mut request = DescribeClusterRequest::default()
            .with_include_cluster_authorized_operations(maker.random.once_in(2));
        if version >= 1 {
            request.endpoint_type = maker.random.pick(&[1, 1, 2, 0, 3, -1]);
        }
        if version >= 2 {
            request.include_fenced_brokers = maker.random.once_in(2);
        }
        maker.send(60, version, &request);
    }
}

/// Idempotent producers; transactional ones where both brokers serve transactions.
pub(super) fn init_producer_id(maker: &mut Maker<'_>) {
    let transactions = maker.world.versions.contains_key(&24);
    for _ in 0..6 {
        let Some(version) = maker.version(22) else { return };
        let mut request = InitProducerIdRequest::default().with_transaction_timeout_ms(maker.random.pick(&[
            60_000,
            0,
            -1,
            1,
            i32::MAX,
        ]));
        request.transactional_id = match maker.random.below(6) {
            0 => Some(TransactionalId(text(""))),
            1 if transactions => Some(TransactionalId(text(&format!("{}-t", maker.prefix)))),
            _ => None,
        };
        if version >= 3 {
            let (id, epoch) = maker.random.pick(&[
                (-1, -1),
                (-1, -1),
                (5, 0),
                (-1, 0),
                (5, -1),
                (-2, -2),
                (i64::MAX, i16::MAX),
            ]);
            request.producer_id = ProducerId(id);
            request.producer_epoch = epoch;
        }
        maker.send(22, version, &request);
    }
}

/// What is asked of the controller: quorum, features, quotas, SCRAM users, other brokers. Nothing here changes anything.
pub(super) fn quorum(maker: &mut Maker<'_>) {
    for _ in 0..12 {
        match maker.random.below(5) {
            0 => describe_quorum(maker),
            1 => update_features(maker),
            2 => describe_quotas(maker),
            3 => describe_scram(maker),
            _ => {
                let Some(version) = maker.version(64) else { return };
                let broker = BrokerId(maker.random.pick(&[2, 99, -1, i32::MAX]));
                maker.send(64, version, &UnregisterBrokerRequest::default().with_broker_id(broker));
            }
        }
    }
}

fn describe_quorum(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(55) else { return };
    let shapes: &[&[(&str, &[i32])]] = &[
        &[("__cluster_metadata", &[0])],
        &[("__cluster_metadata", &[0])],
        &[("__cluster_metadata", &[1])],
        &[("__cluster_metadata", &[0, 0])],
        &[("__cluster_metadata", &[])],
        &[("no-such-topic", &[0])],
        &[("__cluster_metadata", &[0]), ("no-such-topic", &[0])],
        &[],
    ];
    let topics = maker.random.pick(shapes).iter().map(|(name, indexes)| {
        let partitions = indexes.iter().map(|index| PartitionData::default().with_partition_index(*index));
        TopicData::default().with_topic_name(topic_name(name)).with_partitions(partitions.collect())
    });
    let request = DescribeQuorumRequest::default().with_topics(topics.collect());
    maker.send(55, version, &request);
}

/// Levels that are not to be had, or the same as before, or only tried.
fn update_features(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(57) else { return };
    let mut request = UpdateFeaturesRequest::default().with_timeout_ms(15_000);
    for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2]) {
        let name = maker.random.pick(&["group.version", "group.version", "no.such.feature", ""]);
        let mut update = FeatureUpdateKey::default().with_feature(text(name));
        update.max_version_level = maker.random.pick(&[1, 1, 2, 99, -1]);
        if version >= 1 {
            update.upgrade_type = maker.random.pick(&[1, 1, 2, 3, 0, 9, -1]);
            if maker.random.once_in(2) {
                update.max_version_level = 0;
            }
        } else {
            update.allow_downgrade = maker.random.once_in(2);
        }
        request.feature_updates.push(update);
    }
    if version >= 1 {
        request.validate_only = true;
    }
    maker.send(57, version, &request);
}

fn describe_quotas(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(48) else { return };
    let mut request = DescribeClientQuotasRequest::default().with_strict(maker.random.once_in(2));
    for _ in 0..maker.random.pick(&[0, 1, 1, 2]) {
        let kind = maker.random.pick(&["user", "client-id", "ip", "nothing", ""]);
        let (match_type, matched) = maker.random.pick(&[
            (0, Some("alice")),
            (0, None),
            (1, None),
            (2, None),
            (2, Some("x")),
            (3, None),
            (-1, None),
        ]);
        let component = ComponentData::default().with_entity_type(text(kind)).with_match_type(match_type);
        request.components.push(component.with_match(matched.map(text)));
    }
    maker.send(48, version, &request);
}

fn describe_scram(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(50) else { return };
    let lists: &[Option<&[&str]>] =
        &[None, Some(&[]), Some(&["alice"]), Some(&["alice", "alice"]), Some(&["alice", "bob"]), Some(&[""])];
    let users = maker
        .random
        .pick(lists)
        .map(|names| names.iter().map(|name| UserName::default().with_name(text(name))).collect());
    maker.send(50, version, &DescribeUserScramCredentialsRequest::default().with_users(users));
}
