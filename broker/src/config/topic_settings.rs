//! The topics' keys: one table with type, default, allowed values, effect, documentation and the broker key each falls back to.
//!
//! Kafka's LogConfig and TopicConfig. What a topic's values resolve to is in `topic_config.rs`.

use super::setting::{Allowed, Effect, Kind, Setting};

/// A topic's key, and the broker's key that supplies its default.
#[derive(Debug, Clone, Copy)]
pub struct TopicSetting {
    pub setting: Setting,
    pub broker_name: Option<&'static str>,
}

/// Every key that a topic can be given.
pub const TOPIC_SETTINGS: &[TopicSetting] = &[
    TopicSetting {
        setting: Setting {
            name: "cleanup.policy",
            kind: Kind::List,
            default: Some("delete"),
            allowed: Allowed::SetOf(&["delete", "compact"]),
            effect: Effect::Acts,
            doc: "How old data is removed: delete, compact, both, or nothing at all.",
        },
        broker_name: Some("log.cleanup.policy"),
    },
    TopicSetting {
        setting: Setting {
            name: "compression.gzip.level",
            kind: Kind::Int,
            default: Some("-1"),
            allowed: Allowed::Between(-1, 9),
            effect: Effect::NotYet,
            doc: "Level of gzip when the broker compresses.",
        },
        broker_name: None,
    },
    TopicSetting {
        setting: Setting {
            name: "compression.lz4.level",
            kind: Kind::Int,
            default: Some("9"),
            allowed: Allowed::Between(1, 17),
            effect: Effect::NotYet,
            doc: "Level of lz4 when the broker compresses.",
        },
        broker_name: None,
    },
    TopicSetting {
        setting: Setting {
            name: "compression.type",
            kind: Kind::String,
            default: Some("producer"),
            allowed: Allowed::OneOf(&["producer"]),
            effect: Effect::NotYet,
            doc: "Compression of stored batches. Only `producer` (as they came) so far.",
        },
        broker_name: Some("compression.type"),
    },
    TopicSetting {
        setting: Setting {
            name: "compression.zstd.level",
            kind: Kind::Int,
            default: Some("3"),
            allowed: Allowed::Between(-131072, 22),
            effect: Effect::NotYet,
            doc: "Level of zstd when the broker compresses.",
        },
        broker_name: None,
    },
    TopicSetting {
        setting: Setting {
            name: "delete.retention.ms",
            kind: Kind::Long,
            default: Some("86400000"),
            allowed: Allowed::AtLeast(0),
            effect: Effect::Acts,
            doc: "How long tombstones of compacted topics stay, in milliseconds.",
        },
        broker_name: Some("log.cleaner.delete.retention.ms"),
    },
    TopicSetting {
        setting: Setting {
            name: "file.delete.delay.ms",
            kind: Kind::Long,
            default: Some("60000"),
            allowed: Allowed::AtLeast(0),
            effect: Effect::Acts,
            doc: "How long a removed segment's file stays, in milliseconds.",
        },
        broker_name: Some("log.segment.delete.delay.ms"),
    },
    TopicSetting {
        setting: Setting {
            name: "flush.messages",
            kind: Kind::Long,
            default: Some("9223372036854775807"),
            allowed: Allowed::AtLeast(1),
            effect: Effect::NotYet,
            doc: "Records between flushes. Corelog flushes before it acknowledges: see corelog.flush.",
        },
        broker_name: Some("log.flush.interval.messages"),
    },
    TopicSetting {
        setting: Setting {
            name: "flush.ms",
            kind: Kind::Long,
            default: Some("9223372036854775807"),
            allowed: Allowed::AtLeast(0),
            effect: Effect::NotYet,
            doc: "Time between flushes. Corelog flushes before it acknowledges: see corelog.flush.",
        },
        broker_name: Some("log.flush.interval.ms"),
    },
    TopicSetting {
        setting: Setting {
            name: "index.interval.bytes",
            kind: Kind::Int,
            default: Some("4096"),
            allowed: Allowed::AtLeast(0),
            effect: Effect::NotYet,
            doc: "Distance of index entries. Corelog indexes every 64 KiB, with a checksum.",
        },
        broker_name: Some("log.index.interval.bytes"),
    },
    TopicSetting {
        setting: Setting {
            name: "max.compaction.lag.ms",
            kind: Kind::Long,
            default: Some("9223372036854775807"),
            allowed: Allowed::AtLeast(1),
            effect: Effect::Acts,
            doc: "Longest time a record may stay uncompacted, in milliseconds.",
        },
        broker_name: Some("log.cleaner.max.compaction.lag.ms"),
    },
    TopicSetting {
        setting: Setting {
            name: "max.message.bytes",
            kind: Kind::Int,
            default: Some("1048588"),
            allowed: Allowed::AtLeast(0),
            effect: Effect::Acts,
            doc: "Largest record batch accepted, in bytes.",
        },
        broker_name: Some("message.max.bytes"),
    },
    TopicSetting {
        setting: Setting {
            name: "message.timestamp.after.max.ms",
            kind: Kind::Long,
            default: Some("3600000"),
            allowed: Allowed::AtLeast(0),
            effect: Effect::Acts,
            doc: "How far a record's timestamp may lie in the future, in milliseconds.",
        },
        broker_name: Some("log.message.timestamp.after.max.ms"),
    },
    TopicSetting {
        setting: Setting {
            name: "message.timestamp.before.max.ms",
            kind: Kind::Long,
            default: Some("9223372036854775807"),
            allowed: Allowed::AtLeast(0),
            effect: Effect::Acts,
            doc: "How far a record's timestamp may lie in the past, in milliseconds.",
        },
        broker_name: Some("log.message.timestamp.before.max.ms"),
    },
    TopicSetting {
        setting: Setting {
            name: "message.timestamp.type",
            kind: Kind::String,
            default: Some("CreateTime"),
            allowed: Allowed::OneOf(&["CreateTime", "LogAppendTime"]),
            effect: Effect::Acts,
            doc: "Whether records keep their producers' timestamps or get the time of the append.",
        },
        broker_name: Some("log.message.timestamp.type"),
    },
    TopicSetting {
        setting: Setting {
            name: "min.cleanable.dirty.ratio",
            kind: Kind::Double,
            default: Some("0.5"),
            allowed: Allowed::Ratio,
            effect: Effect::Acts,
            doc: "Share of uncompacted data at which a log is compacted.",
        },
        broker_name: Some("log.cleaner.min.cleanable.ratio"),
    },
    TopicSetting {
        setting: Setting {
            name: "min.compaction.lag.ms",
            kind: Kind::Long,
            default: Some("0"),
            allowed: Allowed::AtLeast(0),
            effect: Effect::Acts,
            doc: "Shortest time a record stays uncompacted, in milliseconds.",
        },
        broker_name: Some("log.cleaner.min.compaction.lag.ms"),
    },
    TopicSetting {
        setting: Setting {
            name: "min.insync.replicas",
            kind: Kind::Int,
            default: Some("1"),
            allowed: Allowed::AtLeast(1),
            effect: Effect::NotYet,
            doc: "In-sync replicas that acks=all waits for. One node has one.",
        },
        broker_name: Some("min.insync.replicas"),
    },
    TopicSetting {
        setting: Setting {
            name: "preallocate",
            kind: Kind::Boolean,
            default: Some("false"),
            allowed: Allowed::Any,
            effect: Effect::NotYet,
            doc: "Whether segments are preallocated. Corelog reserves space in proportion.",
        },
        broker_name: Some("log.preallocate"),
    },
    TopicSetting {
        setting: Setting {
            name: "retention.bytes",
            kind: Kind::Long,
            default: Some("-1"),
            allowed: Allowed::AtLeast(-1),
            effect: Effect::Acts,
            doc: "How many bytes of a partition are kept.",
        },
        broker_name: Some("log.retention.bytes"),
    },
    TopicSetting {
        setting: Setting {
            name: "retention.ms",
            kind: Kind::Long,
            default: Some("604800000"),
            allowed: Allowed::AtLeast(-1),
            effect: Effect::Acts,
            doc: "How long records are kept, in milliseconds.",
        },
        broker_name: Some("log.retention.ms"),
    },
    TopicSetting {
        setting: Setting {
            name: "segment.bytes",
            kind: Kind::Int,
            default: Some("1073741824"),
            allowed: Allowed::AtLeast(1048576),
            effect: Effect::Acts,
            doc: "Size at which a log's segment is closed and the next one begun, in bytes.",
        },
        broker_name: Some("log.segment.bytes"),
    },
    TopicSetting {
        setting: Setting {
            name: "segment.index.bytes",
            kind: Kind::Int,
            default: Some("10485760"),
            allowed: Allowed::AtLeast(4),
            effect: Effect::NotYet,
            doc: "Size of an index file.",
        },
        broker_name: Some("log.index.size.max.bytes"),
    },
    TopicSetting {
        setting: Setting {
            name: "segment.jitter.ms",
            kind: Kind::Long,
            default: Some("0"),
            allowed: Allowed::AtLeast(0),
            effect: Effect::Acts,
            doc: "Random part of the age at which a segment is closed, in milliseconds.",
        },
        broker_name: Some("log.roll.jitter.ms"),
    },
    TopicSetting {
        setting: Setting {
            name: "segment.ms",
            kind: Kind::Long,
            default: Some("604800000"),
            allowed: Allowed::AtLeast(1),
            effect: Effect::Acts,
            doc: "Age at which a segment is closed, in milliseconds.",
        },
        broker_name: Some("log.roll.ms"),
    },
    TopicSetting {
        setting: Setting {
            name: "unclean.leader.election.enable",
            kind: Kind::Boolean,
            default: Some("false"),
            allowed: Allowed::Any,
            effect: Effect::NotYet,
            doc: "Whether a replica that is not in sync may lead.",
        },
        broker_name: Some("unclean.leader.election.enable"),
    },
];

/// Looks a key up by its exact name.
pub fn topic_setting(name: &str) -> Option<&'static TopicSetting> {
    TOPIC_SETTINGS.iter().find(|topic| topic.setting.name == name)
}
