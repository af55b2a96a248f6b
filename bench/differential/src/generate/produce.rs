//! Produce: sound and damaged batches, acks, names, ids and partitions that are there and that are not; idempotent
//! producers with repeated, skipped and fenced sequences.

use bytes::Bytes;
use corelog_storage::batch::{BatchBuilder, Compression};
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::batches::{self, MADE_MS};
use super::{Maker, fetch, topic_id, topic_name, topics};

const TIMEOUT_MS: i32 = 10_000;

/// A request with these partitions of one topic.
pub(super) fn request(
    version: i16,
    topic: &str,
    acks: i16,
    partitions: Vec<(i32, Option<Vec<u8>>)>,
) -> ProduceRequest {
    let partitions = partitions.into_iter().map(|(index, records)| {
        PartitionProduceData::default().with_index(index).with_records(records.map(Bytes::from))
    });
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(TIMEOUT_MS)
        .with_topic_data(vec![named(topic, version).with_partition_data(partitions.collect())])
}

fn named(topic: &str, version: i16) -> TopicProduceData {
    if version >= 13 {
        TopicProduceData::default().with_topic_id(topic_id(topic))
    } else {
        TopicProduceData::default().with_name(topic_name(topic))
    }
}

/// Reads a topic from its beginning: what was kept tells what was accepted. A last batch is waited for first, for what was sent
/// without a wish for an answer is to be read only when it is on Corelog's disk, as is everything before an answer.
fn what_was_kept(maker: &mut Maker<'_>, topic: &str, partitions: i32) {
    for partition in 0..partitions {
        let last = BatchBuilder::new().record(MADE_MS, Some(b"last"), Some(b"last")).build();
        maker.send(0, 8, &request(8, topic, -1, vec![(partition, Some(last))]));
        fetch::all_of(maker, topic, partition);
    }
}

/// Sound batches to places good and bad.
pub(super) fn any(maker: &mut Maker<'_>) {
    let configs: &[&[(&str, &str)]] = &[
        &[],
        &[],
        &[("message.timestamp.type", "LogAppendTime")],
        &[("max.message.bytes", "400")],
        &[("cleanup.policy", "compact")],
        &[("message.timestamp.before.max.ms", "1000")],
        &[("compression.type", "producer")],
    ];
    let configs = maker.random.pick(configs);
    let topic = maker.topic(3, configs);
    let other = maker.topic(1, &[]);
    for _ in 0..12 {
        let Some(version) = maker.version(0) else { return };
        let acks = maker.random.pick(&[-1, -1, -1, 1, 1, 0, 0, 2, -2, i16::MAX]);
        let mut request = request(version, &topic, acks, Vec::new());
        request.topic_data.clear();
        // No partition twice: of two batches for one partition Kafka drops the first without a word, Corelog refuses both.
        let (mut taken, mut odd_id) = (Vec::new(), false);
        for _ in 0..maker.random.pick(&[0, 1, 1, 1, 1, 2, 3]) {
            let name = match maker.random.below(10) {
                0 => "no-such-topic".to_owned(),
                1 => maker.random.pick(&topics::odd_names()),
                2 => other.clone(),
                _ => topic.clone(),
            };
            let mut one = named(&name, version);
            if version >= 13 && maker.random.once_in(10) {
                one.topic_id = maker.random.pick(&[Uuid::nil(), Uuid::from_bytes([9; 16])]);
                if std::mem::replace(&mut odd_id, true) {
                    continue;
                }
            }
            for _ in 0..maker.random.pick(&[0, 1, 1, 1, 1, 2, 3]) {
                let partition = maker.random.pick(&[0, 0, 0, 1, 2, 3, -1, i32::MAX]);
                if taken.contains(&(name.clone(), partition)) {
                    continue;
                }
                taken.push((name.clone(), partition));
                // Null records are not sent: Kafka never answers them, and keeps the connection.
                let records =
                    if maker.random.once_in(12) { Vec::new() } else { batches::sound(&mut maker.random) };
                one.partition_data.push(
                    PartitionProduceData::default()
                        .with_index(partition)
                        .with_records(Some(Bytes::from(records))),
                );
            }
            request.topic_data.push(one);
        }
        if maker.random.once_in(15) {
            // Without transactional batches it means nothing.
            let id = maker.random.pick(&["", "transactional"]);
            request.transactional_id = Some(StrBytes::from_static_str(id).into());
        }
        request.timeout_ms = maker.random.pick(&[TIMEOUT_MS, TIMEOUT_MS, TIMEOUT_MS, i32::MAX]);
        if acks == 0 { maker.send_unanswered(0, version, &request) } else { maker.send(0, version, &request) }
    }
    what_was_kept(maker, &topic, 3);
    maker.clean_up(&[&topic, &other]);
}

/// Batches that are wrong in one way each.
pub(super) fn damaged(maker: &mut Maker<'_>) {
    // Whatever their times, batches stay in one segment: Kafka's reads end with it, Corelog's go on.
    let one_segment = ("segment.ms", "9223372036854775807");
    let configs: &[&[(&str, &str)]] = &[
        &[one_segment],
        &[one_segment],
        &[one_segment],
        &[one_segment, ("message.timestamp.type", "LogAppendTime")],
        &[one_segment, ("cleanup.policy", "compact")],
    ];
    let configs = maker.random.pick(configs);
    let topic = maker.topic(1, configs);
    for _ in 0..16 {
        let Some(version) = maker.version(0) else { return };
        let (batch, what) = batches::damaged(&mut maker.random);
        let acks = maker.random.pick(&[-1, -1, -1, 1, 0]);
        let request = request(version, &topic, acks, vec![(0, Some(batch))]);
        if acks == 0 {
            maker.send_unanswered(0, version, &request)
        } else {
            maker.send(0, version, &request)
        }
        if let Some(crate::script::Step::Send(sent)) = maker.steps.last_mut() {
            sent.label = format!("a batch with {what} on a topic {configs:?}: {}", sent.label);
        }
    }
    what_was_kept(maker, &topic, 1);
    maker.clean_up(&[&topic]);
}

/// Producers with ids: in order, repeated, ahead, behind, with other epochs, in transactions that nobody began.
pub(super) fn idempotent(maker: &mut Maker<'_>) {
    let topic = maker.topic(2, &[]);
    // Brokers keep producers per partition: what was never handed out is as good as what was.
    let ids = [900_000_i64, 900_001];
    let mut next = [[0_i32; 2]; 2];
    if maker.random.once_in(4) {
        next = [[i32::MAX - 2; 2]; 2];
    }
    let mut epoch = [0_i16; 2];
    let mut sent: Vec<(usize, Vec<u8>)> = Vec::new();
    for _ in 0..24 {
        let Some(version) = maker.version(0) else { return };
        let (who, partition) = (maker.random.below(2), maker.random.below(2));
        let (batch, partition) = if !sent.is_empty() && maker.random.once_in(4) {
            // One of the last; five are remembered.
            let back = maker.random.below(sent.len().min(8)) + 1;
            match sent.len().checked_sub(back).and_then(|place| sent.get(place)) {
                Some((partition, batch)) => (batch.clone(), *partition),
                None => return,
            }
        } else {
            let count = maker.random.pick(&[1_usize, 1, 2, 5]);
            let (id, known_epoch, sequence) = (
                ids.get(who).copied().unwrap_or(1),
                epoch.get_mut(who),
                next.get_mut(who).and_then(|partitions| partitions.get_mut(partition)),
            );
            let (Some(known_epoch), Some(sequence)) = (known_epoch, sequence) else { return };
            let mut base = *sequence;
            let mut its_epoch = *known_epoch;
            match maker.random.below(14) {
                0 => base = base.wrapping_add(1),
                1 => base = (base - 1).max(0),
                2 => base = 0,
                3 => {
                    its_epoch = its_epoch.saturating_add(1);
                    base = 0;
                    *known_epoch = its_epoch;
                }
                4 => its_epoch = its_epoch.saturating_add(1),
                5 => its_epoch = maker.random.pick(&[its_epoch - 1, -1, -2, i16::MAX]),
                6 => base = maker.random.pick(&[-1, -2, i32::MAX, i32::MIN]),
                _ => {}
            }
            let in_order = base == *sequence;
            if in_order || base == 0 {
                *sequence = base.checked_add(count as i32).unwrap_or(count as i32 - (i32::MAX - base) - 1);
            }
            let codec = maker.random.pick(&Compression::ALL);
            let mut builder =
                batches::of(&mut maker.random, count, codec, MADE_MS).producer(id, its_epoch, base);
            match maker.random.below(20) {
                0 => builder = builder.transactional(),
                1 => builder = builder.control(),
                2 => builder = builder.transactional().control(),
                _ => {}
            }
            (builder.build(), partition)
        };
        let acks = maker.random.pick(&[-1, -1, -1, 1, 0]);
        let mut request = request(version, &topic, acks, vec![(partition as i32, Some(batch.clone()))]);
        // Where only one of the brokers has transactions there is nothing to compare.
        if maker.world.versions.contains_key(&24) && maker.random.once_in(20) {
            request.transactional_id = Some(StrBytes::from_static_str("transactional").into());
        }
        sent.push((partition, batch));
        if acks == 0 { maker.send_unanswered(0, version, &request) } else { maker.send(0, version, &request) }
    }
    what_was_kept(maker, &topic, 2);
    maker.clean_up(&[&topic]);
}
