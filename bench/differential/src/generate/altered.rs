//! AlterConfigs and IncrementalAlterConfigs, and what DescribeConfigs and ListConfigResources say afterwards.
//!
//! A topic's configurations are the script's own; a broker's and a group's are taken back at its end.

use kafka_protocol::messages::alter_configs_request::{
    AlterConfigsResource as PlainResource, AlterableConfig as PlainConfig,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};

use super::{Maker, text, topics};
use crate::script::Step;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Keys of a broker that Kafka can change while it runs, that nothing in these scripts feels; and some that it cannot. Without
/// min.insync.replicas, which has rules of its own where there are eligible leader replicas.
const BROKER_CONFIGS: &[(&str, &[&str])] = &[
    ("log.cleaner.backoff.ms", &["15000", "-1", "x", ""]),
    ("log.cleaner.dedupe.buffer.size", &["134217728", "200000000"]),
    ("log.cleaner.threads", &["1", "2"]),
    ("log.flush.interval.ms", &["1000", "-5"]),
    ("log.segment.bytes", &["1048576", "13", "1073741824"]),
    ("log.roll.ms", &["86400000", "0"]),
    ("log.index.interval.bytes", &["4096", "-1"]),
    ("message.max.bytes", &["1048588", "-1", "2000000"]),
    ("compression.type", &["producer", "nothing"]),
    ("log.preallocate", &["false", "perhaps"]),
    ("log.message.timestamp.type", &["CreateTime", "NoTime"]),
    ("max.connections", &["1000", "-1"]),
    ("max.connections.per.ip", &["100", "-1"]),
    // Not more than the double: there are such threads in Kafka alone, and it says no.
    ("background.threads", &["10", "0", "11"]),
    ("num.io.threads", &["8", "9", "0"]),
    ("num.partitions", &["2"]),
    ("log.dirs", &["/nowhere"]),
    ("broker.id", &["5"]),
    ("auto.create.topics.enable", &["false"]),
    ("no.such.key", &["1"]),
    ("", &["1"]),
];

/// Keys of a group, in their bounds and out of them. None of share groups and streams groups, which Corelog does not have.
const GROUP_CONFIGS: &[(&str, &[&str])] = &[
    ("consumer.session.timeout.ms", &["45000", "60000", "60001", "44999", "0", "x", ""]),
    ("consumer.heartbeat.interval.ms", &["5000", "15000", "15001", "4999", "-1", "5000.5"]),
    ("consumer.assignment.interval.ms", &["0", "15000", "15001", "-1", " 700 "]),
    ("no.such.key", &["1"]),
    ("", &["1"]),
];

/// Values given and taken back over a topic of the script and the broker.
pub(super) fn any(maker: &mut Maker<'_>) {
    let own = maker.topic(1, &[("retention.ms", "5000")]);
    for _ in 0..10 {
        match maker.random.below(8) {
            0..=2 => incremental(maker, &own),
            3 | 4 => plain(maker, &own),
            5 => list(maker),
            _ => describe(maker, &own),
        }
    }
    take_back(maker);
    maker.clean_up(&[&own]);
}

/// A kind of resource and its name.
fn resource(maker: &mut Maker<'_>, own: &str) -> (i8, String) {
    match maker.random.below(22) {
        0..=7 => (TOPIC, own.to_owned()),
        8 => (TOPIC, "no-such-topic".to_owned()),
        9 => (TOPIC, maker.random.pick(&topics::odd_names())),
        10 | 11 => (BROKER, "1".to_owned()),
        12 => (BROKER, String::new()),
        13 => (BROKER, maker.random.pick(&["2", "x", "-1"]).to_owned()),
        18..=20 => (GROUP, group(maker)),
        21 => (GROUP, String::new()),
        14 => (8, maker.random.pick(&["1", "2", ""]).to_owned()),
        _ => (maker.random.pick(&[0, 1, 3, 64, 127, -1]), "1".to_owned()),
    }
}

/// A group that nobody is in.
fn group(maker: &Maker<'_>) -> String {
    format!("{}-group", maker.prefix)
}

fn config(maker: &mut Maker<'_>, kind: i8) -> (String, Option<String>) {
    let (name, values) = match kind {
        BROKER => maker.random.pick(BROKER_CONFIGS),
        GROUP => maker.random.pick(GROUP_CONFIGS),
        _ => return topics::config(maker),
    };
    let value = if maker.random.once_in(15) { None } else { Some(maker.random.pick(values).to_owned()) };
    (name.to_owned(), value)
}

fn incremental(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(44) else { return };
    let mut request = IncrementalAlterConfigsRequest::default().with_validate_only(maker.random.once_in(3));
    for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2]) {
        let (kind, name) = resource(maker, own);
        let mut resource =
            AlterConfigsResource::default().with_resource_type(kind).with_resource_name(text(&name));
        for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2, 3]) {
            let (name, value) = config(maker, kind);
            // None that does not exist: Kafka stumbles over it, and fails the whole request without a word.
            let operation = maker.random.pick(&[SET, SET, SET, DELETE, DELETE, 2, 3]);
            resource.configs.push(
                AlterableConfig::default()
                    .with_name(text(&name))
                    .with_config_operation(operation)
                    .with_value(value.as_deref().map(text)),
            );
        }
        request.resources.push(resource);
    }
    maker.send(44, version, &request);
    maker.steps.push(Step::Settled);
}

fn plain(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(33) else { return };
    let mut request = AlterConfigsRequest::default().with_validate_only(maker.random.once_in(3));
    // One at most: of several none of which is fit to be asked the controller for, Kafka says nothing, ever.
    for _ in 0..maker.random.pick(&[0, 1, 1, 1]) {
        let (kind, name) = resource(maker, own);
        if kind == BROKER && name.is_empty() {
            // Kafka has given all brokers min.insync.replicas, and would not let go of it.
            continue;
        }
        let mut resource = PlainResource::default().with_resource_type(kind).with_resource_name(text(&name));
        for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2, 3]) {
            let (name, value) = config(maker, kind);
            resource
                .configs
                .push(PlainConfig::default().with_name(text(&name)).with_value(value.as_deref().map(text)));
        }
        request.resources.push(resource);
    }
    maker.send(33, version, &request);
    maker.steps.push(Step::Settled);
}

fn describe(maker: &mut Maker<'_>, own: &str) {
    let Some(version) = maker.version(32) else { return };
    let (kind, name) = if maker.random.once_in(3) {
        (BROKER, maker.random.pick(&["1", ""]).to_owned())
    } else if maker.random.once_in(3) {
        (GROUP, group(maker))
    } else {
        (TOPIC, own.to_owned())
    };
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(&name))
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_include_synonyms(true).with_resources(vec![resource]);
    maker.send(32, version, &request);
}

fn list(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(74) else { return };
    let mut request = ListConfigResourcesRequest::default();
    if version >= 1 {
        let kinds: &[&[i8]] =
            &[&[], &[2], &[4], &[8], &[16], &[32], &[2, 4, 8], &[16, 16], &[0], &[1, 2], &[-1]];
        request.resource_types = maker.random.pick(kinds).to_vec();
    }
    maker.send(74, version, &request);
}

/// Whatever a broker or the group was given goes.
fn take_back(maker: &mut Maker<'_>) {
    let Some((_, version)) = maker.world.versions.get(&44).copied() else { return };
    let deleted = GROUP_CONFIGS
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, _)| AlterableConfig::default().with_name(text(name)).with_config_operation(DELETE));
    let of_group = AlterConfigsResource::default()
        .with_resource_type(GROUP)
        .with_resource_name(text(&group(maker)))
        .with_configs(deleted.collect());
    maker.send(44, version, &IncrementalAlterConfigsRequest::default().with_resources(vec![of_group]));
    for (name, _) in BROKER_CONFIGS {
        let resources = ["1", ""].map(|broker| {
            let config = AlterableConfig::default().with_name(text(name)).with_config_operation(DELETE);
            AlterConfigsResource::default()
                .with_resource_type(BROKER)
                .with_resource_name(text(broker))
                .with_configs(vec![config])
        });
        maker.send(
            44,
            version,
            &IncrementalAlterConfigsRequest::default().with_resources(resources.to_vec()),
        );
    }
    maker.steps.push(Step::Settled);
}
