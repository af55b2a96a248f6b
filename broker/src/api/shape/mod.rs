//! The guard: walks a request along a compact table of its shape before any decoder of the `kafka-protocol` crate
//! sees it, because those reserve memory for a count from the wire and abort the process on a lying one.
//!
//! Called by the dispatcher for every request whose decoder is the crate's, and by tests and fuzzers, which learn from
//! [`walk`] where each count and length lies. It allocates nothing. Deliberately absent: what fields mean, and whether a
//! null is allowed where one is (the decoder says that). The shapes are in `table`.

mod header;
mod table;

pub use header::{RequestHeader, read_header};
pub use table::SHAPES;

use super::wire::{Read, Reader};

/// Nesting of structures and arrays in a request. Kafka's deepest request has four; this bounds the walker's stack
/// should a table entry ever be wrong.
pub const DEPTH_MAX: usize = 8;

/// Array elements and tagged fields in one request. The crate's decoders make a value of up to 200 bytes of an
/// element that takes one byte on the wire, so a frame within `socket.request.max.bytes` could ask for gigabytes.
pub const ELEMENTS_MAX: usize = 1 << 18;

/// How a field lies on the wire. Strings, bytes and arrays are compact from the request's first flexible version on.
#[derive(Debug, Clone, Copy)]
pub enum Wire {
    /// So many bytes, whatever they mean.
    Fixed(usize),
    /// A string, null or not.
    String,
    /// Bytes or records, null or not.
    Bytes,
    /// An array, null or not.
    Array(&'static Wire),
    /// Fields, then (in flexible versions) tagged fields.
    Struct(&'static [Field]),
    /// A byte: 1 before a structure, -1 for none.
    Nullable(&'static [Field]),
}

/// One field and the versions that have it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    wire: Wire,
    since: i16,
    until: i16,
    tag: Option<u32>,
}

/// A field of every version.
pub const fn field(wire: Wire) -> Field {
    Field { wire, since: 0, until: i16::MAX, tag: None }
}

impl Field {
    /// First version that has it.
    pub const fn since(mut self, version: i16) -> Self {
        self.since = version;
        self
    }

    /// Last version that has it.
    pub const fn until(mut self, version: i16) -> Self {
        self.until = version;
        self
    }

    /// It lies among the tagged fields, under this tag.
    pub const fn tagged(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    /// How it lies on the wire.
    pub const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Its tag, if it lies among the tagged fields.
    pub const fn tag(&self) -> Option<u32> {
        self.tag
    }

    /// Whether a version has it.
    pub const fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }
}

/// The shape of one API's requests, over the versions that are served.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// API key.
    pub key: i16,
    /// Kafka's name for it.
    pub name: &'static str,
    /// First version of the table's entry.
    pub min: i16,
    /// Last version of the table's entry.
    pub max: i16,
    /// First version with compact lengths, tagged fields and request header v2.
    pub flexible: i16,
    /// The body.
    pub fields: &'static [Field],
}

impl Shape {
    /// The shape of an API's requests, if the table has it.
    pub fn of(key: i16) -> Option<&'static Shape> {
        SHAPES.iter().find(|shape| shape.key == key)
    }
}

/// How a count or length is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// INT16, before a classic string.
    Int16,
    /// INT32, before a classic array or bytes.
    Int32,
    /// UNSIGNED_VARINT.
    Varint,
}

/// Where a count or length lies in a body. Tests overwrite these one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Position of its first byte.
    pub start: usize,
    /// Position after its last byte.
    pub end: usize,
    /// How it is written.
    pub prefix: Prefix,
}

/// Checks a body: every count and length against the bytes left, and the nesting. Bytes behind the last field are not looked at,
/// as in Kafka.
pub fn check(shape: &Shape, version: i16, body: &[u8]) -> Read<()> {
    walk(shape, version, body, |_| {})
}

/// [`check`], which also tells `visit` where each count and length lies.
pub fn walk(shape: &Shape, version: i16, body: &[u8], visit: impl FnMut(Mark)) -> Read<()> {
    let mut walker = Walker { version, flexible: version >= shape.flexible, elements: 0, visit };
    let mut reader = Reader::new(body);
    walker.fields(&mut reader, shape.fields, 0)
}

struct Walker<F> {
    version: i16,
    flexible: bool,
    elements: usize,
    visit: F,
}

impl<F: FnMut(Mark)> Walker<F> {
    fn fields(&mut self, reader: &mut Reader<'_>, fields: &'static [Field], depth: usize) -> Read<()> {
        if depth > DEPTH_MAX {
            return Err(reader.malformed("structures are nested too deeply"));
        }
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.is_in(version)) {
            self.value(reader, &field.wire, depth)?;
        }
        if self.flexible {
            self.tagged_fields(reader, fields, depth)?;
        }
        Ok(())
    }

    fn tagged_fields(&mut self, reader: &mut Reader<'_>, fields: &'static [Field], depth: usize) -> Read<()> {
        let count = self.mark(reader, Prefix::Varint, Reader::varint)? as usize;
        // A tag and a length take two bytes.
        reader.check_count(count, 2)?;
        self.admit(reader, count)?;
        for _ in 0..count {
            let tag = reader.varint()?;
            let len = self.mark(reader, Prefix::Varint, Reader::varint)? as usize;
            reader.check_count(len, 1)?;
            let end = reader.position() + len;
            match fields.iter().find(|field| field.tag == Some(tag) && field.is_in(self.version)) {
                Some(field) => self.value(reader, &field.wire, depth + 1)?,
                None => drop(reader.take(len)?),
            }
            if reader.position() != end {
                return Err(reader.malformed("a tagged field's length is not that of its value"));
            }
        }
        Ok(())
    }

    fn value(&mut self, reader: &mut Reader<'_>, wire: &'static Wire, depth: usize) -> Read<()> {
        let flexible = self.flexible;
        match wire {
            Wire::Fixed(len) => drop(reader.take(*len)?),
            Wire::String => {
                let prefix = if flexible { Prefix::Varint } else { Prefix::Int16 };
                let len = self.mark(reader, prefix, |reader| reader.string_len(flexible))?;
                reader.take(len.unwrap_or(0))?;
            }
            Wire::Bytes => {
                let len = self.mark(reader, self.long_prefix(), |reader| reader.long_len(flexible))?;
                reader.take(len.unwrap_or(0))?;
            }
            Wire::Array(element) => {
                let count =
                    self.mark(reader, self.long_prefix(), |reader| reader.long_len(flexible))?.unwrap_or(0);
                // No element is shorter than a byte, so the loop below ends with the frame at the latest.
                reader.check_count(count, 1)?;
                self.admit(reader, count)?;
                for _ in 0..count {
                    self.value(reader, element, depth + 1)?;
                }
            }
            Wire::Struct(fields) => self.fields(reader, fields, depth + 1)?,
            Wire::Nullable(fields) => match reader.i8()? {
                -1 => {}
                1 => self.fields(reader, fields, depth + 1)?,
                _ => return Err(reader.malformed("a structure is neither there (1) nor null (-1)")),
            },
        }
        Ok(())
    }

    /// Counts elements towards [`ELEMENTS_MAX`].
    fn admit(&mut self, reader: &Reader<'_>, count: usize) -> Read<()> {
        self.elements += count;
        if self.elements > ELEMENTS_MAX {
            return Err(reader.malformed("it has more than 262144 array elements and tagged fields"));
        }
        Ok(())
    }

    const fn long_prefix(&self) -> Prefix {
        if self.flexible { Prefix::Varint } else { Prefix::Int32 }
    }

    fn mark<'a, T>(
        &mut self,
        reader: &mut Reader<'a>,
        prefix: Prefix,
        read: impl FnOnce(&mut Reader<'a>) -> Read<T>,
    ) -> Read<T> {
        let start = reader.position();
        let value = read(reader)?;
        (self.visit)(Mark { start, end: reader.position(), prefix });
        Ok(value)
    }
}
