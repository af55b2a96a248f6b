//! Tests of the coordinator that are not scenarios: its limits.

use super::*;
use crate::controller::MetadataImage;

fn joined(
    groups: &mut GroupCoordinator,
    id: u64,
    group: &str,
    metadata_bytes: usize,
) -> Option<GroupErrorKind> {
    let config = GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() };
    let mut random = || id;
    let now = Now { wall_ms: 0, monotonic_ms: 0 };
    let mut context = Context { now, config: &config, image: &MetadataImage::default(), random: &mut random };
    let request = JoinGroup {
        group_id: group.into(),
        member_id: MemberId::default(),
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
    let outcome = groups.decide(&mut context, ReplyId(id), Request::JoinGroup(request));
    outcome.replies.into_iter().find_map(|(_, reply)| match reply {
        Reply::JoinGroup(reply) => reply.error,
        _ => None,
    })
}

#[test]
fn metadata_of_all_groups_together_is_bounded_and_room_comes_back_with_a_group() {
    const MIB: usize = 1 << 20;
    let mut groups = GroupCoordinator::new();
    assert_eq!(joined(&mut groups, 1, "a", 20 * MIB), None);
    assert_eq!(joined(&mut groups, 2, "b", 13 * MIB), Some(GroupErrorKind::GroupMaxSizeReached));
    assert_eq!(joined(&mut groups, 3, "b", 12 * MIB), None);
    assert_eq!(joined(&mut groups, 4, "c", 1), Some(GroupErrorKind::GroupMaxSizeReached));
    groups.replay(&GroupRecord::GroupMetadata("a".into(), None), 0);
    assert_eq!(joined(&mut groups, 5, "c", 20 * MIB), None);
}
