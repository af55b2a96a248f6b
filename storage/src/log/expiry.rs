//! Retention of one log: asks `retention` what may go, and moves the log's start there.
//!
//! Called by the broker from time to time. Deliberately absent: the decision itself, and removing files (`remains`).

use std::rc::Rc;

use super::Log;
use super::state::State;
use crate::Result;
use crate::io::Io;
use crate::retention::{self, Aged, Verdict};
use crate::types::Offset;

impl<I: Io> Log<I> {
    /// Applies the log's retention policy as of `now_ms`, wall clock. Returns the new start, durable, when that moved or the active
    /// segment was too old. The files go with the next round of write-back.
    ///
    /// # Errors
    /// `Closed`, `DirectoryFailed`.
    pub async fn enforce_retention(self: &Rc<Self>, now_ms: i64) -> Result<Option<Offset>> {
        self.check()?;
        let seen_ms = self.seen_ms.get().unwrap_or(now_ms);
        self.seen_ms.set(Some(seen_ms));
        if self.verdict(seen_ms, now_ms).is_none() {
            return Ok(None);
        }
        // Decided again in the step that acts: while this waits for its turn, records may come that must stay.
        let turn = self.append_turn.pass().await;
        self.check()?;
        let Some(mut verdict) = self.verdict(seen_ms, now_ms) else { return Ok(None) };
        if verdict.roll {
            match self.reserve_tail().await {
                // The older segments go first, and make room.
                Err(error) if error.is_disk_full() => {
                    let active = self.state.borrow().active.base_offset;
                    let log_start_offset = verdict.log_start_offset.min(active);
                    verdict = Verdict { log_start_offset, roll: false };
                }
                reserved => reserved?,
            }
        }
        if verdict.roll {
            self.state.borrow_mut().roll();
            self.list_dirty();
        }
        drop(turn);
        self.advance_log_start(verdict.log_start_offset).await.map(Some)
    }

    fn verdict(&self, seen_ms: i64, now_ms: i64) -> Option<Verdict> {
        let policy = self.config.get().retention;
        let state = self.state.borrow();
        let (end_offset, high_watermark) = (state.next_offset, self.deletable_end_offset());
        let mut verdict =
            retention::decide(&state.aged(seen_ms), end_offset, high_watermark, policy, now_ms)?;
        if self.core.bugs.expire_active_segment {
            verdict = Verdict { log_start_offset: high_watermark, roll: true };
        }
        // What went already waits for its round.
        (verdict.roll || verdict.log_start_offset > state.log_start_offset).then_some(verdict)
    }
}

impl State {
    /// All segments, the active one last. One whose age nobody knows is as old as our acquaintance with it.
    fn aged(&self, seen_ms: i64) -> Vec<Aged> {
        let age = |max_timestamp: i64, modified_ms: i64| match (max_timestamp, modified_ms) {
            (0.., _) => max_timestamp,
            (_, 0..) => modified_ms,
            _ => seen_ms,
        };
        let closed = self.closed.iter().map(|segment| Aged {
            base_offset: segment.base_offset,
            len: segment.len,
            largest_timestamp_ms: age(segment.max_timestamp, segment.modified_ms),
        });
        let open = self.open_segments().map(|segment| Aged {
            base_offset: segment.base_offset,
            len: segment.len,
            largest_timestamp_ms: age(segment.max_timestamp, segment.modified_ms),
        });
        closed.chain(open).collect()
    }
}
