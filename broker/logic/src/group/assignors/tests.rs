//! What each assignor does in cases that one can check by eye; `tests/assignors.rs` has the properties.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assignor, GroupSpec, MemberSpec};
use crate::controller::TopicId;
use crate::group::consumer::Assignment;

fn topic(name: char) -> TopicId {
    TopicId([name as u8; 16])
}

/// A group: `topics` are letters with their numbers of partitions, members are `id[@instance]:subscription[:owned]`, what they own like `a0 a1`.
fn group(topics: &[(char, i32)], members: &[&str]) -> GroupSpec {
    let members = members.iter().map(|text| {
        let mut parts = text.split(':');
        let (id, instance) = match parts.next().unwrap().split_once('@') {
            Some((id, instance)) => (id, Some(instance)),
            None => (text.split(':').next().unwrap(), None),
        };
        let subscription: Arc<[TopicId]> = parts.next().unwrap().chars().map(topic).collect();
        MemberSpec {
            member_id: id.into(),
            instance_id: instance.map(Into::into),
            topics: subscription,
            assigned: owned(parts.next().unwrap_or("")),
        }
    });
    GroupSpec {
        members: members.collect(),
        partition_counts: topics
            .iter()
            .map(|(name, count)| (topic(*name), *count))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn owned(text: &str) -> Assignment {
    let partition = |word: &str| (topic(word.chars().next().unwrap()), word[1..].parse().unwrap(), ());
    text.split_whitespace().map(partition).collect()
}

#[track_caller]
fn assert_targets(assignor: Assignor, group: &GroupSpec, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|text| owned(text)).collect();
    assert_eq!(assignor.assign(group), expected);
}

#[test]
fn uniform_gives_everybody_as_much_and_one_more_to_the_first() {
    let group = group(&[('a', 3), ('b', 2)], &["m1:ab", "m2:ab"]);
    assert_targets(Assignor::Uniform, &group, &["a0 a1 a2", "b0 b1"]);
}

#[test]
fn uniform_takes_from_members_only_what_the_new_one_gets() {
    let three = &["m1:a:a0 a1 a2", "m2:a:a3 a4 a5", "m3:a"];
    assert_targets(Assignor::Uniform, &group(&[('a', 6)], three), &["a0 a1", "a3 a4", "a2 a5"]);
}

#[test]
fn uniform_leaves_one_more_to_who_has_it() {
    // Seven for three: the second has three already, so the first gets none of them.
    let members = &["m1:a:a0 a1", "m2:a:a2 a3 a4", "m3:a:a5"];
    assert_targets(Assignor::Uniform, &group(&[('a', 7)], members), &["a0 a1", "a2 a3 a4", "a5 a6"]);
}

#[test]
fn uniform_forgets_topics_that_are_gone_and_takes_in_new_partitions() {
    let members = &["m1:a:a0 z0 z1", "m2:a:a1"];
    assert_targets(Assignor::Uniform, &group(&[('a', 4)], members), &["a0 a2", "a1 a3"]);
}

#[test]
fn uniform_gives_a_partition_that_two_have_to_one_of_them() {
    let members = &["m1:a:a0 a1", "m2:a:a1"];
    assert_targets(Assignor::Uniform, &group(&[('a', 2)], members), &["a0", "a1"]);
}

#[test]
fn uniform_makes_up_for_what_only_some_can_have() {
    // Only m1 may have `a`, so `b` and `c` go to the others.
    let members = &["m1:abc", "m2:bc", "m3:bc"];
    let targets = Assignor::Uniform.assign(&group(&[('a', 4), ('b', 4), ('c', 4)], members));
    assert_eq!(targets.iter().map(Assignment::len).collect::<Vec<_>>(), [4, 4, 4]);
    assert_eq!(targets[0], owned("a0 a1 a2 a3"));
}

#[test]
fn uniform_moves_from_the_loaded_to_the_idle_when_subscriptions_differ() {
    let members = &["m1:ab:a0 a1 b0 b1", "m2:b"];
    assert_targets(Assignor::Uniform, &group(&[('a', 2), ('b', 2)], members), &["a0 a1", "b0 b1"]);
}

#[test]
fn a_group_without_topics_gets_nothing() {
    for assignor in Assignor::ALL {
        assert_targets(assignor, &group(&[], &["m1:", "m2:"]), &["", ""]);
        assert_targets(assignor, &group(&[], &[]), &[]);
    }
}

#[test]
fn range_gives_neighbours_and_the_same_ranges_of_topics_that_are_alike() {
    let members = &["m1:ab", "m2:ab", "m3:ab"];
    let group = group(&[('a', 4), ('b', 4)], members);
    assert_targets(Assignor::Range, &group, &["a0 a1 b0 b1", "a2 b2", "a3 b3"]);
}

#[test]
fn range_leaves_members_without_where_there_are_too_few() {
    assert_targets(Assignor::Range, &group(&[('a', 2)], &["m1:a", "m2:a", "m3:a"]), &["a0", "a1", ""]);
}

#[test]
fn range_takes_static_members_first_by_their_instance_ids() {
    let members = &["m1:a", "m2@y:a", "m3@x:a"];
    assert_targets(Assignor::Range, &group(&[('a', 4)], members), &["a3", "a2", "a0 a1"]);
}

#[test]
fn range_divides_each_topic_among_its_own_subscribers() {
    let members = &["m1:a", "m2:ab", "m3:b"];
    assert_targets(Assignor::Range, &group(&[('a', 3), ('b', 2)], members), &["a0 a1", "a2 b0", "b1"]);
}

#[test]
fn assignors_go_by_kafkas_names() {
    assert_eq!(Assignor::by_name("uniform"), Some(Assignor::Uniform));
    assert_eq!(Assignor::by_name("range"), Some(Assignor::Range));
    assert_eq!(Assignor::by_name("Range"), None);
}
