//! CreateTopics and DeleteTopics: names, counts, assignments and configurations that are good, odd and wrong.

use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{BrokerId, CreateTopicsRequest, DeleteTopicsRequest};
use uuid::Uuid;

use super::{Maker, text, topic_id, topic_name};
use crate::script::Step;

/// As long as a wait may be, and longer than any should take; in milliseconds.
const TIMEOUT_MS: i32 = 15_000;

/// Names that no topic may have, and some that are just allowed.
pub(super) fn odd_names() -> Vec<String> {
    let mut names: Vec<String> =
        ["", ".", "..", "a b", "ä", "a/b", "a\n", "a,b", "a:b", "\0", "__consumer_offsets\u{7f}"]
            .map(str::to_owned)
            .to_vec();
    names.extend(["x".repeat(250), "x".repeat(249) + "é", "y".repeat(1_000)]);
    names
}

/// The plain request that other families begin with.
pub(super) fn create_one(maker: &mut Maker<'_>, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
    let (_, version) = maker.world.versions.get(&19).copied().unwrap_or((2, 7));
    let configs = configs.iter().map(|(name, value)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    });
    let asked = CreatableTopic::default()
        .with_name(topic_name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![asked]).with_timeout_ms(TIMEOUT_MS);
    maker.send(19, version, &request);
}

/// The plain request that other families end with.
pub(super) fn delete_all(maker: &mut Maker<'_>, topics: &[&str]) {
    let names = topics.iter().map(|topic| topic_name(topic)).collect();
    let request = DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(TIMEOUT_MS);
    maker.send(20, 5, &request);
}

/// Topics in every way that they may be asked for.
pub(super) fn create(maker: &mut Maker<'_>) {
    let existing = maker.topic(2, &[]);
    let mut known = vec![existing.clone()];
    for _ in 0..8 {
        let Some(version) = maker.version(19) else { return };
        let validate_only = maker.random.once_in(3);
        let mut asked = Vec::new();
        let mut made = Vec::new();
        for _ in 0..maker.random.pick(&[0, 1, 1, 1, 1, 2, 3]) {
            let topic = creatable(maker, version, &known);
            made.push(topic.name.to_string());
            if maker.random.once_in(12) {
                asked.push(topic.clone());
            }
            asked.push(topic);
        }
        let timeout_ms = maker.random.pick(&[TIMEOUT_MS, TIMEOUT_MS, TIMEOUT_MS, i32::MAX]);
        let request = CreateTopicsRequest::default()
            .with_topics(asked)
            .with_timeout_ms(timeout_ms)
            .with_validate_only(validate_only);
        maker.send(19, version, &request);
        if !validate_only {
            known.extend(made.into_iter().filter(|name| name.starts_with(&maker.world.tag)));
        }
    }
    known.dedup();
    known.sort();
    known.dedup();
    let topics: Vec<&str> = known.iter().map(String::as_str).collect();
    // Some were refused; deleting them tells which.
    maker.clean_up(&topics);
}

fn creatable(maker: &mut Maker<'_>, version: i16, known: &[String]) -> CreatableTopic {
    let name = match maker.random.below(10) {
        0 => maker.random.pick(&odd_names()),
        1 => maker.random.pick(known),
        // Dots and underscores collide in metric names.
        2 => maker.fresh_topic().replace('-', "."),
        3 => maker.fresh_topic().replace('-', "_"),
        4 => "__consumer_offsets".to_owned(),
        _ => maker.fresh_topic(),
    };
    let internal = name.starts_with("__consumer_offsets");
    let mut topic = CreatableTopic::default()
        .with_name(topic_name(&name))
        .with_num_partitions(maker.random.pick(&[1, 1, 2, 3, -1, 0, -2, i32::MIN]))
        .with_replication_factor(maker.random.pick(&[1, 1, 1, 1, -1, 0, 2, -2, i16::MAX]));
    if version < 4 && maker.random.once_in(2) {
        topic.num_partitions = topic.num_partitions.max(1);
        topic.replication_factor = topic.replication_factor.max(1);
    }
    if maker.random.once_in(6) {
        topic.assignments = assignments(maker);
        if maker.random.once_in(4) {
            // Otherwise both must be -1.
        } else {
            topic.num_partitions = -1;
            topic.replication_factor = -1;
        }
    }
    for _ in 0..maker.random.pick(&[0, 0, 1, 1, 2]) {
        let (name, value) = config(maker);
        topic.configs.push(
            CreatableTopicConfig::default().with_name(text(&name)).with_value(value.as_deref().map(text)),
        );
    }
    if internal {
        // It would change what group requests of other scripts find.
        topic.num_partitions = -5;
    }
    topic
}

fn assignments(maker: &mut Maker<'_>) -> Vec<CreatableReplicaAssignment> {
    let shapes: [&[(i32, &[i32])]; 12] = [
        &[(0, &[1])],
        &[(0, &[1]), (1, &[1])],
        &[(1, &[1]), (0, &[1])],
        &[(0, &[1]), (0, &[1])],
        &[(0, &[1]), (2, &[1])],
        &[(1, &[1])],
        &[(-1, &[1])],
        &[(0, &[])],
        &[(0, &[1, 1])],
        &[(0, &[2])],
        &[(0, &[1]), (1, &[1, 2])],
        &[(0, &[-1])],
    ];
    let shape = maker.random.pick(&shapes);
    shape
        .iter()
        .map(|(partition, brokers)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(*partition)
                .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
        })
        .collect()
}

/// Topic configurations with values that are good, at the edge and wrong.
pub(super) fn config(maker: &mut Maker<'_>) -> (String, Option<String>) {
    let pool: &[(&str, &[&str])] = &[
        (
            "cleanup.policy",
            &[
                "delete",
                "compact",
                "compact,delete",
                "delete,compact",
                "",
                "Compact",
                "none",
                "delete,",
                " delete ",
            ],
        ),
        (
            "compression.type",
            &["producer", "gzip", "snappy", "lz4", "zstd", "uncompressed", "GZIP", "brotli", ""],
        ),
        // No batch that does not fit into a journal of Corelog's: it says so, and names corelog.journal.bytes.
        (
            "max.message.bytes",
            &["0", "1", "1048588", "-1", "20000000", "2147483648", "1e3", "1.5", " 100 ", "x", ""],
        ),
        ("retention.ms", &["-1", "0", "1", "-2", "9223372036854775807", "9223372036854775808", "abc"]),
        ("retention.bytes", &["-1", "0", "-2", "100", "-9223372036854775808"]),
        ("segment.bytes", &["14", "13", "1048576", "1048575", "0", "-1", "1073741824", "2147483648"]),
        ("segment.ms", &["1", "0", "-1", "604800000"]),
        ("segment.jitter.ms", &["0", "-1", "5"]),
        ("segment.index.bytes", &["0", "4", "3", "10485760"]),
        ("index.interval.bytes", &["0", "-1", "4096"]),
        ("flush.messages", &["0", "1", "9223372036854775807"]),
        ("flush.ms", &["-1", "0", "9223372036854775807"]),
        ("min.insync.replicas", &["1", "0", "2", "-1"]),
        ("min.cleanable.dirty.ratio", &["0", "1", "0.5", "1.1", "-0.1", "NaN", "x"]),
        ("min.compaction.lag.ms", &["0", "-1", "100"]),
        ("max.compaction.lag.ms", &["0", "1", "100"]),
        ("delete.retention.ms", &["0", "-1", "100"]),
        ("file.delete.delay.ms", &["0", "-1", "60000"]),
        ("message.timestamp.type", &["CreateTime", "LogAppendTime", "createtime", "NoTimestampType", ""]),
        ("message.timestamp.before.max.ms", &["0", "-1", "100", "9223372036854775807"]),
        ("message.timestamp.after.max.ms", &["0", "-1", "100", "9223372036854775807"]),
        ("message.timestamp.difference.max.ms", &["100"]),
        ("message.format.version", &["3.0"]),
        ("message.downconversion.enable", &["true"]),
        ("preallocate", &["true", "false", "TRUE", "yes", "0", " true "]),
        ("unclean.leader.election.enable", &["true", "false", "maybe"]),
        ("leader.replication.throttled.replicas", &["", "*", "0:1", "0:1,1:1", "0", "none"]),
        ("follower.replication.throttled.replicas", &["", "*", "0:1"]),
        ("remote.storage.enable", &["false", "true"]),
        ("local.retention.ms", &["-2", "-1", "100", "-3"]),
        ("local.retention.bytes", &["-2", "-3"]),
        ("remote.log.copy.disable", &["false"]),
        ("remote.log.delete.on.disable", &["false"]),
        ("no.such.config", &["1", ""]),
        ("", &["1"]),
        ("Cleanup.Policy", &["delete"]),
        ("log.retention.ms", &["1"]),
    ];
    let (name, values) = maker.random.pick(pool);
    let value = if maker.random.once_in(15) { None } else { Some(maker.random.pick(values).to_owned()) };
    (name.to_owned(), value)
}

/// Topics in every way that they may be deleted.
pub(super) fn delete(maker: &mut Maker<'_>) {
    let mut topics: Vec<String> = (0..4).map(|_| maker.topic(1, &[])).collect();
    let mut gone: Vec<String> = Vec::new();
    for _ in 0..6 {
        let Some(version) = maker.version(20) else { return };
        let timeout_ms = TIMEOUT_MS;
        let mut victims: Vec<String> = Vec::new();
        let mut states = Vec::new();
        for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2, 3]) {
            let name = match maker.random.below(6) {
                0 => maker.random.pick(&odd_names()),
                1 => maker.fresh_topic(),
                2 if !gone.is_empty() => maker.random.pick(&gone),
                _ => match topics.pop() {
                    Some(topic) => {
                        victims.push(topic.clone());
                        topic
                    }
                    None => "no-such-topic".to_owned(),
                },
            };
            let state = DeleteTopicState::default();
            let state = match maker.random.below(12) {
                0 => state.with_name(Some(topic_name(&name))).with_topic_id(topic_id(&name)),
                1 => state.with_name(None),
                2 => state.with_name(None).with_topic_id(Uuid::from_bytes([9; 16])),
                3..=6 => state.with_name(None).with_topic_id(topic_id(&name)),
                _ => state.with_name(Some(topic_name(&name))),
            };
            if maker.random.once_in(8) {
                states.push(state.clone());
            }
            states.push(state);
        }
        let mut request = DeleteTopicsRequest::default().with_timeout_ms(timeout_ms);
        if version >= 6 {
            request.topics = states;
        } else {
            request.topic_names = states.into_iter().filter_map(|state| state.name).collect();
        }
        maker.send(20, version, &request);
        gone.extend(victims.clone());
    }
    // A victim may have been named in a way that is refused: all that is left goes now.
    gone.extend(topics);
    let left: Vec<&str> = gone.iter().map(String::as_str).collect();
    maker.clean_up(&left);
    debug_assert!(matches!(maker.steps.last(), Some(Step::Gone(_))));
}
