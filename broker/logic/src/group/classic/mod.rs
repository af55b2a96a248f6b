//! Classic groups: members that elect a leader, which assigns (Kafka's ClassicGroup and the `classicGroup…` half of its
//! GroupMetadataManager).
//!
//! This file is a group's data and what can be asked of it. `step` changes it; `join`, `sync` and `leave` are the requests.
//! What is not kept in `__consumer_offsets` (who has joined, who is pending, timers) is rebuilt by clients after a restart.

mod describe;
mod join;
mod leave;
mod member;
mod settle;
mod step;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use member::Member;
pub use settle::After;
pub(super) use step::Step;

use super::records::{GroupMetadataValue, MemberMetadata};
use super::{
    GroupErrorKind, GroupId, GroupRecord, InstanceId, MemberId, Opaque, Protocol, consumer_protocol,
};

/// Where a classic group stands. A group that is gone is Dead to those who ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Members are to join again.
    PreparingRebalance,
    /// All have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
}

impl State {
    /// As DescribeGroups and ListGroups spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// What the deadline of a join phase means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinWait {
    /// A group's first rebalance waits for more members, in steps of the initial delay (KIP-134).
    Initial { delay_ms: i64, remaining_ms: i64 },
    /// Members that have not joined by then are out.
    Rebalance,
}

/// A classic group.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassicGroup {
    pub(super) group_id: GroupId,
    pub(super) state: State,
    pub(super) previous_state: State,
    /// Milliseconds since 1970; -1 for a group whose record is too old to say.
    pub(super) state_timestamp_ms: i64,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol_name: Option<Arc<str>>,
    pub(super) generation_id: i32,
    pub(super) leader_id: Option<MemberId>,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) static_members: BTreeMap<InstanceId, MemberId>,
    /// Who was sent away to come back with an id.
    pub(super) pending_join: BTreeSet<MemberId>,
    /// Who has not synced since the last generation began.
    pub(super) pending_sync: BTreeSet<MemberId>,
    pub(super) parked_joins: usize,
    /// What its members' metadata takes, in bytes.
    metadata_bytes: usize,
    /// How many members support a protocol.
    pub(super) supported_protocols: BTreeMap<Arc<str>, usize>,
    /// What the members consume, where the protocol is the consumers' and can be read.
    pub(super) subscribed_topics: Option<BTreeSet<Arc<str>>>,
    pub(super) new_member_added: bool,
    pub(super) join_wait: JoinWait,
}

/// What members say about themselves for others to read, in bytes.
pub(super) fn metadata_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.metadata.len()).sum()
}

impl ClassicGroup {
    /// What its members' metadata takes, in bytes.
    pub(super) fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    /// What the metadata of this member takes, or of the static member in whose place it would come, in bytes.
    pub(super) fn metadata_bytes_of(&self, member_id: &str, instance_id: Option<&InstanceId>) -> usize {
        let of_instance = || self.members.get(self.static_members.get(instance_id?)?);
        self.members.get(member_id).or_else(of_instance).map_or(0, |member| metadata_bytes(&member.protocols))
    }

    /// An empty group without a protocol: what a commit from outside any group makes, too.
    pub fn new(group_id: GroupId, now_ms: i64) -> Self {
        Self {
            group_id,
            state: State::Empty,
            previous_state: State::Empty,
            state_timestamp_ms: now_ms,
            protocol_type: None,
            protocol_name: None,
            generation_id: 0,
            leader_id: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            parked_joins: 0,
            metadata_bytes: 0,
            supported_protocols: BTreeMap::new(),
            subscribed_topics: None,
            new_member_added: false,
            join_wait: JoinWait::Rebalance,
        }
    }

    /// The group that a record describes.
    pub fn from_record(group_id: GroupId, value: &GroupMetadataValue) -> Self {
        let mut group = Self::new(group_id, value.current_state_timestamp_ms);
        group.state = if value.members.is_empty() { State::Empty } else { State::Stable };
        group.generation_id = value.generation;
        group.protocol_type = Some(value.protocol_type.clone()).filter(|kind| !kind.is_empty());
        group.protocol_name = value.protocol.clone();
        group.leader_id = value.leader.clone();
        for kept in &value.members {
            group.insert(Member::from_record(kept, value));
        }
        group.subscribed_topics = group.subscriptions();
        group
    }

    /// The record that keeps the group, with these assignments or the members' present ones.
    pub(super) fn record(&self, assignments: Option<&BTreeMap<MemberId, Opaque>>) -> GroupRecord {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let member = |member: &Member| MemberMetadata {
            member_id: member.member_id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: match assignments {
                Some(assignments) => assignments.get(&member.member_id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            },
        };
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation_id,
            protocol: self.protocol_name.clone(),
            leader: self.leader_id.clone(),
            current_state_timestamp_ms: self.state_timestamp_ms,
            members: self.members.values().map(member).collect(),
        };
        GroupRecord::GroupMetadata(self.group_id.clone(), Some(value))
    }

    /// The record that Kafka writes for a group that has just been made, whoever is about to join it.
    pub(super) fn empty_record(&self) -> GroupRecord {
        let value = GroupMetadataValue {
            protocol_type: "".into(),
            generation: 0,
            protocol: None,
            leader: None,
            current_state_timestamp_ms: self.state_timestamp_ms,
            members: Vec::new(),
        };
        GroupRecord::GroupMetadata(self.group_id.clone(), Some(value))
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Its generation.
    pub fn generation_id(&self) -> i32 {
        self.generation_id
    }

    /// `consumer`, `connect`, …; None before a member has joined.
    pub fn protocol_type(&self) -> Option<&Arc<str>> {
        self.protocol_type.as_ref()
    }

    /// The members that have joined once.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// Who leads.
    pub fn leader_id(&self) -> Option<&MemberId> {
        self.leader_id.as_ref()
    }

    /// Whether it only holds offsets that somebody outside any group has committed. No record of its own keeps it.
    pub fn is_simple(&self) -> bool {
        self.protocol_type.is_none() && self.state == State::Empty && self.pending_join.is_empty()
    }

    /// Whether its members are consumers.
    pub fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(consumer_protocol::PROTOCOL_TYPE)
    }

    /// Whether a topic's offsets must be kept because a member consumes it. Not knowing what consumers consume is taken for yes.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader_id.as_deref() == Some(member_id)
    }

    pub(super) fn all_have_joined(&self) -> bool {
        self.members.len() == self.parked_joins && self.pending_join.is_empty()
    }

    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    /// Whether a member with these protocols could join: an empty group takes any, others want one that all support.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| {
                self.supported_protocols.get(&protocol.name).copied().unwrap_or(0) == self.members.len()
            })
    }

    /// Whether a request may speak for a member.
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&InstanceId>,
    ) -> Result<(), GroupErrorKind> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(GroupErrorKind::UnknownMemberId),
                Some(present) if **present != *member_id => return Err(GroupErrorKind::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupErrorKind::UnknownMemberId) }
    }

    /// Whether a commit is accepted (Kafka's `ClassicGroup.validateOffsetCommit`).
    pub(super) fn check_commit(
        &self,
        member_id: &str,
        instance_id: Option<&InstanceId>,
        generation_id: i32,
    ) -> Result<(), GroupErrorKind> {
        if generation_id < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation_id >= 0 || !member_id.is_empty() || instance_id.is_some() {
            self.check_member(member_id, instance_id)?;
            if generation_id != self.generation_id {
                return Err(GroupErrorKind::IllegalGeneration);
            }
        } else if self.state != State::Empty {
            return Err(GroupErrorKind::UnknownMemberId);
        }
        if self.state == State::CompletingRebalance {
            return Err(GroupErrorKind::RebalanceInProgress);
        }
        Ok(())
    }

    /// Adds a member, which takes the lead when nobody has it.
    pub(super) fn insert(&mut self, member: Member) {
        if self.members.is_empty() {
            self.protocol_type = Some(member.protocol_type.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.member_id.clone());
        }
        self.leader_id.get_or_insert_with(|| member.member_id.clone());
        self.pending_join.remove(&member.member_id);
        self.count_protocols(&member.protocols, true);
        self.parked_joins += usize::from(member.parked_join.is_some());
        self.members.insert(member.member_id.clone(), member);
    }

    /// Takes a member away, pending or not. Another one takes the lead.
    pub(super) fn remove(&mut self, member_id: &str) -> Option<Member> {
        let removed = self.members.remove(member_id);
        if let Some(member) = &removed {
            self.count_protocols(&member.protocols, false);
            self.parked_joins -= usize::from(member.parked_join.is_some());
            if let Some(instance_id) = &member.instance_id {
                self.static_members.remove(instance_id);
            }
        }
        if self.is_leader(member_id) {
            self.leader_id = self.members.keys().next().cloned();
        }
        self.pending_join.remove(member_id);
        self.pending_sync.remove(member_id);
        removed
    }

    /// Gives a static member another id, with nothing of its waiting; returns it as it was.
    pub(super) fn rename(&mut self, old_member_id: &MemberId, member_id: &MemberId) -> Option<Member> {
        let old = self.members.remove(old_member_id)?;
        debug_assert!(old.parked_join.is_none() && old.parked_sync.is_none());
        if let Some(instance_id) = &old.instance_id {
            self.static_members.insert(instance_id.clone(), member_id.clone());
        }
        if self.is_leader(old_member_id) {
            self.leader_id = Some(member_id.clone());
        }
        self.pending_sync.remove(old_member_id);
        self.members
            .insert(member_id.clone(), Member { member_id: member_id.clone(), is_new: false, ..old.clone() });
        Some(old)
    }

    fn count_protocols(&mut self, protocols: &[Protocol], added: bool) {
        let bytes = metadata_bytes(protocols);
        self.metadata_bytes =
            if added { self.metadata_bytes + bytes } else { self.metadata_bytes.saturating_sub(bytes) };
        for protocol in protocols {
            let count = self.supported_protocols.entry(protocol.name.clone()).or_insert(0);
            *count = if added { *count + 1 } else { count.saturating_sub(1) };
        }
        self.supported_protocols.retain(|_, count| *count > 0);
    }

    /// Takes over what a member says when it joins again.
    pub(super) fn update(&mut self, member_id: &str, protocols: Vec<Protocol>, timeouts_ms: (i32, i32)) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        (member.rebalance_timeout_ms, member.session_timeout_ms) = timeouts_ms;
        self.count_protocols(&before, false);
        self.count_protocols(&protocols, true);
    }

    /// The protocol that most members prefer among those that all support. On a tie, the one that the first of them by
    /// member id prefers; Kafka takes whichever its hash table shows first.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let everybodys =
            |protocol: &&Protocol| self.supported_protocols.get(&protocol.name) == Some(&self.members.len());
        let mut votes: Vec<(Arc<str>, usize)> = Vec::new();
        for member in self.members.values() {
            let Some(choice) = member.protocols.iter().find(everybodys) else { continue };
            match votes.iter_mut().find(|(name, _)| *name == choice.name) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice.name.clone(), 1)),
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name)
    }

    /// What the members consume by the chosen protocol (Kafka's `computeSubscribedTopics`).
    pub(super) fn subscriptions(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(consumer_protocol::subscribed_topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }
}
