//! `corelog-bench idle-fetch`: consumers that wait for records which do not come. One record is one long poll that ran out.
//!
//! Each connection polls one partition at its end, as a consumer does that has read everything. Driven by `load`. Deliberately absent:
//! fetch sessions and records.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use kafka_protocol::messages::FetchRequest;
use serde::Serialize;

use crate::cold::{Cold, End, FETCH_VERSION, Topic, fetch_request};
use crate::exchange::Exchange;
use crate::load::{self, Clock, Counts, Load, Outcome, Plan, Tally, WarmupArgs};

/// As a consumer's max.partition.fetch.bytes and fetch.max.bytes.
const PARTITION_MAX_BYTES: i32 = 1 << 20;
const MAX_BYTES: i32 = 50 << 20;

/// Options of `corelog-bench idle-fetch`.
#[derive(Debug, Args)]
pub(crate) struct IdleFetchArgs {
    /// host:port of the broker
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// Created when it is not there
    #[arg(long, default_value = "bench-idle")]
    topic: String,
    /// Partitions of the topic
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    partitions: u32,
    /// Consumers, each with a connection of its own
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    connections: u32,
    /// As a consumer's fetch.max.wait.ms
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(i32).range(1..=60_000))]
    wait_ms: i32,
    #[command(flatten)]
    warmup: WarmupArgs,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration_s: u32,
    /// Process whose CPU and memory are reported
    #[arg(long)]
    broker_pid: Option<u32>,
}

/// The JSON object of a run.
#[derive(Debug, Serialize)]
pub(crate) struct IdleFetchResult {
    command: &'static str,
    ran: bool,
    /// What a record is in the figures.
    unit: &'static str,
    settings: serde_json::Value,
    #[serde(flatten)]
    outcome: Outcome,
}

struct IdleFetchLoad {
    exchanges: Vec<Exchange>,
    /// What each connection asks, over and over.
    requests: Vec<FetchRequest>,
    sent_ns: Vec<u64>,
    stopped: bool,
}

impl Load for IdleFetchLoad {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.exchanges.iter().map(|exchange| exchange.socket().as_fd()).collect()
    }

    fn turn(&mut self, connection: usize, readable: bool, clock: &Clock, tally: &mut Tally) -> Result<bool> {
        let exchange = &mut self.exchanges[connection];
        if readable && let Some(frame) = exchange.receive()? {
            let answer = exchange.decode::<FetchRequest>(FETCH_VERSION, frame)?;
            let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
            let code = partitions.map(|partition| partition.error_code).find(|code| *code != 0);
            match code.unwrap_or(answer.error_code) {
                0 => tally.answered(
                    self.sent_ns[connection],
                    clock.now_ns(),
                    Counts { records: 1, bytes: 0, requests: 1 },
                ),
                code => tally.failed(code)?,
            }
        }
        if !exchange.is_pending() && !self.stopped {
            self.sent_ns[connection] = clock.now_ns();
            exchange.ask(FETCH_VERSION, &self.requests[connection])?;
        }
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
        self.exchanges.iter().filter(|exchange| exchange.is_pending()).count()
    }
}

/// Runs the load and returns its result.
///
/// # Errors
/// Whatever ended the run early.
pub(crate) fn run(args: &IdleFetchArgs) -> Result<IdleFetchResult> {
    let mut cold = Cold::connect(&args.bootstrap)?;
    cold.require::<FetchRequest>("Fetch", FETCH_VERSION)?;
    let topic: Topic = cold.topic(&args.topic, Some(i32::try_from(args.partitions)?))?;
    ensure!(
        topic.partitions == args.partitions as usize,
        "topic {} has {} partitions and not {}; give another --topic",
        topic.name,
        topic.partitions,
        args.partitions
    );
    let ends = cold.offsets(&topic, End::Latest)?;
    let count = args.connections as usize;
    let mut exchanges = Vec::with_capacity(count);
    let mut requests = Vec::with_capacity(count);
    for number in 0..count {
        let exchange = Exchange::connect(&topic.leader_address)?;
        exchange.stop_blocking()?;
        exchanges.push(exchange);
        let partition = number % topic.partitions;
        let position = [(partition as i32, ends[partition])];
        let request = fetch_request(&topic.name, &position, PARTITION_MAX_BYTES, MAX_BYTES);
        requests.push(request.with_max_wait_ms(args.wait_ms));
    }
    let mut load = IdleFetchLoad { exchanges, requests, sent_ns: vec![0; count], stopped: false };
    let plan = Plan {
        warmup: args.warmup,
        duration: Duration::from_secs(args.duration_s.into()),
        broker_pid: args.broker_pid,
        label: "idle-fetch",
    };
    let outcome = load::drive(&mut load, &plan, &Clock::start(), &mut Tally::new())?;
    eprintln!("  a record        is a long poll that ran out");
    outcome.print_table();
    let settings = serde_json::json!({
        "connections": args.connections, "partitions": args.partitions, "wait_ms": args.wait_ms,
    });
    Ok(IdleFetchResult { command: "idle-fetch", ran: true, unit: "long polls", settings, outcome })
}
