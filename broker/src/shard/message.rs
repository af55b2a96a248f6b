//! What cores say to each other: one request per owning core, and its reply.
//!
//! The payloads are `drive`'s tasks and outcomes. Deliberately absent: how messages travel (`mailbox`).

use std::sync::Arc;

use corelog_logic::controller::{Delta, MetadataImage};
use corelog_storage::StorageError;

use super::balance::Handover;
use super::mailbox;
use crate::drive::tasks::{
    AppendOutcome, AppendTask, DeleteRecordsOutcome, DeleteRecordsTask, FetchOutcome, FetchTask,
    GroupOutcome, GroupTask, InspectTask, Inspected, OffsetsOutcome, OffsetsTask, WatchOutcome, WatchTask,
};
use crate::metrics::CoreStats;

/// A request from one core to the core that owns what it is about.
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
    /// Ask the groups of one partition.
    Group(Box<GroupTask>),
    /// Tell about partitions.
    Inspect(InspectTask),
    /// Delete records below an offset.
    DeleteRecords(DeleteRecordsTask),
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
    Watched(WatchOutcome),
    Offsets(OffsetsOutcome),
    Group(Box<GroupOutcome>),
    Inspected(Inspected),
    DeleteRecords(DeleteRecordsOutcome),
}

/// A message without a reply.
pub enum Notice {
    /// A connection that another core accepted.
    Connection(Handover),
    /// A version of the metadata to take over; the core says so to the controller when it has.
    Metadata(Published),
    /// A client of this core's fetch session went on elsewhere.
    EndFetchSession(i32),
    /// A log directory, by its index, has failed for another core.
    DirectoryFailed(usize, StorageError),
    /// Somebody wants this core's counters.
    Stats(Box<dyn FnOnce(CoreStats) + Send>),
}

/// The mailbox with these messages: a core's end of it.
pub type Endpoint = mailbox::Endpoint<Query, Answer, Notice>;
/// An end of the mailbox on its way to its thread.
pub type Port = mailbox::Port<Query, Answer, Notice>;
/// A way to send notices from any thread.
pub type Notifier = mailbox::Notifier<Query, Answer, Notice>;
