//! One partition that this core leads: its log, its producers, its epoch and its topic's settings.
//!
//! Made by `reconcile`, used by produce, fetch and list_offsets. Deliberately absent: how requests reach it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use corelog_logic::partition::epoch_end::{EpochEnd, EpochsOfLog};
use corelog_logic::partition::producer_state::{ProducerBatch, ProducerState};
use corelog_storage::batch::BatchHeader;
use corelog_storage::compaction::Retain;
use corelog_storage::log::Tenant;

use super::Log;
use super::cleaner::RetainProducers;
use super::convert::Line;
use super::tasks::PartitionError;
use crate::config::TopicConfig;

/// A partition on the core that owns it.
pub struct Partition {
    log: Rc<Log>,
    producers: Rc<RefCell<ProducerTenant>>,
    leader_epoch: Cell<i32>,
    config: Cell<TopicConfig>,
    line: Rc<Line>,
}

impl Partition {
    /// A partition whose log is open; `producers` is that log's tenant.
    pub fn new(
        log: Rc<Log>,
        producers: Rc<RefCell<ProducerTenant>>,
        leader_epoch: i32,
        config: TopicConfig,
    ) -> Self {
        Self {
            log,
            producers,
            leader_epoch: Cell::new(leader_epoch),
            config: Cell::new(config),
            line: Rc::default(),
        }
    }

    /// Its log.
    pub fn log(&self) -> &Rc<Log> {
        &self.log
    }

    /// Whether its log can be used: its directory has not failed, and it was not deleted.
    pub fn is_online(&self) -> bool {
        self.log.check().is_ok()
    }

    /// What it remembers of its producers.
    pub fn producers(&self) -> &RefCell<ProducerTenant> {
        &self.producers
    }

    /// Where batches stand in line while one of them is compressed.
    pub(super) fn line(&self) -> &Rc<Line> {
        &self.line
    }

    /// Its current leader epoch.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch.get()
    }

    /// Its topic's settings.
    pub fn config(&self) -> TopicConfig {
        self.config.get()
    }

    /// Takes over what newer metadata says.
    pub fn update(&self, leader_epoch: i32, config: TopicConfig) {
        self.leader_epoch.set(leader_epoch);
        self.config.set(config);
        self.log.set_config(super::reconcile::log_config(&config));
    }

    /// The high watermark. With one replica, what is durable here is committed.
    pub fn high_watermark(&self) -> i64 {
        self.log.visible_end_offset()
    }

    /// Where a leader epoch ends in the log.
    pub fn end_of_epoch(&self, leader_epoch: i32) -> EpochEnd {
        let epochs = self.log.leader_epochs();
        let log = EpochsOfLog {
            entries: epochs.entries(),
            log_start_offset: self.log.log_start_offset(),
            log_end_offset: self.log.log_end_offset(),
            leader_epoch: self.leader_epoch(),
        };
        log.end_of(leader_epoch)
    }

    /// Compares a client's idea of the leader epoch with the truth (KIP-320); -1 means that it has none.
    ///
    /// # Errors
    /// `FencedLeaderEpoch` or `UnknownLeaderEpoch`.
    pub fn check_leader_epoch(&self, requested: i32) -> Result<(), PartitionError> {
        let current = self.leader_epoch.get();
        match requested {
            -1 => Ok(()),
            _ if requested < current => Err(PartitionError::FencedLeaderEpoch { requested, current }),
            _ if requested > current => Err(PartitionError::UnknownLeaderEpoch { requested, current }),
            _ => Ok(()),
        }
    }
}

/// The producer state of a partition, kept safe by its log's checkpoints.
#[derive(Debug, Default)]
pub struct ProducerTenant {
    state: ProducerState,
}

impl ProducerTenant {
    /// What the state machine knows.
    pub fn state(&mut self) -> &mut ProducerState {
        &mut self.state
    }
}

/// What a batch header says about its producer; `None` for a batch that is not idempotent.
pub(super) fn producer_batch(header: &BatchHeader) -> Option<ProducerBatch> {
    header.has_producer().then_some(ProducerBatch {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        last_offset_delta: header.last_offset_delta,
    })
}

impl Tenant for ProducerTenant {
    fn restore(&mut self, snapshot: &[u8]) {
        // The checkpoint that carried these bytes has a checksum of its own, so what fails here is a snapshot of another
        // version: without it duplicates of before the restart could be appended, and that must not pass in silence.
        match ProducerState::restore(snapshot) {
            Ok(state) => self.state = state,
            Err(error) => {
                tracing::error!("producer state of a partition cannot be read and is forgotten: {error}")
            }
        }
    }

    fn replay(&mut self, batch: &BatchHeader) {
        if let Some(producer) = producer_batch(batch) {
            self.state.record(&producer, batch.base_offset, batch.max_timestamp, now_ms());
        }
    }

    fn snapshot(&self) -> Option<Bytes> {
        (!self.state.is_empty()).then(|| Bytes::from(self.state.snapshot()))
    }

    fn retain(&self) -> Box<dyn Retain> {
        Box::new(RetainProducers { last_offsets: self.state.last_offsets().collect() })
    }
}

/// Wall clock, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
