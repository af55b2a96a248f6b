//! Which extent a commit goes to: the ring of extents in use, the free ones, and the room that is left.
//!
//! Called by the journal for every new commit, and when a checkpoint releases space. Pure bookkeeping: space is taken
//! when a commit is *begun*, so an accepted append never waits for space. Deliberately absent: files are only carried.

use std::collections::VecDeque;

use super::JournalOptions;
use super::format::{COMMIT_HEADER_BYTES, EXTENT_OVERHEAD_BYTES, entry_bytes};
use crate::io::{ALIGN, align_down, align_up};

/// Sizes that fit together, made from what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Sum of all extents' sizes, at most.
    pub(crate) capacity_bytes: u64,
    /// Size of the extent that is made before the journal opens.
    pub(crate) first_extent_bytes: u64,
    /// Size of the others.
    pub(crate) extent_bytes: u64,
    /// A commit of several batches is at most this long, so that it fits into every extent.
    pub(crate) commit_bytes_max: usize,
    /// The largest payload of one entry.
    pub(crate) payload_bytes_max: usize,
}

impl Geometry {
    /// Smallest extent: its header and three blocks of commits.
    const EXTENT_BYTES_MIN: u64 = 4 * ALIGN as u64;

    /// Rounds to blocks, and sees to it that at least two full extents fit beside the first one: the one being filled
    /// can never be released, so with fewer a full ring would stay full.
    pub(crate) fn of(options: &JournalOptions) -> Self {
        let capacity_bytes = align_down(options.capacity_bytes).max(3 * Self::EXTENT_BYTES_MIN);
        let first_extent_bytes =
            align_down(options.first_extent_bytes).clamp(Self::EXTENT_BYTES_MIN, capacity_bytes / 3);
        let first_extent_bytes = align_down(first_extent_bytes);
        let half_rest = align_down((capacity_bytes - first_extent_bytes) / 2);
        let extent_bytes = align_down(options.extent_bytes).clamp(Self::EXTENT_BYTES_MIN, half_rest);
        let largest = extent_bytes - EXTENT_OVERHEAD_BYTES;
        let smallest = first_extent_bytes.min(extent_bytes) - EXTENT_OVERHEAD_BYTES;
        let commit_bytes_max = align_up(options.commit_bytes_max as u64).clamp(ALIGN as u64, smallest);
        let overhead = (COMMIT_HEADER_BYTES + entry_bytes(0)) as u64;
        let payload_bytes_max = (largest - overhead).min(capacity_bytes / 8);
        Self {
            capacity_bytes,
            first_extent_bytes,
            extent_bytes,
            commit_bytes_max: commit_bytes_max as usize,
            payload_bytes_max: payload_bytes_max as usize,
        }
    }
}

/// A file that commits are written into.
#[derive(Debug)]
pub(crate) struct Extent<F> {
    pub(crate) file: F,
    pub(crate) size: u64,
}

/// Where a commit is written.
#[derive(Debug, Clone)]
pub(crate) struct Placement<F> {
    /// The extent's file.
    pub(crate) file: F,
    /// Byte position of the commit in the file.
    pub(crate) file_position: u64,
    /// Logical position of the commit.
    pub(crate) position: u64,
    /// Bytes from there to the end of the extent.
    pub(crate) room: u64,
    /// For the first commit of an extent: the extent's number in the session and its size.
    pub(crate) opens: Option<(u64, u64)>,
}

struct InUse<F> {
    extent: Extent<F>,
    position: u64,
    used: u64,
}

impl<F> InUse<F> {
    fn room(&self) -> u64 {
        self.extent.size - EXTENT_OVERHEAD_BYTES - self.used
    }
}

/// The extents of one journal. The last one in use is being filled and is never released.
pub(crate) struct Ring<F> {
    in_use: VecDeque<InUse<F>>,
    free: VecDeque<Extent<F>>,
    capacity_bytes: u64,
    allocated_bytes: u64,
    next_position: u64,
    next_sequence: u64,
    released: u64,
}

impl<F: Clone> Ring<F> {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        Self {
            in_use: VecDeque::new(),
            free: VecDeque::new(),
            capacity_bytes,
            allocated_bytes: 0,
            next_position: 0,
            next_sequence: 0,
            released: 0,
        }
    }

    /// Adds a zeroed or retired extent.
    pub(crate) fn add_free(&mut self, extent: Extent<F>) {
        self.allocated_bytes += extent.size;
        self.free.push_back(extent);
    }

    /// Extents ready to be written.
    pub(crate) fn free_extents(&self) -> usize {
        self.free.len()
    }

    /// Whether another extent of `size` bytes may be made.
    pub(crate) fn may_grow(&self, size: u64) -> bool {
        self.allocated_bytes + size <= self.capacity_bytes
    }

    /// Whether a commit of `len` bytes could be placed behind an unfinished one that will take `unfinished` bytes.
    pub(crate) fn fits(&self, unfinished: u64, len: u64) -> bool {
        let len = align_up(len);
        self.in_use.back().is_some_and(|last| last.room() >= unfinished + len)
            || self.free.iter().any(|extent| extent.size - EXTENT_OVERHEAD_BYTES >= len)
    }

    /// Finds the place for a commit of at least `len` bytes; `None` when there is none. The commit before must have
    /// been finished.
    pub(crate) fn place(&mut self, len: u64) -> Option<Placement<F>> {
        let len = align_up(len);
        let mut opens = None;
        if self.in_use.back().is_none_or(|last| last.room() < len) {
            let fitting = self.free.iter().position(|extent| extent.size - EXTENT_OVERHEAD_BYTES >= len)?;
            let extent = self.free.remove(fitting)?;
            opens = Some((self.next_sequence, extent.size));
            self.next_sequence += 1;
            self.in_use.push_back(InUse { extent, position: self.next_position, used: 0 });
        }
        let last = self.in_use.back()?;
        Some(Placement {
            file: last.extent.file.clone(),
            file_position: EXTENT_OVERHEAD_BYTES + last.used,
            position: self.next_position,
            room: last.room(),
            opens,
        })
    }

    /// The commit placed last turned out `len` bytes long (a multiple of a block, within the room it was given).
    pub(crate) fn finish(&mut self, len: u64) {
        if let Some(last) = self.in_use.back_mut() {
            assert!(len <= last.room(), "a commit of {len} bytes in {} bytes of room", last.room());
            last.used += len;
            self.next_position += len;
        }
    }

    /// Nothing below `up_to` is needed any more: frees the extents wholly below it. Says whether one was freed.
    pub(crate) fn release(&mut self, up_to: u64) -> bool {
        self.released = self.released.max(up_to.min(self.next_position));
        let mut freed = false;
        while self.in_use.len() > 1
            && self.in_use.front().is_some_and(|first| first.position + first.used <= self.released)
        {
            if let Some(first) = self.in_use.pop_front() {
                self.free.push_back(first.extent);
                freed = true;
            }
        }
        freed
    }

    /// Everything below was released.
    pub(crate) fn released(&self) -> u64 {
        self.released
    }

    /// Bytes of the capacity that cannot be written now: live commits and what is wasted at the ends of extents.
    pub(crate) fn used_bytes(&self) -> u64 {
        let in_use: u64 = self.in_use.iter().map(|extent| extent.extent.size).sum();
        in_use - self.in_use.back().map_or(0, InUse::room)
    }
}

#[cfg(test)]
mod tests;
