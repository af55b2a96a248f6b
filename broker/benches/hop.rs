//! What a message to another core costs, and the alternatives that were weighed: the mailbox (glommio's cross-thread waker),
//! the same queue woken through a socket pair, and glommio's shared channel. `cargo bench -p corelog --bench hop`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use corelog::shard::Core;
use corelog::shard::executor::{self, CoreSettings};
use corelog::shard::mailbox::{self, Incoming, Limits};
use corelog::shard::preflight::preflight;
use corelog::shard::shutdown::Shutdown;
use corelog::shard::watchdog::{Pulse, Watchdog, WatchdogSettings};
use crossbeam_queue::SegQueue;
use futures_lite::AsyncReadExt;
use glommio::channels::shared_channel;

const RUN: Duration = Duration::from_secs(2);

/// One way to ask the other core and hear back.
type Ask = Rc<dyn Fn(u64) -> Pin<Box<dyn Future<Output = u64>>>>;

/// Callers in the order in which they will be answered.
type Waiting = Rc<RefCell<VecDeque<Rc<Slot>>>>;

/// Where a caller waits for its answer.
#[derive(Default)]
struct Slot {
    reply: Cell<Option<u64>>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    fn answer(&self, reply: u64) {
        self.reply.set(Some(reply));
        let waker = self.waker.take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Asks with `at_once` callers for a while.
async fn measure(name: &str, ask: Ask, at_once: usize) {
    let begun = Instant::now();
    let took = Rc::new(RefCell::new(Vec::new()));
    let callers: Vec<_> = (0..at_once)
        .map(|_| {
            let (ask, took) = (ask.clone(), took.clone());
            glommio::spawn_local(async move {
                let mut n = 0;
                while begun.elapsed() < RUN {
                    let asked = Instant::now();
                    assert_eq!(ask(n).await, n + 1);
                    took.borrow_mut().push(asked.elapsed().as_nanos() as u64);
                    n += 1;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await;
    }
    let mut took = took.borrow_mut();
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100] as f64 / 1000.0;
    println!(
        "{name:<24} {at_once:>4} at once: {:>9.0} calls/s, p50 {:>7.1} us, p99 {:>7.1} us",
        took.len() as f64 / begun.elapsed().as_secs_f64(),
        at(50),
        at(99)
    );
}

async fn measure_all(name: &str, ask: Ask) {
    for at_once in [1, 8, 64, 512] {
        measure(name, ask.clone(), at_once).await;
    }
}

fn two_cores<T: Send + 'static, F, Fut>(spin: Option<Duration>, seeds: Vec<T>, run: F)
where
    F: Fn(Core, T) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let mut settings = CoreSettings::new(2, preflight().unwrap().cpus);
    settings.spin_before_park = spin;
    // As in the broker: without it a lost wake-up of glommio would end the measurement for good.
    let pulses = [Pulse::default(), Pulse::default()].to_vec();
    let watchdog = Watchdog::start(pulses.clone(), WatchdogSettings::default()).unwrap();
    let seeds = seeds.into_iter().zip(pulses.clone()).collect();
    let cores = executor::start(&settings, seeds, move |core, (seed, pulse): (T, Pulse)| {
        glommio::spawn_local(pulse.beat()).detach();
        run(core, seed)
    });
    cores.unwrap().join();
    drop(watchdog);
    println!("  {:?}", pulses.iter().map(Pulse::watched).collect::<Vec<_>>());
}

fn with_mailbox(name: &'static str, spin: Option<Duration>) {
    let done = Shutdown::default();
    let ports = mailbox::mailbox::<u64, u64, ()>(2, Limits::default());
    two_cores(spin, ports, move |core, port| {
        let done = done.clone();
        async move {
            let endpoint = port.open();
            let server = endpoint.clone();
            glommio::spawn_local(async move {
                server
                    .serve(|message| {
                        if let Incoming::Request { query, reply, .. } = message {
                            reply.send(query + 1);
                        }
                    })
                    .await;
            })
            .detach();
            if core == Core(1) {
                return done.requested().await;
            }
            let caller = endpoint.clone();
            let ask: Ask = Rc::new(move |n| {
                let caller = caller.clone();
                Box::pin(async move { caller.call(Core(1), n).await.unwrap() })
            });
            measure_all(name, ask).await;
            println!("  {:?}", endpoint.counters());
            done.request();
        }
    });
}

/// One direction of the alternative: a queue whose receiver sleeps on a socket.
struct Wire {
    queue: SegQueue<u64>,
    notified: AtomicBool,
}

impl Wire {
    fn new() -> Arc<Self> {
        Arc::new(Self { queue: SegQueue::new(), notified: AtomicBool::new(false) })
    }

    fn send(&self, signal: &StdStream, message: u64) {
        self.queue.push(message);
        if !self.notified.swap(true, Ordering::SeqCst) {
            std::io::Write::write_all(&mut &*signal, &[1]).unwrap();
        }
    }

    async fn receive(&self, signal: StdStream, mut take: impl FnMut(u64)) {
        let mut signal = glommio_stream(signal);
        let mut woken = [0; 16];
        loop {
            self.notified.swap(false, Ordering::SeqCst);
            while let Some(message) = self.queue.pop() {
                take(message);
            }
            if signal.read(&mut woken).await.unwrap() == 0 {
                return;
            }
        }
    }
}

fn glommio_stream(stream: StdStream) -> glommio::net::UnixStream {
    use std::os::fd::{FromRawFd, IntoRawFd};
    // SAFETY: the descriptor is a connected socket that nobody else owns from here on.
    #[allow(unsafe_code)]
    unsafe {
        glommio::net::UnixStream::from_raw_fd(stream.into_raw_fd())
    }
}

fn with_socket_pair() {
    let done = Shutdown::default();
    let (there, back) = (Wire::new(), Wire::new());
    let (to_one, at_one) = StdStream::pair().unwrap();
    let (to_zero, at_zero) = StdStream::pair().unwrap();
    let seeds = vec![(to_one, at_zero), (to_zero, at_one)];
    two_cores(None, seeds, move |core, (signal, listen)| {
        let (done, there, back) = (done.clone(), there.clone(), back.clone());
        async move {
            if core == Core(1) {
                glommio::spawn_local(async move {
                    there.receive(listen, |message| back.send(&signal, message + 1)).await;
                })
                .detach();
                return done.requested().await;
            }
            // Replies come in order, so the oldest caller is the one that is answered.
            let waiting: Waiting = Rc::default();
            let answered = waiting.clone();
            let receiving = back.clone();
            glommio::spawn_local(async move {
                receiving
                    .receive(listen, |message| {
                        let slot = answered.borrow_mut().pop_front().unwrap();
                        slot.answer(message);
                    })
                    .await;
            })
            .detach();
            let signal = Rc::new(signal);
            let ask: Ask = Rc::new(move |n| {
                let (there, signal, waiting) = (there.clone(), signal.clone(), waiting.clone());
                Box::pin(async move {
                    let slot = Rc::new(Slot::default());
                    let mut sent = false;
                    std::future::poll_fn(|cx| {
                        if let Some(reply) = slot.reply.get() {
                            return std::task::Poll::Ready(reply);
                        }
                        if !sent {
                            sent = true;
                            *slot.waker.borrow_mut() = Some(cx.waker().clone());
                            waiting.borrow_mut().push_back(slot.clone());
                            there.send(&signal, n);
                        }
                        std::task::Poll::Pending
                    })
                    .await
                })
            });
            measure_all("queue, socket pair", ask).await;
            done.request();
        }
    });
}

fn with_shared_channel() {
    let done = Shutdown::default();
    let (to_one, at_one) = shared_channel::new_bounded::<u64>(1024);
    let (to_zero, at_zero) = shared_channel::new_bounded::<u64>(1024);
    let seeds = vec![(to_one, at_zero), (to_zero, at_one)];
    two_cores(None, seeds, move |core, (sender, receiver)| {
        let done = done.clone();
        async move {
            // Together: each side waits for its peer.
            let (sender, receiver) = futures_lite::future::zip(sender.connect(), receiver.connect()).await;
            let sender = Rc::new(sender);
            if core == Core(1) {
                glommio::spawn_local(async move {
                    while let Some(message) = receiver.recv().await {
                        let _ = sender.send(message + 1).await;
                    }
                })
                .detach();
                return done.requested().await;
            }
            let waiting: Waiting = Rc::default();
            let answered = waiting.clone();
            glommio::spawn_local(async move {
                while let Some(message) = receiver.recv().await {
                    let slot = answered.borrow_mut().pop_front().unwrap();
                    slot.answer(message);
                }
            })
            .detach();
            let ask: Ask = Rc::new(move |n| {
                let (sender, waiting) = (sender.clone(), waiting.clone());
                Box::pin(async move {
                    let slot = Rc::new(Slot::default());
                    waiting.borrow_mut().push_back(slot.clone());
                    sender.send(n).await.ok().unwrap();
                    std::future::poll_fn(|cx| match slot.reply.get() {
                        Some(reply) => std::task::Poll::Ready(reply),
                        None => {
                            *slot.waker.borrow_mut() = Some(cx.waker().clone());
                            std::task::Poll::Pending
                        }
                    })
                    .await
                })
            });
            measure_all("glommio shared channel", ask).await;
            done.request();
        }
    });
}

fn main() {
    with_mailbox("mailbox", None);
    with_mailbox("mailbox, spin 50 us", Some(Duration::from_micros(50)));
    with_socket_pair();
    with_shared_channel();
}
