//! Produce (key 0): one message per owning core, the records never copied.
//!
//! Version notes: 3 is the first one served (magic 2; 0 to 2 are advertised and refused, see the table); 5 adds the log
//! start offset to replies; 7 allows zstd (KIP-110); 8 adds record errors and messages (KIP-467); 9 is flexible; 10 may name
//! leaders (KIP-951, absent on one node); 12 belongs to transactions v2 (KIP-890); 13 names topics by id (KIP-516).
//! acks=0 gets no reply, and an error closes the connection. Where Kafka takes the last of two batches for one
//! partition and drops the other, both are refused here: INVALID_REQUEST.

mod request;
mod response;

use std::collections::HashMap;
use std::rc::Rc;

use bytes::BytesMut;
use corelog_logic::controller::{MetadataImage, TopicImage};
use corelog_storage::batch::{BatchError, BatchHeader, only_batch_len};

pub use request::{ProducePartition, ProduceRequest, ProduceTopic, TopicKey};
pub use response::{PartitionRefused, PartitionResponse, encode_response};

use super::broker::{Broker, Local};
use super::dispatch::{Request, end_response};
use super::error_code::{ErrorCode, Refusal, records_at_fault};
use super::grouping::Groups;
use super::metadata::is_internal;
use super::service::{Answer, Dispatched, Reply};
use super::wire::Read;
use crate::drive::tasks::{AppendBatch, AppendOutcome, AppendRefused, AppendTask, PartitionError};
use crate::shard::mailbox::Gone;

/// The one client that may write to Kafka's own topics (Kafka's `AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// The append of one core, underway, with the slots its outcomes go to.
type Underway = (Vec<usize>, Result<Local<Result<AppendOutcome, Gone>>, Gone>);

#[allow(
    clippy::async_yields_async,
    reason = "the two halves of a pipelined request: dispatched, then answered"
)]
pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let backing_bytes = request.body.len();
    let mut body = ProduceRequest::decode(request.body.split(), request.version)?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::pipelined(async move {
        let mut slots: Vec<PartitionResponse> = vec![Ok(UNANSWERED); body.partitions.len()];
        let mut underway: Vec<Underway> = Vec::new();
        let image = broker.cores.image();
        let of_request = (request.version, backing_bytes, request.client_id.as_str());
        for group in route(&broker, &image, &mut body, of_request, &mut slots).0 {
            let (wait_durable, image_version) = (body.acks != 0, image.version);
            let task = AppendTask { batches: group.items, wait_durable, image_version };
            underway.push((group.slots, broker.cores.append(group.core, task).await));
        }
        let answer: Answer = Box::pin(async move {
            for (group, submitted) in underway {
                let outcome = match submitted {
                    Ok(outcome) => outcome.await,
                    Err(gone) => Err(gone),
                };
                settle(&mut slots, group, outcome);
            }
            reply(&request, &body, &slots)
        });
        answer
    }))
}

const UNANSWERED: crate::drive::tasks::Appended =
    crate::drive::tasks::Appended { base_offset: -1, log_append_time_ms: -1, log_start_offset: -1 };

/// Finds each batch its core, or its refusal. The records lie in a frame of `backing_bytes`.
fn route(
    broker: &Broker,
    image: &MetadataImage,
    body: &mut ProduceRequest,
    (version, backing_bytes, client_id): (i16, usize, &str),
    slots: &mut [PartitionResponse],
) -> Groups<AppendBatch> {
    let topics: Vec<Result<&TopicImage, Refusal>> =
        body.topics.iter().map(|topic| find(image, &topic.key)).collect();
    let twice = occurring_twice(body, &topics);
    let unauthorized = body.transactional_id.is_none() && has_transactional_records(body);
    let mut groups = Groups::new();
    for (slot, partition) in body.partitions.iter_mut().enumerate() {
        let routed = if unauthorized {
            Err(ErrorCode::TransactionalIdAuthorizationFailed
                .because("the request has transactional records and no transactional id"))
        } else if twice.contains(&slot) {
            Err(ErrorCode::InvalidRequest.because("the request has more than one entry for this partition"))
        } else {
            match topics.get(partition.topic) {
                Some(Ok(topic)) if is_internal(&topic.name) && client_id != ADMIN_CLIENT_ID => {
                    Err(ErrorCode::InvalidTopicException
                        .because(format!("Cannot append to internal topic {}", topic.name)))
                }
                Some(Ok(topic)) => broker.route(topic, partition.index),
                Some(Err(refusal)) => Err(refusal.clone()),
                None => Err(ErrorCode::UnknownServerError.into()),
            }
        };
        let checked = routed.and_then(|to| Ok((to, records(partition, version)?))).and_then(|checked| {
            let acks = body.acks;
            let refused =
                || ErrorCode::InvalidRequiredAcks.because(format!("acks={acks} is none of -1, 0 and 1"));
            matches!(acks, -1..=1).then_some(checked).ok_or_else(refused)
        });
        match checked {
            Ok(((core, id), records)) => {
                groups.push(core, slot, AppendBatch { partition: id, records, backing_bytes });
            }
            Err(refusal) => {
                if let Some(place) = slots.get_mut(slot) {
                    *place = Err(refusal.into());
                }
            }
        }
    }
    groups
}

fn find<'a>(image: &'a MetadataImage, key: &TopicKey) -> Result<&'a TopicImage, Refusal> {
    match key {
        TopicKey::Name(name) => image.topic_by_name(name).ok_or_else(|| {
            ErrorCode::UnknownTopicOrPartition.because("This server does not host this topic-partition.")
        }),
        TopicKey::Id(id) => image
            .topic(id)
            .ok_or_else(|| ErrorCode::UnknownTopicId.because("This server does not host this topic ID.")),
    }
}

/// Whether any batch is part of a transaction.
fn has_transactional_records(body: &ProduceRequest) -> bool {
    body.partitions
        .iter()
        .filter_map(|partition| partition.records.as_deref())
        .any(|records| BatchHeader::parse(records).is_ok_and(|header| header.is_transactional()))
}

/// Slots of partitions that the request has more than once, under one topic entry or several.
fn occurring_twice(body: &ProduceRequest, topics: &[Result<&TopicImage, Refusal>]) -> Vec<usize> {
    if body.partitions.len() < 2 {
        return Vec::new();
    }
    let mut first: HashMap<([u8; 16], i32), usize> = HashMap::with_capacity(body.partitions.len());
    let mut twice = Vec::new();
    for (slot, partition) in body.partitions.iter().enumerate() {
        let Some(Ok(topic)) = topics.get(partition.topic) else { continue };
        if let Some(earlier) = first.insert((topic.id.0, partition.index), slot) {
            twice.extend([earlier, slot]);
        }
    }
    twice
}

/// Where in a batch its format, the attributes with the codec in their lowest bits, and the records are.
const MAGIC_BYTE: usize = 16;
const ATTRIBUTES_LOW_BYTE: usize = 22;
const RECORDS_FROM: usize = 61;
const CODEC_MASK: u8 = 7;
const ZSTD: u8 = 4;

fn is_v2(records: &[u8]) -> bool {
    records.get(MAGIC_BYTE) == Some(&2)
}

/// The length that a batch declares where that is all there, and too little for a header: Kafka tells it from one that was cut.
fn declared_without_header(records: &[u8]) -> Option<i32> {
    let declared = i32::from_be_bytes(*records.get(8..)?.first_chunk()?);
    let whole = usize::try_from(declared).is_ok_and(|declared| records.len() >= 12 + declared);
    (is_v2(records) && records.len() < RECORDS_FROM && whole).then_some(declared)
}

/// The records of a partition, and what can be said of them without looking further than their header.
fn records(partition: &mut ProducePartition, version: i16) -> Result<BytesMut, Refusal> {
    let mut records = partition.records.take().filter(|records| !records.is_empty()).ok_or_else(|| {
        ErrorCode::InvalidRecord.because("a produce request must have exactly one record batch per partition")
    })?;
    let refused = |error| Refusal::from(&PartitionError::from(error));
    if version < 7 {
        // Codecs come before the number of batches, and before whatever else may be wrong with a header.
        let bits = records.get(ATTRIBUTES_LOW_BYTE).filter(|_| is_v2(&records)).map(|low| low & CODEC_MASK);
        if bits == Some(ZSTD) {
            return Err(
                ErrorCode::UnsupportedCompressionType.because("zstd needs Produce version 7 or later")
            );
        }
        if let Err(error @ BatchError::UnknownCompression { .. }) = BatchHeader::parse(&records) {
            return Err(refused(error));
        }
    }
    if let Some(declared) = declared_without_header(&records) {
        return Err(refused(BatchError::Length { declared }));
    }
    let len = only_batch_len(&records).map_err(refused)?;
    records.truncate(len);
    // What is wrong with a header is said by the owner, which validates everything.
    if BatchHeader::parse(&records).is_ok_and(|header| header.is_transactional()) {
        return Err(ErrorCode::InvalidTxnState
            .because("transactions are not supported: this producer has no ongoing transaction"));
    }
    Ok(records)
}

fn settle(slots: &mut [PartitionResponse], group: Vec<usize>, outcome: Result<AppendOutcome, Gone>) {
    match outcome {
        Ok(outcome) => {
            for (slot, result) in group.into_iter().zip(outcome) {
                if let Some(place) = slots.get_mut(slot) {
                    *place = result.map_err(refused);
                }
            }
        }
        // The core is stopping with the process: nothing was acknowledged, the client will find the next leader.
        Err(_) => {
            for slot in group {
                if let Some(place) = slots.get_mut(slot) {
                    *place = Err(Refusal::from(ErrorCode::NotLeaderOrFollower).into());
                }
            }
        }
    }
}

fn refused(refused: AppendRefused) -> PartitionRefused {
    let refusal = Refusal::from(&refused.error);
    let untold = matches!(
        refusal.code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::MessageTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::KafkaStorageError
    );
    let log_start_offset = if untold { -1 } else { refused.log_start_offset };
    PartitionRefused { refusal, records: records_at_fault(&refused.error), log_start_offset }
}

fn reply(request: &Request, body: &ProduceRequest, slots: &[PartitionResponse]) -> Reply {
    if body.acks == 0 {
        let failed = slots.iter().find_map(|slot| slot.as_ref().err());
        return match failed {
            // The client hears of it by the closed connection: it refreshes its metadata.
            Some(PartitionRefused { refusal, .. }) => {
                tracing::info!(peer = %request.connection.peer, ?refusal, "closing: a produce with acks=0 failed");
                Reply::close()
            }
            None => Reply::none(),
        };
    }
    let mut frame = request.begin_response();
    encode_response(&mut frame, request.version, body, slots);
    Reply::bytes(end_response(frame, 0))
}
