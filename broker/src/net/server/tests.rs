//! Real sockets on 127.0.0.1: order, barriers, hostile peers, slow peers, handover, drain.

use super::*;
use crate::net::frame::Source;
use crate::net::partial::Registration;
use crate::net::settings::{IN_FLIGHT_REQUESTS_MAX, RECEIVED_BYTES_PER_TURN, RECEIVED_BYTES_PER_TURN_MIN};
use crate::net::{Answer, BoundListener, Dispatched, Reply, SocketBuffers};
use crate::shard::budget::Charge;
use crate::shard::executor::{self, CoreSettings, Cores};
use crate::shard::mailbox::{self, Incoming, Refused};
use crate::shard::preflight::preflight;
use bytes::{Bytes, BytesMut};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as Client};
use std::time::Duration;

/// Answers by the first byte of a frame.
#[derive(Default)]
struct Script {
    server: Rc<RefCell<Option<Server>>>,
    gate_open: Rc<Cell<bool>>,
    gate: Rc<RefCell<Vec<Waker>>>,
    /// Requests in the order of their starts, by their second byte.
    started: Rc<RefCell<Vec<u8>>>,
}

fn response(body: &[u8]) -> Bytes {
    let mut bytes = (body.len() as i32).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes.into()
}

async fn gate(open: Rc<Cell<bool>>, waiting: Rc<RefCell<Vec<Waker>>>) {
    poll_fn(|cx| {
        if open.get() {
            return Poll::Ready(());
        }
        waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    })
    .await
}

// The first half of a request resolves to its second half, by design.
#[allow(clippy::async_yields_async)]
impl Service for Script {
    fn dispatch(&self, connection: &Rc<ConnectionInfo>, frame: BytesMut, charge: Charge) -> Dispatched {
        let started = self.started.clone();
        let (open, waiting) = (self.gate_open.clone(), self.gate.clone());
        let server = self.server.clone();
        let local = connection.local;
        match frame.first().copied() {
            // Pipelined echo; `W` waits for the gate in its answer, `D` in its dispatch.
            Some(kind @ (b'P' | b'W' | b'D')) => Dispatched::pipelined(async move {
                started.borrow_mut().push(frame[1]);
                if kind == b'D' {
                    gate(open.clone(), waiting.clone()).await;
                }
                let answer: Answer = Box::pin(async move {
                    if kind == b'W' {
                        gate(open, waiting).await;
                    }
                    drop(charge);
                    Reply::bytes(response(&frame))
                });
                answer
            }),
            Some(b'B') => Dispatched::barrier(async move {
                started.borrow_mut().push(frame[1]);
                Reply::bytes(response(&frame))
            }),
            Some(b'O') => Dispatched::barrier(async move {
                open.set(true);
                let wakers = std::mem::take(&mut *waiting.borrow_mut());
                wakers.into_iter().for_each(Waker::wake);
                Reply::bytes(response(b"open"))
            }),
            Some(b'N') => Dispatched::pipelined(async { Box::pin(async { Reply::none() }) as Answer }),
            Some(b'C') => Dispatched::barrier(async { Reply::close() }),
            Some(b'!') => panic!("a handler breaks at its dispatch"),
            Some(b'?') => Dispatched::barrier(async { panic!("a handler breaks in its answer") }),
            Some(b'M') => {
                Dispatched::barrier(async { Reply { mute_ms: 300, ..Reply::bytes(response(b"muted")) } })
            }
            // A reply of so many MiB, in segments of one.
            Some(b'L') => Dispatched::barrier(async move {
                let mib = usize::from(frame[1]);
                let mut segments = vec![Bytes::from(((mib << 20) as i32).to_be_bytes().to_vec())];
                segments.extend((0..mib).map(|n| Bytes::from(vec![n as u8; 1 << 20])));
                Reply::segments(segments)
            }),
            Some(b'S') => Dispatched::barrier(async move {
                let server = server.borrow().clone().unwrap();
                let counters = server.snapshot();
                let pool = |share| server.0.budget.pool(share).used();
                let text = format!(
                    "{local} {} {} {} {} {} {:?} {:?}",
                    counters.connections,
                    counters.accepted,
                    counters.handed_over,
                    pool(Share::Replies),
                    pool(Share::PartialFrames),
                    counters.closed,
                    started.borrow(),
                );
                Reply::bytes(response(text.as_bytes()))
            }),
            _ => Dispatched::barrier(async move { Reply::bytes(response(&frame)) }),
        }
    }
}

struct Broker {
    address: SocketAddr,
    shutdown: Shutdown,
    balance: Balance,
    cores: Option<Cores>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shutdown.request();
        if let Some(cores) = self.cores.take() {
            cores.join();
        }
    }
}

impl Broker {
    fn start(cores: u16, memory_bytes_per_core: u64, settings: NetSettings) -> Self {
        let granted = preflight().unwrap();
        let listener =
            BoundListener::bind("PLAINTEXT", "127.0.0.1:0".parse().unwrap(), cores, SocketBuffers::default())
                .unwrap();
        let address = listener.address;
        let shutdown = Shutdown::default();
        let balance = Balance::new(cores);
        let ports = mailbox::mailbox::<(), (), Handover>(cores, mailbox::Limits::default());
        let seeds: Vec<_> = BoundListener::per_core(vec![listener]).into_iter().zip(ports).collect();
        let (stop, shared_balance) = (shutdown.clone(), balance.clone());
        let running = executor::start(
            &CoreSettings::new(cores, granted.cpus),
            seeds,
            move |core, (listeners, port)| {
                let (shutdown, balance, settings) = (stop.clone(), shared_balance.clone(), settings.clone());
                async move {
                    let endpoint = port.open();
                    let sender = endpoint.clone();
                    let script = Script::default();
                    let own = script.server.clone();
                    let server = Server::new(ServerParts {
                        core,
                        service: Rc::new(script),
                        budget: Budget::new(memory_bytes_per_core),
                        settings,
                        balance,
                        hand_over: Box::new(move |to, handover| {
                            sender.notify(to, handover).map_err(|Refused(handover)| handover)
                        }),
                        listeners: vec!["PLAINTEXT".to_owned()],
                    });
                    *own.borrow_mut() = Some(server.clone());
                    let adopting = server.clone();
                    glommio::spawn_local(async move {
                        endpoint
                            .serve(|message| {
                                if let Incoming::Notice(handover) = message {
                                    adopting.adopt(handover);
                                }
                            })
                            .await;
                    })
                    .detach();
                    server.serve(listeners, &shutdown).await;
                }
            },
        );
        Self { address, shutdown, balance, cores: Some(running.unwrap()) }
    }

    fn one_core() -> Self {
        Self::start(1, 200 << 20, NetSettings::default())
    }

    fn connect(&self) -> Client {
        let client = Client::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.set_nodelay(true).unwrap();
        client
    }
}

fn send(client: &mut Client, bodies: &[&[u8]]) {
    let mut bytes = Vec::new();
    for body in bodies {
        bytes.extend_from_slice(&(body.len() as i32).to_be_bytes());
        bytes.extend_from_slice(body);
    }
    client.write_all(&bytes).unwrap();
}

fn receive(client: &mut Client) -> Vec<u8> {
    let mut length = [0; 4];
    client.read_exact(&mut length).unwrap();
    let mut body = vec![0; i32::from_be_bytes(length) as usize];
    client.read_exact(&mut body).unwrap();
    body
}

fn ask(client: &mut Client, body: &[u8]) -> Vec<u8> {
    send(client, &[body]);
    receive(client)
}

/// Fields of the `S` reply: dialled address, connections, accepted, handed over, bytes of replies, bytes of partial frames,
/// closed by reason and started requests.
fn status(client: &mut Client) -> Vec<String> {
    let text = String::from_utf8(ask(client, b"S")).unwrap();
    text.splitn(7, ' ').map(str::to_owned).collect()
}

fn is_closed(client: &mut Client) -> bool {
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    }
}

/// Asks on a connection of its own until `wanted` of the status holds.
fn await_status(broker: &Broker, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
    let mut watcher = broker.connect();
    for _ in 0..2_000 {
        let status = status(&mut watcher);
        if wanted(&status) {
            return status;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never happened: {:?}", status(&mut watcher));
}

#[test]
fn a_request_is_answered_and_knows_the_address_that_was_dialled() {
    let broker = Broker::one_core();
    let mut client = broker.connect();
    assert_eq!(ask(&mut client, b"Bhello"), b"Bhello");
    assert_eq!(status(&mut client)[0], broker.address.to_string());
}

#[test]
fn pipelined_replies_come_in_request_order() {
    let broker = Broker::one_core();
    let mut client = broker.connect();
    send(&mut client, &[b"W1", b"P2", b"N3", b"P4"]);
    // All four are started although the first is not answered.
    await_status(&broker, |status| status[6].ends_with("[49, 50, 52]"));
    assert_eq!(ask(&mut broker.connect(), b"O"), b"open");
    assert_eq!([receive(&mut client), receive(&mut client), receive(&mut client)], [b"W1", b"P2", b"P4"]);
}

#[test]
fn a_request_starts_when_the_one_before_is_dispatched() {
    let broker = Broker::one_core();
    let mut client = broker.connect();
    send(&mut client, &[b"D1", b"P2"]);
    await_status(&broker, |status| status[6].ends_with("[49]"));
    let status = await_status(&broker, |_| true);
    assert!(status[6].ends_with("[49]"), "the second waits for the first one's dispatch: {status:?}");
    ask(&mut broker.connect(), b"O");
    assert_eq!([receive(&mut client), receive(&mut client)], [b"D1", b"P2"]);
}

#[test]
fn a_barrier_waits_for_all_before_it_and_holds_all_behind_it() {
    let broker = Broker::one_core();
    let mut client = broker.connect();
    send(&mut client, &[b"W1", b"B2", b"P3"]);
    await_status(&broker, |status| status[6].ends_with("[49]"));
    let status = await_status(&broker, |_| true);
    assert!(status[6].ends_with("[49]"), "{status:?}");
    ask(&mut broker.connect(), b"O");
    assert_eq!([receive(&mut client), receive(&mut client), receive(&mut client)], [b"W1", b"B2", b"P3"]);
    await_status(&broker, |status| status[6].ends_with("[49, 50, 51]"));
}

#[test]
fn in_flight_requests_are_bounded_per_connection() {
    let broker = Broker::one_core();
    let mut client = broker.connect();
    let requests = vec![&b"W1"[..]; IN_FLIGHT_REQUESTS_MAX + 50];
    send(&mut client, &requests);
    let started = |status: &[String]| status[6].matches("49").count();
    await_status(&broker, |status| started(status) >= IN_FLIGHT_REQUESTS_MAX);
    assert_eq!(started(&await_status(&broker, |_| true)), IN_FLIGHT_REQUESTS_MAX);
    ask(&mut broker.connect(), b"O");
    for _ in &requests {
        assert_eq!(receive(&mut client), b"W1");
    }
}

#[test]
fn hostile_bytes_close_their_connection_and_no_other() {
    let broker = Broker::one_core();
    let mut good = broker.connect();
    for bytes in [&[0xff; 4][..], &[0x7f, 0xff, 0xff, 0xff], &[0x80, 0, 0, 0], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut bad = broker.connect();
        bad.write_all(bytes).unwrap();
        assert!(is_closed(&mut bad));
        assert_eq!(ask(&mut good, b"Bstill here"), b"Bstill here");
    }
    assert!(status(&mut good)[6].contains("[0, 0, 4, 0, 0, 0, 0, 0, 0]"));
}

#[test]
fn a_panic_closes_its_connection_and_no_other() {
    let broker = Broker::one_core();
    let mut good = broker.connect();
    for breaks in [b"!", b"?"] {
        let mut bad = broker.connect();
        send(&mut bad, &[b"Pbefore", breaks]);
        assert!(is_closed(&mut bad));
        assert_eq!(ask(&mut good, b"Bstill here"), b"Bstill here");
    }
    await_status(&broker, |status| status[6].contains("0, 0, 2, 0]"));
}

#[test]
fn the_service_can_close_and_mute() {
    let broker = Broker::one_core();
    let mut client = broker.connect();
    send(&mut client, &[b"P1", b"C"]);
    assert_eq!(receive(&mut client), b"P1");
    assert!(is_closed(&mut client));

    let mut muted = broker.connect();
    let begun = Instant::now();
    send(&mut muted, &[b"M", b"B2"]);
    assert_eq!(receive(&mut muted), b"muted");
    assert!(begun.elapsed() < Duration::from_millis(250), "the answer itself is not delayed");
    assert_eq!(receive(&mut muted), b"B2");
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_half_sent_frame_is_closed_after_the_timeout_and_an_idle_connection_is_not() {
    let settings = NetSettings { frame_timeout: Duration::from_millis(200), ..NetSettings::default() };
    let broker = Broker::start(1, 200 << 20, settings);
    let mut idle = broker.connect();
    let mut half = broker.connect();
    half.write_all(&[0, 0, 1, 0, b'B', b'1']).unwrap();
    assert!(is_closed(&mut half));
    assert_eq!(ask(&mut idle, b"B1"), b"B1");
    assert_eq!(status(&mut idle)[5], "0");
}

#[test]
fn large_replies_arrive_whole_and_leave_nothing_charged() {
    let broker = Broker::one_core();
    let mut client = broker.connect();
    let body = ask(&mut client, &[b'L', 20]);
    assert_eq!(body.len(), 20 << 20);
    assert!(body.chunks(1 << 20).enumerate().all(|(n, mib)| mib.iter().all(|byte| *byte == n as u8)));
    assert_eq!(status(&mut client)[4], "0");
}

#[test]
fn a_reader_that_stops_is_closed_when_others_need_its_room_and_small_replies_never_wait() {
    let settings = NetSettings { reply_stall_timeout: Duration::from_millis(300), ..NetSettings::default() };
    // Replies' share: 20 MiB, 15 of them for large ones.
    let broker = Broker::start(1, 100 << 20, settings);
    let mut stopped = broker.connect();
    send(&mut stopped, &[&[b'L', 14]]);
    await_status(&broker, |status| status[4].parse::<u64>().unwrap() > 5 << 20);
    let mut small = broker.connect();
    assert_eq!(ask(&mut small, b"Bsmall"), b"Bsmall");
    let mut large = broker.connect();
    assert_eq!(ask(&mut large, &[b'L', 14]).len(), 14 << 20);
    await_status(&broker, |status| status[6].contains(", 0, 0, 0, 0, 1, 0, 0, 0]"));
}

#[test]
fn four_connections_on_two_cores_are_two_and_two() {
    let broker = Broker::start(2, 100 << 20, NetSettings::default());
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = broker.connect();
            // Accepted one after the other, so that every core sees what the others have.
            assert_eq!(ask(&mut client, b"B1"), b"B1");
            client
        })
        .collect();
    assert_eq!(broker.balance.counts(), [2, 2]);
    let on_core: Vec<_> = clients.iter_mut().map(|client| status(client)[1].clone()).collect();
    assert_eq!(on_core, ["2", "2", "2", "2"]);
    drop(clients);
    for _ in 0..2_000 {
        if broker.balance.counts() == [0, 0] {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("connections that ended are still counted: {:?}", broker.balance.counts());
}

#[test]
fn a_drain_finishes_what_was_dispatched_and_closes() {
    let broker = Broker::one_core();
    let mut idle = broker.connect();
    let mut waiting = broker.connect();
    let mut opener = broker.connect();
    send(&mut waiting, &[b"W1"]);
    await_status(&broker, |status| status[6].ends_with("[49]"));
    assert_eq!(ask(&mut opener, b"B2"), b"B2");
    // The gate opens just before the stop: its waiter is answered by the drain.
    send(&mut opener, &[b"O"]);
    assert_eq!(receive(&mut opener), b"open");
    broker.shutdown.request();
    assert_eq!(receive(&mut waiting), b"W1");
    assert!(is_closed(&mut waiting) && is_closed(&mut idle) && is_closed(&mut opener));
    let address = broker.address;
    drop(broker);
    assert!(Client::connect(address).is_err());
}

#[test]
fn a_drain_does_not_wait_for_ever() {
    let settings = NetSettings { drain_timeout: Duration::from_millis(200), ..NetSettings::default() };
    let broker = Broker::start(1, 100 << 20, settings);
    let mut waiting = broker.connect();
    send(&mut waiting, &[b"W1"]);
    await_status(&broker, |status| status[6].ends_with("[49]"));
    broker.shutdown.request();
    assert!(is_closed(&mut waiting));
}

#[test]
fn a_fast_sender_leaves_the_core_to_others_after_its_turn_which_is_shorter_when_many_send() {
    let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound).make().unwrap();
    executor.run(async {
        let server = Server::new(ServerParts {
            core: Core(0),
            service: Rc::new(Script::default()),
            budget: Budget::new(100 << 20),
            settings: NetSettings::default(),
            balance: Balance::new(1),
            hand_over: Box::new(|_, handover| Err(handover)),
            listeners: Vec::new(),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        for (others, turn) in
            [(0, RECEIVED_BYTES_PER_TURN), (64, 32 << 10), (500, RECEIVED_BYTES_PER_TURN_MIN)]
        {
            let partial = &server.0.partial;
            let others: Vec<_> = (0..others).map(|_| Registration::new(partial)).collect();
            let mut client = Client::connect(local).unwrap();
            let (accepted, peer) = listener.accept().unwrap();
            // SAFETY: the descriptor is a connected TCP socket that nobody else owns from here on.
            #[allow(unsafe_code)]
            let stream = unsafe { TcpStream::from_raw_fd(accepted.into_raw_fd()) };
            let info = ConnectionInfo { id: 1, peer, local, listener: Rc::from("PLAINTEXT") };
            let connection = Connection::new(server.0.clone(), info, stream);

            // As much as the sockets take: it is all there before the first receive.
            client.set_nonblocking(true).unwrap();
            let mut sent = 0;
            while let Ok(bytes) = client.write(&[7; 64 * 1024]) {
                sent += bytes;
            }
            assert!(sent > 2 * RECEIVED_BYTES_PER_TURN, "only {sent} bytes");
            let mut into = vec![0; 8 << 20];
            let (mut received, mut in_turn, mut turns) = (0, 0, 0);
            poll_fn(|cx| {
                turns += 1;
                while received < sent {
                    let Poll::Ready(bytes) = connection.poll_receive(cx, &mut into) else {
                        in_turn = 0;
                        return Poll::Pending;
                    };
                    let bytes = bytes.unwrap();
                    (received, in_turn) = (received + bytes, in_turn + bytes);
                    assert!(in_turn <= turn, "{in_turn} bytes in one turn beside {} others", others.len());
                }
                Poll::Ready(())
            })
            .await;
            assert!(turns >= sent / turn, "{sent} bytes in {turns} turns");
        }
    });
}
