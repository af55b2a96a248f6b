//! A commit while it fills: entries copied once into aligned chunks that are reused from commit to commit.
//!
//! Large batches are copied into runs of blocks that go straight to their segments, and leave only their edges in the commit.
//! Called by the journal for each append, and by the writer when it takes the commit over. Deliberately absent: where
//! the commit goes (`ring`) and how it is written (`writer`).

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::rc::Rc;

use xxhash_rust::xxh3::Xxh3Default;

use super::Committed;
use super::format::{COMMIT_HEADER_BYTES, Cut, EntryHeader, InPlace, entry_bytes, entry_padding};
use super::ring::Placement;
use crate::io::{ALIGN, Buffer, Io, TRANSFER_BYTES_MAX, align_down, align_up};
use crate::types::{LogId, RandomAlready};

/// The smallest chunk worth keeping, in bytes.
const CHUNK_BYTES_MIN: usize = 16 * 1024;

/// Chunks that were written and may be filled again. A partly filled chunk was cut before it was written and cannot
/// grow back, so the pool holds chunks of all sizes and takes one that is near what is wanted.
pub(crate) struct ChunkPool<B> {
    /// Those that came back last at the end.
    chunks: VecDeque<B>,
    bytes: usize,
    /// Bound on what is kept, in bytes.
    bytes_max: usize,
    /// Recent commits' length, smoothed: the size of a commit's first chunk.
    expected: usize,
    /// Recent runs' length, smoothed: the size of a run's first chunk.
    expected_run: usize,
}

impl<B: Buffer> ChunkPool<B> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let (chunks, expected, expected_run) = (VecDeque::new(), CHUNK_BYTES_MIN, CHUNK_BYTES_MIN);
        Self { chunks, bytes: 0, bytes_max, expected, expected_run }
    }

    /// A chunk of about `wanted` bytes.
    fn take(&mut self, io: &impl Io<Buf = B>, wanted: usize) -> B {
        let wanted = wanted.clamp(CHUNK_BYTES_MIN, TRANSFER_BYTES_MAX).next_multiple_of(ALIGN);
        let near = |chunk: &B| (wanted / 4 * 3..=wanted * 2).contains(&chunk.as_ref().len());
        let found = self.chunks.iter().position(near).and_then(|at| self.chunks.remove(at));
        if let Some(chunk) = &found {
            self.bytes -= chunk.as_ref().len();
        }
        found.unwrap_or_else(|| io.buffer(wanted))
    }

    /// Takes a written chunk back, and drops those that have waited longest when there are too many.
    pub(crate) fn give(&mut self, chunk: B) {
        let len = chunk.as_ref().len();
        if len < CHUNK_BYTES_MIN || len > self.bytes_max {
            return;
        }
        self.bytes += len;
        self.chunks.push_back(chunk);
        while self.bytes > self.bytes_max {
            self.bytes -= self.chunks.pop_front().map_or(0, |chunk| chunk.as_ref().len());
        }
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
    by_log: HashMap<LogId, usize, BuildHasherDefault<RandomAlready>>,
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

/// Bytes that are being collected in aligned chunks.
struct Filling<B> {
    chunks: Vec<B>,
    /// Bytes filled in the last chunk.
    filled: usize,
    len: usize,
    /// Bytes that will come, as far as one can tell.
    expected: usize,
}

impl<B: Buffer> Filling<B> {
    fn copy(&mut self, io: &impl Io<Buf = B>, pool: &mut ChunkPool<B>, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            let room = self.chunks.last_mut().map_or(&mut [][..], |chunk| &mut chunk.as_mut()[self.filled..]);
            if room.is_empty() {
                // Doubling: what outgrows what was expected needs few chunks, and few writes.
                let wanted = self.len.max(bytes.len()).max(self.expected.saturating_sub(self.len));
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

    /// Drops what is in no whole block.
    fn cut_to_whole_blocks(&mut self, pool: &mut ChunkPool<B>) {
        let whole = align_down(self.filled as u64) as usize;
        match self.chunks.last_mut() {
            Some(last) if whole > 0 => last.truncate(whole),
            _ => self.chunks.pop().into_iter().for_each(|chunk| pool.give(chunk)),
        }
    }
}

/// Blocks on their way to a segment: batches of one log that follow each other without a gap.
pub(crate) struct Run<B, F> {
    log_id: LogId,
    segment_base_offset: i64,
    pub(crate) file: F,
    /// Byte of the segment where its first block goes.
    pub(crate) from: u64,
    bytes: Filling<B>,
}

impl<B, F> Run<B, F> {
    /// Position behind what was collected.
    fn end(&self) -> u64 {
        self.from + self.bytes.len as u64
    }

    fn goes_on_with(&self, header: &EntryHeader) -> bool {
        self.log_id == header.log_id
            && self.segment_base_offset == header.segment_base_offset
            && self.end() == u64::from(header.segment_position)
    }

    /// What is to be written; whole blocks once the commit is closed.
    pub(crate) fn into_chunks(self) -> Vec<B> {
        self.bytes.chunks
    }
}

/// Segments that one commit writes to at most: each costs a flush of its own.
const RUNS_MAX: usize = 16;

/// A commit that fills, or is full and waits for the writer.
pub(crate) struct Commit<B, F> {
    pub(crate) place: Placement<F>,
    bytes: Filling<B>,
    /// Bytes it may grow to.
    pub(crate) len_max: usize,
    pub(crate) entries: u32,
    pub(crate) notices: Notices,
    /// What goes straight to segments.
    pub(crate) runs: Vec<Run<B, F>>,
    /// Bytes of batches in runs.
    in_place_bytes: usize,
    /// What its entries would take if none were in place: what was charged for them.
    pub(crate) charged_bytes: usize,
    hasher: Xxh3Default,
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
            bytes: Filling {
                chunks: vec![first],
                filled: COMMIT_HEADER_BYTES,
                len: COMMIT_HEADER_BYTES,
                expected: len_expected,
            },
            len_max,
            entries: 0,
            notices: Notices::default(),
            runs: Vec::new(),
            in_place_bytes: 0,
            charged_bytes: 0,
            hasher: Xxh3Default::new(),
        }
    }

    /// Bytes filled, header included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len
    }

    /// Logical position right behind the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.place.position + self.len() as u64
    }

    /// Length on disk.
    pub(crate) fn padded_len(&self) -> u64 {
        align_up(self.len() as u64)
    }

    /// Whether an entry of `len` bytes fits.
    pub(crate) fn takes(&self, len: usize) -> bool {
        self.len() + len <= self.len_max
    }

    /// Whether a batch of `len` bytes may go to its segment with this commit, which has room for its entry.
    pub(crate) fn takes_in_place(&self, header: &EntryHeader, len: usize) -> bool {
        let goes_on = self.runs.iter().any(|run| run.goes_on_with(header));
        (self.in_place_bytes == 0 || self.in_place_bytes + len <= self.len_max)
            && (goes_on || self.runs.len() < RUNS_MAX)
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
        self.charged_bytes += entry_bytes(payload_len);
        self.copy(io, pool, &header.encode(payload_len as u32));
        for part in payload {
            self.copy(io, pool, part);
        }
        self.copy(io, pool, &[0; super::format::ENTRY_ALIGN][..entry_padding(payload_len)]);
        self.entries += 1;
        self.notices.add(header.log_id, header.next_offset, log);
    }

    /// Copies a batch's whole blocks into a run, and one entry with the rest. Returns the blocks of the segment that the commit
    /// now writes because of it: its own, and the one it shares with the batch before when that is in the same run.
    pub(crate) fn push_in_place(
        &mut self,
        io: &impl Io<Buf = B>,
        pool: &mut ChunkPool<B>,
        header: &EntryHeader,
        batch: &[u8],
        file: &F,
        log: &Rc<dyn Committed>,
    ) -> Range<u64>
    where
        F: Clone,
    {
        let cut = Cut::of(header.segment_position, batch.len());
        let (head, rest) = batch.split_at(cut.head);
        let (blocks, tail) = rest.split_at(cut.blocks);
        self.push(io, pool, header, &[&InPlace::header(batch.len(), blocks), head, tail], log);
        self.charged_bytes += entry_bytes(batch.len()) - entry_bytes(cut.payload_len());
        self.in_place_bytes += batch.len();
        let position = u64::from(header.segment_position);
        let (at, blocks_from, bytes) = match self.runs.iter().position(|run| run.goes_on_with(header)) {
            Some(at) => (at, align_down(position), batch),
            None => {
                self.runs.push(Run {
                    log_id: header.log_id,
                    segment_base_offset: header.segment_base_offset,
                    file: file.clone(),
                    from: align_up(position),
                    bytes: Filling { chunks: Vec::new(), filled: 0, len: 0, expected: pool.expected_run },
                });
                (self.runs.len() - 1, align_up(position), rest)
            }
        };
        let run = &mut self.runs[at];
        run.bytes.copy(io, pool, bytes);
        blocks_from..align_down(run.end())
    }

    fn copy(&mut self, io: &impl Io<Buf = B>, pool: &mut ChunkPool<B>, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes.copy(io, pool, bytes);
    }

    /// Hash of everything behind the header.
    pub(crate) fn body_hash(&self) -> u64 {
        self.hasher.digest()
    }

    /// Pads the last chunk with zeros to a block, cuts it there, and puts the header in front; runs keep their whole blocks.
    pub(crate) fn close(&mut self, pool: &mut ChunkPool<B>, header: &[u8; COMMIT_HEADER_BYTES]) {
        let Filling { chunks, filled, len, .. } = &mut self.bytes;
        pool.expected = (pool.expected * 7 + *len) / 8;
        if let Some(last) = chunks.last_mut() {
            let padded = filled.next_multiple_of(ALIGN);
            last.as_mut()[*filled..padded].fill(0);
            last.truncate(padded);
        }
        if let Some(first) = chunks.first_mut() {
            first.as_mut()[..COMMIT_HEADER_BYTES].copy_from_slice(header);
        }
        for run in &mut self.runs {
            pool.expected_run = (pool.expected_run * 7 + run.bytes.len) / 8;
            run.bytes.cut_to_whole_blocks(pool);
        }
    }

    /// What is to be written to the journal.
    pub(crate) fn take_chunks(&mut self) -> Vec<B> {
        std::mem::take(&mut self.bytes.chunks)
    }
}
