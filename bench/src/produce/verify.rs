//! After a run: is everything that was acknowledged there, no more and no less, and is it what was sent?
//! Called by `produce --verify`. Deliberately absent: reading every byte (the checker does, with real clients).

use anyhow::{Result, ensure};
use corelog_storage::batch::{self, Batches};
use serde::{Deserialize, Serialize};

use super::frames::Frames;
use crate::cold::{Cold, End, Topic};

/// Batches read back from each partition.
const SAMPLES_PER_PARTITION: usize = 16;

/// What was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Verified {
    /// Records acknowledged over the whole run, warm-up included.
    pub(crate) acknowledged_records: u64,
    /// How far the end offsets moved.
    pub(crate) appended_records: u64,
    /// Batches read back; all had a right CRC, the offset they were asked for, and records that were sent.
    pub(crate) sampled_batches: usize,
}

/// Compares end offsets with what was acknowledged, and samples of what is stored with what was sent.
///
/// # Errors
/// The first difference, with partition and offset.
pub(crate) fn verify(
    cold: &mut Cold,
    topic: &Topic,
    before: &[i64],
    acknowledged: &[u64],
    frames: &Frames,
) -> Result<Verified> {
    let after = cold.offsets(topic, End::Latest)?;
    let mut random = 0x0ff5_e700;
    let mut verified = Verified { acknowledged_records: 0, appended_records: 0, sampled_batches: 0 };
    for (partition, ((from, to), acknowledged)) in before.iter().zip(&after).zip(acknowledged).enumerate() {
        let appended = u64::try_from(to - from).unwrap_or(0);
        ensure!(
            appended == *acknowledged,
            "verify: {}-{partition} went from offset {from} to {to}, which is {appended} records; {acknowledged} were \
             acknowledged (is somebody else writing to the topic?)",
            topic.name
        );
        verified.acknowledged_records += acknowledged;
        verified.appended_records += appended;
        for _ in 0..SAMPLES_PER_PARTITION.min(appended as usize) {
            let offset = from + (super::random(&mut random) % appended) as i64;
            sample(cold, topic, partition as i32, *from, offset, frames)?;
            verified.sampled_batches += 1;
        }
    }
    Ok(verified)
}

fn sample(
    cold: &mut Cold,
    topic: &Topic,
    partition: i32,
    from: i64,
    offset: i64,
    frames: &Frames,
) -> Result<()> {
    let place = format!("verify: {}-{partition} at offset {offset}", topic.name);
    let bytes = cold.read(topic, partition, offset, frames.batch_bytes_max() as i32)?;
    let Some(Ok(first)) = Batches::new(&bytes).next() else { anyhow::bail!("{place}: no batch came back") };
    let header = &first.header;
    ensure!(
        (header.base_offset..=header.last_offset()).contains(&offset),
        "{place}: the batch that came back has offsets {} to {}",
        header.base_offset,
        header.last_offset()
    );
    ensure!(
        (header.base_offset - from) % frames.records_per_batch as i64 == 0,
        "{place}: base offset {} is not where a batch of {} records from {from} on begins",
        header.base_offset,
        frames.records_per_batch
    );
    if let Err(error) = batch::check_crc(first.bytes, header) {
        anyhow::bail!("{place}: {error}");
    }
    let records = first.bytes.get(batch::HEADER_BYTES..).unwrap_or_default();
    ensure!(
        frames.has_sent_records(records),
        "{place}: these {} bytes of records were never sent",
        records.len()
    );
    Ok(())
}
