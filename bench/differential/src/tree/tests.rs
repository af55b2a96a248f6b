//! The `Debug` text of the protocol crate's structures is read back whole.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use kafka_protocol::messages::{BrokerId, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::Tree;

#[test]
fn every_kind_of_value_is_read_by_its_name() {
    let response = MetadataResponse::default()
        .with_brokers(vec![
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(-7))
                .with_host(StrBytes::from_static_str("a \"quoted\"\n{host}")),
        ])
        .with_topics(vec![
            MetadataResponseTopic::default()
                .with_name(Some(TopicName(StrBytes::from_static_str("t"))))
                .with_topic_id(Uuid::from_bytes([7; 16])),
        ])
        .with_unknown_tagged_fields(BTreeMap::from([(3, Bytes::from_static(b"\x00\"\\a\xff"))]));
    let tree = Tree::of_debug(&response).expect("a tree");
    let Some(Tree::List(brokers)) = tree.field("brokers") else { panic!("{tree}") };
    assert_eq!(brokers[0].field("node_id"), Some(&Tree::Atom("-7".to_owned())));
    assert_eq!(brokers[0].field("host"), Some(&Tree::Text("a \"quoted\"\n{host}".to_owned())));
    assert_eq!(brokers[0].field("rack"), Some(&Tree::Null));
    let Some(Tree::List(topics)) = tree.field("topics") else { panic!("{tree}") };
    assert_eq!(topics[0].field("name"), Some(&Tree::Text("t".to_owned())));
    assert_eq!(
        topics[0].field("topic_id"),
        Some(&Tree::Atom("07070707-0707-0707-0707-070707070707".to_owned()))
    );
    assert_eq!(topics[0].field("partitions"), Some(&Tree::List(Vec::new())));
    let unknown = tree.field("unknown_tagged_fields").and_then(|fields| fields.field("3"));
    assert_eq!(unknown, Some(&Tree::Bytes(b"\x00\"\\a\xff".to_vec())));
}
