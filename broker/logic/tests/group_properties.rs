//! Properties of the group coordinator over random histories: whatever members, clients, the disk and time do.
//!
//! Committed offsets move by commits, deletions and expiry only; replaying what was appended gives the same state; every request is
//! answered once; a stable group has an assignment for each member and no generation goes back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use corelog_logic::controller::MetadataImage;
use corelog_logic::group::*;
use proptest::prelude::*;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    Join { group: u8, member: u8, is_static: bool, protocols: u8, version: i16 },
    Sync { group: u8, member: u8 },
    Heartbeat { group: u8, member: u8 },
    Leave { group: u8, member: u8 },
    Commit { group: u8, member: u8, partition: i32, from_outside: bool },
    DeleteOffsets { group: u8, partition: i32 },
    DeleteGroup { group: u8 },
    Advance { ms: i64 },
    Store,
    FailNextAppend,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let (group, member) = (0..2_u8, 0..4_u8);
    prop_oneof![
        6 => (group.clone(), member.clone(), any::<bool>(), 0..3_u8, prop_oneof![Just(3_i16), Just(9)])
            .prop_map(|(group, member, is_static, protocols, version)| Event::Join { group, member, is_static, protocols, version }),
        6 => (group.clone(), member.clone()).prop_map(|(group, member)| Event::Sync { group, member }),
        2 => (group.clone(), member.clone()).prop_map(|(group, member)| Event::Heartbeat { group, member }),
        1 => (group.clone(), member.clone()).prop_map(|(group, member)| Event::Leave { group, member }),
        4 => (group.clone(), member, 0..3_i32, any::<bool>())
            .prop_map(|(group, member, partition, from_outside)| Event::Commit { group, member, partition, from_outside }),
        1 => (group.clone(), 0..3_i32).prop_map(|(group, partition)| Event::DeleteOffsets { group, partition }),
        1 => group.prop_map(|group| Event::DeleteGroup { group }),
        3 => (0..12_000_i64).prop_map(|ms| Event::Advance { ms }),
        6 => Just(Event::Store),
        1 => Just(Event::FailNextAppend),
        1 => Just(Event::Restart),
    ]
}

/// What a client knows of itself in a group.
#[derive(Debug, Clone, Default)]
struct Known {
    member_id: String,
    generation: i32,
    leads: bool,
    members: Vec<MemberId>,
}

/// What an append owes once it is durable.
type Held = (Vec<(ReplyId, Reply)>, Option<After>);

struct World {
    groups: GroupCoordinator,
    config: GroupConfig,
    now_ms: i64,
    random: u64,
    next_id: u64,
    /// Who asked, while the reply is owed.
    owed: BTreeMap<ReplyId, (u8, u8)>,
    known: BTreeMap<(u8, u8), Known>,
    log: Vec<GroupRecord>,
    /// Appended and not durable yet.
    held: VecDeque<Held>,
    fails: bool,
    generations: BTreeMap<GroupId, i32>,
    offset: i64,
}

impl World {
    fn new() -> Self {
        Self {
            groups: GroupCoordinator::new(),
            config: GroupConfig { initial_rebalance_delay_ms: 500, ..GroupConfig::default() },
            now_ms: 0,
            random: 0,
            next_id: 0,
            owed: BTreeMap::new(),
            known: BTreeMap::new(),
            log: Vec::new(),
            held: VecDeque::new(),
            fails: false,
            generations: BTreeMap::new(),
            offset: 0,
        }
    }

    fn with_context<T>(&mut self, decide: impl FnOnce(&mut GroupCoordinator, &mut Context<'_>) -> T) -> T {
        let image = MetadataImage::default();
        let Self { groups, config, now_ms, random, .. } = self;
        let mut draw = || {
            *random += 1;
            *random
        };
        let now = Now { wall_ms: 1_000_000 + *now_ms, monotonic_ms: *now_ms };
        decide(groups, &mut Context { now, config, image: &image, random: &mut draw })
    }

    fn ask(&mut self, who: (u8, u8), request: Request) {
        let id = ReplyId(self.next_id);
        self.next_id += 1;
        self.owed.insert(id, who);
        let before = self.offsets();
        let outcome = self.with_context(|groups, context| groups.decide(context, id, request));
        assert_eq!(self.offsets(), before, "a decision alone moves no offset");
        self.carry_out(outcome);
    }

    fn carry_out(&mut self, outcome: Outcome) {
        let Outcome { records, applied, replies, after } = outcome;
        if self.fails && !records.is_empty() {
            self.fails = false;
            let error = GroupErrorKind::CoordinatorNotAvailable;
            for (id, reply) in replies {
                self.reply(id, reply.refuse(error));
            }
            if let Some(after) = after {
                let next = self.with_context(|groups, context| groups.settle(context, after, Err(error)));
                self.carry_out(next);
            }
            return;
        }
        for record in &records {
            if !applied {
                self.groups.replay(record, 1_000_000 + self.now_ms);
            }
        }
        self.log.extend(records);
        self.held.push_back((replies, after));
    }

    fn store(&mut self) {
        while let Some((replies, after)) = self.held.pop_front() {
            for (id, reply) in replies {
                self.reply(id, reply);
            }
            if let Some(after) = after {
                let next = self.with_context(|groups, context| groups.settle(context, after, Ok(())));
                self.carry_out(next);
            }
        }
        // All is durable: what the log says is what is so.
        self.check_replay();
    }

    fn reply(&mut self, id: ReplyId, reply: Reply) {
        let Some(who) = self.owed.remove(&id) else { panic!("a request is answered twice") };
        let known = self.known.entry(who).or_default();
        match reply {
            Reply::JoinGroup(JoinGroupReply {
                error: None,
                member_id,
                generation_id,
                leader,
                members,
                ..
            }) => {
                *known = Known {
                    member_id: member_id.to_string(),
                    generation: generation_id,
                    leads: leader == member_id,
                    members: members.into_iter().map(|member| member.member_id).collect(),
                };
            }
            Reply::JoinGroup(JoinGroupReply {
                error: Some(GroupErrorKind::MemberIdRequired),
                member_id,
                ..
            }) => {
                *known = Known { member_id: member_id.to_string(), generation: -1, ..Known::default() };
            }
            Reply::JoinGroup(JoinGroupReply {
                error: Some(GroupErrorKind::UnknownMemberId | GroupErrorKind::FencedInstanceId),
                ..
            })
            | Reply::Heartbeat(Err(GroupErrorKind::UnknownMemberId)) => *known = Known::default(),
            _ => {}
        }
    }

    fn offsets(&self) -> BTreeMap<(String, String, i32), i64> {
        let groups = self.groups.offsets().groups();
        groups
            .flat_map(|(group, topics)| {
                topics.iter().flat_map(move |(topic, partitions)| {
                    partitions.iter().map(move |(partition, value)| {
                        ((group.to_string(), topic.to_string(), *partition), value.offset)
                    })
                })
            })
            .collect()
    }

    fn replayed(&self) -> GroupCoordinator {
        let mut fresh = GroupCoordinator::new();
        for record in &self.log {
            let (key, value) = record.encode();
            let read = GroupRecord::decode(&key, value.as_deref());
            assert_eq!(read.as_ref(), Ok(record));
            fresh.replay(record, 1_000_000 + self.now_ms);
        }
        fresh
    }

    /// What a restart would find is what there is: all offsets, and each stable group with its members and assignments.
    fn check_replay(&self) {
        let fresh = self.replayed();
        assert_eq!(fresh.offsets(), self.groups.offsets());
        let kept: BTreeMap<_, _> = fresh.groups().collect();
        for (group_id, group) in self.groups.groups() {
            let Group::Classic(group) = group else { panic!("no request here makes a consumer group") };
            let before = kept.get(group_id);
            let Some(Group::Classic(before)) = before else { panic!("{} is not kept", &**group_id) };
            if group.state() == ClassicState::Stable {
                let shown = |group: &ClassicGroup| -> Vec<_> {
                    group
                        .members()
                        .map(|m| (m.member_id.clone(), m.instance_id.clone(), m.assignment.clone()))
                        .collect()
                };
                assert_eq!(group.generation_id(), before.generation_id());
                assert_eq!(shown(group), shown(before));
            }
        }
    }

    fn restart(&mut self) {
        let refused = self.with_context(GroupCoordinator::unload);
        self.held.clear();
        for (id, reply) in refused {
            self.reply(id, reply);
        }
        // What was on its way to the disk is answered by nobody.
        self.owed.clear();
        self.groups = self.replayed();
        self.with_context(GroupCoordinator::loaded);
        // A crash takes back generations that nobody was told an assignment of.
        self.generations.clear();
    }

    fn check(&mut self) {
        for (group_id, group) in self.groups.groups() {
            let Group::Classic(group) = group else { panic!("no request here makes a consumer group") };
            let before = self.generations.insert(group_id.clone(), group.generation_id());
            assert!(before.is_none_or(|before| before <= group.generation_id()), "a generation went back");
            let leads = group
                .leader_id()
                .is_none_or(|leader| group.members().any(|member| member.member_id == *leader));
            assert!(leads, "the leader of {} is no member", &**group_id);
            if group.state() == ClassicState::Empty {
                assert_eq!(group.members().len(), 0);
            } else if group.members().len() == 0 {
                assert_eq!(group.state(), ClassicState::PreparingRebalance, "only pending members");
            }
        }
        let weighed: usize = self.groups.groups().map(|(_, group)| group.metadata_bytes()).sum();
        assert_eq!(self.groups.metadata_bytes(), weighed, "the members' metadata was added up wrongly");
        let present: BTreeSet<_> = self.groups.groups().map(|(group_id, _)| group_id.clone()).collect();
        self.generations.retain(|group_id, _| present.contains(group_id));
    }

    fn run(&mut self, event: &Event) {
        let name = |group: u8| GroupId::from(format!("g{group}"));
        let known = |world: &Self, who: (u8, u8)| world.known.get(&who).cloned().unwrap_or_default();
        match *event {
            Event::Join { group, member, is_static, protocols, version } => {
                let me = known(self, (group, member));
                let protocols: &[&str] =
                    [&["range"][..], &["range", "sticky"], &["sticky", "range"]][usize::from(protocols)];
                let request = JoinGroup {
                    group_id: name(group),
                    member_id: me.member_id.as_str().into(),
                    instance_id: (is_static && member == 0).then(|| InstanceId::from("i")),
                    client: Client { id: format!("c{member}").into(), host: "/h".into() },
                    session_timeout_ms: 10_000,
                    rebalance_timeout_ms: 5_000,
                    protocol_type: "consumer".into(),
                    protocols: protocols
                        .iter()
                        .map(|p| Protocol { name: (*p).into(), metadata: [0, 0, 0, 0, 0, 0].into() })
                        .collect(),
                    requires_member_id: version >= 4,
                    supports_skipping_assignment: version >= 9,
                    reason: None,
                };
                self.ask((group, member), Request::JoinGroup(request));
            }
            Event::Sync { group, member } => {
                let me = known(self, (group, member));
                let everyone = if me.leads { me.members } else { Vec::new() };
                let assignments = everyone.into_iter().map(|id| (id.clone(), id.as_bytes().into())).collect();
                let request = SyncGroup {
                    group_id: name(group),
                    member_id: me.member_id.as_str().into(),
                    instance_id: None,
                    generation_id: me.generation,
                    protocol_type: None,
                    protocol_name: None,
                    assignments,
                };
                self.ask((group, member), Request::SyncGroup(request));
            }
            Event::Heartbeat { group, member } => {
                let me = known(self, (group, member));
                let request = Heartbeat {
                    group_id: name(group),
                    member_id: me.member_id.as_str().into(),
                    instance_id: None,
                    generation_id: me.generation,
                };
                self.ask((group, member), Request::Heartbeat(request));
            }
            Event::Leave { group, member } => {
                let member_id = known(self, (group, member)).member_id.as_str().into();
                let members = vec![LeavingMember { member_id, instance_id: None, reason: None }];
                self.ask((group, member), Request::LeaveGroup(LeaveGroup { group_id: name(group), members }));
            }
            Event::Commit { group, member, partition, from_outside } => {
                let me = if from_outside {
                    Known { generation: -1, ..Known::default() }
                } else {
                    known(self, (group, member))
                };
                self.offset += 1;
                let partitions = vec![PartitionCommit {
                    partition,
                    offset: self.offset,
                    leader_epoch: -1,
                    metadata: None,
                }];
                let request = OffsetCommit {
                    version: 9,
                    group_id: name(group),
                    member_id: me.member_id.as_str().into(),
                    instance_id: None,
                    generation_id_or_member_epoch: me.generation,
                    retention_time_ms: -1,
                    topics: vec![TopicCommit { topic: "t".into(), topic_id: [0; 16], partitions }],
                };
                self.ask((group, member), Request::OffsetCommit(request));
            }
            Event::DeleteOffsets { group, partition } => {
                let request =
                    OffsetDelete { group_id: name(group), topics: vec![("t".into(), vec![partition])] };
                self.ask((group, 0), Request::OffsetDelete(request));
            }
            Event::DeleteGroup { group } => self.ask((group, 0), Request::DeleteGroups(vec![name(group)])),
            Event::Advance { ms } => {
                self.now_ms += ms;
                while let Some(outcome) = self.with_context(GroupCoordinator::expire) {
                    self.carry_out(outcome);
                }
            }
            Event::Store => self.store(),
            Event::FailNextAppend => self.fails = true,
            Event::Restart => self.restart(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_log_says_what_is_so(events in proptest::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        let mut last: BTreeMap<(String, String, i32), i64> = BTreeMap::new();
        for event in &events {
            world.run(event);
            world.check();
            let now = world.offsets();
            for (of, offset) in &now {
                // Each commit of this history is of a higher offset: one that is lower was not committed last.
                prop_assert!(last.get(of).is_none_or(|before| before <= offset), "{of:?} went back to {offset}");
            }
            last = now;
        }
        // Left alone, every request is answered in the end, and nothing waits for ever.
        world.fails = false;
        for _ in 0..200 {
            world.store();
            world.run(&Event::Advance { ms: 2_000 });
        }
        world.store();
        prop_assert!(world.owed.is_empty(), "{} requests have no answer", world.owed.len());
    }
}
