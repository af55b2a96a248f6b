//! The metadata image: an immutable, cheaply cloned value that `replay` moves from version to version.
//!
//! The control thread replays committed records and publishes the image to every core; `decide` looks at a speculative one.
//! Persistent maps share what did not change, so a clone costs nothing. Deliberately absent: who gets an image, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, Vector};

use super::records::{
    ConfigRecord, ConfigResource, FeatureLevelRecord, Listener, PartitionRecord, ProducerIdsRecord, Record,
    RegisterBrokerRecord, ResourceKind, TopicId, TopicRecord,
};
use super::topic_name::collision_key;

/// All metadata of a cluster at one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataImage {
    /// Index of the last log entry that is in it; 0 for the empty image. Set by who commits, not by `replay`.
    pub version: u64,
    topics: OrdMap<TopicId, TopicImage>,
    topic_ids: OrdMap<Arc<str>, TopicId>,
    /// Names with '.' or '_', by what they would be with '_' only.
    collisions: OrdMap<String, Arc<str>>,
    configs: OrdMap<ConfigResource, OrdMap<String, String>>,
    brokers: OrdMap<i32, BrokerImage>,
    features: OrdMap<String, i16>,
    next_producer_id: i64,
    next_broker_epoch: i64,
    partition_count: usize,
}

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// Its identity.
    pub id: TopicId,
    /// Partition n is at n.
    pub partitions: Vector<PartitionImage>,
}

/// State of a partition. Fields as in [`PartitionRecord`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionImage {
    /// Node ids, preferred leader first.
    pub replicas: Vec<i32>,
    /// Node ids of the replicas in sync.
    pub isr: Vec<i32>,
    /// Node id of the leader; -1 for none.
    pub leader: i32,
    /// Grows with each leader.
    pub leader_epoch: i32,
    /// Grows with each change.
    pub partition_epoch: i32,
    /// Names this incarnation of the log for storage.
    pub log_id: u64,
}

/// A registered broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerImage {
    /// Random for each start of the process.
    pub incarnation_id: TopicId,
    /// Grows with each registration in the cluster.
    pub epoch: i64,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// What differs between two images, so that a core need not compare them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Everything may differ: the first image of a process, or one from another node's snapshot.
    pub whole: bool,
    /// Topics that are new or whose partitions changed.
    pub topics_changed: BTreeSet<TopicId>,
    /// Topics that are gone, as they were.
    pub topics_removed: BTreeMap<TopicId, TopicImage>,
    /// Resources of which a configuration changed.
    pub configs_changed: BTreeSet<ConfigResource>,
    /// Whether brokers or features changed.
    pub cluster_changed: bool,
}

impl Delta {
    /// A delta that says nothing but "look at everything".
    pub fn whole() -> Self {
        Self { whole: true, ..Self::default() }
    }

    /// Whether nothing changed that a core looks at (producer ids, for example, are the control thread's).
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A record that does not fit the image it is replayed on: the log is not the one that made this image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a committed metadata record does not fit the image of version {version}: {what}")]
pub struct ReplayError {
    /// Version of the image.
    pub version: u64,
    /// What does not fit.
    pub what: String,
}

impl MetadataImage {
    /// The topic of this identity.
    pub fn topic(&self, id: &TopicId) -> Option<&TopicImage> {
        self.topics.get(id)
    }

    /// The topic of this name.
    pub fn topic_by_name(&self, name: &str) -> Option<&TopicImage> {
        self.topics.get(self.topic_ids.get(name)?)
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &TopicImage> {
        self.topic_ids.values().filter_map(|id| self.topics.get(id))
    }

    /// The topics with names after this one, by name.
    pub fn topics_after(&self, name: &str) -> impl Iterator<Item = &TopicImage> {
        let after = (Bound::Excluded(name), Bound::Unbounded);
        self.topic_ids.range::<_, str>(after).filter_map(|(_, id)| self.topics.get(id))
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// How many partitions there are in all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// One partition of a topic.
    pub fn partition(&self, id: &TopicId, partition: i32) -> Option<&PartitionImage> {
        self.topics.get(id)?.partition(partition)
    }

    /// The topic whose name cannot be told from `name` in metric names, and is another one (Kafka's `Topic.hasCollision`).
    pub fn colliding_topic(&self, name: &str) -> Option<&Arc<str>> {
        self.collisions.get(&collision_key(name)?).filter(|other| other.as_ref() != name)
    }

    /// A configuration that was set on a resource; defaults are elsewhere.
    pub fn config(&self, resource: &ConfigResource, name: &str) -> Option<&str> {
        self.configs.get(resource)?.get(name).map(String::as_str)
    }

    /// All configurations set on a resource, by name.
    pub fn configs(&self, resource: &ConfigResource) -> impl Iterator<Item = (&str, &str)> {
        self.configs.get(resource).into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The resources of a kind that have configurations of their own, by name.
    pub fn configured(&self, kind: ResourceKind) -> impl Iterator<Item = &ConfigResource> {
        let first = ConfigResource { kind, name: String::new() };
        self.configs.range(first..).map(|(resource, _)| resource).take_while(move |one| one.kind == kind)
    }

    /// A registered broker.
    pub fn broker(&self, node_id: i32) -> Option<&BrokerImage> {
        self.brokers.get(&node_id)
    }

    /// All registered brokers by node id.
    pub fn brokers(&self) -> impl Iterator<Item = (i32, &BrokerImage)> {
        self.brokers.iter().map(|(id, broker)| (*id, broker))
    }

    /// Finalized features and their levels.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// The first producer id that nobody has.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// The epoch that the next registration of a broker gets.
    pub fn next_broker_epoch(&self) -> i64 {
        self.next_broker_epoch
    }

    /// Applies one record and notes in `delta` what it changed.
    ///
    /// # Errors
    /// A record that speaks of what is not there, or is there already; the image is then as it was.
    pub fn replay(&mut self, record: &Record, delta: &mut Delta) -> Result<(), ReplayError> {
        match record {
            Record::Topic(record) => self.replay_topic(record, delta)?,
            Record::Partition(record) => self.replay_partition(record, delta)?,
            Record::PartitionChange(record) => {
                let version = self.version;
                let partition = self
                    .topics
                    .get_mut(&record.topic_id)
                    .and_then(|topic| topic.partitions.get_mut(usize::try_from(record.partition).ok()?))
                    .ok_or_else(|| ReplayError {
                        version,
                        what: format!(
                            "partition {} of topic {} is not there",
                            record.partition, record.topic_id
                        ),
                    })?;
                if let Some(leader) = record.leader {
                    partition.leader = leader;
                    partition.leader_epoch += 1;
                }
                if let Some(isr) = &record.isr {
                    partition.isr.clone_from(isr);
                }
                partition.partition_epoch += 1;
                delta.topics_changed.insert(record.topic_id);
            }
            Record::RemoveTopic(record) => {
                let Some(topic) = self.topics.remove(&record.topic_id) else {
                    return Err(self.misfit(format!("topic {} is not there", record.topic_id)));
                };
                self.topic_ids.remove(&topic.name);
                if let Some(key) = collision_key(&topic.name) {
                    self.collisions.remove(&key);
                }
                self.partition_count -= topic.partitions.len();
                let resource = ConfigResource::topic(&*topic.name);
                if self.configs.remove(&resource).is_some() {
                    delta.configs_changed.insert(resource);
                }
                delta.topics_changed.remove(&record.topic_id);
                delta.topics_removed.insert(record.topic_id, topic);
            }
            Record::Config(record) => self.replay_config(record, delta),
            Record::RegisterBroker(record) => {
                let broker = BrokerImage {
                    incarnation_id: record.incarnation_id,
                    epoch: record.broker_epoch,
                    listeners: record.listeners.clone(),
                    rack: record.rack.clone(),
                };
                self.brokers.insert(record.broker_id, broker);
                self.next_broker_epoch = self.next_broker_epoch.max(record.broker_epoch + 1);
                delta.cluster_changed = true;
            }
            Record::ProducerIds(record) => {
                self.next_producer_id = self.next_producer_id.max(record.next_producer_id);
            }
            Record::FeatureLevel(record) => {
                if record.feature_level == 0 {
                    self.features.remove(&record.name);
                } else {
                    self.features.insert(record.name.clone(), record.feature_level);
                }
                delta.cluster_changed = true;
            }
        }
        Ok(())
    }

    fn replay_topic(&mut self, record: &TopicRecord, delta: &mut Delta) -> Result<(), ReplayError> {
        if self.topics.contains_key(&record.topic_id) || self.topic_ids.contains_key(record.name.as_str()) {
            return Err(self.misfit(format!("topic {} ({}) is there already", record.name, record.topic_id)));
        }
        let name: Arc<str> = record.name.as_str().into();
        if let Some(key) = collision_key(&name) {
            self.collisions.insert(key, Arc::clone(&name));
        }
        self.topic_ids.insert(Arc::clone(&name), record.topic_id);
        let topic = TopicImage { name, id: record.topic_id, partitions: Vector::new() };
        self.topics.insert(record.topic_id, topic);
        delta.topics_changed.insert(record.topic_id);
        Ok(())
    }

    fn replay_partition(&mut self, record: &PartitionRecord, delta: &mut Delta) -> Result<(), ReplayError> {
        let version = self.version;
        let misfit = |what: String| ReplayError { version, what };
        let Some(topic) = self.topics.get_mut(&record.topic_id) else {
            return Err(misfit(format!("topic {} is not there", record.topic_id)));
        };
        // Partitions come in order, without holes: that is how `decide` makes them and how snapshots list them.
        if usize::try_from(record.partition).ok() != Some(topic.partitions.len()) {
            let (name, there) = (&topic.name, topic.partitions.len());
            return Err(misfit(format!(
                "partition {} of {name} does not follow {there} others",
                record.partition
            )));
        }
        topic.partitions.push_back(PartitionImage {
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            log_id: record.log_id,
        });
        self.partition_count += 1;
        delta.topics_changed.insert(record.topic_id);
        Ok(())
    }

    fn replay_config(&mut self, record: &ConfigRecord, delta: &mut Delta) {
        let mut configs = self.configs.get(&record.resource).cloned().unwrap_or_default();
        match &record.value {
            Some(value) => configs.insert(record.name.clone(), value.clone()),
            None => configs.remove(&record.name),
        };
        if configs.is_empty() {
            self.configs.remove(&record.resource);
        } else {
            self.configs.insert(record.resource.clone(), configs);
        }
        delta.configs_changed.insert(record.resource.clone());
    }

    fn misfit(&self, what: String) -> ReplayError {
        ReplayError { version: self.version, what }
    }

    /// The records that make this image out of the empty one: the content of a snapshot. The version is not in them.
    pub fn to_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (name, level) in &self.features {
            records
                .push(Record::FeatureLevel(FeatureLevelRecord { name: name.clone(), feature_level: *level }));
        }
        for (broker_id, broker) in &self.brokers {
            records.push(Record::RegisterBroker(RegisterBrokerRecord {
                broker_id: *broker_id,
                incarnation_id: broker.incarnation_id,
                broker_epoch: broker.epoch,
                listeners: broker.listeners.clone(),
                rack: broker.rack.clone(),
            }));
        }
        for topic in self.topics() {
            records.push(Record::Topic(TopicRecord { name: topic.name.to_string(), topic_id: topic.id }));
            for (partition, state) in topic.partitions.iter().enumerate() {
                records.push(Record::Partition(PartitionRecord {
                    topic_id: topic.id,
                    partition: partition as i32,
                    replicas: state.replicas.clone(),
                    isr: state.isr.clone(),
                    leader: state.leader,
                    leader_epoch: state.leader_epoch,
                    partition_epoch: state.partition_epoch,
                    log_id: state.log_id,
                }));
            }
        }
        for (resource, configs) in &self.configs {
            for (name, value) in configs {
                records.push(Record::Config(ConfigRecord {
                    resource: resource.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                }));
            }
        }
        if self.next_producer_id > 0 {
            let next_producer_id = self.next_producer_id;
            records.push(Record::ProducerIds(ProducerIdsRecord { broker_id: -1, next_producer_id }));
        }
        records
    }

    /// The image that `records` make out of the empty one.
    ///
    /// # Errors
    /// Records that do not fit each other.
    pub fn from_records(records: &[Record]) -> Result<Self, ReplayError> {
        let mut image = Self::default();
        let mut ignored = Delta::default();
        for record in records {
            image.replay(record, &mut ignored)?;
        }
        Ok(image)
    }

    /// Names of the topics that have configurations of their own but do not exist: always empty, asserted by tests.
    #[cfg(test)]
    pub(super) fn orphaned_configs(&self) -> Vec<&ConfigResource> {
        let orphaned = |r: &&ConfigResource| {
            r.kind == super::ResourceKind::Topic && !self.topic_ids.contains_key(r.name.as_str())
        };
        self.configs.keys().filter(orphaned).collect()
    }
}

impl TopicImage {
    /// The partition of this number.
    pub fn partition(&self, partition: i32) -> Option<&PartitionImage> {
        self.partitions.get(usize::try_from(partition).ok()?)
    }
}
