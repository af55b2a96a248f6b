//! Kafka's own encoding of messages: big-endian numbers, strings with a length in front, compact ones, tagged fields.
//!
//! Used by the records of `__consumer_offsets` only; requests go through the protocol crate in `api`. A reader never panics and never
//! reserves more than the bytes left could fill. Deliberately absent: checksums, which batches have.

/// Why a record could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A newer Kafka wrote it; Kafka skips those.
    #[error("record type {0} is not known")]
    UnknownType(i16),
    /// A newer Kafka wrote it.
    #[error("{what} version {version} is not known")]
    UnknownVersion { what: &'static str, version: i16 },
    /// The bytes do not hold what they announce.
    #[error("{0} cannot be read")]
    Malformed(&'static str),
}

/// A checked cursor over bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// Collects bytes.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

macro_rules! integers {
    ($($name:ident $put:ident $type:ty),*) => {
        impl Reader<'_> {$(
            /// The next integer, big-endian.
            pub fn $name(&mut self, what: &'static str) -> Result<$type, RecordError> {
                let (head, rest) = self.rest.split_first_chunk().ok_or(RecordError::Malformed(what))?;
                self.rest = rest;
                Ok(<$type>::from_be_bytes(*head))
            }
        )*}
        impl Writer {$(
            /// Appends an integer, big-endian.
            pub fn $put(&mut self, value: $type) {
                self.bytes.extend_from_slice(&value.to_be_bytes());
            }
        )*}
    };
}
integers!(i8 put_i8 i8, i16 put_i16 i16, i32 put_i32 i32, i64 put_i64 i64);

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(RecordError::Malformed(what))?;
        self.rest = rest;
        Ok(head)
    }

    /// 16 bytes of a UUID.
    pub fn uuid(&mut self, what: &'static str) -> Result<[u8; 16], RecordError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(RecordError::Malformed(what))?;
        self.rest = rest;
        Ok(*head)
    }

    /// Seven bits a byte, least significant first (UNSIGNED_VARINT).
    pub fn unsigned_varint(&mut self, what: &'static str) -> Result<u32, RecordError> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let (byte, rest) = self.rest.split_first().ok_or(RecordError::Malformed(what))?;
            self.rest = rest;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Malformed(what))
    }

    /// STRING.
    pub fn string(&mut self, what: &'static str) -> Result<&'a str, RecordError> {
        self.nullable_string(what)?.ok_or(RecordError::Malformed(what))
    }

    /// NULLABLE_STRING.
    pub fn nullable_string(&mut self, what: &'static str) -> Result<Option<&'a str>, RecordError> {
        match self.i16(what)? {
            -1 => Ok(None),
            len => self.utf8(usize::try_from(len).map_err(|_| RecordError::Malformed(what))?, what).map(Some),
        }
    }

    /// COMPACT_STRING.
    pub fn compact_string(&mut self, what: &'static str) -> Result<&'a str, RecordError> {
        self.compact_nullable_string(what)?.ok_or(RecordError::Malformed(what))
    }

    /// COMPACT_NULLABLE_STRING.
    pub fn compact_nullable_string(&mut self, what: &'static str) -> Result<Option<&'a str>, RecordError> {
        match self.unsigned_varint(what)? {
            0 => Ok(None),
            len => self.utf8(len as usize - 1, what).map(Some),
        }
    }

    fn utf8(&mut self, len: usize, what: &'static str) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.take(len, what)?).map_err(|_| RecordError::Malformed(what))
    }

    /// BYTES, never null.
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], RecordError> {
        let len = usize::try_from(self.i32(what)?).map_err(|_| RecordError::Malformed(what))?;
        self.take(len, what)
    }

    /// COMPACT_BYTES, never null.
    pub fn compact_bytes(&mut self, what: &'static str) -> Result<&'a [u8], RecordError> {
        let len = self.unsigned_varint(what)?.checked_sub(1).ok_or(RecordError::Malformed(what))?;
        self.take(len as usize, what)
    }

    /// The length of an ARRAY whose elements take at least `element_bytes` each.
    pub fn count(&mut self, what: &'static str, element_bytes: usize) -> Result<usize, RecordError> {
        let count = usize::try_from(self.i32(what)?).map_err(|_| RecordError::Malformed(what))?;
        self.fits(count, what, element_bytes)
    }

    /// The length of a COMPACT_ARRAY whose elements take at least `element_bytes` each.
    pub fn compact_count(&mut self, what: &'static str, element_bytes: usize) -> Result<usize, RecordError> {
        let count = self.unsigned_varint(what)?.checked_sub(1).ok_or(RecordError::Malformed(what))?;
        self.fits(count as usize, what, element_bytes)
    }

    fn fits(&self, count: usize, what: &'static str, element_bytes: usize) -> Result<usize, RecordError> {
        if count > self.left() / element_bytes.max(1) {
            return Err(RecordError::Malformed(what));
        }
        Ok(count)
    }

    /// Shows each tagged field: its tag and a reader over its bytes. Those that `visit` does not know are skipped.
    ///
    /// # Errors
    /// What does not fit, and `visit`'s own.
    pub fn tagged_fields(
        &mut self,
        mut visit: impl FnMut(u32, &mut Reader<'a>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let count = self.unsigned_varint("tagged fields")?;
        for _ in 0..count {
            let tag = self.unsigned_varint("tag")?;
            let len = self.unsigned_varint("tagged field")? as usize;
            let mut field = Reader::new(self.take(len, "tagged field")?);
            visit(tag, &mut field)?;
        }
        Ok(())
    }
}

impl Writer {
    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// 16 bytes of a UUID.
    pub fn put_uuid(&mut self, id: &[u8; 16]) {
        self.bytes.extend_from_slice(id);
    }

    /// UNSIGNED_VARINT.
    pub fn put_unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// STRING: what came in a request fits its 16-bit length.
    pub fn put_string(&mut self, value: &str) {
        debug_assert!(i16::try_from(value.len()).is_ok());
        self.put_i16(value.len() as i16);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// NULLABLE_STRING.
    pub fn put_nullable_string(&mut self, value: Option<&str>) {
        match value {
            None => self.put_i16(-1),
            Some(value) => self.put_string(value),
        }
    }

    /// COMPACT_STRING.
    pub fn put_compact_string(&mut self, value: &str) {
        self.put_unsigned_varint(value.len() as u32 + 1);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// COMPACT_NULLABLE_STRING.
    pub fn put_compact_nullable_string(&mut self, value: Option<&str>) {
        match value {
            None => self.put_unsigned_varint(0),
            Some(value) => self.put_compact_string(value),
        }
    }

    /// BYTES.
    pub fn put_bytes(&mut self, value: &[u8]) {
        self.put_i32(value.len() as i32);
        self.bytes.extend_from_slice(value);
    }

    /// COMPACT_BYTES.
    pub fn put_compact_bytes(&mut self, value: &[u8]) {
        self.put_unsigned_varint(value.len() as u32 + 1);
        self.bytes.extend_from_slice(value);
    }

    /// The length of an ARRAY.
    pub fn put_count(&mut self, count: usize) {
        self.put_i32(count as i32);
    }

    /// The length of a COMPACT_ARRAY.
    pub fn put_compact_count(&mut self, count: usize) {
        self.put_unsigned_varint(count as u32 + 1);
    }

    /// The end of a message without tagged fields.
    pub fn put_no_tagged_fields(&mut self) {
        self.put_unsigned_varint(0);
    }

    /// Tagged fields, in ascending order of their tags: each with its bytes.
    pub fn put_tagged_fields(&mut self, fields: &[(u32, Vec<u8>)]) {
        self.put_unsigned_varint(fields.len() as u32);
        for (tag, bytes) in fields {
            self.put_unsigned_varint(*tag);
            self.put_unsigned_varint(bytes.len() as u32);
            self.bytes.extend_from_slice(bytes);
        }
    }
}
