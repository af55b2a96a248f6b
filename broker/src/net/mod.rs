//! Sockets, connections and frames: bytes in, requests out; replies in, bytes out, in order.
//!
//! `boot` starts a server per core; each frame goes to the [`Service`] that `api` implements. Deliberately absent:
//! what the bytes mean. Frames are opaque here but for their length.

pub use crate::api::service;

pub use service::{Answer, ConnectionInfo, Dispatched, Reply, Service};
