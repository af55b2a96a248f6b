//! Follows the batches of a segment through bytes that come in order, in pieces of any size: headers, the chain of offsets, CRCs.
//!
//! Pure; used by `check`. Holds one header at most. Who loses the way in damaged bytes is told where the next batch starts.
//! Deliberately absent: the records in a batch, and hashes.

use crate::batch::{BatchHeader, CrcOfPieces, HEADER_BYTES};
use crate::types::Offset;

/// What is wrong with a batch, and where that starts in the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Astray {
    pub(super) position: u64,
    pub(super) what: String,
}

#[derive(Debug)]
enum At {
    /// In a header, of which these bytes have come.
    Header(Vec<u8>),
    /// Behind the header of the batch that starts there; so many bytes of it are to come.
    Records { start: u64, left: usize, crc: CrcOfPieces },
    /// Somewhere in a batch that is not known.
    Lost,
}

/// A walk over the batches of one segment.
#[derive(Debug)]
pub(super) struct BatchWalk {
    /// The segment's length.
    len: u64,
    /// Whether compaction may have left holes between the offsets.
    holes: bool,
    /// Of the next byte.
    position: u64,
    /// The next batch begins with it, or above it where there may be holes.
    next_offset: Offset,
    at: At,
}

impl BatchWalk {
    /// Starts at the first byte of a segment of `len` bytes.
    pub(super) fn new(base_offset: Offset, len: u64, holes: bool) -> Self {
        Self { len, holes, position: 0, next_offset: base_offset, at: At::Header(Vec::new()) }
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self.at, At::Lost)
    }

    /// Passes over bytes that cannot be believed, and does not know where in a batch it is then.
    pub(super) fn lose(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.at = At::Lost;
    }

    /// Goes on at the start of a batch.
    pub(super) fn resume(&mut self, position: u64, base_offset: Offset) {
        (self.position, self.next_offset, self.at) = (position, base_offset, At::Header(Vec::new()));
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The first batch that is not sound; the walk is lost then.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Astray> {
        while !bytes.is_empty() {
            let before = bytes.len();
            let step = match &mut self.at {
                At::Lost => {
                    bytes = &[];
                    Ok(None)
                }
                At::Header(header) => {
                    let wanted = HEADER_BYTES - header.len();
                    let (now, rest) = bytes.split_at(wanted.min(bytes.len()));
                    header.extend_from_slice(now);
                    bytes = rest;
                    if header.len() == HEADER_BYTES {
                        let header = std::mem::take(header);
                        self.begin(&header, self.position + now.len() as u64).map(Some)
                    } else {
                        Ok(None)
                    }
                }
                At::Records { left, crc, .. } => {
                    let (now, rest) = bytes.split_at((*left).min(bytes.len()));
                    crc.update(now);
                    *left -= now.len();
                    bytes = rest;
                    Ok(None)
                }
            };
            self.position += (before - bytes.len()) as u64;
            let step = step.and_then(|begun| {
                if let Some(begun) = begun {
                    self.at = begun;
                }
                self.end_if_whole()
            });
            if let Err(astray) = step {
                self.at = At::Lost;
                return Err(astray);
            }
        }
        Ok(())
    }

    /// Looks at a whole header that ends at `end`.
    fn begin(&mut self, bytes: &[u8], end: u64) -> Result<At, Astray> {
        let start = end - HEADER_BYTES as u64;
        let astray = |what: String| Astray { position: start, what };
        let header = BatchHeader::parse(bytes).map_err(|error| astray(error.to_string()))?;
        let (expected, found) = (self.next_offset, header.base_offset);
        if found < expected || (found > expected && !self.holes) {
            return Err(astray(format!("offset {expected} should follow here and {found} does")));
        }
        let left = header.total_len() - HEADER_BYTES;
        if end + left as u64 > self.len {
            let (end, len) = (end + left as u64, self.len);
            return Err(astray(format!("a batch reaches to byte {end}, the segment has {len}")));
        }
        let mut crc = CrcOfPieces::new(&header);
        crc.update(bytes);
        self.next_offset = header.next_offset();
        Ok(At::Records { start, left, crc })
    }

    fn end_if_whole(&mut self) -> Result<(), Astray> {
        let At::Records { start, left: 0, crc } = &self.at else { return Ok(()) };
        crc.check().map_err(|error| Astray { position: *start, what: error.to_string() })?;
        self.at = At::Header(Vec::new());
        Ok(())
    }

    /// Ends the walk, at the segment's last byte.
    ///
    /// # Errors
    /// When that is inside a batch.
    pub(super) fn finish(self) -> Result<(), Astray> {
        let start = match self.at {
            At::Lost => return Ok(()),
            At::Header(header) if header.is_empty() => return Ok(()),
            At::Header(header) => self.position - header.len() as u64,
            At::Records { start, .. } => start,
        };
        Err(Astray {
            position: start,
            what: format!("the segment ends inside a batch, at {}", self.position),
        })
    }
}
