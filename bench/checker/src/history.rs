//! The history file: what one client did and saw, in the order in which it happened to that client. Written by the Java
//! programs under `scripts/clients` (and by `plant`), read by `check`. Deliberately absent: judging anything.
//!
//! The file starts with `CLHIST02`. Events of 48 bytes follow, little-endian: kind `u8`, flags `u8`, topic `u16`,
//! partition `u32`, actor `u32` (writer, pass or group), zero `u32`, number `u64`, offset `i64`, digest `u64`, at `u64`.
//! A topic event carries the length of its name in `number` and is followed by the name.
//!
//! `at` is the machine's monotonic clock (`CLOCK_MONOTONIC`) in nanoseconds, one clock for all processes on it: what began
//! after something else had ended did so for everybody. A beginning is noted before it, an end behind it, so that an
//! operation is never shorter in the history than it was.
//!
//! `CLHIST01` is read as well: the recorder of power cuts writes it. Its events have no `at` and end after `digest`, and it
//! has neither groups, restarts nor keys.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

/// First bytes of every history; the last two are the format's version.
const MAGIC: [u8; 8] = *b"CLHIST02";
const MAGIC_01: [u8; 8] = *b"CLHIST01";

/// Bytes of one event.
const EVENT_BYTES: usize = 48;
const EVENT_BYTES_01: usize = 40;

/// The last kind of event that version 01 knew.
const KIND_MAX_01: u8 = 6;

/// Longest topic name that Kafka allows, in bytes.
const TOPIC_NAME_BYTES_MAX: u64 = 249;

/// What a writer promises about the records it sends, as flags of an invocation.
pub(crate) mod promise {
    /// The broker must store the record at most once (an idempotent producer).
    pub(crate) const ONCE: u8 = 1;
    /// The broker must keep this writer's records of one partition in the order in which they were sent.
    pub(crate) const ORDERED: u8 = 2;
}

/// More flags of an invocation: what is said of a record's key.
mod flag {
    /// The record's key is told, in `offset`.
    pub(super) const KEYED: u8 = 4;
    /// It deletes its key.
    pub(super) const TOMBSTONE: u8 = 8;
}

/// Flags of the beginning of a pass.
mod pass_flag {
    pub(super) const COMPLETE: u8 = 1;
    /// It reads for the group in `number`.
    pub(super) const OF_GROUP: u8 = 2;
}

/// What a compacted topic needs to know of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// Over the key's bytes; unique among the keys of the topic.
    pub(crate) digest: u64,
    /// The record deletes the key.
    pub(crate) tombstone: bool,
}

/// An event and when it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timed {
    /// Monotonic nanoseconds; 0 in histories that keep no time.
    pub(crate) at: u64,
    pub(crate) event: Event,
}

/// One thing that happened to a client. Topics are numbers of this file, in the order of their `Topic` events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Gives the next topic number a name.
    Topic { name: String },
    /// A record was handed to the producer. `digest` is over every byte of it and unique among all records.
    Invoked {
        writer: u32,
        sequence: u64,
        topic: u16,
        partition: u32,
        digest: u64,
        promises: u8,
        key: Option<Key>,
    },
    /// The broker acknowledged it at `offset`; -1 when it promised nothing (acks=0).
    Acknowledged { writer: u32, sequence: u64, topic: u16, partition: u32, offset: i64 },
    /// The producer gave up on it: it may have been stored or not.
    Failed { writer: u32, sequence: u64 },
    /// A consumer starts to read. A complete pass reads everything in its scopes, after all writers ended. A pass of a
    /// group reads what the group gave one of its members to read.
    PassBegins { pass: u32, complete: bool, group: Option<u32> },
    /// A complete pass reads `from..to` of a partition: from its log start to its end offset. So did a pass over a
    /// compacted topic that ends with this, while others wrote.
    Scope { pass: u32, topic: u16, partition: u32, from: i64, to: i64 },
    /// A record was read.
    Consumed { pass: u32, topic: u16, partition: u32, offset: i64, digest: u64 },
    /// A member of a group begins to commit an offset. `commit` is a number that no other commit of the group has.
    CommitInvoked { group: u32, commit: u64, topic: u16, partition: u32, offset: i64 },
    /// The broker acknowledged it.
    CommitAcknowledged { group: u32, commit: u64 },
    /// It was refused, or the member gave up on it: it may be in force or not.
    CommitFailed { group: u32, commit: u64 },
    /// A group's committed offset as the broker told it, -1 for none. It was asked at `asked` (on the clock of `at`).
    CommittedSeen { group: u32, topic: u16, partition: u32, offset: i64, asked: u64 },
    /// The broker's process is gone for certain, and no other one has started yet.
    Killed,
    /// The next one answers.
    Ready,
    /// A topic is compacted, and keeps tombstones for so long at least (`delete.retention.ms`).
    Compacted { topic: u16, delete_retention_ms: u64 },
}

/// Reads a history event by event.
pub(crate) struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    position: u64,
    topics: u16,
    event_bytes: usize,
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
        let event_bytes = match magic {
            MAGIC => EVENT_BYTES,
            MAGIC_01 => EVENT_BYTES_01,
            _ => bail!("{} is not a history of version 01 or 02: it starts with {magic:?}", path.display()),
        };
        Ok(Self { path: path.to_path_buf(), input, position: 8, topics: 0, event_bytes })
    }

    fn read(&mut self) -> anyhow::Result<Option<Timed>> {
        let due = self.event_bytes;
        let mut raw = [0; EVENT_BYTES];
        let mut filled = 0;
        while filled < due {
            match self.input.read(&mut raw[filled..due])? {
                0 => break,
                n => filled += n,
            }
        }
        if filled == 0 {
            return Ok(None);
        }
        ensure!(filled == due, "its last event has only {filled} of {due} bytes");
        ensure!(due == EVENT_BYTES || raw[0] <= KIND_MAX_01, "kind of event {} in version 01", raw[0]);
        let event = self.decode(&raw)?;
        self.position += due as u64;
        Ok(Some(event))
    }

    fn decode(&mut self, raw: &[u8; EVENT_BYTES]) -> anyhow::Result<Timed> {
        let [kind, flags, t0, t1, p0, p1, p2, p3, a0, a1, a2, a3, _, _, _, _, rest @ ..] = raw;
        let topic = u16::from_le_bytes([*t0, *t1]);
        let partition = u32::from_le_bytes([*p0, *p1, *p2, *p3]);
        let actor = u32::from_le_bytes([*a0, *a1, *a2, *a3]);
        let word = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&rest[at * 8..at * 8 + 8]);
            u64::from_le_bytes(eight)
        };
        let (number, offset, digest, at) = (word(0), word(1).cast_signed(), word(2), word(3));
        let known = matches!(*kind, 0 | 3 | 4 | 8 | 9 | 11 | 12) || topic < self.topics;
        ensure!(known, "topic {topic} has no name yet");
        let event = match *kind {
            0 => {
                ensure!(number <= TOPIC_NAME_BYTES_MAX, "a topic name of {number} bytes");
                let mut name = vec![0; usize::try_from(number)?];
                self.input.read_exact(&mut name)?;
                self.position += number;
                self.topics += 1;
                Event::Topic { name: String::from_utf8(name)? }
            }
            1 => {
                let promises = *flags & (promise::ONCE | promise::ORDERED);
                let key = (*flags & flag::KEYED != 0).then(|| Key {
                    digest: offset.cast_unsigned(),
                    tombstone: *flags & flag::TOMBSTONE != 0,
                });
                Event::Invoked { writer: actor, sequence: number, topic, partition, digest, promises, key }
            }
            2 => Event::Acknowledged { writer: actor, sequence: number, topic, partition, offset },
            3 => Event::Failed { writer: actor, sequence: number },
            4 => Event::PassBegins {
                pass: actor,
                complete: *flags & pass_flag::COMPLETE != 0,
                group: (*flags & pass_flag::OF_GROUP != 0).then(|| u32::try_from(number)).transpose()?,
            },
            5 => Event::Scope { pass: actor, topic, partition, from: number.cast_signed(), to: offset },
            6 => Event::Consumed { pass: actor, topic, partition, offset, digest },
            7 => Event::CommitInvoked { group: actor, commit: number, topic, partition, offset },
            8 => Event::CommitAcknowledged { group: actor, commit: number },
            9 => Event::CommitFailed { group: actor, commit: number },
            10 => Event::CommittedSeen { group: actor, topic, partition, offset, asked: number },
            11 => Event::Killed,
            12 => Event::Ready,
            13 => Event::Compacted { topic, delete_retention_ms: number },
            other => bail!("unknown kind of event {other}"),
        };
        Ok(Timed { at, event })
    }
}

impl Iterator for Reader {
    type Item = anyhow::Result<Timed>;

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
    pub(crate) fn write(&mut self, timed: &Timed) -> anyhow::Result<()> {
        let Timed { at, event } = timed;
        let (kind, flags, topic, partition, actor, number, offset, digest) = match event {
            Event::Topic { name } => (0, 0, 0, 0, 0, name.len() as u64, 0, 0),
            Event::Invoked { writer, sequence, topic, partition, digest, promises, key } => {
                let tombstone = key.is_some_and(|key| key.tombstone);
                let flags = promises
                    | if key.is_some() { flag::KEYED } else { 0 }
                    | if tombstone { flag::TOMBSTONE } else { 0 };
                let key = key.map_or(0, |key| key.digest.cast_signed());
                (1, flags, *topic, *partition, *writer, *sequence, key, *digest)
            }
            Event::Acknowledged { writer, sequence, topic, partition, offset } => {
                (2, 0, *topic, *partition, *writer, *sequence, *offset, 0)
            }
            Event::Failed { writer, sequence } => (3, 0, 0, 0, *writer, *sequence, 0, 0),
            Event::PassBegins { pass, complete, group } => {
                let flags = if *complete { pass_flag::COMPLETE } else { 0 }
                    | if group.is_some() { pass_flag::OF_GROUP } else { 0 };
                (4, flags, 0, 0, *pass, u64::from(group.unwrap_or(0)), 0, 0)
            }
            Event::Scope { pass, topic, partition, from, to } => {
                (5, 0, *topic, *partition, *pass, from.cast_unsigned(), *to, 0)
            }
            Event::Consumed { pass, topic, partition, offset, digest } => {
                (6, 0, *topic, *partition, *pass, 0, *offset, *digest)
            }
            Event::CommitInvoked { group, commit, topic, partition, offset } => {
                (7, 0, *topic, *partition, *group, *commit, *offset, 0)
            }
            Event::CommitAcknowledged { group, commit } => (8, 0, 0, 0, *group, *commit, 0, 0),
            Event::CommitFailed { group, commit } => (9, 0, 0, 0, *group, *commit, 0, 0),
            Event::CommittedSeen { group, topic, partition, offset, asked } => {
                (10, 0, *topic, *partition, *group, *asked, *offset, 0)
            }
            Event::Killed => (11, 0, 0, 0, 0, 0, 0, 0),
            Event::Ready => (12, 0, 0, 0, 0, 0, 0, 0),
            Event::Compacted { topic, delete_retention_ms } => {
                (13, 0, *topic, 0, 0, *delete_retention_ms, 0, 0)
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
        self.output.write_all(&at.to_le_bytes())?;
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
