//! Sample requests of every advertised API and version, encoded by the `kafka-protocol` crate: each API once with
//! defaults and once with every array, string and tagged field filled. Used by `guard` and `hostile`.

/// An unknown tagged field on every structure that can carry one.
macro_rules! tagged {
    ($value:expr, $flexible:expr) => {{
        let mut value = $value;
        if $flexible {
            value.unknown_tagged_fields.insert(9_999, Bytes::from_static(b"later"));
        }
        value
    }};
}

mod admin;
mod groups;
mod partitions;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};
use uuid::Uuid;

/// One encoded request body.
pub(crate) struct Sample {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) body: Bytes,
}

fn encode(samples: &mut Vec<Sample>, key: i16, version: i16, request: &impl Encodable) {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap_or_else(|error| panic!("key {key} version {version}: {error}"));
    samples.push(Sample { key, version, body: body.freeze() });
}

/// Every advertised request and version.
pub(crate) fn all() -> Vec<Sample> {
    let mut samples = Vec::new();
    for shape in corelog::api::shape::SHAPES {
        for version in shape.min..=shape.max {
            one(&mut samples, shape.key, version, version >= shape.flexible);
        }
    }
    samples
}

fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

fn id() -> Uuid {
    Uuid::from_bytes([7; 16])
}

fn one(samples: &mut Vec<Sample>, key: i16, version: i16, flexible: bool) {
    match key {
        0 => produce(samples, version, flexible),
        1 => fetch(samples, version, flexible),
        2 => {
            encode(samples, key, version, &ListOffsetsRequest::default());
            let mut partition = tagged!(ListOffsetsPartition::default().with_timestamp(-1), flexible);
            if version >= 4 {
                partition.current_leader_epoch = 3;
            }
            let topic = tagged!(
                ListOffsetsTopic::default()
                    .with_name(TopicName(text("orders")))
                    .with_partitions(vec![partition.clone(), partition]),
                flexible
            );
            let mut request =
                tagged!(ListOffsetsRequest::default().with_topics(vec![topic.clone(), topic]), flexible);
            request.timeout_ms = if version >= 10 { 1000 } else { 0 };
            encode(samples, key, version, &request);
        }
        3 => {
            encode(samples, key, version, &MetadataRequest::default().with_topics(Some(vec![])));
            if version >= 1 {
                encode(samples, key, version, &MetadataRequest::default().with_topics(None));
            }
            let mut topic =
                tagged!(MetadataRequestTopic::default().with_name(Some(TopicName(text("orders")))), flexible);
            if version >= 10 {
                topic.topic_id = id();
            }
            let request =
                tagged!(MetadataRequest::default().with_topics(Some(vec![topic.clone(), topic])), flexible);
            encode(samples, key, version, &request);
        }
        8..=16 | 42 | 47 | 68 | 69 => groups::one(samples, key, version, flexible),
        18 => {
            encode(samples, key, version, &ApiVersionsRequest::default());
            if version >= 3 {
                let request = ApiVersionsRequest::default()
                    .with_client_software_name(text("apache-kafka-java"))
                    .with_client_software_version(text("4.3.1"));
                encode(samples, key, version, &tagged!(request, flexible));
            }
        }
        19 => {
            encode(samples, key, version, &CreateTopicsRequest::default());
            let assignment = tagged!(
                CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1), BrokerId(2)]),
                flexible
            );
            let config = tagged!(
                CreatableTopicConfig::default().with_name(text("k")).with_value(Some(text("v"))),
                flexible
            );
            let null =
                tagged!(CreatableTopicConfig::default().with_name(text("k")).with_value(None), flexible);
            let topic = tagged!(
                CreatableTopic::default()
                    .with_name(TopicName(text("orders")))
                    .with_assignments(vec![assignment])
                    .with_configs(vec![config, null]),
                flexible
            );
            let request =
                tagged!(CreateTopicsRequest::default().with_topics(vec![topic.clone(), topic]), flexible);
            encode(samples, key, version, &request);
        }
        20 => {
            encode(samples, key, version, &DeleteTopicsRequest::default());
            let mut request = tagged!(DeleteTopicsRequest::default(), flexible);
            if version >= 6 {
                let named = DeleteTopicState::default().with_name(Some(TopicName(text("orders"))));
                let by_id = DeleteTopicState::default().with_topic_id(id());
                request.topics = vec![tagged!(named, flexible), tagged!(by_id, flexible)];
            } else {
                request.topic_names = vec![TopicName(text("orders")), TopicName(text(""))];
            }
            encode(samples, key, version, &request);
        }
        21 => {
            encode(samples, key, version, &DeleteRecordsRequest::default());
            let partition = tagged!(DeleteRecordsPartition::default().with_offset(7), flexible);
            let topic = tagged!(
                DeleteRecordsTopic::default()
                    .with_name(TopicName(text("orders")))
                    .with_partitions(vec![partition.clone(), partition]),
                flexible
            );
            let request = DeleteRecordsRequest::default().with_topics(vec![topic.clone(), topic]);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        22 => {
            encode(samples, key, version, &InitProducerIdRequest::default());
            let request =
                InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("tx"))));
            encode(samples, key, version, &tagged!(request, flexible));
        }
        32 => {
            encode(samples, key, version, &DescribeConfigsRequest::default());
            let some = DescribeConfigsResource::default()
                .with_resource_name(text("orders"))
                .with_configuration_keys(Some(vec![text("retention.ms"), text("")]));
            let all = DescribeConfigsResource::default().with_configuration_keys(None);
            let request = DescribeConfigsRequest::default()
                .with_resources(vec![tagged!(some, flexible), tagged!(all, flexible)]);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        60 => {
            encode(samples, key, version, &DescribeClusterRequest::default());
            encode(samples, key, version, &tagged!(DescribeClusterRequest::default(), flexible));
        }
        29..=31 | 33 | 37 | 44 | 48 | 50 | 57 | 74 => admin::one(samples, key, version, flexible),
        _ => partitions::one(samples, key, version, flexible),
    }
}

fn produce(samples: &mut Vec<Sample>, version: i16, flexible: bool) {
    encode(samples, 0, version, &ProduceRequest::default());
    let partition =
        PartitionProduceData::default().with_index(3).with_records(Some(Bytes::from_static(b"batch")));
    let null = PartitionProduceData::default().with_records(None);
    let mut topic = tagged!(
        TopicProduceData::default()
            .with_partition_data(vec![tagged!(partition, flexible), tagged!(null, flexible)]),
        flexible
    );
    if version >= 13 {
        topic.topic_id = id();
    } else {
        topic.name = TopicName(text("orders"));
    }
    let request = ProduceRequest::default()
        .with_transactional_id(Some(TransactionalId(text("tx"))))
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic.clone(), topic]);
    encode(samples, 0, version, &tagged!(request, flexible));
}

fn fetch(samples: &mut Vec<Sample>, version: i16, flexible: bool) {
    encode(samples, 1, version, &FetchRequest::default());
    let mut partition = tagged!(
        FetchPartition::default().with_partition(2).with_fetch_offset(17).with_partition_max_bytes(1 << 20),
        flexible
    );
    if version >= 5 {
        partition.log_start_offset = 4;
    }
    if version >= 9 {
        partition.current_leader_epoch = 5;
    }
    if version >= 12 {
        partition.last_fetched_epoch = 6;
    }
    if version >= 17 {
        partition.replica_directory_id = id();
    }
    if version >= 18 {
        partition.high_watermark = 8;
    }
    let mut topic =
        tagged!(FetchTopic::default().with_partitions(vec![partition.clone(), partition]), flexible);
    let mut forgotten = tagged!(ForgottenTopic::default(), flexible);
    if version >= 13 {
        topic.topic_id = id();
        forgotten.topic_id = id();
    } else {
        topic.topic = TopicName(text("orders"));
        forgotten.topic = TopicName(text("orders"));
    }
    forgotten.partitions = vec![1, 2, 3];
    let mut request = tagged!(
        FetchRequest::default()
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(50 << 20)
            .with_isolation_level(1)
            .with_topics(vec![topic.clone(), topic]),
        flexible
    );
    if version >= 7 {
        request.session_id = 11;
        request.session_epoch = 12;
        request.forgotten_topics_data = vec![forgotten.clone(), forgotten];
    }
    if version >= 11 {
        request.rack_id = text("rack-a");
    }
    if version >= 12 {
        request.cluster_id = Some(text("cluster"));
    }
    if version >= 15 {
        request.replica_state = tagged!(ReplicaState::default().with_replica_epoch(9), true);
    }
    encode(samples, 1, version, &request);
}
