//! `uniform` for members that subscribed to different topics (Kafka's UniformHeterogeneousAssignmentBuilder).
//!
//! Members keep what they may keep; free partitions go to the least loaded subscriber; then partitions move from loaded to less loaded
//! subscribers, topic by topic, until no single move helps. Deliberately absent: moves over several members at once, and the case
//! of equal subscriptions, for which `uniform` is exact.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use super::GroupSpec;
use crate::controller::TopicId;
use crate::group::consumer::Assignment;

/// How often all topics are gone through at most: an end to the work, as in Kafka. A few rounds are enough in practice.
const ROUNDS_MAX: usize = 16;

/// A topic while it is being divided. Members are named by their place in the group.
struct Topic {
    id: TopicId,
    /// Who subscribed to it, in the group's order.
    subscribers: Vec<usize>,
    /// Who gets partition n, at n.
    owners: Vec<Option<usize>>,
}

/// A target for each member, in their order.
pub(super) fn assign(group: &GroupSpec) -> Vec<Assignment> {
    let mut loads = vec![0_usize; group.members.len()];
    let mut topics = topics_with_owners(group, &mut loads);
    // The topics that burden their subscribers most come first: what follows can even out what they leave.
    topics.sort_by(burden);
    for topic in &mut topics {
        give_free_partitions(topic, &mut loads);
    }
    for _ in 0..ROUNDS_MAX {
        let mut moved = false;
        for topic in topics.iter_mut().filter(|topic| topic.subscribers.len() > 1) {
            moved |= even_out(topic, &mut loads);
        }
        if !moved {
            break;
        }
    }

    let mut targets: Vec<Vec<(TopicId, i32, ())>> = vec![Vec::new(); group.members.len()];
    for topic in &topics {
        for (partition, owner) in topic.owners.iter().enumerate() {
            if let Some(target) = owner.and_then(|owner| targets.get_mut(owner)) {
                target.push((topic.id, partition as i32, ()));
            }
        }
    }
    targets.into_iter().map(Assignment::from_iter).collect()
}

/// All topics, with the owners that stay; counts what they own.
fn topics_with_owners(group: &GroupSpec, loads: &mut [usize]) -> Vec<Topic> {
    let mut topics: BTreeMap<TopicId, Topic> = BTreeMap::new();
    for (at, member) in group.members.iter().enumerate() {
        for id in member.topics.iter() {
            let topic = topics.entry(*id).or_insert_with(|| Topic {
                id: *id,
                subscribers: Vec::new(),
                owners: vec![None; group.partition_count(id) as usize],
            });
            topic.subscribers.push(at);
            for (partition, ()) in member.assigned.topic(id) {
                let slot = topic.owners.get_mut(*partition as usize);
                if let Some(slot) = slot.filter(|owner| owner.is_none()) {
                    *slot = Some(at);
                    if let Some(load) = loads.get_mut(at) {
                        *load += 1;
                    }
                }
            }
        }
    }
    topics.into_values().collect()
}

/// More partitions for each subscriber first, then fewer subscribers.
fn burden(a: &Topic, b: &Topic) -> Ordering {
    let (a_share, b_share) = (a.owners.len() * b.subscribers.len(), b.owners.len() * a.subscribers.len());
    b_share.cmp(&a_share).then(a.subscribers.len().cmp(&b.subscribers.len())).then(a.id.cmp(&b.id))
}

fn give_free_partitions(topic: &mut Topic, loads: &mut [usize]) {
    let mut by_load: BTreeSet<(usize, usize)> =
        topic.subscribers.iter().map(|at| (loads.get(*at).copied().unwrap_or(0), *at)).collect();
    for slot in topic.owners.iter_mut().filter(|owner| owner.is_none()) {
        let Some((load, at)) = by_load.pop_first() else { return };
        *slot = Some(at);
        by_load.insert((load + 1, at));
    }
    for (load, at) in by_load {
        if let Some(slot) = loads.get_mut(at) {
            *slot = load;
        }
    }
}

/// Moves partitions of one topic from its most to its least loaded subscribers until they differ by one at most, or the loaded ones have none left.
fn even_out(topic: &mut Topic, loads: &mut [usize]) -> bool {
    let mut least: BTreeSet<(usize, usize)> =
        topic.subscribers.iter().map(|at| (loads.get(*at).copied().unwrap_or(0), *at)).collect();
    let (Some((lowest, _)), Some((highest, _))) = (least.first(), least.last()) else { return false };
    if highest - lowest <= 1 {
        return false;
    }
    let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (partition, owner) in topic.owners.iter().enumerate() {
        if let Some(owner) = owner {
            owned.entry(*owner).or_default().push(partition);
        }
    }
    let mut most: BTreeSet<(usize, Reverse<usize>)> = least
        .iter()
        .filter(|(_, at)| owned.contains_key(at))
        .map(|(load, at)| (*load, Reverse(*at)))
        .collect();
    let mut moved = false;
    // Who receives is never a giver again: givers are two above receivers, and stay at least one above what those become.
    while let (Some((high, Reverse(giver))), Some((low, taker))) = (most.pop_last(), least.first().copied()) {
        if high.saturating_sub(low) <= 1 {
            break;
        }
        let Some(partition) = owned.get_mut(&giver).and_then(Vec::pop) else { continue };
        if let Some(slot) = topic.owners.get_mut(partition) {
            *slot = Some(taker);
        }
        least.remove(&(low, taker));
        least.insert((low + 1, taker));
        least.remove(&(high, giver));
        least.insert((high - 1, giver));
        most.remove(&(low, Reverse(taker)));
        if owned.get(&taker).is_some_and(|left| !left.is_empty()) {
            most.insert((low + 1, Reverse(taker)));
        }
        most.insert((high - 1, Reverse(giver)));
        moved = true;
    }
    for (load, at) in least {
        if let Some(slot) = loads.get_mut(at) {
            *slot = load;
        }
    }
    moved
}
