//! What cores say to each other: one request per owning core, and its reply.
//!
//! The payloads are `drive`'s tasks and outcomes. Deliberately absent: how messages travel (`mailbox`).

use std::sync::Arc;

use corelog_logic::controller::{Delta, MetadataImage};
use corelog_storage::StorageError;

use super::mailbox;
use crate::drive::tasks::{
    AppendOutcome, AppendTask, FetchOutcome, FetchTask, OffsetsOutcome, OffsetsTask, WatchTask,
};
use crate::metrics::CoreStats;

/// A request from one core (or the control thread) to the core that owns what it is about.
#[derive(Debug)]
pub enum Query {
    /// Append batches.
    Append(AppendTask),
    /// Read batches.
    Fetch(FetchTask),
    /// Answer when there is something to read.
    Watch(WatchTask),
    /// Look offsets up.
    Offsets(OffsetsTask),
    /// Take a version of the metadata over; answered when every log of it is open.
    Apply(Published),
    /// What has this core done so far?
    Stats,
    /// Close the store cleanly; answered when everything is on the disk.
    Stop,
}

/// A committed version of the metadata, with what changed since the one before.
#[derive(Debug, Clone)]
pub struct Published {
    pub image: Arc<MetadataImage>,
    pub delta: Arc<Delta>,
}

/// The answer to a [`Query`], variant by variant.
#[derive(Debug)]
pub enum Answer {
    Append(AppendOutcome),
    Fetch(FetchOutcome),
    Watched,
    Offsets(OffsetsOutcome),
    Applied(u64),
    Stats(Box<CoreStats>),
    Stopped(Result<(), StorageError>),
}

/// A message without a reply: a connection that another core accepted and hands over, as the descriptor it is.
#[derive(Debug)]
pub struct Handover {
    pub stream: std::net::TcpStream,
    /// Which of the configured listeners it came in through.
    pub listener: usize,
}

/// The mailbox with these messages: a core's end of it.
pub type Endpoint = mailbox::Endpoint<Query, Answer, Handover>;
/// An end of the mailbox on its way to its thread.
pub type Port = mailbox::Port<Query, Answer, Handover>;
