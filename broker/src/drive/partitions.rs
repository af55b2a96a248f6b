//! The partitions of one core, and the version of the metadata that they correspond to.
//!
//! `reconcile` fills it; requests look partitions up. A request that was routed with newer metadata than this core has
//! waits here until the core has caught up, instead of being told that its partition does not exist.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use corelog_logic::controller::TopicId;
use corelog_storage::StorageError;
use corelog_storage::batch::RecordValidation;
use glommio::sync::Semaphore;

use super::convert::CONVERSIONS_MAX;
use super::partition::now_ms;
use super::tasks::{PartitionError, PartitionId};
use super::{Degraded, Interrupt, Partition};
use crate::config::CleanerConfig;

/// What a core's partitions have in common.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How deep batches are validated.
    pub record_validation: RecordValidation,
    /// How long an idle producer is remembered at first, in milliseconds.
    pub producer_id_expiration_ms: i64,
    /// For tests only.
    pub bugs: Bugs,
}

/// Rules that tests break on purpose, to see that they would notice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bugs {
    /// Answer a repeated batch at once instead of when its original is durable.
    pub answer_duplicates_early: bool,
}

/// A partition, or why its log could not be opened: it is offline then, and its neighbours are not.
type Hosted = Result<Rc<Partition>, StorageError>;

/// A core's partitions by topic id and number.
pub struct Partitions {
    settings: Settings,
    producer_id_expiration_ms: Cell<i64>,
    cleaner: Cell<CleanerConfig>,
    by_topic: RefCell<HashMap<TopicId, HashMap<i32, Hosted>>>,
    version: Cell<u64>,
    interrupt: Interrupt,
    degraded: Degraded,
    /// Batches that may be given another compression at once.
    conversions: Semaphore,
    /// Whoever waits for newer metadata. Bounded by the requests that are under way.
    waiting: RefCell<Vec<Waker>>,
}

impl Partitions {
    /// None yet, at version 0.
    pub fn new(settings: Settings, degraded: Degraded) -> Rc<Self> {
        Rc::new(Self {
            settings,
            producer_id_expiration_ms: Cell::new(settings.producer_id_expiration_ms),
            cleaner: Cell::default(),
            by_topic: RefCell::default(),
            version: Cell::new(0),
            interrupt: Interrupt::default(),
            degraded,
            conversions: Semaphore::new(CONVERSIONS_MAX),
            waiting: RefCell::default(),
        })
    }

    /// What they have in common.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A permit of these for each batch that is given another compression.
    pub(super) fn conversions(&self) -> &Semaphore {
        &self.conversions
    }

    /// What ends this core's waits for new records.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Version of the metadata that this core has taken over.
    pub fn version(&self) -> u64 {
        self.version.get()
    }

    /// A partition that is here now and online.
    pub fn get(&self, id: &PartitionId) -> Option<Rc<Partition>> {
        self.hosted(id)?.ok().filter(|partition| partition.is_online())
    }

    /// A partition whose log could be opened, whatever became of that since.
    pub(super) fn opened(&self, id: &PartitionId) -> Option<Rc<Partition>> {
        self.hosted(id)?.ok()
    }

    /// Whether its log is in a directory that this start had to do without.
    pub(super) fn is_lost(&self, id: &PartitionId) -> bool {
        matches!(self.hosted(id), Some(Err(StorageError::DirectoryFailed { .. })))
    }

    fn hosted(&self, id: &PartitionId) -> Option<Hosted> {
        self.by_topic.borrow().get(&id.topic_id)?.get(&id.partition).cloned()
    }

    /// A partition as of `image_version`: waits until this core has taken that version over.
    ///
    /// # Errors
    /// `UnknownPartition` when the partition is not here then, `Storage` when it is offline.
    pub async fn find(&self, id: &PartitionId, image_version: u64) -> Result<Rc<Partition>, PartitionError> {
        poll_fn(|cx| match self.hosted(id) {
            // One whose log directory failed says so, also where memory alone could answer.
            Some(Ok(found)) => Poll::Ready(found.log().check().map(|()| found).map_err(PartitionError::from)),
            Some(Err(error)) => Poll::Ready(Err(error.into())),
            None if self.version.get() >= image_version => Poll::Ready(Err(PartitionError::UnknownPartition)),
            None => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_topic.borrow().values().map(HashMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_topic.borrow().is_empty()
    }

    /// The partitions that are online, in no order.
    pub fn online(&self) -> Vec<Rc<Partition>> {
        let by_topic = self.by_topic.borrow();
        let hosted = by_topic.values().flat_map(HashMap::values);
        hosted.filter_map(|hosted| hosted.clone().ok()).filter(|partition| partition.is_online()).collect()
    }

    /// The partitions that are here and cannot be used: their log directory failed, or their log could not be opened.
    pub fn offline(&self) -> Vec<PartitionId> {
        let by_topic = self.by_topic.borrow();
        let mut offline = Vec::new();
        for (topic_id, partitions) in by_topic.iter() {
            let is_offline = |hosted: &Hosted| !hosted.as_ref().is_ok_and(|partition| partition.is_online());
            let ids =
                partitions.iter().filter(|(_, hosted)| is_offline(hosted)).map(|(partition, _)| *partition);
            offline.extend(ids.map(|partition| PartitionId { topic_id: *topic_id, partition }));
        }
        offline
    }

    /// Takes another `producer.id.expiration.ms` over.
    pub fn set_producer_id_expiration(&self, expiration_ms: i64) {
        self.producer_id_expiration_ms.set(expiration_ms);
    }

    /// What this core's cleaner goes by.
    pub fn cleaner(&self) -> CleanerConfig {
        self.cleaner.get()
    }

    /// Takes the cleaner's newest values over.
    pub fn set_cleaner(&self, cleaner: CleanerConfig) {
        self.cleaner.set(cleaner);
    }

    /// Forgets producers that have been idle for too long (`producer.id.expiration.ms`).
    pub fn expire_producers(&self) {
        for partition in self.online() {
            let expiration_ms = self.producer_id_expiration_ms.get();
            partition.producers().borrow_mut().state().expire(now_ms(), expiration_ms);
        }
    }

    /// Adds a partition, or notes why it is offline.
    pub fn insert(&self, id: PartitionId, hosted: Result<Rc<Partition>, StorageError>) {
        if hosted.is_err() {
            self.degraded.set();
        }
        self.by_topic.borrow_mut().entry(id.topic_id).or_default().insert(id.partition, hosted);
    }

    /// Whether some partition of the node cannot be used.
    pub fn degraded(&self) -> &Degraded {
        &self.degraded
    }

    /// Takes a topic's partitions away; returns those whose log could be opened.
    pub fn remove_topic(&self, topic_id: &TopicId) -> Vec<Rc<Partition>> {
        let removed = self.by_topic.borrow_mut().remove(topic_id);
        removed.into_iter().flat_map(HashMap::into_values).filter_map(Result::ok).collect()
    }

    /// Says that the partitions now correspond to `version`, and lets through who waited for it.
    pub fn caught_up(&self, version: u64) {
        self.version.set(version);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}
