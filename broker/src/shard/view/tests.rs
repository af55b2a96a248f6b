//! What a version means for a core: each of its partitions once.

use corelog_logic::controller::{ConfigRecord, Delta, PartitionRecord, Record, TopicRecord};

use super::*;

#[test]
fn a_topic_that_is_created_with_configurations_has_its_logs_opened_once() {
    let topic_id = TopicId([7; 16]);
    let mut image = MetadataImage::default();
    let mut delta = Delta::default();
    let records = [
        Record::Topic(TopicRecord { name: "orders".to_owned(), topic_id }),
        Record::Partition(PartitionRecord {
            topic_id,
            partition: 0,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            log_id: 5,
        }),
        Record::Config(ConfigRecord {
            resource: ConfigResource::topic("orders"),
            name: "segment.bytes".to_owned(),
            value: Some("1048576".to_owned()),
        }),
    ];
    for record in &records {
        image.replay(record, &mut delta).expect("sound records");
    }
    let image = Arc::new(image);
    let mut view = View::new(Core(0), 1, 1);
    let change = view.plan(&Published { image: image.clone(), delta: Arc::new(delta) }, &Given::default());
    assert_eq!(change.assigned.len(), 1);
    assert_eq!(change.assigned[0].config.segment_bytes, 1_048_576);
    view.show(image.clone());

    // A change of configurations alone still reaches its partitions.
    let mut delta = Delta::default();
    delta.configs_changed.insert(ConfigResource::topic("orders"));
    let change = view.plan(&Published { image, delta: Arc::new(delta) }, &Given::default());
    assert_eq!(change.assigned.len(), 1);
}
