//! Members that commit offsets, each the only one of its group on a connection of its own. One record is one OffsetCommit.
//!
//! Driven by `load`, closed loop or at a rate. Deliberately absent: several requests in flight on a connection, which no consumer sends.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use clap::Args;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::member::{Consumed, Member, join_all};
use super::{GroupsResult, RunArgs, connect, group_name};
use crate::exchange::Exchange;
use crate::load::{self, Clock, Counts, Load, Schedule, Tally};

/// The last version but one that names topics; every broker that is compared serves it.
pub(super) const COMMIT_VERSION: i16 = 8;

/// Share of the intended rate that must be reached.
const RATE_REACHED: f64 = 0.99;

/// Options of `corelog-bench groups commits`.
#[derive(Debug, Args)]
pub(crate) struct CommitsArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Groups of one member, each with a connection of its own
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    groups: u32,
    /// Partitions whose offsets each request commits
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: u32,
    /// Commits a second, all groups together; without it each sends the next one when the last is answered
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
}

struct CommitsLoad {
    exchanges: Vec<Exchange>,
    members: Vec<Member>,
    schedules: Vec<Option<Schedule>>,
    /// When the request under way was intended.
    intended_ns: Vec<u64>,
    /// Whether the request before kept the next one from being sent when it was due.
    held_up: Vec<bool>,
    consumed: Consumed,
    offset: i64,
    stopped: bool,
}

impl CommitsLoad {
    fn request(&mut self, number: usize) -> OffsetCommitRequest {
        self.offset += 1;
        let partitions = (0..self.consumed.partitions as i32).map(|index| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(index)
                .with_committed_offset(self.offset)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(StrBytes::default()))
        });
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(StrBytes::from_string(self.consumed.topic.clone())))
            .with_partitions(partitions.collect());
        let member = &self.members[number];
        OffsetCommitRequest::default()
            .with_group_id(member.group.clone())
            .with_generation_id_or_member_epoch(member.generation)
            .with_member_id(member.member_id.clone())
            .with_topics(vec![topic])
    }

    fn take(&mut self, number: usize, clock: &Clock, tally: &mut Tally) -> Result<()> {
        let exchange = &mut self.exchanges[number];
        let Some(frame) = exchange.receive()? else { return Ok(()) };
        let answer = exchange.decode::<OffsetCommitRequest>(COMMIT_VERSION, frame)?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions).peekable();
        partitions.peek().context("OffsetCommit was answered without a partition")?;
        match partitions.find(|partition| partition.error_code != 0) {
            Some(refused) => tally.failed(refused.error_code),
            None => {
                let counts = Counts { records: 1, bytes: 0, requests: 1 };
                tally.answered(self.intended_ns[number], clock.now_ns(), counts);
                Ok(())
            }
        }
    }

    fn ask(&mut self, number: usize, clock: &Clock, tally: &mut Tally) -> Result<()> {
        if self.stopped || self.exchanges[number].is_pending() {
            self.held_up[number] = true;
            return Ok(());
        }
        let now_ns = clock.now_ns();
        let mut intended_ns = now_ns;
        if let Some(schedule) = &mut self.schedules[number] {
            intended_ns = schedule.due_ns();
            if intended_ns > now_ns {
                self.held_up[number] = false;
                return Ok(());
            }
            schedule.advance();
            if !self.held_up[number] {
                tally.sent_when_due(intended_ns, now_ns);
            }
        }
        self.intended_ns[number] = intended_ns;
        let request = self.request(number);
        self.exchanges[number].ask(COMMIT_VERSION, &request)?;
        self.held_up[number] = true;
        Ok(())
    }
}

impl Load for CommitsLoad {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.exchanges.iter().map(|exchange| exchange.socket().as_fd()).collect()
    }

    fn turn(&mut self, connection: usize, readable: bool, clock: &Clock, tally: &mut Tally) -> Result<bool> {
        if readable {
            self.take(connection, clock, tally)?;
        }
        self.ask(connection, clock, tally)?;
        let exchange = &mut self.exchanges[connection];
        exchange.flush()?;
        Ok(exchange.is_unsent())
    }

    fn due_ns(&self) -> Option<u64> {
        let free = self.exchanges.iter().zip(&self.schedules).filter(|(exchange, _)| !exchange.is_pending());
        free.filter_map(|(_, schedule)| schedule.as_ref())
            .map(Schedule::due_ns)
            .min()
            .filter(|_| !self.stopped)
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn outstanding(&self) -> usize {
        self.exchanges.iter().filter(|exchange| exchange.is_pending()).count()
    }
}

/// Runs the load.
pub(super) fn run(args: &CommitsArgs) -> Result<GroupsResult> {
    let (topic, consumed) = args.run.prepare(args.partitions)?;
    let count = args.groups as usize;
    let mut exchanges = connect(&topic.leader_address, count)?;
    let mut members: Vec<Member> =
        (0..count).map(|number| Member::new(&group_name("commits", number))).collect();
    join_all(&mut exchanges, &mut members, &consumed)?;
    exchanges.iter().try_for_each(Exchange::stop_blocking)?;
    let clock = Clock::start();
    let start_ns = clock.now_ns();
    let schedule = |number| args.rate.map(|rate| Schedule::new(start_ns, rate, 1, count, number));
    let mut load = CommitsLoad {
        exchanges,
        members,
        schedules: (0..count).map(schedule).collect(),
        intended_ns: vec![0; count],
        held_up: vec![false; count],
        consumed,
        offset: 0,
        stopped: false,
    };
    let outcome = load::drive(&mut load, &args.run.plan("commits"), &clock, &mut Tally::new())?;
    let mut settings = serde_json::json!({ "groups": args.groups, "partitions_per_commit": args.partitions });
    if let Some(rate) = args.rate {
        settings["commits_per_s"] = rate.into();
        settings["rate_reached"] = (outcome.records_per_s >= rate as f64 * RATE_REACHED).into();
    }
    Ok(GroupsResult { command: "groups commits", ran: true, unit: "commits", settings, idle: None, outcome })
}
