//! One fetching connection: a request at a time, the next one from where the reply before it ended.
//!
//! Driven by `load` through `fetch`. Deliberately absent: fetch sessions (every request names all its partitions, as a
//! consumer's first one does) and waiting for new records: positions start again before they reach the end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};
use corelog_storage::batch::BatchHeader;

use super::reply::{Event, HEAD_BYTES_MAX, Walk};
use crate::cold::{self, FETCH_VERSION};
use crate::load::{Clock, Counts, Tally};

/// Bytes read at once. Small enough to stay in a core's cache.
const INPUT_BYTES: usize = 256 * 1024;

/// Replies without a single batch, one after the other, after which a broker is said not to serve what it has.
const EMPTY_REPLIES_MAX: u32 = 20;

/// What one partition offers and how far a connection has read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) partition: i32,
    /// Where reading starts, and starts again.
    pub(crate) from: i64,
    /// Where it ends: nothing at or beyond this offset is asked for.
    pub(crate) to: i64,
    pub(crate) next: i64,
}

/// What all connections of a run have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) topic: String,
    pub(crate) partition_max_bytes: i32,
    pub(crate) max_bytes: i32,
    /// Whether to begin again at the end.
    pub(crate) repeat: bool,
    /// Batches whose CRC was verified and right.
    pub(crate) batches_verified: u64,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    number: usize,
    positions: Vec<Position>,
    walk: Walk,
    /// Index into the positions of the partition whose batches are coming.
    current: Option<usize>,
    /// The request that was sent last and not answered: its correlation id and when it was sent.
    pending: Option<(i32, u64)>,
    correlation: i32,
    output: Vec<u8>,
    output_written: usize,
    input: Vec<u8>,
    input_len: usize,
    empty_replies: u32,
    stopped: bool,
}

/// What one read has brought.
#[derive(Debug, Default)]
struct Received {
    counts: Counts,
    complete: bool,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, number: usize, positions: Vec<Position>, verify_crc: bool) -> Self {
        Self {
            socket,
            number,
            positions,
            walk: Walk::new(verify_crc),
            current: None,
            pending: None,
            correlation: 0,
            output: Vec::new(),
            output_written: 0,
            input: vec![0; INPUT_BYTES + HEAD_BYTES_MAX],
            input_len: 0,
            empty_replies: 0,
            stopped: false,
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(crate) fn outstanding(&self) -> usize {
        usize::from(self.pending.is_some())
    }

    /// Whether everything was read that is read only once.
    pub(crate) fn is_exhausted(&self, shared: &Shared) -> bool {
        !shared.repeat
            && self.pending.is_none()
            && self.positions.iter().all(|position| position.next >= position.to)
    }

    /// See [`crate::load::Load::turn`].
    pub(crate) fn turn(
        &mut self,
        readable: bool,
        shared: &mut Shared,
        clock: &Clock,
        tally: &mut Tally,
    ) -> Result<bool> {
        if readable {
            self.receive(shared, clock, tally)?;
        }
        if self.pending.is_none() && !self.stopped && !self.is_exhausted(shared) {
            self.ask(shared, clock)?;
        }
        self.send()?;
        Ok(self.output_written < self.output.len())
    }

    fn receive(&mut self, shared: &mut Shared, clock: &Clock, tally: &mut Tally) -> Result<()> {
        let read = match self.socket.read(&mut self.input[self.input_len..]) {
            Ok(0) => bail!("the broker closed connection {}", self.number),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("reading from connection {}", self.number));
            }
        };
        let end = self.input_len + read;
        let mut received = Received::default();
        let (pending, positions, current) = (self.pending, &mut self.positions, &mut self.current);
        let mut see = |event| match event {
            Event::Reply { correlation, error_code } => {
                ensure!(
                    pending.is_some_and(|(asked, _)| asked == correlation),
                    "the reply to request {correlation} came where {pending:?} was asked"
                );
                count_error(error_code, tally)
            }
            Event::Partition { partition, error_code } => {
                *current = positions.iter().position(|position| position.partition == partition);
                ensure!(current.is_some(), "partition {partition} was answered and not asked for");
                count_error(error_code, tally)
            }
            Event::Batch { header, crc_ok } => {
                let Some(position) = current.and_then(|current| positions.get_mut(current)) else {
                    bail!("a batch came before its partition");
                };
                position.advance(&header, crc_ok)?;
                shared.batches_verified += u64::from(crc_ok == Some(true));
                received.counts.records += u64::try_from(header.records_count).unwrap_or(0);
                received.counts.bytes += header.total_len() as u64;
                Ok(())
            }
            Event::End => {
                received.complete = true;
                Ok(())
            }
        };
        let done = self.walk.feed(&self.input[..end], &mut see)?;
        self.input.copy_within(done..end, 0);
        self.input_len = end - done;
        self.account(&received, clock, tally)
    }

    /// Counts what came. A reply that came in pieces counts its records piece by piece and its latency at its end.
    fn account(&mut self, received: &Received, clock: &Clock, tally: &mut Tally) -> Result<()> {
        tally.received(received.counts);
        if received.counts.records > 0 {
            self.empty_replies = 0;
        }
        if !received.complete {
            return Ok(());
        }
        let Some((_, sent_ns)) = self.pending.take() else { return Ok(()) };
        tally.answered(sent_ns, clock.now_ns(), Counts { requests: 1, ..Counts::default() });
        self.empty_replies += 1;
        ensure!(
            self.empty_replies <= EMPTY_REPLIES_MAX,
            "connection {} got {EMPTY_REPLIES_MAX} replies without a batch, though all it asks for is below the end offset",
            self.number
        );
        Ok(())
    }

    /// Encodes the next request.
    fn ask(&mut self, shared: &Shared, clock: &Clock) -> Result<()> {
        let mut wanted = Vec::with_capacity(self.positions.len());
        for position in &mut self.positions {
            if position.next >= position.to && shared.repeat {
                position.next = position.from;
            }
            if position.next < position.to {
                wanted.push((position.partition, position.next));
            }
        }
        self.correlation = self.correlation.wrapping_add(1);
        let request =
            cold::fetch_request(&shared.topic, &wanted, shared.partition_max_bytes, shared.max_bytes);
        self.output.clear();
        self.output.extend_from_slice(&cold::encode(FETCH_VERSION, self.correlation, &request)?);
        self.output_written = 0;
        self.pending = Some((self.correlation, clock.now_ns()));
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        while self.output_written < self.output.len() {
            match self.socket.write(&self.output[self.output_written..]) {
                Ok(0) => bail!("connection {} takes no more bytes", self.number),
                Ok(written) => self.output_written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("writing to connection {}", self.number));
                }
            }
        }
        Ok(())
    }
}

impl Position {
    /// Steps over a batch that came.
    fn advance(&mut self, header: &BatchHeader, crc_ok: Option<bool>) -> Result<()> {
        let (partition, base_offset, last_offset) =
            (self.partition, header.base_offset, header.last_offset());
        ensure!(
            last_offset >= self.next,
            "partition {partition} answered offset {} with a batch of offsets {base_offset} to {last_offset}",
            self.next
        );
        ensure!(
            crc_ok != Some(false),
            "partition {partition} offset {base_offset}: the batch's CRC is wrong"
        );
        self.next = header.next_offset();
        Ok(())
    }
}

fn count_error(error_code: i16, tally: &mut Tally) -> Result<()> {
    if error_code == 0 { Ok(()) } else { tally.failed(error_code) }
}
