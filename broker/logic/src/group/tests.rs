//! Tests of the coordinator that are not scenarios: its limit on members' metadata.

use super::consumer::ConsumerGroupHeartbeat;
use super::*;
use crate::controller::MetadataImage;

const MIB: usize = 1 << 20;

fn with_context<T>(random: u64, decide: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let config = GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() };
    let mut state = random << 32;
    let mut random = || {
        state += 1;
        state
    };
    let now = Now { wall_ms: 0, monotonic_ms: 0 };
    let mut context = Context { now, config: &config, image: &MetadataImage::default(), random: &mut random };
    decide(&mut context)
}

/// Decides, and carries out what was decided as a driver does whose disk is at once.
fn decide(groups: &mut GroupCoordinator, id: u64, request: Request) -> Reply {
    let mut replies = Vec::new();
    let mut next = Some(with_context(id, |context| groups.decide(context, ReplyId(id), request)));
    while let Some(outcome) = next.take() {
        if !outcome.applied {
            outcome.records.iter().for_each(|record| groups.replay(record, 0));
        }
        replies.extend(outcome.replies);
        next = match outcome.after {
            Some(after) => Some(with_context(id, |context| groups.settle(context, after, Ok(())))),
            // A group's first member is told when the delay is over: here it is none.
            None => with_context(id, |context| groups.expire(context)),
        };
    }
    let (_, reply) = replies.into_iter().find(|(of, _)| *of == ReplyId(id)).expect("a reply");
    reply
}

fn join(
    groups: &mut GroupCoordinator,
    id: u64,
    group: &str,
    member_id: &MemberId,
    metadata_bytes: usize,
) -> Result<MemberId, GroupErrorKind> {
    let request = JoinGroup {
        group_id: group.into(),
        member_id: member_id.clone(),
        instance_id: None,
        client: Client { id: "c".into(), host: "/h".into() },
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: vec![0; metadata_bytes].into() }],
        requires_member_id: false,
        supports_skipping_assignment: true,
        reason: None,
    };
    match decide(groups, id, Request::JoinGroup(request)) {
        Reply::JoinGroup(JoinGroupReply { error: Some(error), .. }) => Err(error),
        Reply::JoinGroup(reply) => Ok(reply.member_id),
        other => panic!("{other:?}"),
    }
}

fn subscribe(
    groups: &mut GroupCoordinator,
    id: u64,
    group: &str,
    member: &str,
    names: &[String],
) -> Result<(), GroupError> {
    let request = ConsumerGroupHeartbeat {
        version: 1,
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: 0,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(names.iter().map(|name| name.as_str().into()).collect()),
        subscribed_topic_regex: None,
        server_assignor: None,
        owned: Some(std::collections::BTreeMap::new()),
        client: Client { id: "c".into(), host: "/h".into() },
    };
    match decide(groups, id, Request::ConsumerGroupHeartbeat(request)) {
        Reply::ConsumerGroupHeartbeat(told) => told.map(drop),
        other => panic!("{other:?}"),
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number:0>200}")).collect()
}

#[test]
fn metadata_of_all_groups_together_is_bounded_and_room_comes_back_with_a_group() {
    let new = MemberId::default();
    let mut groups = GroupCoordinator::new();
    let first = join(&mut groups, 1, "a", &new, 20 * MIB).unwrap();
    assert_eq!(join(&mut groups, 2, "b", &new, 13 * MIB), Err(GroupErrorKind::GroupMaxSizeReached));
    assert_eq!(groups.take_refused_for_room(), Some(("b".into(), 32 * MIB)));
    assert_eq!(groups.take_refused_for_room(), None, "told once");
    join(&mut groups, 3, "b", &new, 12 * MIB).unwrap();
    assert_eq!(groups.metadata_bytes(), 32 * MIB);
    assert_eq!(join(&mut groups, 4, "c", &new, 1), Err(GroupErrorKind::GroupMaxSizeReached));
    // Who is in can come again, and may bring less, but not more.
    assert_eq!(join(&mut groups, 5, "a", &first, 20 * MIB + 1), Err(GroupErrorKind::GroupMaxSizeReached));
    join(&mut groups, 6, "a", &first, 20 * MIB).unwrap();
    join(&mut groups, 7, "a", &first, 19 * MIB).unwrap();
    assert_eq!(groups.metadata_bytes(), 31 * MIB);
    groups.replay(&GroupRecord::GroupMetadata("a".into(), None), 0);
    assert_eq!(groups.metadata_bytes(), 12 * MIB);
    join(&mut groups, 8, "c", &new, 20 * MIB).unwrap();
}

#[test]
fn both_kinds_of_groups_share_the_room_and_equal_subscriptions_take_it_once() {
    let mut groups = GroupCoordinator::new();
    join(&mut groups, 1, "classic", &MemberId::default(), 20 * MIB).unwrap();
    let (six, seven) = (names("six", 28_000), names("seven", 33_000));
    for id in 0..5 {
        subscribe(&mut groups, 10 + id, "new", &format!("m{id}"), &six).unwrap();
    }
    let taken = groups.metadata_bytes() - 20 * MIB;
    assert!((5 * MIB..7 * MIB).contains(&taken), "{taken}");
    let refused = subscribe(&mut groups, 20, "other", "m", &seven).unwrap_err();
    assert_eq!(refused.kind, GroupErrorKind::GroupMaxSizeReached);
    assert!(refused.message.contains(&format!("of {}", 32 * MIB)), "{}", refused.message);
    // All but the last of them leave: its subscription is still there.
    for id in 0..5 {
        let before = groups.metadata_bytes();
        let leave = ConsumerGroupHeartbeat {
            version: 1,
            group_id: "new".into(),
            member_id: format!("m{id}").as_str().into(),
            member_epoch: -1,
            instance_id: None,
            rack_id: None,
            rebalance_timeout_ms: -1,
            subscribed_topic_names: None,
            subscribed_topic_regex: None,
            server_assignor: None,
            owned: None,
            client: Client { id: "c".into(), host: "/h".into() },
        };
        let told = decide(&mut groups, 30 + id, Request::ConsumerGroupHeartbeat(leave));
        assert!(matches!(told, Reply::ConsumerGroupHeartbeat(Ok(_))), "{told:?}");
        assert_eq!(before - groups.metadata_bytes(), if id == 4 { taken } else { 0 });
    }
    subscribe(&mut groups, 40, "other", "m", &seven).unwrap();
}
