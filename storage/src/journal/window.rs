//! Reads a file front to back in direct transfers, holding no more of it than the caller still looks at.
//!
//! Used by replay and by the checkpoint loader. Deliberately absent: read-ahead and any judgement of the bytes.

use crate::Result;
use crate::io::{ALIGN, File, TRANSFER_BYTES_MAX, align_down};

/// A moving view of a file. It grows to the longest range asked for, and no further.
pub(crate) struct Window<'a, F: File> {
    file: &'a F,
    file_len: u64,
    /// File position of `bytes`, a multiple of a block.
    start: u64,
    bytes: Vec<u8>,
}

impl<'a, F: File> Window<'a, F> {
    pub(crate) fn new(file: &'a F, file_len: u64) -> Self {
        Self { file, file_len, start: 0, bytes: Vec::new() }
    }

    /// The `len` bytes at `at`; `None` when the file ends before. `at` never goes back below an earlier block.
    pub(crate) async fn at(&mut self, at: u64, len: usize) -> Result<Option<&[u8]>> {
        let Some(end) = at.checked_add(len as u64).filter(|end| *end <= self.file_len) else {
            return Ok(None);
        };
        let block = align_down(at);
        if block < self.start || block > self.end() {
            self.bytes.clear();
            self.start = block;
        } else if end > self.end() {
            // Only when more is read: moving the rest down at each step would move every byte a hundred times.
            self.bytes.drain(..(block - self.start) as usize);
            self.start = block;
        }
        while self.end() < end {
            let from = self.end();
            let wanted = (self.file_len - from).min(TRANSFER_BYTES_MAX as u64) as usize;
            let read = self.file.read_at(from, wanted.next_multiple_of(ALIGN)).await?;
            let bytes = read.as_ref();
            self.bytes.extend_from_slice(bytes);
            if bytes.len() % ALIGN != 0 || bytes.is_empty() {
                break;
            }
        }
        let from = (at - self.start) as usize;
        Ok(self.bytes.get(from..from + len))
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}
