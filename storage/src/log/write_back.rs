//! Writing back one log: whole blocks gathered from the tail cache, and what the next checkpoint will say of it.
//!
//! Called by `store::round`, which flushes, commits the checkpoint and then calls `cover`. A log is written back by one
//! task at a time, and not while it is being deleted. Nothing here flushes.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::files::Part;
use super::gate::Pass;
use super::state::{ClosedSegment, Covered};
use super::{Log, tail::TailCache};
use crate::Result;
use crate::io::{ALIGN, File, Io, OpenMode, TRANSFER_BYTES_MAX, align_down, align_up};
use crate::journal::Ticket;
use crate::segment::BlockTable;
use crate::types::Offset;

/// One segment's share of a write-back.
pub(crate) struct Part0 {
    base_offset: Offset,
    /// Covered by the last checkpoint, in bytes.
    from: u64,
    /// Covered by the next one.
    to: u64,
    max_timestamp: i64,
    /// Rolled: written to its last byte and cut to its exact length.
    ends: bool,
    /// The bytes below `from` that are in no whole block.
    tail: Bytes,
    table: Rc<BlockTable>,
}

/// What one write-back did, to be named in a checkpoint once it is flushed.
pub(crate) struct Written<I: Io> {
    pub(crate) log: Rc<Log<I>>,
    /// What the checkpoint will say.
    pub(crate) covered: Covered,
    /// Segments that end with it.
    pub(crate) closed: Vec<ClosedSegment>,
    /// Journal position after the last entry covered.
    pub(crate) ticket: Option<Ticket>,
    /// Files that were written.
    pub(crate) files: Vec<Rc<I::File>>,
    /// Whether a file may be new in the log's directory.
    pub(crate) new_file: bool,
    /// Bytes that are covered anew.
    pub(crate) bytes: u64,
    parts: Vec<Part0>,
    _turn: Pass,
}
