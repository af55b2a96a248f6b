//! Pools grant, wait, serve in order and get back what was lent.

use super::*;
use futures_lite::future::{block_on, poll_once};
use std::pin::pin;

const MIB: u64 = 1 << 20;

fn requests(bytes: u64) -> (Budget, Pool) {
    let budget = Budget::new(bytes);
    let pool = budget.pool(Share::Requests).clone();
    (budget, pool)
}

#[test]
fn shares_add_up_to_the_whole() {
    assert_eq!(Share::ALL.iter().map(|share| share.percent()).sum::<u64>(), 100);
    let budget = Budget::new(100 * MIB);
    let total: u64 = Share::ALL.iter().map(|share| budget.pool(*share).limit()).sum();
    assert!(total <= 100 * MIB && total > 99 * MIB);
}

#[test]
fn default_is_a_quarter_of_the_machine_but_no_more_than_two_gib() {
    assert_eq!(default_memory_bytes(4 << 30), 1 << 30);
    assert_eq!(default_memory_bytes(64 << 30), 2 << 30);
}

#[test]
fn dropped_charges_return_their_bytes() {
    let (_budget, pool) = requests(100 * MIB);
    let mut charge = pool.try_charge(10 * MIB).unwrap();
    let half = charge.split(5 * MIB);
    assert_eq!(pool.used(), 10 * MIB);
    charge.shrink_to(MIB);
    assert_eq!(pool.used(), 6 * MIB);
    charge.merge(half);
    assert_eq!((charge.bytes(), pool.used()), (6 * MIB, 6 * MIB));
    drop(charge);
    assert_eq!((pool.used(), pool.peak()), (0, 10 * MIB));
}

#[test]
fn a_charge_that_could_never_fit_is_refused_at_once() {
    let (_budget, pool) = requests(100 * MIB);
    let error = block_on(pool.charge(pool.limit())).unwrap_err();
    assert_eq!(error.limit, pool.charge_max());
    assert!(error.to_string().contains("corelog.memory.bytes"), "{error}");
}

#[test]
fn large_charges_leave_a_reserve_for_small_ones() {
    let (_budget, pool) = requests(100 * MIB);
    let _all = pool.try_charge(pool.charge_max()).unwrap();
    assert!(pool.try_charge(SMALL_BYTES + 1).is_none());
    assert!(pool.try_charge(SMALL_BYTES).is_some());
}

#[test]
fn waiters_are_served_in_order_and_small_ones_first() {
    block_on(async {
        let (_budget, pool) = requests(100 * MIB);
        let held = pool.try_charge(pool.charge_max()).unwrap();
        let reserve = pool.charge_anyway(pool.limit() - pool.charge_max());
        let mut first = pin!(pool.charge(2 * MIB));
        let mut second = pin!(pool.charge(MIB));
        let mut small = pin!(pool.charge(1));
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        assert!(poll_once(&mut small).await.is_none());
        assert_eq!(pool.waiting(), 3);
        assert!(!pool.has_room(0), "nobody jumps the queue");

        drop(reserve);
        let small = poll_once(&mut small).await.unwrap().unwrap();
        assert!(poll_once(&mut first).await.is_none(), "the reserve is not for large charges");
        drop((small, held));
        let first = poll_once(&mut first).await.unwrap().unwrap();
        let second = poll_once(&mut second).await.unwrap().unwrap();
        assert_eq!(pool.used(), first.bytes() + second.bytes());
    });
}

#[test]
fn a_waiter_that_gives_up_neither_blocks_the_line_nor_keeps_bytes() {
    block_on(async {
        let (_budget, pool) = requests(100 * MIB);
        let held = pool.try_charge(pool.charge_max() - 2 * MIB).unwrap();
        let mut big = Box::pin(pool.charge(10 * MIB));
        let mut behind = pin!(pool.charge(MIB));
        assert!(poll_once(&mut big).await.is_none());
        assert!(poll_once(&mut behind).await.is_none());
        drop(big);
        let behind = poll_once(&mut behind).await.unwrap().unwrap();

        // Granted, but dropped before it was looked at.
        let mut granted = Box::pin(pool.charge(10 * MIB));
        assert!(poll_once(&mut granted).await.is_none());
        drop(held);
        assert_eq!(pool.used(), 11 * MIB);
        drop((granted, behind));
        assert_eq!((pool.used(), pool.waiting()), (0, 0));
    });
}
