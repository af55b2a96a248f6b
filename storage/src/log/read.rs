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
        if let Some(hot) = self.read_cached(offset, max_bytes, at_least_one)? {
            return Ok(hot);
        }
        let view = self.segment_of(offset);
        self.read_segment(view, offset, max_bytes, at_least_one).await
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
        self.check()?;
        let state = self.state.borrow();
        let (start_offset, end_offset) = (state.log_start_offset, state.next_offset);
        if offset < start_offset || offset > end_offset {
            return Err(StorageError::OffsetOutOfRange { offset, start_offset, end_offset });
        }
        let visible_end = self.visible_end.get();
        if offset >= visible_end {
            return Ok(Some(Slices { next_offset: offset, ..Slices::default() }));
        }
        Ok(state.cache.slices(offset, visible_end, max_bytes, at_least_one))
    }

    /// The segment that holds `offset`, which the cache does not hold, so that a checkpoint covers it.
    fn segment_of(&self, offset: Offset) -> SegmentView {
        let views = self.segment_views();
        let after = views.partition_point(|view| view.base_offset <= offset);
        match views.into_iter().nth(after.saturating_sub(1)) {
            Some(view) => view,
            None => unreachable!("a log always has an active segment"),
        }
    }

    /// All segments as checkpoints cover them, oldest first.
    pub(super) fn segment_views(&self) -> Vec<SegmentView> {
        let state = self.state.borrow();
        let closed = state.closed.iter().map(|segment| SegmentView {
            base_offset: segment.base_offset,
            len: segment.len,
            tail: bytes::Bytes::new(),
            open: false,
            table: None,
        });
        let open = state.open_segments().map(|segment| SegmentView {
            base_offset: segment.base_offset,
            len: segment.covered,
            tail: segment.tail.clone(),
            open: true,
            table: segment.table.clone(),
        });
        closed.chain(open).collect()
    }
}
