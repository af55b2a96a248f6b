//! Gives a batch another compression, for topics whose `compression.type` is not `producer`.
//!
//! Called by the produce path for a batch that was validated in full; long work for a thread of its own. Records pass through as a
//! stream and are not looked at: offsets and timestamps in them are relative to header fields that stay. As Kafka does, a batch that has
//! the wanted codec already is left as it came, whatever its level. Deliberately absent: validation, timestamps.

use std::io::{self, Read, Write};

use super::compression::{self, Compression};
use super::error::BatchError;
use super::header::{BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES, with_records};
use super::snappy;
use super::validate::DECOMPRESSED_BYTES_MAX;

/// A codec with its level (KIP-390).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not compressed.
    Uncompressed,
    /// gzip; -1 is its own default, else 1 to 9.
    Gzip { level: i32 },
    /// Snappy in xerial's framing. It has no levels.
    Snappy,
    /// One LZ4 frame; 1 to 17, where 9 stands for the fast compressor and all others for the one that looks harder.
    Lz4 { level: i32 },
    /// Zstandard; -131072 to 22.
    Zstd { level: i32 },
}

/// Kafka's default level of LZ4, which means its fast compressor (`Lz4Compression`).
const LZ4_LEVEL_DEFAULT: i32 = 9;

/// Zstandard's window (log2) at every level: 8 MiB, what levels up to 19 use. It bounds the memory of a compressor, and of everyone who
/// reads the batch.
const ZSTD_WINDOW_LOG: u32 = 23;

impl Encoding {
    /// The codec.
    pub const fn compression(self) -> Compression {
        match self {
            Self::Uncompressed => Compression::None,
            Self::Gzip { .. } => Compression::Gzip,
            Self::Snappy => Compression::Snappy,
            Self::Lz4 { .. } => Compression::Lz4,
            Self::Zstd { .. } => Compression::Zstd,
        }
    }

    /// Compresses everything that comes from `source` into `out`.
    fn encode(self, source: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Uncompressed => {
                io::copy(source, out)?;
            }
            Self::Gzip { level } => {
                let level =
                    u32::try_from(level).map_or(flate2::Compression::default(), flate2::Compression::new);
                let mut encoder = flate2::write::GzEncoder::new(out, level);
                io::copy(source, &mut encoder)?;
                encoder.finish()?;
            }
            Self::Snappy => snappy::compress_stream(source, out)?,
            Self::Lz4 { level: LZ4_LEVEL_DEFAULT } => {
                let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
                io::copy(source, &mut encoder)?;
                encoder.finish().map_err(io::Error::other)?;
            }
            Self::Lz4 { level } => {
                let mut encoder = lz4::EncoderBuilder::new()
                    .level(u32::try_from(level).unwrap_or(0).max(LZ4_HARD_LEVEL_MIN))
                    .block_size(lz4::BlockSize::Max64KB)
                    .block_mode(lz4::BlockMode::Independent)
                    .checksum(lz4::ContentChecksum::NoChecksum)
                    .build(out)?;
                io::copy(source, &mut encoder)?;
                encoder.finish().1?;
            }
            Self::Zstd { level } => {
                let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
                encoder.window_log(ZSTD_WINDOW_LOG)?;
                io::copy(source, &mut encoder)?;
                encoder.finish()?;
            }
        }
        Ok(())
    }
}

/// Below this level the library uses its fast compressor, which Kafka does not for a level that was chosen.
const LZ4_HARD_LEVEL_MIN: u32 = 3;

/// The batch in another encoding. `batch` was validated in full; `batch_bytes_max` bounds what comes out, and so the memory it takes.
///
/// # Errors
/// `TooLarge` when the result has more than `batch_bytes_max`; what the codec of `batch` finds wrong.
pub fn recompress(batch: &[u8], encoding: Encoding, batch_bytes_max: usize) -> Result<Vec<u8>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let from = header.compression();
    let mut records = batch
        .get(HEADER_BYTES..header.total_len())
        .ok_or(BatchError::Truncated { len: batch.len(), needed: header.total_len() })?;
    let mut out = Limited { bytes: vec![0; HEADER_BYTES], len: HEADER_BYTES, limit: batch_bytes_max };
    let encoded = match from {
        Compression::None => encoding.encode(&mut records, &mut out),
        codec => encoding.encode(&mut compression::open(codec, records, DECOMPRESSED_BYTES_MAX)?, &mut out),
    };
    // Writing into memory does not fail: it was the reading.
    encoded.map_err(|cause| compression::read_failed(from, &cause))?;
    if out.len > batch_bytes_max {
        return Err(BatchError::TooLarge { len: out.len, limit: batch_bytes_max });
    }
    let mut batch = out.bytes;
    let header = BatchHeader {
        batch_length: (batch.len() - LENGTH_PREFIX_BYTES) as i32,
        attributes: header.attributes_with(encoding.compression()),
        ..header
    };
    with_records(&mut batch, header);
    Ok(batch)
}

/// Keeps what is written up to a limit, and counts all of it.
struct Limited {
    bytes: Vec<u8>,
    len: usize,
    limit: usize,
}

impl Write for Limited {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.len = self.len.saturating_add(buf.len());
        if self.len <= self.limit {
            self.bytes.extend_from_slice(buf);
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
