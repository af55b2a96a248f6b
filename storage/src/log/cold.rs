//! Reads from the disk: in the housekeeping class, a bounded number of bytes at a time, every byte verified.
//!
//! Called by `read` and `timestamps` when the tail cache does not reach back far enough. A batch that is larger than a read counts as what it
//! takes: whoever meets one comes again for room, holding none. Deliberately absent: reading ahead; a consumer that catches up asks for
//! the next range soon enough.

use std::cell::Cell;
use std::rc::Rc;

use super::Log;
use super::gate::Signal;
use super::tables::SegmentView;
use super::tail::Slices;
use crate::io::{Class, Io, TRANSFER_BYTES_MAX};
use crate::segment::{Found, SegmentReader};
use crate::types::Offset;
use crate::{Result, StorageError};

/// The most that one cold read returns, in bytes; a single larger batch is returned whole. Also what one permit for cold reads stands for.
pub const COLD_READ_BYTES_MAX: usize = 1 << 20;

/// Memory of a read of one batch of this length: the batch, and the transfer that brings it.
fn memory_of(batch_bytes: usize) -> usize {
    batch_bytes + TRANSFER_BYTES_MAX
}

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
    /// Runs `task`, which takes so much memory, in the housekeeping class when there is room for it. One that takes more than all cold
    /// reads may is alone.
    pub(super) async fn in_housekeeping<T: 'static>(
        self: &Rc<Self>,
        bytes: usize,
        task: impl Future<Output = Result<T>> + 'static,
    ) -> Result<T> {
        let pass = self.core.cold_reads.passes(bytes.div_ceil(COLD_READ_BYTES_MAX)).await;
        self.check()?;
        let charge = Charge::new(self, bytes as u64);
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

    /// Whoever runs the broker must hear of corruption, and not only the client that met it.
    pub(super) fn tell(&self, error: &StorageError) {
        if matches!(error, StorageError::Corrupt { .. }) && self.told_corrupt.due(self.core.io.now_ns()) {
            tracing::error!("records of {} cannot be read: {error}", self.identity.dir_name());
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
        let (mut memory, mut first_bytes_max) =
            (COLD_READ_BYTES_MAX, if at_least_one { COLD_READ_BYTES_MAX } else { 0 });
        let cold = loop {
            let (log, view) = (self.clone(), view.clone());
            let task = async move {
                let segment = log.readable(view).await?;
                let reader = SegmentReader::new(&log.core.io, segment.source(), &segment.table);
                reader.read(offset, max_bytes, first_bytes_max).await
            };
            let cold = self.in_housekeeping(memory, task).await.inspect_err(|error| self.tell(error))?;
            match cold.refused_bytes.filter(|_| at_least_one) {
                Some(larger) => (memory, first_bytes_max) = (memory_of(larger), larger),
                None => break cold,
            }
        };
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
        let (mut memory, mut batch_bytes_max) = (COLD_READ_BYTES_MAX, COLD_READ_BYTES_MAX);
        loop {
            let (log, view) = (self.clone(), view.clone());
            let task = async move {
                let segment = log.readable(view).await?;
                let reader = SegmentReader::new(&log.core.io, segment.source(), &segment.table);
                reader.find_timestamp(target_ms, offset_min, batch_bytes_max).await
            };
            match self.in_housekeeping(memory, task).await.inspect_err(|error| self.tell(error))? {
                Found::At(offset, timestamp_ms) => return Ok(Some((offset, timestamp_ms))),
                Found::Nothing => return Ok(None),
                Found::Refused(larger) => (memory, batch_bytes_max) = (memory_of(larger), larger),
            }
        }
    }
}
