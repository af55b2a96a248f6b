//! The log of a recorded disk: every write with its data, every flush, and the history of the clients, in the order in
//! which the disk saw them. Written by `disk`, read by `image`. Deliberately absent: what a power cut may leave of it.
//!
//! A record is a header of 40 bytes, little-endian: kind `u8`, form `u8`, zero x 6, length `u64`, sequence `u64`,
//! microseconds since the mount `u64`, subject `u64`; then `length` bytes of data unless the form says that all are zero.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

/// Bytes of a record's header.
const HEADER_BYTES: usize = 40;

/// Form of a record whose data is not stored because every byte of it is zero.
const FORM_ZEROS: u8 = 1;

/// What a record says. The subject of a `…Done` is the sequence of its `…Begun`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The disk received a write; the subject is its position in bytes.
    WriteBegun,
    /// The disk answered it.
    WriteDone,
    /// The disk received a flush. Only writes that were answered before this are covered by it.
    FlushBegun,
    /// The disk answered it: from here on a power cut cannot take what it covers.
    FlushDone,
    /// A client wrote down what it did or saw; the data are whole events of the checker's history.
    History,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::WriteBegun, Self::WriteDone, Self::FlushBegun, Self::FlushDone, Self::History];
}

/// One record as found in a log, without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// Place in the log, from 0 and without holes.
    pub(crate) sequence: u64,
    /// Microseconds since the recording began.
    pub(crate) time_us: u64,
    /// Position in bytes, or the sequence of the record that this one answers.
    pub(crate) subject: u64,
    /// Bytes written.
    pub(crate) length: u64,
    /// Where its data starts in the log file; `None` when all of it is zero.
    pub(crate) data_at: Option<u64>,
}

/// What a write writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Data<'a> {
    Bytes(&'a [u8]),
    /// So many zeros.
    Zeros(u64),
}

/// Appends to a log, up to a bound: a forgotten load must not fill the machine's disk.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    bytes: u64,
    bytes_max: u64,
    sequence: u64,
    began: Instant,
    buffer: Vec<u8>,
}

impl Log {
    /// Creates the log file; one that is already there is refused, for it belongs to another recording.
    pub(crate) fn create(path: &Path, bytes_max: u64) -> anyhow::Result<Self> {
        let file = File::create_new(path).with_context(|| {
            format!("cannot create {}: give each recording an empty --store", path.display())
        })?;
        Ok(Self { file, bytes: 0, bytes_max, sequence: 0, began: Instant::now(), buffer: Vec::new() })
    }

    /// Appends one record and returns its sequence. It is in the file when this returns.
    pub(crate) fn append(&mut self, kind: Kind, subject: u64, data: Data<'_>) -> anyhow::Result<u64> {
        let (form, length, stored) = match data {
            Data::Bytes(bytes) if kind == Kind::WriteBegun && bytes.iter().all(|byte| *byte == 0) => {
                (FORM_ZEROS, bytes.len() as u64, &[][..])
            }
            Data::Bytes(bytes) => (0, bytes.len() as u64, bytes),
            Data::Zeros(length) => (FORM_ZEROS, length, &[][..]),
        };
        let bytes = self.bytes + (HEADER_BYTES + stored.len()) as u64;
        ensure!(
            bytes <= self.bytes_max,
            "the recording would grow to {bytes} bytes and its limit is {}: shorten the load or raise --log-bytes",
            self.bytes_max
        );
        let sequence = self.sequence;
        let time_us = u64::try_from(self.began.elapsed().as_micros())?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&[kind as u8, form, 0, 0, 0, 0, 0, 0]);
        for field in [length, sequence, time_us, subject] {
            self.buffer.extend_from_slice(&field.to_le_bytes());
        }
        self.buffer.extend_from_slice(stored);
        self.file.write_all(&self.buffer).context("cannot append to the recording")?;
        self.bytes = bytes;
        self.sequence += 1;
        Ok(sequence)
    }
}

/// Reads all headers of a log. A record that was cut off at the end of the file is left out.
pub(crate) fn entries(log: &File) -> anyhow::Result<Vec<Entry>> {
    let end = log.metadata()?.len();
    let mut input = BufReader::with_capacity(1 << 16, log);
    input.seek(SeekFrom::Start(0))?;
    let mut at = 0;
    let mut entries = Vec::new();
    let mut raw = [0; HEADER_BYTES];
    loop {
        match input.read_exact(&mut raw) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(entries),
            Err(error) => return Err(error).context("cannot read the recording"),
        }
        at += HEADER_BYTES as u64;
        let field = |index: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&raw[8 + index * 8..16 + index * 8]);
            u64::from_le_bytes(eight)
        };
        let Some(kind) = Kind::ALL.into_iter().find(|kind| *kind as u8 == raw[0]) else {
            bail!("record {} of the recording has the unknown kind {}", entries.len(), raw[0]);
        };
        let (length, sequence) = (field(0), field(1));
        ensure!(
            sequence == entries.len() as u64,
            "record {} of the recording has sequence {sequence}",
            entries.len()
        );
        let stored = if raw[1] == FORM_ZEROS { 0 } else { length };
        if stored > end - at {
            return Ok(entries);
        }
        let data_at = (raw[1] != FORM_ZEROS).then_some(at);
        entries.push(Entry { kind, sequence, time_us: field(2), subject: field(3), length, data_at });
        input.seek_relative(i64::try_from(stored)?)?;
        at += stored;
    }
}
