//! The five codecs of a batch: reading them as a bounded stream, and writing them for the builder.
//!
//! Called by `records` and `builder`. The whole output is never in memory: each reader holds at most a codec's window
//! and stops with an error once the output bound is passed. Snappy's reader is in `snappy`.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};

use super::error::BatchError;
use super::snappy;

/// How the records of a batch are compressed (the lowest three attribute bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip members, one after the other.
    Gzip,
    /// Snappy in xerial's framing, or one raw block.
    Snappy,
    /// One LZ4 frame.
    Lz4,
    /// Zstandard frames (KIP-110).
    Zstd,
}

impl Compression {
    /// All of them, in the order of their ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Kafka's number, 0 to 4.
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    pub(super) fn from_attributes(attributes: i16) -> Result<Self, BatchError> {
        let id = (attributes & 0x07) as u8;
        Self::ALL.get(usize::from(id)).copied().ok_or(BatchError::UnknownCompression { id })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Decompressed bytes that are in memory for the parser at a time.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Zstandard windows up to this size (log2) are held whole: 8 MiB, what levels 1 to 19 use.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The largest window that is accepted at all (log2): 128 MiB, level 22 and the reference decoder's own limit.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Output bound of a frame with a window above [`ZSTD_WINDOW_LOG`]: the memory its window touches is what it writes.
const ZSTD_LARGE_WINDOW_OUTPUT_BYTES: u64 = 16 * 1024 * 1024;

/// A decompressed stream that ends in an error once it has given more bytes than allowed.
pub(super) type Decompressed<'a> = BufReader<Bounded<'a>>;

/// Opens the records of a compressed batch for reading; at most `limit` bytes come out.
///
/// # Errors
/// Whatever the codec finds wrong at the very start. [`Compression::None`] is not a codec: its bytes are read as is.
pub(super) fn open(codec: Compression, records: &[u8], limit: u64) -> Result<Decompressed<'_>, BatchError> {
    let failed = |cause: io::Error| BatchError::Decompression { codec, cause: cause.to_string() };
    let mut limit = limit;
    let inner: Box<dyn Read + '_> = match codec {
        Compression::None => Box::new(records),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(records)),
        Compression::Snappy => Box::new(snappy::Decoder::new(records)),
        Compression::Lz4 => {
            if !is_whole_lz4_frame(records) {
                return Err(failed(io::Error::other(
                    "it is not one whole LZ4 frame of independent blocks, without a dictionary",
                )));
            }
            Box::new(lz4_flex::frame::FrameDecoder::new(records))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(records).map_err(failed)?;
            let large = zstd_window_bytes(records).is_some_and(|bytes| bytes > 1 << ZSTD_WINDOW_LOG);
            if large {
                limit = limit.min(ZSTD_LARGE_WINDOW_OUTPUT_BYTES);
            }
            let window_log = if large { ZSTD_WINDOW_LOG_MAX } else { ZSTD_WINDOW_LOG };
            decoder.window_log_max(window_log).map_err(failed)?;
            Box::new(decoder)
        }
    };
    Ok(BufReader::with_capacity(READ_BUFFER_BYTES, Bounded { inner, left: limit, limit }))
}

const LZ4_MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// A bit of the frame's flags.
const LZ4_INDEPENDENT_BLOCKS: u8 = 0x20;
/// Two bits of the frame's flags.
const LZ4_DICTIONARY_OR_RESERVED: u8 = 0x03;
const ZSTD_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// Whether the bytes are one LZ4 frame up to its end mark (LZ4 frame format 1.6). The decoder takes a frame without
/// an end mark, the legacy format with blocks of 8 MiB, dictionaries, and blocks that build on those before; Java consumers fail on all
/// of these.
fn is_whole_lz4_frame(records: &[u8]) -> bool {
    let Some([flags, _block_sizes, ..]) = records.strip_prefix(&LZ4_MAGIC) else {
        return false;
    };
    if flags & LZ4_INDEPENDENT_BLOCKS == 0 || flags & LZ4_DICTIONARY_OR_RESERVED != 0 {
        return false;
    }
    let field = |bit: u8, bytes: usize| if flags & bit != 0 { bytes } else { 0 };
    let content_size = field(0x08, 8);
    let (block_checksum, content_checksum) = (field(0x10, 4), field(0x04, 4));
    let header_bytes = LZ4_MAGIC.len() + 2 + content_size + 1;
    let mut rest = records.get(header_bytes..).unwrap_or_default();
    while let Some((size, after)) = rest.split_first_chunk::<4>() {
        // The highest bit marks a block that is stored as it is.
        let block_bytes = (u32::from_le_bytes(*size) & 0x7fff_ffff) as usize;
        if u32::from_le_bytes(*size) == 0 {
            return after.len() == content_checksum;
        }
        rest = after.get(block_bytes + block_checksum..).unwrap_or_default();
    }
    false
}

/// The window a Zstandard frame asks for (RFC 8878, 3.1.1.1.2); none for a frame that is one segment of known size,
/// which the decoder bounds by that size.
fn zstd_window_bytes(records: &[u8]) -> Option<u64> {
    let frame = records.strip_prefix(&ZSTD_MAGIC)?;
    let descriptor = *frame.first()?;
    if descriptor & 0x20 != 0 {
        return zstd_content_bytes(descriptor, frame.get(1..)?);
    }
    let window = *frame.get(1)?;
    let base = 1_u64 << (10 + (window >> 3));
    Some(base + base / 8 * u64::from(window & 7))
}

/// The content size of a single-segment frame: its window is as large as its content.
fn zstd_content_bytes(descriptor: u8, rest: &[u8]) -> Option<u64> {
    let dictionary_id_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size_bytes = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let field = rest.get(dictionary_id_bytes..dictionary_id_bytes + size_bytes)?;
    let mut wide = [0; 8];
    wide[..size_bytes].copy_from_slice(field);
    Some(u64::from_le_bytes(wide) + if size_bytes == 2 { 256 } else { 0 })
}

/// The error a [`Bounded`] reader ends in.
#[derive(Debug, thiserror::Error)]
#[error("more than {limit} bytes come out")]
struct LimitExceeded {
    limit: u64,
}

/// A reader that refuses to give more than its limit.
pub(super) struct Bounded<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
    limit: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // One byte more than allowed is asked for, so that an output of exactly the limit can end in peace.
        let ask = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX).min(buf.len());
        let got = self.inner.read(&mut buf[..ask])?;
        if got as u64 > self.left {
            return Err(io::Error::other(LimitExceeded { limit: self.limit }));
        }
        self.left -= got as u64;
        Ok(got)
    }
}

/// Turns what a reader of [`open`] failed with into the batch's error.
pub(super) fn read_failed(codec: Compression, cause: &io::Error) -> BatchError {
    match cause.get_ref().and_then(|inner| inner.downcast_ref::<LimitExceeded>()) {
        Some(exceeded) => BatchError::DecompressedTooLarge { codec, limit: exceeded.limit },
        None => BatchError::Decompression { codec, cause: cause.to_string() },
    }
}

/// Whether a stream has come to its end; an error when more bytes, or nonsense, follow.
pub(super) fn is_at_end<R: BufRead>(source: &mut R) -> io::Result<bool> {
    Ok(source.fill_buf()?.is_empty())
}

/// Compresses records as Kafka's producers do.
pub(super) fn compress(codec: Compression, records: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        Compression::None => Ok(records.to_vec()),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(records)?;
            encoder.finish()
        }
        Compression::Snappy => snappy::compress_framed(records),
        Compression::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(records)?;
            encoder.finish().map_err(io::Error::other)
        }
        Compression::Zstd => zstd::stream::encode_all(records, 3),
    }
}

#[cfg(test)]
mod tests;
