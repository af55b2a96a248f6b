//! Writes histories as `corelog-checker` reads them (format `CLHIST01`, described in `bench/checker/src/history.rs`).
//! Used by `load`, `reader` and `reference`. Deliberately absent: reading them, and failed sends: what a power cut
//! left open is simply never acknowledged.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};

/// First bytes of a history.
pub(crate) const MAGIC: [u8; 8] = *b"CLHIST01";

/// Bytes of events written at once. Within it, the kernel hands them to the recorded disk as one write, so that a
/// power cut finds all of them or none.
const APPEND_BYTES_MAX: usize = 64 << 10;

/// The writer's records are stored at most once and in order: nothing is ever sent twice, and one connection keeps order.
const PROMISES: u8 = 1 | 2;

/// One thing that happened; the fields are the checker's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<'a> {
    Topic { name: &'a str },
    Invoked { writer: u32, sequence: u64, topic: u16, partition: u32, digest: u64 },
    Acknowledged { writer: u32, sequence: u64, topic: u16, partition: u32, offset: i64 },
    PassBegins,
    Scope { partition: u32, from: i64, to: i64 },
    Consumed { partition: u32, offset: i64, digest: u64 },
}

/// Encodes events, all of one topic's number where a reader writes them.
pub(crate) fn encode(events: &[Event<'_>], output: &mut Vec<u8>) {
    for event in events {
        let (kind, flags, topic, partition, actor, number, offset, digest) = match *event {
            Event::Topic { name } => (0, 0, 0, 0, 0, name.len() as u64, 0, 0),
            Event::Invoked { writer, sequence, topic, partition, digest } => {
                (1, PROMISES, topic, partition, writer, sequence, 0, digest)
            }
            Event::Acknowledged { writer, sequence, topic, partition, offset } => {
                (2, 0, topic, partition, writer, sequence, offset, 0)
            }
            Event::PassBegins => (4, 1, 0, 0, 0, 0, 0, 0),
            Event::Scope { partition, from, to } => (5, 0, 0, partition, 0, from.cast_unsigned(), to, 0),
            Event::Consumed { partition, offset, digest } => (6, 0, 0, partition, 0, 0, offset, digest),
        };
        output.extend_from_slice(&[kind, flags]);
        output.extend_from_slice(&topic.to_le_bytes());
        output.extend_from_slice(&partition.to_le_bytes());
        output.extend_from_slice(&actor.to_le_bytes());
        output.extend_from_slice(&[0; 4]);
        output.extend_from_slice(&number.to_le_bytes());
        output.extend_from_slice(&offset.to_le_bytes());
        output.extend_from_slice(&digest.to_le_bytes());
        if let Event::Topic { name } = event {
            output.extend_from_slice(name.as_bytes());
        }
    }
}

/// The `history` of a recorded disk, shared by the threads of a load. It holds events without the magic, which
/// `image` puts before what a cut leaves of them.
#[derive(Debug)]
pub(crate) struct Recorded(Mutex<File>);

impl Recorded {
    /// Opens the file for appending; it must be there.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::options()
            .append(true)
            .open(path)
            .with_context(|| format!("cannot open history {}", path.display()))?;
        Ok(Self(Mutex::new(file)))
    }

    /// Appends events at once. They are recorded when this returns.
    pub(crate) fn append(&self, events: &[Event<'_>]) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        encode(events, &mut bytes);
        ensure!(
            bytes.len() <= APPEND_BYTES_MAX,
            "{} bytes of history at once, the limit is {APPEND_BYTES_MAX}",
            bytes.len()
        );
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&bytes).context("cannot append to the history")
    }
}

/// Writes the history of a complete reader to an ordinary file. `events` come in the reader's order.
pub(crate) fn write_pass(path: &Path, topic: &str, events: &[Event<'_>]) -> anyhow::Result<()> {
    let mut bytes = MAGIC.to_vec();
    encode(&[Event::Topic { name: topic }, Event::PassBegins], &mut bytes);
    encode(events, &mut bytes);
    std::fs::write(path, bytes).with_context(|| format!("cannot write history {}", path.display()))
}
