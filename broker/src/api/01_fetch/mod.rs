//! Fetch (key 1): long poll by wake-up, batches passed on as they lie in memory.
//!
//! Version notes: 4 is the first one served; 5 adds log start offsets; 7 sessions (KIP-227), see `sessions`; 9 leader epochs
//! (KIP-320); 11 racks (KIP-392); 12 is flexible; 13 names topics by id (KIP-516); 15 moves the replica id (KIP-903); 16 may name
//! endpoints (KIP-951); 17 and 18 are for followers. A fetch by a follower is NOT_LEADER_OR_FOLLOWER: no partition has one.

mod asked;
mod request;
mod response;
mod sessions;
mod wait;

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use request::{FetchPartition, FetchRequest};
pub use response::{Contents, PartitionResponse, encode_error, encode_failed, encode_response};
pub use sessions::FetchSessions;

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::grouping::Groups;
use super::service::{Answer, Dispatched, Reply};
use super::wire::Read;
use crate::drive::tasks::{FetchOutcome, FetchRange, FetchTask, Isolation};
use crate::shard::budget::{Charge, Pool, SMALL_BYTES};
use asked::Asked;
use sessions::SessionRefusal;
use wait::Wait;

#[allow(
    clippy::async_yields_async,
    reason = "the two halves of a pipelined request: dispatched, then answered"
)]
pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body = FetchRequest::decode(&request.body.split(), request.version)?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::pipelined(async move {
        // The wait counts from the request's turn, not from when its predecessors were answered.
        let deadline = Instant::now() + Duration::from_millis(u64::try_from(body.max_wait_ms).unwrap_or(0));
        let answer: Answer = Box::pin(async move { answer(&broker, &request, &body, deadline).await });
        answer
    }))
}

/// Isolation levels. With another one nothing is read, and the whole request fails without a word, as in Kafka.
const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;

/// The first version that names topics by id.
const TOPIC_IDS: i16 = 13;

async fn answer(broker: &Broker, request: &Request, body: &FetchRequest, deadline: Instant) -> Reply {
    let refused = |SessionRefusal { code, session_id }| {
        Reply::bytes(encode_error(request.begin_response(), request.version, code, session_id))
    };
    if let Some(core) = broker.fetch_sessions.ends_elsewhere(body) {
        broker.cores.end_fetch_session(core, body.session_id);
    }
    let uses_topic_ids = request.version >= TOPIC_IDS;
    let (context, asked) = match broker.fetch_sessions.open(body, uses_topic_ids) {
        Ok(opened) => opened,
        Err(refusal) => return refused(refusal),
    };
    let mut fetch = Fetch::plan(broker, body, &asked);
    if !matches!(body.isolation_level, READ_UNCOMMITTED | READ_COMMITTED) && fetch.reads() {
        return Reply::bytes(encode_failed(
            request.begin_response(),
            request.version,
            ErrorCode::UnknownServerError,
            body,
        ));
    }
    let charge = fetch.run(broker, deadline).await;
    let image = broker.cores.image();
    let order = fetch.order();
    let selected =
        broker.fetch_sessions.select(context, &asked, &fetch.slots, order, (uses_topic_ids, &image));
    let selected = match selected {
        Ok(selected) => selected,
        Err(refusal) => return refused(refusal),
    };
    let contents = Contents {
        session_id: selected.session_id,
        topics: &asked.topics,
        partitions: &asked.partitions,
        included: &selected.included,
        isolation: fetch.isolation,
    };
    let pieces = encode_response(request.begin_response(), request.version, &contents, &mut fetch.slots);
    Reply { charge, ..Reply::segments(pieces) }
}

/// Room for a response of `wanted` bytes, or for a smaller one when stopped readers hold the rest: a client that reads gets on,
/// in smaller steps. Waits only for what the pool keeps back for small replies.
async fn room_for(replies: &Pool, wanted: u64) -> Charge {
    let mut bytes = wanted.min(replies.charge_max());
    while bytes > SMALL_BYTES {
        if let Some(charge) = replies.try_charge(bytes) {
            return charge;
        }
        bytes /= 2;
    }
    match replies.charge(bytes).await {
        Ok(charge) => charge,
        // A pool smaller than a small charge: the response is one batch, which its topic bounds.
        Err(_) => replies.charge_anyway(0),
    }
}

/// How often one fetch is read at most. A wake that is followed by no bytes is an owner's right, but not for ever.
const ROUNDS_MAX: usize = 1_000;

/// A fetch underway.
struct Fetch {
    /// Version of the metadata that the request was routed with.
    image_version: u64,
    isolation: Isolation,
    /// Bytes worth answering for.
    bytes_min: usize,
    /// Bytes of batches in the whole response.
    bytes_max: usize,
    /// What each partition is answered so far.
    slots: Vec<PartitionResponse>,
    /// Slots of partitions that do not exist: they are told last, and nobody waits or hurries for them.
    unknown: Vec<usize>,
    /// What each core is asked.
    groups: Groups<FetchRange>,
    /// The items of each group that the next read asks for, ascending.
    due: Vec<Vec<usize>>,
    /// Bytes found so far.
    bytes: usize,
    /// Bytes that each group gave, as a watch counts them.
    found: Vec<usize>,
    /// Whether a partition answered with an error, or that its log is another one: that is never kept waiting.
    failed: bool,
}

impl Fetch {
    fn plan(broker: &Broker, body: &FetchRequest, asked: &Asked) -> Self {
        let image = broker.cores.image();
        let mut slots = Vec::with_capacity(asked.partitions.len());
        let mut groups = Groups::new();
        let (mut unknown, mut failed) = (Vec::new(), false);
        for (slot, partition) in asked.partitions.iter().enumerate() {
            match asked.route(broker, &image, partition) {
                Ok((core, id)) => {
                    groups.push(
                        core,
                        slot,
                        FetchRange {
                            partition: id,
                            fetch_offset: partition.fetch_offset,
                            bytes_max: usize::try_from(partition.max_bytes).unwrap_or(0),
                            // The request's own limit is negative for the first one alone: less than nothing is left once.
                            limit_is_negative: partition.max_bytes < 0
                                || (body.max_bytes < 0 && groups.0.is_empty()),
                            current_leader_epoch: partition.current_leader_epoch,
                            last_fetched_epoch: partition.last_fetched_epoch,
                            from_follower: body.replica_id >= 0,
                        },
                    );
                    // Overwritten by the first read.
                    slots.push(Err(ErrorCode::UnknownServerError));
                }
                Err(code) => {
                    match code {
                        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => unknown.push(slot),
                        _ => failed = true,
                    }
                    slots.push(Err(code));
                }
            }
        }
        // As Kafka: `fetch.max.bytes` bounds what a client may ask for.
        let bytes_max = usize::try_from(body.max_bytes.min(broker.config.fetch_max_bytes)).unwrap_or(0);
        let bytes_min = usize::try_from(body.min_bytes).unwrap_or(0).min(bytes_max);
        let isolation = if body.isolation_level == READ_COMMITTED {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        };
        let found = vec![0; groups.0.len()];
        let due = groups.0.iter().map(|group| (0..group.items.len()).collect()).collect();
        let image_version = image.version;
        Self {
            image_version,
            isolation,
            bytes_min,
            bytes_max,
            slots,
            unknown,
            groups,
            due,
            bytes: 0,
            found,
            failed,
        }
    }

    /// Whether there is any partition to be read.
    fn reads(&self) -> bool {
        self.unknown.len() < self.slots.len()
    }

    /// The slots in the order in which they are told, as from Kafka: what does not exist comes last, topics that no id leads to first.
    fn order(&self) -> Vec<usize> {
        let all = 0..self.slots.len();
        if self.unknown.is_empty() {
            return all.collect();
        }
        let exists = |slot: &usize| self.unknown.binary_search(slot).is_err();
        let has_no_topic =
            |slot: &usize| matches!(self.slots.get(*slot), Some(Err(ErrorCode::UnknownTopicId)));
        let (no_topic, no_partition): (Vec<usize>, Vec<usize>) =
            self.unknown.iter().copied().partition(has_no_topic);
        all.filter(exists).chain(no_topic).chain(no_partition).collect()
    }

    /// Reads, and waits as long as there is too little to answer. After a wait only what has something new is read. Returns what the
    /// answer holds of the memory for replies.
    async fn run(&mut self, broker: &Broker, deadline: Instant) -> Option<Charge> {
        let mut before = None;
        let mut charge = None;
        for _ in 0..ROUNDS_MAX {
            if self.due.iter().all(Vec::is_empty) {
                break;
            }
            charge = Some(self.read_charged(broker).await);
            // Woken and found no more: whole batches or the request's limits stand in the way of min_bytes.
            if before.replace(self.bytes).is_some_and(|before| before > 0 && before >= self.bytes) {
                break;
            }
            let Some(wait) = Wait::needed(self, deadline) else { break };
            // Nothing read is held while waiting: memory belongs to those who can be answered.
            let mut due = self.forget();
            charge = None;
            wait.run(broker, &mut due).await;
            self.due = due;
        }
        charge
    }

    /// What the partitions that are due may give, all together.
    fn bytes_due(&self) -> usize {
        self.due_items().map(|range| range.bytes_max).fold(0, usize::saturating_add)
    }

    fn due_items(&self) -> impl Iterator<Item = &FetchRange> {
        let groups = self.groups.0.iter().zip(&self.due);
        groups.flat_map(|(group, due)| due.iter().filter_map(|item| group.items.get(*item)))
    }

    /// Reads what is due and returns the charge of what was found. Charged before it is read: what waits for a slow reader must never
    /// exceed the budget.
    async fn read_charged(&mut self, broker: &Broker) -> Charge {
        let replies = &broker.replies;
        let mut room = room_for(replies, self.bytes_due().min(self.bytes_max) as u64).await;
        self.read(broker, usize::try_from(room.bytes()).unwrap_or(usize::MAX)).await;
        let found = (self.bytes as u64).min(replies.charge_max());
        if found > room.bytes() {
            // A first batch, which is returned whole whatever its size. Neither it nor the room is held while more is waited for.
            self.forget();
            drop(room);
            room = match replies.charge(found).await {
                Ok(room) => room,
                Err(_) => replies.charge_anyway(0),
            };
            self.read(broker, usize::try_from(room.bytes()).unwrap_or(usize::MAX)).await;
        }
        room.shrink_to(self.bytes as u64);
        room
    }

    /// Reads what is due once, at most `room` bytes (but one batch whatever its size). Cores read side by side when all they may give
    /// fits into the response; otherwise one after the other, so that the request's first partitions are served first and nothing is
    /// read for nothing.
    async fn read(&mut self, broker: &Broker, room: usize) {
        self.bytes = 0;
        let bytes_max = self.bytes_max.min(room);
        let side_by_side = self.bytes_due() <= bytes_max;
        let mut left = bytes_max;
        let mut submitted = Vec::new();
        for group in 0..self.groups.0.len() {
            let (Some(asked), Some(due)) = (self.groups.0.get(group), self.due.get(group)) else { continue };
            if due.is_empty() {
                continue;
            }
            let at_least_one = side_by_side || left == bytes_max;
            let task = FetchTask {
                partitions: due.iter().filter_map(|item| asked.items.get(*item).copied()).collect(),
                bytes_max: left,
                at_least_one,
                isolation: self.isolation,
                image_version: self.image_version,
            };
            let underway = broker.cores.fetch(asked.core, task).await;
            if side_by_side {
                submitted.push((group, underway));
            } else {
                let outcome = match underway {
                    Ok(outcome) => outcome.await.ok(),
                    Err(_) => None,
                };
                left = left.saturating_sub(self.settle(group, outcome));
            }
        }
        for (group, underway) in submitted {
            let outcome = match underway {
                Ok(outcome) => outcome.await.ok(),
                Err(_) => None,
            };
            self.settle(group, outcome);
        }
    }

    /// Puts a core's outcome into the slots; returns how many bytes it gave.
    fn settle(&mut self, group: usize, outcome: Option<FetchOutcome>) -> usize {
        let (Some(asked), Some(due)) = (self.groups.0.get(group), self.due.get(group)) else { return 0 };
        let (mut bytes, mut watched) = (0, 0);
        let mut outcome = outcome.into_iter().flatten();
        for item in due {
            let (Some(slot), Some(range)) = (asked.slots.get(*item), asked.items.get(*item)) else {
                continue;
            };
            // A core that is gone is stopping with the process: the client will find the next leader.
            let found = match outcome.next() {
                Some(Ok(found)) => Ok(found),
                Some(Err(error)) => Err(Refusal::from(&error).code),
                None => Err(ErrorCode::NotLeaderOrFollower),
            };
            match &found {
                Ok(found) => {
                    let len: usize = found.batches.iter().map(Bytes::len).sum();
                    bytes += len;
                    watched += len.min(range.bytes_max);
                    self.failed |= found.diverging.is_some();
                }
                Err(_) => self.failed = true,
            }
            if let Some(place) = self.slots.get_mut(*slot) {
                *place = found;
            }
        }
        if let Some(place) = self.found.get_mut(group) {
            *place = watched;
        }
        self.bytes += bytes;
        bytes
    }

    /// Lets go of what was read; returns the items of each group that had something, which must be read again.
    fn forget(&mut self) -> Vec<Vec<usize>> {
        let mut had = Vec::with_capacity(self.groups.0.len());
        for group in &self.groups.0 {
            let mut items = Vec::new();
            for (item, slot) in group.slots.iter().enumerate() {
                if let Some(Ok(found)) = self.slots.get_mut(*slot)
                    && !std::mem::take(&mut found.batches).is_empty()
                {
                    items.push(item);
                }
            }
            had.push(items);
        }
        had
    }
}
