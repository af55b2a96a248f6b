//! Parse, wire up in order, run. No behaviour of its own.

use std::process::ExitCode;

use clap::Parser;
use corelog::cli::{Cli, Command};
use corelog::{boot, dump};

/// Frames are allocated on one core and freed on another, tens of thousands of times a second: glibc's arenas cost an eighth of the
/// CPU in that (decision 0004).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Start(options) => boot::start(&options),
        Command::Config { part } => boot::list_config(&part),
        Command::DumpLog(options) => dump::dump_log(&options),
    }
}
