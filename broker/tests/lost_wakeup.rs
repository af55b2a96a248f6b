//! glommio's lost wake-up, provoked with a preempt timer far too short: with the watchdog no connection hangs, and without
//! it one soon does. Without the second half the first would prove nothing.

#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use corelog::shard::executor::{self, CoreSettings, Cores};
use corelog::shard::preflight::preflight;
use corelog::shard::shutdown::Shutdown;
use corelog::shard::watchdog::{Pulse, Watchdog, WatchdogSettings};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

/// The most connections that are tried with the watchdog.
const CONNECTIONS: usize = 100;

/// Cores found asleep and woken that are enough to say that it helps.
const WAKES: u64 = 20;

/// The most connections that the control tries until one hangs; it usually takes one or two.
const TRIES: usize = 200;

/// Echoes per connection: with the watchdog, which makes each lost wake-up cost milliseconds, and without.
const ROUNDS_WATCHED: usize = 100;
const ROUNDS: usize = 1_000;

/// An echo server on one core whose preempt timer fires all the time.
fn echo(pulse: Pulse, shutdown: Shutdown) -> (SocketAddr, Cores) {
    let mut settings = CoreSettings::new(1, preflight().unwrap().cpus);
    settings.preempt_timer = Duration::from_micros(200);
    let (address, bound) = mpsc::channel();
    let cores = executor::start(
        &settings,
        vec![(pulse, shutdown, address)],
        |_, (pulse, shutdown, address)| async move {
            glommio::spawn_local(pulse.beat()).detach();
            let listener = glommio::net::TcpListener::bind("127.0.0.1:0").unwrap();
            address.send(listener.local_addr().unwrap()).unwrap();
            let accepting = glommio::spawn_local(async move {
                while let Ok(mut stream) = listener.accept().await {
                    glommio::spawn_local(async move {
                        let mut buffer = [0; 256];
                        while let Ok(received) = stream.read(&mut buffer).await {
                            if received == 0 || stream.write_all(&buffer[..received]).await.is_err() {
                                break;
                            }
                        }
                    })
                    .detach();
                }
            });
            shutdown.requested().await;
            drop(accepting);
        },
    )
    .unwrap();
    (bound.recv().unwrap(), cores)
}

/// Threads that want every CPU for themselves, as a machine that is shared or stolen from does. While the core waits for
/// its turn, its preempt timer fires.
struct Contention(Arc<AtomicBool>, Vec<JoinHandle<()>>);

impl Contention {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spin = |stop: Arc<AtomicBool>| {
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        };
        let threads = preflight().unwrap().cpus.len() * 2;
        let spinning = (0..threads).map(|_| std::thread::spawn(spin(stop.clone()))).collect();
        Self(stop, spinning)
    }
}

impl Drop for Contention {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// Echoes on one connection after the other (with more at once, the bytes of one wake the core for all); returns
/// how many got stuck for `patience`: none or one, because the first ends it.
fn stuck(address: SocketAddr, connections: usize, rounds: usize, patience: Duration) -> usize {
    for _ in 0..connections {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(patience)).unwrap();
        let mut answer = [0; 100];
        for _ in 0..rounds {
            client.write_all(&[7; 100]).unwrap();
            match client.read_exact(&mut answer) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    0
}

#[test]
fn with_the_watchdog_no_connection_hangs() {
    let (pulse, shutdown) = (Pulse::default(), Shutdown::default());
    let _watchdog = Watchdog::start(vec![pulse.clone()], WatchdogSettings::default()).unwrap();
    let _contention = Contention::start();
    let (address, cores) = echo(pulse.clone(), shutdown.clone());
    for _ in 0..CONNECTIONS {
        assert_eq!(stuck(address, 1, ROUNDS_WATCHED, Duration::from_secs(10)), 0);
        if pulse.watched().woken_again >= WAKES {
            break;
        }
    }
    println!("{:?}", pulse.watched());
    shutdown.request();
    cores.join();
}

#[test]
fn without_the_watchdog_one_soon_does() {
    let shutdown = Shutdown::default();
    let _contention = Contention::start();
    let (address, cores) = echo(Pulse::default(), shutdown.clone());
    let hung = stuck(address, TRIES, ROUNDS, Duration::from_secs(1));
    assert!(hung > 0, "glommio wakes up reliably now: the watchdog is no longer needed");
    // The core may well be asleep for good; its end is an event from another thread, repeated until it is heard.
    shutdown.request();
    drop(cores);
}
