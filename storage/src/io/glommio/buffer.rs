//! Aligned memory for direct I/O: a buffer of our own, or one that a read came in.
//!
//! Made by `GlommioIo::buffer` and by reads. Allocated from the heap, not from the executor's registered memory, so that
//! it grows and shrinks with use. Deliberately absent: a pool.

use std::fmt;

use glommio::allocate_dma_buffer_global;
use glommio::io::{DmaBuffer, ReadResult};

use crate::io::{ALIGN, Buffer};

enum Memory {
    /// Nobody else sees it.
    Own(DmaBuffer),
    /// As a read left it: shared with glommio, so it is copied before it is changed.
    Read(ReadResult),
}

/// An aligned buffer. Changing one that came from a read copies it first.
pub struct GlommioBuf(Memory);

impl fmt::Debug for GlommioBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GlommioBuf({} bytes)", self.as_ref().len())
    }
}

impl GlommioBuf {
    /// A buffer of zeros. Panics when `len` is not a multiple of [`ALIGN`].
    pub(super) fn zeroed(len: usize) -> Self {
        assert!(
            len.is_multiple_of(ALIGN),
            "a buffer of {len} bytes was asked for, not a multiple of {ALIGN}"
        );
        if len == 0 {
            return Self(Memory::Read(ReadResult::default()));
        }
        let mut memory = allocate_dma_buffer_global(len);
        memory.as_bytes_mut().fill(0);
        Self(Memory::Own(memory))
    }

    /// What a read returned, whole blocks of it; copied only when it ends inside a block.
    pub(super) fn from_read(read: ReadResult) -> Self {
        if read.len().is_multiple_of(ALIGN) { Self(Memory::Read(read)) } else { Self::copy_of(&read) }
    }

    /// A copy of `bytes` in own memory, padded with zeros to whole blocks.
    pub(super) fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len().next_multiple_of(ALIGN));
        copy.as_mut()[..bytes.len()].copy_from_slice(bytes);
        copy
    }

    /// Takes the memory for a write; copies it when it is shared with a read. None when there is nothing to write.
    pub(super) fn into_dma(self) -> Option<DmaBuffer> {
        match self.0 {
            Memory::Own(memory) => Some(memory),
            Memory::Read(read) if read.is_empty() => None,
            Memory::Read(read) => Self::copy_of(&read).into_dma(),
        }
    }

    pub(super) fn from_dma(memory: DmaBuffer) -> Self {
        Self(Memory::Own(memory))
    }
}

impl AsRef<[u8]> for GlommioBuf {
    fn as_ref(&self) -> &[u8] {
        match &self.0 {
            Memory::Own(memory) => memory.as_bytes(),
            Memory::Read(read) => read,
        }
    }
}

impl AsMut<[u8]> for GlommioBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        if let Memory::Read(read) = &self.0
            && !read.is_empty()
        {
            let copy = Self::copy_of(read);
            *self = copy;
        }
        match &mut self.0 {
            Memory::Own(memory) => memory.as_bytes_mut(),
            Memory::Read(_) => &mut [],
        }
    }
}

impl Buffer for GlommioBuf {
    fn truncate(&mut self, len: usize) {
        assert!(len.is_multiple_of(ALIGN), "a buffer was cut to {len} bytes, not a multiple of {ALIGN}");
        if len >= self.as_ref().len() {
            return;
        }
        match &mut self.0 {
            Memory::Own(memory) => memory.trim_to_size(len),
            Memory::Read(read) => *read = ReadResult::slice(read, 0, len).unwrap_or_default(),
        }
    }
}
