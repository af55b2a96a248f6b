//! Encodes Fetch responses v4 to v18: headers laid by hand, batches as the pieces of memory they lie in.
//!
//! Deliberately absent: preferred read replicas and current leaders (KIP-392, 951), which a single
//! node has no use for.

use bytes::{BufMut, Bytes, BytesMut};
use corelog_logic::fetch_session::TopicKey;

use super::request::{FetchPartition, FetchRequest};
use crate::api::dispatch::end_response;
use crate::api::error_code::ErrorCode;
use crate::api::wire::WriteWire;
use crate::drive::tasks::{Fetched, Isolation};

/// First version that names topics by id.
const TOPIC_IDS: i16 = 13;

/// Where a partition tells that its log parts from the client's (KIP-595).
const DIVERGING_EPOCH_TAG: u32 = 0;

/// What a partition is answered.
pub type PartitionResponse = Result<Fetched, ErrorCode>;

/// Writes headers into one buffer and remembers where batches belong between them.
struct Laid {
    frame: BytesMut,
    /// Batches and the length of the headers before them.
    batches: Vec<(usize, Vec<Bytes>)>,
    batch_bytes: usize,
}

/// What a response tells.
pub struct Contents<'a> {
    /// 0 without a session.
    pub session_id: i32,
    /// What was asked for: topics, and their partitions.
    pub topics: &'a [TopicKey],
    /// The partitions that were asked for.
    pub partitions: &'a [FetchPartition],
    /// Which of the partitions are in the response, in the order in which they are.
    pub included: &'a [usize],
    /// As the request asked.
    pub isolation: Isolation,
}

/// The response, whole with its length in front, in pieces to be sent in order. `frame` holds the start of it (see
/// `begin_response`); `slots` has one entry for each of the contents' partitions, and is emptied of its batches.
pub fn encode_response(
    frame: BytesMut,
    version: i16,
    contents: &Contents<'_>,
    slots: &mut [PartitionResponse],
) -> Vec<Bytes> {
    let mut laid = Laid { frame, batches: Vec::new(), batch_bytes: 0 };
    begin(&mut laid.frame, version, ErrorCode::None, contents.session_id);
    laid.topics(version, contents, slots);
    laid.frame.put_no_tags(version >= 12);
    laid.into_pieces()
}

/// A response that is an error as a whole, without topics (v7 and later).
pub fn encode_error(mut frame: BytesMut, version: i16, code: ErrorCode, session_id: i32) -> Bytes {
    begin(&mut frame, version, code, session_id);
    frame.put_count(version >= 12, 0);
    frame.put_no_tags(version >= 12);
    end_response(frame, 0)
}

/// A response to a request that failed as a whole: every partition that it lists has the error, as long as topics have names.
pub fn encode_failed(frame: BytesMut, version: i16, code: ErrorCode, body: &FetchRequest) -> Bytes {
    if version >= TOPIC_IDS {
        return encode_error(frame, version, code, body.session_id);
    }
    let flexible = version >= 12;
    let mut laid = Laid { frame, batches: Vec::new(), batch_bytes: 0 };
    begin(&mut laid.frame, version, code, body.session_id);
    laid.frame.put_count(flexible, body.topics.len());
    let mut rest = body.partitions.as_slice();
    for (place, topic) in body.topics.iter().enumerate() {
        laid.topic(flexible, topic);
        let (partitions, others) = rest.split_at(rest.partition_point(|partition| partition.topic <= place));
        rest = others;
        laid.frame.put_count(flexible, partitions.len());
        for partition in partitions {
            laid.partition(version, partition.index, true, &mut Err(code));
        }
        laid.frame.put_no_tags(flexible);
    }
    laid.frame.put_no_tags(flexible);
    end_response(laid.frame, 0)
}

fn begin(frame: &mut BytesMut, version: i16, code: ErrorCode, session_id: i32) {
    frame.put_i32(0); // throttle time
    if version >= 7 {
        frame.put_i16(code.number());
        frame.put_i32(session_id);
    }
}

impl Laid {
    /// Neighbours of one topic stand under one heading, as from Kafka; a topic may have several.
    fn topics(&mut self, version: i16, contents: &Contents<'_>, slots: &mut [PartitionResponse]) {
        let flexible = version >= 12;
        let partitions: Vec<&FetchPartition> =
            contents.included.iter().filter_map(|slot| contents.partitions.get(*slot)).collect();
        let runs = || partitions.chunk_by(|one, next| one.topic == next.topic);
        let mut included = contents.included.iter();
        self.frame.put_count(flexible, runs().count());
        for run in runs() {
            match run.first().and_then(|first| contents.topics.get(first.topic)) {
                Some(topic) => self.topic(flexible, topic),
                None => unreachable!("a partition is of one of the topics"),
            }
            self.frame.put_count(flexible, run.len());
            for (partition, slot) in run.iter().zip(included.by_ref()) {
                let Some(slot) = slots.get_mut(*slot) else { unreachable!("a slot for each partition") };
                let tells_aborted = match slot {
                    Ok(found) => contents.isolation == Isolation::ReadCommitted && found.diverging.is_none(),
                    // What is not there was not even read.
                    Err(code) => {
                        matches!(code, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId)
                    }
                };
                self.partition(version, partition.index, tells_aborted, slot);
            }
            self.frame.put_no_tags(flexible);
        }
    }

    fn topic(&mut self, flexible: bool, topic: &TopicKey) {
        match topic {
            TopicKey::Name(name) => self.frame.put_string(flexible, name),
            TopicKey::Id(id) => self.frame.put_slice(&id.0),
        }
    }

    /// `tells_aborted` is whether there is a list of aborted transactions, which is empty: there are none.
    fn partition(&mut self, version: i16, index: i32, tells_aborted: bool, slot: &mut PartitionResponse) {
        let flexible = version >= 12;
        let (code, high_watermark, last_stable_offset, log_start_offset) = match slot {
            Ok(found) => {
                (ErrorCode::None, found.high_watermark, found.last_stable_offset, found.log_start_offset)
            }
            Err(code) => (*code, -1, -1, -1),
        };
        let frame = &mut self.frame;
        frame.put_i32(index);
        frame.put_i16(code.number());
        frame.put_i64(high_watermark);
        frame.put_i64(last_stable_offset);
        if version >= 5 {
            frame.put_i64(log_start_offset);
        }
        match (tells_aborted, flexible) {
            (true, _) => frame.put_count(flexible, 0),
            (false, true) => frame.put_varint(0),
            (false, false) => frame.put_i32(-1),
        }
        if version >= 11 {
            frame.put_i32(-1); // preferred read replica
        }
        let batches = slot.as_mut().map(|found| std::mem::take(&mut found.batches)).unwrap_or_default();
        let len: usize = batches.iter().map(Bytes::len).sum();
        frame.put_count(flexible, len);
        if len > 0 {
            self.batches.push((frame.len(), batches));
            self.batch_bytes += len;
        }
        match slot {
            Ok(Fetched { diverging: Some(end), .. }) if flexible => {
                let frame = &mut self.frame;
                frame.put_varint(1);
                frame.put_varint(DIVERGING_EPOCH_TAG);
                // Epoch, offset, and no tags in it.
                frame.put_varint(4 + 8 + 1);
                frame.put_i32(end.leader_epoch);
                frame.put_i64(end.end_offset);
                frame.put_no_tags(true);
            }
            _ => self.frame.put_no_tags(flexible),
        }
    }

    fn into_pieces(self) -> Vec<Bytes> {
        let mut headers = end_response(self.frame, self.batch_bytes);
        let mut pieces = Vec::with_capacity(1 + 2 * self.batches.len());
        let mut cut = 0;
        for (position, batches) in self.batches {
            pieces.push(headers.split_to(position - cut));
            cut = position;
            pieces.extend(batches);
        }
        if !headers.is_empty() {
            pieces.push(headers);
        }
        pieces
    }
}
