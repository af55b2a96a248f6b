//! The new consumer protocol (KIP-848): members of one group over a topic of the script, who join, own, commit and leave with
//! epochs, names and subscriptions that are good and wrong. A heartbeat never waits, so one connection has many members.
//!
//! Deliberately absent: regular expressions that are sound. Kafka finds their topics some time later.

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::{Maker, groups, text, topic_id, topic_name};
use crate::names::nominal_consumer;
use crate::script::Step;

/// How long a member may take to give up what it owns, in milliseconds: longer than any script.
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
/// Members that name themselves.
const MEMBERS: &[&str] = &["member-a", "member-b", "member-c"];
/// The instance of static members.
const INSTANCE: &str = "instance-a";

/// Heartbeats in an order that mostly makes sense; in the end nobody is left.
pub(super) fn any(maker: &mut Maker<'_>) {
    let topic = maker.topic(3, &[]);
    let group = format!("{}-consumers", maker.prefix);
    maker.steps.push(Step::Coordinated(group.clone()));
    let mut epoch = 0;
    for _ in 0..24 {
        match maker.random.below(12) {
            0..=2 => {
                join(maker, &group, &topic);
                epoch += 1;
            }
            3..=6 => heartbeat(maker, &group, &topic, epoch),
            7 => describe(maker, &group),
            8 => {
                let member = maker.random.pick(MEMBERS);
                let epoch = maker.random.pick(&[epoch, epoch, epoch - 1, epoch + 1, -1]);
                groups::commit_by(maker, &group, &topic, epoch, member);
            }
            9 => {
                let member = maker.random.pick(&[Some("member-a"), Some("member-b"), Some("nobody"), None]);
                // An epoch of nobody is more than Kafka can bear.
                let epochs = [epoch, epoch, epoch - 1, epoch + 1, -1];
                let epoch = if member.is_some() { maker.random.pick(&epochs) } else { -1 };
                groups::fetch_by(maker, &group, &topic, member, epoch);
            }
            10 => groups::list(maker),
            _ => leave(maker, &group),
        }
    }
    for member in
        MEMBERS.iter().map(|name| text(name)).chain((1..=8).map(|number| text(&nominal_consumer(number))))
    {
        goodbye(maker, &group, member, -1, None);
    }
    let instance = Some(text(INSTANCE));
    goodbye(maker, &group, text("member-a"), -1, instance);
    maker.send(42, 1, &DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(&group))]));
    maker.clean_up(&[&topic]);
}

fn member(maker: &mut Maker<'_>) -> StrBytes {
    text(maker.random.pick(MEMBERS))
}

/// What a member says when it comes.
fn coming(maker: &mut Maker<'_>, version: i16, group: &str, topic: &str) -> ConsumerGroupHeartbeatRequest {
    let subscriptions: &[&[&str]] = &[
        &["own"],
        &["own"],
        &["own"],
        &["own", "no-such-topic"],
        &["no-such-topic"],
        &[],
        &["own", "own"],
        &[""],
    ];
    let names = maker
        .random
        .pick(subscriptions)
        .iter()
        .map(|name| topic_name(if *name == "own" { topic } else { name }));
    let mut request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_member_id(member(maker))
        .with_member_epoch(0)
        .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
        .with_subscribed_topic_names(Some(names.collect()))
        .with_server_assignor(maker.random.pick(&[None, None, Some("uniform"), Some("range")]).map(text))
        .with_topic_partitions(Some(Vec::new()));
    if version == 0 && maker.random.once_in(4) {
        request.member_id = text("");
    }
    request
}

fn join(maker: &mut Maker<'_>, group: &str, topic: &str) {
    let Some(version) = maker.version(68) else { return };
    let mut request = coming(maker, version, group, topic);
    if maker.random.once_in(3) {
        match maker.random.below(11) {
            0 => request.group_id = GroupId(text("")),
            1 => request.member_id = text(""),
            2 => request.rebalance_timeout_ms = maker.random.pick(&[-1, 0, i32::MIN]),
            3 => request.topic_partitions = None,
            4 => request.subscribed_topic_names = None,
            5 => request.server_assignor = Some(text(maker.random.pick(&["sticky", ""]))),
            6 => request.instance_id = Some(text(maker.random.pick(&["", INSTANCE]))),
            7 => request.rack_id = Some(text(maker.random.pick(&["", "rack"]))),
            8 if version >= 1 => {
                let regexes = ["(", "*", "[a", "a{1000,1}", "(?<!a)b"];
                request.subscribed_topic_regex = Some(text(maker.random.pick(&regexes)));
                request.subscribed_topic_names = maker.random.pick(&[None, Some(Vec::new())]);
            }
            9 => request.topic_partitions = Some(vec![owned(topic, &[0])]),
            _ => request.instance_id = Some(text(INSTANCE)),
        }
    }
    maker.send(68, version, &request);
}

fn owned(topic: &str, partitions: &[i32]) -> TopicPartitions {
    TopicPartitions::default().with_topic_id(topic_id(topic)).with_partitions(partitions.to_vec())
}

fn heartbeat(maker: &mut Maker<'_>, group: &str, topic: &str, epoch: i32) {
    let Some(version) = maker.version(68) else { return };
    let epoch = maker.random.pick(&[epoch, epoch, epoch, epoch + 1, epoch - 1, 1, 2, 100, -3, i32::MIN]);
    let mut request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text(maker.random.pick(&[group, group, group, group, "no-such-group"]))))
        .with_member_id(member(maker))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None);
    if request.group_id.0.as_str() == "no-such-group" && request.member_epoch == 0 {
        // It would be there from then on.
        request.member_epoch = 1;
    }
    if maker.random.once_in(2) {
        let lists: &[&[i32]] = &[&[], &[0], &[0, 1], &[0, 1, 2], &[1, 2], &[9], &[2]];
        let partitions = maker.random.pick(lists);
        request.topic_partitions =
            Some(if partitions.is_empty() { Vec::new() } else { vec![owned(topic, partitions)] });
    }
    if maker.random.once_in(5) {
        request.subscribed_topic_names = Some(vec![topic_name(maker.random.pick(&[topic, "no-such-topic"]))]);
    }
    if maker.random.once_in(6) {
        request.instance_id = Some(text(INSTANCE));
    }
    maker.send(68, version, &request);
}

fn goodbye(maker: &mut Maker<'_>, group: &str, member: StrBytes, epoch: i32, instance: Option<StrBytes>) {
    let Some(version) = maker.version(68) else { return };
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_member_id(member)
        .with_member_epoch(epoch)
        .with_instance_id(instance)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None);
    maker.send(68, version, &request);
}

fn leave(maker: &mut Maker<'_>, group: &str) {
    let (epoch, instance) =
        maker.random.pick(&[(-1, None), (-1, None), (-1, Some(INSTANCE)), (-2, Some(INSTANCE)), (-2, None)]);
    let member = member(maker);
    goodbye(maker, group, member, epoch, instance.map(text));
}

fn describe(maker: &mut Maker<'_>, group: &str) {
    let Some(version) = maker.version(69) else { return };
    let names = maker.random.pick(&[
        vec![group],
        vec![group],
        vec![group, "no-such-group"],
        vec![""],
        vec![],
        vec![group, group],
    ]);
    let request = ConsumerGroupDescribeRequest::default()
        .with_group_ids(names.iter().map(|name| GroupId(text(name))).collect())
        .with_include_authorized_operations(maker.random.once_in(2));
    maker.send(69, version, &request);
}
