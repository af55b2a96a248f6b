//! What a Produce reply says about its one partition: correlation id, error, base offset, and a message if there is one.
//! Called for every reply. Deliberately absent: other versions than the one the frames are encoded in.

use anyhow::{Context, Result, ensure};

use crate::wire::Cursor;

/// Largest reply to a request for one partition, in bytes; real ones have about 70.
pub(crate) const REPLY_BYTES_MAX: usize = 64 * 1024;

/// One reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProduceReply<'a> {
    pub(crate) correlation: i32,
    pub(crate) partition: i32,
    pub(crate) error_code: i16,
    /// -1 with an error.
    pub(crate) base_offset: i64,
    /// Empty when the broker gave none.
    pub(crate) message: &'a [u8],
}

/// Takes the first whole frame off `input`; nothing when there is none yet. Returns it and the bytes it took.
pub(crate) fn next_frame(input: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some(prefix) = input.first_chunk::<4>() else { return Ok(None) };
    let len = usize::try_from(i32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    ensure!(
        len <= REPLY_BYTES_MAX - 4,
        "a Produce reply of {len} bytes exceeds the bench's {REPLY_BYTES_MAX}"
    );
    Ok(input.get(4..4 + len).map(|frame| (frame, 4 + len)))
}

impl<'a> ProduceReply<'a> {
    /// Reads a reply to Produce version 12 with one topic and one partition.
    pub(crate) fn parse(frame: &'a [u8]) -> Result<Self> {
        Self::fields(&mut Cursor::new(frame))
            .with_context(|| format!("a Produce reply of {} bytes is not as version 12 has it", frame.len()))
    }

    fn fields(cursor: &mut Cursor<'a>) -> Option<Self> {
        let correlation = cursor.i32()?;
        cursor.skip_tags()?;
        let topics = cursor.compact_len()??;
        cursor.compact_bytes()?;
        let partitions = cursor.compact_len()??;
        if (topics, partitions) != (1, 1) {
            return None;
        }
        let partition = cursor.i32()?;
        let error_code = cursor.i16()?;
        let base_offset = cursor.i64()?;
        let _log_append_time_ms = cursor.i64()?;
        let _log_start_offset = cursor.i64()?;
        for _ in 0..cursor.compact_len()?.unwrap_or(0) {
            let _batch_index = cursor.i32()?;
            cursor.compact_bytes()?;
            cursor.skip_tags()?;
        }
        let message = cursor.compact_bytes()?;
        Some(Self { correlation, partition, error_code, base_offset, message })
    }
}
