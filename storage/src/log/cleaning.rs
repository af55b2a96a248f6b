//! Compaction of one log: maps the keys of its dirty part, writes its segments anew, and swaps them in through the checkpoint.
//!
//! Called by the broker's cleaner, one log at a time. A crash leaves the old segments or the new ones: the checkpoint names either, in
//! one record, and what it does not name is swept up. The write turn is held only where files are named, so that write-back goes on.
//! Deliberately absent: what stays (`compaction`), and which log comes next.

use std::rc::Rc;
use std::time::Duration;

use super::Log;
use super::cleaned::{CleanedWriter, Made};
use super::records;
use super::state::{ClosedSegment, RESERVE_BYTES_MIN, SegmentId};
use super::tables::SegmentView;
use crate::batch::BatchHeader;
use crate::compaction::{self, Cleaner, Dirty, Dust, Fate, KeyMap, Retain, groups, map_keys};
use crate::io::Io;
use crate::segment::BatchStream;
use crate::throttle::Throttle;
use crate::types::Offset;
use crate::{Result, StorageError};

/// What compaction may use.
#[derive(Debug, Clone)]
pub struct CompactionMeans {
    /// Memory for the key map, in bytes. A log with more dirty keys takes several passes.
    pub map_bytes_max: usize,
    /// How fast it may read and write.
    pub throttle: Throttle,
}

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Everything below is compacted now.
    pub end_offset: Offset,
    /// Bytes of the segments that were read, and of those in their place.
    pub bytes_before: u64,
    /// See `bytes_before`.
    pub bytes_after: u64,
    /// Keys that were mapped.
    pub keys: usize,
}

/// Forgets what was in the making when a pass ends, however it does.
struct InMaking<I: Io>(Rc<Log<I>>);

impl<I: Io> Drop for InMaking<I> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().in_making = None;
    }
}

impl<I: Io> Log<I> {
    /// What of the log could be compacted, and whether it should be.
    pub fn dirty(&self, now_ms: i64) -> Option<Dirty> {
        let policy = self.config.get().compaction;
        let state = self.state.borrow();
        let undecided = self.tenant.borrow().first_undecided_offset();
        let dust = Dust {
            closed: &state.closed,
            closed_end_offset: state.closed_end_offset(),
            log_start_offset: state.log_start_offset,
            first_dirty_offset: state.first_dirty_offset,
            last_stable_offset: undecided.unwrap_or(Offset::MAX).min(self.visible_end.get()),
        };
        compaction::dirty(&dust, &policy, now_ms)
    }

    /// Compacts what is dirty, as far as the key map goes; `now_ms` is wall clock. None when it is not due, or under way already.
    ///
    /// # Errors
    /// `Corrupt` when a segment is not what was written, `DiskFull`, `Closed`, `DirectoryFailed`. The log is as it was, but for
    /// groups of segments that were done.
    pub async fn compact(
        self: &Rc<Self>,
        now_ms: i64,
        means: &mut CompactionMeans,
    ) -> Result<Option<Compacted>> {
        self.check()?;
        let Some(_turn) = self.cleaning_turn.try_pass() else { return Ok(None) };
        let Some(dirty) = self.dirty(now_ms).filter(|dirty| dirty.due) else { return Ok(None) };
        let planned: Vec<_> = {
            let state = self.state.borrow();
            let below = |segment: &&ClosedSegment| segment.base_offset < dirty.first_uncleanable_offset;
            state.closed.iter().take_while(below).copied().collect()
        };
        match self.compact_dirty(&dirty, &planned, now_ms, means).await {
            // Retention took one under the pass; what is left is dirty, and comes again.
            Err(_) if self.check().is_ok() && planned.iter().any(|one| self.was_removed(one)) => Ok(None),
            // And it may have ended since, with what it took.
            result => result.map_err(|error| self.check().err().unwrap_or(error)),
        }
    }

    /// Whether a segment went at the front of the log.
    fn was_removed(&self, segment: &ClosedSegment) -> bool {
        let state = self.state.borrow();
        state.closed.first().is_none_or(|first| first.base_offset > segment.base_offset)
    }

    async fn compact_dirty(
        self: &Rc<Self>,
        dirty: &Dirty,
        planned: &[ClosedSegment],
        now_ms: i64,
        means: &mut CompactionMeans,
    ) -> Result<Option<Compacted>> {
        let config = self.config.get();
        let map = self.map_dirty(dirty, means).await?;
        let end_offset = map.latest_offset() + 1;
        if end_offset <= dirty.first_dirty_offset {
            tracing::warn!(
                "{self:?}: a batch has more keys than the key map holds; raise log.cleaner.dedupe.buffer.size"
            );
            return Ok(None);
        }
        let count = planned.partition_point(|segment| segment.base_offset < end_offset);
        let cleaner = Cleaner {
            map: &map,
            now_ms,
            delete_retention_ms: config.compaction.delete_retention_ms,
            end_offset: dirty.first_uncleanable_offset,
            drops_tombstones_early: self.core.bugs.drop_tombstones_early,
            loses_newest: self.core.bugs.lose_newest_records,
        };
        let mut done = Compacted { end_offset, keys: map.len(), ..Compacted::default() };
        let mut retain = self.tenant.borrow().retain();
        let last_end = planned.get(count).map_or(dirty.first_uncleanable_offset, |next| next.base_offset);
        for group in groups(&planned[..count], last_end, config.segment_bytes) {
            let made = self.clean_group(group, &cleaner, &mut *retain, means).await?;
            done.bytes_before += group.iter().map(|segment| segment.len).sum::<u64>();
            done.bytes_after += made;
        }
        self.note_clean(end_offset).await?;
        Ok(Some(done))
    }

    /// The newest offset of each key from the first dirty one on, until the map is full.
    async fn map_dirty(self: &Rc<Self>, dirty: &Dirty, means: &mut CompactionMeans) -> Result<KeyMap> {
        let mut map = KeyMap::new(self.identity.log_id.0, means.map_bytes_max);
        let mut retain = self.tenant.borrow().retain();
        let first = dirty.first_dirty_offset;
        for (view, end_offset) in self.closed_views(dirty.first_uncleanable_offset) {
            if end_offset <= first {
                continue;
            }
            let mut whole = true;
            self.each_batch(view, means, async |header, bytes| {
                whole = map_keys(&mut map, header, bytes, first, &mut *retain)
                    .map_err(|error| error.to_string())?;
                Ok(whole)
            })
            .await?;
            if !whole {
                break;
            }
            // Also what compaction has left no batch for.
            map.mapped_up_to(end_offset - 1);
        }
        Ok(map)
    }

    /// Shows every batch of a closed segment to `visit`, verified, until it says that it has seen enough.
    async fn each_batch(
        self: &Rc<Self>,
        view: SegmentView,
        means: &mut CompactionMeans,
        mut visit: impl AsyncFnMut(&BatchHeader, &[u8]) -> std::result::Result<bool, String>,
    ) -> Result<()> {
        let result = async {
            let segment = self.readable(view).await?;
            let source = segment.source();
            let mut stream = BatchStream::new(&self.core.io, source, &segment.table, 0);
            while let Some(header) = stream.header(0).await? {
                let len = header.total_len();
                let position = stream.position();
                let bytes = stream.bytes(len).await?;
                let go_on = visit(&header, bytes).await.map_err(|what| source.corrupt(position, what))?;
                stream.pass(len);
                self.pause(&mut means.throttle, len as u64).await?;
                if !go_on {
                    break;
                }
            }
            Ok(())
        };
        // A log that was deleted meanwhile has no files, or a successor has them.
        result.await.map_err(|error| self.check().err().unwrap_or(error))
    }

    /// Gives way after so many bytes, for as long as the throttle wants.
    pub(super) async fn pause(&self, throttle: &mut Throttle, bytes: u64) -> Result<()> {
        let io = &self.core.io;
        match throttle.pause_ns(bytes, io.now_ns()) {
            0 => io.yield_if_needed().await,
            ns => io.sleep(Duration::from_nanos(ns)).await,
        }
        self.check()
    }

    /// Writes a group of segments as one. Returns its length.
    async fn clean_group(
        self: &Rc<Self>,
        group: &[ClosedSegment],
        cleaner: &Cleaner<'_>,
        retain: &mut dyn Retain,
        means: &mut CompactionMeans,
    ) -> Result<u64> {
        let Some(first) = group.first() else { return Ok(0) };
        let id = SegmentId { base_offset: first.base_offset, generation: first.generation + 1 };
        let _in_making = self.begin_making(id);
        // Delete horizons and another compressor's hand may make a batch longer.
        let before: u64 = group.iter().map(|segment| segment.len).sum();
        let reserve = before + before / 4 + RESERVE_BYTES_MIN;
        let mut writer = CleanedWriter::create(self, id, reserve).await?;
        let cleaned = self.clean_into(group, cleaner, retain, means, &mut writer).await;
        let made = match cleaned {
            Ok(()) => writer.finish(self).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(made) if made.is_same() && group.len() == 1 => {
                self.discard(id).await;
                Ok(first.len)
            }
            Ok(made) => self.swap(group, made).await,
            Err(error) => {
                self.discard(id).await;
                Err(error)
            }
        }
    }

    async fn clean_into(
        self: &Rc<Self>,
        group: &[ClosedSegment],
        cleaner: &Cleaner<'_>,
        retain: &mut dyn Retain,
        means: &mut CompactionMeans,
        writer: &mut CleanedWriter<I>,
    ) -> Result<()> {
        for segment in group {
            let view = SegmentView::of_closed(segment);
            self.each_batch(view, means, async |header, bytes| {
                let fate = cleaner.judge(header, bytes, retain).map_err(|error| error.to_string())?;
                let put = match &fate {
                    Fate::Goes => {
                        writer.note_change();
                        Ok(())
                    }
                    Fate::Stays => writer.put(bytes).await,
                    Fate::Becomes(rewritten) => {
                        writer.note_change();
                        writer.put(rewritten).await
                    }
                };
                // Told below, as what it is.
                Ok(put.map_err(|error| writer.fail(error)).is_ok())
            })
            .await?;
            writer
                .check()
                .map_err(|error| if error.is_corruption() { error } else { self.or_fail(error) })?;
        }
        Ok(())
    }

    fn begin_making(self: &Rc<Self>, id: SegmentId) -> InMaking<I> {
        self.state.borrow_mut().in_making = Some(id);
        InMaking(self.clone())
    }

    /// Removes files that no checkpoint will name.
    pub(super) async fn discard(&self, id: SegmentId) {
        let _turn = self.write_turn.pass().await;
        if self.check().is_ok() {
            let segment = ClosedSegment {
                base_offset: id.base_offset,
                len: 0,
                max_timestamp: -1,
                first_timestamp: -1,
                modified_ms: -1,
                generation: id.generation,
            };
            self.set_aside(&[segment]).await;
        }
    }

    /// Has the checkpoint name the new segment in the place of the old ones, in one record; then the old ones' files go.
    async fn swap(self: &Rc<Self>, group: &[ClosedSegment], made: Made) -> Result<u64> {
        let turn = self.write_turn.pass().await;
        self.check()?;
        let still_there = self.state.borrow().closed.windows(group.len()).any(|window| window == group);
        if !still_there || self.dir.closing.get() {
            // Retention took some of them meanwhile; what is left is dirty, and comes again.
            drop(turn);
            self.discard(made.id()).await;
            return Ok(0);
        }
        if !self.core.bugs.skip_directory_flush {
            self.core.io.sync_dir(&self.path).await.map_err(|error| self.dir.fail(&error))?;
        }
        let new = made.segment(group);
        let replaced: Vec<_> = group.iter().map(|segment| segment.base_offset).collect();
        if self.core.bugs.replace_before_checkpoint {
            self.set_aside(group).await;
        }
        let record = records::replaced_record(self.identity.log_id, &replaced, new.as_ref());
        let take_over = || {
            let mut state = self.state.borrow_mut();
            let at = state.closed.iter().position(|segment| segment.base_offset == replaced[0]);
            let Some(at) = at else { return };
            state.closed.splice(at..at + replaced.len(), new);
            // What the cache still holds of them is older than what is on the disk now.
            let end_offset = state.closed.get(at + new.iter().len()).map(|next| next.base_offset);
            let end_offset = end_offset.unwrap_or(state.closed_end_offset());
            let before = state.cache.charged_bytes();
            state.cache.evict(end_offset);
            self.core.cache.charge(before, state.cache.charged_bytes());
        };
        self.dir.commit(vec![record], take_over).await?;
        if let Some(new) = &new {
            self.core.tables.put(self.identity.log_id, new.id(), made.table());
        } else {
            self.set_aside(&[ClosedSegment { generation: made.id().generation, ..group[0] }]).await;
        }
        self.set_aside(group).await;
        Ok(new.map_or(0, |new| new.len))
    }

    /// Has the checkpoint remember how far compaction has come.
    async fn note_clean(self: &Rc<Self>, end_offset: Offset) -> Result<()> {
        let _turn = self.write_turn.pass().await;
        self.check()?;
        let record = self.clean_record(end_offset);
        let take_over = || {
            let mut state = self.state.borrow_mut();
            state.first_dirty_offset = end_offset;
            state.covered.first_dirty_offset = end_offset;
        };
        self.dir.commit(vec![record], take_over).await
    }

    /// Closed segments below `end_offset`, each with where it ends.
    fn closed_views(&self, end_offset: Offset) -> Vec<(SegmentView, Offset)> {
        let state = self.state.borrow();
        let ends = state.closed.iter().skip(1).map(|segment| segment.base_offset);
        let ends = ends.chain([state.closed_end_offset()]);
        let views = state.closed.iter().map(SegmentView::of_closed).zip(ends);
        views.filter(|(_, end)| *end <= end_offset).collect()
    }
}

impl StorageError {
    /// Whether a log's bytes are not what was written, so that compacting it again would fail again.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::UnknownVersion { .. })
    }
}
