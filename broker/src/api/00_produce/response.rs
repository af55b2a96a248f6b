//! Encodes Produce responses v3 to v13.
//!
//! Deliberately absent: current leaders and node endpoints (KIP-951), which a single node has no use for.

use std::collections::HashMap;
use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::request::{ProduceRequest, TopicKey};
use crate::api::error_code::{ErrorCode, Refusal};
use crate::api::wire::WriteWire;
use crate::drive::tasks::Appended;

/// What a partition is answered: where its batch is, or why it was refused.
pub type PartitionResponse = Result<Appended, PartitionRefused>;

/// Why a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRefused {
    /// Why.
    pub refusal: Refusal,
    /// Which of its records were at fault, and why.
    pub records: Vec<(i32, String)>,
    /// Where the log starts; -1 where Kafka does not tell it.
    pub log_start_offset: i64,
}

impl From<Refusal> for PartitionRefused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, records: Vec::new(), log_start_offset: -1 }
    }
}

/// Appends the body of the response to `request` to `frame`. `slots` has one entry per partition, in order.
pub fn encode_response(
    frame: &mut BytesMut,
    version: i16,
    request: &ProduceRequest,
    slots: &[PartitionResponse],
) {
    let flexible = version >= 9;
    let answered: Vec<(i32, &PartitionResponse)> =
        request.partitions.iter().map(|partition| partition.index).zip(slots).collect();
    let topics = grouped(request, answered.len());
    frame.put_count(flexible, topics.len());
    for (key, places) in topics {
        match key {
            TopicKey::Name(name) => frame.put_string(flexible, name),
            TopicKey::Id(id) => frame.put_slice(&id.0),
        }
        frame.put_count(flexible, places.iter().map(|places| places.len()).sum());
        for (index, slot) in places.into_iter().flat_map(|places| answered.get(places).unwrap_or_default()) {
            encode_partition(frame, version, *index, slot);
        }
        frame.put_no_tags(flexible);
    }
    frame.put_i32(0); // throttle time
    frame.put_no_tags(flexible);
}

/// Each topic once with the places of its partitions, as Kafka answers: what a request has of one topic under several entries
/// comes back under one, and a topic without partitions does not come back.
fn grouped(request: &ProduceRequest, partitions: usize) -> Vec<(&TopicKey, Vec<Range<usize>>)> {
    if let [topic] = &request.topics[..] {
        // The usual case.
        return if partitions == 0 {
            Vec::new()
        } else {
            vec![(&topic.key, vec![Range { start: 0, end: partitions }])]
        };
    }
    let mut topics: Vec<(&TopicKey, Vec<Range<usize>>)> = Vec::with_capacity(request.topics.len());
    let mut place_of: HashMap<&TopicKey, usize> = HashMap::with_capacity(request.topics.len());
    let mut start = 0;
    for topic in &request.topics {
        let places = start..(start + topic.partition_count).min(partitions);
        start = places.end;
        if places.is_empty() {
            continue;
        }
        let place = *place_of.entry(&topic.key).or_insert(topics.len());
        match topics.get_mut(place) {
            Some((_, ranges)) => ranges.push(places),
            None => topics.push((&topic.key, vec![places])),
        }
    }
    topics
}

fn encode_partition(frame: &mut BytesMut, version: i16, index: i32, slot: &PartitionResponse) {
    let flexible = version >= 9;
    let refused = slot.as_ref().err();
    let code = refused.map_or(ErrorCode::None, |refused| refused.refusal.code);
    let (base_offset, log_append_time_ms, log_start_offset) = match slot {
        Ok(appended) => (appended.base_offset, appended.log_append_time_ms, appended.log_start_offset),
        Err(refused) => (-1, -1, refused.log_start_offset),
    };
    frame.put_i32(index);
    frame.put_i16(code.number());
    frame.put_i64(base_offset);
    frame.put_i64(log_append_time_ms);
    if version >= 5 {
        frame.put_i64(log_start_offset);
    }
    if version >= 8 {
        let message = refused.and_then(|refused| refused.refusal.message.as_deref());
        let at_fault = refused.map_or(&[][..], |refused| &refused.records);
        frame.put_count(flexible, at_fault.len());
        for (record, why) in at_fault {
            frame.put_i32(*record);
            frame.put_nullable_string(flexible, Some(why));
            frame.put_no_tags(flexible);
        }
        frame.put_nullable_string(flexible, message);
    }
    frame.put_no_tags(flexible);
}
