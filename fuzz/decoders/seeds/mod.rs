//! The inputs that fuzzers begin with: sound ones of every kind, made by the encoders.
//!
//! `examples/seeds.rs` writes them for a fuzzer, which spoils them by itself; `tests/corpus.rs` feeds them as they are. Deliberately
//! absent: what fuzzers found (`fuzz/corpus`).

#[path = "../../../broker/tests/samples/mod.rs"]
mod samples;

use bytes::BytesMut;
use corelog_logic::controller::{
    ConfigRecord, ConfigResource, FeatureLevelRecord, Listener, PartitionRecord, ProducerIdsRecord, Record,
    RegisterBrokerRecord, TopicId, TopicRecord, encode_records,
};
use corelog_logic::group::records::{
    ConsumerMemberMetadata, ConsumerRecord, ConsumerRecordBody, GroupMetadataValue, MemberMetadata,
    OffsetCommitKey, OffsetCommitValue,
};
use corelog_logic::group::{GroupRecord, TopicPartition};
use corelog_logic::partition::producer_state::{ProducerBatch, ProducerState};
use corelog_storage::batch::{BatchBuilder, Compression};
use corelog_storage::checkpoint;
use corelog_storage::journal::format::{EntryHeader, EntryKind};
use corelog_storage::segment::{BatchStart, BlockTable};
use corelog_storage::types::LogId;
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::{Encodable, StrBytes};

/// An input of a decoder.
pub struct Seed {
    /// Whose.
    pub decoder: &'static str,
    /// What it is; a file name.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All of them.
pub fn all() -> Vec<Seed> {
    let mut seeds = Seeds(Vec::new());
    batches(&mut seeds);
    requests(&mut seeds);
    formats(&mut seeds);
    records(&mut seeds);
    recovery(&mut seeds);
    properties(&mut seeds);
    seeds.0
}

struct Seeds(Vec<Seed>);

impl Seeds {
    fn add(&mut self, decoder: &'static str, name: &str, parts: &[&[u8]]) {
        self.0.push(Seed { decoder, name: name.to_owned(), bytes: parts.concat() });
    }
}

fn recovery(seeds: &mut Seeds) {
    for store in 0..8u8 {
        for file in [0u8, 3, 5, 8, 13] {
            let name = format!("store-{store}-file-{file}");
            seeds.add("recovery", &name, &[&[store], &[file, 0, 16, 80, 4], b"\x01\0\0\xff"]);
        }
    }
}

fn properties(seeds: &mut Seeds) {
    let plain = "broker.id=3\nlog.dirs=/a,/b\nlisteners=PLAINTEXT://:9092\nlog.retention.hours=1\ncorelog.memory.bytes=1000000000\n";
    seeds.add("properties", "plain", &[plain.as_bytes()]);
    seeds.add("properties", "sample", &[include_bytes!("../../../broker/tests/server.properties")]);
    for setting in corelog::config::broker_settings() {
        let line = format!("{}={}\n", setting.name, setting.default.unwrap_or(""));
        seeds.add("properties", setting.name, &[line.as_bytes()]);
    }
}

fn batches(seeds: &mut Seeds) {
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for codec in codecs {
        let records = |builder: BatchBuilder| {
            builder
                .record(1_000, Some(b"key"), Some(b"value value value value"))
                .record(999, None, Some(&[7; 60]))
                .record_with_headers(1_001, Some(b"key"), None, &[])
                .build()
        };
        let plain = records(BatchBuilder::new().compression(codec));
        let idempotent = records(BatchBuilder::new().compression(codec).producer(5, 1, 9));
        let stamped = records(BatchBuilder::new().compression(codec).log_append_time(5_000));
        for (name, batch) in [("plain", &plain), ("idempotent", &idempotent), ("stamped", &stamped)] {
            for options in [0u8, 2, 8, 16] {
                seeds.add("batches", &format!("{codec:?}-{name}-{options}"), &[&[options], batch]);
            }
        }
    }
    let one = BatchBuilder::new().record(-1, Some(b"k"), Some(b"v")).build();
    seeds.add("batches", "keyed", &[&[4], &one]);
    let control = BatchBuilder::new().transactional().control().producer(1, 0, -1);
    seeds.add("batches", "control", &[&[16], &control.record(3, Some(&[0, 0, 0, 1]), Some(&[0; 6])).build()]);
}

fn requests(seeds: &mut Seeds) {
    let mut nth = 0;
    for sample in samples::all() {
        let shape = corelog::api::shape::Shape::of(sample.key).expect("a shape for every sample");
        let header = RequestHeader::default()
            .with_request_api_key(sample.key)
            .with_request_api_version(sample.version)
            .with_correlation_id(7)
            .with_client_id(Some(StrBytes::from_static_str("fuzz")));
        let mut frame = BytesMut::new();
        let header_version = if sample.version >= shape.flexible { 2 } else { 1 };
        header.encode(&mut frame, header_version).expect("a header");
        frame.extend_from_slice(&sample.body);
        let length = (frame.len() as u16).to_be_bytes();
        nth += 1;
        // Twice: the second may find what the first has made.
        seeds.add(
            "requests",
            &format!("{:03}-{}-v{}", nth, shape.name, sample.version),
            &[&length, &frame, &length, &frame],
        );
    }
}

fn formats(seeds: &mut Seeds) {
    let log_id = LogId(9);
    let records = [
        checkpoint::Record::Log(checkpoint::LogRecord {
            log_id,
            topic_id: [3; 16],
            partition: 1,
            owner_epoch: 2,
            directory: "orders-1".to_owned(),
        }),
        checkpoint::Record::Dropped { log_id },
        checkpoint::Record::SegmentRemoved { log_id, base_offset: 5 },
        checkpoint::Record::Session { session: 1, live_position: 4_096 },
        checkpoint::Record::Tenant(checkpoint::TenantRecord {
            log_id,
            end_offset: 7,
            state: b"state".to_vec().into(),
        }),
    ];
    let mut all = Vec::new();
    for (nth, record) in records.iter().enumerate() {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        seeds.add("formats", &format!("checkpoint-{nth}"), &[&[0], &bytes]);
        record.encode(&mut all);
    }
    seeds.add("formats", "checkpoint-all", &[&[0], &all]);
    for kind in [EntryKind::Append, EntryKind::LogStart, EntryKind::Drop, EntryKind::AppendInPlace] {
        let header = EntryHeader {
            kind,
            log_id,
            owner_epoch: 0,
            segment_position: 100,
            sequence: 3,
            segment_base_offset: 0,
            next_offset: 9,
        };
        seeds.add("formats", &format!("entry-{kind:?}"), &[&[1], &header.encode(32), &[4; 32]]);
    }
    seeds.add("formats", "commit", &[&[2], &[1; 64], &[2; 100]]);
    seeds.add("formats", "extent", &[&[3], b"CLJOURNL\x02\0\0\0", &[1; 52]]);
    let mut table = BlockTable::new(1_000);
    let start = BatchStart { position: 0, base_offset: 1_000, max_timestamp: 50 };
    table.extend(&[5; 70_000], [start]);
    seeds.add("formats", "page", &[&[4], &table.page(0)]);
    for name in ["00000000000000001000.log", "00000000000000000000.2.blocks", "3-17.journal"] {
        seeds.add("formats", name, &[&[5], name.as_bytes()]);
    }
}

fn records(seeds: &mut Seeds) {
    let topic_id = TopicId([4; 16]);
    let metadata = [
        Record::RegisterBroker(RegisterBrokerRecord {
            broker_id: 1,
            incarnation_id: TopicId([1; 16]),
            broker_epoch: 3,
            listeners: vec![Listener { name: "PLAINTEXT".into(), host: "h".into(), port: 9092 }],
            rack: Some("r".into()),
        }),
        Record::FeatureLevel(FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30 }),
        Record::Topic(TopicRecord { topic_id, name: "orders".into() }),
        Record::Partition(PartitionRecord {
            topic_id,
            partition: 0,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            log_id: 77,
        }),
        Record::Config(ConfigRecord {
            resource: ConfigResource::topic("orders"),
            name: "retention.ms".into(),
            value: Some("5".into()),
        }),
        Record::ProducerIds(ProducerIdsRecord { broker_id: 1, next_producer_id: 1_000 }),
    ];
    seeds.add("records", "metadata", &[&[0], &encode_records(&metadata)]);
    for (nth, record) in metadata.iter().enumerate() {
        let bytes = encode_records(std::slice::from_ref(record));
        seeds.add("records", &format!("metadata-{nth}"), &[&[0], &bytes]);
    }
    let mut groups = Vec::new();
    for (nth, record) in group_records().iter().enumerate() {
        let (key, value) = record.encode();
        let value_len = value.as_ref().map_or(u16::MAX, |value| value.len() as u16);
        let lengths = [(key.len() as u16).to_be_bytes(), value_len.to_be_bytes()].concat();
        let record = [&lengths[..], &key, value.as_deref().unwrap_or(&[])].concat();
        seeds.add("records", &format!("group-{nth}"), &[&[1], &record]);
        groups.extend(record);
    }
    seeds.add("records", "groups", &[&[1], &groups]);
    let mut producers = ProducerState::new();
    for producer_id in 0..3 {
        let batch = ProducerBatch { producer_id, producer_epoch: 1, base_sequence: 5, last_offset_delta: 2 };
        producers.record(&batch, 10, 1_000, 2_000);
    }
    seeds.add("records", "producers", &[&[2], &producers.snapshot()]);
}

fn group_records() -> Vec<GroupRecord> {
    let group = || "g".into();
    let key = OffsetCommitKey {
        group_id: group(),
        partition: TopicPartition { topic: "orders".into(), partition: 1 },
    };
    let value = OffsetCommitValue {
        offset: 5,
        leader_epoch: 1,
        metadata: "m".into(),
        commit_timestamp_ms: 1_000,
        expire_timestamp_ms: -1,
        topic_id: [4; 16],
    };
    let member = MemberMetadata {
        member_id: "m-1".into(),
        instance_id: Some("i".into()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 10_000,
        subscription: vec![0, 1, 2].into(),
        assignment: vec![0, 1].into(),
    };
    let classic = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("m-1".into()),
        current_state_timestamp_ms: 1_000,
        members: vec![member],
    };
    let consumer = ConsumerMemberMetadata {
        instance_id: None,
        rack_id: None,
        client_id: "c".into(),
        client_host: "h".into(),
        subscribed_topic_names: ["orders".into()].into(),
        subscribed_topic_regex: "o.*".into(),
        rebalance_timeout_ms: 5,
        server_assignor: Some("uniform".into()),
        classic: None,
    };
    let body = ConsumerRecordBody::Member("m-2".into(), Some(consumer));
    vec![
        GroupRecord::OffsetCommit(key.clone(), Some(value)),
        GroupRecord::OffsetCommit(key, None),
        GroupRecord::GroupMetadata(group(), Some(classic)),
        GroupRecord::GroupMetadata(group(), None),
        GroupRecord::Consumer(ConsumerRecord { group_id: "h".into(), body }),
    ]
}
