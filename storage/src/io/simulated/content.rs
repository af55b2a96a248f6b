//! One simulated file's bytes: what reads see, what a power cut leaves, and the changes in between.
//!
//! Called by `disk`. A change is *pending* from its completion until a flush that was issued after it completes.
//! Deliberately absent: names and directories.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::random::Random;
use super::survivors::{Fate, Settling};
use crate::io::{ALIGN, align_up};

/// One block's bytes, always [`ALIGN`] of them.
pub(super) type Block = Rc<[u8]>;

/// The smallest unit that drives promise not to mix. Whether a torn write respects it is the seed's decision.
const SECTOR_BYTES: usize = 512;

/// What a block that was never written holds.
static ZEROS: [u8; ALIGN] = [0; ALIGN];

/// Cuts an aligned buffer into blocks. Blocks of zeros are one shared block: journals are mostly that.
pub(super) fn blocks_of(bytes: &[u8]) -> Vec<Block> {
    let zeros: Block = Rc::from(ZEROS);
    // Compared as slices: byte by byte it dominates unoptimized tests.
    bytes.chunks(ALIGN).map(|block| if block == ZEROS { zeros.clone() } else { Rc::from(block) }).collect()
}

/// Bytes and length of a file at one moment. Missing blocks are zeros.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    blocks: BTreeMap<u64, Block>,
    pub(super) len: u64,
    /// Bytes that have blocks on the disk, reserved or written, from position 0.
    pub(super) reserved: u64,
}

impl Image {
    fn block(&self, number: u64) -> Block {
        self.blocks.get(&number).cloned().unwrap_or_else(|| Rc::from(ZEROS))
    }

    fn write(&mut self, position: u64, blocks: &[Block]) {
        let first = position / ALIGN as u64;
        for (number, block) in (first..).zip(blocks) {
            if **block != ZEROS {
                self.blocks.insert(number, block.clone());
            } else {
                self.blocks.remove(&number);
            }
        }
        let end = position + (blocks.len() * ALIGN) as u64;
        self.len = self.len.max(end);
        self.reserved = self.reserved.max(end);
    }

    /// Writes what lies below the current length; the rest has no place because the longer length was lost.
    fn write_within_len(&mut self, position: u64, blocks: &[Block]) {
        let (len, reserved) = (self.len, self.reserved);
        self.write(position, blocks);
        self.set_len(len);
        self.reserved = reserved;
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.blocks.split_off(&len.div_ceil(ALIGN as u64));
            let tail = (len % ALIGN as u64) as usize;
            if tail > 0
                && let Some(block) = self.blocks.get_mut(&(len / ALIGN as u64))
            {
                let mut bytes = block.to_vec();
                bytes[tail..].fill(0);
                *block = bytes.into();
            }
            self.reserved = self.reserved.min(align_up(len));
        }
        self.len = len;
    }

    /// The bytes at `position`, at most `len` and none beyond the end.
    pub(super) fn read(&self, position: u64, len: usize) -> Vec<u8> {
        let end = self.len.min(position.saturating_add(len as u64));
        let mut bytes = Vec::with_capacity(end.saturating_sub(position) as usize);
        let mut at = position;
        while at < end {
            let within = (at % ALIGN as u64) as usize;
            let take = (ALIGN - within).min((end - at) as usize);
            match self.blocks.get(&(at / ALIGN as u64)) {
                Some(block) => bytes.extend_from_slice(&block[within..within + take]),
                None => bytes.resize(bytes.len() + take, 0),
            }
            at += take as u64;
        }
        bytes
    }

    fn flip_bit(&mut self, bit: u64) {
        let number = bit / 8 / ALIGN as u64;
        let mut bytes = self.block(number).to_vec();
        bytes[(bit / 8) as usize % ALIGN] ^= 1 << (bit % 8);
        self.blocks.insert(number, bytes.into());
    }
}

/// What was done to a file, in the order of completion.
#[derive(Debug, Clone)]
enum Change {
    Write { position: u64, blocks: Vec<Block> },
    SetLen { len: u64 },
    Reserve { len: u64 },
}

/// A file's bytes: as read now, and as a power cut would find them at worst.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) current: Image,
    durable: Image,
    /// Completed and not durable, with the disk's sequence number of each.
    pending: Vec<(u64, Change)>,
}

impl Content {
    pub(super) fn durable(&self) -> &Image {
        &self.durable
    }

    /// A write has completed.
    pub(super) fn write(&mut self, sequence: u64, position: u64, blocks: Vec<Block>) {
        self.current.write(position, &blocks);
        self.pending.push((sequence, Change::Write { position, blocks }));
    }

    /// A write ended early: error or killed process. Part of it may have happened.
    pub(super) fn write_partly(
        &mut self,
        sequence: u64,
        position: u64,
        blocks: &[Block],
        settling: &mut Settling<'_>,
    ) {
        match settling.fate() {
            Fate::Lost => {}
            Fate::Kept => self.write(sequence, position, blocks.to_vec()),
            Fate::Torn => {
                let mixed = tear(&self.current, position, blocks, settling.random);
                self.write(sequence, position, mixed);
            }
        }
    }

    pub(super) fn set_len(&mut self, sequence: u64, len: u64) {
        self.current.set_len(len);
        self.pending.push((sequence, Change::SetLen { len }));
    }

    pub(super) fn reserve(&mut self, sequence: u64, len: u64) {
        self.current.reserved = self.current.reserved.max(align_up(len));
        self.pending.push((sequence, Change::Reserve { len: align_up(len) }));
    }

    /// A flush has completed that was issued when the disk's sequence number was `before`.
    pub(super) fn flush(&mut self, before: u64) {
        for change in self.take_pending(before) {
            match change {
                Change::Write { position, blocks } => self.durable.write(position, &blocks),
                Change::SetLen { len } => self.durable.set_len(len),
                Change::Reserve { len } => self.durable.reserved = self.durable.reserved.max(len),
            }
        }
    }

    /// A flush has failed: what it covered is settled by chance, and forgotten by the kernel.
    pub(super) fn flush_failed(&mut self, before: u64, settling: &mut Settling<'_>) {
        let changes = self.take_pending(before);
        settle(&mut self.durable, changes, settling);
    }

    /// The power went: what was pending is settled by chance, and reads see what is left.
    pub(super) fn crash(&mut self, settling: &mut Settling<'_>) {
        let changes = self.take_pending(u64::MAX);
        settle(&mut self.durable, changes, settling);
        self.current = self.durable.clone();
    }

    /// A bit rots on the medium. Panics beyond the end of the file.
    pub(super) fn flip_bit(&mut self, bit: u64) {
        assert!(bit / 8 < self.current.len, "bit {bit} is beyond a length of {} bytes", self.current.len);
        self.current.flip_bit(bit);
        if bit / 8 < self.durable.len {
            self.durable.flip_bit(bit);
        }
        // A copy still pending is the same sector on the same medium.
        for (_, change) in &mut self.pending {
            if let Change::Write { position, blocks } = change
                && let Some(within) = (bit / 8).checked_sub(*position)
                && let Some(block) = blocks.get_mut((within / ALIGN as u64) as usize)
            {
                let mut bytes = block.to_vec();
                bytes[within as usize % ALIGN] ^= 1 << (bit % 8);
                *block = bytes.into();
            }
        }
    }

    fn take_pending(&mut self, before: u64) -> Vec<Change> {
        let covered = self.pending.partition_point(|(sequence, _)| *sequence < before);
        self.pending.drain(..covered).map(|(_, change)| change).collect()
    }
}

/// Decides which unflushed changes reached the medium.
///
/// Data is independent, write by write. Metadata (length, reservation) is kept as a prefix, as a journalling file
/// system does; a longer length may be kept without its data, which then reads as zeros.
fn settle(image: &mut Image, changes: Vec<Change>, settling: &mut Settling<'_>) {
    let mut metadata_alive = true;
    // Above this position writes went to blocks that were allocated after a cut which is now undone.
    let mut lost_above = u64::MAX;
    for change in changes {
        match change {
            Change::Write { position, mut blocks } => {
                if lost_above != u64::MAX {
                    blocks.truncate(lost_above.saturating_sub(position).div_ceil(ALIGN as u64) as usize);
                }
                let end = position + (blocks.len() * ALIGN) as u64;
                let fate = settling.fate();
                if end > image.len {
                    metadata_alive = metadata_alive && settling.is_kept();
                    if metadata_alive {
                        image.set_len(end);
                        image.reserved = image.reserved.max(end);
                    }
                }
                match fate {
                    Fate::Lost => {}
                    Fate::Kept => image.write_within_len(position, &blocks),
                    Fate::Torn => {
                        let mixed = tear(image, position, &blocks, settling.random);
                        image.write_within_len(position, &mixed);
                    }
                }
            }
            Change::SetLen { len } => {
                metadata_alive = metadata_alive && settling.is_kept();
                if metadata_alive {
                    image.set_len(len);
                } else {
                    lost_above = lost_above.min(len);
                }
            }
            Change::Reserve { len } => {
                metadata_alive = metadata_alive && settling.is_kept();
                if metadata_alive {
                    image.reserved = image.reserved.max(len);
                }
            }
        }
    }
}

/// Mixes old and new bytes as an interrupted write does: each sector is old, new or anything at all.
fn tear(old: &Image, position: u64, blocks: &[Block], random: &mut Random) -> Vec<Block> {
    let sector_bytes = if random.coin() { SECTOR_BYTES } else { ALIGN };
    let first = position / ALIGN as u64;
    let mut mixed = Vec::with_capacity(blocks.len());
    for (number, new) in (first..).zip(blocks) {
        let mut bytes = old.block(number).to_vec();
        for (sector, new) in bytes.chunks_mut(sector_bytes).zip(new.chunks(sector_bytes)) {
            match random.below(10) {
                0..4 => {}
                4..8 => sector.copy_from_slice(new),
                8 => random.fill(sector),
                _ => sector.fill(0),
            }
        }
        mixed.push(bytes.into());
    }
    mixed
}
