//! Idempotent producing: which batch is new, which one was appended before, which one does not follow.
//!
//! The rules are those of Apache Kafka 4.x (ProducerStateManager, ProducerAppendInfo): the last five batches of each producer id are
//! remembered. The partition's driver checks each batch, records each one it appends, and replays headers at recovery. A duplicate may be
//! answered only when the original is durable: the caller waits for [`Check::Duplicate`]'s last offset. Deliberately absent: transactions.

mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use snapshot::SNAPSHOT_VERSION;

/// How many batches of a producer are remembered (Kafka's `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
pub const BATCHES_REMEMBERED: usize = 5;
/// How many producers a partition remembers. When it is full the eighth of them that is longest unseen is forgotten, as if expired:
/// a producer that was forgotten may go on with any sequence, but a batch it repeats from before would be appended again.
pub const PRODUCERS_MAX: usize = 10_000;
/// What one remembered producer takes in memory, in bytes, for the owner's budget: its entry and its share of the table.
pub const PRODUCER_BYTES: usize = (size_of::<(i64, Producer)>() + 1) * 8 / 7 * 2;
/// Kafka's `RecordBatch.NO_PRODUCER_EPOCH`.
const NO_PRODUCER_EPOCH: i16 = -1;

/// What a batch header says about its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Producer id, 0 or greater; a batch with -1 is not idempotent and does not come here.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Sequence of its first record.
    pub base_sequence: i32,
    /// Offset of its last record minus that of its first: 0 for a single record. From a validated header, 0 or greater.
    pub last_offset_delta: i32,
}

impl ProducerBatch {
    /// Sequence of its last record: after 2^31-1 comes 0.
    pub fn last_sequence(&self) -> i32 {
        sequence_after(self.base_sequence, self.last_offset_delta)
    }
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It follows: append it, then [`ProducerState::record`] it.
    Append,
    /// It was appended before: answer these, once the last offset is durable.
    Duplicate {
        /// Offset of its first record.
        base_offset: i64,
        /// Offset of its last record.
        last_offset: i64,
        /// Its largest timestamp, which is its append time on a LogAppendTime topic.
        max_timestamp: i64,
    },
}

/// Why a batch is refused. Kafka 4.x has no UNKNOWN_PRODUCER_ID any more: a producer that is not known may start anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error(
        "Out of order sequence number for producer {producer_id}: {base_sequence} (incoming seq. number), {last_sequence} (current end sequence number)"
    )]
    OutOfOrderSequence { producer_id: i64, base_sequence: i32, last_sequence: i32 },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a new epoch starts at sequence 0.
    #[error(
        "Invalid sequence number for new epoch of producer {producer_id}: {producer_epoch} (request epoch), {base_sequence} (seq. number), {current_epoch} (current producer epoch)"
    )]
    NewEpochNotAtZero { producer_id: i64, producer_epoch: i16, base_sequence: i32, current_epoch: i16 },
    /// INVALID_PRODUCER_EPOCH.
    #[error(
        "Epoch of producer {producer_id} is {producer_epoch}, which is < the last seen epoch {current_epoch}"
    )]
    InvalidProducerEpoch { producer_id: i64, producer_epoch: i16, current_epoch: i16 },
    /// INVALID_RECORD.
    #[error("Invalid sequence number {base_sequence} in record batch with producerId {producer_id}")]
    InvalidSequence { producer_id: i64, base_sequence: i32 },
}

/// One remembered batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Batch {
    last_sequence: i32,
    last_offset_delta: i32,
    last_offset: i64,
    max_timestamp: i64,
}

/// What is remembered of one producer: never without a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// How many of `batches` are in use, oldest first.
    batch_count: u8,
    batches: [Batch; BATCHES_REMEMBERED],
    last_seen_ms: i64,
}

/// A producer as DescribeProducers tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Sequence of the last record it appended; -1 for none.
    pub last_sequence: i32,
    /// Largest timestamp of its last batch, in ms; -1 for none.
    pub last_timestamp_ms: i64,
}

/// The producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerState {
    /// By producer id. Clients choose the ids, so the table is seeded by the standard library against crafted
    /// collisions; nothing depends on its order.
    producers: HashMap<i64, Producer>,
}

impl ProducerState {
    /// Knows no producer.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many producers are remembered.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// What is remembered of each producer, by id (DescribeProducers).
    pub fn active(&self) -> Vec<ActiveProducer> {
        let mut active: Vec<ActiveProducer> = self
            .producers
            .iter()
            .map(|(producer_id, producer)| ActiveProducer {
                producer_id: *producer_id,
                producer_epoch: producer.epoch,
                last_sequence: producer.last_sequence(),
                last_timestamp_ms: producer.batches().last().map_or(-1, |batch| batch.max_timestamp),
            })
            .collect();
        active.sort_unstable_by_key(|producer| producer.producer_id);
        active
    }

    /// Each producer's id with the offset of the last record it appended, in no order: what compaction must not take away whole.
    pub fn last_offsets(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        let last = |producer: &Producer| producer.batches().last().map(|batch| batch.last_offset);
        self.producers.iter().filter_map(move |(id, producer)| Some((*id, last(producer)?)))
    }

    /// Decides about a batch that a client sent.
    ///
    /// # Errors
    /// What Kafka answers; nothing has changed.
    pub fn check(&self, batch: &ProducerBatch) -> Result<Check, ProducerError> {
        let &ProducerBatch { producer_id, producer_epoch, base_sequence, .. } = batch;
        if base_sequence < 0 {
            return Err(ProducerError::InvalidSequence { producer_id, base_sequence });
        }
        let Some(producer) = self.producers.get(&producer_id) else {
            // A producer that is not known counts as one whose epoch is -1.
            let current_epoch = NO_PRODUCER_EPOCH;
            return if producer_epoch < current_epoch {
                Err(ProducerError::InvalidProducerEpoch { producer_id, producer_epoch, current_epoch })
            } else {
                Ok(Check::Append)
            };
        };
        if let Some(original) = producer.find(batch) {
            return Ok(Check::Duplicate {
                base_offset: original.last_offset - i64::from(original.last_offset_delta),
                last_offset: original.last_offset,
                max_timestamp: original.max_timestamp,
            });
        }
        let current_epoch = producer.epoch;
        if producer_epoch < current_epoch {
            return Err(ProducerError::InvalidProducerEpoch { producer_id, producer_epoch, current_epoch });
        }
        if current_epoch == NO_PRODUCER_EPOCH {
            return Ok(Check::Append);
        }
        if producer_epoch > current_epoch {
            return if base_sequence == 0 {
                Ok(Check::Append)
            } else {
                let error = ProducerError::NewEpochNotAtZero {
                    producer_id,
                    producer_epoch,
                    base_sequence,
                    current_epoch,
                };
                Err(error)
            };
        }
        let last_sequence = producer.last_sequence();
        if base_sequence == sequence_after(last_sequence, 1) {
            Ok(Check::Append)
        } else {
            Err(ProducerError::OutOfOrderSequence { producer_id, base_sequence, last_sequence })
        }
    }

    /// Remembers a batch that was appended at `base_offset`: after a check that said so, or unchecked when the log is replayed.
    /// `now_ms` is the wall clock of the append; at a replay, that of the recovery. Forgets others when the partition has too many.
    pub fn record(&mut self, batch: &ProducerBatch, base_offset: i64, max_timestamp: i64, now_ms: i64) {
        if self.producers.len() >= PRODUCERS_MAX && !self.producers.contains_key(&batch.producer_id) {
            self.forget_longest_unseen(PRODUCERS_MAX / 8);
        }
        let producer = self.producers.entry(batch.producer_id).or_insert(Producer {
            epoch: batch.producer_epoch,
            batch_count: 0,
            batches: [Batch::default(); BATCHES_REMEMBERED],
            last_seen_ms: now_ms,
        });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batch_count = 0;
            producer.batches = Default::default();
        }
        producer.last_seen_ms = now_ms;
        producer.push(Batch {
            last_sequence: batch.last_sequence(),
            last_offset_delta: batch.last_offset_delta,
            last_offset: base_offset + i64::from(batch.last_offset_delta),
            max_timestamp,
        });
    }

    /// Forgets producers that appended nothing for `expiration_ms` (`producer.id.expiration.ms`). Kafka counts from the last
    /// batch's own timestamp, so that a producer of old data expires at once; we count from its append.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, producer| now_ms.saturating_sub(producer.last_seen_ms) < expiration_ms);
    }

    /// Forgets the `count` producers that are longest unseen: the way to meet a bound of the owner's, over many partitions.
    pub fn forget_longest_unseen(&mut self, count: usize) {
        let mut by_age: Vec<(i64, i64)> =
            self.producers.iter().map(|(id, p)| (p.last_seen_ms, *id)).collect();
        if count < by_age.len() {
            by_age.select_nth_unstable(count);
            by_age.truncate(count);
        }
        for (_, id) in by_age {
            self.producers.remove(&id);
        }
    }
}

impl Producer {
    fn batches(&self) -> &[Batch] {
        &self.batches[..usize::from(self.batch_count)]
    }

    fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(-1, |batch| batch.last_sequence)
    }

    fn find(&self, batch: &ProducerBatch) -> Option<&Batch> {
        let same = |known: &&Batch| {
            known.last_sequence == batch.last_sequence() && known.last_offset_delta == batch.last_offset_delta
        };
        if batch.producer_epoch == self.epoch { self.batches().iter().find(same) } else { None }
    }

    fn push(&mut self, batch: Batch) {
        if usize::from(self.batch_count) == BATCHES_REMEMBERED {
            self.batches.rotate_left(1);
            self.batches[BATCHES_REMEMBERED - 1] = batch;
        } else {
            self.batches[usize::from(self.batch_count)] = batch;
            self.batch_count += 1;
        }
    }
}

/// The sequence `increment` records after `sequence`: after 2^31-1 comes 0 (Kafka's `DefaultRecordBatch.incrementSequence`).
fn sequence_after(sequence: i32, increment: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(increment);
    (sum % (i64::from(i32::MAX) + 1)) as i32
}
