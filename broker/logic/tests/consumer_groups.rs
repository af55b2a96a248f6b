//! Random lives of consumer groups: members come, go, die, miss answers, and topics grow.
//!
//! At no moment do two living members own a partition; when everybody has had time, each partition has an owner and the loads are even; and the log replayed
//! gives the same group. The members behave as Kafka's clients do, so only the coordinator can be wrong.

use std::collections::BTreeSet;

use corelog_logic::controller::{Delta, MetadataImage, PartitionRecord, Record, TopicId, TopicRecord};
use corelog_logic::group::consumer::{ConsumerGroupHeartbeat, Owned};
use corelog_logic::group::{
    Client, Context, GroupConfig, GroupCoordinator, GroupErrorKind, GroupRecord, Now, Outcome, Reply,
    ReplyId, Request,
};
use proptest::prelude::*;

/// How long a member has to give up what it is told to.
const REBALANCE_TIMEOUT_MS: i32 = 20_000;

const TOPIC: TopicId = TopicId([7; 16]);

/// A consumer, as its own client sees it.
struct Consumer {
    name: String,
    instance: Option<String>,
    assignor: &'static str,
    epoch: i32,
    owned: BTreeSet<i32>,
    /// It must say everything with its next heartbeat: it is new, or an answer was lost.
    says_all: bool,
    /// When it sent its last heartbeat.
    spoke_ms: i64,
    /// When an answer to it was last lost.
    missed_ms: Option<i64>,
}

impl Consumer {
    /// Whether it may have been expelled without having heard of it: it was silent, or deaf, for as long as it had to give something up.
    fn may_be_expelled(&self, now_ms: i64) -> bool {
        let timeout_ms = i64::from(REBALANCE_TIMEOUT_MS);
        now_ms - self.spoke_ms >= timeout_ms
            || self.missed_ms.is_some_and(|missed_ms| now_ms - missed_ms < 2 * timeout_ms)
    }
}

struct World {
    groups: GroupCoordinator,
    config: GroupConfig,
    image: MetadataImage,
    now_ms: i64,
    log: Vec<GroupRecord>,
    consumers: Vec<Consumer>,
    named: usize,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            groups: GroupCoordinator::new(),
            config: GroupConfig::default(),
            image: MetadataImage::default(),
            now_ms: 0,
            log: Vec::new(),
            consumers: Vec::new(),
            named: 0,
        };
        world.grow();
        world
    }

    fn with<T>(&mut self, decide: impl FnOnce(&mut GroupCoordinator, &mut Context<'_>) -> T) -> T {
        let mut random = || 1;
        let now = Now { wall_ms: 1_000_000 + self.now_ms, monotonic_ms: self.now_ms };
        let mut context = Context { now, config: &self.config, image: &self.image, random: &mut random };
        decide(&mut self.groups, &mut context)
    }

    fn carry_out(&mut self, outcome: Outcome) -> Option<Reply> {
        for record in &outcome.records {
            if !outcome.applied {
                self.groups.replay(record, 0);
            }
        }
        self.log.extend(outcome.records);
        if let Some(after) = outcome.after {
            let next = self.with(|groups, context| groups.settle(context, after, Ok(())));
            self.carry_out(next);
        }
        outcome.replies.into_iter().next().map(|(_, reply)| reply)
    }

    fn ask(&mut self, request: Request) -> Option<Reply> {
        let outcome = self.with(|groups, context| groups.decide(context, ReplyId(0), request));
        self.carry_out(outcome)
    }

    fn advance(&mut self, by_ms: i64) {
        self.now_ms += by_ms;
        while let Some(outcome) = self.with(GroupCoordinator::expire) {
            self.carry_out(outcome);
        }
    }

    /// One partition more.
    fn grow(&mut self) {
        let mut delta = Delta::default();
        let there = self.image.topic(&TOPIC).map_or(0, |topic| topic.partitions.len() as i32);
        if there == 0 {
            let topic = Record::Topic(TopicRecord { name: "t".to_owned(), topic_id: TOPIC });
            self.image.replay(&topic, &mut delta).unwrap_or_else(|error| panic!("{error}"));
        }
        let partition = Record::Partition(PartitionRecord {
            topic_id: TOPIC,
            partition: there,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            log_id: 1,
        });
        self.image.replay(&partition, &mut delta).unwrap_or_else(|error| panic!("{error}"));
        self.image.version += 1;
        let image = self.image.clone();
        self.groups.metadata_changed(&delta, &image);
    }

    fn join(&mut self, is_static: bool, assignor: &'static str) {
        self.named += 1;
        self.consumers.push(Consumer {
            name: format!("m{}", self.named),
            instance: is_static.then(|| format!("i{}", self.named)),
            assignor,
            epoch: 0,
            owned: BTreeSet::new(),
            says_all: true,
            spoke_ms: self.now_ms,
            missed_ms: None,
        });
    }

    fn request(consumer: &Consumer, member_epoch: i32) -> ConsumerGroupHeartbeat {
        let all = consumer.says_all || member_epoch == 0;
        ConsumerGroupHeartbeat {
            version: 1,
            group_id: "g".into(),
            member_id: consumer.name.as_str().into(),
            member_epoch,
            instance_id: consumer.instance.as_deref().map(Into::into),
            rack_id: None,
            rebalance_timeout_ms: if all { REBALANCE_TIMEOUT_MS } else { -1 },
            subscribed_topic_names: all.then(|| vec!["t".into()]),
            subscribed_topic_regex: None,
            server_assignor: all.then(|| consumer.assignor.into()),
            owned: Some(match consumer.owned.is_empty() {
                true => Owned::new(),
                false => [(TOPIC, consumer.owned.iter().copied().collect())].into(),
            }),
            client: Client { id: "c".into(), host: "/h".into() },
        }
    }

    /// A heartbeat, whose answer may be lost.
    fn heartbeat(&mut self, at: usize, lost: bool) {
        let Some(consumer) = self.consumers.get(at) else { return };
        let request = Self::request(consumer, consumer.epoch);
        let Some(Reply::ConsumerGroupHeartbeat(reply)) = self.ask(Request::ConsumerGroupHeartbeat(request))
        else {
            panic!("no answer to a heartbeat");
        };
        let consumer = &mut self.consumers[at];
        consumer.spoke_ms = self.now_ms;
        if lost {
            consumer.missed_ms = Some(self.now_ms);
            consumer.says_all = true;
            return;
        }
        match reply {
            Ok(reply) => {
                consumer.epoch = reply.member_epoch;
                consumer.says_all = false;
                if let Some(assignment) = reply.assignment {
                    consumer.owned = assignment.iter().map(|(_, partition, ())| partition).collect();
                }
            }
            Err(error) => {
                use GroupErrorKind::{FencedMemberEpoch, UnknownMemberId, UnreleasedInstanceId};
                // A static member that did not hear that it had joined is kept out, as in Kafka, until its session ends.
                let kept_out = error.kind == UnreleasedInstanceId && consumer.instance.is_some();
                let fenced = matches!(error.kind, FencedMemberEpoch | UnknownMemberId);
                assert!(kept_out || fenced, "{error:?}");
                consumer.epoch = 0;
                consumer.owned.clear();
                consumer.says_all = true;
            }
        }
        self.check_owners();
    }

    /// What an expelled member still takes for its own does not count: it learns better with its next heartbeat, as in Kafka.
    fn check_owners(&mut self) {
        let members = self.members();
        let mut owners = BTreeSet::new();
        for consumer in &self.consumers {
            if consumer.may_be_expelled(self.now_ms) && !members.contains(&consumer.name) {
                continue;
            }
            for partition in &consumer.owned {
                assert!(
                    owners.insert(partition),
                    "t-{partition} belongs to {} and to another",
                    consumer.name
                );
            }
        }
    }

    /// Leaves, or only stops: then its partitions are nobody's until its session ends.
    fn go(&mut self, at: usize, says_so: bool) {
        if at >= self.consumers.len() {
            return;
        }
        let consumer = self.consumers.remove(at);
        if says_so && consumer.epoch > 0 {
            self.ask(Request::ConsumerGroupHeartbeat(Self::request(&consumer, -1)));
        }
    }

    /// A static member stops and starts again under another id.
    fn restart(&mut self, at: usize) {
        let Some(consumer) = self.consumers.get(at) else { return };
        if consumer.instance.is_none() || consumer.epoch == 0 {
            return;
        }
        let request = Self::request(consumer, -2);
        self.ask(Request::ConsumerGroupHeartbeat(request));
        self.named += 1;
        let consumer = &mut self.consumers[at];
        consumer.name = format!("m{}", self.named);
        consumer.epoch = 0;
        consumer.owned.clear();
        consumer.says_all = true;
    }

    /// Who the coordinator says is in the group.
    fn members(&mut self) -> BTreeSet<String> {
        let Some(Reply::ConsumerGroupDescribe(groups)) =
            self.ask(Request::ConsumerGroupDescribe(vec!["g".into()]))
        else {
            panic!("no description");
        };
        let described = groups.into_iter().filter_map(|(_, group)| group.ok());
        described.flat_map(|group| group.members).map(|member| member.member.member_id.to_string()).collect()
    }

    fn described(&mut self) -> String {
        format!("{:?}", self.ask(Request::ConsumerGroupDescribe(vec!["g".into()])))
    }
}

#[derive(Debug, Clone)]
enum Event {
    Join(bool, &'static str),
    Heartbeat(usize, bool),
    Go(usize, bool),
    Restart(usize),
    Grow,
    Advance(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (any::<bool>(), prop_oneof![Just("uniform"), Just("range")]).prop_map(|(s, a)| Event::Join(s, a)),
        12 => (0..5_usize, prop::bool::weighted(0.15)).prop_map(|(at, lost)| Event::Heartbeat(at, lost)),
        1 => (0..5_usize, any::<bool>()).prop_map(|(at, says_so)| Event::Go(at, says_so)),
        1 => (0..5_usize).prop_map(Event::Restart),
        1 => Just(Event::Grow),
        4 => (0..3_000_i64).prop_map(Event::Advance),
    ]
}

#[test]
fn a_member_that_gave_nothing_up_in_time_is_expelled_and_learns_it_when_it_speaks_again() {
    let mut world = World::new();
    world.grow();
    world.join(false, "uniform");
    world.join(false, "uniform");
    world.heartbeat(1, false);
    assert_eq!(world.consumers[1].owned.len(), 2);
    world.advance(1_000);
    world.heartbeat(0, false);
    // It is told to give one of them up, and falls silent.
    world.heartbeat(1, false);
    world.advance(i64::from(REBALANCE_TIMEOUT_MS) - 1);
    assert_eq!(world.members().len(), 2);
    world.advance(1);
    assert_eq!(world.members(), BTreeSet::from(["m1".to_owned()]));
    world.heartbeat(0, false);
    assert_eq!(world.consumers[0].owned.len(), 2);
    world.heartbeat(1, false);
    assert!(world.consumers[1].owned.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_partition_has_two_owners_and_in_the_end_each_has_one(events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        for event in events {
            match event {
                Event::Join(is_static, assignor) if world.consumers.len() < 5 => world.join(is_static, assignor),
                Event::Join(..) => {}
                Event::Heartbeat(at, lost) => world.heartbeat(at, lost),
                Event::Go(at, says_so) => world.go(at, says_so),
                Event::Restart(at) => world.restart(at),
                Event::Grow => world.grow(),
                Event::Advance(by_ms) => world.advance(by_ms),
            }
        }
        // Everybody lives on for longer than a session.
        for _ in 0..90 {
            world.advance(1_000);
            for at in 0..world.consumers.len() {
                world.heartbeat(at, false);
            }
        }
        let partitions = world.image.partition_count();
        let owned: Vec<usize> = world.consumers.iter().map(|consumer| consumer.owned.len()).collect();
        if let (Some(least), Some(most)) = (owned.iter().min(), owned.iter().max()) {
            prop_assert_eq!(owned.iter().sum::<usize>(), partitions, "not every partition has an owner");
            prop_assert!(most - least <= 1, "{owned:?}");
        }

        let before = world.described();
        let mut again = World::new();
        again.image = world.image.clone();
        for record in &world.log {
            let (key, value) = record.encode();
            again.groups.replay(&GroupRecord::decode(&key, value.as_deref()).unwrap(), 0);
        }
        prop_assert_eq!(again.described(), before, "the log replayed gives another group");
    }
}
