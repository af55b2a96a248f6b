//! Sockets, connections and frames: bytes in, requests out; replies in, bytes out, in order.
//!
//! `boot` starts a server per core; each frame goes to the [`Service`] that `api` implements. Deliberately absent:
//! what the bytes mean. Frames are opaque here but for their length.

mod connection;
mod frame;
pub mod listener;
mod partial;
mod reply;
pub mod server;
pub mod settings;

pub use crate::api::service::{Answer, ConnectionInfo, Dispatched, Reply, Service};
pub use listener::{BindError, BoundListener, CoreListener, SocketBuffers};
pub use server::{HandOver, Server, ServerParts};
pub use settings::{CloseReason, NetSettings, NetSnapshot};
