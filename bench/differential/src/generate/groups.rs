//! Classic groups: one member's life over a group of the script (join, sync, heartbeat, commit, fetch, leave, delete), with
//! members, generations, protocols and timeouts that are good and wrong.
//!
//! One connection has one member: what needs two at once (rebalances) is the clients' suites' and the logic's scenarios' to show.

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::{Maker, text, topic_name};
use crate::names::nominal_member;
use crate::script::Step;

/// How long a member may take to come back to a rebalance, in milliseconds: members of these scripts never do.
const REBALANCE_TIMEOUT_MS: i32 = 250;
/// Timeouts that are over before anything else can happen: whoever joined with one and has to sync is out.
const REBALANCE_TIMEOUTS_OVER_MS: [i32; 2] = [1, -1];
/// Members that a script may come to have; later ones are not left by name.
const MEMBERS_MAX: usize = 6;
/// The instance of the scripts' static members.
const INSTANCE: &str = "instance-a";

/// Some of everything, in an order that mostly makes sense; in the end nobody is left.
pub(super) fn any(maker: &mut Maker<'_>) {
    let topic = maker.topic(2, &[]);
    let group = format!("{}-group", maker.prefix);
    maker.steps.push(Step::Coordinated(group.clone()));
    if maker.random.once_in(2) {
        settled(maker, &group);
    }
    for _ in 0..24 {
        match maker.random.below(20) {
            0..=2 => join(maker, &group),
            3..=5 => sync(maker, &group),
            6 | 7 => heartbeat(maker, &group),
            8..=10 => commit(maker, &group, &topic),
            11 | 12 => fetch(maker, &group, &topic),
            13 | 14 => describe(maker, &group),
            15 => find(maker, &group),
            16 => leave(maker, &group),
            17 => list(maker),
            18 => delete_offsets(maker, &group, &topic),
            _ => delete(maker, &group),
        }
    }
    empty(maker, &group);
    maker.clean_up(&[&topic]);
}

/// A group with one member that has joined and has been assigned what it gave itself.
fn settled(maker: &mut Maker<'_>, group: &str) {
    let join = |member: &str| {
        JoinGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_member_id(text(member))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol("range")])
    };
    // The first is given its id, the second is taken in under it.
    maker.send(11, 5, &join(""));
    maker.send(11, 5, &join(&nominal_member("differential", 1)));
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text(&nominal_member("differential", 1)))
        .with_assignment(Bytes::from_static(b"assigned"));
    let sync = SyncGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id(1)
        .with_member_id(text(&nominal_member("differential", 1)))
        .with_assignments(vec![assignment]);
    maker.send(14, 3, &sync);
}

/// Members leave, offsets go, and so does the group: later scripts list groups.
fn empty(maker: &mut Maker<'_>, group: &str) {
    let identities = (1..=MEMBERS_MAX).map(|number| {
        MemberIdentity::default().with_member_id(text(&nominal_member("differential", number)))
    });
    let instance = MemberIdentity::default().with_group_instance_id(Some(text(INSTANCE)));
    let leave = LeaveGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_members(identities.chain([instance]).collect());
    maker.send(13, 3, &leave);
    maker.send(42, 1, &DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(group))]));
}

fn protocol(name: &str) -> JoinGroupRequestProtocol {
    // A subscription to nothing.
    let metadata = Bytes::from_static(b"\0\x01\0\0\0\0\xff\xff\xff\xff\0\0\0\0");
    JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(metadata)
}

/// A group that is not the script's: nothing that this asks for makes one.
fn group_id(maker: &mut Maker<'_>, group: &str) -> GroupId {
    let name = if maker.random.once_in(12) { maker.random.pick(&["", "no-such-group"]) } else { group };
    GroupId(text(name))
}

fn member_id(maker: &mut Maker<'_>) -> String {
    match maker.random.below(12) {
        0..=7 => nominal_member("differential", 1),
        8 => nominal_member("differential", 2),
        9 => nominal_member(INSTANCE, 1),
        10 => String::new(),
        _ => "no-such-member".to_owned(),
    }
}

fn instance_id(maker: &mut Maker<'_>) -> Option<StrBytes> {
    maker.random.pick(&[None, None, None, None, Some(INSTANCE), Some("no-such-instance"), Some("")]).map(text)
}

fn generation(maker: &mut Maker<'_>) -> i32 {
    maker.random.pick(&[1, 1, 1, 2, 3, 0, -1, 100, i32::MAX])
}

fn join(maker: &mut Maker<'_>, group: &str) {
    let Some(version) = maker.version(11) else { return };
    let group_id = if maker.random.once_in(15) { "" } else { group };
    let mut request = JoinGroupRequest::default()
        .with_group_id(GroupId(text(group_id)))
        .with_session_timeout_ms(maker.random.pick(&[10_000, 10_000, 10_000, 10_000, 0, 1_800_001, -1]))
        .with_member_id(text(&member_id(maker)))
        .with_protocol_type(text(maker.random.pick(&["consumer", "consumer", "consumer", "connect", ""])));
    if version >= 1 {
        let [over, never] = REBALANCE_TIMEOUTS_OVER_MS;
        request.rebalance_timeout_ms =
            maker.random.pick(&[REBALANCE_TIMEOUT_MS, REBALANCE_TIMEOUT_MS, over, never]);
    } else {
        // The session's timeout is the rebalance's, too: nobody new, who would be waited for.
        request.member_id = text(&nominal_member("differential", 1));
    }
    if version >= 5 {
        request.group_instance_id = instance_id(maker);
    }
    if version >= 8 {
        request.reason = maker.random.pick(&[None, Some("")]).map(text);
    }
    for name in maker.random.pick(&[&["range"][..], &["range"], &["range", "sticky"], &["other"], &[]]) {
        request.protocols.push(protocol(name));
    }
    maker.send(11, version, &request);
    if REBALANCE_TIMEOUTS_OVER_MS.contains(&request.rebalance_timeout_ms) {
        // The next request comes about when the time is over: before it at one broker, after it at the other.
        maker.steps.push(Step::Resolved(group.to_owned()));
    }
}

fn sync(maker: &mut Maker<'_>, group: &str) {
    let Some(version) = maker.version(14) else { return };
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text(&nominal_member("differential", 1)))
        .with_assignment(Bytes::from_static(b"assigned"));
    let mut request = SyncGroupRequest::default()
        .with_group_id(group_id(maker, group))
        .with_generation_id(generation(maker))
        .with_member_id(text(&member_id(maker)))
        .with_assignments(vec![assignment]);
    if version >= 3 {
        request.group_instance_id = instance_id(maker);
    }
    if version >= 5 {
        request.protocol_type =
            maker.random.pick(&[Some("consumer"), Some("consumer"), None, Some("connect")]).map(text);
        request.protocol_name =
            maker.random.pick(&[Some("range"), Some("range"), None, Some("sticky")]).map(text);
    }
    maker.send(14, version, &request);
}

fn heartbeat(maker: &mut Maker<'_>, group: &str) {
    let Some(version) = maker.version(12) else { return };
    let mut request = HeartbeatRequest::default()
        .with_group_id(group_id(maker, group))
        .with_generation_id(generation(maker))
        .with_member_id(text(&member_id(maker)));
    if version >= 3 {
        request.group_instance_id = instance_id(maker);
    }
    maker.send(12, version, &request);
}

/// Commits by members of either protocol, by nobody, and by those that are none.
pub(super) fn commit_by(maker: &mut Maker<'_>, group: &str, topic: &str, generation: i32, member: &str) {
    let Some(version) = maker.version(8) else { return };
    let name = if maker.random.once_in(6) { "no-such-topic" } else { topic };
    let mut asked = OffsetCommitRequestTopic::default().with_name(topic_name(name));
    for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2]) {
        let metadata = maker.random.pick(&[None, Some(""), Some("note")]).map(text);
        let mut partition = OffsetCommitRequestPartition::default()
            .with_partition_index(maker.random.pick(&[0, 0, 1, 2, -1]))
            .with_committed_offset(maker.random.pick(&[0, 5, 1_000, -1, i64::MAX]))
            .with_committed_metadata(metadata);
        if version >= 6 {
            partition.committed_leader_epoch = maker.random.pick(&[-1, 0, 7]);
        }
        asked.partitions.push(partition);
    }
    if maker.random.once_in(6) {
        // Beside an offset that can be kept: otherwise Kafka has a group from then on that nobody has heard of.
        let kept = OffsetCommitRequestPartition::default().with_partition_index(1).with_committed_offset(7);
        let long =
            kept.clone().with_partition_index(0).with_committed_metadata(Some(text(&"m".repeat(4_097))));
        asked.partitions = vec![kept, long];
    }
    let mut request = OffsetCommitRequest::default()
        .with_group_id(group_id(maker, group))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(text(member))
        .with_topics(vec![asked]);
    if version >= 7 && maker.random.once_in(4) {
        request.group_instance_id = instance_id(maker);
    }
    if version <= 4 {
        request.retention_time_ms = maker.random.pick(&[-1, -1, 100_000]);
    }
    if maker.random.once_in(12) {
        request.topics.clear();
    }
    maker.send(8, version, &request);
}

fn commit(maker: &mut Maker<'_>, group: &str, topic: &str) {
    if maker.random.once_in(2) {
        // Without a group: only offsets are kept.
        commit_by(maker, group, topic, -1, "");
    } else {
        let (generation, member) = (generation(maker), member_id(maker));
        commit_by(maker, group, topic, generation, &member);
    }
}

fn fetch(maker: &mut Maker<'_>, group: &str, topic: &str) {
    let (member, epoch) = maker.random.pick(&[(None, -1), (None, -1), (Some(""), -1), (Some("x"), 1)]);
    fetch_by(maker, group, topic, member, epoch);
}

/// Asks for offsets, in the name of a member of the new protocol or of nobody.
pub(super) fn fetch_by(maker: &mut Maker<'_>, group: &str, topic: &str, member: Option<&str>, epoch: i32) {
    let Some(version) = maker.version(9) else { return };
    let indexes = maker.random.pick(&[vec![0, 1], vec![0], vec![9, 0, -1], vec![0, 0], vec![]]);
    let topic = if maker.random.once_in(6) { "no-such-topic" } else { topic };
    let all = version >= 2 && maker.random.once_in(3);
    let mut request = OffsetFetchRequest::default();
    if version >= 7 {
        request.require_stable = maker.random.once_in(3);
    }
    if version >= 8 {
        request.topics = Some(Vec::new());
        for _ in 0..maker.random.pick(&[0, 1, 1, 1, 2]) {
            let topics = OffsetFetchRequestTopics::default()
                .with_name(topic_name(topic))
                .with_partition_indexes(indexes.clone());
            let mut asked = OffsetFetchRequestGroup::default()
                .with_group_id(group_id(maker, group))
                .with_topics((!all).then(|| vec![topics]));
            if version >= 9 {
                asked.member_id = member.map(text);
                asked.member_epoch = epoch;
            }
            request.groups.push(asked);
        }
    } else {
        let topics =
            OffsetFetchRequestTopic::default().with_name(topic_name(topic)).with_partition_indexes(indexes);
        request.group_id = group_id(maker, group);
        request.topics = (!all).then(|| vec![topics]);
    }
    maker.send(9, version, &request);
}

fn describe(maker: &mut Maker<'_>, group: &str) {
    let Some(version) = maker.version(15) else { return };
    let names = (0..maker.random.pick(&[0, 1, 1, 1, 2])).map(|_| group_id(maker, group)).collect();
    let mut request = DescribeGroupsRequest::default().with_groups(names);
    if version >= 3 {
        request.include_authorized_operations = maker.random.once_in(2);
    }
    maker.send(15, version, &request);
}

fn find(maker: &mut Maker<'_>, group: &str) {
    let Some(version) = maker.version(10) else { return };
    let mut request = FindCoordinatorRequest::default();
    if version >= 1 {
        request.key_type = maker.random.pick(&[0, 0, 0, 3, -1]);
    }
    if version >= 4 {
        request.coordinator_keys = vec![text(group); maker.random.pick(&[0, 1, 1, 2])];
    } else {
        request.key = text(group);
    }
    maker.send(10, version, &request);
}

/// Lists all groups: what earlier scripts left is the same on both.
pub(super) fn list(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(16) else { return };
    let mut request = ListGroupsRequest::default();
    let states: &[&[&str]] = &[&[], &["Stable"], &["stable", "Empty"], &["Dead"], &["no such state"], &[""]];
    let types: &[&[&str]] = &[&[], &["classic"], &["Consumer"], &["consumer", "share"], &["none"], &[""]];
    if version >= 4 {
        request.states_filter = maker.random.pick(states).iter().map(|state| text(state)).collect();
    }
    if version >= 5 {
        request.types_filter = maker.random.pick(types).iter().map(|kind| text(kind)).collect();
    }
    maker.send(16, version, &request);
}

fn leave(maker: &mut Maker<'_>, group: &str) {
    let Some(version) = maker.version(13) else { return };
    let mut request = LeaveGroupRequest::default().with_group_id(group_id(maker, group));
    if version >= 3 {
        for _ in 0..maker.random.pick(&[0, 1, 1, 2]) {
            let mut member = MemberIdentity::default().with_member_id(text(&member_id(maker)));
            member.group_instance_id = instance_id(maker);
            if version >= 5 {
                member.reason = maker.random.pick(&[None, Some("done")]).map(text);
            }
            request.members.push(member);
        }
    } else {
        request.member_id = text(&member_id(maker));
    }
    maker.send(13, version, &request);
}

fn delete(maker: &mut Maker<'_>, group: &str) {
    let Some(version) = maker.version(42) else { return };
    let names = (0..maker.random.pick(&[0, 1, 1, 2])).map(|_| group_id(maker, group)).collect();
    maker.send(42, version, &DeleteGroupsRequest::default().with_groups_names(names));
}

fn delete_offsets(maker: &mut Maker<'_>, group: &str, topic: &str) {
    let Some(version) = maker.version(47) else { return };
    let partitions = maker.random.pick(&[&[0][..], &[0, 1], &[9, 0], &[]]);
    let partitions =
        partitions.iter().map(|index| OffsetDeleteRequestPartition::default().with_partition_index(*index));
    let name = if maker.random.once_in(5) { "no-such-topic" } else { topic };
    let asked =
        OffsetDeleteRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions.collect());
    let request =
        OffsetDeleteRequest::default().with_group_id(group_id(maker, group)).with_topics(vec![asked]);
    maker.send(47, version, &request);
}
