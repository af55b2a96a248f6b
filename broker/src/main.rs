//! Parse, wire up in order, run. No behaviour of its own.

use std::process::ExitCode;

use clap::Parser;
use corelog::boot;
use corelog::cli::{Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Start(options) => boot::start(&options),
    }
}
