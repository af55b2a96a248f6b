//! Kafka's primitive types read from and written to bytes, every length checked against the bytes that are left.
//!
//! Used by the guard (`shape`) and by the hot codecs (`00_produce`, `01_fetch`), which must neither trust a length
//! nor copy. Deliberately absent: structures, versions' meanings, and everything the `kafka-protocol` crate does well
//! once the guard has looked at a frame.

use bytes::{BufMut, BytesMut};

/// Why a request cannot be what it says it is. The connection is closed with this in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed request at byte {position}: {what}")]
pub struct Malformed {
    /// Byte position from the start of what was read (header or body).
    pub position: usize,
    /// What did not fit.
    pub what: &'static str,
}

/// Shorthand for reading outside bytes.
pub type Read<T> = Result<T, Malformed>;

/// A cursor over outside bytes. Reading never allocates and never panics.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many bytes were consumed.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// An error at the current position.
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { position: self.position, what }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let end = self.position.checked_add(len).filter(|end| *end <= self.bytes.len());
        match end.and_then(|end| self.bytes.get(self.position..end)) {
            Some(bytes) => {
                self.position += len;
                Ok(bytes)
            }
            None => Err(self.malformed("it ends in the middle of a field")),
        }
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut value = [0; N];
        value.copy_from_slice(self.take(N)?);
        Ok(value)
    }

    /// INT8.
    pub fn i8(&mut self) -> Read<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// INT16.
    pub fn i16(&mut self) -> Read<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// INT32.
    pub fn i32(&mut self) -> Read<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// INT64.
    pub fn i64(&mut self) -> Read<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// UUID: 16 bytes.
    pub fn uuid(&mut self) -> Read<[u8; 16]> {
        self.array()
    }

    /// UNSIGNED_VARINT: at most five bytes, at most 2^32 - 1.
    pub fn varint(&mut self) -> Read<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                return Err(self.malformed("a varint exceeds 32 bits"));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed("a varint exceeds 32 bits"))
    }

    /// The length before a (compact) string, `None` for null. Not yet compared with the bytes left.
    pub fn string_len(&mut self, flexible: bool) -> Read<Option<usize>> {
        if flexible {
            return self.compact_len();
        }
        match self.i16()? {
            -1 => Ok(None),
            len => {
                usize::try_from(len).map(Some).map_err(|_| self.malformed("a string's length is negative"))
            }
        }
    }

    /// The length before (compact) bytes or the count before a (compact) array, `None` for null.
    pub fn long_len(&mut self, flexible: bool) -> Read<Option<usize>> {
        if flexible {
            return self.compact_len();
        }
        match self.i32()? {
            -1 => Ok(None),
            len => {
                usize::try_from(len).map(Some).map_err(|_| self.malformed("a length or count is negative"))
            }
        }
    }

    fn compact_len(&mut self) -> Read<Option<usize>> {
        Ok((self.varint()? as usize).checked_sub(1))
    }

    /// (COMPACT_)NULLABLE_STRING, valid UTF-8.
    pub fn nullable_string(&mut self, flexible: bool) -> Read<Option<&'a str>> {
        let Some(len) = self.string_len(flexible)? else { return Ok(None) };
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| self.malformed("a string is not UTF-8"))
    }

    /// (COMPACT_)STRING, valid UTF-8; null is refused.
    pub fn string(&mut self, flexible: bool) -> Read<&'a str> {
        self.nullable_string(flexible)?
            .ok_or_else(|| self.malformed("a string that must not be null is null"))
    }

    /// The count of a (COMPACT_)ARRAY that must not be null, each of whose elements takes at least `min_len` bytes:
    /// a count that the bytes left cannot hold is refused before anything is reserved for it.
    pub fn count(&mut self, flexible: bool, min_len: usize) -> Read<usize> {
        let count = self
            .long_len(flexible)?
            .ok_or_else(|| self.malformed("an array that must not be null is null"))?;
        self.check_count(count, min_len)?;
        Ok(count)
    }

    /// Refuses a count of elements of at least `min_len` bytes that the bytes left cannot hold.
    pub fn check_count(&self, count: usize, min_len: usize) -> Read<()> {
        match count.checked_mul(min_len) {
            Some(len) if len <= self.remaining() => Ok(()),
            _ => Err(self.malformed("an array's count exceeds the bytes that are left")),
        }
    }

    /// The tagged fields of a flexible structure: `visit` gets each tag with a reader over exactly its bytes.
    pub fn tagged_fields(&mut self, mut visit: impl FnMut(u32, &mut Reader<'a>) -> Read<()>) -> Read<()> {
        let count = self.varint()? as usize;
        self.check_count(count, 2)?;
        for _ in 0..count {
            let tag = self.varint()?;
            let len = self.varint()? as usize;
            let start = self.position;
            self.take(len)?;
            let Some(upto) = self.bytes.get(..start + len) else {
                return Err(self.malformed("a tagged field exceeds the bytes that are left"));
            };
            let mut field = Reader { bytes: upto, position: start };
            visit(tag, &mut field)?;
        }
        Ok(())
    }

    /// Steps over the tagged fields of a flexible structure.
    pub fn skip_tagged_fields(&mut self) -> Read<()> {
        self.tagged_fields(|_, _| Ok(()))
    }
}

/// What writing to a reply needs beyond [`BufMut`].
pub trait WriteWire: BufMut {
    /// UNSIGNED_VARINT.
    fn put_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.put_u8(value as u8);
    }

    /// (COMPACT_)STRING. Strings in replies are names, hosts and messages: far below either form's limit.
    fn put_string(&mut self, flexible: bool, value: &str) {
        // A classic string ends at 32767 bytes; a longer one is cut at a character rather than sent with a lying length.
        let value = if flexible { value } else { prefix(value, i16::MAX as usize) };
        if flexible {
            self.put_varint(value.len() as u32 + 1);
        } else {
            self.put_i16(value.len() as i16);
        }
        self.put_slice(value.as_bytes());
    }

    /// (COMPACT_)NULLABLE_STRING.
    fn put_nullable_string(&mut self, flexible: bool, value: Option<&str>) {
        match value {
            Some(value) => self.put_string(flexible, value),
            None if flexible => self.put_varint(0),
            None => self.put_i16(-1),
        }
    }

    /// The count of a (COMPACT_)ARRAY, or the length of (COMPACT_)BYTES.
    fn put_count(&mut self, flexible: bool, count: usize) {
        if flexible { self.put_varint(count as u32 + 1) } else { self.put_i32(count as i32) }
    }

    /// No tagged fields, when the version has them at all.
    fn put_no_tags(&mut self, flexible: bool) {
        if flexible {
            self.put_u8(0);
        }
    }
}

impl WriteWire for BytesMut {}
impl WriteWire for Vec<u8> {}

fn prefix(value: &str, len_max: usize) -> &str {
    let mut end = value.len().min(len_max);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default()
}
