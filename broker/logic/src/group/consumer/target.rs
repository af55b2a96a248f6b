//! A new target assignment for a group (Kafka's TargetAssignmentBuilder): describes the group to an assignor, and records what differs.
//!
//! Called by decisions when the group's epoch is ahead of its target's. Deliberately absent: the assignors themselves, and when it is time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Assignment, ConsumerGroup, Member};
use crate::controller::{MetadataImage, TopicId};
use crate::group::MemberId;
use crate::group::assignors::{Assignor, GroupSpec, MemberSpec};
use crate::group::records::{ConsumerRecordBody, TargetEpoch};

/// Names that members share, told by where they lie, and an expression.
type Subscribed<'a> = (*const Arc<str>, usize, &'a str);

/// A computed target.
pub(super) struct NewTarget {
    /// What changes, then the target's epoch.
    pub records: Vec<ConsumerRecordBody>,
    /// That of the member that asked.
    pub own: Assignment,
}

impl ConsumerGroup {
    /// The topics that a member subscribed to, of those that exist.
    pub(super) fn subscribed_topics(&self, member: &Member, image: &MetadataImage) -> BTreeSet<TopicId> {
        let resolved = member.regex().and_then(|regex| self.resolved_regexes.get(regex));
        let by_regex = resolved.into_iter().flat_map(|resolved| &resolved.topics);
        let names = member.subscribed_topic_names.iter().chain(by_regex);
        names.filter_map(|name| image.topic_by_name(name)).map(|topic| topic.id).collect()
    }

    /// The assignor that most members ask for, once `member` takes the place of `before`; the first of `assignors` when nobody asks.
    pub(super) fn preferred_assignor(
        &self,
        before: Option<&Member>,
        member: Option<&Member>,
        assignors: &[Assignor],
    ) -> Assignor {
        let mut counts: BTreeMap<&str, usize> =
            self.assignors.iter().map(|(name, count)| (&**name, *count)).collect();
        if let Some(count) =
            before.and_then(|before| counts.get_mut(before.server_assignor.as_deref().unwrap_or_default()))
        {
            *count -= 1;
        }
        if let Some(name) = member.and_then(|member| member.server_assignor.as_deref()) {
            *counts.entry(name).or_default() += 1;
        }
        let known = counts.into_iter().filter(|(_, count)| *count > 0);
        let known = known.filter_map(|(name, count)| Some((Assignor::by_name(name)?, count)));
        let default = assignors.first().copied().unwrap_or(Assignor::Uniform);
        known.max_by_key(|(_, count)| *count).map_or(default, |(assignor, _)| assignor)
    }

    /// A target for all members, with `member` as it is after this request.
    pub(super) fn new_target(
        &self,
        group_epoch: i32,
        assignor: Assignor,
        member: &Member,
        image: &MetadataImage,
        now_ms: i64,
    ) -> NewTarget {
        let predecessor = self.predecessor(member);
        let mut members: BTreeMap<&MemberId, &Member> = self.members.iter().collect();
        if let Some(predecessor) = predecessor {
            members.remove(predecessor);
        }
        members.insert(&member.member_id, member);

        // Few subscriptions are shared by many members: each is looked up once.
        let mut looked_up: HashMap<Subscribed<'_>, Arc<[TopicId]>> = HashMap::new();
        let mut partition_counts = BTreeMap::new();
        let mut spec = GroupSpec { members: Vec::with_capacity(members.len()), ..GroupSpec::default() };
        for (member_id, of) in members {
            let names = &of.subscribed_topic_names;
            let key = (names.as_ptr(), names.len(), &*of.subscribed_topic_regex);
            let topics = looked_up.entry(key).or_insert_with(|| {
                let topics = self.subscribed_topics(of, image);
                for id in &topics {
                    let count = image.topic(id).map_or(0, |topic| topic.partitions.len());
                    partition_counts.insert(*id, count as i32);
                }
                topics.into_iter().collect()
            });
            let owner =
                if of.member_id == member.member_id { predecessor.unwrap_or(member_id) } else { member_id };
            spec.members.push(MemberSpec {
                member_id: member_id.clone(),
                instance_id: of.instance_id.clone(),
                topics: Arc::clone(topics),
                assigned: self.targets.get(owner).cloned().unwrap_or_default(),
            });
        }
        spec.partition_counts = partition_counts;

        let targets = assignor.assign(&spec);
        let mut new = NewTarget { records: Vec::new(), own: Assignment::default() };
        for (of, target) in spec.members.into_iter().zip(targets) {
            if of.member_id == member.member_id {
                new.own = target.clone();
            }
            if self.targets.get(&of.member_id) != Some(&target) {
                new.records.push(ConsumerRecordBody::TargetMember(of.member_id, Some(target)));
            }
        }
        new.records.push(ConsumerRecordBody::TargetEpoch(Some(TargetEpoch {
            epoch: group_epoch,
            timestamp_ms: now_ms,
        })));
        new
    }

    /// The member that a static member takes the place of.
    pub(super) fn predecessor(&self, member: &Member) -> Option<&MemberId> {
        let before = self.static_members.get(member.instance_id.as_ref()?)?;
        Some(before).filter(|before| **before != member.member_id)
    }

    /// A member's target, which for a static member is that of its predecessor.
    pub(super) fn target_of(&self, member: &Member) -> Assignment {
        let owner = match &member.instance_id {
            None => Some(&member.member_id),
            Some(instance_id) => self.static_members.get(instance_id),
        };
        owner.and_then(|owner| self.targets.get(owner)).cloned().unwrap_or_default()
    }
}
