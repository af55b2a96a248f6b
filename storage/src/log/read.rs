//! Reading batches by offset: at once from the tail cache, else from a segment.
//!
//! Called by fetches. Never past the visible end, never below the log start. Deliberately absent: waiting for more (`Log::watch`)
//! and isolation levels.

use std::rc::Rc;

use super::Log;
use super::tables::SegmentView;
use super::tail::Slices;
use crate::io::Io;
use crate::types::Offset;
use crate::{Result, StorageError};

impl<I: Io> Log<I> {
    /// Whole visible batches from the one that holds `offset` on, at most `max_bytes`, but one at least whatever its size when
    /// `at_least_one` is set. Empty at the end. A cold read may return less than there is.
    ///
    /// # Errors
    /// `OffsetOutOfRange`; `Corrupt` when the disk gives back other bytes than were written; `Closed`, `DirectoryFailed`, `Io`.
    pub async fn read(
        self: &Rc<Self>,
        offset: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Slices> {
        self.check_range(offset)?;
        let mut from = offset;
        loop {
            if let Some(hot) = self.read_cached(from, max_bytes, at_least_one)? {
                return Ok(hot);
            }
            let (view, end_offset) = self.segment_of(from);
            let id = view.id;
            match self.read_segment(view, from, max_bytes, at_least_one).await {
                Ok(Some(slices)) => return Ok(slices),
                // Compaction left nothing from here to the end of the segment.
                Ok(None) => from = end_offset.max(from),
                // It was removed, or written anew, under the read.
                Err(_) if !self.has_segment(id) => self.check_range(offset)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Self::read`], but None instead of waiting for the disk.
    ///
    /// # Errors
    /// `OffsetOutOfRange`, `Closed`, `DirectoryFailed`.
    pub fn read_cached(
        &self,
        offset: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Option<Slices>> {
        self.check_range(offset)?;
        let state = self.state.borrow();
        let visible_end = self.visible_end.get();
        if offset >= visible_end {
            return Ok(Some(Slices { next_offset: offset, ..Slices::default() }));
        }
        Ok(state.cache.slices(offset, visible_end, max_bytes, at_least_one))
    }

    fn check_range(&self, offset: Offset) -> Result<()> {
        self.check()?;
        let state = self.state.borrow();
        let (start_offset, end_offset) = (state.log_start_offset, state.next_offset);
        if (start_offset..=end_offset).contains(&offset) {
            return Ok(());
        }
        Err(StorageError::OffsetOutOfRange { offset, start_offset, end_offset })
    }

    /// The segment that holds `offset`, which the cache does not hold, so that a checkpoint covers it; and where it ends.
    fn segment_of(&self, offset: Offset) -> (SegmentView, Offset) {
        let mut views = self.segment_views();
        let at = views.partition_point(|view| view.id.base_offset <= offset).saturating_sub(1);
        let end_offset = views.get(at + 1).map_or(self.log_end_offset(), |next| next.id.base_offset);
        (views.swap_remove(at), end_offset)
    }

    /// All segments as checkpoints cover them, oldest first.
    pub(super) fn segment_views(&self) -> Vec<SegmentView> {
        let state = self.state.borrow();
        let closed = state.closed.iter().map(SegmentView::of_closed);
        let open = state.open_segments().map(|segment| SegmentView {
            id: segment.id(),
            len: segment.covered,
            tail: segment.tail.clone(),
            open: true,
            table: segment.table.clone(),
        });
        closed.chain(open).collect()
    }
}
