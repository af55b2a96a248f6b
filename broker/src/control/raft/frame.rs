//! The bytes of one file of the raft log: a header, then frames, each a group of entries that became durable together.
//!
//! Pure: bytes in, frames out. A frame is flushed, then a mark behind it is written and flushed, and only then is it
//! acknowledged. So a broken frame with a mark is corruption, and one without is a torn tail: there is no case that could be either.
//!
//! File header: `8 magic, u32 version, u32 zero, u64 first index, u64 file id (random), u64 hash`. Frame: `u32 magic, u32 length, u64
//! position, u64 hash (seeded with the one before), entries`, mark: `8 magic, u64 hash of file id, position and length`.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Format version of the files of the log.
pub(super) const VERSION: u32 = 1;
pub(super) const FILE_HEADER_BYTES: usize = 40;
const FILE_MAGIC: &[u8; 8] = b"CLRAFTLG";
const FRAME_HEADER_BYTES: usize = 24;
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"CLRF");
const MARK_MAGIC: &[u8; 8] = b"CLFRDRBL";
const MARK_BYTES: usize = 16;

/// Where and on what the next frame of a file is chained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    file_id: u64,
    position: u64,
    hash: u64,
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) first_index: u64,
    /// Entries of each frame, encoded, and the frame's position.
    pub(super) frames: Vec<(u64, &'a [u8])>,
    /// The end of the last whole frame: what follows is torn and must be cut.
    pub(super) chain: Chain,
    /// The last frame has no mark; this is the one it must get.
    pub(super) missing_mark: Option<[u8; MARK_BYTES]>,
}

/// Why a file cannot be trusted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Of a version that is not known.
    Version(u32),
    /// Bytes at this position are not what was written.
    At(usize, &'static str),
}

/// The header of a new file, and the chain of its first frame.
pub(super) fn file_header(first_index: u64, file_id: u64) -> ([u8; FILE_HEADER_BYTES], Chain) {
    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[..8].copy_from_slice(FILE_MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&first_index.to_le_bytes());
    bytes[24..32].copy_from_slice(&file_id.to_le_bytes());
    let hash = xxh3_64(&bytes[..32]);
    bytes[32..].copy_from_slice(&hash.to_le_bytes());
    (bytes, Chain { file_id, position: FILE_HEADER_BYTES as u64, hash })
}

impl Chain {
    /// Where the next frame goes, in bytes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next frame around `entries`, the mark to be written behind it when it is durable, and the chain after both.
    pub(super) fn frame(&self, entries: &[u8]) -> (Vec<u8>, [u8; MARK_BYTES], Self) {
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + entries.len());
        bytes.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
        bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.position.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(entries);
        let hash = xxh3_64_with_seed(&bytes, self.hash);
        bytes[16..24].copy_from_slice(&hash.to_le_bytes());
        let mark = self.mark(entries.len());
        let position = self.position + (bytes.len() + MARK_BYTES) as u64;
        (bytes, mark, Self { position, hash, ..*self })
    }

    fn mark(&self, entries_len: usize) -> [u8; MARK_BYTES] {
        let mut hashed = [0; 16];
        hashed[..8].copy_from_slice(&self.position.to_le_bytes());
        hashed[8..].copy_from_slice(&(entries_len as u64).to_le_bytes());
        let mut mark = [0; MARK_BYTES];
        mark[..8].copy_from_slice(MARK_MAGIC);
        mark[8..].copy_from_slice(&xxh3_64_with_seed(&hashed, self.file_id).to_le_bytes());
        mark
    }

    /// The entries of the frame that should start `rest`, if it is whole, and the chain after it.
    fn parse<'a>(&self, rest: &'a [u8]) -> Option<(&'a [u8], Self)> {
        let header: &[u8; FRAME_HEADER_BYTES] = rest.first_chunk()?;
        let magic = u32::from_le_bytes(*header.first_chunk()?);
        let len = u32::from_le_bytes(*header[4..].first_chunk()?) as usize;
        let position = u64::from_le_bytes(*header[8..].first_chunk()?);
        let hash = u64::from_le_bytes(*header[16..].first_chunk()?);
        let entries = rest.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES.checked_add(len)?)?;
        if magic != FRAME_MAGIC || position != self.position {
            return None;
        }
        let mut unhashed = *header;
        unhashed[16..].fill(0);
        let mut hasher = xxhash_rust::xxh3::Xxh3::with_seed(self.hash);
        hasher.update(&unhashed);
        hasher.update(entries);
        (hasher.digest() == hash).then_some(())?;
        let position = self.position + (FRAME_HEADER_BYTES + len + MARK_BYTES) as u64;
        Some((entries, Self { position, hash, ..*self }))
    }

    /// Whether `rest`, which should start with a frame, holds the mark of that frame at any length.
    fn was_durable(&self, rest: &[u8]) -> bool {
        (FRAME_HEADER_BYTES..rest.len()).any(|at| {
            let mark = rest[at..].first_chunk::<MARK_BYTES>();
            mark.is_some_and(|m| m.starts_with(MARK_MAGIC) && *m == self.mark(at - FRAME_HEADER_BYTES))
        })
    }
}

/// Reads a whole file of the log.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Broken> {
    let header: &[u8; FILE_HEADER_BYTES] =
        bytes.first_chunk().ok_or(Broken::At(0, "the file is shorter than its header"))?;
    if !header.starts_with(FILE_MAGIC) {
        return Err(Broken::At(0, "it does not begin like a raft log of Corelog"));
    }
    let number = |at: usize| header[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    if xxh3_64(&header[..32]) != number(32) {
        return Err(Broken::At(32, "the header does not match its checksum"));
    }
    let version = header[8..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
    if version != VERSION {
        return Err(Broken::Version(version));
    }
    let first_index = number(16);
    let mut chain = file_header(first_index, number(24)).1;
    let mut frames = Vec::new();
    let mut missing_mark = None;
    while let Some(rest) = bytes.get(chain.position as usize..).filter(|rest| !rest.is_empty()) {
        let position = chain.position as usize;
        let Some((entries, next)) = chain.parse(rest) else {
            if chain.was_durable(rest) {
                return Err(Broken::At(position, "an acknowledged frame does not match its checksum"));
            }
            break;
        };
        if missing_mark.is_some() {
            return Err(Broken::At(position, "the frame before this one has no valid mark"));
        }
        let mark = chain.mark(entries.len());
        if rest.get(FRAME_HEADER_BYTES + entries.len()..).and_then(|r| r.first_chunk()) != Some(&mark) {
            missing_mark = Some(mark);
        }
        frames.push((chain.position, entries));
        chain = next;
    }
    Ok(Parsed { first_index, frames, chain, missing_mark })
}
