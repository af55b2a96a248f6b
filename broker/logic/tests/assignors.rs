//! Properties of the assignors over random groups: everything is assigned once, to a subscriber; loads are even; nothing moves in vain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corelog_logic::controller::TopicId;
use corelog_logic::group::assignors::{Assignor, GroupSpec, MemberSpec};
use corelog_logic::group::consumer::Assignment;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

fn topic(number: u8) -> TopicId {
    TopicId([number; 16])
}

fn member(number: usize, topics: &BTreeSet<u8>, assigned: Assignment) -> MemberSpec {
    MemberSpec {
        member_id: format!("m{number:03}").as_str().into(),
        instance_id: number.is_multiple_of(3).then(|| format!("i{number}").as_str().into()),
        topics: topics.iter().map(|number| topic(*number)).collect::<Arc<[TopicId]>>(),
        assigned,
    }
}

/// Topics with their numbers of partitions.
fn topics() -> impl Strategy<Value = BTreeMap<TopicId, i32>> {
    vec(1..12_i32, 1..6).prop_map(|counts| counts.into_iter().zip(0..).map(|(n, t)| (topic(t), n)).collect())
}

/// Members that subscribed alike, or each to its own.
fn subscriptions(alike: bool) -> impl Strategy<Value = Vec<BTreeSet<u8>>> {
    let one = btree_set(0..6_u8, 0..5);
    if alike {
        (one, 1..9_usize).prop_map(|(topics, members)| vec![topics; members]).boxed()
    } else {
        vec(one, 1..9).boxed()
    }
}

fn group(partition_counts: BTreeMap<TopicId, i32>, subscriptions: &[BTreeSet<u8>]) -> GroupSpec {
    let mut members: Vec<_> = subscriptions
        .iter()
        .enumerate()
        .map(|(number, topics)| member(number, topics, Assignment::default()))
        .collect();
    // A topic that does not exist is not in a member's subscription.
    for member in &mut members {
        member.topics =
            member.topics.iter().filter(|topic| partition_counts.contains_key(topic)).copied().collect();
    }
    GroupSpec { members, partition_counts }
}

/// The group with what the assignor gave as what its members have.
fn settled(mut group: GroupSpec, assignor: Assignor) -> GroupSpec {
    let targets = assignor.assign(&group);
    for (member, target) in group.members.iter_mut().zip(targets) {
        member.assigned = target;
    }
    group
}

fn check_complete(group: &GroupSpec, targets: &[Assignment]) {
    assert_eq!(targets.len(), group.members.len());
    let mut owners = BTreeMap::new();
    for (member, target) in group.members.iter().zip(targets) {
        for (topic, partition, ()) in target.iter() {
            assert!(member.topics.contains(&topic), "{} did not subscribe to {topic}", member.member_id);
            assert!(partition < group.partition_counts[&topic], "{topic}-{partition} does not exist");
            assert!(owners.insert((topic, partition), &member.member_id).is_none(), "assigned twice");
        }
    }
    let subscribed: BTreeSet<_> = group.members.iter().flat_map(|member| member.topics.iter()).collect();
    let partitions: i32 = subscribed.into_iter().map(|topic| group.partition_counts[topic]).sum();
    assert_eq!(owners.len(), partitions as usize, "something is not assigned");
}

/// No partition can move to another subscriber and make the two more even.
fn check_even(group: &GroupSpec, targets: &[Assignment]) {
    for (giver, has) in group.members.iter().zip(targets) {
        for (topic, partition, ()) in has.iter() {
            for (taker, other) in group.members.iter().zip(targets) {
                if taker.topics.contains(&topic) {
                    assert!(
                        has.len() <= other.len() + 1,
                        "{topic}-{partition} of {} with {} should be with {} with {}",
                        giver.member_id,
                        has.len(),
                        taker.member_id,
                        other.len()
                    );
                }
            }
        }
    }
}

/// How many partitions left a member that is still there.
fn moved(group: &GroupSpec, targets: &[Assignment]) -> usize {
    let pairs = group.members.iter().zip(targets);
    pairs.map(|(m, target)| m.assigned.iter().filter(|(t, p, ())| !target.contains(t, *p)).count()).sum()
}

/// The least that must leave members so that all have as much, or one more, when anybody may have anything.
fn least_moved(group: &GroupSpec, partitions: usize) -> usize {
    let members = group.members.len();
    let (quota, extras) = (partitions / members, partitions % members);
    let over: Vec<usize> = group
        .members
        .iter()
        .map(|m| m.assigned.len().saturating_sub(quota))
        .filter(|over| *over > 0)
        .collect();
    over.iter().sum::<usize>() - over.len().min(extras)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_partition_is_assigned_once_to_a_subscriber(
        counts in topics(),
        subscriptions in any::<bool>().prop_flat_map(subscriptions),
    ) {
        for assignor in Assignor::ALL {
            let group = group(counts.clone(), &subscriptions);
            check_complete(&group, &assignor.assign(&group));
        }
    }

    #[test]
    fn uniform_loads_differ_by_one_at_most_where_a_move_could_help(
        counts in topics(),
        subscriptions in any::<bool>().prop_flat_map(subscriptions),
    ) {
        let group = group(counts, &subscriptions);
        check_even(&group, &Assignor::Uniform.assign(&group));
    }

    #[test]
    fn an_unchanged_group_keeps_what_it_has(
        counts in topics(),
        subscriptions in any::<bool>().prop_flat_map(subscriptions),
    ) {
        for assignor in Assignor::ALL {
            let group = settled(group(counts.clone(), &subscriptions), assignor);
            prop_assert_eq!(moved(&group, &assignor.assign(&group)), 0);
        }
    }

    #[test]
    fn when_members_come_and_go_uniform_moves_the_least_that_evens_out(
        counts in topics(),
        topics in btree_set(0..6_u8, 1..5),
        before in 1..9_usize,
        gone in btree_set(0..9_usize, 0..4),
        new in 0..4_usize,
        more in 0..5_i32,
    ) {
        let mut group = settled(group(counts, &vec![topics.clone(); before]), Assignor::Uniform);
        let subscription = group.members[0].topics.clone();
        let mut number = 0;
        group.members.retain(|_| { number += 1; !gone.contains(&(number - 1)) });
        for number in before..before + new {
            let mut member = member(number, &topics, Assignment::default());
            member.topics = subscription.clone();
            group.members.push(member);
        }
        prop_assume!(!group.members.is_empty());
        for count in group.partition_counts.values_mut() {
            *count += more;
        }
        let targets = Assignor::Uniform.assign(&group);
        check_complete(&group, &targets);
        check_even(&group, &targets);
        let partitions: i32 = subscription.iter().map(|topic| group.partition_counts[topic]).sum();
        prop_assert_eq!(moved(&group, &targets), least_moved(&group, partitions as usize));
    }

    #[test]
    fn with_different_subscriptions_uniform_stays_complete_and_even_through_changes(
        counts in topics(),
        first in subscriptions(false),
        second in subscriptions(false),
    ) {
        let settled = settled(group(counts.clone(), &first), Assignor::Uniform);
        let mut group = group(counts, &second);
        for (member, before) in group.members.iter_mut().zip(settled.members) {
            member.assigned = before.assigned;
        }
        let targets = Assignor::Uniform.assign(&group);
        check_complete(&group, &targets);
        check_even(&group, &targets);
        // What a member may keep it loses only to somebody who had less.
        for (member, target) in group.members.iter().zip(&targets) {
            let kept = member.assigned.iter().filter(|(topic, _, ())| member.topics.contains(topic));
            let lost = kept.filter(|(topic, partition, ())| !target.contains(topic, *partition));
            prop_assert!(lost.count() <= member.assigned.len());
        }
    }

    #[test]
    fn range_gives_each_subscriber_neighbours_of_each_topic(
        counts in topics(),
        subscriptions in any::<bool>().prop_flat_map(subscriptions),
    ) {
        let group = group(counts, &subscriptions);
        for target in Assignor::Range.assign(&group) {
            for (_, partitions) in target.topics() {
                prop_assert!(partitions.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
            }
        }
    }
}
