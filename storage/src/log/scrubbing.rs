//! Scrubs one log: reads what checkpoints cover of its segments, slowly, and holds it against hashes, CRCs and the chain of offsets.
//!
//! Called by `Store::scrub`. Memory: one transfer and one segment's table. What retention or compaction takes meanwhile counts for
//! nothing. A damaged index is made again; damaged records stay as they are, and are refused to whoever reads them. Deliberately
//! absent: the check itself (`segment::SegmentCheck`), and when to scrub.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::Log;
use super::files::Part;
use super::state::SegmentId;
use super::tables::SegmentView;
use crate::Result;
use crate::io::{Io, TRANSFER_BYTES_MAX};
use crate::scrub::{Finding, ScrubStats};
use crate::segment::{self, BlockTable, Damage, Expected, SegmentBytes, SegmentCheck};
use crate::throttle::Throttle;
use crate::types::Offset;

/// What a segment turned out to be.
enum Verdict {
    Sound,
    /// Sound, but for its index, which this is.
    WithoutIndex {
        table: Rc<BlockTable>,
        described: u64,
    },
    Damaged {
        first: String,
        places: u64,
    },
}

impl<I: Io> Log<I> {
    /// Verifies every segment of the log as far as a checkpoint covers it; `tell` hears of what is found.
    ///
    /// # Errors
    /// `Closed`, `DirectoryFailed`: the log answers nothing any more.
    pub async fn scrub(
        self: &Rc<Self>,
        throttle: &mut Throttle,
        tell: &mut dyn FnMut(Finding),
    ) -> Result<()> {
        let mut after = None;
        while let Some(view) = self.view_after(after) {
            after = Some(view.id.base_offset);
            let (id, len) = (view.id, view.len);
            let judged = self.judge(view, throttle).await;
            self.check()?;
            let verdict = match judged {
                // Removed, or written anew, under the check: its successor comes with the next pass.
                _ if !self.has_segment(id) => continue,
                Ok(Verdict::WithoutIndex { table, described }) => {
                    if self.mend_index(id, table, described).await? {
                        tell(Finding::Mended { path: self.path.join(Part::Blocks.file_name(id)) });
                    }
                    Verdict::Sound
                }
                Ok(verdict) => verdict,
                Err(error) => Verdict::Damaged { first: error.to_string(), places: 1 },
            };
            ScrubStats::count(&self.core.scrubbed, |stats| {
                stats.segments += 1;
                stats.bytes += len;
            });
            if let Verdict::Damaged { first, places } = verdict {
                ScrubStats::count(&self.core.scrubbed, |stats| stats.damaged_segments += 1);
                tell(Finding::Damaged { path: self.path.join(Part::Log.file_name(id)), first, places });
            }
        }
        Ok(())
    }

    /// The next segment of which anything is covered.
    fn view_after(&self, after: Option<Offset>) -> Option<SegmentView> {
        let views = self.segment_views().into_iter();
        let mut views = views.filter(|view| view.len > 0);
        views.find(|view| after.is_none_or(|after| view.id.base_offset > after))
    }

    async fn judge(self: &Rc<Self>, view: SegmentView, throttle: &mut Throttle) -> Result<Verdict> {
        let path = self.path.join(Part::Log.file_name(view.id));
        let file = self.segment_file(&view).await?;
        let tail = if self.core.bugs.scrub_without_tail { Bytes::new() } else { view.tail.clone() };
        let source = SegmentBytes { file: &*file, path: &path, len: view.len, tail: &tail };
        let holes = view.id.generation > 0;
        // Of an open segment the memory knows what its pages will say. For others the pages must do, so they are what is verified.
        let table =
            if view.open { self.table(&view).await? } else { Rc::new(self.written_pages(&view).await?) };
        if table.len() < view.len {
            let described = table.len();
            let pace = async |bytes| self.pause(throttle, bytes).await;
            let table = Rc::unwrap_or_clone(table);
            let leader_epochs = self.known_epochs();
            let expected = Expected { holes, leader_epochs: leader_epochs.entries() };
            let whole = segment::complete_slowly(&self.core.io, source, table, expected, pace).await?;
            return Ok(Verdict::WithoutIndex { table: Rc::new(whole.table), described });
        }
        let (mut first, mut places) = (None, 0);
        let mut note = |damage: Damage| {
            places += 1;
            first.get_or_insert_with(|| source.corrupt(damage.position, damage.what).to_string());
        };
        let mut check = SegmentCheck::new(&table, holes, self.core.bugs.scrub_trusts_hashes);
        let mut buffer = BytesMut::new();
        for from in (0..view.len).step_by(TRANSFER_BYTES_MAX) {
            let to = view.len.min(from + TRANSFER_BYTES_MAX as u64);
            buffer.clear();
            source.read(from, to, &mut buffer).await?;
            check.chunks(&buffer, &mut note);
            self.pause(throttle, to - from).await?;
        }
        check.finish().map(&mut note);
        Ok(first.map_or(Verdict::Sound, |first| Verdict::Damaged { first, places }))
    }

    /// What the pages of a closed segment say, once a write-back that is about to write them is over.
    async fn written_pages(&self, view: &SegmentView) -> Result<BlockTable> {
        let _turn = self.write_turn.pass().await;
        self.load_pages(view).await
    }

    /// Writes the pages of a closed segment from the one that describes byte `described` on. Returns whether it was still there.
    async fn mend_index(&self, id: SegmentId, table: Rc<BlockTable>, described: u64) -> Result<bool> {
        // Held so that its removal does not come between: a page must not bring back a file that is gone.
        let _turn = self.write_turn.pass().await;
        self.check()?;
        if !self.has_segment(id) {
            return Ok(false);
        }
        match self.write_pages(id, &table, described).await {
            Ok(_) => {}
            // It is made again in memory whenever it is needed, until there is room.
            Err(error) if error.is_disk_full() => return Ok(false),
            Err(error) => return Err(self.or_fail(error)),
        }
        self.core.tables.put(self.identity.log_id, id, table);
        ScrubStats::count(&self.core.scrubbed, |stats| stats.mended_indexes += 1);
        Ok(true)
    }
}
