//! `corelog-bench fetch`: reads the end of a topic again and again (hot), or all of it once, from one thread.
//!
//! Replies are walked as they arrive, down to batch headers; CRCs are verified on request. Deliberately absent: consumer
//! groups, fetch sessions, and waiting for records that are not there yet.

mod connection;
mod reply;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use corelog_storage::batch::BatchHeader;
use kafka_protocol::messages::FetchRequest;
use serde::{Deserialize, Serialize};

use crate::cold::{self, Cold, End, FETCH_VERSION, Topic};
use crate::load::{self, Clock, Load, Outcome, Plan, Tally, WarmupArgs};
use connection::{Connection, Position, Shared};

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReadFrom {
    /// The last `--hot-mib`, again and again.
    End,
    /// The log start; the run ends where the log did when it began.
    Start,
}

/// Which partitions a connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Spread {
    /// All of them in every request, as the only consumer of a group does.
    All,
    /// One: connection modulo partitions.
    Pinned,
}

/// Options of `corelog-bench fetch`.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// host:port of the broker
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// Must be there and hold records
    #[arg(long)]
    topic: String,
    /// Where reading starts
    #[arg(long, value_enum, default_value = "end")]
    from: ReadFrom,
    /// How much of the end is read again and again, all partitions together
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    hot_mib: u32,
    /// TCP connections, all driven by one thread; each has one request under way
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// As a consumer's max.partition.fetch.bytes
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(i32).range(1..))]
    partition_max_bytes: i32,
    /// As a consumer's fetch.max.bytes
    #[arg(long, default_value_t = 50 << 20, value_parser = clap::value_parser!(i32).range(1..))]
    max_bytes: i32,
    /// Which partitions a connection reads
    #[arg(long, value_enum, default_value = "all")]
    spread: Spread,
    /// Compute the CRC of every batch that comes (the generator then needs more CPU)
    #[arg(long)]
    verify_crc: bool,
    #[command(flatten)]
    warmup: WarmupArgs,
    /// Seconds that are measured; less with --from start when the end is reached
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration_s: u32,
    /// Process whose CPU and memory are reported
    #[arg(long)]
    broker_pid: Option<u32>,
}

/// What was run, without addresses.
#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    from: ReadFrom,
    /// Bytes that each connection reads before it starts again, estimated from each partition's last batch.
    window_bytes: u64,
    partitions: usize,
    connections: u32,
    partition_max_bytes: i32,
    max_bytes: i32,
    spread: Spread,
    verify_crc: bool,
}

/// The JSON object of a run.
#[derive(Debug, Serialize)]
pub(crate) struct FetchResult {
    command: &'static str,
    ran: bool,
    settings: Settings,
    /// Batches whose CRC was computed and right; nothing when that was not asked for.
    batches_verified: Option<u64>,
    #[serde(flatten)]
    outcome: Outcome,
}

/// The connections of a run, as `load` drives them.
struct FetchLoad {
    shared: Shared,
    connections: Vec<Connection>,
}

impl Load for FetchLoad {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.connections.iter().map(|connection| connection.socket().as_fd()).collect()
    }

    fn turn(&mut self, connection: usize, readable: bool, clock: &Clock, tally: &mut Tally) -> Result<bool> {
        self.connections[connection].turn(readable, &mut self.shared, clock, tally)
    }

    fn due_ns(&self) -> Option<u64> {
        None
    }

    fn stop(&mut self) {
        self.connections.iter_mut().for_each(Connection::stop);
    }

    fn outstanding(&self) -> usize {
        self.connections.iter().map(Connection::outstanding).sum()
    }

    fn is_exhausted(&self) -> bool {
        self.connections.iter().all(|connection| connection.is_exhausted(&self.shared))
    }
}

/// Runs the load and returns its result.
///
/// # Errors
/// Whatever ended the run early: a missing or empty topic, a reply that is not what was asked for, a wrong CRC.
pub(crate) fn run(args: &FetchArgs) -> Result<FetchResult> {
    let mut cold = Cold::connect(&args.bootstrap)?;
    cold.require::<FetchRequest>("Fetch", FETCH_VERSION)?;
    let topic = cold.topic(&args.topic, None)?;
    let (positions, window_bytes) = positions(&mut cold, &topic, args)?;
    ensure!(!positions.is_empty(), "topic {} holds no records; run corelog-bench produce first", topic.name);
    let mut connections = Vec::with_capacity(args.connections as usize);
    for number in 0..args.connections as usize {
        let socket = cold::connect(&topic.leader_address)?;
        socket.set_nonblocking(true)?;
        let mine = match args.spread {
            Spread::All => positions.clone(),
            Spread::Pinned => vec![positions[number % positions.len()]],
        };
        connections.push(Connection::new(socket, number, mine, args.verify_crc));
    }
    let shared = Shared {
        topic: topic.name.clone(),
        partition_max_bytes: args.partition_max_bytes,
        max_bytes: args.max_bytes,
        repeat: args.from == ReadFrom::End,
        batches_verified: 0,
    };
    let mut load = FetchLoad { shared, connections };
    // What is read once has nothing to warm up on.
    let no_warmup = WarmupArgs { warmup_s: 0, warmup_stable_percent: None, warmup_s_max: 0 };
    let plan = Plan {
        warmup: if args.from == ReadFrom::Start { no_warmup } else { args.warmup },
        duration: Duration::from_secs(args.duration_s.into()),
        broker_pid: args.broker_pid,
        label: "fetch",
    };
    let outcome = load::drive(&mut load, &plan, &Clock::start(), &mut Tally::new())?;
    let settings = Settings {
        from: args.from,
        window_bytes,
        partitions: topic.partitions,
        connections: args.connections,
        partition_max_bytes: args.partition_max_bytes,
        max_bytes: args.max_bytes,
        spread: args.spread,
        verify_crc: args.verify_crc,
    };
    let batches_verified = args.verify_crc.then_some(load.shared.batches_verified);
    let result = FetchResult { command: "fetch", ran: true, settings, batches_verified, outcome };
    result.outcome.print_table();
    if let Some(batches) = result.batches_verified {
        eprintln!("  verified        the CRC of {batches} batches");
    }
    Ok(result)
}

/// Where each partition that holds records is read, and about how many bytes that is in all.
fn positions(cold: &mut Cold, topic: &Topic, args: &FetchArgs) -> Result<(Vec<Position>, u64)> {
    let earliest = cold.offsets(topic, End::Earliest)?;
    let latest = cold.offsets(topic, End::Latest)?;
    let share_bytes = (u64::from(args.hot_mib) << 20) / topic.partitions as u64;
    let (mut positions, mut window_bytes) = (Vec::new(), 0);
    for (partition, (earliest, latest)) in earliest.into_iter().zip(latest).enumerate() {
        if earliest >= latest {
            continue;
        }
        let partition = partition as i32;
        let bytes = cold.read(topic, partition, latest - 1, 1)?;
        let last = BatchHeader::parse(&bytes).with_context(|| {
            format!("the last batch of {}-{partition}, at offset {}", topic.name, latest - 1)
        })?;
        let hot = records_in(share_bytes, &last);
        let from = match args.from {
            ReadFrom::Start => earliest,
            ReadFrom::End => earliest.max(latest.saturating_sub(hot)),
        };
        window_bytes += (latest - from) as u64 * last.total_len() as u64 / records_of(&last);
        positions.push(Position { partition, from, to: latest, next: from });
    }
    Ok((positions, window_bytes))
}

fn records_of(batch: &BatchHeader) -> u64 {
    u64::try_from(batch.records_count).unwrap_or(0).max(1)
}

/// How many records of the kind of `batch` make up `bytes`, at least one.
fn records_in(bytes: u64, batch: &BatchHeader) -> i64 {
    let records = bytes * records_of(batch) / batch.total_len() as u64;
    i64::try_from(records).unwrap_or(i64::MAX).max(1)
}
