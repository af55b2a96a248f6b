//! Fetch (key 1): long poll by wake-up, batches passed on as they lie in memory.
//!
//! Version notes: 4 is the first one served; 5 adds log start offsets; 7 sessions (KIP-227), which are refused honestly:
//! every response has session id 0, so that clients send whole requests, and a request in a session is answered
//! FETCH_SESSION_ID_NOT_FOUND; 9 leader epochs (KIP-320); 11 racks (KIP-392); 12 is flexible; 13 names topics by id
//! (KIP-516); 15 moves the replica id (KIP-903); 16 may name endpoints (KIP-951); 17 and 18 are for followers. A fetch by a
//! follower is NOT_LEADER_OR_FOLLOWER: no partition has one.

mod request;
mod response;
mod wait;

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use corelog_logic::controller::MetadataImage;

pub use request::{FetchPartition, FetchRequest, FetchTopic};
pub use response::{PartitionResponse, encode_error, encode_response};

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::grouping::Groups;
use super::produce::TopicKey;
use super::service::{Answer, Dispatched, Reply};
use super::wire::Read;
use crate::drive::tasks::{FetchOutcome, FetchRange, FetchTask, Isolation, PartitionId};
use crate::shard::Core;
use crate::shard::budget::{Charge, Pool, SMALL_BYTES};
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

async fn answer(broker: &Broker, request: &Request, body: &FetchRequest, deadline: Instant) -> Reply {
    // Epoch 0 asks for a new session and -1 for none: either may be answered without one. Others are in the middle of a
    // session that this broker never gave.
    if !matches!(body.session_epoch, 0 | -1) {
        let frame = request.begin_response();
        return Reply::bytes(encode_error(frame, request.version, ErrorCode::FetchSessionIdNotFound));
    }
    let mut fetch = Fetch::plan(broker, body);
    let mut before = None;
    let mut charge = None;
    for _ in 0..ROUNDS_MAX {
        let room = fetch.read_charged(broker).await;
        charge = Some(room);
        // Woken and found no more: whole batches or the request's limits stand in the way of min_bytes.
        if before.replace(fetch.bytes).is_some_and(|before| before > 0 && before >= fetch.bytes) {
            break;
        }
        let Some(wait) = Wait::needed(&fetch, deadline) else { break };
        // Nothing read is held while waiting: memory belongs to those who can be answered.
        fetch.forget();
        charge = None;
        wait.run(broker).await;
    }
    let pieces =
        encode_response(request.begin_response(), request.version, body, fetch.isolation, &mut fetch.slots);
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
    /// What each core is asked.
    groups: Groups<FetchRange>,
    /// Bytes found in the last round.
    bytes: usize,
    /// Bytes that each group gave in the last round, as a watch counts them.
    found: Vec<usize>,
    /// Whether a partition answered with an error in the last round: that is never kept waiting.
    failed: bool,
}

impl Fetch {
    fn plan(broker: &Broker, body: &FetchRequest) -> Self {
        let image = broker.cores.image();
        let mut slots = Vec::with_capacity(body.partitions.len());
        let mut groups = Groups::new();
        for (slot, partition) in body.partitions.iter().enumerate() {
            let key = body.topics.get(partition.topic).map(|topic| &topic.key);
            match route(broker, &image, body.replica_id, key, partition.index) {
                Ok((core, id)) => {
                    groups.push(
                        core,
                        slot,
                        FetchRange {
                            partition: id,
                            fetch_offset: partition.fetch_offset,
                            bytes_max: usize::try_from(partition.max_bytes).unwrap_or(0),
                            current_leader_epoch: partition.current_leader_epoch,
                        },
                    );
                    // Overwritten by every read.
                    slots.push(Err(ErrorCode::UnknownServerError));
                }
                Err(code) => slots.push(Err(code)),
            }
        }
        // As Kafka: `fetch.max.bytes` bounds what a client may ask for.
        let bytes_max = usize::try_from(body.max_bytes.min(broker.config.fetch_max_bytes)).unwrap_or(0);
        let bytes_min = usize::try_from(body.min_bytes).unwrap_or(0).min(bytes_max);
        let isolation =
            if body.isolation_level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
        let found = vec![0; groups.0.len()];
        let image_version = image.version;
        Self { image_version, isolation, bytes_min, bytes_max, slots, groups, bytes: 0, found, failed: false }
    }

    /// The most that one response may have of batches.
    fn bytes_asked(&self) -> u64 {
        let of_partitions = self.groups.0.iter().flat_map(|group| &group.items).map(|range| range.bytes_max);
        of_partitions.fold(0, usize::saturating_add).min(self.bytes_max) as u64
    }

    /// Reads every partition once and returns the charge of what was found. Charged before it is read: what waits for a slow reader
    /// must never exceed the budget.
    async fn read_charged(&mut self, broker: &Broker) -> Charge {
        let replies = &broker.replies;
        let mut room = room_for(replies, self.bytes_asked()).await;
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

    /// Reads every partition once, at most `room` bytes (but one batch whatever its size). Cores read side by side when all they may give fits into the response; otherwise one
    /// after the other, so that the request's first partitions are served first and nothing is read for nothing.
    async fn read(&mut self, broker: &Broker, room: usize) {
        self.failed = false;
        self.bytes = 0;
        let wanted = self.groups.0.iter().flat_map(|group| &group.items).map(|range| range.bytes_max);
        let bytes_max = self.bytes_max.min(room);
        let side_by_side = wanted.fold(0, usize::saturating_add) <= bytes_max;
        let mut left = bytes_max;
        let mut submitted = Vec::new();
        for group in 0..self.groups.0.len() {
            let Some(asked) = self.groups.0.get(group) else { continue };
            let at_least_one = side_by_side || left == bytes_max;
            let task = FetchTask {
                partitions: asked.items.clone(),
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
        let Some(asked) = self.groups.0.get(group) else { return 0 };
        let (mut bytes, mut watched) = (0, 0);
        let mut outcome = outcome.into_iter().flatten();
        for (slot, range) in asked.slots.iter().zip(&asked.items) {
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

    fn forget(&mut self) {
        for found in self.slots.iter_mut().flatten() {
            found.batches = Vec::new();
        }
    }
}

fn route(
    broker: &Broker,
    image: &MetadataImage,
    replica_id: i32,
    key: Option<&TopicKey>,
    partition: i32,
) -> Result<(Core, PartitionId), ErrorCode> {
    let topic = match key {
        Some(TopicKey::Name(name)) => image.topic_by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?,
        Some(TopicKey::Id(id)) => image.topic(id).ok_or(ErrorCode::UnknownTopicId)?,
        None => return Err(ErrorCode::UnknownServerError),
    };
    let to = broker.route(topic, partition).map_err(|refusal| refusal.code)?;
    if replica_id >= 0 { Err(ErrorCode::NotLeaderOrFollower) } else { Ok(to) }
}
