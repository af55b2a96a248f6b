//! The writing half of a connection: answers in request order, small ones copied together, large ones sent as they are,
//! several with one call.
//!
//! `connection` runs [`write_replies`] beside its reading half. Only the oldest answer is polled, so replies are not built
//! before they can be written. Deliberately absent: retries.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::FutureExt;

use super::connection::Connection;
use super::settings::{COALESCE_BYTES, COPY_BYTES_MAX, CloseReason, SENT_BYTES_PER_TURN};
use crate::api::service::Reply;
use crate::shard::budget::{Charge, SMALL_BYTES, Share};

/// Replies that are written together.
#[derive(Default)]
struct Batch {
    /// What is sent, in order.
    pieces: VecDeque<Bytes>,
    /// Small segments that were copied together, not yet a piece.
    copied: BytesMut,
    bytes: usize,
    requests: usize,
    /// What the replies brought with them.
    charges: Vec<Charge>,
    charged: u64,
    close_after: bool,
    mute_ms: u32,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.requests == 0
    }

    /// Whether it goes out before more is added.
    fn is_full(&self) -> bool {
        self.bytes >= COALESCE_BYTES || self.close_after || self.mute_ms > 0
    }

    fn add(&mut self, reply: Reply) {
        self.requests += 1;
        self.close_after |= reply.close_after;
        self.mute_ms = self.mute_ms.max(reply.mute_ms);
        if let Some(charge) = reply.charge {
            self.charged += charge.bytes();
            self.charges.push(charge);
        }
        for segment in reply.segments.into_iter().flatten() {
            self.bytes += segment.len();
            if segment.len() < COPY_BYTES_MAX {
                self.copied.extend_from_slice(&segment);
            } else {
                self.flush_copied();
                self.pieces.push_back(segment);
            }
        }
    }

    fn flush_copied(&mut self) {
        if !self.copied.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.copied).freeze());
        }
    }
}

/// Writes replies until the connection has read its last request and answered it, or ends at once.
pub(super) async fn write_replies(connection: &Rc<Connection>) {
    while let Some(mut batch) = poll_fn(|cx| poll_batch(connection, cx)).await {
        batch.flush_copied();
        if write(connection, &mut batch).await.is_err() {
            return;
        }
        connection.server.counters.change(|counters| counters.replies += batch.requests as u64);
        if batch.mute_ms > 0 {
            connection.mute(Duration::from_millis(batch.mute_ms.into()));
        }
        if batch.close_after {
            connection.close(CloseReason::Service);
            return;
        }
        connection.answered(batch.requests);
    }
}

/// Collects the replies that are ready. `None` when there will be no more.
fn poll_batch(connection: &Connection, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
    connection.remember(cx.waker());
    let mut batch = Batch::default();
    loop {
        if connection.closing().is_some() {
            return Poll::Ready(None);
        }
        if batch.is_full() {
            return Poll::Ready(Some(batch));
        }
        let Some(mut answer) = connection.oldest_answer() else {
            return match (batch.is_empty(), connection.is_ending()) {
                (false, _) => Poll::Ready(Some(batch)),
                (true, true) => Poll::Ready(None),
                (true, false) => Poll::Pending,
            };
        };
        match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
            Ok(Poll::Ready(reply)) => batch.add(reply),
            Ok(Poll::Pending) => {
                connection.unanswered(answer);
                return if batch.is_empty() { Poll::Pending } else { Poll::Ready(Some(batch)) };
            }
            Err(_) => {
                // Its reply is missing, so nothing that comes after it may be sent.
                connection.close(CloseReason::Panic);
            }
        }
    }
}

/// Charges and sends a batch; its bytes are returned to the share as they go.
async fn write(connection: &Connection, batch: &mut Batch) -> Result<(), CloseReason> {
    let replies = connection.server.budget.pool(Share::Replies);
    let missing = (batch.bytes as u64).saturating_sub(batch.charged);
    if missing > 0 && missing <= SMALL_BYTES && batch.charged > 0 {
        // Headers around batches that have their charge, once per connection. Whoever waited for room while holding some
        // would in the end wait for others that do the same.
        batch.charges.push(replies.charge_anyway(missing));
    } else if missing > 0 {
        batch.charges.clear();
        // A reply larger than the whole share takes what one charge can have, and so is the only large one.
        let charge = replies.charge((batch.bytes as u64).min(replies.charge_max()));
        let charge = async { charge.await.map_err(|_| CloseReason::Socket) };
        batch.charges.push(charge.or(closing(connection)).await?);
    }
    let mut left: u64 = batch.charges.iter().map(Charge::bytes).sum();
    let (mut turn, mut of_first) = (0, 0);
    while !batch.pieces.is_empty() {
        let written = poll_fn(|cx| {
            if let Some(reason) = connection.closing() {
                return Poll::Ready(Err(reason));
            }
            connection.poll_write(cx, &batch.pieces)
        })
        .await
        .inspect_err(|reason| connection.close(*reason))?;
        let freed = advance(&mut batch.pieces, &mut of_first, written);
        left = left.saturating_sub(freed as u64);
        release(&mut batch.charges, left);
        turn += written;
        if turn >= SENT_BYTES_PER_TURN {
            turn = 0;
            futures_lite::future::yield_now().await;
        }
    }
    batch.charges.clear();
    Ok(())
}

/// Passes over what was written, and returns the bytes of the pieces that are gone with it. `of_first` is what had been written, and then
/// is, of the first piece: as long as there is a rest of it, all its memory is held.
fn advance(pieces: &mut VecDeque<Bytes>, of_first: &mut usize, mut written: usize) -> usize {
    let mut freed = 0;
    while let Some(piece) = pieces.front_mut() {
        let gone = piece.len().min(written);
        piece.advance(gone);
        written -= gone;
        *of_first += gone;
        if !piece.is_empty() {
            break;
        }
        freed += std::mem::take(of_first);
        pieces.pop_front();
    }
    freed
}

/// Returns all but `keep` bytes.
fn release(charges: &mut Vec<Charge>, keep: u64) {
    let mut held: u64 = charges.iter().map(Charge::bytes).sum();
    while let Some(last) = charges.last_mut() {
        let excess = held - keep;
        if last.bytes() > excess {
            last.shrink_to(last.bytes() - excess);
            return;
        }
        held -= last.bytes();
        charges.pop();
    }
}

/// Resolves when the connection ends at once.
async fn closing<T>(connection: &Connection) -> Result<T, CloseReason> {
    poll_fn(|cx| {
        connection.remember(cx.waker());
        connection.closing().map_or(Poll::Pending, |reason| Poll::Ready(Err(reason)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_held_until_its_last_byte_is_written() {
        let mut pieces: VecDeque<Bytes> = [3, 5, 0, 4].map(|len| Bytes::from(vec![7; len])).into();
        let mut of_first = 0;
        assert_eq!(advance(&mut pieces, &mut of_first, 2), 0);
        assert_eq!(advance(&mut pieces, &mut of_first, 2), 3, "the second piece has begun");
        assert_eq!(advance(&mut pieces, &mut of_first, 4), 5);
        assert_eq!(advance(&mut pieces, &mut of_first, 4), 4);
        assert!(pieces.is_empty() && of_first == 0);
    }
}
