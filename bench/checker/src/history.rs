//! The history file: what one client did and saw, in the order in which it happened to that client. Written by the Java
//! programs under `scripts/clients` (and by `plant`), read by `check`. Deliberately absent: judging anything.
//!
//! The file starts with `CLHIST01`. Events of 40 bytes follow, little-endian: kind `u8`, flags `u8`, topic `u16`,
//! partition `u32`, actor `u32` (writer or pass), zero `u32`, number `u64`, offset `i64`, digest `u64`.
//! A topic event carries the length of its name in `number` and is followed by the name.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

/// First bytes of every history; the last two are the format's version.
const MAGIC: [u8; 8] = *b"CLHIST01";

/// Bytes of one event.
const EVENT_BYTES: usize = 40;

/// Longest topic name that Kafka allows, in bytes.
const TOPIC_NAME_BYTES_MAX: u64 = 249;

/// What a writer promises about the records it sends, as flags of an invocation.
pub(crate) mod promise {
    /// The broker must store the record at most once (an idempotent producer).
    pub(crate) const ONCE: u8 = 1;
    /// The broker must keep this writer's records of one partition in the order in which they were sent.
    pub(crate) const ORDERED: u8 = 2;
}

/// One thing that happened to a client. Topics are numbers of this file, in the order of their `Topic` events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Gives the next topic number a name.
    Topic { name: String },
    /// A record was handed to the producer. `digest` is over every byte of it and unique among all records.
    Invoked { writer: u32, sequence: u64, topic: u16, partition: u32, digest: u64, promises: u8 },
    /// The broker acknowledged it at `offset`; -1 when it promised nothing (acks=0).
    Acknowledged { writer: u32, sequence: u64, topic: u16, partition: u32, offset: i64 },
    /// The producer gave up on it: it may have been stored or not.
    Failed { writer: u32, sequence: u64 },
    /// A consumer starts to read. A complete pass reads everything in the scopes that follow, after all writers ended.
    PassBegins { pass: u32, complete: bool },
    /// A complete pass reads `from..to` of a partition: from its log start to its end offset.
    Scope { pass: u32, topic: u16, partition: u32, from: i64, to: i64 },
    /// A record was read.
    Consumed { pass: u32, topic: u16, partition: u32, offset: i64, digest: u64 },
}

/// Reads a history event by event.
pub(crate) struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    position: u64,
    topics: u16,
}

impl Reader {
    /// Opens a history and checks its magic.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open history {}", path.display()))?;
        let mut input = BufReader::with_capacity(1 << 20, file);
        let mut magic = [0; 8];
        input
            .read_exact(&mut magic)
            .with_context(|| format!("{} is too short for a history", path.display()))?;
        ensure!(
            magic == MAGIC,
            "{} is not a history of version 01: it starts with {magic:?}",
            path.display()
        );
        Ok(Self { path: path.to_path_buf(), input, position: 8, topics: 0 })
    }

    fn read(&mut self) -> anyhow::Result<Option<Event>> {
        let mut raw = [0; EVENT_BYTES];
        let mut filled = 0;
        while filled < EVENT_BYTES {
            match self.input.read(&mut raw[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        if filled == 0 {
            return Ok(None);
        }
        ensure!(filled == EVENT_BYTES, "its last event has only {filled} of {EVENT_BYTES} bytes");
        let event = self.decode(&raw)?;
        self.position += EVENT_BYTES as u64;
        Ok(Some(event))
    }

    fn decode(&mut self, raw: &[u8; EVENT_BYTES]) -> anyhow::Result<Event> {
        let [kind, flags, t0, t1, p0, p1, p2, p3, a0, a1, a2, a3, _, _, _, _, rest @ ..] = raw;
        let topic = u16::from_le_bytes([*t0, *t1]);
        let partition = u32::from_le_bytes([*p0, *p1, *p2, *p3]);
        let actor = u32::from_le_bytes([*a0, *a1, *a2, *a3]);
        let word = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&rest[at * 8..at * 8 + 8]);
            u64::from_le_bytes(eight)
        };
        let (number, offset, digest) = (word(0), word(1).cast_signed(), word(2));
        let known = matches!(*kind, 0 | 3 | 4) || topic < self.topics;
        ensure!(known, "topic {topic} has no name yet");
        Ok(match *kind {
            0 => {
                ensure!(number <= TOPIC_NAME_BYTES_MAX, "a topic name of {number} bytes");
                let mut name = vec![0; usize::try_from(number)?];
                self.input.read_exact(&mut name)?;
                self.position += number;
                self.topics += 1;
                Event::Topic { name: String::from_utf8(name)? }
            }
            1 => {
                Event::Invoked { writer: actor, sequence: number, topic, partition, digest, promises: *flags }
            }
            2 => Event::Acknowledged { writer: actor, sequence: number, topic, partition, offset },
            3 => Event::Failed { writer: actor, sequence: number },
            4 => Event::PassBegins { pass: actor, complete: *flags == 1 },
            5 => Event::Scope { pass: actor, topic, partition, from: number.cast_signed(), to: offset },
            6 => Event::Consumed { pass: actor, topic, partition, offset, digest },
            other => bail!("unknown kind of event {other}"),
        })
    }
}

impl Iterator for Reader {
    type Item = anyhow::Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.position;
        self.read().with_context(|| format!("history {} at byte {at}", self.path.display())).transpose()
    }
}

/// Writes a history event by event. Call [`Writer::finish`]: what is buffered is lost otherwise.
pub(crate) struct Writer {
    output: BufWriter<File>,
}

impl Writer {
    /// Creates the file, replacing one that is there.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create history {}", path.display()))?;
        let mut output = BufWriter::with_capacity(1 << 20, file);
        output.write_all(&MAGIC)?;
        Ok(Self { output })
    }

    /// Appends one event.
    pub(crate) fn write(&mut self, event: &Event) -> anyhow::Result<()> {
        let (kind, flags, topic, partition, actor, number, offset, digest) = match event {
            Event::Topic { name } => (0, 0, 0, 0, 0, name.len() as u64, 0, 0),
            Event::Invoked { writer, sequence, topic, partition, digest, promises } => {
                (1, *promises, *topic, *partition, *writer, *sequence, 0, *digest)
            }
            Event::Acknowledged { writer, sequence, topic, partition, offset } => {
                (2, 0, *topic, *partition, *writer, *sequence, *offset, 0)
            }
            Event::Failed { writer, sequence } => (3, 0, 0, 0, *writer, *sequence, 0, 0),
            Event::PassBegins { pass, complete } => (4, u8::from(*complete), 0, 0, *pass, 0, 0, 0),
            Event::Scope { pass, topic, partition, from, to } => {
                (5, 0, *topic, *partition, *pass, from.cast_unsigned(), *to, 0)
            }
            Event::Consumed { pass, topic, partition, offset, digest } => {
                (6, 0, *topic, *partition, *pass, 0, *offset, *digest)
            }
        };
        self.output.write_all(&[kind, flags])?;
        self.output.write_all(&topic.to_le_bytes())?;
        self.output.write_all(&partition.to_le_bytes())?;
        self.output.write_all(&actor.to_le_bytes())?;
        self.output.write_all(&[0; 4])?;
        self.output.write_all(&number.to_le_bytes())?;
        self.output.write_all(&offset.to_le_bytes())?;
        self.output.write_all(&digest.to_le_bytes())?;
        if let Event::Topic { name } = event {
            self.output.write_all(name.as_bytes())?;
        }
        Ok(())
    }

    /// Writes what is buffered.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        Ok(self.output.flush()?)
    }
}
