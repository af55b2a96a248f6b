//! The command line: what a person types, turned into what boot starts. No behaviour of its own.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// A Kafka-compatible broker: one process, one thread per core, records on the disk before they are acknowledged.
#[derive(Debug, Parser)]
#[command(name = "corelog", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a broker and run it until SIGTERM or Ctrl-C.
    Start(StartOptions),
    /// List every configuration key: default, allowed values, effect, documentation.
    Config {
        /// Only keys whose name contains this.
        #[arg(default_value = "")]
        part: String,
    },
    /// Show what segments and journals hold: batches, offsets, timestamps, producers, checksums. Changes nothing; fails when
    /// something is not what was written.
    DumpLog(DumpOptions),
}

/// What `corelog dump-log` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DumpOptions {
    /// Segments (.log), journals (.journal), or directories with such files, however deep.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Show every record too.
    #[arg(long)]
    pub records: bool,
    /// Check records and sidecar hashes too, and show only what is wrong and a line for each file.
    #[arg(long)]
    pub verify: bool,
}

/// What `corelog start` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StartOptions {
    /// A server.properties file. Without one: 127.0.0.1:9092, ./corelog-data, all cores.
    pub file: Option<PathBuf>,
    /// Overrides one key of the file; may be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}
