//! `corelog-bench produce`: batches encoded once, sent over many connections from one thread, every reply checked.
//!
//! Closed loop by default: each answer makes room for the next request. With `--rate` an open loop, whose latencies count
//! from the intended time. Deliberately absent: keys, several batches in a request, transactions.

mod connection;
mod frames;
mod reply;
#[cfg(test)]
mod tests;
mod verify;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use corelog_storage::batch::Compression;
use kafka_protocol::messages::ProduceRequest;
use serde::{Deserialize, Serialize};

use crate::cold::{self, Cold, End};
use crate::load::{self, Clock, Load, Outcome, Plan, Schedule, Tally, WarmupArgs};
use connection::{Connection, Shared, Spread};
use frames::{BatchShape, Frames, PRODUCE_VERSION};
use verify::Verified;

/// A rate counts as reached from here on.
const RATE_REACHED: f64 = 0.99;

/// Options of `corelog-bench produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// host:port of the broker
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// Created when it is missing
    #[arg(long)]
    topic: String,
    /// Partitions of a created topic
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    partitions: i32,
    /// TCP connections, all driven by one thread
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Unanswered requests on each connection at most
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    in_flight: u32,
    /// Records in each batch; one batch a request
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    records_per_batch: u32,
    /// Length of each record's value
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    record_bytes: u32,
    /// 1, all (-1), or 0 for no replies at all
    #[arg(long, default_value = "all", value_parser = parse_acks, allow_hyphen_values = true)]
    acks: i16,
    /// A producer id and sequences on every connection
    #[arg(long)]
    idempotent: bool,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, default_value = "none", value_parser = parse_compression)]
    compression: Compression,
    /// How requests go round the partitions
    #[arg(long, value_enum, default_value = "rotate")]
    spread: Spread,
    /// Open loop: this many records a second, all connections together
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    #[command(flatten)]
    warmup: WarmupArgs,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration_s: u32,
    /// Compare end offsets with what was acknowledged, and samples with what was sent
    #[arg(long)]
    verify: bool,
    /// Delete the topic when done
    #[arg(long)]
    delete_topic: bool,
    /// Process whose CPU and memory are reported
    #[arg(long)]
    broker_pid: Option<u32>,
}

/// What was run, without addresses.
#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    partitions: usize,
    connections: u32,
    in_flight: u32,
    records_per_batch: u32,
    record_bytes: u32,
    batch_bytes: usize,
    acks: i16,
    idempotent: bool,
    compression: String,
    spread: Spread,
}

/// An open loop's rate.
#[derive(Debug, Serialize, Deserialize)]
struct Rate {
    intended_records_per_s: u64,
    /// Whether the broker kept up; where it did not, latencies of requests that were never sent are missing.
    reached: bool,
}

/// The JSON object of a run.
#[derive(Debug, Serialize)]
pub(crate) struct ProduceResult {
    command: &'static str,
    ran: bool,
    settings: Settings,
    rate: Option<Rate>,
    verified: Option<Verified>,
    #[serde(flatten)]
    outcome: Outcome,
}

/// The connections of a run, as `load` drives them.
struct ProduceLoad {
    shared: Shared,
    connections: Vec<Connection>,
}

impl Load for ProduceLoad {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.connections.iter().map(|connection| connection.socket().as_fd()).collect()
    }

    fn turn(&mut self, connection: usize, readable: bool, clock: &Clock, tally: &mut Tally) -> Result<bool> {
        self.connections[connection].turn(readable, &mut self.shared, clock, tally)
    }

    fn due_ns(&self) -> Option<u64> {
        self.connections.iter().filter_map(|connection| connection.due_ns(self.shared.in_flight_max)).min()
    }

    fn stop(&mut self) {
        self.connections.iter_mut().for_each(Connection::stop);
    }

    fn outstanding(&self) -> usize {
        self.connections.iter().map(Connection::outstanding).sum()
    }
}

/// Runs the load and returns its result.
///
/// # Errors
/// Whatever ended the run early, and every difference that `--verify` finds.
pub(crate) fn run(args: &ProduceArgs) -> Result<ProduceResult> {
    ensure!(!(args.acks == 0 && args.verify), "--verify needs replies; use --acks 1 or all");
    let mut cold = Cold::connect(&args.bootstrap)?;
    cold.require::<ProduceRequest>("Produce", PRODUCE_VERSION)?;
    let topic = cold.topic(&args.topic, Some(args.partitions))?;
    let before = cold.offsets(&topic, End::Latest)?;
    let timestamp_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
    let shape = BatchShape {
        records: args.records_per_batch as usize,
        record_bytes: args.record_bytes as usize,
        compression: args.compression,
        timestamp_ms: timestamp_ms as i64,
    };
    let frames = Frames::build(&topic.name, topic.partitions, args.acks, &shape)?;
    let settings = settings(args, topic.partitions, frames.batch_bytes_max());
    let clock = Clock::start();
    let shared = Shared {
        frames,
        partitions: topic.partitions,
        in_flight_max: args.in_flight as usize,
        spread: args.spread,
        replies: args.acks != 0,
        acknowledged: vec![0; topic.partitions],
    };
    let connections = connect(args, &mut cold, &topic, &clock)?;
    let mut load = ProduceLoad { shared, connections };
    let plan = Plan {
        warmup: args.warmup,
        duration: Duration::from_secs(args.duration_s.into()),
        broker_pid: args.broker_pid,
        label: "produce",
    };
    let outcome = load::drive(&mut load, &plan, &clock, &mut Tally::new())?;
    let verified = args
        .verify
        .then(|| verify::verify(&mut cold, &topic, &before, &load.shared.acknowledged, &load.shared.frames))
        .transpose()?;
    if args.delete_topic {
        cold.delete_topic(&topic.name)?;
    }
    let rate = args.rate.map(|intended_records_per_s| Rate {
        intended_records_per_s,
        reached: outcome.records_per_s >= intended_records_per_s as f64 * RATE_REACHED,
    });
    let result = ProduceResult { command: "produce", ran: true, settings, rate, verified, outcome };
    result.print_table();
    Ok(result)
}

fn connect(
    args: &ProduceArgs,
    cold: &mut Cold,
    topic: &cold::Topic,
    clock: &Clock,
) -> Result<Vec<Connection>> {
    let count = args.connections as usize;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = cold::connect(&topic.leader_address)?;
        socket.set_nonblocking(true)?;
        let identity = args.idempotent.then(|| cold.init_producer_id()).transpose()?;
        sockets.push((socket, identity));
    }
    // The schedule starts when all are connected: connecting is not part of anybody's latency.
    let start_ns = clock.now_ns();
    let connection = |(number, (socket, identity))| {
        let schedule =
            args.rate.map(|rate| Schedule::new(start_ns, rate, args.records_per_batch.into(), count, number));
        Connection::new(socket, number, topic.partitions, schedule, identity)
    };
    Ok(sockets.into_iter().enumerate().map(connection).collect())
}

fn settings(args: &ProduceArgs, partitions: usize, batch_bytes: usize) -> Settings {
    Settings {
        partitions,
        connections: args.connections,
        in_flight: args.in_flight,
        records_per_batch: args.records_per_batch,
        record_bytes: args.record_bytes,
        batch_bytes,
        acks: args.acks,
        idempotent: args.idempotent,
        compression: args.compression.to_string(),
        spread: args.spread,
    }
}

impl ProduceResult {
    fn print_table(&self) {
        self.outcome.print_table();
        if let Some(rate) = &self.rate {
            let verdict = if rate.reached { "reached" } else { "NOT reached" };
            eprintln!("  rate            {verdict}: {} records/s were intended", rate.intended_records_per_s);
        }
        if let Some(verified) = &self.verified {
            eprintln!(
                "  verified        {} records acknowledged and there, {} batches read back",
                verified.acknowledged_records, verified.sampled_batches
            );
        }
    }
}

fn parse_acks(text: &str) -> Result<i16> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        "0" => Ok(0),
        other => Err(anyhow!("{other} is no acks; use all, 1 or 0")),
    }
}

fn parse_compression(text: &str) -> Result<Compression> {
    if text == "none" {
        return Ok(Compression::None);
    }
    let named = Compression::ALL.into_iter().find(|codec| codec.to_string() == text);
    named.ok_or_else(|| anyhow!("{text} is no codec; use none, gzip, snappy, lz4 or zstd"))
}

/// The next number of a splitmix64 sequence: enough for texts and samples, and the same in every run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
