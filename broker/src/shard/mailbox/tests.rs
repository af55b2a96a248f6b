//! Calls come back, order holds, bounds bind, nothing deadlocks, and nobody waits for the dead.

use super::*;
use futures_lite::future::{block_on, or, poll_once};
use glommio::{LocalExecutorBuilder, Placement};
use std::pin::pin;
use std::thread;
use std::time::Duration;

type Ports = Vec<Port<u64, u64, u64>>;

fn pair(limits: Limits) -> (Endpoint<u64, u64, u64>, Endpoint<u64, u64, u64>) {
    let mut ports: Ports = mailbox(2, limits);
    let b = ports.pop().unwrap().open();
    let a = ports.pop().unwrap().open();
    (a, b)
}

fn tiny() -> Limits {
    Limits { queued_requests_max: 2, open_calls_max: 1_000, notices_max: 2 }
}

/// Polls `endpoint` once, as a loop turn of its core would.
async fn turn(serve: &mut Pin<Box<impl Future<Output = ()>>>) {
    assert!(poll_once(serve).await.is_none());
}

#[test]
fn a_call_is_answered_and_its_place_freed() {
    block_on(async {
        let (a, b) = pair(Limits::default());
        let mut at_a = Box::pin(a.serve(|_| panic!("a is asked nothing")));
        let mut at_b = Box::pin(b.serve(|message| {
            if let Incoming::Request { from, query, reply } = message {
                assert_eq!(from, Core(0));
                reply.send(query * 2);
            }
        }));
        let mut call = pin!(a.call(Core(1), 21));
        assert!(poll_once(&mut call).await.is_none());
        turn(&mut at_b).await;
        turn(&mut at_a).await;
        assert_eq!(poll_once(&mut call).await, Some(Ok(42)));
        assert_eq!(a.open_calls(), 0);
        assert_eq!((a.counters().requests_sent, b.counters().requests_received), (1, 1));
    });
}

#[test]
fn without_a_credit_a_sender_waits_and_the_order_stays() {
    block_on(async {
        let (a, b) = pair(tiny());
        let seen = RefCell::new(Vec::new());
        let mut at_a = Box::pin(a.serve(|_| ()));
        let mut at_b = Box::pin(b.serve(|message| {
            if let Incoming::Request { query, reply, .. } = message {
                seen.borrow_mut().push(query);
                reply.send(query);
            }
        }));
        let mut submits: Vec<_> = (0..7).map(|n| Box::pin(a.submit(Core(1), n))).collect();
        let mut sent = Vec::new();
        for submit in &mut submits {
            sent.push(poll_once(submit).await);
        }
        let admitted = sent.iter().filter(|sent| sent.is_some()).count();
        assert_eq!(admitted, 2, "the lane holds two");
        // A third party's line is not affected.
        for _ in 0..4 {
            turn(&mut at_b).await;
            turn(&mut at_a).await;
        }
        assert_eq!(*seen.borrow(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(a.counters().credit_waits, 5);
    });
}

#[test]
fn a_sender_that_gives_up_in_line_sends_nothing_and_loses_no_place() {
    block_on(async {
        let (a, b) = pair(tiny());
        let seen = RefCell::new(Vec::new());
        let mut at_a = Box::pin(a.serve(|_| ()));
        let mut at_b = Box::pin(b.serve(|message| {
            if let Incoming::Request { query, reply, .. } = message {
                seen.borrow_mut().push(query);
                reply.send(query);
            }
        }));
        let mut calls: Vec<_> = (0..5).map(|n| Box::pin(a.call(Core(1), n))).collect();
        for call in &mut calls {
            assert!(poll_once(call).await.is_none());
        }
        drop(calls.remove(3)); // in line
        drop(calls.remove(0)); // sent already
        for _ in 0..4 {
            turn(&mut at_b).await;
            turn(&mut at_a).await;
        }
        assert_eq!(*seen.borrow(), [0, 1, 2, 4]);
        for (call, expected) in calls.iter_mut().zip([1, 2, 4]) {
            assert_eq!(poll_once(call).await, Some(Ok(expected)));
        }
        assert_eq!(a.open_calls(), 0);
    });
}

#[test]
fn a_sender_that_gives_up_after_its_turn_came_keeps_the_place_until_the_reply() {
    block_on(async {
        let (a, b) = pair(Limits { queued_requests_max: 1, ..tiny() });
        let held = RefCell::new(Vec::new());
        let mut at_a = Box::pin(a.serve(|_| ()));
        let mut at_b = Box::pin(b.serve(|message| {
            if let Incoming::Request { reply, .. } = message {
                held.borrow_mut().push(reply);
            }
        }));
        let first = a.submit(Core(1), 1).await.unwrap();
        let mut second = Box::pin(a.submit(Core(1), 2));
        assert!(poll_once(&mut second).await.is_none());
        turn(&mut at_b).await;
        turn(&mut at_a).await; // sends the second, which is then dropped unseen
        drop(second);
        turn(&mut at_b).await;
        assert_eq!(a.open_calls(), 2);
        held.borrow_mut().drain(..).for_each(|reply| reply.send(7));
        turn(&mut at_a).await;
        assert_eq!(a.open_calls(), 1);
        assert_eq!(first.await, Ok(7));
    });
}

#[test]
fn open_calls_are_bounded() {
    block_on(async {
        let (a, b) = pair(Limits { open_calls_max: 2, ..Limits::default() });
        let mut at_a = Box::pin(a.serve(|_| ()));
        let mut at_b = Box::pin(b.serve(|message| {
            if let Incoming::Request { query, reply, .. } = message {
                reply.send(query);
            }
        }));
        let mut one = pin!(a.call(Core(1), 1));
        let mut two = pin!(a.call(Core(1), 2));
        let mut three = pin!(a.call(Core(1), 3));
        assert!(poll_once(&mut one).await.is_none());
        assert!(poll_once(&mut two).await.is_none());
        assert!(poll_once(&mut three).await.is_none());
        assert_eq!(a.counters().requests_sent, 2);
        turn(&mut at_b).await;
        turn(&mut at_a).await;
        assert_eq!(poll_once(&mut one).await, Some(Ok(1)));
        assert!(poll_once(&mut three).await.is_none());
        assert_eq!(a.counters().requests_sent, 3);
    });
}

#[test]
fn notices_are_bounded_and_handed_back() {
    block_on(async {
        let (a, b) = pair(tiny());
        let seen = RefCell::new(Vec::new());
        assert_eq!(a.notify(Core(1), 1), Ok(()));
        assert_eq!(a.notify(Core(1), 2), Ok(()));
        assert_eq!(a.notify(Core(1), 3), Err(Refused(3)));
        let mut at_b = Box::pin(b.serve(|message| {
            if let Incoming::Notice(notice) = message {
                seen.borrow_mut().push(notice);
            }
        }));
        turn(&mut at_b).await;
        assert_eq!(a.notify(Core(1), 4), Ok(()));
        turn(&mut at_b).await;
        assert_eq!(*seen.borrow(), [1, 2, 4]);
    });
}

#[test]
fn many_messages_cost_one_wake() {
    let (a, _b) = pair(Limits::default());
    for n in 0..100 {
        a.notify(Core(1), n).unwrap();
    }
    assert_eq!(a.counters().wakes_sent, 1);
}

#[test]
fn nobody_waits_for_an_endpoint_that_is_gone() {
    block_on(async {
        let (a, b) = pair(tiny());
        let mut at_a = Box::pin(a.serve(|_| ()));
        let mut calls: Vec<_> = (0..5).map(|n| Box::pin(a.call(Core(1), n))).collect();
        for call in &mut calls {
            assert!(poll_once(call).await.is_none());
        }
        drop(b);
        turn(&mut at_a).await;
        for call in &mut calls {
            assert_eq!(poll_once(call).await, Some(Err(Gone(Core(1)))));
        }
        assert_eq!(a.call(Core(1), 9).await, Err(Gone(Core(1))));
        assert_eq!(a.notify(Core(1), 9), Err(Refused(9)));
        assert_eq!(a.open_calls(), 0);
    });
}

#[test]
fn a_dropped_request_tells_its_caller() {
    block_on(async {
        let (a, b) = pair(tiny());
        let mut at_a = Box::pin(a.serve(|_| ()));
        let mut at_b = Box::pin(b.serve(drop));
        let mut call = pin!(a.call(Core(1), 1));
        assert!(poll_once(&mut call).await.is_none());
        turn(&mut at_b).await;
        turn(&mut at_a).await;
        assert_eq!(poll_once(&mut call).await, Some(Err(Gone(Core(1)))));
    });
}

/// Three endpoints on threads of their own (two glommio executors and a plain thread, as the control thread is), each
/// keeping far more calls in the air than there are credits, in every direction, itself included.
#[test]
fn a_flood_in_every_direction_with_one_credit_ends() {
    const CALLERS: u64 = 64;
    const CALLS: u64 = 50;
    let limits = Limits { queued_requests_max: 1, open_calls_max: 40, notices_max: 1 };
    let mut ports: Ports = mailbox(3, limits);
    let plain = ports.pop().unwrap();

    async fn flood(endpoint: Endpoint<u64, u64, u64>) -> u64 {
        let mut answered = 0;
        for n in 0..CALLS {
            for to in 0..3 {
                assert_eq!(endpoint.call(Core(to), n).await, Ok(n + 1));
                answered += 1;
            }
        }
        answered
    }

    // Endpoints stay open until everybody is done: whoever finishes first must still answer.
    let done = Arc::new(std::sync::Barrier::new(3));
    let cores: Vec<_> = ports
        .into_iter()
        .map(|port| {
            let done = done.clone();
            LocalExecutorBuilder::new(Placement::Unbound)
                .spawn(move || async move {
                    let endpoint = port.open();
                    let server = endpoint.clone();
                    glommio::spawn_local(async move { server.serve(answer_plus_one).await }).detach();
                    let callers: Vec<_> =
                        (0..CALLERS).map(|_| glommio::spawn_local(flood(endpoint.clone()))).collect();
                    let mut answered = 0;
                    for caller in callers {
                        answered += caller.await;
                    }
                    glommio::executor().spawn_blocking(move || done.wait()).await;
                    answered
                })
                .unwrap()
        })
        .collect();
    let control = thread::spawn(move || {
        let endpoint = plain.open();
        let answered = block_on(or(
            async {
                endpoint.serve(answer_plus_one).await;
                0
            },
            async {
                let mut answered = 0;
                for _ in 0..8 {
                    answered += flood(endpoint.clone()).await;
                }
                answered
            },
        ));
        // Keeps answering while the others finish.
        let barrier = thread::spawn(move || done.wait());
        block_on(or(endpoint.serve(answer_plus_one), async {
            while !barrier.is_finished() {
                thread::sleep(Duration::from_millis(1));
                futures_lite::future::yield_now().await;
            }
        }));
        answered
    });
    for core in cores {
        assert_eq!(core.join().unwrap(), CALLERS * CALLS * 3);
    }
    assert_eq!(control.join().unwrap(), 8 * CALLS * 3);
}

fn answer_plus_one(message: Incoming<u64, u64, u64>) {
    if let Incoming::Request { query, reply, .. } = message {
        reply.send(query + 1);
    }
}
