//! `corelog-bench ready`: how long a broker that was started takes until clients can work with it.
//!
//! It is ready when it has answered a request and, with `--topic`, has told where each partition of the topic ends. Deliberately absent:
//! starting it (`scripts/restart` does).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Serialize;

use crate::cold::Cold;

/// Pause after an attempt that failed; the figure is exact to it.
const RETRY_AFTER: Duration = Duration::from_millis(2);

/// Options of `corelog-bench ready`.
#[derive(Debug, Args)]
pub(crate) struct ReadyArgs {
    /// host:port of the broker
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// All its partitions must be usable
    #[arg(long)]
    topic: Option<String>,
    /// Partitions that the topic must have
    #[arg(long, default_value_t = 1)]
    partitions: usize,
    /// When the broker was started, in ns since 1970 (date +%s%N)
    #[arg(long)]
    since_ns: u64,
    /// Longest it may take
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    timeout_s: u64,
}

/// The JSON object of a run.
#[derive(Debug, Serialize)]
pub(crate) struct ReadyResult {
    command: &'static str,
    ran: bool,
    /// From the start to the first answer, in ms.
    answers_ms: f64,
    /// From the start until it was ready, in ms.
    ready_ms: f64,
}

pub(crate) fn run(args: &ReadyArgs) -> Result<ReadyResult> {
    let deadline = Instant::now() + Duration::from_secs(args.timeout_s);
    let mut answered_ms = None;
    loop {
        let asked = ask(args, &mut answered_ms);
        match (asked, answered_ms) {
            (Ok(()), Some(answers_ms)) => {
                let ready_ms = since_ms(args.since_ns)?;
                eprintln!("first answer after {answers_ms:.0} ms, ready after {ready_ms:.0} ms");
                return Ok(ReadyResult { command: "ready", ran: true, answers_ms, ready_ms });
            }
            (Err(error), _) if Instant::now() > deadline => {
                return Err(error.context(format!("the broker is not ready after {} s", args.timeout_s)));
            }
            _ => std::thread::sleep(RETRY_AFTER),
        }
    }
}

fn ask(args: &ReadyArgs, answered_ms: &mut Option<f64>) -> Result<()> {
    let mut cold = Cold::connect(&args.bootstrap)?;
    cold.answers()?;
    answered_ms.get_or_insert(since_ms(args.since_ns)?);
    let Some(name) = &args.topic else { return Ok(()) };
    match cold.usable_partitions(name)? {
        Some(partitions) => {
            ensure!(
                partitions == args.partitions,
                "topic {name} has {partitions} partitions, not {}",
                args.partitions
            );
            Ok(())
        }
        None => bail!("not all partitions of topic {name} are usable yet"),
    }
}

fn since_ms(since_ns: u64) -> Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let ns = now.as_nanos() as i128 - i128::from(since_ns);
    ensure!(ns >= 0, "--since-ns {since_ns} lies in the future");
    Ok(ns as f64 / 1e6)
}
