//! ApiVersions, DescribeCluster and InitProducerId: what is asked of a broker rather than of topics.

use kafka_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, InitProducerIdRequest, ProducerId, TransactionalId,
};

use super::{Maker, text};

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
