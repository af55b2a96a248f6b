//! Splits bytes that hold batches one after the other: a produce request's records, a fetched range, a piece of a segment.
//!
//! Looks at the headers only. Deliberately absent: CRCs and records (see `validate`).

use super::error::BatchError;
use super::header::BatchHeader;

/// One whole batch inside a larger range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSlice<'a> {
    /// Where it starts in the range.
    pub position: usize,
    /// Its header.
    pub header: BatchHeader,
    /// Its bytes, `header.total_len()` of them.
    pub bytes: &'a [u8],
}

/// Iterates over whole batches. Ends at the end of the bytes or after the first error; a batch that is cut off is
/// [`BatchError::Truncated`].
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Batches<'a> {
    /// Over `bytes`, which start with a batch.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Where the next batch starts: after an error, the end of the last whole one.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchSlice<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.position..).filter(|rest| !rest.is_empty())?;
        let position = self.position;
        let whole = BatchHeader::parse(rest).and_then(|header| {
            let needed = header.total_len();
            let bytes = rest.get(..needed).ok_or(BatchError::Truncated { len: rest.len(), needed })?;
            Ok(BatchSlice { position, header, bytes })
        });
        match &whole {
            Ok(batch) => self.position += batch.bytes.len(),
            Err(_) => self.bytes = &[],
        }
        Some(whole)
    }
}
