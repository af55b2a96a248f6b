//! Reading and writing of our own binary formats: little-endian integers, length-prefixed strings and lists.
//!
//! Metadata records, producer snapshots and the raft store are written with it. A reader never panics and never
//! allocates more than the bytes that are left could fill. Deliberately absent: checksums, which are the file's business.

/// Why bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("{what} needs {needed} bytes and {left} are left")]
    Truncated { what: &'static str, needed: usize, left: usize },
    /// A count that the bytes left cannot hold.
    #[error("{what} announces {count} elements of at least {element_bytes} bytes and {left} bytes are left")]
    TooMany { what: &'static str, count: usize, element_bytes: usize, left: usize },
    /// A kind of record or a version that this program does not know.
    #[error("{what} {found} is not known to this version of Corelog (known: {known}); start a newer one")]
    Unknown { what: &'static str, found: u32, known: &'static str },
    /// A value that no writer produces.
    #[error("{what} is not valid: {why}")]
    Invalid { what: &'static str, why: String },
}

/// A checked cursor over bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

macro_rules! integers {
    ($($name:ident $put:ident $type:ty),*) => {
        impl Reader<'_> {$(
            /// The next integer, little-endian.
            pub fn $name(&mut self, what: &'static str) -> Result<$type, DecodeError> {
                Ok(<$type>::from_le_bytes(self.array(what)?))
            }
        )*}
        impl Writer {$(
            /// Appends an integer, little-endian.
            pub fn $put(&mut self, value: $type) {
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
        )*}
    };
}
integers!(u8 put_u8 u8, u16 put_u16 u16, u32 put_u32 u32, u64 put_u64 u64, i16 put_i16 i16, i32 put_i32 i32, i64 put_i64 i64);

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated {
            what,
            needed: len,
            left: self.rest.len(),
        })?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated {
            what,
            needed: N,
            left: self.rest.len(),
        })?;
        self.rest = rest;
        Ok(*head)
    }

    /// A u32 length and that many bytes of UTF-8.
    pub fn string(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let len = self.u32(what)?;
        let bytes = self.bytes(len as usize, what)?;
        std::str::from_utf8(bytes).map_err(|e| DecodeError::Invalid { what, why: e.to_string() })
    }

    /// A byte 0 or 1, then a string when it is 1.
    pub fn optional_string(&mut self, what: &'static str) -> Result<Option<&'a str>, DecodeError> {
        match self.u8(what)? {
            0 => Ok(None),
            1 => Ok(Some(self.string(what)?)),
            other => Err(DecodeError::Invalid { what, why: format!("presence byte {other}") }),
        }
    }

    /// A u32 count of elements that take at least `element_bytes` each: refused before anything is allocated when
    /// the bytes left cannot hold them.
    pub fn count(&mut self, what: &'static str, element_bytes: usize) -> Result<usize, DecodeError> {
        let count = self.u32(what)? as usize;
        if count > self.left() / element_bytes.max(1) {
            return Err(DecodeError::TooMany { what, count, element_bytes, left: self.left() });
        }
        Ok(count)
    }

    /// A counted list of i32.
    pub fn i32_list(&mut self, what: &'static str) -> Result<Vec<i32>, DecodeError> {
        let count = self.count(what, 4)?;
        (0..count).map(|_| self.i32(what)).collect()
    }

    /// Refuses bytes that nobody has read.
    pub fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Invalid { what, why: format!("{left} bytes follow its end") }),
        }
    }
}

/// A growing buffer with the same vocabulary as [`Reader`].
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Hands the buffer over.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends bytes as they are.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a u32 length and the string.
    pub fn put_string(&mut self, value: &str) {
        self.put_count(value.len());
        self.put_bytes(value.as_bytes());
    }

    /// Appends a presence byte and the string.
    pub fn put_optional_string(&mut self, value: Option<&str>) {
        match value {
            None => self.put_u8(0),
            Some(value) => {
                self.put_u8(1);
                self.put_string(value);
            }
        }
    }

    /// Appends a u32 count.
    pub fn put_count(&mut self, count: usize) {
        debug_assert!(u32::try_from(count).is_ok());
        self.put_u32(count as u32);
    }

    /// Appends a counted list of i32.
    pub fn put_i32_list(&mut self, values: &[i32]) {
        self.put_count(values.len());
        for value in values {
            self.put_i32(*value);
        }
    }

    /// Writes `len` of what `write` appends as a u32 in front of it.
    pub fn put_framed(&mut self, write: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.put_u32(0);
        write(self);
        let len = (self.bytes.len() - at - 4) as u32;
        self.bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }
}
