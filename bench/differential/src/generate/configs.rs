//! DescribeConfigs: topics and brokers, all keys and some, with and without synonyms and documentation.

use kafka_protocol::messages::DescribeConfigsRequest;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;

use super::{Maker, text, topics};

/// Requests over a topic of the script, the fixtures and the broker.
pub(super) fn any(maker: &mut Maker<'_>) {
    let configs: Vec<(String, String)> = {
        let own: &[&[(&str, &str)]] = &[
            &[("cleanup.policy", "compact")],
            &[("retention.ms", "1000"), ("max.message.bytes", "5000")],
            &[("min.insync.replicas", "1"), ("compression.type", "lz4"), ("segment.bytes", "1048576")],
        ];
        maker.random.pick(own).iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let borrowed: Vec<(&str, &str)> =
        configs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let own = maker.topic(1, &borrowed);
    for _ in 0..8 {
        let Some(version) = maker.version(32) else { return };
        let mut request = DescribeConfigsRequest::default().with_include_synonyms(maker.random.once_in(2));
        if version >= 3 {
            request.include_documentation = maker.random.once_in(2);
        }
        for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2]) {
            request.resources.push(resource(maker, &own));
        }
        maker.send(32, version, &request);
    }
    maker.clean_up(&[&own]);
}

fn resource(maker: &mut Maker<'_>, own: &str) -> DescribeConfigsResource {
    let fixtures = maker.world.fixtures();
    let (kind, name) = match maker.random.below(16) {
        0..=4 => (2, own.to_owned()),
        5 => (2, maker.random.pick(&fixtures).0),
        6 => (2, "no-such-topic".to_owned()),
        7 => (2, maker.random.pick(&topics::odd_names())),
        8..=10 => (4, "1".to_owned()),
        11 => (4, maker.random.pick(&["", "2", "x", "-1", "01", "1 "]).to_owned()),
        12 => (maker.random.pick(&[0, 1, 3, 64, 127, -1]), "1".to_owned()),
        13 => (16, "subscription".to_owned()),
        14 => (32, "some-group".to_owned()),
        _ => (8, maker.random.pick(&["2", "x", ""]).to_owned()),
    };
    let keys: Option<&[&str]> = match maker.random.below(6) {
        0 => Some(&[]),
        1 => Some(&["cleanup.policy", "retention.ms"]),
        2 => Some(&["retention.ms", "retention.ms", "no.such.key", ""]),
        3 => Some(&["log.retention.hours", "num.partitions", "broker.id"]),
        _ => None,
    };
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(&name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()))
}
