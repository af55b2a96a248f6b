//! One connection that carries whole requests of the `kafka-protocol` crate: what is to be sent, what has come.
//!
//! Used by `groups` and `idle_fetch`, before the measured window blocking, within it not. A request is answered before the next one on its
//! connection is sent. Deliberately absent: what a request means, and timing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request};

use crate::cold;

/// Largest answer that is accepted, in bytes: a leader is told of all members.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Bytes that are asked of the kernel at once.
const READ_BYTES: usize = 16 << 10;

/// One connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    socket: TcpStream,
    output: BytesMut,
    input: BytesMut,
    correlation: i32,
    pending: bool,
}

impl Exchange {
    /// A blocking connection.
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let socket = cold::connect(address)?;
        Ok(Self { socket, output: BytesMut::new(), input: BytesMut::new(), correlation: 0, pending: false })
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// From now on nothing waits.
    pub(crate) fn stop_blocking(&self) -> Result<()> {
        self.socket.set_nonblocking(true).context("making a socket non-blocking")
    }

    /// Whether a request has not been answered.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending
    }

    /// Whether there are bytes that the socket has not taken.
    pub(crate) fn is_unsent(&self) -> bool {
        !self.output.is_empty()
    }

    /// Puts a request on its way; see [`Self::flush`].
    pub(crate) fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<()> {
        debug_assert!(!self.pending, "one request at a time");
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        let frame = cold::encode(version, self.correlation, request)?;
        self.output.extend_from_slice(&frame);
        self.pending = true;
        Ok(())
    }

    /// Sends what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(0) => bail!("a connection takes no more bytes"),
                Ok(written) => self.output.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("sending a request"),
            }
        }
        Ok(())
    }

    /// Reads once; the answer's body behind its correlation id when it is whole.
    pub(crate) fn receive(&mut self) -> Result<Option<Bytes>> {
        let had = self.input.len();
        self.input.resize(had + READ_BYTES, 0);
        let read = self.socket.read(self.input.get_mut(had..).unwrap_or_default());
        self.input.truncate(had + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => bail!("the broker closed a connection"),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(error) => return Err(error).context("waiting for an answer"),
        }
        self.take_frame()
    }

    fn take_frame(&mut self) -> Result<Option<Bytes>> {
        let Some(prefix) = self.input.first_chunk::<4>() else { return Ok(None) };
        let len = usize::try_from(i32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        ensure!(len <= ANSWER_BYTES_MAX, "an answer of {len} bytes exceeds the bench's {ANSWER_BYTES_MAX}");
        if self.input.len() < 4 + len {
            return Ok(None);
        }
        self.input.advance(4);
        let frame = self.input.split_to(len).freeze();
        ensure!(self.pending, "an answer came to nothing that was asked");
        self.pending = false;
        if self.input.is_empty() {
            // Thousands of connections wait: none keeps more than it needs.
            self.input = BytesMut::new();
        }
        Ok(Some(frame))
    }

    /// Decodes an answer to the request asked last.
    pub(crate) fn decode<R: Request>(&self, version: i16, mut frame: Bytes) -> Result<R::Response> {
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))?;
        ensure!(
            header.correlation_id == self.correlation,
            "the answer to request {} came where {} was asked",
            header.correlation_id,
            self.correlation
        );
        R::Response::decode(&mut frame, version)
    }

    /// Waits for the answer to the request asked last. Only while the socket blocks.
    pub(crate) fn wait<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        loop {
            if let Some(frame) = self.receive()? {
                return self.decode::<R>(version, frame);
            }
        }
    }

    /// Asks and waits. Only while the socket blocks.
    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.ask(version, request)?;
        self.flush()?;
        self.wait::<R>(version)
    }
}
