//! Produce requests encoded once: heads per partition and a few batches that all connections share.
//!
//! Built by `produce` before the run; a connection adds twelve bytes in front (length, key, version, correlation id). With
//! idempotence a batch is copied and its producer fields and CRC are patched. Deliberately absent: per-record work.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use corelog_storage::batch::{BatchBuilder, BatchHeader, Compression, HEADER_BYTES};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};

use crate::cold::{self, ProducerIdentity};

/// The last version of Produce that names topics instead of giving their ids.
pub(crate) const PRODUCE_VERSION: i16 = 12;

/// Different batches that take turns, so that nothing is measured on one that happens to be cached or to compress well.
const TEMPLATES: usize = 4;

/// Length, API key, version and correlation id.
pub(crate) const PREFIX_BYTES: usize = 12;

/// Empty tagged fields of the partition, the topic and the request follow the batch.
const TAIL_BYTES: usize = 3;

/// First byte of a batch that its CRC covers.
const CRC_FROM: usize = 21;

/// How long the broker may take over one request.
const PRODUCE_TIMEOUT_MS: i32 = 30_000;

/// What the batches are made of.
#[derive(Debug, Clone)]
pub(crate) struct BatchShape {
    pub(crate) records: usize,
    /// Length of each record's value; keys are null.
    pub(crate) record_bytes: usize,
    pub(crate) compression: Compression,
    pub(crate) timestamp_ms: i64,
}

/// A batch and what follows it in the frame.
#[derive(Debug, Clone)]
struct Template {
    body: Rc<[u8]>,
    batch_len: usize,
}

/// All that is needed to send any batch to any partition.
#[derive(Debug, Clone)]
pub(crate) struct Frames {
    templates: Vec<Template>,
    /// Between prefix and body, by partition, then template.
    heads: Vec<Rc<[u8]>>,
    pub(crate) records_per_batch: usize,
}

/// One frame, ready to be sent.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) prefix: [u8; PREFIX_BYTES],
    pub(crate) head: Rc<[u8]>,
    pub(crate) body: Body,
    pub(crate) batch_len: usize,
}

/// A batch with the frame's end.
#[derive(Debug)]
pub(crate) enum Body {
    /// As it was built.
    Shared(Rc<[u8]>),
    /// With one producer's id and sequence.
    Own(Vec<u8>),
}

impl Frame {
    /// The frame in the pieces in which it lies in memory.
    pub(crate) fn parts(&self) -> [&[u8]; 3] {
        let body: &[u8] = match &self.body {
            Body::Shared(bytes) => bytes,
            Body::Own(bytes) => bytes,
        };
        [&self.prefix, &self.head, body]
    }

    pub(crate) fn len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }
}

impl Frames {
    /// Encodes every head and batch of a run.
    pub(crate) fn build(topic: &str, partitions: usize, acks: i16, shape: &BatchShape) -> Result<Self> {
        let mut text = Text(0x5eed);
        let batches: Vec<Bytes> = (0..TEMPLATES).map(|_| batch(shape, &mut text)).collect();
        let mut templates = Vec::with_capacity(TEMPLATES);
        let mut heads = Vec::with_capacity(partitions * TEMPLATES);
        for partition in 0..partitions as i32 {
            for batch in &batches {
                let frame =
                    cold::encode(PRODUCE_VERSION, 0, &request(topic, partition, acks, batch.clone()))?;
                let body_at = frame.len() - TAIL_BYTES - batch.len();
                let (head, body) = frame.split_at(body_at);
                ensure!(body.starts_with(batch), "the encoded request does not end with its batch");
                heads.push(head.get(PREFIX_BYTES..).context("the encoded request has no header")?.into());
                if partition == 0 {
                    templates.push(Template { body: body.into(), batch_len: batch.len() });
                }
            }
        }
        Ok(Self { templates, heads, records_per_batch: shape.records })
    }

    /// The frame for the `number`-th request of a connection.
    pub(crate) fn frame(&self, partition: usize, number: u64, correlation: i32) -> Frame {
        let which = (number % TEMPLATES as u64) as usize;
        let template = &self.templates[which];
        let head = self.heads[partition * TEMPLATES + which].clone();
        let len = PREFIX_BYTES - 4 + head.len() + template.body.len();
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..4].copy_from_slice(&(len as i32).to_be_bytes());
        prefix[4..6].copy_from_slice(&ProduceRequest::KEY.to_be_bytes());
        prefix[6..8].copy_from_slice(&PRODUCE_VERSION.to_be_bytes());
        prefix[8..].copy_from_slice(&correlation.to_be_bytes());
        Frame { prefix, head, body: Body::Shared(template.body.clone()), batch_len: template.batch_len }
    }

    /// Whether the records behind a batch's header are those of one of the batches that were sent.
    pub(crate) fn has_sent_records(&self, records: &[u8]) -> bool {
        self.templates
            .iter()
            .any(|template| template.body.get(HEADER_BYTES..template.batch_len) == Some(records))
    }

    /// Largest batch, in bytes.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        self.templates.iter().map(|template| template.batch_len).max().unwrap_or(0)
    }
}

/// Gives a frame's batch the identity of an idempotent producer. `spare` is a buffer to reuse.
pub(crate) fn identify(
    frame: &mut Frame,
    mut spare: Vec<u8>,
    producer: ProducerIdentity,
    base_sequence: i32,
) {
    let Body::Shared(template) = &frame.body else { return };
    spare.clear();
    spare.extend_from_slice(template);
    let batch = &mut spare[..frame.batch_len];
    let Ok(header) = BatchHeader::parse(batch) else {
        unreachable!("a batch of our own builder has a header");
    };
    let header = BatchHeader {
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        base_sequence,
        ..header
    };
    batch[..HEADER_BYTES].copy_from_slice(&header.encode());
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[..HEADER_BYTES].copy_from_slice(&BatchHeader { crc, ..header }.encode());
    frame.body = Body::Own(spare);
}

fn request(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_string())))
        .with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(PRODUCE_TIMEOUT_MS).with_topic_data(vec![topic])
}

fn batch(shape: &BatchShape, text: &mut Text) -> Bytes {
    let mut builder = BatchBuilder::new().compression(shape.compression);
    for _ in 0..shape.records {
        let value: Vec<u8> = (0..shape.record_bytes).map(|_| text.next_byte()).collect();
        builder = builder.record(shape.timestamp_ms, None, Some(&value));
    }
    Bytes::from(builder.build())
}

/// Random hexadecimal digits, the same in every run: a codec can halve them and not do better.
struct Text(u64);

impl Text {
    fn next_byte(&mut self) -> u8 {
        b"0123456789abcdef"[(super::random(&mut self.0) & 15) as usize]
    }
}
