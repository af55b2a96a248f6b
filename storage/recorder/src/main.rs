//! Power cuts for tests: a disk that records every write and flush, images of what a power cut may leave of it, and the
//! programs that write and read under it. Called by `scripts/power-cut`, which mounts and cleans up.
//! Deliberately absent: anything that a running broker needs.

mod client;
mod disk;
mod history;
mod image;
mod log;
mod reference;
#[cfg(test)]
mod scratch;

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Mounts a recorded disk (disk.img and history) and serves it until it is unmounted. Needs root.
    Mount {
        /// Size of the disk.
        #[arg(long)]
        image_bytes: u64,
        /// Where the recording goes: an empty directory on another disk.
        #[arg(long)]
        store: PathBuf,
        /// Where the two files appear.
        #[arg(long)]
        mount: PathBuf,
        /// Limit of the recording; a disk that reaches it fails.
        #[arg(long, default_value_t = 4 << 30)]
        log_bytes: u64,
        /// Longest time that a write or a flush takes.
        #[arg(long, default_value_t = 300)]
        delay_us: u64,
    },
    /// Builds the disk as a power cut may leave it, and the history up to the same moment.
    Image {
        /// The recording, unmounted.
        #[arg(long)]
        store: PathBuf,
        /// Size of the disk.
        #[arg(long)]
        image_bytes: u64,
        /// Everything random comes from it.
        #[arg(long)]
        seed: u64,
        /// Records of the recording before the cut; drawn between the first and the last word of a client by default.
        #[arg(long)]
        at: Option<u64>,
        /// What becomes of writes that were not flushed.
        #[arg(long, value_enum, default_value = "random")]
        keep: image::Keep,
        /// Where the image goes.
        #[arg(long)]
        out: PathBuf,
        /// Where the history goes.
        #[arg(long)]
        history: PathBuf,
    },
    /// Produces to a broker until the time is over or the broker is gone.
    Load {
        #[arg(long)]
        broker: SocketAddr,
        #[arg(long, default_value = "power-cut")]
        topic: String,
        /// The `history` of the recorded disk.
        #[arg(long)]
        history: PathBuf,
        /// Which life of the broker this is, from 0.
        #[arg(long, default_value_t = 0)]
        life: u16,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Bytes of values at most.
        #[arg(long, default_value_t = 256 << 20)]
        bytes: u64,
    },
    /// Reads everything back into a history of its own.
    Read {
        #[arg(long)]
        broker: SocketAddr,
        #[arg(long, default_value = "power-cut")]
        topic: String,
        /// Where the history goes.
        #[arg(long)]
        history: PathBuf,
    },
    /// Writes records to a directory of the recorded disk, honestly or with a planted bug.
    Reference {
        #[arg(long)]
        dir: PathBuf,
        /// The `history` of the recorded disk.
        #[arg(long)]
        history: PathBuf,
        #[arg(long, value_enum)]
        variant: reference::Variant,
        #[arg(long, default_value_t = 2000)]
        records: u64,
    },
    /// Reads what the reference program wrote into a history of its own.
    ReferenceRead {
        #[arg(long)]
        dir: PathBuf,
        /// Where the history goes.
        #[arg(long)]
        history: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match Arguments::parse().command {
        Command::Mount { image_bytes, store, mount, log_bytes, delay_us } => {
            let settings = disk::Settings { image_bytes, log_bytes_max: log_bytes, delay_us_max: delay_us };
            disk::serve(&store, &mount, settings)
        }
        Command::Image { store, image_bytes, seed, at, keep, out: image, history } => {
            let path = store.join(disk::LOG_NAME);
            let log = File::open(&path).with_context(|| format!("no recording at {}", path.display()))?;
            let request = image::Request { image_bytes, seed, at, keep };
            Ok(writeln!(out, "{}", image::build(&log, request, &image, &history)?)?)
        }
        Command::Load { broker, topic, history, life, seconds, bytes } => {
            let settings = client::load::Settings { broker, topic: &topic, life, seconds, bytes_max: bytes };
            Ok(writeln!(out, "{} records acknowledged", client::load::run(settings, &history)?)?)
        }
        Command::Read { broker, topic, history } => {
            Ok(writeln!(out, "{} records read", client::read::run(broker, &topic, &history)?)?)
        }
        Command::Reference { dir, history, variant, records } => {
            reference::run(&dir, &history, variant, records)
        }
        Command::ReferenceRead { dir, history } => reference::read(&dir, &history),
    }
}
