//! The files of a store, some bytes of which are others: recovery opens it, all of it is read and written to, or it is refused.
//!
//! The first byte chooses the store, and whether the hashes of journal and checkpoint are made right after the change: a disk
//! does not do that, but a bug of ours or of a later version might. Which bytes are served is what `storage/tests/bit_flips` is about.

use std::cell::OnceCell;
use std::path::Path;
use std::time::Duration;

use corelog_storage::Result;
use corelog_storage::io::Io;
use corelog_storage::io::simulated::{Random, SimIo, Simulation};
use corelog_storage::journal::format::{COMMIT_HEADER_BYTES, CommitHeader};
use xxhash_rust::xxh3::xxh3_64;

use crate::Planted;
use crate::stores::{self, Ending, Written};

const ENDINGS: [Ending; 4] =
    [Ending::CleanStop, Ending::Killed, Ending::KilledBehindLargeBatch, Ending::PowerCut];

/// Changes in one input.
const EDITS_MAX: usize = 8;

/// Blocks of journals and checkpoints begin with commits only at multiples of it.
const BLOCK: usize = 4096;

/// The magic bytes of a commit in a journal and in a checkpoint.
const COMMITS: [[u8; 4]; 2] = [*b"CLCM", *b"CLCP"];

thread_local! {
    static STORES: OnceCell<Vec<Written>> = const { OnceCell::new() };
}

/// Changes are a file's number (one byte), a position (three) and bytes with their length (one) in front.
pub fn run(bytes: &[u8]) {
    let Some((&options, edits)) = bytes.split_first() else { return };
    STORES.with(|stores| {
        let stores = stores.get_or_init(|| ENDINGS.map(stores::written).into());
        let simulation = stores[usize::from(options % 4)].simulation.copy();
        edit(&simulation, edits, options & 4 != 0);
        let io = simulation.io();
        // An error is as good as a store: it is not sound any more.
        drop(simulation.block_on(use_it(&io)));
        simulation.kill();
    });
}

fn edit(simulation: &Simulation, mut edits: &[u8], seals: bool) {
    let paths = simulation.paths();
    for _ in 0..EDITS_MAX {
        let Some(([file, a, b, c, length], rest)) = edits.split_first_chunk::<5>() else { return };
        let path = &paths[usize::from(*file) % paths.len()];
        let before = simulation.contents(path).expect("a file");
        if before.is_empty() {
            return;
        }
        let (new, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        edits = rest;
        let at = u32::from_be_bytes([0, *a, *b, *c]) as usize % before.len();
        let mut after = before.clone();
        for (place, byte) in after[at..].iter_mut().zip(new) {
            *place = *byte;
        }
        if seals {
            seal(&before, &mut after);
        }
        write(simulation, path, &before, &after);
    }
}

/// Makes the chain of commits whole again, as far as it was.
fn seal(before: &[u8], after: &mut [u8]) {
    for magic in COMMITS {
        let mut previous_hash = None;
        for at in (0..before.len()).step_by(BLOCK) {
            let Some((was, _)) = CommitHeader::decode(magic, &before[at..]) else { continue };
            let end = at + was.len as usize;
            let Some(body) = after.get(at + COMMIT_HEADER_BYTES..end) else { continue };
            let header = CommitHeader {
                body_hash: xxh3_64(body),
                previous_hash: previous_hash.unwrap_or(was.previous_hash),
                ..was
            };
            let (header, hash) = header.encode(magic);
            after[at..at + COMMIT_HEADER_BYTES].copy_from_slice(&header);
            previous_hash = Some(hash);
        }
    }
}

fn write(simulation: &Simulation, path: &Path, before: &[u8], after: &[u8]) {
    for (at, (was, is)) in before.iter().zip(after).enumerate() {
        for bit in (0..8).filter(|bit| (was ^ is) >> bit & 1 == 1) {
            simulation.flip_bit(path, at as u64 * 8 + bit);
        }
    }
}

async fn use_it(io: &SimIo) -> Result<()> {
    let opened = stores::open(io, 3, Planted::default()).await?;
    let mut random = Random::new(5);
    for log in opened.store.logs() {
        let mut offset = log.log_start_offset();
        while let Ok(read) = log.read(offset, 1 << 20, true).await {
            if read.next_offset <= offset {
                break;
            }
            offset = read.next_offset;
        }
        drop(log.offset_for_timestamp(300).await);
        // A log may say that it is damaged, or full of offsets.
        drop(stores::append(&log, &mut random, 400, 5).await);
    }
    io.sleep(Duration::from_secs(2)).await;
    drop(opened.store.sweep().await);
    opened.store.close().await
}
