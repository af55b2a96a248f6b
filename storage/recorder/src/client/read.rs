//! Reads everything that a topic holds after a power cut and writes it down as a complete pass for the checker.
//! Run by `main`. Deliberately absent: judging it.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, ensure};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest};
use kafka_protocol::records::RecordBatchDecoder;

use super::wire::{Connection, EARLIEST, LATEST};
use super::{digest, topic_name};
use crate::history::{Event, write_pass};

/// Fetch version asked for: the last before flexible fields, and without topic ids.
const FETCH_VERSION: i16 = 11;

/// Bytes of one fetch; a larger batch comes whole all the same.
const FETCH_BYTES: i32 = 1 << 20;

/// A fetch below the end offset must bring something within this time, in milliseconds.
const FETCH_WAIT_MS: i32 = 10_000;

/// Reads all partitions from their start to their end and returns the records read.
pub(crate) fn run(broker: SocketAddr, topic: &str, history: &Path) -> anyhow::Result<u64> {
    let mut connection = Connection::open(broker)?;
    let starts = connection.await_offsets(topic, EARLIEST)?;
    let ends = connection.await_offsets(topic, LATEST)?;
    let mut events = Vec::new();
    let mut records = 0;
    for (partition, (from, to)) in (0..).zip(starts.into_iter().zip(ends)) {
        events.push(Event::Scope { partition, from, to });
        let mut offset = from;
        while offset < to {
            let fetched = fetch(&mut connection, topic, partition, offset)?;
            let first = fetched.len();
            let wanted = fetched.into_iter().filter(|(at, _)| (offset..to).contains(at)).collect::<Vec<_>>();
            offset = match wanted.last() {
                Some((last, _)) => last + 1,
                None => anyhow::bail!(
                    "partition {partition} ends at {to} but a fetch at {offset} brought {first} records, none of them there"
                ),
            };
            records += wanted.len() as u64;
            events.extend(wanted.into_iter().map(|(offset, digest)| Event::Consumed {
                partition,
                offset,
                digest,
            }));
        }
    }
    write_pass(history, topic, &events)?;
    Ok(records)
}

/// The offsets and digests of the records that one fetch brings.
fn fetch(
    connection: &mut Connection,
    topic: &str,
    partition: u32,
    offset: i64,
) -> anyhow::Result<Vec<(i64, u64)>> {
    let wanted = FetchPartition::default()
        .with_partition(partition.cast_signed())
        .with_fetch_offset(offset)
        .with_partition_max_bytes(FETCH_BYTES);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(FETCH_WAIT_MS)
        .with_min_bytes(1)
        .with_max_bytes(FETCH_BYTES)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![wanted])]);
    let reply = connection.call(&request, FETCH_VERSION)?;
    ensure!(reply.error_code == 0, "a fetch was answered with error {}", reply.error_code);
    let answer = reply
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions)
        .find(|answer| answer.partition_index == partition.cast_signed())
        .with_context(|| format!("a fetch left partition {partition} out"))?;
    ensure!(
        answer.error_code == 0,
        "a fetch of partition {partition} at {offset} was answered with error {}",
        answer.error_code
    );
    let mut found = Vec::new();
    let Some(mut bytes) = answer.records.clone() else { return Ok(found) };
    while whole_batch(&bytes) {
        let set = RecordBatchDecoder::decode(&mut bytes)
            .with_context(|| format!("partition {partition} at {offset} holds bytes that are no batch"))?;
        found.extend(set.records.iter().map(|record| (record.offset, digest(record))));
    }
    Ok(found)
}

/// Whether the bytes start with all of a batch. A fetch may end with a part of one.
fn whole_batch(bytes: &[u8]) -> bool {
    let length = bytes.get(8..12).and_then(|field| <[u8; 4]>::try_from(field).ok()).map(i32::from_be_bytes);
    length.and_then(|length| usize::try_from(length).ok()).is_some_and(|length| length <= bytes.len() - 12)
}
