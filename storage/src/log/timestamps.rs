//! Finding offsets by time, exact to the record, for ListOffsets.
//!
//! Segments and batches are passed over by their largest timestamps; only the batch that holds the answer is opened. Visible
//! records only. Deliberately absent: the special timestamps of the protocol, which are other questions.

use std::rc::Rc;

use super::Log;
use crate::batch;
use crate::io::Io;
use crate::types::Offset;
use crate::{Result, StorageError};

/// Why a search among the segments came to no end.
enum Searched {
    /// A segment was removed, or written anew, under it.
    Gone,
    Failed(StorageError),
}

impl<I: Io> Log<I> {
    /// The first record whose timestamp is at least `target_ms`: its offset and timestamp.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn offset_for_timestamp(self: &Rc<Self>, target_ms: i64) -> Result<Option<(Offset, i64)>> {
        let mut offset_min = self.log_start_offset();
        let mut searched_end = None;
        loop {
            self.check()?;
            let covered_end = self.state.borrow().covered.next_offset;
            match self.find_covered(target_ms, offset_min).await {
                Ok(None) => {}
                // Another search among the segments that there are now.
                Err(Searched::Gone) => continue,
                Ok(found) => return Ok(found),
                Err(Searched::Failed(error)) => return Err(error),
            }
            // What was covered meanwhile is still in the cache, or was evicted and lies between.
            if self.cache_reaches_back_to(covered_end) {
                return self.find_in_cache(target_ms, offset_min);
            }
            // Only what a checkpoint covers is evicted, so there is more to search each time.
            assert!(searched_end < Some(covered_end), "{self:?}: offset {covered_end} left the cache early");
            searched_end = Some(covered_end);
            offset_min = offset_min.max(covered_end);
        }
    }

    async fn find_covered(
        self: &Rc<Self>,
        target_ms: i64,
        offset_min: Offset,
    ) -> std::result::Result<Option<(Offset, i64)>, Searched> {
        for (view, max_timestamp) in self.segment_views().into_iter().zip(self.covered_max_timestamps()) {
            if view.len > 0 && max_timestamp >= target_ms {
                let id = view.id;
                match self.find_in_segment(view, target_ms, offset_min).await {
                    Ok(None) => {}
                    Ok(found) => return Ok(found),
                    Err(_) if self.check().is_ok() && !self.has_segment(id) => return Err(Searched::Gone),
                    Err(error) => return Err(Searched::Failed(error)),
                }
            }
        }
        Ok(None)
    }

    fn cache_reaches_back_to(&self, offset: Offset) -> bool {
        let state = self.state.borrow();
        state.cache.start_offset().unwrap_or(state.next_offset) <= offset
    }

    /// The first record that has the largest timestamp of the log (KIP-734): its offset and timestamp. None when the log is
    /// empty or no record has a timestamp.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn max_timestamp_offset(self: &Rc<Self>) -> Result<Option<(Offset, i64)>> {
        let max_timestamp = {
            let state = self.state.borrow();
            let visible_end = self.visible_end.get();
            let cached = state.cache.pieces().filter(|piece| piece.at.next_offset <= visible_end);
            let cached = cached.map(|piece| piece.at.max_timestamp);
            self.covered_max_timestamps().into_iter().chain(cached).max()
        };
        let Some(max_timestamp) = max_timestamp.filter(|timestamp| *timestamp >= 0) else { return Ok(None) };
        match self.offset_for_timestamp(max_timestamp).await? {
            None => self.largest_timestamp_left(max_timestamp).await,
            found => Ok(found),
        }
    }

    /// The first record with the largest timestamp, where what held the largest of its segment lies below the log's start or
    /// was compacted away. At most as many searches as a timestamp has bits.
    async fn largest_timestamp_left(self: &Rc<Self>, mut above_ms: i64) -> Result<Option<(Offset, i64)>> {
        let mut found = self.offset_for_timestamp(0).await?;
        while let Some((_, timestamp_ms)) = found
            && timestamp_ms + 1 < above_ms
        {
            let middle_ms = timestamp_ms + (above_ms - timestamp_ms) / 2;
            match self.offset_for_timestamp(middle_ms).await? {
                None => above_ms = middle_ms,
                nearer => found = nearer,
            }
        }
        Ok(found)
    }

    /// The largest timestamp that checkpoints cover in each segment, oldest segment first.
    fn covered_max_timestamps(&self) -> Vec<i64> {
        let state = self.state.borrow();
        let closed = state.closed.iter().map(|segment| segment.max_timestamp);
        closed.chain(state.open_segments().map(|segment| segment.covered_max_timestamp)).collect()
    }

    fn find_in_cache(&self, target_ms: i64, offset_min: Offset) -> Result<Option<(Offset, i64)>> {
        let state = self.state.borrow();
        let visible_end = self.visible_end.get();
        for piece in state.cache.pieces().take_while(|piece| piece.at.next_offset <= visible_end) {
            if piece.at.max_timestamp < target_ms || piece.at.next_offset <= offset_min {
                continue;
            }
            let found = batch::find_timestamp(&piece.bytes, target_ms, offset_min).map_err(|error| {
                let (path, position) = (self.path.clone(), u64::from(piece.at.position));
                StorageError::Corrupt { path, position, what: error.to_string() }
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
