//! Frames come out whole whatever the pieces; lengths are checked; memory follows what arrived.

use super::*;
use crate::shard::budget::{Budget, Share};
use futures_lite::future::{block_on, poll_once};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;

const MIB: u64 = 1 << 20;

/// A connection that brings these pieces, then nothing, or its end.
struct Pieces {
    pieces: RefCell<VecDeque<Vec<u8>>>,
    ends: Cell<bool>,
    scratch: RefCell<Vec<u8>>,
}

impl Pieces {
    fn new(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            pieces: RefCell::new(pieces.into_iter().collect()),
            ends: Cell::new(false),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
        }
    }

    fn push(&self, piece: &[u8]) {
        self.pieces.borrow_mut().push_back(piece.to_vec());
    }
}

impl Source for Pieces {
    fn poll_receive(&self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, CloseReason>> {
        let mut pieces = self.pieces.borrow_mut();
        let Some(mut piece) = pieces.pop_front() else {
            return if self.ends.get() { Poll::Ready(Ok(0)) } else { Poll::Pending };
        };
        let taken = piece.len().min(into.len());
        into[..taken].copy_from_slice(&piece[..taken]);
        let rest = piece.split_off(taken);
        if !rest.is_empty() {
            pieces.push_front(rest);
        }
        Poll::Ready(Ok(taken))
    }

    fn with_scratch<T>(&self, receive: impl FnOnce(&mut [u8]) -> T) -> T {
        receive(&mut self.scratch.borrow_mut())
    }

    fn poll_closing(&self, _: &Context<'_>) -> Option<CloseReason> {
        None
    }
}

fn limits(budget: &Budget) -> Rc<FrameLimits> {
    Rc::new(FrameLimits {
        request_bytes_max: 100 << 20,
        requests: budget.pool(Share::Requests).clone(),
        partial: PartialFrames::new(budget.pool(Share::PartialFrames).clone()),
    })
}

fn reader(budget: &Budget) -> FrameReader {
    FrameReader::new(limits(budget))
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = (bytes.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(bytes);
    frame
}

fn patterned(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 % 251) as u8).collect()
}

#[test]
fn frames_come_out_whole_wherever_they_are_cut() {
    let bodies =
        [patterned(0), patterned(1), patterned(100), patterned(5_000), patterned(200_000), patterned(3)];
    let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
    for piece in [1, 2, 3, 5, 7, 1_000, 4_096, 70_000, stream.len()] {
        let budget = Budget::new(100 * MIB);
        let mut reader = reader(&budget);
        let source = Pieces::new(stream.chunks(piece).map(<[u8]>::to_vec));
        block_on(async {
            for body in &bodies {
                let (bytes, charge) = reader.next(&source).await.unwrap();
                assert_eq!(bytes, body, "cut into pieces of {piece}");
                assert_eq!(charge.bytes(), body.len() as u64);
            }
            source.ends.set(true);
            assert_eq!(reader.next(&source).await.unwrap_err(), CloseReason::Peer.into());
        });
        drop(reader);
        assert_eq!(budget.pool(Share::Requests).used() + budget.pool(Share::PartialFrames).used(), 0);
    }
}

#[test]
fn an_idle_connection_holds_nothing() {
    let budget = Budget::new(100 * MIB);
    let mut reader = reader(&budget);
    let source = Pieces::new([frame(&patterned(300)), frame(&patterned(100_000))]);
    block_on(async {
        reader.next(&source).await.unwrap();
        reader.next(&source).await.unwrap();
        assert!(poll_once(reader.next(&source)).await.is_none());
    });
    assert_eq!(reader.carry.capacity(), 0);
    assert!(reader.growing.is_none() && reader.registration.is_none());
    assert_eq!(budget.pool(Share::Requests).used() + budget.pool(Share::PartialFrames).used(), 0);
}

#[test]
fn hostile_lengths_end_the_connection_with_limit_and_setting() {
    for (length, said) in
        [(-1, "-1"), (i32::MIN, "-2147483648"), (i32::MAX, "2147483647"), (100 << 20 | 1, "104857601")]
    {
        let budget = Budget::new(1000 * MIB);
        let mut reader = reader(&budget);
        let source = Pieces::new([length.to_be_bytes().to_vec()]);
        let end = block_on(reader.next(&source)).unwrap_err();
        assert_eq!(end.reason, CloseReason::BadLength);
        let what = end.what.unwrap();
        assert!(
            what.contains(said) && what.contains("socket.request.max.bytes") && what.contains("104857600"),
            "{what}"
        );
    }
}

#[test]
fn a_frame_the_memory_could_never_hold_is_refused_at_its_length() {
    let budget = Budget::new(100 * MIB);
    let mut reader = reader(&budget);
    let source = Pieces::new([(50_i32 << 20).to_be_bytes().to_vec()]);
    let end = block_on(reader.next(&source)).unwrap_err();
    assert!(end.what.unwrap().contains("corelog.memory.bytes"));
}

#[test]
fn memory_follows_what_arrives_and_not_what_is_announced() {
    let budget = Budget::new(1000 * MIB);
    let mut reader = reader(&budget);
    let mut start = (90_i32 << 20).to_be_bytes().to_vec();
    start.extend_from_slice(b"only this");
    let source = Pieces::new([start]);
    block_on(async {
        let mut next = pin!(reader.next(&source));
        assert!(poll_once(&mut next).await.is_none());
        assert_eq!(budget.pool(Share::PartialFrames).used(), FIRST_BUFFER_BYTES as u64);
        source.push(&patterned(3 << 20));
        assert!(poll_once(&mut next).await.is_none());
        let used = budget.pool(Share::PartialFrames).used();
        assert!((3 * MIB..=8 * MIB).contains(&used), "{used}");
    });
    drop(reader);
    assert_eq!(budget.pool(Share::PartialFrames).used(), 0);
}

#[test]
fn a_large_frame_is_cleared_in_steps_and_not_copied_again_as_it_grows() {
    let budget = Budget::new(1000 * MIB);
    let mut reader = reader(&budget);
    let (length, step) = (40 << 20, 300_000);
    let source = Pieces::new([(length as i32).to_be_bytes().to_vec()]);
    let mut at = None;
    for sent in (step..10 << 20).step_by(step) {
        source.push(&patterned(step));
        assert!(block_on(poll_once(reader.next(&source))).is_none());
        let growing = reader.growing.as_ref().unwrap();
        let (held, charged) = (growing.buffer.len(), growing.charged());
        assert_eq!(growing.filled, sent);
        assert!(held <= sent + CLEARED_BYTES && held <= charged, "{held} bytes of {charged} at {sent}");
        assert!(charged <= 2 * sent + FIRST_BUFFER_BYTES, "{charged} bytes charged at {sent}");
        if sent > COPIED_BYTES_MAX {
            assert_eq!(growing.buffer.capacity(), length);
            assert_eq!(*at.get_or_insert(growing.buffer.as_ptr()), growing.buffer.as_ptr());
        }
    }
}

#[test]
fn when_partial_frames_fill_their_share_the_one_that_waited_longest_goes() {
    let budget = Budget::new(100 * MIB);
    let limits = limits(&budget);
    let mut readers: Vec<_> = (0..3).map(|_| FrameReader::new(limits.clone())).collect();
    let start = |length: usize, have: usize| {
        let mut bytes = (length as i32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&patterned(have));
        bytes
    };
    // Each holds some 4 MiB of a share whose large charges end at 11.
    let sources: Vec<_> = (0..3).map(|_| Pieces::new([start(5 << 20, 3 << 20)])).collect();
    block_on(async {
        let mut next: Vec<_> =
            readers.iter_mut().zip(&sources).map(|(reader, source)| Box::pin(reader.next(source))).collect();
        assert!(poll_once(&mut next[0]).await.is_none());
        assert!(poll_once(&mut next[1]).await.is_none());
        // The first goes on arriving, so the second has waited longest.
        sources[0].push(b"more");
        assert!(poll_once(&mut next[0]).await.is_none());
        assert!(poll_once(&mut next[2]).await.is_none());
        assert!(poll_once(&mut next[0]).await.is_none());
        let evicted = poll_once(&mut next[1]).await.unwrap().unwrap_err();
        assert_eq!(evicted.reason, CloseReason::Evicted);
        let second = next.remove(1);
        drop(second);
    });
    readers.remove(1);
    block_on(async {
        // Room again: the third finishes.
        sources[2].push(&patterned(2 << 20));
        let (bytes, _charge) = readers[1].next(&sources[2]).await.unwrap();
        assert_eq!(bytes.len(), 5 << 20);
    });
    assert!(budget.pool(Share::PartialFrames).peak() <= budget.pool(Share::PartialFrames).limit());
}

#[test]
fn a_frame_that_stops_arriving_is_ended_by_the_sweep_even_inside_its_length() {
    for begun in [vec![0, 0], frame(&patterned(100))[..50].to_vec()] {
        let budget = Budget::new(100 * MIB);
        let limits = limits(&budget);
        let mut reader = FrameReader::new(limits.clone());
        let source = Pieces::new([begun]);
        block_on(async {
            let mut next = pin!(reader.next(&source));
            assert!(poll_once(&mut next).await.is_none());
            let now = std::time::Instant::now();
            limits.partial.sweep(now, std::time::Duration::from_secs(30));
            assert!(poll_once(&mut next).await.is_none());
            limits
                .partial
                .sweep(now + std::time::Duration::from_secs(31), std::time::Duration::from_secs(30));
            assert_eq!(poll_once(&mut next).await.unwrap().unwrap_err().reason, CloseReason::FrameTimeout);
        });
    }
}

#[test]
fn without_room_for_requests_nothing_is_received() {
    let budget = Budget::new(100 * MIB);
    let requests = budget.pool(Share::Requests).clone();
    let mut reader = reader(&budget);
    let source = Pieces::new([frame(&patterned(100))]);
    block_on(async {
        let full = requests.charge_anyway(requests.limit());
        let mut next = pin!(reader.next(&source));
        assert!(poll_once(&mut next).await.is_none());
        assert_eq!(source.pieces.borrow().len(), 1, "still in the socket");
        drop(full);
        let (bytes, charge) = poll_once(&mut next).await.unwrap().unwrap();
        assert_eq!((bytes.len(), charge.bytes(), requests.used()), (100, 100, 100));
    });
}
