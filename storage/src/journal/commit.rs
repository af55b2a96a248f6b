//! A commit while it fills: entries copied once into aligned chunks that are reused from commit to commit.
//!
//! Called by the journal for each append, and by the writer when it takes the commit over. Deliberately absent: where
//! the commit goes (`ring`) and how it is written (`writer`).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use xxhash_rust::xxh3::Xxh3Default;

use super::Committed;
use super::format::{COMMIT_HEADER_BYTES, EntryHeader, entry_padding};
use super::ring::Placement;
use crate::io::{ALIGN, Buffer, Io, TRANSFER_BYTES_MAX, align_up};
use crate::types::LogId;

/// The smallest chunk worth keeping, in bytes.
const CHUNK_BYTES_MIN: usize = 16 * 1024;

/// Chunks that were written and may be filled again. A partly filled chunk was cut before it was written and cannot
/// grow back, so the pool holds chunks of all sizes and takes one that is near what is wanted.
pub(crate) struct ChunkPool<B> {
    chunks: Vec<B>,
    bytes: usize,
    /// Bound on what is kept, in bytes.
    bytes_max: usize,
    /// Recent commits' length, smoothed: the size of a commit's first chunk.
    expected: usize,
}

impl<B: Buffer> ChunkPool<B> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { chunks: Vec::new(), bytes: 0, bytes_max, expected: CHUNK_BYTES_MIN }
    }

    fn take(&mut self, io: &impl Io<Buf = B>, wanted: usize) -> B {
        let wanted = wanted.clamp(CHUNK_BYTES_MIN, TRANSFER_BYTES_MAX).next_multiple_of(ALIGN);
        let near = |chunk: &B| chunk.as_ref().len() >= wanted / 2 && chunk.as_ref().len() <= wanted * 2;
        match self.chunks.iter().position(near) {
            Some(at) => {
                let chunk = self.chunks.swap_remove(at);
                self.bytes -= chunk.as_ref().len();
                chunk
            }
            None => io.buffer(wanted),
        }
    }

    /// Takes a written chunk back.
    pub(crate) fn give(&mut self, chunk: B) {
        let len = chunk.as_ref().len();
        if len >= CHUNK_BYTES_MIN && self.bytes + len <= self.bytes_max {
            self.bytes += len;
            self.chunks.push(chunk);
        }
    }
}

/// Log ids are random already; hashing them again would be waste.
#[derive(Default)]
struct LogIdHasher(u64);

impl Hasher for LogIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// One log's news from a commit.
struct Notice {
    log: Rc<dyn Committed>,
    next_offset: i64,
}

/// Whom to tell about a commit: each log once, with its highest next offset.
#[derive(Default)]
pub(crate) struct Notices {
    by_log: HashMap<LogId, usize, BuildHasherDefault<LogIdHasher>>,
    notices: Vec<Notice>,
}

impl Notices {
    fn add(&mut self, log_id: LogId, next_offset: i64, log: &Rc<dyn Committed>) {
        let at = *self.by_log.entry(log_id).or_insert(self.notices.len());
        match self.notices.get_mut(at) {
            Some(notice) => notice.next_offset = notice.next_offset.max(next_offset),
            None => self.notices.push(Notice { log: Rc::clone(log), next_offset }),
        }
    }

    /// Tells every log, in the order of their first entries.
    pub(crate) fn tell(self) {
        for notice in self.notices {
            notice.log.committed(notice.next_offset);
        }
    }
}

/// A commit that fills, or is full and waits for the writer.
pub(crate) struct Commit<B, F> {
    pub(crate) place: Placement<F>,
    pub(crate) chunks: Vec<B>,
    /// Bytes filled, header included.
    pub(crate) len: usize,
    /// Bytes it may grow to.
    pub(crate) len_max: usize,
    pub(crate) entries: u32,
    pub(crate) notices: Notices,
    hasher: Xxh3Default,
    /// Bytes filled in the last chunk.
    filled: usize,
}

impl<B: Buffer, F> Commit<B, F> {
    /// Begins a commit of at least `len_expected` bytes.
    pub(crate) fn begin(
        io: &impl Io<Buf = B>,
        pool: &mut ChunkPool<B>,
        place: Placement<F>,
        len_expected: usize,
        len_max: usize,
    ) -> Self {
        let first = pool.take(io, len_expected.max(pool.expected));
        Self {
            place,
            chunks: vec![first],
            len: COMMIT_HEADER_BYTES,
            len_max,
            entries: 0,
            notices: Notices::default(),
            hasher: Xxh3Default::new(),
            filled: COMMIT_HEADER_BYTES,
        }
    }

    /// Logical position right behind the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.place.position + self.len as u64
    }

    /// Length on disk.
    pub(crate) fn padded_len(&self) -> u64 {
        align_up(self.len as u64)
    }

    /// Copies one entry in. The caller has seen that it fits.
    pub(crate) fn push(
        &mut self,
        io: &impl Io<Buf = B>,
        pool: &mut ChunkPool<B>,
        header: &EntryHeader,
        payload: &[&[u8]],
        log: &Rc<dyn Committed>,
    ) {
        let payload_len: usize = payload.iter().map(|part| part.len()).sum();
        self.copy(io, pool, &header.encode(payload_len as u32));
        for part in payload {
            self.copy(io, pool, part);
        }
        self.copy(io, pool, &[0; super::format::ENTRY_ALIGN][..entry_padding(payload_len)]);
        self.entries += 1;
        self.notices.add(header.log_id, header.next_offset, log);
    }

    fn copy(&mut self, io: &impl Io<Buf = B>, pool: &mut ChunkPool<B>, mut bytes: &[u8]) {
        self.hasher.update(bytes);
        self.len += bytes.len();
        while !bytes.is_empty() {
            let room = self.chunks.last_mut().map_or(&mut [][..], |chunk| &mut chunk.as_mut()[self.filled..]);
            if room.is_empty() {
                // Doubling: a commit that outgrew what was expected needs few chunks, and few writes.
                let wanted = self.len.max(bytes.len());
                self.chunks.push(pool.take(io, wanted));
                self.filled = 0;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
        }
    }

    /// Hash of everything behind the header.
    pub(crate) fn body_hash(&self) -> u64 {
        self.hasher.digest()
    }

    /// Pads the last chunk with zeros to a block, cuts it there, and puts the header in front.
    pub(crate) fn close(&mut self, pool: &mut ChunkPool<B>, header: &[u8; COMMIT_HEADER_BYTES]) {
        pool.expected = (pool.expected * 7 + self.len) / 8;
        if let Some(last) = self.chunks.last_mut() {
            let padded = self.filled.next_multiple_of(ALIGN);
            last.as_mut()[self.filled..padded].fill(0);
            last.truncate(padded);
        }
        if let Some(first) = self.chunks.first_mut() {
            first.as_mut()[..COMMIT_HEADER_BYTES].copy_from_slice(header);
        }
    }
}
