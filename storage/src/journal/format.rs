//! The journal's bytes: extent headers, commits and their entries, encoded and decoded (decision 0001).
//!
//! Called by the writer, by replay and, for the commit frame, by the checkpoint log. Pure: no I/O, no allocation, and no
//! panic whatever the bytes are. Deliberately absent: what a broken chain *means*; that is replay's decision.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::io::ALIGN;
use crate::types::LogId;

/// Format version of journal extents.
pub const FORMAT_VERSION: u32 = 2;
/// The oldest version that is read: it lacks [`EntryKind::AppendInPlace`].
const FORMAT_VERSION_MIN: u32 = 1;
/// Bytes of an extent header; the rest of its block is zero.
pub const EXTENT_HEADER_BYTES: usize = 64;
/// Bytes of a commit header.
pub const COMMIT_HEADER_BYTES: usize = 64;
/// Bytes of an entry header.
pub const ENTRY_HEADER_BYTES: usize = 48;
/// Entries start at multiples of this many bytes.
pub const ENTRY_ALIGN: usize = 8;
/// First bytes of a journal commit.
pub const JOURNAL_COMMIT: [u8; 4] = *b"CLCM";

const EXTENT_MAGIC: [u8; 8] = *b"CLJOURNL";

/// Takes little-endian fields off the front of a slice; `None` when it is too short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

/// The first block of an extent: whose it is and where in the session it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentHeader {
    /// Core that wrote it.
    pub core: u32,
    /// Session it belongs to.
    pub session: u64,
    /// Its number among the session's extents, from 0.
    pub sequence: u64,
    /// Logical position of its first commit.
    pub position: u64,
    /// Size of the extent in bytes, this block included.
    pub size: u64,
    /// Hash of the commit before its first one; the session number when there is none.
    pub previous_hash: u64,
}

/// What the first block of an extent turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentBlock {
    /// A header that verifies.
    Header(ExtentHeader),
    /// Zeros: the extent is free, whatever follows.
    Free,
    /// An extent of a version this code does not know.
    UnknownVersion(u32),
    /// Neither: torn while it was written, or damaged since.
    Invalid,
}

impl ExtentHeader {
    /// The header's bytes; the block is filled up with zeros.
    pub fn encode(&self) -> [u8; EXTENT_HEADER_BYTES] {
        let mut out = [0; EXTENT_HEADER_BYTES];
        out[..8].copy_from_slice(&EXTENT_MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.core.to_le_bytes());
        for (at, value) in
            [self.session, self.sequence, self.position, self.size, self.previous_hash].iter().enumerate()
        {
            out[16 + at * 8..24 + at * 8].copy_from_slice(&value.to_le_bytes());
        }
        let hash = xxh3_64(&out[..56]);
        out[56..].copy_from_slice(&hash.to_le_bytes());
        out
    }

    /// Reads the first block of an extent.
    pub fn decode(block: &[u8]) -> ExtentBlock {
        let Some(bytes) = block.first_chunk::<EXTENT_HEADER_BYTES>() else { return ExtentBlock::Invalid };
        if bytes.iter().all(|byte| *byte == 0) {
            return ExtentBlock::Free;
        }
        Self::decode_fields(bytes).unwrap_or(ExtentBlock::Invalid)
    }

    fn decode_fields(bytes: &[u8; EXTENT_HEADER_BYTES]) -> Option<ExtentBlock> {
        let mut fields = Fields(bytes);
        if fields.array::<8>()? != EXTENT_MAGIC {
            return None;
        }
        let version = fields.u32()?;
        if !(FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&version) {
            return Some(ExtentBlock::UnknownVersion(version));
        }
        let header = Self {
            core: fields.u32()?,
            session: fields.u64()?,
            sequence: fields.u64()?,
            position: fields.u64()?,
            size: fields.u64()?,
            previous_hash: fields.u64()?,
        };
        let hash = fields.u64()?;
        (hash == xxh3_64(&bytes[..56])).then_some(ExtentBlock::Header(header))
    }
}

/// The header of a commit. It verifies by itself, so its length can be trusted before its body is read, and its
/// durable position counts even when its body is torn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitHeader {
    /// Length in bytes, this header included, padding excluded.
    pub len: u32,
    /// Session it belongs to.
    pub session: u64,
    /// Logical position of its first byte.
    pub position: u64,
    /// Hash of the commit before it.
    pub previous_hash: u64,
    /// Everything below this position was known to be on the disk when this commit was issued.
    pub durable_position: u64,
    /// Number of entries.
    pub entries: u32,
    /// Hash of the bytes after this header, padding excluded.
    pub body_hash: u64,
}

impl CommitHeader {
    /// The header's bytes under `magic`, and the hash that the next commit chains to.
    pub fn encode(&self, magic: [u8; 4]) -> ([u8; COMMIT_HEADER_BYTES], u64) {
        let mut out = [0; COMMIT_HEADER_BYTES];
        out[..4].copy_from_slice(&magic);
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..16].copy_from_slice(&self.session.to_le_bytes());
        out[16..24].copy_from_slice(&self.position.to_le_bytes());
        out[24..32].copy_from_slice(&self.previous_hash.to_le_bytes());
        out[32..40].copy_from_slice(&self.durable_position.to_le_bytes());
        out[40..44].copy_from_slice(&self.entries.to_le_bytes());
        out[48..56].copy_from_slice(&self.body_hash.to_le_bytes());
        let hash = xxh3_64_with_seed(&out[..56], self.previous_hash);
        out[56..].copy_from_slice(&hash.to_le_bytes());
        (out, hash)
    }

    /// Reads a header and its hash; `None` when it does not verify by itself. Whether it continues a chain and whether
    /// its body is whole is for the caller to ask.
    pub fn decode(magic: [u8; 4], bytes: &[u8]) -> Option<(Self, u64)> {
        let bytes = bytes.first_chunk::<COMMIT_HEADER_BYTES>()?;
        let mut fields = Fields(bytes);
        if fields.array::<4>()? != magic {
            return None;
        }
        let header = Self {
            len: fields.u32()?,
            session: fields.u64()?,
            position: fields.u64()?,
            previous_hash: fields.u64()?,
            durable_position: fields.u64()?,
            entries: fields.u32()?,
            body_hash: {
                fields.u32()?;
                fields.u64()?
            },
        };
        let hash = fields.u64()?;
        let whole = header.len as usize >= COMMIT_HEADER_BYTES
            && hash == xxh3_64_with_seed(&bytes[..56], header.previous_hash);
        whole.then_some((header, hash))
    }

    /// Length on disk, padding included.
    pub fn padded_len(&self) -> u64 {
        crate::io::align_up(u64::from(self.len))
    }

    /// Whether `body` (what follows the header, padding excluded) is what was written.
    pub fn body_is_whole(&self, body: &[u8]) -> bool {
        body.len() + COMMIT_HEADER_BYTES == self.len as usize && xxh3_64(body) == self.body_hash
    }
}

/// What an entry does to its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// One record batch with its final offsets is the payload.
    Append,
    /// The log's first offset moved to the payload's eight bytes, little-endian.
    LogStart,
    /// The log is gone; the payload is empty.
    Drop,
    /// As `Append`, but the batch's whole blocks were written straight to its segment by the same commit; the payload, an
    /// [`InPlace`], has the rest.
    AppendInPlace,
}

impl EntryKind {
    fn code(self) -> u8 {
        match self {
            Self::Append => 1,
            Self::LogStart => 2,
            Self::Drop => 3,
            // 4 and 5 are reserved.
            Self::AppendInPlace => 6,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Append),
            2 => Some(Self::LogStart),
            3 => Some(Self::Drop),
            6 => Some(Self::AppendInPlace),
            _ => None,
        }
    }
}

/// What precedes an entry's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    /// What the entry does.
    pub kind: EntryKind,
    /// Whose it is.
    pub log_id: LogId,
    /// Grows when the log moves to another core.
    pub owner_epoch: u32,
    /// Byte position of the payload in its segment.
    pub segment_position: u32,
    /// Number within the log, from 1, without holes.
    pub sequence: u64,
    /// Base offset of the segment.
    pub segment_base_offset: i64,
    /// The log's next offset after this entry.
    pub next_offset: i64,
}

impl EntryHeader {
    /// The header's bytes for a payload of `payload_len` bytes.
    pub fn encode(&self, payload_len: u32) -> [u8; ENTRY_HEADER_BYTES] {
        let mut out = [0; ENTRY_HEADER_BYTES];
        out[..4].copy_from_slice(&payload_len.to_le_bytes());
        out[4] = self.kind.code();
        out[8..16].copy_from_slice(&self.log_id.0.to_le_bytes());
        out[16..20].copy_from_slice(&self.owner_epoch.to_le_bytes());
        out[20..24].copy_from_slice(&self.segment_position.to_le_bytes());
        out[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        out[32..40].copy_from_slice(&self.segment_base_offset.to_le_bytes());
        out[40..48].copy_from_slice(&self.next_offset.to_le_bytes());
        out
    }

    /// Takes one entry off the front of `body`: header, payload, and what follows the padding. `None` when the bytes
    /// are no entry, which in a commit that verified means a kind of a later version.
    pub fn decode(body: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let mut fields = Fields(body);
        let payload_len = fields.u32()? as usize;
        let [code, ..] = fields.array::<4>()?;
        let header = Self {
            kind: EntryKind::from_code(code)?,
            log_id: LogId(fields.u64()?),
            owner_epoch: fields.u32()?,
            segment_position: fields.u32()?,
            sequence: fields.u64()?,
            segment_base_offset: fields.i64()?,
            next_offset: fields.i64()?,
        };
        let payload = fields.bytes(payload_len)?;
        fields.bytes(entry_padding(payload_len))?;
        Some((header, payload, fields.0))
    }
}

/// How a batch at a byte of its segment is cut at the blocks' boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes before the first whole block.
    pub head: usize,
    /// Bytes of whole blocks; 0 when the batch holds none.
    pub blocks: usize,
    /// Bytes after the last whole block.
    pub tail: usize,
}

impl Cut {
    /// Cuts `len` bytes at `position`.
    pub fn of(position: u32, len: usize) -> Self {
        let head = (u64::from(position).next_multiple_of(ALIGN as u64) - u64::from(position)) as usize;
        let head = head.min(len);
        let blocks = (len - head) / ALIGN * ALIGN;
        Self { head, blocks, tail: len - head - blocks }
    }

    /// Bytes of an [`InPlace`] payload.
    pub fn payload_len(&self) -> usize {
        IN_PLACE_HEADER_BYTES + self.head + self.tail
    }
}

/// Bytes of an [`InPlace`] payload before the batch's own.
pub const IN_PLACE_HEADER_BYTES: usize = 16;

/// The payload of [`EntryKind::AppendInPlace`]: what the segment's blocks do not hold, and a hash of what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InPlace<'a> {
    /// How the batch is cut.
    pub cut: Cut,
    /// Hash of the bytes in whole blocks.
    pub blocks_hash: u64,
    /// The batch's bytes before its first whole block.
    pub head: &'a [u8],
    /// Its bytes after the last one.
    pub tail: &'a [u8],
}

impl<'a> InPlace<'a> {
    /// What precedes the batch's own bytes in the payload: its length and the hash.
    pub fn header(batch_len: usize, blocks: &[u8]) -> [u8; IN_PLACE_HEADER_BYTES] {
        let mut out = [0; IN_PLACE_HEADER_BYTES];
        out[..4].copy_from_slice(&(batch_len as u32).to_le_bytes());
        out[8..].copy_from_slice(&xxh3_64(blocks).to_le_bytes());
        out
    }

    /// Reads the payload of an entry at `position` of its segment; `None` when it is none.
    pub fn decode(position: u32, payload: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let len = fields.u32()? as usize;
        fields.u32()?;
        let blocks_hash = fields.u64()?;
        let cut = Cut::of(position, len);
        let (head, tail) = (fields.bytes(cut.head)?, fields.bytes(cut.tail)?);
        (fields.0.is_empty() && cut.blocks > 0).then_some(Self { cut, blocks_hash, head, tail })
    }

    /// Whether `blocks` are the bytes that were written.
    pub fn blocks_are_whole(&self, blocks: &[u8]) -> bool {
        blocks.len() == self.cut.blocks && xxh3_64(blocks) == self.blocks_hash
    }
}

/// Bytes of zero between a payload of `payload_len` bytes and the next entry.
pub const fn entry_padding(payload_len: usize) -> usize {
    payload_len.next_multiple_of(ENTRY_ALIGN) - payload_len
}

/// Bytes an entry takes in a commit.
pub const fn entry_bytes(payload_len: usize) -> usize {
    ENTRY_HEADER_BYTES + payload_len + entry_padding(payload_len)
}

/// The part of a file name before its ending: `<core>-<number>`.
pub fn parse_file_name(name: &str, ending: &str) -> Option<(u32, u64)> {
    let (core, number) = name.strip_suffix(ending)?.split_once('-')?;
    Some((core.parse().ok()?, number.parse().ok()?))
}

/// Bytes of an extent that are not commits.
pub const EXTENT_OVERHEAD_BYTES: u64 = ALIGN as u64;

#[cfg(test)]
mod tests;
