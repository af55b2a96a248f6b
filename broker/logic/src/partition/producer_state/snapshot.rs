//! The bytes in which a partition's producers outlive a restart: written into the checkpoint, whose checksum covers them.
//!
//! `u32 version, u32 count`, then by producer id `i64 id, i16 epoch, i64 last seen (ms), u8 batches` and per batch
//! `i32 last sequence, i32 last offset delta, i64 last offset, i64 largest timestamp`. Deliberately absent: the offset they hold up to, which the owner keeps.

use super::{BATCHES_REMEMBERED, Batch, PRODUCERS_MAX, Producer, ProducerState};
use crate::encoding::{DecodeError, Reader, Writer};

/// The version that is written; others are refused.
pub const SNAPSHOT_VERSION: u32 = 1;
const NAME: &str = "producer snapshot";

impl ProducerState {
    /// The state as bytes; equal states give equal bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.put_u32(SNAPSHOT_VERSION);
        out.put_count(self.producers.len());
        let mut ids: Vec<_> = self.producers.iter().collect();
        ids.sort_unstable_by_key(|(id, _)| **id);
        for (id, producer) in ids {
            out.put_i64(*id);
            out.put_i16(producer.epoch);
            out.put_i64(producer.last_seen_ms);
            out.put_u8(producer.batch_count);
            for batch in producer.batches() {
                out.put_i32(batch.last_sequence);
                out.put_i32(batch.last_offset_delta);
                out.put_i64(batch.last_offset);
                out.put_i64(batch.max_timestamp);
            }
        }
        out.into_bytes()
    }

    /// The state out of what [`ProducerState::snapshot`] wrote. What has expired meanwhile is for [`ProducerState::expire`].
    ///
    /// # Errors
    /// Another version, or bytes that no snapshot is made of.
    pub fn restore(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let version = input.u32(NAME)?;
        if version != SNAPSHOT_VERSION {
            return Err(DecodeError::Unknown {
                what: "producer snapshot version",
                found: version,
                known: "1",
            });
        }
        let invalid = |why: String| Err(DecodeError::Invalid { what: NAME, why });
        let count = input.count(NAME, 19)?;
        if count > PRODUCERS_MAX {
            return invalid(format!("{count} producers are more than the limit of {PRODUCERS_MAX}"));
        }
        let mut state = Self::new();
        for _ in 0..count {
            let id = input.i64(NAME)?;
            let epoch = input.i16(NAME)?;
            let last_seen_ms = input.i64(NAME)?;
            let batch_count = input.u8(NAME)?;
            if !(1..=BATCHES_REMEMBERED).contains(&usize::from(batch_count)) {
                return invalid(format!("producer {id} has {batch_count} batches"));
            }
            let mut batches = [Batch::default(); BATCHES_REMEMBERED];
            for batch in batches.iter_mut().take(usize::from(batch_count)) {
                *batch = Batch {
                    last_sequence: input.i32(NAME)?,
                    last_offset_delta: input.i32(NAME)?,
                    last_offset: input.i64(NAME)?,
                    max_timestamp: input.i64(NAME)?,
                };
                let (delta, last) = (batch.last_offset_delta, batch.last_offset);
                if delta < 0 || last < i64::from(delta) {
                    return invalid(format!("a batch of producer {id} ends at {last} and spans {delta}"));
                }
            }
            if state.producers.insert(id, Producer { epoch, batch_count, batches, last_seen_ms }).is_some() {
                return invalid(format!("producer {id} is there twice"));
            }
        }
        input.finish(NAME)?;
        Ok(state)
    }
}
