//! Snappy as Kafka's clients write it, read as a stream: xerial's framing (Java, librdkafka) or one raw block (franz-go, older clients).
//!
//! Called by `compression`. Memory is one window, which grows with what comes out of a block and never with what the block claims, up to
//! 8 MiB: most compressors work in fragments of 64 KiB, franz-go's reaches back as far as its batch goes. A reference further back
//! is refused. Deliberately absent: Google's framing format with checksums, which Kafka never used.

use std::io::{self, Read, Write};

/// xerial's header: magic, version, lowest compatible version (both big-endian, ignored as the reference reader does).
const FRAMED_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const FRAMED_HEADER_BYTES: usize = 16;

/// What is kept of the output at first: all that most compressors refer back to.
const WINDOW_BYTES_MIN: usize = 64 * 1024;
/// How far back a copy may reach, and the most that is kept of the output.
const WINDOW_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Uncompressed bytes per chunk when writing, xerial's default.
const CHUNK_BYTES: usize = 32 * 1024;

/// Reads framed or raw Snappy.
pub(super) struct Decoder<'a> {
    input: &'a [u8],
    framed: bool,
    started: bool,
    block: Option<Block<'a>>,
    /// The end of the output. Its length only grows, and before it has been filled once.
    window: Vec<u8>,
}

/// One raw block that is being read.
struct Block<'a> {
    input: &'a [u8],
    /// Bytes the block's preamble promised and that have not come out yet.
    left: u64,
    /// Bytes that have come out; the next one goes to `written` modulo the window's length.
    written: u64,
    pending: Pending,
}

/// What the element at hand still has to give.
#[derive(Clone, Copy)]
enum Pending {
    Nothing,
    Literal { left: u64 },
    Copy { left: u64, distance: u64 },
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let framed = input.starts_with(&FRAMED_MAGIC);
        Self { input, framed, started: false, block: None, window: vec![0; WINDOW_BYTES_MIN] }
    }

    /// Opens the next raw block; false at the end of the input.
    fn next_block(&mut self) -> io::Result<bool> {
        if !self.framed {
            if self.started {
                return Ok(false);
            }
            self.started = true;
            self.block = Some(Block::open(std::mem::take(&mut self.input))?);
            return Ok(true);
        }
        // Streams that were appended to each other repeat the header.
        while self.input.starts_with(&FRAMED_MAGIC) {
            take(&mut self.input, FRAMED_HEADER_BYTES)?;
        }
        if self.input.is_empty() {
            return Ok(false);
        }
        let len =
            take(&mut self.input, 4)?.iter().fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
        self.block = Some(Block::open(take(&mut self.input, len)?)?);
        Ok(true)
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(block) = &mut self.block {
                let got = block.read(out, &mut self.window)?;
                if got > 0 {
                    return Ok(got);
                }
                self.block = None;
            }
            if !self.next_block()? {
                return Ok(0);
            }
        }
    }
}

impl<'a> Block<'a> {
    fn open(mut input: &'a [u8]) -> io::Result<Self> {
        let mut left = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = take(&mut input, 1)?[0];
            left |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(Self { input, left, written: 0, pending: Pending::Nothing });
            }
        }
        Err(io::Error::other("a block's length has more than five bytes"))
    }

    /// Fills `out` as far as one element goes; 0 at the end of the block.
    fn read(&mut self, out: &mut [u8], window: &mut Vec<u8>) -> io::Result<usize> {
        if let Pending::Nothing = self.pending {
            if self.input.is_empty() && self.left == 0 {
                return Ok(0);
            }
            self.pending = self.element()?;
        }
        let (wanted, distance) = match self.pending {
            Pending::Literal { left } => (left, None),
            Pending::Copy { left, distance } => (left, Some(distance)),
            Pending::Nothing => (0, None),
        };
        let count = wanted.min(out.len() as u64);
        while self.written + count > window.len() as u64 && window.len() < WINDOW_BYTES_MAX {
            window.resize(window.len() * 2, 0);
        }
        let window_len = window.len();
        match distance {
            None => {
                let literal = take(&mut self.input, count as usize)?;
                for (to, byte) in out.iter_mut().zip(literal) {
                    *to = *byte;
                    window[self.written as usize % window_len] = *byte;
                    self.written += 1;
                }
                self.pending = Pending::Literal { left: wanted - count };
            }
            Some(distance) => {
                for to in out.iter_mut().take(count as usize) {
                    let byte = window[(self.written - distance) as usize % window_len];
                    *to = byte;
                    window[self.written as usize % window_len] = byte;
                    self.written += 1;
                }
                self.pending = Pending::Copy { left: wanted - count, distance };
            }
        }
        if wanted == count {
            self.pending = Pending::Nothing;
        }
        self.left -= count;
        Ok(count as usize)
    }

    /// Reads the next element's tag and holds it against the block's promise and the window.
    fn element(&mut self) -> io::Result<Pending> {
        let tag = take(&mut self.input, 1)?[0];
        let high = u64::from(tag >> 2);
        let element = match tag & 3 {
            0 => {
                let left =
                    if high < 60 { high } else { little_endian(&mut self.input, high as usize - 59)? } + 1;
                Pending::Literal { left }
            }
            1 => {
                let low = little_endian(&mut self.input, 1)?;
                Pending::Copy { left: (high & 7) + 4, distance: (high >> 3) << 8 | low }
            }
            2 => Pending::Copy { left: high + 1, distance: little_endian(&mut self.input, 2)? },
            _ => Pending::Copy { left: high + 1, distance: little_endian(&mut self.input, 4)? },
        };
        let (Pending::Literal { left } | Pending::Copy { left, .. }) = element else {
            return Ok(element);
        };
        if left > self.left {
            return Err(io::Error::other("a block is longer than it says"));
        }
        if let Pending::Copy { distance, .. } = element
            && (distance == 0 || distance > self.written || distance > WINDOW_BYTES_MAX as u64)
        {
            return Err(io::Error::other("a copy reaches back before its block, or further than 8 MiB"));
        }
        Ok(element)
    }
}

/// Cuts `len` bytes off the front.
fn take<'a>(input: &mut &'a [u8], len: usize) -> io::Result<&'a [u8]> {
    let (front, rest) = input
        .split_at_checked(len)
        .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it ends inside a block"))?;
    *input = rest;
    Ok(front)
}

fn little_endian(input: &mut &[u8], len: usize) -> io::Result<u64> {
    Ok(take(input, len)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Compresses with xerial's framing, chunk by chunk.
pub(super) fn compress_framed(mut records: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(records.len() / 2 + FRAMED_HEADER_BYTES);
    compress_stream(&mut records, &mut out)?;
    Ok(out)
}

/// [`compress_framed`] of a stream.
pub(super) fn compress_stream(records: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&FRAMED_MAGIC)?;
    out.write_all(&1_u32.to_be_bytes())?;
    out.write_all(&1_u32.to_be_bytes())?;
    let mut encoder = snap::raw::Encoder::new();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    loop {
        chunk.clear();
        Read::take(&mut *records, CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(());
        }
        let compressed = encoder.compress_vec(&chunk).map_err(io::Error::other)?;
        out.write_all(&(compressed.len() as u32).to_be_bytes())?;
        out.write_all(&compressed)?;
    }
}
