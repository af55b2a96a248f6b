//! Metadata records and their encoding: KRaft's names, our own bytes.
//!
//! Written by `decide`, committed by the control thread, applied by `MetadataImage::replay`; a snapshot is a list of them.
//! Each record is `u16 kind, u8 version, u8 zero, u32 length, payload`; an unknown kind or version is refused, never skipped.

use std::fmt;

use crate::encoding::{DecodeError, Reader, Writer};

/// Identity of a topic (KIP-516): a UUID that is never reused. Shown as Kafka does: URL-safe base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// A version 4 UUID out of 128 random bits. `None` for what Kafka avoids: the reserved ids, and ids that would
    /// begin with '-' on a command line. Ask again with other bits.
    pub fn from_random(high: u64, low: u64) -> Option<Self> {
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(3 << 62)) | (1 << 63);
        let id = Self(((u128::from(high) << 64) | u128::from(low)).to_be_bytes());
        // '-' is the 62nd letter, and the first letter is the first six bits.
        (id.0[0] >> 2 != 62).then_some(id)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = u128::from_be_bytes(self.0);
        for letter in 0..22 {
            // 21 letters carry six bits each, the last one the two that remain.
            let six = if letter < 21 { bits >> (122 - 6 * letter) } else { bits << 4 };
            let letter = LETTERS[(six & 63) as usize];
            fmt::Write::write_char(f, char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a configuration belongs to. The numbers are those of Kafka's `ConfigResource.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ResourceKind {
    /// A topic, by name.
    Topic = 2,
    /// A broker, by its node id in decimal; the empty name is the default of all brokers.
    Broker = 4,
    /// A group, by its id; it need not exist.
    Group = 32,
}

/// A configured thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
}

impl ConfigResource {
    /// The configuration of a topic.
    pub fn topic(name: impl Into<String>) -> Self {
        Self { kind: ResourceKind::Topic, name: name.into() }
    }

    /// The configuration of one broker.
    pub fn broker(node_id: i32) -> Self {
        Self { kind: ResourceKind::Broker, name: node_id.to_string() }
    }

    /// The configuration of a group.
    pub fn group(group_id: impl Into<String>) -> Self {
        Self { kind: ResourceKind::Group, name: group_id.into() }
    }
}

/// Where a broker can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Listener name, such as PLAINTEXT.
    pub name: String,
    /// Host name or address told to clients. Empty: each client is told the address it dialled.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A topic exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub topic_id: TopicId,
}

/// A partition exists, whole state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The topic it belongs to.
    pub topic_id: TopicId,
    /// Its number, from 0.
    pub partition: i32,
    /// Node ids, preferred leader first.
    pub replicas: Vec<i32>,
    /// Node ids of the replicas in sync.
    pub isr: Vec<i32>,
    /// Node id of the leader; -1 for none.
    pub leader: i32,
    /// Grows with each leader (KIP-101).
    pub leader_epoch: i32,
    /// Grows with each change of this partition's state.
    pub partition_epoch: i32,
    /// Names this incarnation of the log for storage. Never 0.
    pub log_id: u64,
}

/// A partition's state changes; absent fields stay. Each one applied adds 1 to the partition epoch, and
/// a leader given adds 1 to the leader epoch, be it the same leader or another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionChangeRecord {
    /// The topic it belongs to.
    pub topic_id: TopicId,
    /// Its number, from 0.
    pub partition: i32,
    /// New leader, -1 for none.
    pub leader: Option<i32>,
    /// New set of replicas in sync.
    pub isr: Option<Vec<i32>>,
}

/// A topic and all its partitions and configurations are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveTopicRecord {
    /// Which one.
    pub topic_id: TopicId,
}

/// One configuration is set, or removed when there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigRecord {
    /// Of what.
    pub resource: ConfigResource,
    /// Kafka's key.
    pub name: String,
    /// The value as text.
    pub value: Option<String>,
}

/// A broker has started (again).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterBrokerRecord {
    /// Its node id.
    pub broker_id: i32,
    /// Random for each start of the process.
    pub incarnation_id: TopicId,
    /// Grows with each registration in the cluster.
    pub broker_epoch: i64,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// Producer ids below this one are given away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerIdsRecord {
    /// The broker that got the block.
    pub broker_id: i32,
    /// The first id that is free.
    pub next_producer_id: i64,
}

/// A feature is finalized at a level (KIP-584); level 0 removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureLevelRecord {
    /// Such as transaction.version.
    pub name: String,
    /// The level.
    pub feature_level: i16,
}

/// A change of the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is its struct")]
pub enum Record {
    Topic(TopicRecord),
    Partition(PartitionRecord),
    PartitionChange(PartitionChangeRecord),
    RemoveTopic(RemoveTopicRecord),
    Config(ConfigRecord),
    RegisterBroker(RegisterBrokerRecord),
    ProducerIds(ProducerIdsRecord),
    FeatureLevel(FeatureLevelRecord),
}

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 8;
const NAME: &str = "metadata record";

impl Record {
    /// The number of the record in its encoding. Numbers are never reused.
    fn kind(&self) -> u16 {
        match self {
            Self::Topic(_) => 1,
            Self::Partition(_) => 2,
            Self::PartitionChange(_) => 3,
            Self::RemoveTopic(_) => 4,
            Self::Config(_) => 5,
            Self::RegisterBroker(_) => 6,
            Self::ProducerIds(_) => 7,
            Self::FeatureLevel(_) => 8,
        }
    }

    fn encode(&self, out: &mut Writer) {
        out.put_u16(self.kind());
        out.put_u8(VERSION);
        out.put_u8(0);
        out.put_framed(|out| self.encode_payload(out));
    }

    fn encode_payload(&self, out: &mut Writer) {
        match self {
            Self::Topic(r) => {
                out.put_bytes(&r.topic_id.0);
                out.put_string(&r.name);
            }
            Self::Partition(r) => {
                out.put_bytes(&r.topic_id.0);
                out.put_i32(r.partition);
                out.put_i32(r.leader);
                out.put_i32(r.leader_epoch);
                out.put_i32(r.partition_epoch);
                out.put_u64(r.log_id);
                out.put_i32_list(&r.replicas);
                out.put_i32_list(&r.isr);
            }
            Self::PartitionChange(r) => {
                out.put_bytes(&r.topic_id.0);
                out.put_i32(r.partition);
                out.put_u8(u8::from(r.leader.is_some()) | u8::from(r.isr.is_some()) << 1);
                if let Some(leader) = r.leader {
                    out.put_i32(leader);
                }
                if let Some(isr) = &r.isr {
                    out.put_i32_list(isr);
                }
            }
            Self::RemoveTopic(r) => out.put_bytes(&r.topic_id.0),
            Self::Config(r) => {
                out.put_u8(r.resource.kind as u8);
                out.put_string(&r.resource.name);
                out.put_string(&r.name);
                out.put_optional_string(r.value.as_deref());
            }
            Self::RegisterBroker(r) => {
                out.put_i32(r.broker_id);
                out.put_bytes(&r.incarnation_id.0);
                out.put_i64(r.broker_epoch);
                out.put_optional_string(r.rack.as_deref());
                out.put_count(r.listeners.len());
                for listener in &r.listeners {
                    out.put_string(&listener.name);
                    out.put_string(&listener.host);
                    out.put_u16(listener.port);
                }
            }
            Self::ProducerIds(r) => {
                out.put_i32(r.broker_id);
                out.put_i64(r.next_producer_id);
            }
            Self::FeatureLevel(r) => {
                out.put_string(&r.name);
                out.put_i16(r.feature_level);
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = input.u16(NAME)?;
        let version = input.u8(NAME)?;
        if !(1..=8).contains(&kind) {
            let what = "metadata record kind";
            return Err(DecodeError::Unknown { what, found: u32::from(kind), known: "1 to 8" });
        }
        if version != VERSION {
            let what = "metadata record version";
            return Err(DecodeError::Unknown { what, found: u32::from(version), known: "1" });
        }
        if input.u8(NAME)? != 0 {
            return Err(DecodeError::Invalid { what: NAME, why: "its reserved byte is not 0".to_owned() });
        }
        let len = input.u32(NAME)? as usize;
        let mut payload = Reader::new(input.bytes(len, NAME)?);
        let record = Self::decode_payload(kind, &mut payload)?;
        payload.finish(NAME)?;
        Ok(record)
    }

    fn decode_payload(kind: u16, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            1 => Self::Topic(TopicRecord {
                topic_id: TopicId(from.array("topic id")?),
                name: from.string("topic name")?.to_owned(),
            }),
            2 => Self::Partition(PartitionRecord {
                topic_id: TopicId(from.array("topic id")?),
                partition: from.i32("partition")?,
                leader: from.i32("leader")?,
                leader_epoch: from.i32("leader epoch")?,
                partition_epoch: from.i32("partition epoch")?,
                log_id: from.u64("log id")?,
                replicas: from.i32_list("replicas")?,
                isr: from.i32_list("isr")?,
            }),
            3 => {
                let (topic_id, partition) = (TopicId(from.array("topic id")?), from.i32("partition")?);
                let fields = from.u8("changed fields")?;
                if fields > 3 {
                    let why = format!("unknown fields in {fields:#x}");
                    return Err(DecodeError::Invalid { what: "changed fields", why });
                }
                let leader = if fields & 1 != 0 { Some(from.i32("leader")?) } else { None };
                let isr = if fields & 2 != 0 { Some(from.i32_list("isr")?) } else { None };
                Self::PartitionChange(PartitionChangeRecord { topic_id, partition, leader, isr })
            }
            4 => Self::RemoveTopic(RemoveTopicRecord { topic_id: TopicId(from.array("topic id")?) }),
            5 => Self::Config(ConfigRecord {
                resource: ConfigResource {
                    kind: match from.u8("resource kind")? {
                        2 => ResourceKind::Topic,
                        4 => ResourceKind::Broker,
                        32 => ResourceKind::Group,
                        other => {
                            let what = "resource kind";
                            return Err(DecodeError::Unknown {
                                what,
                                found: u32::from(other),
                                known: "2, 4, 32",
                            });
                        }
                    },
                    name: from.string("resource name")?.to_owned(),
                },
                name: from.string("config name")?.to_owned(),
                value: from.optional_string("config value")?.map(str::to_owned),
            }),
            6 => {
                let broker_id = from.i32("broker id")?;
                let incarnation_id = TopicId(from.array("incarnation id")?);
                let broker_epoch = from.i64("broker epoch")?;
                let rack = from.optional_string("rack")?.map(str::to_owned);
                let mut listeners = Vec::new();
                for _ in 0..from.count("listeners", 10)? {
                    let name = from.string("listener name")?.to_owned();
                    let host = from.string("listener host")?.to_owned();
                    listeners.push(Listener { name, host, port: from.u16("listener port")? });
                }
                let record =
                    RegisterBrokerRecord { broker_id, incarnation_id, broker_epoch, listeners, rack };
                Self::RegisterBroker(record)
            }
            7 => Self::ProducerIds(ProducerIdsRecord {
                broker_id: from.i32("broker id")?,
                next_producer_id: from.i64("next producer id")?,
            }),
            _ => Self::FeatureLevel(FeatureLevelRecord {
                name: from.string("feature")?.to_owned(),
                feature_level: from.i16("feature level")?,
            }),
        })
    }
}

/// Encodes a list of records: a u32 count, then each record.
pub fn encode_records(records: &[Record]) -> Vec<u8> {
    let mut out = Writer::new();
    out.put_count(records.len());
    for record in records {
        record.encode(&mut out);
    }
    out.into_bytes()
}

/// Decodes what [`encode_records`] wrote, to the last byte.
///
/// # Errors
/// Anything that is not exactly that: unknown kinds and versions, lengths and counts beyond the bytes, bytes left over.
pub fn decode_records(bytes: &[u8]) -> Result<Vec<Record>, DecodeError> {
    let mut input = Reader::new(bytes);
    let count = input.count("metadata records", HEADER_BYTES)?;
    // A Record in memory is larger than its smallest encoding, so room is not taken on the count's word.
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(Record::decode(&mut input)?);
    }
    input.finish("metadata records")?;
    Ok(records)
}
