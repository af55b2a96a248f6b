//! `corelog-bench`: load generator for Kafka-compatible brokers, disk probe, and the table of a comparison.
//!
//! Each command prints one JSON object on standard output and a table for people on standard error. Deliberately
//! absent: starting brokers (`scripts/compare` does), and any Kafka client library on the measured path.

mod cold;
mod disk;
mod exchange;
mod fetch;
mod groups;
mod idle_fetch;
mod load;
mod process;
mod produce;
mod ready;
mod report;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

/// Measures a Kafka-compatible broker over plain TCP, or the disk under it.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends pre-encoded batches, closed loop or at a given rate.
    Produce(produce::ProduceArgs),
    /// Reads the end of a topic again and again, or all of it once.
    Fetch(fetch::FetchArgs),
    /// Group coordinators: rebalances, commits, idle members.
    Groups(groups::GroupsArgs),
    /// Consumers that wait for records which do not come.
    IdleFetch(idle_fetch::IdleFetchArgs),
    /// Measures a directory's disk in the way the journal and the segments use it.
    Disk(disk::DiskArgs),
    /// Waits for a broker that was started, and tells how long it took.
    Ready(ready::ReadyArgs),
    /// Makes report.md out of the JSON files of a comparison.
    Report(report::ReportArgs),
}

/// What a command that could not run to its end prints in the place of its result, so that no row is silently missing.
#[derive(Serialize)]
struct DidNotRun {
    command: &'static str,
    ran: bool,
    error: String,
}

fn main() -> ExitCode {
    let (command, result) = match Cli::parse().command {
        Command::Produce(args) => ("produce", produce::run(&args).and_then(|result| print_json(&result))),
        Command::Fetch(args) => ("fetch", fetch::run(&args).and_then(|result| print_json(&result))),
        Command::Groups(args) => ("groups", groups::run(&args).and_then(|result| print_json(&result))),
        Command::IdleFetch(args) => {
            ("idle-fetch", idle_fetch::run(&args).and_then(|result| print_json(&result)))
        }
        Command::Disk(args) => ("disk", disk::run(&args).and_then(|result| print_json(&result))),
        Command::Ready(args) => ("ready", ready::run(&args).and_then(|result| print_json(&result))),
        Command::Report(args) => ("report", report::run(&args)),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    let error = format!("{error:#}");
    eprintln!("corelog-bench {command}: {error}");
    if command != "report" {
        // Standard output may be what broke; there is nobody left to tell.
        drop(print_json(&DidNotRun { command, ran: false, error }));
    }
    ExitCode::FAILURE
}

fn print_json(result: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, result)?;
    writeln!(out)?;
    Ok(())
}
