//! The group coordinators of this core: one for each partition of `__consumer_offsets` that it owns.
//!
//! `shard` tells of partitions and metadata, and hands requests in. What a request means is decided in `logic`; `coordinator` carries it out.
//! Deliberately absent: which partition a group lives in, which the asker knows.

mod append;
mod coordinator;
mod load;
mod owed;
mod pace;
mod wait;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use corelog_logic::controller::{Delta, MetadataImage, TopicId};
use corelog_logic::group::{GroupConfig, GroupErrorKind};
use corelog_storage::batch::Compression;

use super::tasks::{GroupOutcome, GroupTask, PartitionId};
use super::{Partition, Partitions};
use coordinator::Coordinator;
use pace::Pace;

/// The topic that groups are kept in.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// What all coordinators of a core have in common.
#[derive(Debug, Clone)]
pub struct GroupSettings {
    /// The rules.
    pub config: GroupConfig,
    /// `offsets.topic.compression.codec`.
    pub compression: Compression,
    /// `group.coordinator.append.linger.ms`.
    pub append_linger_ms: i64,
}

/// A core's group coordinators.
pub struct Groups {
    settings: Rc<GroupSettings>,
    pace: Rc<Pace>,
    partitions: Rc<Partitions>,
    /// The newest metadata, for decisions that look at topics.
    image: Rc<RefCell<Arc<MetadataImage>>>,
    coordinators: RefCell<HashMap<PartitionId, Rc<Coordinator>>>,
}

impl Groups {
    /// None yet.
    pub fn new(settings: GroupSettings, partitions: Rc<Partitions>) -> Rc<Self> {
        Rc::new(Self {
            pace: Rc::new(Pace::new(settings.append_linger_ms, Instant::now())),
            settings: Rc::new(settings),
            partitions,
            image: Rc::default(),
            coordinators: RefCell::default(),
        })
    }

    /// Takes newer metadata over: `mine` are the partitions of `__consumer_offsets` on this core that may be new, `removed` the topics
    /// that are gone, with their names where anybody may have committed offsets for them.
    pub fn apply(
        &self,
        image: Arc<MetadataImage>,
        delta: &Arc<Delta>,
        mine: &[PartitionId],
        removed: &[(TopicId, Arc<str>)],
    ) {
        self.image.replace(image);
        for coordinator in self.coordinators.borrow().values() {
            coordinator.metadata_changed(Arc::clone(delta));
        }
        for (topic_id, name) in removed {
            let gone: Vec<PartitionId> =
                self.coordinators.borrow().keys().filter(|id| id.topic_id == *topic_id).copied().collect();
            for id in gone {
                if let Some(coordinator) = self.coordinators.borrow_mut().remove(&id) {
                    coordinator.end();
                }
            }
            for coordinator in self.coordinators.borrow().values() {
                coordinator.topic_deleted(name.clone());
            }
        }
        for id in mine {
            let Some(partition) = self.partitions.get(id) else { continue };
            self.coordinators.borrow_mut().entry(*id).or_insert_with(|| self.start(partition));
        }
    }

    /// Ends the coordinators of partitions that cannot be used any more: nothing that they decide could be kept.
    pub fn end_offline(&self) {
        self.coordinators.borrow_mut().retain(|_, coordinator| {
            let is_online = coordinator.is_online();
            if !is_online {
                coordinator.end();
            }
            is_online
        });
    }

    fn start(&self, partition: Rc<Partition>) -> Rc<Coordinator> {
        let coordinator =
            Coordinator::new(partition, self.settings.clone(), self.pace.clone(), self.image.clone());
        glommio::spawn_local(coordinator.clone().run(self.partitions.clone())).detach();
        coordinator
    }

    /// Answers a request for the groups of one partition, when its turn and its time have come.
    pub async fn handle(self: Rc<Self>, task: GroupTask) -> GroupOutcome {
        let GroupTask { partition, image_version, request } = task;
        // Waits until this core has the metadata that the request was routed with.
        self.partitions.find(&partition, image_version).await.map_err(|_| GroupErrorKind::NotCoordinator)?;
        let coordinator = self.coordinators.borrow().get(&partition).cloned();
        coordinator.ok_or(GroupErrorKind::NotCoordinator)?.ask(request).await
    }

    /// Groups and committed offsets on this core.
    pub fn counts(&self) -> (u64, u64) {
        let coordinators = self.coordinators.borrow();
        coordinators
            .values()
            .map(|coordinator| coordinator.counts())
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }
}
