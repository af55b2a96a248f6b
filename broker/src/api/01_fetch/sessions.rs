//! This core's fetch sessions (KIP-227): opens a request's, and decides what its answer tells.
//!
//! The rules are `corelog_logic::fetch_session`'s; here are the clock, chance and memory. A session lies on the core of the connection
//! that made it, and its id names that core: on another core's connection it is answered FETCH_SESSION_ID_NOT_FOUND, as an evicted one is,
//! and the client begins anew, which ends the old one where it lies.

use std::cell::RefCell;
use std::time::Instant;

use corelog_logic::controller::MetadataImage;
use corelog_logic::fetch_session::{
    Context, INITIAL_EPOCH, NO_SESSION, Position, SessionCache, SessionError, SessionIds, SessionLimits,
    Told, Wanted,
};

use super::asked::Asked;
use super::request::{FetchPartition, FetchRequest};
use super::response::PartitionResponse;
use crate::api::error_code::ErrorCode;
use crate::shard::Core;
use crate::shard::budget::{Charge, Pool};

/// The fetch sessions of one core.
pub struct FetchSessions {
    ids: SessionIds,
    cache: RefCell<SessionCache>,
    /// What the sessions hold of the core's memory. Their pool's size is their bound.
    charge: RefCell<Charge>,
    pool: Pool,
    since: Instant,
}

/// What an answer tells, and of which session.
pub(super) struct Selected {
    pub(super) session_id: i32,
    /// The partitions to tell of, by their place in what was asked.
    pub(super) included: Vec<usize>,
}

/// A session error as it is answered: with the session's id where Kafka tells it.
pub(super) struct SessionRefusal {
    pub(super) code: ErrorCode,
    pub(super) session_id: i32,
}

impl FetchSessions {
    /// No sessions yet on `core` of `cores`, which may have their part of `slots` sessions, as far as `pool` has memory for them.
    pub fn new(core: Core, cores: u16, slots: usize, pool: Pool) -> Self {
        let (core, every) = (core.0, usize::from(cores.max(1)));
        let slots_max = slots / every + usize::from(usize::from(core) < slots % every);
        let ids = SessionIds::new(core, cores);
        let limits = SessionLimits { slots_max, bytes_max: pool.limit() };
        Self {
            ids,
            cache: RefCell::new(SessionCache::new(ids, limits)),
            charge: RefCell::new(pool.charge_anyway(0)),
            pool,
            since: Instant::now(),
        }
    }

    /// Ends a session of this core, because its client went on elsewhere.
    pub fn end(&self, session_id: i32) {
        self.cache.borrow_mut().remove(session_id);
        self.settle();
    }

    /// The other core that has a session which this request ends.
    pub(super) fn ends_elsewhere(&self, body: &FetchRequest) -> Option<Core> {
        let full = body.session_epoch <= INITIAL_EPOCH;
        let core = self.ids.core_of(body.session_id).filter(|_| full && !self.ids.is_own(body.session_id));
        core.map(Core)
    }

    /// Finds a request its session, and what it asks for.
    pub(super) fn open(
        &self,
        body: &FetchRequest,
        uses_topic_ids: bool,
    ) -> Result<(Context, Asked), SessionRefusal> {
        let position = Position { session_id: body.session_id, epoch: body.session_epoch, uses_topic_ids };
        let wanted = body.partitions.iter().filter_map(|partition| {
            Some((body.topics.get(partition.topic)?, partition.index, wanted(partition)))
        });
        let forgotten =
            body.forgotten.iter().flat_map(|(key, partitions)| partitions.iter().map(move |one| (key, *one)));
        let begun = self.cache.borrow_mut().begin(&position, wanted, forgotten, self.now_ms());
        self.settle();
        let context = begun.map_err(|error| SessionRefusal { code: code(error), session_id: NO_SESSION })?;
        let asked = match context {
            Context::Incremental { session_id, .. } => {
                Asked::of_session(self.cache.borrow().partitions(session_id))
            }
            Context::Sessionless | Context::Full => Asked::of_request(body),
        };
        Ok((context, asked))
    }

    /// What is told of `order`, which are places in what was asked; `slots` has what each of those is answered.
    pub(super) fn select(
        &self,
        context: Context,
        asked: &Asked,
        slots: &[PartitionResponse],
        order: Vec<usize>,
        (uses_topic_ids, image): (bool, &MetadataImage),
    ) -> Result<Selected, SessionRefusal> {
        match context {
            Context::Sessionless => Ok(Selected { session_id: NO_SESSION, included: order }),
            Context::Full => {
                let session_id = self.create(asked, slots, &order, (uses_topic_ids, image));
                Ok(Selected { session_id, included: order })
            }
            Context::Incremental { session_id, epoch } => {
                let told = order
                    .iter()
                    .filter_map(|slot| Some((*asked.places.get(*slot)?, told(slots.get(*slot)?))));
                let selected = self.cache.borrow_mut().select(session_id, epoch, told);
                let selected = selected.map_err(|error| SessionRefusal { code: code(error), session_id })?;
                let included =
                    order.into_iter().zip(selected).filter_map(|(slot, selected)| selected.then_some(slot));
                Ok(Selected { session_id, included: included.collect() })
            }
        }
    }

    fn create(
        &self,
        asked: &Asked,
        slots: &[PartitionResponse],
        order: &[usize],
        (uses_topic_ids, image): (bool, &MetadataImage),
    ) -> i32 {
        let partitions = order.iter().filter_map(|slot| {
            let partition = asked.partitions.get(*slot)?;
            let key = asked.topics.get(partition.topic)?;
            Some((key, partition.index, wanted(partition), told(slots.get(*slot)?)))
        });
        let mut cache = self.cache.borrow_mut();
        let id = cache.create((false, uses_topic_ids), partitions, rand::random(), self.now_ms());
        if uses_topic_ids {
            cache.learn_names(id, |topic_id| Some(&*image.topic(topic_id)?.name));
        }
        drop(cache);
        self.settle();
        id
    }

    /// Brings the charge up to what the sessions take.
    fn settle(&self) {
        let bytes = self.cache.borrow().bytes();
        let mut charge = self.charge.borrow_mut();
        if bytes > charge.bytes() {
            // The cache keeps its own bound, which is the pool's.
            let more = self.pool.charge_anyway(bytes - charge.bytes());
            charge.merge(more);
        } else {
            charge.shrink_to(bytes);
        }
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

fn code(error: SessionError) -> ErrorCode {
    match error {
        SessionError::IdNotFound(_) => ErrorCode::FetchSessionIdNotFound,
        SessionError::InvalidEpoch { .. } => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicIds => ErrorCode::FetchSessionTopicIdError,
    }
}

fn wanted(partition: &FetchPartition) -> Wanted {
    Wanted {
        fetch_offset: partition.fetch_offset,
        last_fetched_epoch: partition.last_fetched_epoch,
        max_bytes: partition.max_bytes,
        current_leader_epoch: partition.current_leader_epoch,
    }
}

fn told(answer: &PartitionResponse) -> Told {
    match answer {
        Ok(found) => Told {
            high_watermark: found.high_watermark,
            last_stable_offset: found.last_stable_offset,
            log_start_offset: found.log_start_offset,
            has_records: !found.batches.is_empty(),
            must_tell: found.diverging.is_some(),
            ..Told::NOTHING
        },
        Err(_) => Told { failed: true, ..Told::NOTHING },
    }
}
