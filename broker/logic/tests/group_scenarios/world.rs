//! A coordinator without a disk or a clock: runs commands, keeps the records that were appended, and says what came.

use std::collections::{BTreeMap, VecDeque};

use corelog_logic::controller::MetadataImage;
use corelog_logic::group::consumer::MigrationPolicy;
use corelog_logic::group::*;

use crate::consumer;
use crate::script::{Command, expand};
use crate::show;

/// What is appended and not durable yet.
struct Held {
    replies: Vec<(ReplyId, Reply)>,
    after: Option<After>,
}

pub(crate) struct World {
    groups: GroupCoordinator,
    image: MetadataImage,
    config: GroupConfig,
    now_ms: i64,
    random: u64,
    labels: BTreeMap<ReplyId, String>,
    log: Vec<GroupRecord>,
    held: Option<VecDeque<Held>>,
    fails: Option<GroupErrorKind>,
}

/// When scenarios begin, in milliseconds since 1970: small, to be read.
const START_MS: i64 = 1_000_000;

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            groups: GroupCoordinator::new(),
            image: MetadataImage::default(),
            config: GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() },
            now_ms: 0,
            random: 0,
            labels: BTreeMap::new(),
            log: Vec::new(),
            held: None,
            fails: None,
        };
        world.with_context(GroupCoordinator::loaded);
        world
    }

    fn with_context<T>(&mut self, decide: impl FnOnce(&mut GroupCoordinator, &mut Context<'_>) -> T) -> T {
        let Self { groups, image, config, now_ms, random, .. } = self;
        // Two draws make a UUID: the first is zero, the second counts.
        let mut draws = 0_u64;
        let mut draw = || {
            draws += 1;
            if draws.is_multiple_of(2) {
                *random += 1;
                *random
            } else {
                0
            }
        };
        let mut context = Context {
            now: Now { wall_ms: START_MS + *now_ms, monotonic_ms: *now_ms },
            config,
            image,
            random: &mut draw,
        };
        decide(groups, &mut context)
    }

    /// Runs a command and says what came of it.
    pub(crate) fn run(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let mut out = Vec::new();
        match command.name.as_str() {
            "config" => {
                for (key, value) in command.pairs() {
                    self.configure(key, value.parse().map_err(|_| format!("{value} is no number"))?)?;
                }
            }
            "advance" => self.advance(command.word(0)?.parse().map_err(|_| "no time")?, &mut out),
            "hold" => self.held = Some(VecDeque::new()),
            "store" => self.store(&mut out),
            "next-append-fails" => self.fails = Some(GroupErrorKind::CoordinatorNotAvailable),
            "restart" => self.restart(&mut out),
            "state" => out.extend(self.state()),
            "topic" => {
                let delta = consumer::change_topic(&mut self.image, command)?;
                self.groups.metadata_changed(&delta, &self.image);
            }
            "group-config" => {
                let delta = consumer::configure_group(&mut self.image, command)?;
                self.groups.metadata_changed(&delta, &self.image);
            }
            "migration" => {
                let policy = MigrationPolicy::by_name(command.word(0)?).ok_or("no policy")?;
                self.config.consumer.migration_policy = policy;
            }
            "topic-deleted" => {
                let outcome = self.groups.topic_deleted(command.word(0)?);
                self.carry_out(outcome, &mut out);
            }
            _ => {
                let request = self.request(command)?;
                let id = ReplyId(self.labels.len() as u64);
                let label_at = if matches!(
                    command.name.as_str(),
                    "describe" | "describe-consumer" | "list" | "delete"
                ) {
                    0
                } else {
                    1
                };
                self.labels.insert(id, command.word(label_at)?.to_owned());
                let outcome = self.with_context(|groups, context| groups.decide(context, id, request));
                self.carry_out(outcome, &mut out);
                self.expire(&mut out);
            }
        }
        Ok(out)
    }

    fn configure(&mut self, key: &str, value: i64) -> Result<(), String> {
        match key {
            "group.initial.rebalance.delay.ms" => self.config.initial_rebalance_delay_ms = value,
            "group.max.size" => self.config.max_size = value as usize,
            "offset.metadata.max.bytes" => self.config.offset_metadata_max_bytes = value as usize,
            "offsets.retention.ms" => self.config.offsets_retention_ms = value,
            "offsets.retention.check.interval.ms" => self.config.offsets_retention_check_interval_ms = value,
            "group.consumer.max.size" => self.config.consumer.max_size = value as usize,
            "group.consumer.assignment.interval.ms" => {
                self.config.consumer.assignment_interval_ms = value as i32;
            }
            _ => return Err(format!("no setting {key}")),
        }
        Ok(())
    }

    fn carry_out(&mut self, outcome: Outcome, out: &mut Vec<String>) {
        let Outcome { records, applied, replies, after } = outcome;
        let fails = if records.is_empty() { None } else { self.fails.take() };
        if let Some(error) = fails {
            out.push(format!("   the append fails: {error:?}"));
            for (id, reply) in replies {
                self.show(id, &reply.refuse(error), out);
            }
            if let Some(after) = after {
                let next = self.with_context(|groups, context| groups.settle(context, after, Err(error)));
                self.carry_out(next, out);
            }
            return;
        }
        for record in records {
            out.push(show::record(&record));
            if !applied {
                self.groups.replay(&record, START_MS + self.now_ms);
            }
            self.log.push(record);
        }
        match &mut self.held {
            Some(held) => held.push_back(Held { replies, after }),
            None => self.settle(Held { replies, after }, out),
        }
    }

    fn settle(&mut self, Held { replies, after }: Held, out: &mut Vec<String>) {
        for (id, reply) in replies {
            self.show(id, &reply, out);
        }
        if let Some(after) = after {
            let next = self.with_context(|groups, context| groups.settle(context, after, Ok(())));
            self.carry_out(next, out);
        }
    }

    fn store(&mut self, out: &mut Vec<String>) {
        for held in self.held.take().into_iter().flatten() {
            self.settle(held, out);
        }
    }

    fn show(&self, id: ReplyId, reply: &Reply, out: &mut Vec<String>) {
        out.extend(show::reply(self.labels.get(&id).map_or("?", String::as_str), reply));
    }

    /// Lets time pass, from deadline to deadline.
    fn advance(&mut self, by_ms: i64, out: &mut Vec<String>) {
        let end_ms = self.now_ms + by_ms;
        while let Some(deadline_ms) =
            self.groups.next_deadline_ms().filter(|deadline_ms| *deadline_ms <= end_ms)
        {
            self.now_ms = self.now_ms.max(deadline_ms);
            self.expire(out);
        }
        self.now_ms = end_ms;
    }

    fn expire(&mut self, out: &mut Vec<String>) {
        while let Some(outcome) = self.with_context(GroupCoordinator::expire) {
            self.carry_out(outcome, out);
        }
    }

    fn restart(&mut self, out: &mut Vec<String>) {
        for (id, reply) in self.with_context(GroupCoordinator::unload) {
            self.show(id, &reply, out);
        }
        self.held = None;
        let log = self.log.clone();
        for record in &log {
            // Through the bytes, as they would lie in the log.
            let (key, value) = record.encode();
            let read = GroupRecord::decode(&key, value.as_deref());
            assert_eq!(read.as_ref(), Ok(record));
            self.groups.replay(record, START_MS + self.now_ms);
        }
        self.with_context(GroupCoordinator::loaded);
    }

    fn state(&self) -> Vec<String> {
        let shown = self.groups.groups().map(|(group_id, group)| {
            let group = match group {
                Group::Classic(group) => group,
                Group::Consumer(group) => {
                    let state = group.state().name();
                    return format!("   {} {state} epoch={}", &**group_id, group.group_epoch());
                }
            };
            let members: Vec<&str> = group.members().map(|member| &*member.member_id).collect();
            crate::script::shorten(&format!(
                "   {} {} generation={} leader={} members=[{}]",
                &**group_id,
                group.state().name(),
                group.generation_id(),
                group.leader_id().map_or("-", |leader| leader),
                members.join(" ")
            ))
        });
        shown.collect()
    }

    fn request(&self, command: &Command) -> Result<Request, String> {
        let group = || command.word(0).map(GroupId::from);
        let instance_id = command.text("instance").map(InstanceId::from);
        Ok(match command.name.as_str() {
            "join" => {
                let version: i16 = command.number("version", 9)?;
                let session_timeout_ms = command.number("session", 10_000)?;
                Request::JoinGroup(JoinGroup {
                    group_id: group()?,
                    member_id: command.member("member").into(),
                    instance_id,
                    client: Client {
                        id: command.text("client").unwrap_or("c").into(),
                        host: "/10.0.0.1".into(),
                    },
                    session_timeout_ms,
                    rebalance_timeout_ms: if version == 0 {
                        session_timeout_ms
                    } else {
                        command.number("rebalance", 30_000)?
                    },
                    protocol_type: command.text("type").unwrap_or("consumer").into(),
                    protocols: protocols(command.text("protocols").unwrap_or("range:t")),
                    requires_member_id: version >= 4,
                    supports_skipping_assignment: version >= 9,
                    reason: None,
                })
            }
            "sync" => Request::SyncGroup(SyncGroup {
                group_id: group()?,
                member_id: command.member("member").into(),
                instance_id,
                generation_id: command.number("generation", -1)?,
                protocol_type: command.text("type").map(Into::into),
                protocol_name: command.text("protocol").map(Into::into),
                assignments: command
                    .list("assign")
                    .filter_map(|pair| pair.split_once(':'))
                    .map(|(member, bytes)| (expand(member).into(), bytes.as_bytes().into()))
                    .collect(),
            }),
            "heartbeat" => Request::Heartbeat(Heartbeat {
                group_id: group()?,
                member_id: command.member("member").into(),
                instance_id,
                generation_id: command.number("generation", -1)?,
            }),
            "leave" => Request::LeaveGroup(LeaveGroup {
                group_id: group()?,
                members: command
                    .list("members")
                    .map(|member| {
                        let (member, instance) =
                            member.split_once('/').map_or((member, None), |(m, i)| (m, Some(i)));
                        LeavingMember {
                            member_id: expand(member).into(),
                            instance_id: instance.map(Into::into),
                            reason: None,
                        }
                    })
                    .collect(),
            }),
            "commit" => Request::OffsetCommit(OffsetCommit {
                version: command.number("version", 9)?,
                group_id: group()?,
                member_id: command.member("member").into(),
                instance_id,
                generation_id_or_member_epoch: command.number("generation", -1)?,
                retention_time_ms: command.number("retention", -1)?,
                topics: command.list("offsets").map(committed).collect::<Result<_, _>>()?,
            }),
            "fetch" => Request::OffsetFetch(OffsetFetch {
                group_id: group()?,
                member_id: command.text("member").map(|_| command.member("member").into()),
                member_epoch: command.number("epoch", -1)?,
                topics: command.text("partitions").map(|_| partitions(command)).transpose()?,
                require_stable: false,
            }),
            "delete-offsets" => {
                Request::OffsetDelete(OffsetDelete { group_id: group()?, topics: partitions(command)? })
            }
            "consume" => Request::ConsumerGroupHeartbeat(consumer::heartbeat(command)?),
            "describe-consumer" => {
                Request::ConsumerGroupDescribe(command.list("groups").map(GroupId::from).collect())
            }
            "describe" => Request::DescribeGroups(command.list("groups").map(GroupId::from).collect()),
            "delete" => Request::DeleteGroups(command.list("groups").map(GroupId::from).collect()),
            "list" => Request::ListGroups(ListGroups {
                states: command.list("states").map(str::to_owned).collect(),
                types: command.list("types").map(str::to_owned).collect(),
            }),
            other => return Err(format!("no command {other}")),
        })
    }
}

/// `range:t1+t2,sticky:t1`: names with the topics of a subscription, or `!text` for metadata that is none.
fn protocols(text: &str) -> Vec<Protocol> {
    let protocol = |one: &str| {
        let (name, topics) = one.split_once(':').unwrap_or((one, ""));
        let metadata = match topics.strip_prefix('!') {
            Some(other) => other.as_bytes().to_vec(),
            None => {
                let topics: Vec<&str> = topics.split('+').filter(|topic| !topic.is_empty()).collect();
                let mut bytes = vec![0, 0, 0, 0, 0, topics.len() as u8];
                for topic in topics {
                    bytes.extend([0, topic.len() as u8]);
                    bytes.extend(topic.as_bytes());
                }
                // No user data.
                bytes.extend([255; 4]);
                bytes
            }
        };
        Protocol { name: name.into(), metadata: metadata.into() }
    };
    text.split(',').filter(|one| !one.is_empty()).map(protocol).collect()
}

fn partition(text: &str) -> Result<(&str, i32), String> {
    let (topic, number) = text.rsplit_once('-').ok_or(format!("{text} is no partition"))?;
    Ok((topic, number.parse().map_err(|_| format!("{text} is no partition"))?))
}

/// Partitions by topic.
type Partitions = Vec<(std::sync::Arc<str>, Vec<i32>)>;

fn partitions(command: &Command) -> Result<Partitions, String> {
    command
        .list("partitions")
        .map(|one| partition(one).map(|(topic, number)| (topic.into(), vec![number])))
        .collect()
}

/// `t-0:5@3!text`: offset, leader epoch, metadata.
fn committed(text: &str) -> Result<TopicCommit, String> {
    let (of, rest) = text.split_once(':').ok_or(format!("{text} has no offset"))?;
    let (topic, partition) = partition(of)?;
    let (rest, metadata) = rest.split_once('!').map_or((rest, None), |(rest, text)| (rest, Some(text)));
    let (offset, leader_epoch) = rest.split_once('@').unwrap_or((rest, "-1"));
    let commit = PartitionCommit {
        partition,
        offset: offset.parse().map_err(|_| format!("{text} has no offset"))?,
        leader_epoch: leader_epoch.parse().map_err(|_| format!("{text} has no epoch"))?,
        metadata: metadata.map(Into::into),
    };
    Ok(TopicCommit { topic: topic.into(), topic_id: [0; 16], partitions: vec![commit] })
}
