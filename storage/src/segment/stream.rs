//! Reads a segment forward, batch by batch, in transfers of at most 512 KiB, each chunk verified as it arrives.
//!
//! Called by `reader` (cold reads) and `rebuild`. Holds what is asked for plus one transfer. Deliberately absent: a cache, and
//! reading ahead of what a caller has announced.

use std::path::Path;

use bytes::{Buf, Bytes, BytesMut};

use super::table::{BlockTable, CHUNK_BYTES};
use crate::batch::{BatchHeader, HEADER_BYTES};
use crate::io::{File, Io, TRANSFER_BYTES_MAX, align_up};
use crate::{Result, StorageError};

/// Where the bytes of a segment are: in its file, but for a tail that only the checkpoint or the memory holds.
#[derive(Debug)]
pub struct SegmentBytes<'a, F> {
    /// The open `.log`.
    pub file: &'a F,
    /// Its path, for errors.
    pub path: &'a Path,
    /// Exact length of the segment in bytes, the tail included; ends with a whole batch.
    pub len: u64,
    /// The last bytes of the segment; those in the file at their place mean nothing. Empty for a closed segment.
    pub tail: &'a [u8],
}

impl<F> Clone for SegmentBytes<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for SegmentBytes<'_, F> {}

impl<F> SegmentBytes<'_, F> {
    pub(crate) fn corrupt(&self, position: u64, what: impl Into<String>) -> StorageError {
        StorageError::Corrupt { path: self.path.to_path_buf(), position, what: what.into() }
    }

    /// Bytes that are taken from the file.
    fn in_file(&self) -> u64 {
        self.len.saturating_sub(self.tail.len() as u64)
    }
}

impl<F: File> SegmentBytes<'_, F> {
    /// Appends the bytes from `from`, which is aligned, up to `to` to `buffer`: one transfer at most.
    pub(crate) async fn read(&self, from: u64, to: u64, buffer: &mut BytesMut) -> Result<()> {
        let in_file = self.in_file();
        let file_end = to.min(in_file);
        if from < file_end {
            let wanted = (file_end - from) as usize;
            let read = self.file.read_at(from, align_up(wanted as u64) as usize).await?;
            let bytes = read.as_ref().get(..wanted).ok_or_else(|| {
                self.corrupt(from, format!("the file ends before byte {file_end}, which it should hold"))
            })?;
            buffer.extend_from_slice(bytes);
        }
        if to > in_file {
            let tail_from = (from.max(in_file) - in_file) as usize;
            buffer.extend_from_slice(&self.tail[tail_from..(to - in_file) as usize]);
        }
        Ok(())
    }
}

/// A cursor over the batches of a segment.
pub(crate) struct BatchStream<'a, I: Io> {
    io: &'a I,
    source: SegmentBytes<'a, I::File>,
    table: &'a BlockTable,
    /// Bytes of the segment from `buffer_at` on. Ends at a chunk's end or the segment's.
    buffer: BytesMut,
    buffer_at: u64,
    /// Bytes behind the buffer, those that were passed included.
    allocated: usize,
    /// The cursor.
    position: u64,
    /// Transfers go up to here even when less is asked for.
    announced_end: u64,
}

impl<'a, I: Io> BatchStream<'a, I> {
    /// Starts at `position`, the start of a batch. Chunks that `table` describes whole are verified.
    pub(crate) fn new(
        io: &'a I,
        source: SegmentBytes<'a, I::File>,
        table: &'a BlockTable,
        position: u64,
    ) -> Self {
        let mut stream = Self {
            io,
            source,
            table,
            buffer: BytesMut::new(),
            buffer_at: 0,
            allocated: 0,
            position: 0,
            announced_end: 0,
        };
        stream.seek(position);
        stream
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Says that about `bytes` from the cursor on will be asked for.
    pub(crate) fn announce(&mut self, bytes: usize) {
        self.announced_end = self.position.saturating_add(bytes as u64).min(self.source.len);
    }

    /// Moves the cursor forward by `bytes`.
    pub(crate) fn pass(&mut self, bytes: usize) {
        self.seek(self.position + bytes as u64);
    }

    fn seek(&mut self, position: u64) {
        self.position = position;
        if position > self.buffer_end() || position < self.buffer_at {
            self.buffer.clear();
            self.buffer_at = position - position % CHUNK_BYTES as u64;
        }
    }

    fn buffer_end(&self) -> u64 {
        self.buffer_at + self.buffer.len() as u64
    }

    /// The header of the batch that starts `ahead` bytes after the cursor; none at the segment's end.
    pub(crate) async fn header(&mut self, ahead: usize) -> Result<Option<BatchHeader>> {
        let at = self.position + ahead as u64;
        if at == self.source.len {
            return Ok(None);
        }
        let bytes = self.bytes(ahead + HEADER_BYTES).await?;
        let header = BatchHeader::parse(bytes.get(ahead..).unwrap_or_default())
            .map_err(|error| self.source.corrupt(at, error.to_string()))?;
        let end = at + header.total_len() as u64;
        if end > self.source.len {
            let what = format!("a batch reaches to byte {end}, the segment has {}", self.source.len);
            return Err(self.source.corrupt(at, what));
        }
        Ok(Some(header))
    }

    /// The `len` bytes from the cursor on.
    pub(crate) async fn bytes(&mut self, len: usize) -> Result<&[u8]> {
        self.require(len).await?;
        let from = (self.position - self.buffer_at) as usize;
        Ok(&self.buffer[from..from + len])
    }

    /// The `len` bytes from the cursor on, in an allocation at most twice as long; the stream ends with it.
    pub(super) async fn take(mut self, len: usize) -> Result<Bytes> {
        self.require(len).await?;
        let from = (self.position - self.buffer_at) as usize;
        // A short answer must not pin a long buffer.
        if self.allocated > 2 * len {
            return Ok(Bytes::copy_from_slice(&self.buffer[from..from + len]));
        }
        self.buffer.advance(from);
        self.buffer.truncate(len);
        Ok(self.buffer.freeze())
    }

    async fn require(&mut self, len: usize) -> Result<()> {
        let end = self.position + len as u64;
        if end > self.source.len {
            let what = format!("a batch should go on to byte {end}, the segment has {}", self.source.len);
            return Err(self.source.corrupt(self.position, what));
        }
        while self.buffer_end() < end {
            self.load(end.max(self.announced_end)).await?;
        }
        Ok(())
    }

    fn drop_passed(&mut self) {
        let passed = (self.position - self.buffer_at) as usize;
        // The cursor may stand in a chunk that is still to be read and verified from its start.
        if passed <= self.buffer.len() {
            self.buffer.advance(passed);
            self.buffer_at = self.position;
        }
    }

    /// Reads and verifies the chunks that follow the buffer: up to `end`, one transfer at most.
    async fn load(&mut self, end: u64) -> Result<()> {
        self.drop_passed();
        let source = self.source;
        let from = self.buffer_end();
        let chunk_end = end.next_multiple_of(CHUNK_BYTES as u64);
        let to = chunk_end.min(from + TRANSFER_BYTES_MAX as u64).min(source.len);
        self.buffer.reserve((end.max(to) - from) as usize);
        self.allocated = self.allocated.max(self.buffer.capacity());
        source.read(from, to, &mut self.buffer).await?;
        if let Err((sound_end, error)) = self.verify(from) {
            // What is sound before it may be all that is asked for; who needs more comes again.
            self.buffer.truncate((sound_end - self.buffer_at) as usize);
            if sound_end == from {
                return Err(error);
            }
        }
        self.io.yield_if_needed().await;
        Ok(())
    }

    /// Holds what was loaded from `from` on against its hashes; fails with where the first chunk begins that is not sound.
    fn verify(&self, from: u64) -> std::result::Result<(), (u64, StorageError)> {
        let loaded = &self.buffer[(from - self.buffer_at) as usize..];
        let first = (from / CHUNK_BYTES as u64) as usize;
        for (chunk, bytes) in (first..).zip(loaded.chunks(CHUNK_BYTES)) {
            let range = self.table.chunk_range(chunk);
            let described = range.end - range.start == bytes.len() as u64;
            if described && !self.table.verify(chunk, bytes) {
                let what = format!("the {} bytes from here do not have the recorded hash", bytes.len());
                return Err((range.start, self.source.corrupt(range.start, what)));
            }
        }
        Ok(())
    }
}
