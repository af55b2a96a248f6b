//! Encodes Produce responses v3 to v13.
//!
//! Deliberately absent: current leaders and node endpoints (KIP-951), which a single node has no use for.

use bytes::{BufMut, BytesMut};

use super::request::{ProduceRequest, TopicKey};
use crate::api::error_code::{ErrorCode, Refusal};
use crate::api::wire::WriteWire;
use crate::drive::tasks::Appended;

/// What a partition is answered: where its batch is, or why it was refused and which record was at fault.
pub type PartitionResponse = Result<Appended, (Refusal, Option<i32>)>;

/// Appends the body of the response to `request` to `frame`. `slots` has one entry per partition, in order.
pub fn encode_response(
    frame: &mut BytesMut,
    version: i16,
    request: &ProduceRequest,
    slots: &[PartitionResponse],
) {
    let flexible = version >= 9;
    let mut slots = request.partitions.iter().zip(slots);
    frame.put_count(flexible, request.topics.len());
    for topic in &request.topics {
        match &topic.key {
            TopicKey::Name(name) => frame.put_string(flexible, name),
            TopicKey::Id(id) => frame.put_slice(&id.0),
        }
        frame.put_count(flexible, topic.partition_count);
        for (partition, slot) in slots.by_ref().take(topic.partition_count) {
            encode_partition(frame, version, partition.index, slot);
        }
        frame.put_no_tags(flexible);
    }
    frame.put_i32(0); // throttle time
    frame.put_no_tags(flexible);
}

fn encode_partition(frame: &mut BytesMut, version: i16, index: i32, slot: &PartitionResponse) {
    let flexible = version >= 9;
    let refused = slot.as_ref().err();
    let code = refused.map_or(ErrorCode::None, |(refusal, _)| refusal.code);
    let (base_offset, log_append_time_ms, log_start_offset) = match slot {
        Ok(appended) => (appended.base_offset, appended.log_append_time_ms, appended.log_start_offset),
        Err(_) => (-1, -1, -1),
    };
    frame.put_i32(index);
    frame.put_i16(code.number());
    frame.put_i64(base_offset);
    frame.put_i64(log_append_time_ms);
    if version >= 5 {
        frame.put_i64(log_start_offset);
    }
    if version >= 8 {
        let message = refused.and_then(|(refusal, _)| refusal.message.as_deref());
        let at_fault = refused.and_then(|(_, record)| *record);
        frame.put_count(flexible, usize::from(at_fault.is_some()));
        if let Some(record) = at_fault {
            frame.put_i32(record);
            frame.put_nullable_string(flexible, message);
            frame.put_no_tags(flexible);
        }
        frame.put_nullable_string(flexible, message);
    }
    frame.put_no_tags(flexible);
}
