//! Units of the log that need no disk: the tail cache, names, leader epochs, gates.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use proptest::prelude::*;

use super::gate::{Gate, Signal};
use super::tail::{CHUNK_BYTES_MAX, Evictable, Placed, TailCache};
use super::{LeaderEpochs, LogIdentity, parse_deleted_dir_name, parse_dir_name};
use crate::types::LogId;

fn placed(position: u32, base_offset: i64, next_offset: i64) -> Placed {
    Placed { segment_base: 0, position, base_offset, next_offset, max_timestamp: base_offset }
}

fn batch(fill: u8, len: usize) -> Bytes {
    Bytes::from(vec![fill; len])
}

/// A cache of one-record batches of these lengths; `pinned` says whether each has its allocation to itself.
fn cache_of(batches: &[(usize, bool)]) -> (TailCache, Vec<Evictable>) {
    let mut cache = TailCache::default();
    let mut closed = Vec::new();
    let mut position = 0;
    for (at, (len, pinned)) in batches.iter().enumerate() {
        let backing = if *pinned { *len } else { len * 10 };
        let at = at as i64;
        cache.push(batch(at as u8, *len), backing, placed(position, at, at + 1), |unit| closed.push(unit));
        position += *len as u32;
    }
    (cache, closed)
}

#[test]
fn a_batch_that_fills_half_of_its_buffer_is_kept_and_a_smaller_one_is_copied() {
    let mut cache = TailCache::default();
    let whole = batch(1, 1000);
    cache.push(whole.clone(), 2000, placed(0, 0, 1), |_| {});
    let part = batch(2, 1000);
    cache.push(part.clone(), 2001, placed(1000, 1, 2), |_| {});
    let slices = cache.slices(0, 2, usize::MAX, true).unwrap();
    assert_eq!(slices.batches[0].as_ptr(), whole.as_ptr(), "kept");
    assert_ne!(slices.batches[1].as_ptr(), part.as_ptr(), "copied");
    assert_eq!(cache.charged_bytes(), 2000 + 4096, "the buffer that is pinned, and the first chunk");
}

#[test]
fn what_is_charged_is_free_again_when_everything_is_evicted() {
    let (mut cache, closed) =
        cache_of(&[(100, false), (5000, true), (3000, false), (3000, false), (40_000, false)]);
    assert!(cache.charged_bytes() >= 51_100);
    let last = cache.close_chunk().unwrap();
    assert_eq!(last.next_offset, 4, "the chunk ends with the last small batch");
    assert_eq!(closed.last().unwrap().next_offset, 5);
    assert_eq!(cache.evict(5), cache.charged_bytes() + 5000 + 4096 + 8192 + 40_000);
    assert_eq!(cache.charged_bytes(), 0);
    assert_eq!(cache.start_offset(), None);
}

#[test]
fn an_evicted_open_chunk_gives_its_charge_back_when_it_is_closed() {
    let (mut cache, _) = cache_of(&[(100, false)]);
    assert_eq!(cache.evict(1), 0, "the chunk is still open");
    assert_eq!(cache.close_chunk(), None);
    assert_eq!(cache.charged_bytes(), 0);
}

#[test]
fn slices_begin_with_the_batch_that_holds_the_offset_and_end_before_the_limit() {
    let mut cache = TailCache::default();
    cache.push(batch(0, 100), 100, placed(0, 10, 15), |_| {});
    cache.push(batch(1, 100), 100, placed(100, 15, 20), |_| {});
    cache.push(batch(2, 100), 100, placed(200, 20, 21), |_| {});
    assert!(cache.slices(9, 21, 1000, true).is_none(), "before the cache");
    assert_eq!(cache.slices(12, 21, 1000, true).unwrap().batches.len(), 3);
    assert_eq!(cache.slices(15, 20, 1000, true).unwrap().next_offset, 20, "never past the visible end");
    assert_eq!(
        cache.slices(12, 21, 10, true).unwrap().batches.len(),
        1,
        "one batch, however small the limit"
    );
    assert_eq!(cache.slices(12, 21, 10, false).unwrap().batches.len(), 0);
    assert_eq!(cache.slices(12, 21, 200, true).unwrap().total_bytes, 200);
    assert_eq!(cache.slices(21, 21, 200, true).unwrap().next_offset, 21);
}

proptest! {
    #[test]
    fn gather_returns_the_bytes_of_any_range_of_any_segment(
        lens in prop::collection::vec((1usize..3000, any::<bool>()), 1..40),
        roll_every in 1usize..10,
        from in 0u64..5000,
        len in 0usize..9000,
        segment in 0usize..10,
    ) {
        let mut cache = TailCache::default();
        let mut segments: Vec<(i64, Vec<u8>)> = Vec::new();
        for (at, (len, pinned)) in lens.iter().enumerate() {
            if at % roll_every == 0 {
                segments.push((at as i64, Vec::new()));
            }
            let (base, bytes) = segments.last_mut().unwrap();
            let at_offset = at as i64;
            let at = Placed { segment_base: *base, position: bytes.len() as u32, base_offset: at_offset, next_offset: at_offset + 1, max_timestamp: 0 };
            let content: Vec<u8> = (0..*len).map(|i| (i * 7 + at_offset as usize) as u8).collect();
            bytes.extend_from_slice(&content);
            cache.push(Bytes::from(content), if *pinned { *len } else { CHUNK_BYTES_MAX * 4 }, at, |_| {});
        }
        let (base, bytes) = &segments[segment % segments.len()];
        let mut into = vec![0xee; len];
        let copied = cache.gather(*base, from, &mut into);
        let expected = bytes.get(from as usize..).unwrap_or(&[]);
        let expected = &expected[..expected.len().min(len)];
        prop_assert_eq!(copied, expected.len());
        prop_assert_eq!(&into[..copied], expected);
    }

    #[test]
    fn charges_always_add_up(steps in prop::collection::vec((1usize..50_000, 0u8..8), 1..60)) {
        let mut cache = TailCache::default();
        let mut units: Vec<Evictable> = Vec::new();
        let mut position = 0;
        for (at, (len, what)) in steps.into_iter().enumerate() {
            match what {
                0 => units.extend(cache.close_chunk()),
                1 => if let Some(unit) = units.first().copied() {
                    units.remove(0);
                    cache.evict(unit.next_offset);
                },
                _ => {
                    let backing = if what % 2 == 0 { len } else { len * 3 };
                    let at = at as i64;
                    cache.push(batch(0, len), backing, placed(position, at, at + 1), |unit| units.push(unit));
                    position += len as u32;
                }
            }
            let held: usize = cache.pieces().map(|piece| piece.bytes.len()).sum();
            prop_assert!(cache.charged_bytes() >= held, "{} bytes are charged, {held} are held", cache.charged_bytes());
        }
        units.extend(cache.close_chunk());
        cache.evict(i64::MAX);
        prop_assert_eq!(cache.charged_bytes(), 0);
    }
}

#[test]
fn directory_names_are_read_back_and_only_ours_are_leftovers() {
    let identity =
        LogIdentity { log_id: LogId(0xab), topic_id: [1; 16], topic: "a-b.c".into(), partition: 12 };
    assert_eq!(parse_dir_name(&identity.dir_name()), Some(("a-b.c", 12)));
    assert_eq!(parse_deleted_dir_name(&identity.deleted_dir_name()), Some(LogId(0xab)));
    for foreign in ["a", "-1", "a-", "a-01", "a-+1", "a--1x", "a-2147483648"] {
        assert_eq!(parse_dir_name(foreign), None, "{foreign}");
    }
    for foreign in [".deleted", "00ab.deleted", "a-0.deleted", "+00000000000000a.deleted", "00000000000000ab"]
    {
        assert_eq!(parse_deleted_dir_name(foreign), None, "{foreign}");
    }
}

#[test]
fn the_end_offset_of_an_epoch_is_where_the_next_one_starts() {
    let mut epochs = LeaderEpochs::default();
    for (epoch, offset) in [(-1, 0), (2, 10), (2, 20), (5, 30), (4, 40)] {
        epochs.note(epoch, offset);
    }
    assert_eq!(epochs.entries(), [(2, 10), (5, 30)]);
    assert_eq!(epochs.end_offset(1, 50), None);
    assert_eq!(epochs.end_offset(2, 50), Some((2, 30)));
    assert_eq!(epochs.end_offset(4, 50), Some((2, 30)));
    assert_eq!(epochs.end_offset(9, 50), Some((5, 50)));
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_gate_lets_waiting_tasks_through_in_order_and_one_that_left_does_not_keep_its_place() {
    let gate = Gate::new(1);
    let order = Rc::new(RefCell::new(Vec::new()));
    let first = gate.try_pass().unwrap();
    let task = |name: char| {
        let (gate, order) = (gate.clone(), order.clone());
        async move {
            let _pass = gate.pass().await;
            order.borrow_mut().push(name);
        }
    };
    let mut a = Box::pin(task('a'));
    let mut b = Box::pin(task('b'));
    let mut c = pin!(task('c'));
    for waiting in [poll(a.as_mut()), poll(b.as_mut()), poll(c.as_mut())] {
        assert!(waiting.is_pending());
    }
    drop(b);
    drop(first);
    assert!(gate.try_pass().is_none(), "the permit belongs to the one who waited longest");
    assert!(poll(c.as_mut()).is_pending());
    assert!(poll(a.as_mut()).is_ready());
    assert!(poll(c.as_mut()).is_ready());
    assert_eq!(*order.borrow(), ['a', 'c']);
    assert!(gate.try_pass().is_some());
}

#[test]
fn a_permit_granted_to_a_task_that_went_away_goes_to_the_next() {
    let gate = Gate::new(1);
    let first = gate.try_pass().unwrap();
    let mut a = Box::pin(gate.pass());
    let mut b = pin!(gate.pass());
    assert!(poll(a.as_mut()).is_pending());
    assert!(poll(b.as_mut()).is_pending());
    drop(first);
    drop(a);
    assert!(poll(b.as_mut()).is_ready());
}

#[test]
fn whoever_needs_several_permits_is_not_overtaken_and_gets_all_at_once() {
    let gate = Gate::new(3);
    let one = gate.try_pass().unwrap();
    let mut two = Box::pin(gate.passes(2));
    let two = match poll(two.as_mut()) {
        Poll::Ready(pass) => pass,
        Poll::Pending => panic!("two were free"),
    };
    let mut all = Box::pin(gate.passes(7));
    assert!(poll(all.as_mut()).is_pending(), "more than there are is all that there are");
    drop(one);
    assert!(gate.try_pass().is_none(), "one is free, for the one who waits");
    let mut behind = pin!(gate.pass());
    assert!(poll(behind.as_mut()).is_pending());
    // It gives up, and the one behind it has what it needs.
    drop(all);
    assert!(poll(behind.as_mut()).is_ready());
    drop(two);
    assert!(poll(pin!(gate.passes(3))).is_ready());
}

#[test]
fn a_signal_is_remembered_until_somebody_waits_for_it() {
    let signal = Signal::default();
    signal.set();
    assert!(poll(pin!(signal.wait())).is_ready());
    assert!(poll(pin!(signal.wait())).is_pending());
}
