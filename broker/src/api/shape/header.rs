//! Request headers v1 and v2 (KIP-482), read in place.
//!
//! Called by the dispatcher, and first of all: the key and version say how the rest is to be read.

use crate::api::wire::{Read, Reader};

/// A request header; borrows the client id from the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// API key.
    pub key: i16,
    /// API version.
    pub version: i16,
    /// Chosen by the client, comes back in the reply.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<&'a str>,
}

/// Reads the header and leaves `reader` at the body. `flexible` says for a key and version whether the header has
/// tagged fields (v2); `None` stops after the correlation id, for requests of which no more than that can be known.
pub fn read_header<'a>(
    reader: &mut Reader<'a>,
    flexible: impl FnOnce(i16, i16) -> Option<bool>,
) -> Read<RequestHeader<'a>> {
    let (key, version, correlation_id) = (reader.i16()?, reader.i16()?, reader.i32()?);
    let Some(flexible) = flexible(key, version) else {
        return Ok(RequestHeader { key, version, correlation_id, client_id: None });
    };
    // The client id stays a classic string in header v2, so that a broker can read it whatever the version.
    let client_id = reader.nullable_string(false)?;
    if flexible {
        reader.skip_tagged_fields()?;
    }
    Ok(RequestHeader { key, version, correlation_id, client_id })
}
