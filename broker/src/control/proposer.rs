//! The only proposer of metadata changes: decides each call over a speculative image and puts the records into the log.
//!
//! Runs on the control thread. The speculative image is the committed one plus everything in flight, so of two equal CreateTopics the
//! second is refused even when both arrive at once. Whatever waits is decided together and committed with one flush. When the term ends the
//! speculation is thrown away: what was decided in it cannot be applied any more (see [`Outcome::Stale`]). Deliberately absent: deciding (`logic`), committing (`raft`).

use std::collections::VecDeque;
use std::sync::Arc;

use corelog_logic::controller::{
    Command, ConfigSchema, Context, Delta, MetadataImage, Record, Reply, decide, encode_records,
};
use openraft::error::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::error::{ControlError, Result};
use super::published::Published;
use super::raft::{self, Batch, Outcome, Running, Types};

/// How many calls may wait or be under way, from all cores together. A further caller waits for its turn.
pub const CALLS_MAX: usize = 4096;
/// How many log entries are in flight. With one voter, one is on its way to the disk while the next one fills.
const ENTRIES_IN_FLIGHT_MAX: usize = 8;
/// An entry takes no further call once it has this many records: it bounds a flush, and how long others wait.
const RECORDS_PER_ENTRY: usize = 20_000;

/// New topics and partitions need at least this much room on the disk, in bytes: their directories, and the first of their records.
const CREATION_BYTES: u64 = 1024 * 1024;

/// A question to the controller.
pub(super) struct Call {
    pub(super) command: Command,
    /// Answer only when every core has the image.
    pub(super) on_every_core: bool,
    pub(super) answer: oneshot::Sender<Result<Reply>>,
    /// Its place among [`CALLS_MAX`]; held until it is answered.
    pub(super) permit: OwnedSemaphorePermit,
}

/// Settings of the controller's decisions.
pub struct Policy {
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// Checks configurations.
    pub configs: Box<dyn ConfigSchema + Send>,
}

/// A call that was decided and whose records are in flight.
struct Decided {
    call: Call,
    reply: Reply,
}

/// A log entry on its way.
struct InFlight {
    /// None when there was nothing to commit: it waits for those before it, as what was decided may rest on them.
    written: Option<oneshot::Receiver<ClientWriteResult<Types>>>,
    decided: Vec<Decided>,
    /// What its records take in the log.
    bytes: u64,
}

pub(super) struct Proposer {
    running: Running,
    published: Arc<Published>,
    policy: Policy,
    calls: mpsc::Receiver<Call>,
    /// Received, not yet decided.
    waiting: VecDeque<Call>,
    speculative: MetadataImage,
    in_flight: VecDeque<InFlight>,
    failed: watch::Sender<Option<ControlError>>,
    /// The log is replaced by a snapshot when it exceeds this, in bytes.
    snapshot_after_bytes: u64,
}

impl Proposer {
    pub(super) fn new(
        running: Running,
        published: Arc<Published>,
        policy: Policy,
        calls: mpsc::Receiver<Call>,
        failed: watch::Sender<Option<ControlError>>,
        snapshot_after_bytes: u64,
    ) -> Self {
        let speculative = MetadataImage::clone(&published.image());
        let (waiting, in_flight) = Default::default();
        Self {
            running,
            published,
            policy,
            calls,
            waiting,
            speculative,
            in_flight,
            failed,
            snapshot_after_bytes,
        }
    }

    /// Serves calls until there are no more callers, then until everything in flight is answered.
    pub(super) async fn run(mut self) {
        let mut open = true;
        while open || !self.in_flight.is_empty() || !self.waiting.is_empty() {
            while self.in_flight.len() < ENTRIES_IN_FLIGHT_MAX && !self.waiting.is_empty() {
                self.propose().await;
            }
            let room = self.waiting.is_empty();
            tokio::select! {
                biased;
                result = first(&mut self.in_flight), if !self.in_flight.is_empty() => self.settle(result),
                call = self.calls.recv(), if open && room => match call {
                    Some(call) => {
                        self.waiting.push_back(call);
                        // Whatever else has arrived goes into the same entry.
                        while let Ok(call) = self.calls.try_recv() {
                            self.waiting.push_back(call);
                        }
                    }
                    None => open = false,
                },
            }
        }
    }

    /// Decides waiting calls and puts their records into one entry.
    async fn propose(&mut self) {
        let mut records: Vec<Record> = Vec::new();
        let mut decided = Vec::new();
        let in_flight_bytes: u64 = self.in_flight.iter().map(|entry| entry.bytes).sum();
        let mut bytes = 0;
        while records.len() < RECORDS_PER_ENTRY
            && let Some(call) = self.waiting.pop_front()
        {
            let failed = self.failed.borrow().clone();
            let result = match failed {
                Some(error) => Err(error),
                None => self.decide_with_room(&call.command, in_flight_bytes + bytes),
            };
            match result {
                Ok((more, more_bytes, reply)) => {
                    bytes += more_bytes;
                    records.extend(more);
                    decided.push(Decided { call, reply });
                }
                Err(error) => answer(call, Err(error)),
            }
        }
        if decided.is_empty() {
            return;
        }
        let written = if records.is_empty() {
            None
        } else {
            let batch = Batch { term: self.running.term, records: Arc::new(records) };
            match self.running.raft.client_write_ff(batch).await {
                Ok(written) => Some(written),
                Err(error) => {
                    self.fail(raft::fatal(error));
                    self.refuse(decided);
                    return;
                }
            }
        };
        self.in_flight.push_back(InFlight { written, decided, bytes });
    }

    /// [`Self::decide`], unless the disk has no room for what comes of it behind `before_bytes` of others. Returns the bytes it takes too.
    fn decide_with_room(
        &mut self,
        command: &Command,
        before_bytes: u64,
    ) -> Result<(Vec<Record>, u64, Reply)> {
        let creates = matches!(
            command,
            Command::CreateTopics { validate_only: false, .. }
                | Command::CreatePartitions { validate_only: false, .. }
        );
        if creates && self.running.log.available_bytes() < CREATION_BYTES {
            return Err(self.running.log.disk_full(CREATION_BYTES));
        }
        // A persistent map: a copy costs next to nothing.
        let before = self.speculative.clone();
        let (records, reply) = self.decide(command)?;
        let bytes = if records.is_empty() { 0 } else { encode_records(&records).len() as u64 };
        if bytes > 0 && !self.running.log.has_room(before_bytes + bytes) {
            self.speculative = before;
            return Err(self.running.log.disk_full(bytes));
        }
        Ok((records, bytes, reply))
    }

    fn decide(&mut self, command: &Command) -> Result<(Vec<Record>, Reply)> {
        let mut random = rand::random::<u64>;
        let mut context = Context {
            num_partitions: self.policy.num_partitions,
            default_replication_factor: self.policy.default_replication_factor,
            configs: &*self.policy.configs,
            random: &mut random,
        };
        let (records, reply) = decide(&self.speculative, command, &mut context)?;
        let mut ignored = Delta::default();
        for record in &records {
            // What was just decided on this image must fit it: anything else is a bug, and must not reach the log.
            if let Err(error) = self.speculative.replay(record, &mut ignored) {
                let error = raft::fatal(error);
                self.fail(error.clone());
                return Err(error);
            }
        }
        Ok((records, reply))
    }

    /// The oldest entry in flight is committed, or lost.
    fn settle(&mut self, result: Option<Written>) {
        let Some(InFlight { decided, .. }) = self.in_flight.pop_front() else { return };
        let published = match result {
            // Nothing to commit: what it was decided on is committed now.
            None => self.published.version(),
            Some(Ok(Ok(response))) => match response.data {
                Outcome::Applied { published } => published,
                Outcome::Stale => return self.lose_term(decided),
            },
            Some(Ok(Err(ClientWriteError::ForwardToLeader(_)))) => return self.lose_term(decided),
            Some(Ok(Err(error))) => {
                self.fail(raft::fatal(error));
                return self.refuse(decided);
            }
            Some(Err(_)) => {
                let cause = self.running.raft.metrics().borrow().running_state.clone();
                let cause =
                    cause.err().map_or("the raft core has stopped".to_owned(), |fatal| fatal.to_string());
                self.fail(raft::fatal(cause));
                return self.refuse(decided);
            }
        };
        for Decided { call, reply } in decided {
            if !call.on_every_core {
                answer(call, Ok(reply));
                continue;
            }
            let shared = Arc::clone(&self.published);
            // Bounded by CALLS_MAX, as it holds the call's permit. A caller that went away is not waited for.
            tokio::spawn(async move {
                let mut call = call;
                tokio::select! {
                    () = shared.on_every_core(published) => answer(call, Ok(reply)),
                    () = call.answer.closed() => {}
                }
            });
        }
        let log_bytes = self.running.log.bytes();
        // Without room for it the log goes on growing, within what it has reserved.
        if log_bytes > self.snapshot_after_bytes && self.running.log.available_bytes() > 2 * log_bytes {
            let raft = self.running.raft.clone();
            tokio::spawn(async move { raft.trigger().snapshot().await });
        }
    }

    /// Another term has begun: everything decided in the old one is void.
    fn lose_term(&mut self, decided: Vec<Decided>) {
        for Decided { call, .. } in decided {
            answer(call, Err(ControlError::NotLeader));
        }
        self.running.term = self.running.raft.metrics().borrow().current_term;
        self.speculative = MetadataImage::clone(&self.published.image());
    }

    /// Nothing can be committed any more.
    fn fail(&self, error: ControlError) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            if first {
                tracing::error!(%error, "metadata cannot be changed any more");
                *failed = Some(error);
            }
            first
        });
    }

    fn refuse(&self, decided: Vec<Decided>) {
        let error = self.failed.borrow().clone().unwrap_or(ControlError::Stopped);
        for Decided { call, .. } in decided {
            answer(call, Err(error.clone()));
        }
    }
}

type Written = std::result::Result<ClientWriteResult<Types>, oneshot::error::RecvError>;

/// Waits for the oldest entry in flight. None when it has nothing to commit.
async fn first(in_flight: &mut VecDeque<InFlight>) -> Option<Written> {
    match in_flight.front_mut()?.written.as_mut() {
        Some(written) => Some(written.await),
        None => None,
    }
}

fn answer(call: Call, result: Result<Reply>) {
    // A caller that went away wants no answer.
    let _ = call.answer.send(result);
    drop(call.permit);
}
