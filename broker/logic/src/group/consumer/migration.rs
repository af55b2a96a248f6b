//! A group changes its protocol while it lives: when it may, and what of its members goes over.
//!
//! A classic group of consumers becomes a consumer group when its first member of the new protocol joins, and the other way round when the last one leaves.
//! Deliberately absent: exchanging the one for the other, which the coordinator does.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::embedded::{self, AssignmentError, Subscription};
use super::heartbeat::sorted_names;
use super::{Assignment, ClassicMember, ConsumerContext, ConsumerGroup, Member, MemberState};
use crate::group::classic::{ClassicGroup, Member as ClassicGroupMember, State};
use crate::group::records::{ConsumerRecordBody, GroupEpoch, TargetEpoch};
use crate::group::{Client, GroupError, GroupErrorKind, MemberId};

/// The protocol type of consumers.
const PROTOCOL_TYPE: &str = "consumer";

/// The records of a consumer group with the members of a classic one.
///
/// # Errors
/// GROUP_ID_NOT_FOUND, with Kafka's reason.
pub fn upgrade(group: &ClassicGroup, context: &mut ConsumerContext<'_>) -> Result<ConsumerGroup, GroupError> {
    let cannot = |reason: &str| {
        let group_id = &group.group_id;
        Err(GroupErrorKind::GroupIdNotFound
            .because(format!("Cannot upgrade classic group {group_id} to consumer group because {reason}.")))
    };
    if !context.config.migration_policy.allows_upgrade() {
        return cannot("online upgrade is disabled");
    }
    if !group.uses_consumer_protocol() {
        return cannot("the group does not use the consumer embedded protocol");
    }
    if group.members.len() > context.config.max_size {
        return cannot("the group size exceeds the consumer group maximum size");
    }
    let protocol = group.protocol_name.clone().unwrap_or_default();
    let generation = group.generation_id;
    let mut upgraded = ConsumerGroup::new(group.group_id.clone());
    let mut members = Vec::with_capacity(group.members.len());
    for member in group.members.values() {
        let Ok(subscription) = Subscription::decode(&member.metadata(&protocol)) else {
            return cannot("the embedded consumer protocol is malformed");
        };
        let target = match embedded::decode_assignment(&member.assignment, context.image) {
            Ok(target) => target,
            Err(AssignmentError::Malformed) => return cannot("the embedded consumer protocol is malformed"),
            Err(AssignmentError::UserData) => {
                return cannot(
                    "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade",
                );
            }
        };
        let member = Member {
            member_epoch: generation,
            previous_member_epoch: generation,
            state: MemberState::Stable,
            instance_id: member.instance_id.clone(),
            rack_id: subscription.rack_id,
            client_id: Arc::clone(&member.client.id),
            client_host: Arc::clone(&member.client.host),
            subscribed_topic_names: sorted_names(subscription.topics),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            assigned: target.at_epoch(generation),
            classic: Some(Arc::new(ClassicMember {
                session_timeout_ms: member.session_timeout_ms,
                protocols: member.protocols.clone(),
            })),
            ..Member::new(member.member_id.clone())
        };
        members.push((member, target));
    }
    use ConsumerRecordBody as Body;
    for (member, _) in &members {
        upgraded.replay(Body::Member(member.member_id.clone(), Some(member.metadata())));
    }
    let metadata_hash = context.hashes.group_hash(upgraded.subscriptions.topics(), context.image);
    upgraded.replay(Body::Epoch(Some(GroupEpoch { epoch: generation, metadata_hash })));
    for (member, target) in members {
        upgraded.replay(Body::TargetMember(member.member_id.clone(), Some(target)));
        upgraded.replay(Body::CurrentAssignment(member.member_id.clone(), Some(member.current_assignment())));
    }
    upgraded.replay(Body::TargetEpoch(Some(TargetEpoch { epoch: generation, timestamp_ms: 0 })));
    Ok(upgraded)
}

impl ConsumerGroup {
    /// The records that make the group, in Kafka's order.
    pub fn creation_records(&self) -> Vec<ConsumerRecordBody> {
        use ConsumerRecordBody as Body;
        let members = || self.members.values();
        let mut records: Vec<Body> =
            members().map(|m| Body::Member(m.member_id.clone(), Some(m.metadata()))).collect();
        let epoch = GroupEpoch { epoch: self.group_epoch, metadata_hash: self.metadata_hash };
        records.push(Body::Epoch(Some(epoch)));
        records.extend(self.targets.iter().map(|(id, t)| Body::TargetMember(id.clone(), Some(t.clone()))));
        records.push(Body::TargetEpoch(Some(self.target_epoch)));
        records.extend(
            members().map(|m| Body::CurrentAssignment(m.member_id.clone(), Some(m.current_assignment()))),
        );
        records
    }

    /// Whether the group becomes a classic one when these members go.
    pub fn downgrades_without(
        &self,
        gone: &BTreeSet<MemberId>,
        classic_max_size: usize,
        context: &ConsumerContext<'_>,
    ) -> bool {
        let mut left = self.members.values().filter(|member| !gone.contains(&member.member_id)).peekable();
        context.config.migration_policy.allows_downgrade()
            && left.peek().is_some()
            && self.members.len() - gone.len() <= classic_max_size
            && left.all(|member| member.classic.is_some())
    }

    /// Whether the group becomes a classic one when this member, which speaks the new protocol, returns with the classic one.
    pub(super) fn may_downgrade_without(
        &self,
        member: &Member,
        classic_max_size: usize,
        context: &ConsumerContext<'_>,
    ) -> bool {
        member.classic.is_none()
            && self.classic_members == self.members.len() - 1
            && context.config.migration_policy.allows_downgrade()
            && self.members.len() <= classic_max_size
    }

    /// The classic group of those that stay, each with its target as its assignment, and perhaps of one that takes another's place.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND for metadata that cannot be read.
    pub fn to_classic(
        &self,
        gone: &BTreeSet<MemberId>,
        returned: Option<(&Member, &MemberId)>,
        context: &ConsumerContext<'_>,
    ) -> Result<ClassicGroup, GroupError> {
        let mut group = ClassicGroup::new(self.group_id.clone(), context.now.wall_ms);
        group.state = State::Stable;
        group.previous_state = State::Stable;
        group.generation_id = self.group_epoch;
        let mut targets: Vec<(MemberId, Assignment)> = Vec::new();
        let stays = |m: &&Member| {
            !gone.contains(&m.member_id)
                && returned.is_none_or(|(_, predecessor)| *predecessor != m.member_id)
        };
        let staying = self.members.values().filter(stays).map(|member| (member, &member.member_id));
        for (member, owner) in staying.chain(returned) {
            let Some(classic) = &member.classic else { continue };
            let target = self.targets.get(owner).cloned().unwrap_or_default();
            targets.push((member.member_id.clone(), target));
            group.insert(ClassicGroupMember {
                member_id: member.member_id.clone(),
                instance_id: member.instance_id.clone(),
                client: Client { id: Arc::clone(&member.client_id), host: Arc::clone(&member.client_host) },
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                protocol_type: PROTOCOL_TYPE.into(),
                protocols: classic.protocols.clone(),
                assignment: Arc::default(),
                parked_join: None,
                parked_sync: None,
                is_new: false,
            });
        }
        group.protocol_name = group.select_protocol();
        group.subscribed_topics = group.subscriptions();
        let protocol = group.protocol_name.clone().unwrap_or_default();
        for (member_id, target) in targets {
            let Some(member) = group.members.get_mut(&member_id) else { continue };
            let metadata = member.metadata(&protocol);
            if Subscription::decode(&metadata).is_err() {
                return Err(GroupErrorKind::GroupIdNotFound.because(format!(
                    "Cannot downgrade the classic group {}: the subscription of {member_id} cannot be read.",
                    self.group_id
                )));
            }
            let version = embedded::version_of(&metadata);
            member.assignment = embedded::encode_assignment(&target, version, context.image);
        }
        Ok(group)
    }
}
