//! `range`: of each topic every subscriber gets a range of neighbouring partitions (Kafka's RangeAssignor).
//!
//! Members are taken in one order for all topics, static ones by instance id and before the others, so topics with as many partitions and
//! the same subscribers are divided alike and can be joined. Deliberately absent: stickiness, of which Kafka's has none beyond that order.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{GroupSpec, MemberSpec};
use crate::controller::TopicId;
use crate::group::consumer::Assignment;

/// How a topic is being divided.
struct Division {
    /// Partitions for every subscriber.
    quota_min: i32,
    /// How many subscribers still get one more.
    extras: i32,
    /// First partition that nobody has.
    next: i32,
}

/// A target for each member, in their order.
pub(super) fn assign(group: &GroupSpec) -> Vec<Assignment> {
    let mut subscribers: BTreeMap<TopicId, i32> = BTreeMap::new();
    for topic in group.members.iter().flat_map(|member| member.topics.iter()) {
        *subscribers.entry(*topic).or_default() += 1;
    }
    let mut divisions: BTreeMap<TopicId, Division> = subscribers
        .into_iter()
        .map(|(topic, members)| {
            let partitions = group.partition_count(&topic);
            (topic, Division { quota_min: partitions / members, extras: partitions % members, next: 0 })
        })
        .collect();

    let mut order: Vec<usize> = (0..group.members.len()).collect();
    order.sort_by(|a, b| match (group.members.get(*a), group.members.get(*b)) {
        (Some(a), Some(b)) => precedence(a, b),
        _ => Ordering::Equal,
    });
    let mut targets = vec![Assignment::default(); group.members.len()];
    for at in order {
        let (Some(member), Some(target)) = (group.members.get(at), targets.get_mut(at)) else { continue };
        let mut ranges = Vec::with_capacity(member.topics.len());
        for topic in member.topics.iter() {
            let Some(division) = divisions.get_mut(topic) else { continue };
            let extra = division.extras.min(1);
            let end = division.next + division.quota_min + extra;
            ranges.push((*topic, division.next..end));
            division.extras -= extra;
            division.next = end;
        }
        *target = ranges
            .into_iter()
            .flat_map(|(topic, range)| range.map(move |partition| (topic, partition, ())))
            .collect();
    }
    targets
}

fn precedence(a: &MemberSpec, b: &MemberSpec) -> Ordering {
    match (&a.instance_id, &b.instance_id) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.member_id.cmp(&b.member_id),
    }
}
