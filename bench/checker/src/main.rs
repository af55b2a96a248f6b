//! Judges a broker by the histories that clients wrote while they used it: what was sent, what was acknowledged, what
//! was read, what groups committed. Called by the suites under `scripts/`, against Apache Kafka first and then against Corelog.
//! Deliberately absent: talking to a broker, and any knowledge of how records are made; a record is its digest here.

mod check;
mod history;
mod plant;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compares what was acknowledged with what was read. Exits with 1 when there is any fault.
    Verify {
        /// Histories of producers and consumers, in any order.
        #[arg(required = true)]
        histories: Vec<PathBuf>,
    },
    /// Copies a history and puts one fault of the given kind into it, to try the checker itself.
    Plant {
        /// What to plant.
        fault: plant::Fault,
        /// The history of a consumer that read everything, of a group, or of a writer of a compacted topic; see the fault.
        from: PathBuf,
        /// Where the spoilt copy goes.
        to: PathBuf,
    },
    /// Prints a history, one event a line.
    Dump {
        /// The history.
        history: PathBuf,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match Arguments::parse().command {
        Command::Verify { histories } => {
            let report = check::verify(&histories)?;
            write!(out, "{report}")?;
            return Ok(if report.faults() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Plant { fault, from, to } => plant::plant(fault, &from, &to)?,
        Command::Dump { history } => {
            for timed in history::Reader::open(&history)? {
                let timed = timed?;
                writeln!(out, "{} {:?}", timed.at, timed.event)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
