//! `uniform` for members that all subscribed to the same topics (Kafka's UniformHomogeneousAssignmentBuilder).
//!
//! Each member gets the same number of partitions, or one more. Who already has one more than the others keeps it before anybody else gets
//! one more, so nothing moves that need not. Deliberately absent: members with different subscriptions (`uniform_mixed`).

use std::collections::BTreeMap;

use super::GroupSpec;
use crate::controller::TopicId;
use crate::group::consumer::Assignment;

/// A target for each member, in their order.
pub(super) fn assign(group: &GroupSpec) -> Vec<Assignment> {
    let Some(first) = group.members.first() else { return Vec::new() };
    let topics = &first.topics;
    let mut owned: BTreeMap<TopicId, Vec<bool>> =
        topics.iter().map(|topic| (*topic, vec![false; group.partition_count(topic) as usize])).collect();
    let partitions: usize = owned.values().map(Vec::len).sum();
    let quota_min = partitions / group.members.len();
    let mut extras = partitions % group.members.len();

    // What each member has and may keep: of topics that it still subscribes to, and that nobody before it has.
    let mut kept: Vec<Vec<(TopicId, i32)>> = Vec::with_capacity(group.members.len());
    for member in &group.members {
        let mut own = Vec::new();
        for (topic, partition, ()) in member.assigned.iter() {
            let slot = owned.get_mut(&topic).and_then(|slots| slots.get_mut(partition as usize));
            if let Some(slot) = slot.filter(|taken| !**taken) {
                *slot = true;
                own.push((topic, partition));
            }
        }
        kept.push(own);
    }

    let mut quotas = vec![quota_min; kept.len()];
    for owns_more in [true, false] {
        for (quota, own) in quotas.iter_mut().zip(&kept) {
            if extras > 0 && (own.len() > quota_min) == owns_more {
                *quota += 1;
                extras -= 1;
            }
        }
    }

    for (own, quota) in kept.iter_mut().zip(&quotas) {
        for (topic, partition) in own.drain(own.len().min(*quota)..) {
            if let Some(slot) = owned.get_mut(&topic).and_then(|slots| slots.get_mut(partition as usize)) {
                *slot = false;
            }
        }
    }
    let mut free = owned.iter().flat_map(|(topic, slots)| {
        slots
            .iter()
            .enumerate()
            .filter(|(_, taken)| !**taken)
            .map(|(partition, _)| (*topic, partition as i32))
    });
    for (own, quota) in kept.iter_mut().zip(&quotas) {
        own.extend(free.by_ref().take(quota.saturating_sub(own.len())));
    }
    debug_assert!(free.next().is_none(), "the quotas add up to all partitions");
    kept.into_iter()
        .map(|own| own.into_iter().map(|(topic, partition)| (topic, partition, ())).collect())
        .collect()
}
