//! Checks a segment chunk by chunk: the hash of each, and the batches that run through them.
//!
//! Pure; called by scrub with bytes from the disk. The hash finds what the disk changed, the CRC what was changed before it was hashed.
//! After damage it goes on with the next chunk in which the index knows a batch. Deliberately absent: reading, and what is done
//! about damage.

use super::table::{BlockTable, CHUNK_BYTES};
use super::walk::{Astray, BatchWalk};

/// Bytes of a segment that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Where it starts, in bytes from the start of the segment.
    pub(crate) position: u64,
    pub(crate) what: String,
}

impl From<Astray> for Damage {
    fn from(Astray { position, what }: Astray) -> Self {
        Self { position, what }
    }
}

/// A check of one segment, whose table describes it whole.
pub(crate) struct SegmentCheck<'a> {
    table: &'a BlockTable,
    walk: BatchWalk,
    chunk: usize,
    /// For tests only: hashes are not compared.
    trusts: bool,
}

impl<'a> SegmentCheck<'a> {
    /// `holes` says whether compaction may have left some between the offsets; `trusts`, for tests only, that hashes are not compared.
    pub(crate) fn new(table: &'a BlockTable, holes: bool, trusts: bool) -> Self {
        let walk = BatchWalk::new(table.base_offset(), table.len(), holes);
        Self { table, walk, chunk: 0, trusts }
    }

    /// Takes the next chunks, all but the segment's last one whole.
    pub(crate) fn chunks(&mut self, bytes: &[u8], mut tell: impl FnMut(Damage)) {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            if let Err(damage) = self.one(chunk) {
                tell(damage);
            }
            self.chunk += 1;
        }
    }

    fn one(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        if !self.trusts && !self.table.verify(self.chunk, bytes) {
            self.walk.lose(bytes.len());
            let position = self.table.chunk_range(self.chunk).start;
            let what = format!("the {} bytes from here do not have the recorded hash", bytes.len());
            return Err(Damage { position, what });
        }
        let mut bytes = bytes;
        if self.walk.is_lost()
            && let Some(first) = self.table.first_in_chunk(self.chunk)
        {
            let passed = (first.position - self.table.chunk_range(self.chunk).start) as usize;
            bytes = bytes.get(passed..).unwrap_or_default();
            self.walk.resume(first.position, first.base_offset);
        }
        Ok(self.walk.feed(bytes)?)
    }

    /// Ends the check, when all chunks have come.
    pub(crate) fn finish(self) -> Option<Damage> {
        self.walk.finish().err().map(Damage::from)
    }
}

#[cfg(test)]
mod tests;
