//! What an idle connection costs in memory. A process of its own, because resident memory is the process's.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use corelog::net::{
    BoundListener, ConnectionInfo, Dispatched, NetSettings, Reply, Server, ServerParts, Service,
    SocketBuffers,
};
use corelog::shard::balance::Balance;
use corelog::shard::budget::{Budget, Charge};
use corelog::shard::executor::{self, CoreSettings};
use corelog::shard::preflight::preflight;
use corelog::shard::shutdown::Shutdown;

const CONNECTIONS: u64 = 1_000;

struct Echo;

impl Service for Echo {
    fn dispatch(&self, _: &Rc<ConnectionInfo>, frame: BytesMut, charge: Charge) -> Dispatched {
        Dispatched::barrier(async move {
            let mut response = (frame.len() as i32).to_be_bytes().to_vec();
            response.extend_from_slice(&frame);
            drop(charge);
            Reply::bytes(Bytes::from(response))
        })
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn echo(client: &mut TcpStream, body: &[u8]) {
    client.write_all(&(body.len() as i32).to_be_bytes()).unwrap();
    client.write_all(body).unwrap();
    let mut answer = vec![0; body.len() + 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[4..], body);
}

#[test]
fn a_thousand_idle_connections_cost_little() {
    let granted = preflight().unwrap();
    let listener =
        BoundListener::bind("PLAINTEXT", "127.0.0.1:0".parse().unwrap(), 1, SocketBuffers::default())
            .unwrap();
    let address = listener.address;
    let shutdown = Shutdown::default();
    let stop = shutdown.clone();
    let seeds = BoundListener::per_core(vec![listener]);
    let cores = executor::start(&CoreSettings::new(1, granted.cpus), seeds, move |core, listeners| {
        let stop = stop.clone();
        async move {
            let server = Server::new(ServerParts {
                core,
                service: Rc::new(Echo),
                budget: Budget::new(256 << 20),
                settings: NetSettings::default(),
                balance: Balance::new(1),
                hand_over: Box::new(|_, handover| Err(handover)),
                listeners: vec!["PLAINTEXT".to_owned()],
            });
            server.serve(listeners, &stop).await;
        }
    })
    .unwrap();

    let mut first = TcpStream::connect(address).unwrap();
    echo(&mut first, &[1; 2_000]);
    let before = resident_bytes();
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    // Each has been used, and with a frame in two parts.
    for client in &mut clients {
        echo(client, &[2; 100_000]);
    }
    let each = resident_bytes().saturating_sub(before) / CONNECTIONS;
    println!("{each} bytes per idle connection");
    assert!(each < 8 * 1024, "{each} bytes per idle connection");
    shutdown.request();
    drop(clients);
    cores.join();
}
