//! Members that have joined and do nothing but send their heartbeats. One record is one heartbeat; what they take is the broker's memory.
//!
//! Several members of different groups share a connection, so that what is measured is members and not sockets. Driven by `load`.
//! Deliberately absent: members that fetch (`idle_fetch`).

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Result, ensure};
use clap::Args;
use kafka_protocol::messages::HeartbeatRequest;
use serde::Serialize;

use super::member::{HEARTBEAT_VERSION, Member, join_all};
use super::{GroupsResult, RunArgs, connect, group_name};
use crate::exchange::Exchange;
use crate::load::{self, Clock, Counts, Load, Tally};

/// What falls due within this time is sent together, in nanoseconds: a look at every connection costs the generator.
const TICK_NS: u64 = 10_000_000;

/// Options of `corelog-bench groups idle`.
#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Members in all
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    members: u32,
    /// Members of each group
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    group_size: u32,
    /// Connections; a multiple of the group's size
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    connections: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    partitions: u32,
    /// As a consumer's heartbeat.interval.ms
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..=30_000))]
    heartbeat_ms: u32,
}

/// What members take, from the broker's resident memory.
#[derive(Debug, Serialize)]
pub(super) struct IdleMemory {
    /// With all connections open and nobody joined.
    resident_bytes_before: u64,
    /// At the end of the measured window.
    resident_bytes_after: u64,
    pub(super) bytes_per_member: u64,
}

struct IdleLoad {
    exchanges: Vec<Exchange>,
    members: Vec<Member>,
    /// When each member's next heartbeat falls due, in the order of time.
    due: VecDeque<(u64, usize)>,
    /// Heartbeats that fell due, by connection.
    waiting: Vec<VecDeque<(u64, usize)>>,
    /// When the request under way was due, by connection.
    intended_ns: Vec<u64>,
    interval_ns: u64,
    stopped: bool,
}

impl IdleLoad {
    fn collect_due(&mut self, now_ns: u64) {
        while let Some((due_ns, member)) = self.due.front().copied()
            && due_ns <= now_ns
        {
            self.due.pop_front();
            self.waiting[member % self.exchanges.len()].push_back((due_ns, member));
            self.due.push_back((due_ns + self.interval_ns, member));
        }
    }

    fn take(&mut self, number: usize, clock: &Clock, tally: &mut Tally) -> Result<()> {
        let exchange = &mut self.exchanges[number];
        let Some(frame) = exchange.receive()? else { return Ok(()) };
        let answer = exchange.decode::<HeartbeatRequest>(HEARTBEAT_VERSION, frame)?;
        if answer.error_code != 0 {
            return tally.failed(answer.error_code);
        }
        let counts = Counts { records: 1, bytes: 0, requests: 1 };
        tally.answered(self.intended_ns[number], clock.now_ns(), counts);
        Ok(())
    }
}

impl Load for IdleLoad {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.exchanges.iter().map(|exchange| exchange.socket().as_fd()).collect()
    }

    fn turn(&mut self, connection: usize, readable: bool, clock: &Clock, tally: &mut Tally) -> Result<bool> {
        if readable {
            self.take(connection, clock, tally)?;
        }
        // Whoever is looked at first, before all others.
        if connection == 0 && !self.stopped {
            self.collect_due(clock.now_ns());
        }
        if !self.exchanges[connection].is_pending()
            && let Some((due_ns, member)) = self.waiting[connection].pop_front()
        {
            self.intended_ns[connection] = due_ns;
            self.exchanges[connection].ask(HEARTBEAT_VERSION, &self.members[member].heartbeat())?;
        }
        let exchange = &mut self.exchanges[connection];
        exchange.flush()?;
        Ok(exchange.is_unsent())
    }

    fn due_ns(&self) -> Option<u64> {
        self.due.front().filter(|_| !self.stopped).map(|(due_ns, _)| due_ns.next_multiple_of(TICK_NS))
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.waiting.iter_mut().for_each(VecDeque::clear);
    }

    fn outstanding(&self) -> usize {
        self.exchanges.iter().filter(|exchange| exchange.is_pending()).count()
    }
}

/// Runs the load.
pub(super) fn run(args: &IdleArgs) -> Result<GroupsResult> {
    let (count, connections, size) =
        (args.members as usize, args.connections as usize, args.group_size as usize);
    ensure!(
        connections.is_multiple_of(size) && count.is_multiple_of(connections),
        "--members must be a multiple of --connections, and that of --group-size: a group joins over as many connections as it has members"
    );
    let (topic, consumed) = args.run.prepare(args.partitions)?;
    let mut exchanges = connect(&topic.leader_address, connections)?;
    let before = args.run.memory()?;
    let mut members: Vec<Member> =
        (0..count).map(|number| Member::new(&group_name("idle", number / size))).collect();
    for (done, wave) in members.chunks_mut(connections).enumerate() {
        join_all(&mut exchanges, wave, &consumed)?;
        eprintln!("idle: {} of {count} members have joined", (done + 1) * connections);
    }
    exchanges.iter().try_for_each(Exchange::stop_blocking)?;
    let clock = Clock::start();
    let interval_ns = u64::from(args.heartbeat_ms) * 1_000_000;
    let start_ns = clock.now_ns();
    let mut load = IdleLoad {
        due: (0..count)
            .map(|member| (start_ns + interval_ns * member as u64 / count as u64, member))
            .collect(),
        waiting: vec![VecDeque::new(); connections],
        intended_ns: vec![0; connections],
        exchanges,
        members,
        interval_ns,
        stopped: false,
    };
    let outcome = load::drive(&mut load, &args.run.plan("idle"), &clock, &mut Tally::new())?;
    let settings = serde_json::json!({
        "members": args.members, "group_size": args.group_size, "connections": args.connections,
        "partitions": args.partitions, "heartbeat_ms": args.heartbeat_ms,
    });
    let idle = before.zip(outcome.broker.as_ref()).map(|(before, broker)| {
        let (before, after) = (before.resident_bytes, broker.memory.resident_bytes);
        IdleMemory {
            resident_bytes_before: before,
            resident_bytes_after: after,
            bytes_per_member: after.saturating_sub(before) / u64::from(args.members),
        }
    });
    Ok(GroupsResult { command: "groups idle", ran: true, unit: "heartbeats", settings, idle, outcome })
}
