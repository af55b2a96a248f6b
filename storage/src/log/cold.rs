//! Reads from the disk: in the housekeeping class, a bounded number of them at a time, every byte verified.
//!
//! Called by `read` and `timestamps` when the tail cache does not reach back far enough. Deliberately absent: reading ahead;
//! a consumer that catches up asks for the next range soon enough.

use std::cell::Cell;
use std::rc::Rc;

use super::Log;
use super::files::Part;
use super::gate::Signal;
use super::tables::SegmentView;
use super::tail::Slices;
use crate::Result;
use crate::io::{Class, Io};
use crate::segment::{SegmentBytes, SegmentReader};
use crate::types::Offset;

/// The most that one cold read returns, in bytes; a single larger batch is returned whole.
pub const COLD_READ_BYTES_MAX: usize = 1 << 20;

/// Memory of a cold read while it runs, charged as long as this lives.
struct Charge<I: Io> {
    log: Rc<Log<I>>,
    bytes: u64,
}

impl<I: Io> Charge<I> {
    fn new(log: &Rc<Log<I>>, bytes: u64) -> Self {
        let cold = &log.core.cold_bytes;
        cold.set(cold.get() + bytes);
        Self { log: log.clone(), bytes }
    }
}

impl<I: Io> Drop for Charge<I> {
    fn drop(&mut self) {
        let cold = &self.log.core.cold_bytes;
        cold.set(cold.get() - self.bytes);
    }
}

impl<I: Io> Log<I> {
    /// Runs `task` in the housekeeping class when its turn has come.
    pub(super) async fn in_housekeeping<T: 'static>(
        self: &Rc<Self>,
        bytes: u64,
        task: impl Future<Output = Result<T>> + 'static,
    ) -> Result<T> {
        let pass = self.core.cold_reads.pass().await;
        self.check()?;
        let charge = Charge::new(self, bytes);
        let answer = Rc::new((Signal::default(), Cell::new(None)));
        let asked = answer.clone();
        self.core.io.spawn(Class::Housekeeping, async move {
            let result = task.await;
            drop((charge, pass));
            answer.1.set(Some(result));
            answer.0.set();
        });
        loop {
            asked.0.wait().await;
            if let Some(result) = asked.1.take() {
                // A log that was deleted meanwhile has no files, or a successor has them.
                self.check()?;
                return result;
            }
        }
    }

    /// Batches of one segment from the one that holds `offset` on. None when it has no such batch.
    pub(super) async fn read_segment(
        self: &Rc<Self>,
        view: SegmentView,
        offset: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Option<Slices>> {
        let max_bytes = max_bytes.min(COLD_READ_BYTES_MAX);
        let log = self.clone();
        let cold = self
            .in_housekeeping(COLD_READ_BYTES_MAX as u64, async move {
                let table = log.table(&view).await?;
                let file = log.segment_file(&view).await?;
                let path = log.path.join(Part::Log.file_name(view.id));
                let source = SegmentBytes { file: &*file, path: &path, len: view.len, tail: &view.tail };
                SegmentReader::new(&log.core.io, source, &table).read(offset, max_bytes, at_least_one).await
            })
            .await?;
        if cold.exhausted {
            return Ok(None);
        }
        let total_bytes = cold.bytes.len();
        let batches = if cold.bytes.is_empty() { Vec::new() } else { vec![cold.bytes] };
        Ok(Some(Slices { batches, total_bytes, next_offset: cold.next_offset }))
    }

    /// The first record of one segment at or after `offset_min` with a timestamp of at least `target_ms`.
    pub(super) async fn find_in_segment(
        self: &Rc<Self>,
        view: SegmentView,
        target_ms: i64,
        offset_min: Offset,
    ) -> Result<Option<(Offset, i64)>> {
        let log = self.clone();
        self.in_housekeeping(COLD_READ_BYTES_MAX as u64, async move {
            let table = log.table(&view).await?;
            let file = log.segment_file(&view).await?;
            let path = log.path.join(Part::Log.file_name(view.id));
            let source = SegmentBytes { file: &*file, path: &path, len: view.len, tail: &view.tail };
            SegmentReader::new(&log.core.io, source, &table).find_timestamp(target_ms, offset_min).await
        })
        .await
    }
}
