//! Gives batches the compression of their topic (`compression.type`), away from the core: compressing a batch takes longer than other
//! requests may wait.
//!
//! Called by `produce`. A partition's batches keep their order: while one is being compressed, all that come later stand in line behind
//! it. Deliberately absent: topics with `compression.type=producer`, and batches that come as their topic wants them, which pass without
//! a stop.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::BytesMut;
use corelog_storage::batch::{BatchError, BatchHeader, Encoding, ValidationLimits, recompress, validate};

use super::Partitions;

/// Batches of one core that are compressed at once. Together they hold so many results of at most `max.message.bytes`, and a codec's
/// memory each.
pub(super) const CONVERSIONS_MAX: u64 = 2;

/// Validates a batch in full and compresses it anew, on a thread for what blocks.
pub(super) async fn convert(
    partitions: &Partitions,
    batch: BytesMut,
    encoding: Encoding,
    limits: ValidationLimits,
) -> Result<(BytesMut, BatchHeader), BatchError> {
    // Never closed, so never an error. Who waits here holds its partition's line, so the order does not matter.
    let _turn = partitions.conversions().acquire_permit(1).await;
    let work = move || {
        let validated = validate(&batch, &limits)?;
        let converted = recompress(&batch, encoding, limits.batch_bytes_max)?;
        let header = BatchHeader::parse(&converted)?;
        // The true max timestamp, which the caller writes where the producer's header lied.
        Ok((BytesMut::from(&converted[..]), BatchHeader { max_timestamp: validated.max_timestamp, ..header }))
    };
    glommio::executor().spawn_blocking(work).await
}

/// The place where a partition's batches stand in line. Bounded by the requests under way.
#[derive(Debug, Default)]
pub struct Line {
    next_ticket: Cell<u64>,
    standing: RefCell<BTreeMap<u64, Option<Waker>>>,
}

/// A place in a [`Line`], given up when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    line: Rc<Line>,
    ticket: u64,
}

impl Line {
    /// Waits for a batch's turn, in the order in which these futures are polled first. `None` at once for a batch that has nothing to do
    /// there when nobody is there.
    pub(super) async fn turn(self: &Rc<Self>, converts: bool) -> Option<Turn> {
        if !converts && self.standing.borrow().is_empty() {
            return None;
        }
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        self.standing.borrow_mut().insert(ticket, None);
        let turn = Turn { line: self.clone(), ticket };
        poll_fn(|cx| {
            let mut standing = self.standing.borrow_mut();
            if standing.first_key_value().is_some_and(|(first, _)| *first == ticket) {
                return Poll::Ready(());
            }
            standing.insert(ticket, Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        Some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut standing = self.line.standing.borrow_mut();
            standing.remove(&self.ticket);
            standing.first_entry().and_then(|mut first| first.get_mut().take())
        };
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn who_converts_holds_up_all_behind_it_and_nobody_else() {
        let line = Rc::new(Line::default());
        assert!(line.turn(false).now_or_never().expect("no line").is_none());
        let first = line.turn(true).now_or_never().expect("alone").expect("a place");
        let mut second = Box::pin(line.turn(false));
        let mut third = Box::pin(line.turn(true));
        let mut fourth = Box::pin(line.turn(false));
        for waiting in [&mut second, &mut third, &mut fourth] {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "the second is first now");
        assert!(line.turn(false).now_or_never().is_none(), "nor does a newcomer overtake it");
        let second = second.now_or_never().expect("its turn");
        drop(third);
        assert!(fourth.as_mut().now_or_never().is_none());
        drop(second);
        assert!(fourth.now_or_never().is_some());
        assert!(line.standing.borrow().is_empty());
    }
}
