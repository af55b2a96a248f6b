//! Metadata: all topics, none, some, by name and by id, good and bad; and the creation of topics that are asked for.

use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use uuid::Uuid;

use super::{Maker, topic_id, topic_name, topics};
use crate::script::Step;

/// Requests over the fixtures, and one topic that comes to be.
pub(super) fn any(maker: &mut Maker<'_>) {
    for _ in 0..14 {
        let Some(version) = maker.version(3) else { return };
        let topics = match maker.random.below(8) {
            0 if version >= 1 => None,
            0 | 1 => Some(Vec::new()),
            _ => Some((0..maker.random.pick(&[1, 1, 2, 3])).filter_map(|_| asked(maker, version)).collect()),
        };
        let request = plain(maker, version).with_topics(topics);
        maker.send(3, version, &request);
    }
    if maker.random.once_in(3) {
        created(maker);
    }
}

fn plain(maker: &mut Maker<'_>, version: i16) -> MetadataRequest {
    // Before 4 every missing topic is created: those are asked for in `created` alone.
    let mut request = MetadataRequest::default().with_allow_auto_topic_creation(version < 4);
    if (8..=10).contains(&version) {
        request.include_cluster_authorized_operations = maker.random.once_in(2);
    }
    if version >= 8 {
        request.include_topic_authorized_operations = maker.random.once_in(2);
    }
    request
}

fn asked(maker: &mut Maker<'_>, version: i16) -> Option<MetadataRequestTopic> {
    let fixtures = maker.world.fixtures();
    let name = match maker.random.below(6) {
        0 if version >= 4 => format!("{}-missing", maker.prefix),
        1 => maker.random.pick(&topics::odd_names()),
        _ => maker.random.pick(&fixtures).0,
    };
    let topic = MetadataRequestTopic::default();
    Some(match maker.random.below(10) {
        0 if version >= 10 => topic.with_name(None),
        1 if version >= 10 => topic.with_name(Some(topic_name(&name))).with_topic_id(topic_id(&name)),
        2..=5 if version >= 10 => topic.with_name(None).with_topic_id(topic_id(&name)),
        6 if version >= 10 => topic.with_name(None).with_topic_id(Uuid::from_bytes([9; 16])),
        _ => topic.with_name(Some(topic_name(&name))),
    })
}

/// A topic that comes to be because it is asked for. Kafka answers before it is there, Corelog when it is.
fn created(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(3) else { return };
    let name = maker.fresh_topic();
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
    let request = plain(maker, version).with_allow_auto_topic_creation(true).with_topics(Some(vec![topic]));
    maker.send(3, version, &request);
    maker.steps.push(Step::Exist(vec![name.clone()]));
    maker.send(3, version, &request);
    maker.clean_up(&[&name]);
}
