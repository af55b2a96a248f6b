//! Frames from a client, one after the other: header, guard, decoder, handler and the encoding of the reply.
//!
//! The broker behind them is the one of the API tests: real handlers, controller and group coordinators over fake partitions.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::fakes::Bench;

/// Frames in one input.
const FRAMES_MAX: usize = 8;

/// How often a reply that waits is asked: nothing in the fakes moves on its own.
const POLLS_MAX: usize = 16;

/// Sends frames, each with two bytes of length in front, to a broker with two topics. Every reply must be a whole frame.
pub fn run(mut bytes: &[u8]) {
    let bench = Bench::new();
    bench.topic("orders", 2);
    bench.topic("t", 1);
    bench.world.time_is_up.set(true);
    for _ in 0..FRAMES_MAX {
        let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (frame, rest) = rest.split_at(length);
        bytes = rest;
        let Some(answer) = finish(bench.dispatch(frame).start) else { continue };
        let Some(reply) = finish(answer) else { continue };
        let Some(segments) = reply.segments else { continue };
        let reply = segments.concat();
        let (length, body) = reply.split_first_chunk::<4>().expect("a reply has a length");
        assert_eq!(u32::from_be_bytes(*length) as usize, body.len(), "and it is true");
        assert_eq!(body.first_chunk::<4>(), frame[4..].first_chunk::<4>(), "whose reply is it?");
    }
}

/// What comes of it; none when it waits for what does not happen here.
fn finish<T>(mut future: Pin<Box<dyn Future<Output = T>>>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    (0..POLLS_MAX).find_map(|_| match future.as_mut().poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    })
}
