//! Encodes Fetch responses v4 to v18: headers laid by hand, batches as the pieces of memory they lie in.
//!
//! Deliberately absent: preferred read replicas, diverging epochs and current leaders (KIP-392, 595, 951), which a single
//! node has no use for.

use bytes::{BufMut, Bytes, BytesMut};

use super::request::{FetchRequest, FetchTopic};
use crate::api::dispatch::end_response;
use crate::api::error_code::ErrorCode;
use crate::api::produce::TopicKey;
use crate::api::wire::WriteWire;
use crate::drive::tasks::{Fetched, Isolation};

/// What a partition is answered.
pub type PartitionResponse = Result<Fetched, ErrorCode>;

/// Writes headers into one buffer and remembers where batches belong between them.
struct Laid {
    frame: BytesMut,
    /// Batches and the length of the headers before them.
    batches: Vec<(usize, Vec<Bytes>)>,
    batch_bytes: usize,
}

/// The response to `request`, whole with its length in front, in pieces to be sent in order. `frame` holds the start of
/// it (see `begin_response`); `slots` has one entry per partition, in order, and is emptied of its batches.
pub fn encode_response(
    frame: BytesMut,
    version: i16,
    request: &FetchRequest,
    isolation: Isolation,
    slots: &mut [PartitionResponse],
) -> Vec<Bytes> {
    let mut laid = Laid { frame, batches: Vec::new(), batch_bytes: 0 };
    begin(&mut laid.frame, version, ErrorCode::None);
    laid.topics(version, &request.topics, request, isolation, slots);
    laid.frame.put_no_tags(version >= 12);
    laid.into_pieces()
}

/// A response that is an error as a whole, without topics (v7 and later).
pub fn encode_error(mut frame: BytesMut, version: i16, code: ErrorCode) -> Bytes {
    begin(&mut frame, version, code);
    frame.put_count(version >= 12, 0);
    frame.put_no_tags(version >= 12);
    end_response(frame, 0)
}

fn begin(frame: &mut BytesMut, version: i16, code: ErrorCode) {
    frame.put_i32(0); // throttle time
    if version >= 7 {
        frame.put_i16(code.number());
        frame.put_i32(0); // session id: none
    }
}

impl Laid {
    fn topics(
        &mut self,
        version: i16,
        topics: &[FetchTopic],
        request: &FetchRequest,
        isolation: Isolation,
        slots: &mut [PartitionResponse],
    ) {
        let flexible = version >= 12;
        let mut slots = request.partitions.iter().zip(slots);
        self.frame.put_count(flexible, topics.len());
        for topic in topics {
            match &topic.key {
                TopicKey::Name(name) => self.frame.put_string(flexible, name),
                TopicKey::Id(id) => self.frame.put_slice(&id.0),
            }
            self.frame.put_count(flexible, topic.partition_count);
            for (partition, slot) in slots.by_ref().take(topic.partition_count) {
                self.partition(version, partition.index, isolation, slot);
            }
            self.frame.put_no_tags(flexible);
        }
    }

    fn partition(&mut self, version: i16, index: i32, isolation: Isolation, slot: &mut PartitionResponse) {
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
        // Aborted transactions: null where nobody asked, as from Kafka; there are none otherwise.
        match (isolation, slot.is_ok()) {
            (Isolation::ReadCommitted, true) => frame.put_count(flexible, 0),
            _ if flexible => frame.put_varint(0),
            _ => frame.put_i32(-1),
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
        self.frame.put_no_tags(flexible);
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
