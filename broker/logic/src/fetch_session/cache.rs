//! The sessions of one core: found, begun, closed, and evicted by Kafka's rules when there is no room.
//!
//! Bounded in sessions (`max.incremental.fetch.session.cache.slots`) and in bytes. Deliberately absent: the clock and chance, which are
//! arguments.

use std::collections::{BTreeSet, HashMap};

use super::session::{Partition, SESSION_BYTES, Session, Slot};
use super::{
    Context, EVICTION_MS, FINAL_EPOCH, INITIAL_EPOCH, NO_SESSION, Position, SessionError, SessionIds, Told,
    TopicKey, Wanted, next_epoch,
};
use crate::controller::TopicId;

/// How much a cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions.
    pub slots_max: usize,
    /// Bytes of memory in all sessions together.
    pub bytes_max: u64,
}

/// In which order sessions are evicted: those of consumers first, then those with fewer partitions.
type Rank = (bool, usize, i32);

/// The sessions of one core.
#[derive(Debug)]
pub struct SessionCache {
    ids: SessionIds,
    limits: SessionLimits,
    sessions: HashMap<i32, Session>,
    /// By when they were last used.
    last_used: BTreeSet<(i64, i32)>,
    /// What a consumer's new session may evict: sessions that are older than [`EVICTION_MS`].
    evictable_by_all: BTreeSet<Rank>,
    /// What a follower's new session may evict: consumers' sessions too, however young.
    evictable_by_privileged: BTreeSet<Rank>,
    partitions: usize,
    bytes: u64,
    evictions: u64,
}

impl SessionCache {
    /// An empty cache that gives `ids`.
    pub fn new(ids: SessionIds, limits: SessionLimits) -> Self {
        Self {
            ids,
            limits,
            sessions: HashMap::new(),
            last_used: BTreeSet::new(),
            evictable_by_all: BTreeSet::new(),
            evictable_by_privileged: BTreeSet::new(),
            partitions: 0,
            bytes: 0,
            evictions: 0,
        }
    }

    /// Sessions.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Partitions in all sessions together.
    pub fn partitions_len(&self) -> usize {
        self.partitions
    }

    /// Bytes of memory in all sessions together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sessions that had to go for others.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Begins a request: finds its session and takes over what it changes. `wanted` and `forgotten` are the request's own lists.
    ///
    /// # Errors
    /// [`SessionError`]; nothing has changed then, unless the session outgrew the memory and is gone.
    pub fn begin<'a>(
        &mut self,
        position: &Position,
        wanted: impl Iterator<Item = (&'a TopicKey, i32, Wanted)>,
        forgotten: impl Iterator<Item = (&'a TopicKey, i32)>,
        now_ms: i64,
    ) -> Result<Context, SessionError> {
        let Position { session_id, epoch, uses_topic_ids } = *position;
        if position.is_full() {
            // A full request ends the session it names.
            self.remove(session_id);
            return Ok(if epoch == FINAL_EPOCH { Context::Sessionless } else { Context::Full });
        }
        let session = self.sessions.get_mut(&session_id).ok_or(SessionError::IdNotFound(session_id))?;
        if session.epoch != epoch {
            return Err(SessionError::InvalidEpoch { expected: session.epoch, requested: epoch });
        }
        if session.uses_topic_ids != uses_topic_ids {
            return Err(SessionError::TopicIds);
        }
        for (topic, partition, wanted) in wanted {
            session.want(topic, partition, wanted, Told::NOTHING);
        }
        for (topic, partition) in forgotten {
            session.forget(topic, partition);
        }
        if session.len() == 0 {
            self.remove(session_id);
            return Ok(Context::Sessionless);
        }
        session.epoch = next_epoch(epoch);
        let epoch = session.epoch;
        self.touch(session_id, now_ms);
        if self.bytes > self.limits.bytes_max {
            self.evict(session_id);
            return Err(SessionError::IdNotFound(session_id));
        }
        Ok(Context::Incremental { session_id, epoch })
    }

    /// A session's partitions in the order in which they are to be read.
    pub fn partitions(&self, session_id: i32) -> impl Iterator<Item = (Slot, &Partition)> {
        self.sessions.get(&session_id).into_iter().flat_map(Session::partitions)
    }

    /// Makes a session of a full request and its answer; returns its id, or [`NO_SESSION`] when there is no room. `privileged` is a
    /// follower's. `random` is any number.
    pub fn create<'a>(
        &mut self,
        (privileged, uses_topic_ids): (bool, bool),
        partitions: impl Iterator<Item = (&'a TopicKey, i32, Wanted, Told)>,
        random: u32,
        now_ms: i64,
    ) -> i32 {
        // Not even an empty one: nothing is gathered for nothing.
        if self.limits.slots_max == 0 || self.limits.bytes_max < SESSION_BYTES {
            return NO_SESSION;
        }
        let mut session = Session::new(uses_topic_ids, privileged, next_epoch(INITIAL_EPOCH), now_ms);
        for (topic, partition, wanted, told) in partitions {
            session.want(topic, partition, wanted, told);
        }
        let needed = session.bytes();
        if needed > self.limits.bytes_max {
            return NO_SESSION;
        }
        while self.sessions.len() >= self.limits.slots_max || self.bytes + needed > self.limits.bytes_max {
            if !self.try_evict((privileged, session.len(), NO_SESSION), now_ms) {
                return NO_SESSION;
            }
        }
        let id = self.ids.pick(random, |id| self.sessions.contains_key(&id));
        self.sessions.insert(id, session);
        self.touch(id, now_ms);
        id
    }

    /// Remembers the names of a session's topics, where requests give ids.
    pub fn learn_names<'a>(&self, session_id: i32, name_of: impl Fn(&TopicId) -> Option<&'a str>) {
        for topic in self.sessions.get(&session_id).into_iter().flat_map(Session::topics) {
            if let TopicKey::Id(id) = &topic.key
                && let Some(name) = name_of(id)
            {
                topic.learn_name(name);
            }
        }
    }

    /// Which partitions the answer of an incremental fetch must have: one bool for each of `told`. What is told is remembered.
    ///
    /// # Errors
    /// `InvalidEpoch` when another request of the session came between.
    pub fn select(
        &mut self,
        session_id: i32,
        epoch: i32,
        told: impl Iterator<Item = (Slot, Told)>,
    ) -> Result<Vec<bool>, SessionError> {
        match self.sessions.get_mut(&session_id) {
            Some(session) if session.epoch != epoch => {
                Err(SessionError::InvalidEpoch { expected: session.epoch, requested: epoch })
            }
            Some(session) => Ok(told.map(|(slot, told)| session.tell(slot, &told)).collect()),
            // Evicted meanwhile: whoever asks next will hear of it. To tell everything is never wrong.
            None => Ok(told.map(|_| true).collect()),
        }
    }

    /// Ends a session, if there is one with this id.
    pub fn remove(&mut self, session_id: i32) {
        let Some(session) = self.sessions.remove(&session_id) else { return };
        self.last_used.remove(&(session.last_used_ms, session_id));
        let rank = (session.privileged, session.ranked_len, session_id);
        self.evictable_by_all.remove(&rank);
        self.evictable_by_privileged.remove(&rank);
        self.partitions -= session.ranked_len;
        self.bytes -= session.counted_bytes;
    }

    fn evict(&mut self, session_id: i32) {
        self.remove(session_id);
        self.evictions += 1;
    }

    /// Makes room for a session of this rank: a stale session goes first, else the least worthy one if it is not worth more.
    fn try_evict(&mut self, newcomer: Rank, now_ms: i64) -> bool {
        let Some(&(last_used_ms, oldest)) = self.last_used.first() else { return false };
        if now_ms.saturating_sub(last_used_ms) > EVICTION_MS {
            self.evict(oldest);
            return true;
        }
        let evictable = if newcomer.0 { &self.evictable_by_privileged } else { &self.evictable_by_all };
        match evictable.first() {
            Some(least) if newcomer >= *least => {
                let id = least.2;
                self.evict(id);
                true
            }
            _ => false,
        }
    }

    /// Notes that a session was used, and how large it is now.
    fn touch(&mut self, session_id: i32, now_ms: i64) {
        let Some(session) = self.sessions.get_mut(&session_id) else { return };
        self.last_used.remove(&(session.last_used_ms, session_id));
        session.last_used_ms = now_ms;
        self.last_used.insert((now_ms, session_id));
        let rank = (session.privileged, session.ranked_len, session_id);
        self.evictable_by_all.remove(&rank);
        self.evictable_by_privileged.remove(&rank);
        self.partitions = self.partitions - session.ranked_len + session.len();
        session.ranked_len = session.len();
        let bytes = session.bytes();
        self.bytes = self.bytes - session.counted_bytes + bytes;
        session.counted_bytes = bytes;
        let rank = (session.privileged, session.ranked_len, session_id);
        let is_old = now_ms.saturating_sub(session.created_ms) > EVICTION_MS;
        if !session.privileged || is_old {
            self.evictable_by_privileged.insert(rank);
        }
        if is_old {
            self.evictable_by_all.insert(rank);
        }
    }
}
