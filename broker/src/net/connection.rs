//! One connection: reads frames, starts them in order, writes their replies in order.
//!
//! `server` runs [`run`] as one task per connection, whose reading and writing halves take turns. Pipelining is Kafka's: Produce
//! and Fetch overlap, anything else is a barrier. Deliberately absent: what a request means (`api`), where frames begin and end
//! (`frame`), how replies become bytes on the wire (`reply`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use glommio::net::TcpStream;
use nix::sys::socket::{MsgFlags, sendmsg};

use super::frame::{FrameEnd, FrameReader, Source};
use super::reply;
use super::server::ServerCore;
use super::settings::{
    CloseReason, FRAMES_PER_TURN, IN_FLIGHT_REQUESTS_MAX, PIECES_PER_SEND, RECEIVED_BYTES_PER_ROUND,
    RECEIVED_BYTES_PER_TURN, RECEIVED_BYTES_PER_TURN_MIN,
};
use crate::api::service::{Answer, ConnectionInfo};

/// A connection's state, shared by its two halves and its server.
pub(super) struct Connection {
    pub(super) info: Rc<ConnectionInfo>,
    pub(super) server: Rc<ServerCore>,
    stream: RefCell<TcpStream>,
    /// Dispatched requests whose answer is not ready, oldest first. Bounded by [`IN_FLIGHT_REQUESTS_MAX`].
    answers: RefCell<VecDeque<Answer>>,
    /// Requests that are dispatched and whose reply is not written.
    in_flight: Cell<usize>,
    /// Set when nothing more is read: the connection ends when its replies are written.
    ending: Cell<Option<CloseReason>>,
    /// Set when the connection ends at once.
    closing: Cell<Option<CloseReason>>,
    muted_until: Cell<Option<Instant>>,
    /// Bytes received since there was nothing to receive, or since others had their turn.
    received_in_turn: Cell<usize>,
    /// Since when the client has taken nothing of a reply.
    blocked_since: Cell<Option<Instant>>,
    /// The connection's task. Every event wakes the whole of it.
    waker: RefCell<Option<Waker>>,
}

impl Connection {
    pub(super) fn new(server: Rc<ServerCore>, info: ConnectionInfo, stream: TcpStream) -> Rc<Self> {
        Rc::new(Self {
            info: Rc::new(info),
            server,
            stream: RefCell::new(stream),
            answers: RefCell::default(),
            in_flight: Cell::new(0),
            ending: Cell::new(None),
            closing: Cell::new(None),
            muted_until: Cell::new(None),
            received_in_turn: Cell::new(0),
            blocked_since: Cell::new(None),
            waker: RefCell::new(None),
        })
    }

    /// Reads nothing more; the connection ends when what was dispatched is answered and written.
    pub(super) fn finish(&self, reason: CloseReason) {
        if self.ending.get().is_none() {
            self.ending.set(Some(reason));
        }
        self.wake();
    }

    /// Ends the connection at once.
    pub(super) fn close(&self, reason: CloseReason) {
        if self.closing.get().is_none() {
            self.closing.set(Some(reason));
        }
        self.finish(reason);
    }

    /// Why the connection ends at once, if it does.
    pub(super) fn closing(&self) -> Option<CloseReason> {
        self.closing.get()
    }

    /// Whether the client has taken nothing of its reply since before `since`.
    pub(super) fn is_blocked_since(&self, since: Instant) -> bool {
        self.blocked_since.get().is_some_and(|blocked| blocked <= since)
    }

    /// Replies were written: their requests are answered.
    pub(super) fn answered(&self, requests: usize) {
        self.in_flight.set(self.in_flight.get() - requests);
        // The reading half may be waiting for this.
        self.wake();
    }

    /// Reads nothing more for this long.
    pub(super) fn mute(&self, duration: Duration) {
        self.muted_until.set(Some(Instant::now() + duration));
    }

    /// Takes the oldest answer out, to be polled; put back with [`Connection::unanswered`] when it is not ready.
    pub(super) fn oldest_answer(&self) -> Option<Answer> {
        self.answers.borrow_mut().pop_front()
    }

    pub(super) fn unanswered(&self, answer: Answer) {
        self.answers.borrow_mut().push_front(answer);
    }

    /// Whether the reading half has ended.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Writes as much of `pieces` as the socket takes now.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        pieces: &VecDeque<Bytes>,
    ) -> Poll<Result<usize, CloseReason>> {
        let mut stream = self.stream.borrow_mut();
        let polled = match write_gathered(stream.as_raw_fd(), pieces) {
            Some(written) => Poll::Ready(Ok(written)),
            None => {
                let first = pieces.front().map(Bytes::as_ref).unwrap_or_default();
                Pin::new(&mut *stream).poll_write(cx, first)
            }
        };
        match polled {
            Poll::Ready(Ok(written)) if written > 0 => {
                if self.blocked_since.take().is_some() {
                    self.server.blocked(self.info.id, false);
                }
                self.server.counters.change(|counters| counters.bytes_out += written as u64);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(_) => Poll::Ready(Err(CloseReason::Socket)),
            Poll::Pending => {
                if self.blocked_since.get().is_none() {
                    self.blocked_since.set(Some(Instant::now()));
                    self.server.blocked(self.info.id, true);
                }
                Poll::Pending
            }
        }
    }

    pub(super) fn remember(&self, waker: &Waker) {
        let mut registered = self.waker.borrow_mut();
        if !registered.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    fn wake(&self) {
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until `ready`, or until the connection reads nothing more.
    async fn until(&self, ready: impl Fn(&Self) -> bool) -> Result<(), FrameEnd> {
        poll_fn(|cx| {
            if let Some(reason) = self.poll_closing(cx) {
                return Poll::Ready(Err(reason.into()));
            }
            if ready(self) { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Waits until the connection may be read again.
    async fn until_unmuted(&self) -> Result<(), FrameEnd> {
        while let Some(until) = self.muted_until.take() {
            let sleep = async {
                glommio::timer::sleep(until.saturating_duration_since(Instant::now())).await;
                Ok(())
            };
            self.until(|_| false).or(sleep).await?;
        }
        Ok(())
    }
}

impl Source for Connection {
    fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, CloseReason>> {
        let taken = self.received_in_turn.get();
        let turn = turn_bytes(self.server.partial.count());
        if taken >= turn {
            // A large frame that comes as fast as it is read would keep the core until all of it is here.
            self.received_in_turn.set(0);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = into.len().min(turn - taken);
        let into = into.get_mut(..most).unwrap_or_default();
        let polled = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, into);
        if polled.is_pending() {
            self.received_in_turn.set(0);
        }
        polled.map(|received| match received {
            Ok(bytes) => {
                self.received_in_turn.set(taken + bytes);
                self.server.counters.change(|counters| counters.bytes_in += bytes as u64);
                Ok(bytes)
            }
            Err(_) => Err(CloseReason::Socket),
        })
    }

    fn with_scratch<T>(&self, receive: impl FnOnce(&mut [u8]) -> T) -> T {
        receive(&mut self.server.scratch.borrow_mut())
    }

    fn poll_closing(&self, cx: &Context<'_>) -> Option<CloseReason> {
        self.remember(cx.waker());
        self.closing.get().or(self.ending.get())
    }
}

/// What a connection may receive in a turn while so many frames are on their way.
fn turn_bytes(partial_frames: usize) -> usize {
    let share = RECEIVED_BYTES_PER_ROUND / partial_frames.max(1);
    share.clamp(RECEIVED_BYTES_PER_TURN_MIN, RECEIVED_BYTES_PER_TURN)
}

/// Writes what a socket takes of several pieces: fewer and larger packets than piece by piece. `None` when glommio, which writes one
/// slice at a time, does as well or must wait, and when the socket has failed, which it then meets too.
fn write_gathered(socket: RawFd, pieces: &VecDeque<Bytes>) -> Option<usize> {
    if pieces.len() < 2 {
        return None;
    }
    let mut slices = [IoSlice::new(&[]); PIECES_PER_SEND];
    slices.iter_mut().zip(pieces).for_each(|(slice, piece)| *slice = IoSlice::new(piece));
    let slices = slices.get(..pieces.len()).unwrap_or(&slices);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket, slices, &[], flags, None).ok()
}

/// Runs a connection to its end and says why it ended.
pub(super) async fn run(connection: Rc<Connection>) -> CloseReason {
    let read = async {
        let end = match read_requests(&connection).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        if let Some(what) = end.what {
            let ConnectionInfo { id, peer, listener, .. } = &*connection.info;
            tracing::warn!(connection = id, %peer, %listener, "connection closed: {what}");
        }
        match end.reason {
            // Requests that came before may still be answered; a client that only closed its sending side reads them.
            CloseReason::Peer | CloseReason::Shutdown => connection.finish(end.reason),
            reason => connection.close(reason),
        }
    };
    futures_lite::future::zip(read, reply::write_replies(&connection)).await;
    connection.answers.borrow_mut().clear();
    // Explicit, because a poll that is still under way would keep the socket open beyond the descriptor.
    // (glommio's future does it in its first poll.)
    let _ = poll_fn(|cx| {
        let stream = connection.stream.borrow();
        pin!(stream.shutdown(Shutdown::Both)).poll(cx)
    })
    .await;
    connection.closing.get().or(connection.ending.get()).unwrap_or(CloseReason::Peer)
}

/// Reads and starts requests until the connection reads nothing more.
async fn read_requests(connection: &Rc<Connection>) -> Result<std::convert::Infallible, FrameEnd> {
    let server = &connection.server;
    let mut frames = FrameReader::new(server.frame_limits.clone());
    let mut taken = 0_usize;
    loop {
        connection.until_unmuted().await?;
        let (frame, charge) = frames.next(&**connection).await?;
        server.counters.change(|counters| counters.frames += 1);
        let dispatch = || server.service.dispatch(&connection.info, frame, charge);
        let dispatched =
            catch_unwind(AssertUnwindSafe(dispatch)).map_err(|_| FrameEnd::from(CloseReason::Panic))?;
        if dispatched.barrier {
            connection.until(|connection| connection.in_flight.get() == 0).await?;
        } else {
            connection.until(|connection| connection.in_flight.get() < IN_FLIGHT_REQUESTS_MAX).await?;
        }
        // Counted from its start: a barrier must not overtake a request that is being dispatched.
        connection.in_flight.set(connection.in_flight.get() + 1);
        let answer = start(connection, dispatched.start).await?;
        connection.answers.borrow_mut().push_back(answer);
        connection.wake();
        if dispatched.barrier {
            connection.until(|connection| connection.in_flight.get() == 0).await?;
        }
        taken += 1;
        if taken.is_multiple_of(FRAMES_PER_TURN) {
            futures_lite::future::yield_now().await;
        }
    }
}

/// Runs the first half of a request. Only a connection that ends at once gives it up: a request that was begun before a
/// drain is finished.
async fn start(
    connection: &Connection,
    start: Pin<Box<dyn Future<Output = Answer>>>,
) -> Result<Answer, FrameEnd> {
    let start = async { AssertUnwindSafe(start).catch_unwind().await.map_err(|_| CloseReason::Panic.into()) };
    let closing = poll_fn(|cx| {
        connection.remember(cx.waker());
        connection.closing.get().map_or(Poll::Pending, |reason| Poll::Ready(Err(FrameEnd::from(reason))))
    });
    start.or(closing).await
}
