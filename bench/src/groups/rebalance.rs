//! A group whose members all join again as soon as all are assigned. One record is one rebalance, from the first join to the last assignment.
//!
//! Driven by `load`. Deliberately absent: heartbeats, which a group that never rests does not need.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Result, ensure};
use clap::Args;
use kafka_protocol::messages::{JoinGroupRequest, SyncGroupRequest};

use super::member::{Consumed, JOIN_VERSION, Member, SYNC_VERSION, join_all};
use super::{GroupsResult, RunArgs, connect, group_name};
use crate::exchange::Exchange;
use crate::load::{self, Clock, Counts, Load, Tally};

/// Options of `corelog-bench groups rebalance`.
#[derive(Debug, Args)]
pub(crate) struct RebalanceArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Members of the group, each with a connection of its own
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    members: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    partitions: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Join,
    Sync,
    Nothing,
}

struct RebalanceLoad {
    exchanges: Vec<Exchange>,
    members: Vec<Member>,
    awaits: Vec<Awaits>,
    consumed: Consumed,
    round: u64,
    started_ns: u64,
    assigned: usize,
    done: usize,
    stopped: bool,
}

impl RebalanceLoad {
    fn begin(&mut self, clock: &Clock) -> Result<()> {
        self.round += 1;
        (self.assigned, self.done, self.started_ns) = (0, 0, clock.now_ns());
        for (number, exchange) in self.exchanges.iter_mut().enumerate() {
            exchange.ask(JOIN_VERSION, &self.members[number].join(&self.consumed, self.round))?;
            exchange.flush()?;
            ensure!(!exchange.is_unsent(), "a connection does not take a small request");
            self.awaits[number] = Awaits::Join;
        }
        Ok(())
    }

    fn take(&mut self, number: usize, clock: &Clock, tally: &mut Tally) -> Result<()> {
        let exchange = &mut self.exchanges[number];
        let Some(frame) = exchange.receive()? else { return Ok(()) };
        let member = &mut self.members[number];
        match self.awaits[number] {
            Awaits::Join => {
                member.joined(exchange.decode::<JoinGroupRequest>(JOIN_VERSION, frame)?)?;
                exchange.ask(SYNC_VERSION, &member.sync(&self.consumed))?;
                self.awaits[number] = Awaits::Sync;
            }
            Awaits::Sync => {
                member.synced(&exchange.decode::<SyncGroupRequest>(SYNC_VERSION, frame)?)?;
                self.awaits[number] = Awaits::Nothing;
                self.assigned += member.assigned;
                self.done += 1;
            }
            Awaits::Nothing => {}
        }
        if self.done == self.members.len() {
            let Consumed { partitions, .. } = self.consumed;
            ensure!(
                self.assigned == partitions,
                "{} of {partitions} partitions were assigned",
                self.assigned
            );
            let requests = 2 * self.members.len() as u64;
            tally.answered(self.started_ns, clock.now_ns(), Counts { records: 1, bytes: 0, requests });
        }
        Ok(())
    }
}

impl Load for RebalanceLoad {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.exchanges.iter().map(|exchange| exchange.socket().as_fd()).collect()
    }

    fn turn(&mut self, connection: usize, readable: bool, clock: &Clock, tally: &mut Tally) -> Result<bool> {
        if readable {
            self.take(connection, clock, tally)?;
        }
        if self.done == self.members.len() && !self.stopped {
            self.begin(clock)?;
        }
        let exchange = &mut self.exchanges[connection];
        exchange.flush()?;
        Ok(exchange.is_unsent())
    }

    fn due_ns(&self) -> Option<u64> {
        None
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn outstanding(&self) -> usize {
        self.members.len() - self.done
    }
}

/// Runs the load.
pub(super) fn run(args: &RebalanceArgs) -> Result<GroupsResult> {
    let (topic, consumed) = args.run.prepare(args.partitions)?;
    let count = args.members as usize;
    let mut exchanges = connect(&topic.leader_address, count)?;
    let mut members = vec![Member::new(&group_name("rebalance", 0)); count];
    join_all(&mut exchanges, &mut members, &consumed)?;
    exchanges.iter().try_for_each(Exchange::stop_blocking)?;
    let awaits = vec![Awaits::Nothing; count];
    let mut load = RebalanceLoad {
        exchanges,
        members,
        awaits,
        consumed,
        round: 0,
        started_ns: 0,
        assigned: 0,
        done: count,
        stopped: false,
    };
    let outcome = load::drive(&mut load, &args.run.plan("rebalance"), &Clock::start(), &mut Tally::new())?;
    let settings = serde_json::json!({ "members": args.members, "partitions": args.partitions });
    Ok(GroupsResult {
        command: "groups rebalance",
        ran: true,
        unit: "rebalances",
        settings,
        idle: None,
        outcome,
    })
}
