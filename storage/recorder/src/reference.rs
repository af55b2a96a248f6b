//! A program that keeps promises on a disk in the simplest way, and variants of it that break them, each by one bug.
//! It proves the harness: a power cut must find nothing in the honest one and a loss in each of the others. Run by
//! `main` in place of a broker and its clients. Deliberately absent: speed, and starting again on what it left.
//!
//! A directory of files `N.log` holds `BLOCKS` records each, a record being one block: its number, noise, a checksum.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use xxhash_rust::xxh3::xxh3_64;

use crate::history::{Event, Recorded, write_pass};

/// Bytes of a record; also the alignment that direct writes are given.
const BLOCK_BYTES: usize = 4096;

/// Where a record's checksum is.
const CHECKSUM_AT: usize = BLOCK_BYTES - 8;

/// Records of one file.
const BLOCKS: u64 = 32;

/// Records that `EarlyAcknowledgement` flushes together.
const LAZY_RECORDS: u64 = 8;

/// Name that the histories give to what is written.
const TOPIC: &str = "reference";

/// Which promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Variant {
    /// None: write, flush, acknowledge.
    Honest,
    /// Acknowledges what is written, and flushes every now and then.
    EarlyAcknowledgement,
    /// Renames a new file to its name and does not flush the directory.
    NoDirectoryFlush,
    /// Issues the flush without waiting for the write, and acknowledges when both are done.
    OvertakingFlush,
}

/// Writes records and acknowledges them in the history, until it is killed or `records` are written.
pub(crate) fn run(dir: &Path, history: &Path, variant: Variant, records: u64) -> anyhow::Result<()> {
    let history = Recorded::open(history)?;
    history.append(&[Event::Topic { name: TOPIC }])?;
    let mut file = None;
    for record in 0..records {
        if record.is_multiple_of(BLOCKS) {
            file = Some(create(dir, record / BLOCKS, variant)?);
        }
        let file = file.as_ref().context("no file")?;
        let block = Block::new(record);
        let digest = xxh3_64(&block.bytes()[..CHECKSUM_AT]);
        history.append(&[Event::Invoked { writer: 0, sequence: record, topic: 0, partition: 0, digest }])?;
        let position = record % BLOCKS * BLOCK_BYTES as u64;
        match variant {
            Variant::Honest | Variant::NoDirectoryFlush => {
                file.write_all_at(block.bytes(), position)?;
                file.sync_data()?;
            }
            Variant::EarlyAcknowledgement => {
                file.write_all_at(block.bytes(), position)?;
                if record % LAZY_RECORDS == LAZY_RECORDS - 1 {
                    file.sync_data()?;
                }
            }
            Variant::OvertakingFlush => std::thread::scope(|scope| {
                let write = scope.spawn(|| file.write_all_at(block.bytes(), position));
                file.sync_data()?;
                write.join().map_err(|_| std::io::Error::other("the writing thread panicked"))?
            })?,
        }
        let offset = i64::try_from(record)?;
        history.append(&[Event::Acknowledged {
            writer: 0,
            sequence: record,
            topic: 0,
            partition: 0,
            offset,
        }])?;
    }
    Ok(())
}

/// Reads everything back into a history of its own. What follows the first block that is not a record is a torn tail.
pub(crate) fn read(dir: &Path, history: &Path) -> anyhow::Result<()> {
    let mut consumed = Vec::new();
    'files: for number in 0.. {
        let Ok(bytes) = std::fs::read(path(dir, number)) else { break };
        for block in bytes.chunks(BLOCK_BYTES) {
            let offset = consumed.len() as u64;
            let Some(digest) = verify(block, offset) else { break 'files };
            consumed.push(Event::Consumed { partition: 0, offset: i64::try_from(offset)?, digest });
        }
    }
    let scope = Event::Scope { partition: 0, from: 0, to: i64::try_from(consumed.len())? };
    let events: Vec<_> = std::iter::once(scope).chain(consumed).collect();
    write_pass(history, TOPIC, &events)
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number}.log"))
}

/// Puts a file of zeros in place whole: written beside, flushed, renamed, its directory flushed.
fn create(dir: &Path, number: u64, variant: Variant) -> anyhow::Result<File> {
    let beside = dir.join("new");
    let file = File::options()
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_DIRECT)
        .open(&beside)
        .with_context(|| format!("cannot create {} for direct writes", beside.display()))?;
    let zeros = Block { memory: vec![0; BLOCK_BYTES * 2] };
    for block in 0..BLOCKS {
        file.write_all_at(zeros.bytes(), block * BLOCK_BYTES as u64)?;
    }
    file.sync_all()?;
    std::fs::rename(&beside, path(dir, number))?;
    if variant != Variant::NoDirectoryFlush {
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}

/// A record in memory that is aligned for direct writes.
struct Block {
    /// Twice the size, so that an aligned block lies in it.
    memory: Vec<u8>,
}

impl Block {
    fn new(record: u64) -> Self {
        let mut block = Self { memory: vec![0; BLOCK_BYTES * 2] };
        let start = block.start();
        let bytes = &mut block.memory[start..start + BLOCK_BYTES];
        StdRng::seed_from_u64(record).fill_bytes(&mut bytes[8..CHECKSUM_AT]);
        bytes[..8].copy_from_slice(&record.to_le_bytes());
        let checksum = xxh3_64(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        block
    }

    fn start(&self) -> usize {
        self.memory.as_ptr().align_offset(BLOCK_BYTES)
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start()..][..BLOCK_BYTES]
    }
}

/// The digest of a block that is the record `expected`.
fn verify(block: &[u8], expected: u64) -> Option<u64> {
    let (content, checksum) = block.split_at_checked(CHECKSUM_AT)?;
    let digest = xxh3_64(content);
    let whole = checksum == digest.to_le_bytes() && content.starts_with(&expected.to_le_bytes());
    whole.then_some(digest)
}
