//! Members that speak the classic protocol in a consumer group: what JoinGroup, SyncGroup, Heartbeat and LeaveGroup mean to them there.
//!
//! The coordinator assigns, so nobody leads: a join takes the member one step towards its target, a sync tells it what it owns, and a heartbeat answers
//! REBALANCE_IN_PROGRESS when it should join again. Deliberately absent: groups of classic members only (`group::classic`), and turning one kind of group into
//! the other (`migration.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decision::Draft;
use super::embedded::{self, Subscription};
use super::heartbeat::{Heard, Saying, sorted_names};
use super::{
    ClassicMember, ConsumerContext, ConsumerGroup, Decision, Effect, Member, MemberState, MemberTimer,
    MigrationPolicy,
};
use crate::controller::MetadataImage;
use crate::group::{
    GroupError, GroupErrorKind, Heartbeat, InstanceId, JoinGroup, JoinGroupReply, LeaveGroup, LeftMember,
    MemberId, SyncGroup, SyncGroupReply,
};

/// The protocol type of consumers.
const PROTOCOL_TYPE: &str = "consumer";

/// What a JoinGroup leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Joining {
    /// The member has joined.
    Joined(Decision<JoinGroupReply>),
    /// It takes the place of the last member of the new protocol: the group becomes a classic one, with this member.
    Downgrade(Box<Downgrade>),
}

/// A group that becomes classic as a static member returns with the classic protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct Downgrade {
    /// Records of the consumer group so far, and the answer.
    pub decision: Decision<JoinGroupReply>,
    /// Who returned.
    pub member: Member,
    /// Whose place it takes.
    pub predecessor: MemberId,
    /// Whether the members must rebalance: the target is not of the group's epoch.
    pub rebalance: bool,
}

impl ConsumerGroup {
    /// Decides a JoinGroup. `new_member_id` is for a member that has none.
    ///
    /// # Errors
    /// Kafka's, and nothing has changed.
    pub fn classic_join(
        &self,
        request: &JoinGroup,
        new_member_id: MemberId,
        classic_max_size: usize,
        context: &mut ConsumerContext<'_>,
    ) -> Result<Joining, GroupError> {
        if context.config.migration_policy == MigrationPolicy::Disabled {
            return Err(GroupErrorKind::InconsistentGroupProtocol.because(format!(
                "Cannot join the consumer group {} with the classic protocol because the group migration is disabled.",
                self.group_id
            )));
        }
        let is_new = request.member_id.is_empty();
        let member_id = if is_new { new_member_id } else { request.member_id.clone() };
        self.check_size(&member_id, context.config.max_size)?;
        if !self.supports(request) {
            return Err(GroupErrorKind::InconsistentGroupProtocol
                .because(format!("Member {member_id}'s protocols are not supported.")));
        }
        if is_new && request.instance_id.is_none() && request.requires_member_id {
            let refused = JoinGroupReply::refused(member_id, GroupErrorKind::MemberIdRequired);
            return Ok(Joining::Joined(Decision::reply(refused)));
        }
        let malformed = || {
            GroupErrorKind::InconsistentGroupProtocol
                .because("Malformed embedded consumer protocol in subscription deserialization.")
        };
        let first = request.protocols.first().ok_or_else(malformed)?;
        let subscription = Subscription::decode(&first.metadata).map_err(|_| malformed())?;

        let mut draft = Draft::default();
        let before = match &request.instance_id {
            None => self.member_or_new(&member_id, true)?,
            Some(instance_id) if is_new => self.join_static(instance_id, &member_id, true, &mut draft)?,
            Some(instance_id) => self.known_static(instance_id, &member_id)?.clone(),
        };
        let predecessor = request
            .instance_id
            .as_deref()
            .and_then(|instance_id| self.static_member(instance_id))
            .filter(|existing| self.may_downgrade_without(existing, classic_max_size, context));
        let owned = subscription.owned(context.image);
        let mut member = before.clone();
        if request.instance_id.is_some() {
            member.instance_id.clone_from(&request.instance_id);
        }
        if subscription.rack_id.is_some() {
            member.rack_id.clone_from(&subscription.rack_id);
        }
        if request.rebalance_timeout_ms != -1 {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        member.subscribed_topic_names = sorted_names(subscription.topics);
        member.subscribed_topic_regex = "".into();
        member.client_id = Arc::clone(&request.client.id);
        member.client_host = Arc::clone(&request.client.host);
        member.classic = Some(Arc::new(ClassicMember {
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
        }));
        let protocol_name = Arc::clone(&first.name);
        let saying = Saying { before: &before, member, owned: Some(&owned), classic: true };

        let Some(predecessor) = predecessor else {
            let Heard { member } = self.hear(saying, context, &mut draft)?;
            let id = &member.member_id;
            draft.effects.push(Effect::CancelTimer(MemberTimer::Join, id.clone()));
            let session_ms = request.session_timeout_ms.into();
            draft.effects.push(Effect::SetTimer(MemberTimer::Session, id.clone(), session_ms));
            let rebalance_ms = request.rebalance_timeout_ms.into();
            draft.effects.push(Effect::SetTimer(MemberTimer::Sync, id.clone(), rebalance_ms));
            let reply = joined(&member, protocol_name);
            return Ok(Joining::Joined(draft.answer(reply)));
        };

        let (changed, group_epoch, saying) = self.move_epoch(saying, context, &mut draft)?;
        let rebalance = self.target_epoch.epoch < group_epoch;
        let mut member = saying.member;
        if !rebalance {
            let target = self.target_of(&member);
            let epoch = self.target_epoch.epoch;
            member = self.reconcile(member, epoch, &target, changed, saying.owned, context, &mut draft)?;
        }
        let reply = joined(&member, protocol_name);
        let predecessor = predecessor.member_id.clone();
        Ok(Joining::Downgrade(Box::new(Downgrade {
            decision: draft.answer(reply),
            member,
            predecessor,
            rebalance,
        })))
    }

    /// Whether a member with these protocols could join: one of them must be known to all classic members.
    fn supports(&self, request: &JoinGroup) -> bool {
        if *request.protocol_type != *PROTOCOL_TYPE {
            return false;
        }
        if self.members.is_empty() {
            return !request.protocols.is_empty();
        }
        request.protocols.iter().any(|protocol| {
            self.classic_protocols.get(&protocol.name).copied().unwrap_or(0) == self.classic_members
        })
    }

    /// Decides a SyncGroup.
    ///
    /// # Errors
    /// Kafka's. REBALANCE_IN_PROGRESS comes with an effect: the member has its rebalance timeout to join again.
    pub fn classic_sync(
        &self,
        request: &SyncGroup,
        image: &MetadataImage,
    ) -> Result<Decision<SyncGroupReply>, GroupError> {
        let (member, classic) = self.classic_member(&request.member_id, request.instance_id.as_ref())?;
        check_generation(member, request.generation_id)?;
        if let Some(kind) = request.protocol_type.as_deref().filter(|kind| *kind != PROTOCOL_TYPE) {
            return Err(GroupErrorKind::InconsistentGroupProtocol.because(format!(
                "The protocol type {kind} from member {} request is not equal to the group protocol type {PROTOCOL_TYPE}.",
                member.member_id
            )));
        }
        let first = classic.protocols.first();
        let chosen = first.map(|protocol| &*protocol.name).unwrap_or_default();
        if let Some(name) = request.protocol_name.as_deref().filter(|name| *name != chosen) {
            return Err(GroupErrorKind::InconsistentGroupProtocol.because(format!(
                "The protocol name {name} from member {} request is not equal to the protocol name {chosen} returned in the join response.",
                member.member_id
            )));
        }
        let mut draft = Draft::default();
        if self.target_epoch.epoch > member.member_epoch && member.state != MemberState::UnrevokedPartitions {
            draft.effects.push(must_join(member));
            return Ok(draft.answer(SyncGroupReply::refused(GroupErrorKind::RebalanceInProgress)));
        }
        let session_ms = classic.session_timeout_ms.into();
        draft.effects.push(Effect::CancelTimer(MemberTimer::Sync, member.member_id.clone()));
        draft.effects.push(Effect::SetTimer(MemberTimer::Session, member.member_id.clone(), session_ms));
        let version = first.map_or(0, |protocol| embedded::version_of(&protocol.metadata));
        Ok(draft.answer(SyncGroupReply {
            error: None,
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment: embedded::encode_assignment(&member.assigned.without_epochs(), version, image),
        }))
    }

    /// Decides a Heartbeat.
    ///
    /// # Errors
    /// Kafka's; that the member should join again is an answer.
    pub fn classic_heartbeat(
        &self,
        request: &Heartbeat,
    ) -> Result<Decision<Result<(), GroupErrorKind>>, GroupError> {
        let (member, classic) = self.classic_member(&request.member_id, request.instance_id.as_ref())?;
        check_generation(member, request.generation_id)?;
        let mut draft = Draft::default();
        let session_ms = classic.session_timeout_ms.into();
        draft.effects.push(Effect::SetTimer(MemberTimer::Session, member.member_id.clone(), session_ms));
        let should_join = member.member_epoch < self.target_epoch.epoch
            || member.state == MemberState::UnrevokedPartitions
            || member.state == MemberState::UnreleasedPartitions && !self.is_waiting_for_release(member);
        if !should_join {
            return Ok(draft.answer(Ok(())));
        }
        draft.effects.push(must_join(member));
        Ok(draft.answer(Err(GroupErrorKind::RebalanceInProgress)))
    }

    /// Who of a LeaveGroup goes, and what each is told.
    pub fn classic_leave(&self, request: &LeaveGroup) -> (BTreeSet<MemberId>, Vec<LeftMember>) {
        let mut gone = BTreeSet::new();
        let mut told = Vec::with_capacity(request.members.len());
        for leaving in &request.members {
            let found = match &leaving.instance_id {
                None => self.members.get(&leaving.member_id).ok_or(GroupErrorKind::UnknownMemberId),
                Some(instance_id) if leaving.member_id.is_empty() => {
                    self.static_member(instance_id).ok_or(GroupErrorKind::UnknownMemberId)
                }
                Some(instance_id) => {
                    self.known_static(instance_id, &leaving.member_id).map_err(|error| error.kind)
                }
            };
            told.push(LeftMember {
                member_id: leaving.member_id.clone(),
                instance_id: leaving.instance_id.clone(),
                error: found.err(),
            });
            gone.extend(found.ok().map(|member| member.member_id.clone()));
        }
        (gone, told)
    }

    fn classic_member(
        &self,
        member_id: &MemberId,
        instance_id: Option<&InstanceId>,
    ) -> Result<(&Member, &ClassicMember), GroupError> {
        let member = match instance_id {
            None => self.members.get(member_id).ok_or_else(|| self.not_a_member(member_id))?,
            Some(instance_id) => self.known_static(instance_id, member_id)?,
        };
        match &member.classic {
            Some(classic) => Ok((member, classic)),
            None => Err(GroupErrorKind::UnknownMemberId
                .because(format!("Member {member_id} does not use the classic protocol."))),
        }
    }
}

fn check_generation(member: &Member, generation_id: i32) -> Result<(), GroupError> {
    if member.member_epoch == generation_id {
        return Ok(());
    }
    Err(GroupErrorKind::IllegalGeneration.because(format!(
        "The request generation id {generation_id} is not equal to the member epoch {} of member {}.",
        member.member_epoch, member.member_id
    )))
}

fn must_join(member: &Member) -> Effect {
    let delay_ms = member.rebalance_timeout_ms.into();
    Effect::SetTimerIfAbsent(MemberTimer::Join, member.member_id.clone(), delay_ms)
}

fn joined(member: &Member, protocol_name: Arc<str>) -> JoinGroupReply {
    JoinGroupReply {
        error: None,
        generation_id: member.member_epoch,
        protocol_type: Some(PROTOCOL_TYPE.into()),
        protocol_name: Some(protocol_name),
        // The coordinator assigns: nobody leads.
        leader: MemberId::default(),
        skip_assignment: false,
        member_id: member.member_id.clone(),
        members: Vec::new(),
    }
}
