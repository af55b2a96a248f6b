//! Frames out of bytes: a 4-byte length, then that many bytes, charged as they arrive and never as announced.
//!
//! Each connection's reader owns a [`FrameReader`]. Small frames are copied out of the core's shared receive buffer exactly;
//! a frame that is still arriving grows in a buffer of its own, into which the socket is then read directly. An idle
//! connection holds no buffer at all. Deliberately absent: what is in a frame.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};

use super::partial::{PartialFrames, Registration};
use super::settings::{CloseReason, SCRATCH_BYTES};
use crate::shard::budget::{Charge, Pool};

#[cfg(test)]
mod tests;

/// Bytes of a frame's length.
const HEADER_BYTES: usize = 4;

/// The first buffer of a frame that arrives in pieces.
const FIRST_BUFFER_BYTES: usize = 4 * 1024;

/// A frame of which more than this has arrived gets addresses for all of it, but no memory: it is not copied again as it grows, and
/// copying the last time takes no longer than other connections may wait.
const COPIED_BYTES_MAX: usize = 1024 * 1024;

/// Memory is cleared in steps of at most this many bytes, just before they are received into.
const CLEARED_BYTES: usize = 64 * 1024;

/// Where bytes come from.
pub(super) trait Source {
    /// Receives at most `into.len()` bytes; 0 is the end. `Err` ends the connection.
    fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, CloseReason>>;
    /// Runs `receive` with the core's shared buffer of [`SCRATCH_BYTES`].
    fn with_scratch<T>(&self, receive: impl FnOnce(&mut [u8]) -> T) -> T;
    /// Whether the connection must end for a reason of its own; otherwise it is woken when that changes.
    fn poll_closing(&self, cx: &Context<'_>) -> Option<CloseReason>;
}

/// Why there are no more frames.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameEnd {
    pub(super) reason: CloseReason,
    /// For the log, where there is something to say.
    pub(super) what: Option<String>,
}

impl From<CloseReason> for FrameEnd {
    fn from(reason: CloseReason) -> Self {
        Self { reason, what: None }
    }
}

/// What all readers of a core share.
pub(super) struct FrameLimits {
    pub(super) request_bytes_max: usize,
    pub(super) requests: Pool,
    pub(super) partial: Rc<PartialFrames>,
}

impl FrameLimits {
    /// Checks an announced length.
    fn length(&self, announced: i32) -> Result<usize, FrameEnd> {
        let bad = |what| Err(FrameEnd { reason: CloseReason::BadLength, what: Some(what) });
        let Ok(length) = usize::try_from(announced) else {
            return bad(format!(
                "a request announced a length of {announced} bytes; 0 to {} are allowed (socket.request.max.bytes)",
                self.request_bytes_max
            ));
        };
        if length > self.request_bytes_max {
            return bad(format!(
                "a request announced a length of {length} bytes, over the limit of {} (socket.request.max.bytes)",
                self.request_bytes_max
            ));
        }
        let room = self.partial.pool().charge_max().min(self.requests.charge_max());
        if length as u64 > room {
            return bad(format!(
                "a request announced a length of {length} bytes and a core has room for {room}; \
                 raise corelog.memory.bytes or lower corelog.cores"
            ));
        }
        Ok(length)
    }
}

/// A frame's bytes (without its length) and their charge in the requests' share.
pub(super) type Frame = (BytesMut, Charge);

/// Turns one connection's bytes into frames.
pub(super) struct FrameReader {
    limits: Rc<FrameLimits>,
    /// Bytes received behind the frame that was handed out: whole frames, then perhaps the beginning of one. At most
    /// what one receive brought and a length that was cut in two.
    carry: BytesMut,
    carry_charge: Option<Charge>,
    growing: Option<Growing>,
    registration: Option<Registration>,
}

/// A frame that arrives in pieces.
struct Growing {
    length: usize,
    /// Cleared a step ahead of what has arrived, within what is charged; never longer than `length`.
    buffer: Vec<u8>,
    filled: usize,
    charge: Charge,
}

/// What the bytes at hand begin with.
enum Head {
    /// Not even a length.
    Nothing,
    /// A whole frame of this length.
    Whole(usize),
    /// A frame of this length, not whole.
    Part(usize),
}

impl FrameReader {
    pub(super) fn new(limits: Rc<FrameLimits>) -> Self {
        Self { limits, carry: BytesMut::new(), carry_charge: None, growing: None, registration: None }
    }

    /// The next frame.
    pub(super) async fn next(&mut self, source: &impl Source) -> Result<Frame, FrameEnd> {
        loop {
            if self.growing.is_none() {
                match head(&self.carry, &self.limits)? {
                    Head::Whole(length) => return self.cut(length, source).await,
                    Head::Part(length) => self.start_growing(length, source).await?,
                    Head::Nothing => {
                        if let Some(frame) = self.receive(source).await? {
                            return Ok(frame);
                        }
                    }
                }
            } else if let Some(frame) = self.grow(source).await? {
                return Ok(frame);
            }
        }
    }

    /// Hands out the first frame of the carried bytes.
    async fn cut(&mut self, length: usize, source: &impl Source) -> Result<Frame, FrameEnd> {
        let charge = charged(source, None, self.limits.requests.charge(length as u64)).await?;
        let frame = BytesMut::from(self.carry.get(HEADER_BYTES..HEADER_BYTES + length).unwrap_or_default());
        self.carry.advance(HEADER_BYTES + length);
        if self.carry.is_empty() {
            self.carry = BytesMut::new();
            self.carry_charge = None;
        }
        self.registration = None;
        Ok((frame, charge))
    }

    /// Moves the carried beginning of a frame into a buffer of its own.
    async fn start_growing(&mut self, length: usize, source: &impl Source) -> Result<(), FrameEnd> {
        let registration = self.registration.get_or_insert_with(|| Registration::new(&self.limits.partial));
        let have = self.carry.get(HEADER_BYTES..).unwrap_or_default();
        let capacity = first_capacity(length, have.len());
        let charge = charged(source, Some(registration), registration.charge(capacity as u64)).await?;
        self.growing = Some(Growing::new(length, capacity, have, charge));
        self.carry = BytesMut::new();
        self.carry_charge = None;
        Ok(())
    }

    /// Receives into the shared buffer, and takes from it before anybody else receives. Returns a frame that was whole.
    async fn receive(&mut self, source: &impl Source) -> Result<Option<Frame>, FrameEnd> {
        if !self.carry.is_empty() && self.registration.is_none() {
            self.registration = Some(Registration::new(&self.limits.partial));
        }
        // Nothing is received that could not be charged: without room, wait for it first and then receive once.
        let mut room = None;
        loop {
            let received = poll_fn(|cx| {
                if let Some(reason) = source.poll_closing(cx).or_else(|| self.verdict(cx)) {
                    return Poll::Ready(Err(reason.into()));
                }
                if room.is_none() && !self.limits.requests.has_room(SCRATCH_BYTES as u64) {
                    return Poll::Ready(Ok(None));
                }
                let polled = source.with_scratch(|scratch| match source.poll_receive(cx, scratch) {
                    Poll::Ready(Ok(0)) => Poll::Ready(Err(self.end())),
                    Poll::Ready(Ok(received)) => {
                        drop(room.take());
                        Poll::Ready(self.absorb(scratch.get(..received).unwrap_or_default()).map(Some))
                    }
                    Poll::Ready(Err(reason)) => Poll::Ready(Err(reason.into())),
                    Poll::Pending => Poll::Pending,
                });
                if polled.is_pending() {
                    // Others may have it while nothing arrives.
                    drop(room.take());
                }
                polled
            })
            .await?;
            match received {
                Some(frame) => return Ok(frame),
                None => {
                    let charge = self.limits.requests.charge(SCRATCH_BYTES as u64);
                    room = Some(charged(source, self.registration.as_ref(), charge).await?);
                }
            }
        }
    }

    /// Takes received bytes. There is room for all of them in the requests' share.
    fn absorb(&mut self, mut bytes: &[u8]) -> Result<Option<Frame>, FrameEnd> {
        let mut frame = None;
        if self.carry.is_empty() {
            match head(bytes, &self.limits)? {
                Head::Whole(length) => {
                    let charge = self.limits.requests.charge_anyway(length as u64);
                    let whole =
                        BytesMut::from(bytes.get(HEADER_BYTES..HEADER_BYTES + length).unwrap_or_default());
                    bytes = bytes.get(HEADER_BYTES + length..).unwrap_or_default();
                    frame = Some((whole, charge));
                }
                Head::Part(length) => {
                    let registration = Registration::new(&self.limits.partial);
                    let have = bytes.get(HEADER_BYTES..).unwrap_or_default();
                    let capacity = first_capacity(length, have.len());
                    if let Some(charge) = registration.try_charge(capacity as u64) {
                        self.growing = Some(Growing::new(length, capacity, have, charge));
                        bytes = &[];
                    }
                    self.registration = Some(registration);
                }
                Head::Nothing => {}
            }
        } else if let Some(registration) = &self.registration {
            registration.touch();
        }
        if !bytes.is_empty() {
            let charge = self.limits.requests.charge_anyway(bytes.len() as u64);
            match &mut self.carry_charge {
                Some(carried) => carried.merge(charge),
                None => self.carry_charge = Some(charge),
            }
            self.carry.extend_from_slice(bytes);
        }
        Ok(frame)
    }

    /// Receives into the growing frame's own buffer. Returns the frame when it is whole.
    async fn grow(&mut self, source: &impl Source) -> Result<Option<Frame>, FrameEnd> {
        let (Some(growing), Some(registration)) = (&mut self.growing, &self.registration) else {
            return Ok(None);
        };
        if growing.filled == growing.length {
            // From here on the frame is not partial: it waits for us, not for its client.
            self.registration = None;
            let charge = self.limits.requests.charge(growing.length as u64);
            let charge = charged(source, None, charge).await?;
            let whole = self.growing.take().map(|growing| growing.buffer).unwrap_or_default();
            return Ok(Some((BytesMut::from(Bytes::from(whole)), charge)));
        }
        if growing.filled == growing.charged() {
            let more = growing.charged().min(growing.length - growing.charged());
            let charge = charged(source, Some(registration), registration.charge(more as u64)).await?;
            growing.charge.merge(charge);
        }
        if growing.filled == growing.buffer.len() {
            growing.clear_ahead();
        }
        let received = poll_fn(|cx| {
            if let Some(reason) = source.poll_closing(cx).or_else(|| registration.verdict(cx.waker())) {
                return Poll::Ready(Err(reason));
            }
            let free = growing.buffer.get_mut(growing.filled..).unwrap_or_default();
            source.poll_receive(cx, free)
        })
        .await?;
        if received == 0 {
            return Err(self.end());
        }
        growing.filled += received;
        registration.touch();
        Ok(None)
    }

    fn verdict(&self, cx: &Context<'_>) -> Option<CloseReason> {
        self.registration.as_ref().and_then(|registration| registration.verdict(cx.waker()))
    }

    /// The client has closed its side.
    fn end(&self) -> FrameEnd {
        let inside = self.growing.is_some() || !self.carry.is_empty();
        FrameEnd {
            reason: CloseReason::Peer,
            what: inside.then(|| "the client closed the connection inside a request".to_owned()),
        }
    }
}

impl Growing {
    fn new(length: usize, capacity: usize, have: &[u8], charge: Charge) -> Self {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.extend_from_slice(have);
        Self { length, buffer, filled: have.len(), charge }
    }

    /// Bytes that are charged, and so may be held: at most twice what has arrived.
    fn charged(&self) -> usize {
        self.charge.bytes() as usize
    }

    /// Clears some of what is charged, to be received into.
    fn clear_ahead(&mut self) {
        let have = self.buffer.len();
        let charged = self.charged();
        let to = charged.min(have + CLEARED_BYTES);
        if to > self.buffer.capacity() {
            // Addresses for all of a large frame: its pages become memory when they are cleared, which follows the charge. Where the
            // system counts addresses like memory and refuses, the buffer grows with the charge, and is copied.
            let all = charged > COPIED_BYTES_MAX && self.buffer.try_reserve_exact(self.length - have).is_ok();
            if !all {
                self.buffer.reserve_exact(charged - have);
            }
        }
        self.buffer.resize(to, 0);
    }
}

/// Twice what has arrived, so that an honest sender soon has all its room and a lying one never gets it.
fn first_capacity(length: usize, have: usize) -> usize {
    (have * 2).max(FIRST_BUFFER_BYTES).min(length)
}

fn head(bytes: &[u8], limits: &FrameLimits) -> Result<Head, FrameEnd> {
    let Some((announced, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(Head::Nothing) };
    let length = limits.length(i32::from_be_bytes(*announced))?;
    Ok(if rest.len() >= length { Head::Whole(length) } else { Head::Part(length) })
}

/// Waits for a charge, unless the connection must end first.
async fn charged(
    source: &impl Source,
    registration: Option<&Registration>,
    charge: impl Future<Output = Result<Charge, crate::shard::budget::TooLarge>>,
) -> Result<Charge, FrameEnd> {
    let closing = poll_fn(|cx| {
        let verdict = || registration.and_then(|registration| registration.verdict(cx.waker()));
        source
            .poll_closing(cx)
            .or_else(verdict)
            .map_or(Poll::Pending, |reason| Poll::Ready(Err(reason.into())))
    });
    let charge = async {
        charge
            .await
            .map_err(|error| FrameEnd { reason: CloseReason::BadLength, what: Some(error.to_string()) })
    };
    futures_lite::future::or(charge, closing).await
}
