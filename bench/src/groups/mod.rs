//! `corelog-bench groups`: what a group coordinator takes, from one thread: rebalances, commits, members that do nothing.
//!
//! The classic protocol, which every broker that is compared serves. Deliberately absent: consuming (`fetch`), and several brokers.

mod commits;
mod idle;
mod member;
mod rebalance;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use serde::Serialize;

use crate::cold::{self, Cold, Topic};
use crate::exchange::Exchange;
use crate::load::{Outcome, Plan, WarmupArgs};
use crate::process::{self, Memory};
use member::Consumed;

const FIND_COORDINATOR_VERSION: i16 = 2;

/// Longest the broker may take until it coordinates groups: it makes a topic of its own the first time.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Options of `corelog-bench groups`.
#[derive(Debug, Args)]
pub(crate) struct GroupsArgs {
    #[command(subcommand)]
    load: GroupsLoad,
}

#[derive(Debug, Subcommand)]
enum GroupsLoad {
    /// One group whose members all join again, over and over.
    Rebalance(rebalance::RebalanceArgs),
    /// Groups of one member each that commit offsets, closed loop or at a given rate.
    Commits(commits::CommitsArgs),
    /// Members that have joined and only send heartbeats.
    Idle(idle::IdleArgs),
}

/// What all of them are told.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// host:port of the broker
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// Topic that members subscribe to; created when it is not there
    #[arg(long, default_value = "bench-groups")]
    topic: String,
    #[command(flatten)]
    warmup: WarmupArgs,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration_s: u32,
    /// Process whose CPU and memory are reported
    #[arg(long)]
    broker_pid: Option<u32>,
}

impl RunArgs {
    fn plan(&self, label: &'static str) -> Plan {
        Plan {
            warmup: self.warmup,
            duration: Duration::from_secs(self.duration_s.into()),
            broker_pid: self.broker_pid,
            label,
        }
    }

    fn memory(&self) -> Result<Option<Memory>> {
        self.broker_pid.map(process::memory).transpose()
    }

    /// The topic with this many partitions, and a broker that coordinates groups.
    fn prepare(&self, partitions: u32) -> Result<(Topic, Consumed)> {
        let mut cold = Cold::connect(&self.bootstrap)?;
        cold.require::<JoinGroupRequest>("JoinGroup", member::JOIN_VERSION)?;
        cold.require::<SyncGroupRequest>("SyncGroup", member::SYNC_VERSION)?;
        cold.require::<HeartbeatRequest>("Heartbeat", member::HEARTBEAT_VERSION)?;
        cold.require::<OffsetCommitRequest>("OffsetCommit", commits::COMMIT_VERSION)?;
        cold.require::<FindCoordinatorRequest>("FindCoordinator", FIND_COORDINATOR_VERSION)?;
        let topic = cold.topic(&self.topic, Some(i32::try_from(partitions)?))?;
        ensure!(
            topic.partitions == partitions as usize,
            "topic {} has {} partitions and not {partitions}; give another --topic",
            topic.name,
            topic.partitions
        );
        await_coordinator(&topic.leader_address)?;
        let consumed = Consumed { topic: topic.name.clone(), partitions: topic.partitions };
        Ok((topic, consumed))
    }
}

/// The JSON object of a run.
#[derive(Debug, Serialize)]
pub(crate) struct GroupsResult {
    command: &'static str,
    ran: bool,
    /// What a record is in the figures.
    unit: &'static str,
    settings: serde_json::Value,
    /// Of idle members.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle: Option<idle::IdleMemory>,
    #[serde(flatten)]
    outcome: Outcome,
}

/// Runs the load and returns its result.
///
/// # Errors
/// Whatever ended the run early: a refused join, an assignment that leaves partitions out, a closed connection.
pub(crate) fn run(args: &GroupsArgs) -> Result<GroupsResult> {
    let result = match &args.load {
        GroupsLoad::Rebalance(args) => rebalance::run(args),
        GroupsLoad::Commits(args) => commits::run(args),
        GroupsLoad::Idle(args) => idle::run(args),
    }?;
    eprintln!("  a record        is one of the {}", result.unit);
    result.outcome.print_table();
    if let Some(idle) = &result.idle {
        eprintln!("  per member      {} bytes of the broker's resident memory", idle.bytes_per_member);
    }
    Ok(result)
}

fn await_coordinator(address: &str) -> Result<()> {
    let deadline = Instant::now() + READY_TIMEOUT;
    let mut exchange = Exchange::connect(address)?;
    loop {
        let request =
            FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("bench")).with_key_type(0);
        let answer = exchange.call(FIND_COORDINATOR_VERSION, &request)?;
        let is_early = answer.error_code.err().is_some_and(|error: ResponseError| error.is_retriable());
        if !is_early || Instant::now() >= deadline {
            return cold::check(answer.error_code, "FindCoordinator");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Blocking connections, made before anything is measured.
fn connect(address: &str, count: usize) -> Result<Vec<Exchange>> {
    (0..count).map(|_| Exchange::connect(address)).collect()
}

/// Groups of different runs must not be the same.
fn group_name(kind: &str, number: usize) -> String {
    format!("bench-{kind}-{}-{number}", std::process::id())
}
