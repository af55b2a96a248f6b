//! A bounds-checked reader over reply bytes, as little of Kafka's wire format as the measured path needs.
//!
//! Used by the produce and fetch reply parsers. `None` means that the bytes end too early. Deliberately absent:
//! encoding, and whole messages (`cold` uses the protocol crate for those).

/// Reads big-endian fields from the front of a slice.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// Seven bits a byte, lowest first, at most five bytes.
    pub(crate) fn unsigned_varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.array::<1>()?[0];
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A compact length (of an array, a string, bytes): 0 on the wire is null.
    pub(crate) fn compact_len(&mut self) -> Option<Option<usize>> {
        Some(self.unsigned_varint()?.checked_sub(1).map(|len| len as usize))
    }

    /// A compact string or bytes; null reads as empty.
    pub(crate) fn compact_bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.compact_len()?.unwrap_or(0);
        self.bytes(len)
    }

    /// Steps over tagged fields (KIP-482).
    pub(crate) fn skip_tags(&mut self) -> Option<()> {
        for _ in 0..self.unsigned_varint()? {
            self.unsigned_varint()?;
            let len = self.unsigned_varint()? as usize;
            self.bytes(len)?;
        }
        Some(())
    }
}
