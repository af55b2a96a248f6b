//! Moving the log's first offset up: what DeleteRecords and retention do, and what a checkpoint makes of it.
//!
//! Called by the broker. The new start is a journal entry with the log's next sequence, so it survives like a batch does; the segments
//! below it go when a checkpoint has said so (`write_back`, `remains`). Deliberately absent: who asks for it, and why.

use std::rc::Rc;

use super::Log;
use super::state::{ClosedSegment, SegmentId, State};
use crate::io::Io;
use crate::journal::{AppendError, Committed, EntryHeader, EntryKind, Ticket};
use crate::types::Offset;
use crate::{Result, StorageError};

/// A log start's payload in the journal: the offset.
const PAYLOAD_BYTES: usize = size_of::<Offset>();

impl<I: Io> Log<I> {
    /// Makes `offset` the first one that can be read, and resolves with the log's start when that is durable: no crash brings
    /// back what lies below. An offset at or below the start changes nothing; it still waits for a start that is on its way.
    ///
    /// # Errors
    /// `OffsetOutOfRange` beyond what is visible; `Closed`, `DirectoryFailed`.
    pub async fn advance_log_start(self: &Rc<Self>, offset: Offset) -> Result<Offset> {
        let ticket = loop {
            self.check()?;
            let start_offset = self.log_start_offset();
            let end_offset = self.deletable_end_offset();
            if !(0..=end_offset).contains(&offset) {
                return Err(StorageError::OffsetOutOfRange { offset, start_offset, end_offset });
            }
            if offset <= start_offset {
                break self.state.borrow().log_start_ticket;
            }
            match self.append_log_start(offset) {
                Ok(ticket) => break Some(ticket),
                Err(AppendError::Refused(error)) => return Err(error),
                Err(AppendError::Full) => {
                    let _hungry = self.dir.hungry();
                    self.dir.journal.room(PAYLOAD_BYTES).await?;
                }
            }
        };
        if let Some(ticket) = ticket
            && !self.core.bugs.acknowledge_log_start_early
        {
            self.dir.journal.durable(ticket).await?;
        }
        self.check()?;
        Ok(self.log_start_offset())
    }

    /// Where the log may start at most.
    pub(super) fn deletable_end_offset(&self) -> Offset {
        match self.core.bugs.expire_undurable_records {
            true => self.log_end_offset(),
            false => self.visible_end_offset(),
        }
    }

    /// The entry and everything that follows from it, in one step.
    fn append_log_start(self: &Rc<Self>, offset: Offset) -> std::result::Result<Ticket, AppendError> {
        let mut state = self.state.borrow_mut();
        let entry = EntryHeader {
            kind: EntryKind::LogStart,
            log_id: self.identity.log_id,
            owner_epoch: self.owner_epoch,
            segment_position: 0,
            sequence: state.sequence + 1,
            segment_base_offset: state.active.base_offset,
            next_offset: state.next_offset,
        };
        let committed: Rc<dyn Committed> = self.clone();
        let ticket = self.dir.journal.append(&entry, &[&offset.to_le_bytes()], &committed)?;
        state.sequence += 1;
        state.last_ticket = Some(ticket);
        state.log_start_ticket = Some(ticket);
        state.log_start_offset = offset;
        state.leader_epochs.truncate_from_start(offset);
        // What is covered and below the start is read by nobody any more.
        let unread = offset.min(state.covered.next_offset);
        let before = state.cache.charged_bytes();
        state.cache.evict(unread);
        self.core.cache.charge(before, state.cache.charged_bytes());
        drop(state);
        self.dir.appended.set(ticket.end);
        self.list_dirty();
        Ok(ticket)
    }

    /// Whether a segment is one of the log's.
    pub(crate) fn has_segment(&self, segment: SegmentId) -> bool {
        self.state.borrow().has_segment(segment)
    }
}

impl State {
    fn has_segment(&self, id: SegmentId) -> bool {
        self.open_segments().any(|segment| segment.id() == id)
            || self.closed.iter().any(|segment| segment.id() == id)
            || self.in_making == Some(id)
    }
}

/// Those of `closed`, oldest first, that lie wholly below the log's start. `end_offset` is where the last of them ends.
pub(crate) fn below_start(
    closed: &[ClosedSegment],
    end_offset: Offset,
    log_start_offset: Offset,
) -> &[ClosedSegment] {
    let ends = closed.iter().skip(1).map(|segment| segment.base_offset).chain([end_offset]);
    let count = ends.take_while(|end| *end <= log_start_offset).count().min(closed.len());
    &closed[..count]
}
