//! A member of a classic group of consumers: its requests, and how a whole group joins before a measurement.
//!
//! Every member subscribes to one topic; the leader hands partitions out in turn. Deliberately absent: reading records.

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::cold;
use crate::exchange::Exchange;

/// The last version in which a member needs no second request to get its id.
pub(super) const JOIN_VERSION: i16 = 3;
pub(super) const SYNC_VERSION: i16 = 3;
pub(super) const HEARTBEAT_VERSION: i16 = 3;

const SESSION_TIMEOUT_MS: i32 = 45_000;
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
const ASSIGNOR: &str = "range";
/// Version of the consumers' own formats of subscription and assignment.
const EMBEDDED_VERSION: i16 = 1;

/// One member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) group: GroupId,
    pub(super) member_id: StrBytes,
    pub(super) generation: i32,
    /// All members' ids, of a leader.
    pub(super) led: Vec<StrBytes>,
    /// How many partitions it was given.
    pub(super) assigned: usize,
}

/// What a group consumes.
#[derive(Debug, Clone)]
pub(super) struct Consumed {
    pub(super) topic: String,
    pub(super) partitions: usize,
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    out.put_slice(text.as_bytes());
}

/// A subscription as consumers write it; `user_data` makes it another than the one before.
fn subscription(topic: &str, user_data: u64) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(EMBEDDED_VERSION);
    out.put_i32(1);
    put_string(&mut out, topic);
    out.put_i32(8);
    out.put_u64(user_data);
    out.put_i32(0);
    out.freeze()
}

fn assignment(topic: &str, partitions: &[i32]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(EMBEDDED_VERSION);
    out.put_i32(1);
    put_string(&mut out, topic);
    out.put_i32(i32::try_from(partitions.len()).unwrap_or(i32::MAX));
    partitions.iter().for_each(|partition| out.put_i32(*partition));
    out.put_i32(-1);
    out.freeze()
}

/// How many partitions of its one topic an assignment holds.
fn partitions_in(assignment: &[u8]) -> Option<usize> {
    let mut cursor = crate::wire::Cursor::new(assignment);
    cursor.i16()?;
    if cursor.i32()? == 0 {
        return Some(0);
    }
    let name = usize::try_from(cursor.i16()?).ok()?;
    cursor.bytes(name)?;
    usize::try_from(cursor.i32()?).ok()
}

impl Member {
    pub(super) fn new(group: &str) -> Self {
        let group = GroupId(StrBytes::from_string(group.to_string()));
        Self { group, member_id: StrBytes::default(), generation: -1, led: Vec::new(), assigned: 0 }
    }

    /// A JoinGroup; a `round` that was not there before makes the group rebalance.
    pub(super) fn join(&self, consumed: &Consumed, round: u64) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str(ASSIGNOR))
            .with_metadata(subscription(&consumed.topic, round));
        JoinGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_session_timeout_ms(SESSION_TIMEOUT_MS)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_member_id(self.member_id.clone())
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![protocol])
    }

    /// Takes over what it was told when it joined.
    pub(super) fn joined(&mut self, answer: JoinGroupResponse) -> Result<()> {
        cold::check(answer.error_code, "JoinGroup")?;
        self.generation = answer.generation_id;
        self.led = if answer.leader == answer.member_id {
            answer.members.into_iter().map(|member| member.member_id).collect()
        } else {
            Vec::new()
        };
        self.member_id = answer.member_id;
        Ok(())
    }

    /// A SyncGroup, of the leader with everybody's assignment.
    pub(super) fn sync(&self, consumed: &Consumed) -> SyncGroupRequest {
        let members = self.led.len();
        let assignments = self.led.iter().enumerate().map(|(place, member_id)| {
            let partitions: Vec<i32> =
                (0..consumed.partitions as i32).skip(place).step_by(members.max(1)).collect();
            SyncGroupRequestAssignment::default()
                .with_member_id(member_id.clone())
                .with_assignment(assignment(&consumed.topic, &partitions))
        });
        SyncGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
            .with_assignments(assignments.collect())
    }

    /// Takes its assignment over.
    pub(super) fn synced(&mut self, answer: &SyncGroupResponse) -> Result<()> {
        cold::check(answer.error_code, "SyncGroup")?;
        self.assigned = partitions_in(&answer.assignment).context("an assignment that is none")?;
        Ok(())
    }

    pub(super) fn heartbeat(&self) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(self.group.clone())
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
    }
}

/// Joins members, one on each connection, all at once; members of one group lie together. Blocking.
pub(super) fn join_all(
    exchanges: &mut [Exchange],
    members: &mut [Member],
    consumed: &Consumed,
) -> Result<()> {
    for (exchange, member) in exchanges.iter_mut().zip(members.iter()) {
        exchange.ask(JOIN_VERSION, &member.join(consumed, 0))?;
        exchange.flush()?;
    }
    for (exchange, member) in exchanges.iter_mut().zip(members.iter_mut()) {
        member.joined(exchange.wait::<JoinGroupRequest>(JOIN_VERSION)?)?;
        exchange.ask(SYNC_VERSION, &member.sync(consumed))?;
        exchange.flush()?;
    }
    for (exchange, member) in exchanges.iter_mut().zip(members.iter_mut()) {
        member.synced(&exchange.wait::<SyncGroupRequest>(SYNC_VERSION)?)?;
    }
    for group in members.chunk_by(|a, b| a.group == b.group) {
        let leaders = group.iter().filter(|member| !member.led.is_empty()).count();
        let assigned: usize = group.iter().map(|member| member.assigned).sum();
        ensure!(
            leaders == 1 && group.iter().all(|member| member.generation == group[0].generation),
            "the members of a group did not join it together ({leaders} leaders): start the broker with group.initial.rebalance.delay.ms of a second or more"
        );
        ensure!(
            assigned == consumed.partitions,
            "{assigned} of {} partitions were assigned",
            consumed.partitions
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_hands_every_partition_out_once() {
        let consumed = Consumed { topic: "t".to_string(), partitions: 10 };
        let mut leader = Member::new("g");
        leader.led = ["a", "b", "c"].map(StrBytes::from_static_str).to_vec();
        let request = leader.sync(&consumed);
        let counts: Vec<Option<usize>> =
            request.assignments.iter().map(|one| partitions_in(&one.assignment)).collect();
        assert_eq!(counts, [Some(4), Some(3), Some(3)]);
    }

    #[test]
    fn an_empty_and_a_broken_assignment_are_told_apart() {
        assert_eq!(partitions_in(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Some(0));
        assert_eq!(partitions_in(&[0, 1, 0, 0]), None);
    }

    #[test]
    fn another_round_is_another_subscription() {
        assert_ne!(subscription("t", 1), subscription("t", 2));
    }
}
