//! One producing connection: a window of requests in flight, vectored writes, replies checked in order.
//!
//! Driven by `load` through `produce`. Deliberately absent: retries. A request that fails is counted as failed.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};
use kafka_protocol::error::ParseResponseErrorCode;

use super::frames::{self, Body, Frame, Frames};
use super::reply::{self, ProduceReply};
use crate::cold::ProducerIdentity;
use crate::load::{Clock, Counts, Schedule, Tally};

/// Pieces handed to the kernel in one write.
const SLICES_MAX: usize = 96;

/// Which partition the n-th request of a connection goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spread {
    /// The next one each time, as a producer without keys does.
    Rotate,
    /// Always the same one: connection modulo partitions.
    Pinned,
}

/// What all connections of a run have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) frames: Frames,
    pub(crate) partitions: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) spread: Spread,
    /// With acks=0 no reply comes: a request counts as answered when the socket has taken it.
    pub(crate) replies: bool,
    /// Records acknowledged, by partition.
    pub(crate) acknowledged: Vec<u64>,
}

/// A request that was put on its way.
#[derive(Debug)]
struct Pending {
    correlation: i32,
    partition: usize,
    intended_ns: u64,
    batch_len: usize,
}

/// An idempotent producer of its own on each connection.
#[derive(Debug)]
struct Producer {
    identity: ProducerIdentity,
    /// Next sequence, by partition.
    sequences: Vec<i32>,
    spare: Vec<Vec<u8>>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    number: usize,
    /// Sent or being sent, in the order in which replies must come. At most `in_flight_max`.
    pending: VecDeque<Pending>,
    /// The part of `pending` that the socket has not taken yet.
    out: VecDeque<Frame>,
    /// Bytes of the first frame of `out` that it has taken.
    out_written: usize,
    input: Vec<u8>,
    input_len: usize,
    sent: u64,
    schedule: Option<Schedule>,
    /// Whether the window was full when the next request fell due: then it is late by the broker's doing.
    held_up: bool,
    stopped: bool,
    /// Lowest base offset that the next reply may give, by partition.
    offsets_from: Vec<i64>,
    producer: Option<Producer>,
}

impl Connection {
    pub(crate) fn new(
        socket: TcpStream,
        number: usize,
        partitions: usize,
        schedule: Option<Schedule>,
        identity: Option<ProducerIdentity>,
    ) -> Self {
        let producer =
            identity.map(|identity| Producer { identity, sequences: vec![0; partitions], spare: Vec::new() });
        Self {
            socket,
            number,
            pending: VecDeque::new(),
            out: VecDeque::new(),
            out_written: 0,
            input: vec![0; reply::REPLY_BYTES_MAX],
            input_len: 0,
            sent: 0,
            schedule,
            held_up: false,
            stopped: false,
            offsets_from: vec![0; partitions],
            producer,
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// When the next request is due, unless the window is full or there is no schedule.
    pub(crate) fn due_ns(&self, in_flight_max: usize) -> Option<u64> {
        let has_room = !self.stopped && self.pending.len() < in_flight_max;
        self.schedule.as_ref().filter(|_| has_room).map(Schedule::due_ns)
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
        self.fill(shared, clock, tally);
        self.send(shared, clock, tally)?;
        // Without replies nothing but room in the socket says when to go on.
        let goes_on = !shared.replies && !self.stopped && self.schedule.is_none();
        Ok(goes_on || !self.out.is_empty())
    }

    fn receive(&mut self, shared: &mut Shared, clock: &Clock, tally: &mut Tally) -> Result<()> {
        let read = match self.socket.read(&mut self.input[self.input_len..]) {
            Ok(0) => bail!(
                "the broker closed connection {} with {} requests in flight",
                self.number,
                self.pending.len()
            ),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("reading from connection {}", self.number));
            }
        };
        let now_ns = clock.now_ns();
        let (input, end) = (std::mem::take(&mut self.input), self.input_len + read);
        let mut at = 0;
        while let Some((frame, taken)) = reply::next_frame(&input[at..end])? {
            self.answered(&ProduceReply::parse(frame)?, now_ns, shared, tally)?;
            at += taken;
        }
        self.input = input;
        self.input.copy_within(at..end, 0);
        self.input_len = end - at;
        Ok(())
    }

    /// Checks one reply against the request that it must belong to.
    fn answered(
        &mut self,
        reply: &ProduceReply<'_>,
        now_ns: u64,
        shared: &mut Shared,
        tally: &mut Tally,
    ) -> Result<()> {
        let Some(pending) = self.pending.pop_front() else {
            bail!("connection {} got a reply to nothing (correlation id {})", self.number, reply.correlation);
        };
        ensure!(
            reply.correlation == pending.correlation && reply.partition == pending.partition as i32,
            "connection {} got the reply to request {} of partition {} where request {} of partition {} was next",
            self.number,
            reply.correlation,
            reply.partition,
            pending.correlation,
            pending.partition
        );
        if reply.error_code != 0 {
            if tally.errors().is_empty() {
                eprintln!(
                    "first error, on partition {}: {:?} ({}) {}",
                    reply.partition,
                    reply.error_code.err(),
                    reply.error_code,
                    String::from_utf8_lossy(reply.message)
                );
            }
            return tally.failed(reply.error_code);
        }
        // Others append in between: offsets grow by at least this connection's own records.
        let from = &mut self.offsets_from[pending.partition];
        ensure!(
            reply.base_offset >= *from,
            "partition {} gave base offset {} to connection {}, which was at {from} already",
            reply.partition,
            reply.base_offset,
            self.number
        );
        *from = reply.base_offset + shared.frames.records_per_batch as i64;
        complete(&pending, now_ns, shared, tally);
        Ok(())
    }

    /// Puts requests on their way: all that the window allows, or those that are due.
    fn fill(&mut self, shared: &Shared, clock: &Clock, tally: &mut Tally) {
        if self.stopped || self.pending.len() >= shared.in_flight_max {
            self.held_up = true;
            return;
        }
        let now_ns = clock.now_ns();
        while self.pending.len() < shared.in_flight_max {
            let intended_ns = match &mut self.schedule {
                None => now_ns,
                Some(schedule) => {
                    let due_ns = schedule.due_ns();
                    if due_ns > now_ns {
                        self.held_up = false;
                        return;
                    }
                    schedule.advance();
                    if !self.held_up {
                        tally.sent_when_due(due_ns, now_ns);
                    }
                    due_ns
                }
            };
            self.enqueue(intended_ns, shared);
        }
        self.held_up = true;
    }

    fn enqueue(&mut self, intended_ns: u64, shared: &Shared) {
        let turn = match shared.spread {
            Spread::Rotate => self.sent.wrapping_add(self.number as u64),
            Spread::Pinned => self.number as u64,
        };
        let partition = (turn % shared.partitions as u64) as usize;
        let correlation = (self.sent & 0x7fff_ffff) as i32;
        let mut frame = shared.frames.frame(partition, self.sent, correlation);
        if let Some(producer) = &mut self.producer {
            let sequence = &mut producer.sequences[partition];
            frames::identify(
                &mut frame,
                producer.spare.pop().unwrap_or_default(),
                producer.identity,
                *sequence,
            );
            *sequence = next_sequence(*sequence, shared.frames.records_per_batch);
        }
        self.sent += 1;
        self.pending.push_back(Pending { correlation, partition, intended_ns, batch_len: frame.batch_len });
        self.out.push_back(frame);
    }

    /// Writes until all is written or the socket takes no more.
    fn send(&mut self, shared: &mut Shared, clock: &Clock, tally: &mut Tally) -> Result<()> {
        while !self.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut skip = self.out_written;
            let mut count = 0;
            for part in self.out.iter().flat_map(Frame::parts).take(SLICES_MAX) {
                let skipped = skip.min(part.len());
                skip -= skipped;
                slices[count] = IoSlice::new(&part[skipped..]);
                count += 1;
            }
            let written = match self.socket.write_vectored(&slices[..count]) {
                Ok(0) => bail!("connection {} takes no more bytes", self.number),
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("writing to connection {}", self.number));
                }
            };
            self.out_written += written;
            while let Some(frame) = self.out.front()
                && self.out_written >= frame.len()
            {
                self.out_written -= frame.len();
                self.left(shared, clock, tally);
            }
        }
        Ok(())
    }

    /// The first frame of `out` is with the kernel.
    fn left(&mut self, shared: &mut Shared, clock: &Clock, tally: &mut Tally) {
        let frame = self.out.pop_front();
        if let (Some(producer), Some(Frame { body: Body::Own(buffer), .. })) = (&mut self.producer, frame) {
            producer.spare.push(buffer);
        }
        if !shared.replies
            && let Some(pending) = self.pending.pop_front()
        {
            complete(&pending, clock.now_ns(), shared, tally);
        }
    }
}

fn complete(pending: &Pending, now_ns: u64, shared: &mut Shared, tally: &mut Tally) {
    let records = shared.frames.records_per_batch as u64;
    shared.acknowledged[pending.partition] += records;
    tally.answered(
        pending.intended_ns,
        now_ns,
        Counts { records, bytes: pending.batch_len as u64, requests: 1 },
    );
}

/// Sequences go from 0 to `i32::MAX` and start again (KIP-98).
pub(crate) fn next_sequence(sequence: i32, records: usize) -> i32 {
    ((sequence as u64 + records as u64) & 0x7fff_ffff) as i32
}
