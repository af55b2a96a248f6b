//! What a core knows of the metadata: the newest image it has taken over, and which core owns which partition.
//!
//! Pure. Every core places the same partitions in the same order, and so comes to the same table without asking anybody.
//! Deliberately absent: opening logs (`drive`), which happens before a new view is shown.

use std::sync::Arc;

use corelog_logic::controller::{ConfigResource, MetadataImage, ResourceKind, TopicId, TopicImage};

use super::Core;
use super::message::Published;
use super::placement::Placement;
use crate::config::{BrokerValues, CleanerConfig, Given, TopicConfig};
use crate::drive::Assignment;
use crate::drive::tasks::PartitionId;

/// A core's view of the metadata.
#[derive(Debug)]
pub struct View {
    core: Core,
    node_id: i32,
    image: Arc<MetadataImage>,
    placement: Placement,
}

/// The cores of all partitions of an image, as a fresh [`View`] places them.
pub fn placement_of(image: &MetadataImage, cores: u16) -> Placement {
    let mut placement = Placement::new(cores);
    for topic in image.topics() {
        for partition in 0..topic.partitions.len() as i32 {
            placement.place(topic.id.0, partition);
        }
    }
    placement
}

/// What a new version means for one core.
#[derive(Debug, Default)]
pub struct Change {
    /// Partitions of this core that are new or may have changed.
    pub assigned: Vec<Assignment>,
    /// Topics that are gone.
    pub removed: Vec<TopicId>,
    /// How long an idle producer is remembered, in milliseconds (`producer.id.expiration.ms`).
    pub producer_id_expiration_ms: Option<i64>,
    /// What the core's cleaner goes by.
    pub cleaner: CleanerConfig,
}

impl View {
    /// The view of a core that knows nothing yet.
    pub fn new(core: Core, cores: u16, node_id: i32) -> Self {
        Self { core, node_id, image: Arc::default(), placement: Placement::new(cores) }
    }

    /// The newest image.
    pub fn image(&self) -> &Arc<MetadataImage> {
        &self.image
    }

    /// The core that owns a partition.
    pub fn core_of(&self, id: &PartitionId) -> Option<Core> {
        self.placement.core_of(id.topic_id.0, id.partition)
    }

    /// How many cores there are.
    pub fn cores(&self) -> u16 {
        self.placement.load().len() as u16
    }

    /// Shows a version whose logs are open.
    pub fn show(&mut self, image: Arc<MetadataImage>) {
        self.image = image;
    }

    /// Places the partitions of the version after the shown one, and says what it means for this core. `given` supplies
    /// what the broker was started with. Versions are planned and shown in turn.
    pub fn plan(&mut self, published: &Published, given: &Given) -> Change {
        let Published { image, delta } = published;
        let broker = BrokerValues::new(image, self.node_id, given);
        let expiration = broker.get("producer.id.expiration.ms").and_then(|text| text.trim().parse().ok());
        let cleaner = CleanerConfig::resolve(&broker);
        let mut change = Change { producer_id_expiration_ms: expiration, cleaner, ..Change::default() };
        if delta.whole {
            let gone: Vec<TopicImage> =
                self.image.topics().filter(|topic| image.topic(&topic.id).is_none()).cloned().collect();
            for topic in &gone {
                self.remove(topic, &mut change);
            }
            for topic in image.topics() {
                self.assign(topic, image, &broker, &mut change);
            }
        } else {
            for topic in delta.topics_removed.values() {
                self.remove(topic, &mut change);
            }
            // What all topics fall back to has changed: each of them is looked at.
            let all = delta.configs_changed.iter().any(|resource| resource.kind == ResourceKind::Broker);
            let every = image.topics().filter(|_| all);
            // A topic that is created with configurations is in both; its logs must be opened once.
            let reconfigured = delta.configs_changed.iter().filter_map(|resource| match resource.kind {
                ResourceKind::Topic if !all => image
                    .topic_by_name(&resource.name)
                    .filter(|topic| !delta.topics_changed.contains(&topic.id)),
                _ => None,
            });
            let changed = delta.topics_changed.iter().filter_map(|topic_id| image.topic(topic_id));
            for topic in changed.filter(|_| !all).chain(reconfigured).chain(every) {
                self.assign(topic, image, &broker, &mut change);
            }
        }
        change
    }

    fn remove(&mut self, topic: &TopicImage, change: &mut Change) {
        for partition in 0..topic.partitions.len() as i32 {
            self.placement.remove(topic.id.0, partition);
        }
        change.removed.push(topic.id);
    }

    fn assign(
        &mut self,
        topic: &TopicImage,
        image: &MetadataImage,
        broker: &BrokerValues<'_>,
        change: &mut Change,
    ) {
        let resource = ConfigResource::topic(&*topic.name);
        let config = TopicConfig::resolve(|name| image.config(&resource, name), broker);
        for (partition, state) in (0_i32..).zip(&topic.partitions) {
            if self.placement.place(topic.id.0, partition) == self.core {
                change.assigned.push(Assignment {
                    id: PartitionId { topic_id: topic.id, partition },
                    topic: topic.name.to_string(),
                    log_id: state.log_id,
                    leader_epoch: state.leader_epoch,
                    config,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
