//! What the controller decides, what its records mean, and that their encoding survives bad bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

mod configs;
mod features;
mod partitions;

/// Knows two keys of topics and takes any of brokers.
struct TwoKeys;
impl ConfigSchema for TwoKeys {
    fn is_list(&self, _: ResourceKind, name: &str) -> bool {
        name == "cleanup.policy"
    }

    fn default(&self, _: ResourceKind, name: &str) -> Option<String> {
        (name == "cleanup.policy").then(|| "delete".to_owned())
    }

    fn validate(
        &self,
        resource: &ConfigResource,
        configs: &BTreeMap<String, String>,
    ) -> Result<(), CommandError> {
        for (name, value) in configs.iter().filter(|_| resource.kind == ResourceKind::Topic) {
            match (name.as_str(), value.parse::<i64>()) {
                ("retention.ms", Ok(_)) | ("cleanup.policy", _) => {}
                ("retention.ms", Err(_)) => {
                    let why = format!("Invalid value {value} for configuration retention.ms");
                    return Err(CommandErrorKind::InvalidConfig.because(why));
                }
                _ => {
                    let why = format!("Unknown topic config name: {name}");
                    return Err(CommandErrorKind::InvalidConfig.because(why));
                }
            }
        }
        Ok(())
    }
}

/// An image, a counter for randomness, and the way of the proposer: decide, then replay.
struct Controller {
    image: MetadataImage,
    random: u64,
    delta: Delta,
}

impl Controller {
    fn empty() -> Self {
        Self { image: MetadataImage::default(), random: 0, delta: Delta::default() }
    }

    fn with_broker(id: i32) -> Self {
        let mut controller = Self::empty();
        controller.register(id);
        controller
    }

    fn register(&mut self, broker_id: i32) -> Reply {
        let listeners = vec![Listener { name: "PLAINTEXT".into(), host: String::new(), port: 9092 }];
        let incarnation_id = TopicId([7; 16]);
        self.run(Command::RegisterBroker { broker_id, incarnation_id, listeners, rack: None }).unwrap()
    }

    fn run(&mut self, command: Command) -> Result<Reply, CommandError> {
        let mut random = || {
            self.random += 1;
            // Some generator: splitmix64.
            let mut z = self.random.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let mut context = Context {
            num_partitions: 3,
            default_replication_factor: 1,
            configs: &TwoKeys,
            random: &mut random,
        };
        let (records, reply) = decide(&self.image, &command, &mut context)?;
        let records = decode_records(&encode_records(&records)).unwrap();
        self.delta = Delta::default();
        for record in &records {
            self.image.replay(record, &mut self.delta).unwrap();
        }
        assert!(self.image.orphaned_configs().is_empty());
        Ok(reply)
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<CreatedTopic> {
        match self.run(Command::CreateTopics { topics, validate_only: false }).unwrap() {
            Reply::TopicsCreated(created) => created,
            other => panic!("{other:?}"),
        }
    }

    fn create_one(&mut self, topic: NewTopic) -> Result<TopicCreated, CommandError> {
        self.create(vec![topic]).remove(0).result
    }

    fn delete(&mut self, topics: Vec<TopicRef>) -> Vec<DeletedTopic> {
        match self.run(Command::DeleteTopics { topics }).unwrap() {
            Reply::TopicsDeleted(deleted) => deleted,
            other => panic!("{other:?}"),
        }
    }
}

fn topic(name: &str) -> NewTopic {
    NewTopic { name: name.into(), num_partitions: -1, replication_factor: -1, ..NewTopic::default() }
}

fn kind<T: std::fmt::Debug>(result: Result<T, CommandError>) -> CommandErrorKind {
    result.unwrap_err().kind
}

#[test]
fn a_topic_gets_the_defaults_for_minus_one() {
    let mut controller = Controller::with_broker(1);
    let created = controller.create_one(topic("orders")).unwrap();
    assert_eq!((created.num_partitions, created.replication_factor), (3, 1));
    let image = controller.image.topic_by_name("orders").unwrap();
    assert_eq!(image.id, created.topic_id);
    assert_eq!(image.partitions.len(), 3);
    for partition in &image.partitions {
        assert_eq!((partition.leader, partition.leader_epoch, partition.partition_epoch), (1, 0, 0));
        assert_eq!((&partition.replicas, &partition.isr), (&vec![1], &vec![1]));
        assert_ne!(partition.log_id, 0);
    }
    assert_ne!(image.partitions[0].log_id, image.partitions[1].log_id);
    assert_eq!(controller.delta.topics_changed.len(), 1);
}

#[test]
fn a_topic_that_exists_is_not_created_again() {
    let mut controller = Controller::with_broker(1);
    controller.create_one(topic("orders")).unwrap();
    let error = controller.create_one(topic("orders")).unwrap_err();
    assert_eq!(error.kind, CommandErrorKind::TopicAlreadyExists);
    assert_eq!(error.message, "Topic 'orders' already exists.");
}

#[test]
fn a_recreated_topic_is_another_incarnation() {
    let mut controller = Controller::with_broker(1);
    let old = controller.create_one(topic("orders")).unwrap().topic_id;
    let old_log = controller.image.partition(&old, 0).unwrap().log_id;
    assert!(controller.delete(vec![TopicRef::Name("orders".into())])[0].result.is_ok());
    assert_eq!(controller.delta.topics_removed[&old].partitions[0].log_id, old_log);
    assert_eq!(controller.image.partition_count(), 0);
    let new = controller.create_one(topic("orders")).unwrap().topic_id;
    assert_ne!(old, new);
    assert_ne!(controller.image.partition(&new, 0).unwrap().log_id, old_log);
}

#[test]
fn a_name_twice_in_one_request_is_refused_once_and_spares_the_others() {
    let mut controller = Controller::with_broker(1);
    let results = controller.create(vec![topic("a"), topic("b"), topic("a")]);
    assert_eq!(results.len(), 2);
    assert_eq!(kind(results[0].result.clone()), CommandErrorKind::InvalidRequest);
    assert!(results[1].result.is_ok());
    assert_eq!(controller.image.topic_count(), 1);
}

#[test]
fn dots_and_underscores_collide() {
    let mut controller = Controller::with_broker(1);
    controller.create_one(topic("a.b")).unwrap();
    let error = controller.create_one(topic("a_b")).unwrap_err();
    assert_eq!(error.kind, CommandErrorKind::InvalidTopicException);
    assert_eq!(error.message, "Topic 'a_b' collides with existing topic: a.b");
    assert_eq!(kind(controller.create_one(topic("a.b"))), CommandErrorKind::TopicAlreadyExists);
    controller.delete(vec![TopicRef::Name("a.b".into())]);
    controller.create_one(topic("a_b")).unwrap();
    let results = controller.create(vec![topic("c.d"), topic("c_d")]);
    assert!(results[0].result.is_ok());
    assert_eq!(kind(results[1].result.clone()), CommandErrorKind::InvalidTopicException);
}

#[test]
fn impossible_names_are_refused() {
    for name in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
        let error = kind(Controller::with_broker(1).create_one(topic(name)));
        assert_eq!(error, CommandErrorKind::InvalidTopicException, "{name}");
    }
    Controller::with_broker(1).create_one(topic(&"x".repeat(249))).unwrap();
    Controller::with_broker(1).create_one(topic("...")).unwrap();
    let error = kind(Controller::with_broker(1).create_one(topic("__cluster_metadata")));
    assert_eq!(error, CommandErrorKind::InvalidRequest);
}

#[test]
fn impossible_numbers_are_refused() {
    let mut controller = Controller::with_broker(1);
    for replication_factor in [0, -2, 2, i16::MAX] {
        let result = controller.create_one(NewTopic { replication_factor, ..topic("t") });
        assert_eq!(kind(result), CommandErrorKind::InvalidReplicationFactor);
    }
    for num_partitions in [0, -2, i32::MIN] {
        let result = controller.create_one(NewTopic { num_partitions, ..topic("t") });
        assert_eq!(kind(result), CommandErrorKind::InvalidPartitions);
    }
    for num_partitions in [10_001, i32::MAX] {
        let topics = vec![NewTopic { num_partitions, ..topic("t") }, topic("u")];
        let whole = controller.run(Command::CreateTopics { topics, validate_only: false });
        assert_eq!(kind(whole), CommandErrorKind::PolicyViolation);
    }
    assert_eq!(controller.image.topic_count(), 0);
    controller.create_one(NewTopic { num_partitions: 10_000, replication_factor: 1, ..topic("t") }).unwrap();
    assert_eq!(controller.image.partition_count(), 10_000);
}

#[test]
fn explicit_assignments_are_taken_as_they_are_or_refused() {
    let assigned = |assignments: &[(i32, &[i32])]| NewTopic {
        assignments: assignments.iter().map(|(p, r)| (*p, r.to_vec())).collect(),
        ..topic("t")
    };
    let mut controller = Controller::with_broker(1);
    controller.register(2);
    for wrong in [
        &[(0, &[1][..]), (0, &[1][..])][..],
        &[(0, &[1][..]), (2, &[1][..])][..],
        &[(1, &[1][..])][..],
        &[(-1, &[1][..])][..],
        &[(0, &[][..])][..],
        &[(0, &[3][..])][..],
        &[(0, &[1, 1][..])][..],
        &[(0, &[1, 2][..]), (1, &[1][..])][..],
    ] {
        let result = controller.create_one(assigned(wrong));
        assert_eq!(kind(result), CommandErrorKind::InvalidReplicaAssignment, "{wrong:?}");
    }
    let both = NewTopic { num_partitions: 1, ..assigned(&[(0, &[1])]) };
    assert_eq!(kind(controller.create_one(both)), CommandErrorKind::InvalidRequest);
    let both = NewTopic { replication_factor: 1, ..assigned(&[(0, &[1])]) };
    assert_eq!(kind(controller.create_one(both)), CommandErrorKind::InvalidRequest);

    let created = controller.create_one(assigned(&[(1, &[1, 2]), (0, &[2, 1])])).unwrap();
    assert_eq!((created.num_partitions, created.replication_factor), (2, 2));
    assert_eq!(controller.image.partition(&created.topic_id, 0).unwrap().replicas, [2, 1]);
    assert_eq!(controller.image.partition(&created.topic_id, 0).unwrap().leader, 2);
}

#[test]
fn validate_only_answers_and_changes_nothing() {
    let mut controller = Controller::with_broker(1);
    let before = controller.image.clone();
    let topics = vec![topic("t"), topic(".")];
    match controller.run(Command::CreateTopics { topics, validate_only: true }).unwrap() {
        Reply::TopicsCreated(results) => {
            assert_eq!(results[0].result.as_ref().unwrap().num_partitions, 3);
            assert!(results[1].result.is_err());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(controller.image, before);
}

#[test]
fn configs_of_a_topic_live_and_die_with_it() {
    let mut controller = Controller::with_broker(1);
    let with = |value: Option<&str>| NewTopic {
        configs: vec![("retention.ms".into(), value.map(str::to_owned))],
        ..topic("t")
    };
    assert_eq!(kind(controller.create_one(with(None))), CommandErrorKind::InvalidConfig);
    assert_eq!(kind(controller.create_one(with(Some("soon")))), CommandErrorKind::InvalidConfig);
    let long = "1".repeat(CONFIG_VALUE_BYTES_MAX + 1);
    assert!(controller.create_one(with(Some(&long))).unwrap_err().message.contains("32768 bytes"));
    controller.create_one(with(Some("5"))).unwrap();
    let resource = ConfigResource::topic("t");
    assert_eq!(controller.image.config(&resource, "retention.ms"), Some("5"));
    controller.delete(vec![TopicRef::Name("t".into())]);
    assert!(controller.delta.configs_changed.contains(&resource));
    controller.create_one(topic("t")).unwrap();
    assert_eq!(controller.image.config(&resource, "retention.ms"), None);
}

#[test]
fn deleting_answers_each_topic_by_how_it_was_named() {
    let mut controller = Controller::with_broker(1);
    let a = controller.create_one(topic("a")).unwrap().topic_id;
    controller.create_one(topic("b")).unwrap();
    let results = controller.delete(vec![
        TopicRef::Name("none".into()),
        TopicRef::Id(TopicId([9; 16])),
        TopicRef::Name("b".into()),
        TopicRef::Name("b".into()),
        TopicRef::Id(a),
        TopicRef::Name("a".into()),
    ]);
    let kinds: Vec<_> = results.iter().map(|r| r.result.as_ref().err().map(|e| e.kind)).collect();
    assert_eq!(
        kinds,
        [
            Some(CommandErrorKind::UnknownTopicOrPartition),
            Some(CommandErrorKind::UnknownTopicId),
            Some(CommandErrorKind::InvalidRequest),
            None,
            Some(CommandErrorKind::InvalidRequest),
        ]
    );
    assert_eq!(results[3].name.as_deref(), Some("a"));
    assert!(controller.image.topic_by_name("a").is_none());
    assert!(controller.image.topic_by_name("b").is_some());
}

#[test]
fn producer_ids_come_in_blocks_to_registered_brokers_only() {
    let mut controller = Controller::with_broker(1);
    let allocate = |broker_id, broker_epoch| Command::AllocateProducerIds { broker_id, broker_epoch };
    assert_eq!(controller.run(allocate(1, 0)), Ok(Reply::ProducerIds { first: 0, count: 1000 }));
    assert_eq!(controller.run(allocate(1, 0)), Ok(Reply::ProducerIds { first: 1000, count: 1000 }));
    assert_eq!(kind(controller.run(allocate(2, 0))), CommandErrorKind::StaleBrokerEpoch);
    assert_eq!(controller.register(1), Reply::BrokerRegistered { broker_epoch: 1 });
    assert_eq!(kind(controller.run(allocate(1, 0))), CommandErrorKind::StaleBrokerEpoch);
    assert_eq!(controller.run(allocate(1, 1)), Ok(Reply::ProducerIds { first: 2000, count: 1000 }));
}

#[test]
fn bumping_gives_every_led_partition_a_new_epoch_in_one_command() {
    let mut controller = Controller::with_broker(1);
    controller.register(2);
    let assignments = vec![(0, vec![1, 2]), (1, vec![2, 1]), (2, vec![1, 2])];
    let id = controller.create_one(NewTopic { assignments, ..topic("t") }).unwrap().topic_id;
    let reply = controller.run(Command::BumpLeaderEpochs { broker_id: 1 });
    assert_eq!(reply, Ok(Reply::LeaderEpochsBumped { partitions: 2 }));
    let epochs: Vec<_> =
        controller.image.topic(&id).unwrap().partitions.iter().map(|p| p.leader_epoch).collect();
    assert_eq!(epochs, [1, 0, 1]);
    assert_eq!(controller.image.partition(&id, 0).unwrap().partition_epoch, 1);
}

#[test]
fn a_record_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut controller = Controller::with_broker(1);
    let id = controller.create_one(topic("t")).unwrap().topic_id;
    let other = TopicId([1; 16]);
    let partition = |topic_id, partition| {
        Record::Partition(PartitionRecord {
            topic_id,
            partition,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            log_id: 1,
        })
    };
    let change = |partition| PartitionChangeRecord { topic_id: id, partition, leader: Some(1), isr: None };
    for record in [
        Record::Topic(TopicRecord { name: "t".into(), topic_id: other }),
        Record::Topic(TopicRecord { name: "u".into(), topic_id: id }),
        partition(other, 0),
        partition(id, 2),
        partition(id, 4),
        partition(id, -1),
        Record::PartitionChange(change(3)),
        Record::PartitionChange(change(-1)),
        Record::RemoveTopic(RemoveTopicRecord { topic_id: other }),
    ] {
        let before = controller.image.clone();
        controller.image.replay(&record, &mut Delta::default()).unwrap_err();
        assert_eq!(controller.image, before, "{record:?}");
    }
}

#[test]
fn a_snapshot_makes_the_same_image() {
    let mut controller = Controller::with_broker(1);
    let configs = vec![("retention.ms".into(), Some("5".into()))];
    controller.create(vec![topic("a.b"), NewTopic { configs, ..topic("t") }]);
    controller.run(Command::BumpLeaderEpochs { broker_id: 1 }).unwrap();
    controller.run(Command::AllocateProducerIds { broker_id: 1, broker_epoch: 0 }).unwrap();
    controller.run(Command::SetFeatures { levels: vec![("metadata.version".into(), 25)] }).unwrap();
    let bytes = encode_records(&controller.image.to_records());
    let image = MetadataImage::from_records(&decode_records(&bytes).unwrap()).unwrap();
    assert_eq!(image, controller.image);
    assert!(image.colliding_topic("a_b").is_some());
}

#[test]
fn an_unknown_kind_or_version_is_refused_not_skipped() {
    let feature = FeatureLevelRecord { name: "f".into(), feature_level: 1 };
    let good = encode_records(&[Record::FeatureLevel(feature)]);
    decode_records(&good).unwrap();
    for (at, value, word) in [(4, 9, "kind 9"), (4, 0, "kind 0"), (6, 2, "version 2"), (6, 0, "version 0")] {
        let mut bytes = good.clone();
        bytes[at] = value;
        let error = decode_records(&bytes).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn topic_ids_look_like_kafkas() {
    // The text was made with Python's base64.urlsafe_b64encode over the same bytes.
    let bytes = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128.to_be_bytes();
    assert_eq!(TopicId(bytes).to_string(), "ASNFZ4mrze_-3LqYdlQyEA");
    assert_eq!(TopicId([0xff; 16]).to_string(), "_____________________w");
    assert_eq!(TopicId::from_random(0xf800_0000_0000_0000, 0), None, "would begin with '-'");
    let id = TopicId::from_random(0, 0).unwrap();
    assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (4, 2), "version 4, variant 1");
}

fn any_record() -> impl Strategy<Value = Record> {
    let id = any::<[u8; 16]>().prop_map(TopicId);
    let ids = prop::collection::vec(any::<i32>(), 0..4);
    let kinds = [ResourceKind::Topic, ResourceKind::Broker, ResourceKind::Group];
    let resource = (prop::sample::select(kinds.to_vec()), ".{0,9}")
        .prop_map(|(kind, name)| ConfigResource { kind, name });
    let listener =
        (".{0,5}", ".{0,5}", any::<u16>()).prop_map(|(name, host, port)| Listener { name, host, port });
    prop_oneof![
        (id.clone(), ".{0,9}").prop_map(|(topic_id, name)| Record::Topic(TopicRecord { name, topic_id })),
        (id.clone(), any::<(i32, i32, i32, i32, u64)>(), ids.clone(), ids.clone()).prop_map(
            |(topic_id, n, r, i)| {
                Record::Partition(PartitionRecord {
                    topic_id,
                    partition: n.0,
                    replicas: r,
                    isr: i,
                    leader: n.1,
                    leader_epoch: n.2,
                    partition_epoch: n.3,
                    log_id: n.4,
                })
            }
        ),
        (id.clone(), any::<(i32, Option<i32>)>(), prop::option::of(ids)).prop_map(|(topic_id, n, isr)| {
            Record::PartitionChange(PartitionChangeRecord { topic_id, partition: n.0, leader: n.1, isr })
        }),
        id.clone().prop_map(|topic_id| Record::RemoveTopic(RemoveTopicRecord { topic_id })),
        (resource, ".{0,9}", prop::option::of(".{0,9}"))
            .prop_map(|(resource, name, value)| { Record::Config(ConfigRecord { resource, name, value }) }),
        (id, any::<(i32, i64)>(), prop::collection::vec(listener, 0..3), prop::option::of(".{0,5}"))
            .prop_map(|(incarnation_id, n, listeners, rack)| {
                let (broker_id, broker_epoch) = n;
                let record =
                    RegisterBrokerRecord { broker_id, incarnation_id, broker_epoch, listeners, rack };
                Record::RegisterBroker(record)
            }),
        any::<(i32, i64)>().prop_map(|(broker_id, next_producer_id)| {
            Record::ProducerIds(ProducerIdsRecord { broker_id, next_producer_id })
        }),
        (".{0,9}", any::<i16>()).prop_map(|(name, feature_level)| {
            Record::FeatureLevel(FeatureLevelRecord { name, feature_level })
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(records in prop::collection::vec(any_record(), 0..8)) {
        let bytes = encode_records(&records);
        prop_assert_eq!(decode_records(&bytes).unwrap(), records);
        for len in 0..bytes.len() {
            prop_assert!(decode_records(&bytes[..len]).is_err(), "cut at {}", len);
        }
    }

    #[test]
    fn changed_bytes_never_panic(
        records in prop::collection::vec(any_record(), 1..4),
        at in any::<prop::sample::Index>(),
        value: u8,
    ) {
        let mut bytes = encode_records(&records);
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(decoded) = decode_records(&bytes) {
            prop_assert_eq!(encode_records(&decoded), bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_records(&bytes);
    }
}
