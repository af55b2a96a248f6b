//! What decisions about a consumer group are made with, and what they lead to.
//!
//! A decision reads the group and changes nothing; `ConsumerGroup::apply` then replays its records. So a request that is refused half way has no effect.
//! Deliberately absent: appending, and the timers themselves.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{ConsumerGroup, Member, TopicHashes};
use crate::controller::MetadataImage;
use crate::group::assignors::Assignor;
use crate::group::records::{ConsumerRecordBody, GroupEpoch};
use crate::group::{MemberId, Now};

/// `group.consumer.migration.policy`: which groups may change their protocol while they have members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Both ways.
    Bidirectional,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    /// None.
    Disabled,
}

impl MigrationPolicy {
    /// All policies.
    pub const ALL: [Self; 4] = [Self::Bidirectional, Self::Upgrade, Self::Downgrade, Self::Disabled];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bidirectional => "bidirectional",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Disabled => "disabled",
        }
    }

    /// The policy of this name, in letters of any case as Kafka takes it.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// Whether a classic group may become a consumer group.
    pub fn allows_upgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    /// Whether a consumer group may become a classic group.
    pub fn allows_downgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }
}

/// The broker's settings for consumer groups, by Kafka's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupConfig {
    /// `group.consumer.session.timeout.ms`.
    pub session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.{min,max}.session.timeout.ms`: bounds of what single groups are given.
    pub session_timeout_bounds_ms: (i32, i32),
    /// `group.consumer.{min,max}.heartbeat.interval.ms`, likewise.
    pub heartbeat_interval_bounds_ms: (i32, i32),
    /// `group.consumer.{min,max}.assignment.interval.ms`, likewise.
    pub assignment_interval_bounds_ms: (i32, i32),
    /// `group.consumer.max.size`.
    pub max_size: usize,
    /// `group.consumer.assignors`: the first is the default.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.assignment.interval.ms`: the least time between two targets.
    pub assignment_interval_ms: i32,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub regex_refresh_interval_ms: i64,
    /// `group.consumer.migration.policy`.
    pub migration_policy: MigrationPolicy,
}

impl Default for ConsumerGroupConfig {
    fn default() -> Self {
        Self {
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5_000,
            session_timeout_bounds_ms: (45_000, 60_000),
            heartbeat_interval_bounds_ms: (5_000, 15_000),
            assignment_interval_bounds_ms: (0, 15_000),
            max_size: i32::MAX as usize,
            assignors: Assignor::ALL.to_vec(),
            assignment_interval_ms: 1_000,
            regex_refresh_interval_ms: 600_000,
            migration_policy: MigrationPolicy::Bidirectional,
        }
    }
}

/// What a decision is made with.
#[derive(Debug)]
pub struct ConsumerContext<'a> {
    /// The time.
    pub now: Now,
    /// The group's settings.
    pub config: Cow<'a, ConsumerGroupConfig>,
    /// The topics, as this core knows them.
    pub image: &'a MetadataImage,
    /// Hashes of topics, kept between decisions.
    pub hashes: &'a mut TopicHashes,
    /// Version of the last image that brought a new topic: expressions that were resolved before it are resolved again.
    pub new_topics_version: u64,
    /// Whether a resolution of the group's expressions was asked for and has not come back.
    pub regexes_under_way: bool,
}

/// What a timer of a member is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemberTimer {
    /// It must send a heartbeat.
    Session,
    /// It must give up what it was told to.
    Rebalance,
    /// A classic member must join again.
    Join,
    /// A classic member must sync.
    Sync,
}

/// What happens beside the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Set or move a timer, by a delay in milliseconds.
    SetTimer(MemberTimer, MemberId, i64),
    /// Set a timer unless it is running.
    SetTimerIfAbsent(MemberTimer, MemberId, i64),
    /// Stop a timer.
    CancelTimer(MemberTimer, MemberId),
    /// Stop all timers of a member.
    CancelTimers(MemberId),
    /// Match these expressions against all topics, once the records are there, and come back with [`ConsumerGroup::regexes_resolved`].
    ResolveRegexes(BTreeSet<Arc<str>>),
}

/// What a decision leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<T> {
    /// To be replayed and appended, in order.
    pub records: Vec<ConsumerRecordBody>,
    /// What happens beside.
    pub effects: Vec<Effect>,
    /// The group epoch that a look at the topics led to, if one was taken.
    pub(super) metadata_fresh_at: Option<i32>,
    /// The answer.
    pub reply: T,
}

impl<T> Decision<T> {
    /// An answer, and nothing happens.
    pub fn reply(reply: T) -> Self {
        Self { records: Vec::new(), effects: Vec::new(), metadata_fresh_at: None, reply }
    }
}

/// A decision while it is being made.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub records: Vec<ConsumerRecordBody>,
    pub effects: Vec<Effect>,
    pub metadata_fresh_at: Option<i32>,
}

impl Draft {
    pub fn answer<T>(self, reply: T) -> Decision<T> {
        let Self { records, effects, metadata_fresh_at } = self;
        Decision { records, effects, metadata_fresh_at, reply }
    }

    /// A new group epoch.
    pub fn epoch(&mut self, epoch: i32, metadata_hash: i64) {
        self.records.push(ConsumerRecordBody::Epoch(Some(GroupEpoch { epoch, metadata_hash })));
    }

    pub fn member(&mut self, member: &Member) {
        self.records.push(ConsumerRecordBody::Member(member.member_id.clone(), Some(member.metadata())));
    }

    pub fn current_assignment(&mut self, member: &Member) {
        let value = member.current_assignment();
        self.records.push(ConsumerRecordBody::CurrentAssignment(member.member_id.clone(), Some(value)));
    }

    /// The tombstones of a member, in Kafka's order.
    pub fn remove_member(&mut self, member_id: &MemberId) {
        self.records.push(ConsumerRecordBody::CurrentAssignment(member_id.clone(), None));
        self.records.push(ConsumerRecordBody::TargetMember(member_id.clone(), None));
        self.records.push(ConsumerRecordBody::Member(member_id.clone(), None));
    }

    /// One static member takes the place of another: its target and what it owns go with the place.
    pub fn replace_member(&mut self, group: &ConsumerGroup, before: &Member, member: &Member) {
        self.remove_member(&before.member_id);
        self.effects.push(Effect::CancelTimers(before.member_id.clone()));
        self.member(member);
        let target = group.targets.get(&before.member_id).cloned().unwrap_or_default();
        self.records.push(ConsumerRecordBody::TargetMember(member.member_id.clone(), Some(target)));
        self.current_assignment(member);
    }
}

impl ConsumerGroup {
    /// Makes the group what a decision of it says. The decision must be the last one that was made.
    pub fn apply<T>(&mut self, decision: &Decision<T>, now: Now) {
        for record in &decision.records {
            self.replay(record.clone());
        }
        self.note_metadata(decision, now);
    }

    /// Remembers that the topics were looked at; forgotten with a restart, and then they are looked at again.
    pub fn note_metadata<T>(&mut self, decision: &Decision<T>, now: Now) {
        if let Some(epoch) = decision.metadata_fresh_at {
            self.metadata_is_fresh(now.monotonic_ms, epoch);
        }
    }

    /// The records that make nothing of the group, in Kafka's order.
    pub fn tombstones(&self) -> Vec<ConsumerRecordBody> {
        use ConsumerRecordBody as Body;
        let members = || self.members.keys().cloned();
        let mut records: Vec<Body> = members().map(|id| Body::CurrentAssignment(id, None)).collect();
        records.extend(members().map(|id| Body::TargetMember(id, None)));
        records.push(Body::TargetEpoch(None));
        records.extend(members().map(|id| Body::Member(id, None)));
        records.extend(self.resolved_regexes.keys().map(|r| Body::RegularExpression(Arc::clone(r), None)));
        records.push(Body::PartitionMetadata(false));
        records.push(Body::Epoch(None));
        records
    }
}
