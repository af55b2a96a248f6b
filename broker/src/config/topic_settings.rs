//! The topics' keys: one table with type, default, allowed values, effect, documentation and the broker key each falls back to.
//!
//! Kafka's LogConfig and TopicConfig. What a topic's values resolve to is in `topic_config.rs`.

use super::key;
use super::setting::Setting;

/// A topic's key, and the broker's key that supplies its default.
#[derive(Debug, Clone, Copy)]
pub struct TopicSetting {
    pub setting: Setting,
    pub broker_name: Option<&'static str>,
}

/// A key that is the topic's alone.
const fn alone(setting: Setting) -> TopicSetting {
    TopicSetting { setting, broker_name: None }
}

/// A key that falls back to one of the broker's.
const fn or_broker(broker_name: &'static str, setting: Setting) -> TopicSetting {
    TopicSetting { setting, broker_name: Some(broker_name) }
}

/// Every key that a topic can be given.
pub const TOPIC_SETTINGS: &[TopicSetting] = &[
    or_broker("log.cleanup.policy", key::list("cleanup.policy", Some("delete")).each_of(&["compact", "delete"]).acts("How old data is removed.")),
    or_broker("compression.gzip.level", key::int("compression.gzip.level", Some("-1")).between_or(1, 9, -1).acts("Level of gzip when the broker compresses.")),
    or_broker("compression.lz4.level", key::int("compression.lz4.level", Some("9")).between(1, 17).acts("Level of lz4 when the broker compresses.")),
    or_broker("compression.type", key::string("compression.type", Some("producer")).one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]).acts("Compression of stored batches: a codec, or `producer` for as they came.")),
    or_broker("compression.zstd.level", key::int("compression.zstd.level", Some("3")).between(-131072, 22).acts("Level of zstd when the broker compresses.")),
    or_broker("log.cleaner.delete.retention.ms", key::long("delete.retention.ms", Some("86400000")).at_least(0).acts("How long tombstones of compacted topics stay, in milliseconds.")),
    or_broker("log.segment.delete.delay.ms", key::long("file.delete.delay.ms", Some("60000")).at_least(0).acts("How long a removed segment's file stays, in milliseconds.")),
    or_broker("log.flush.interval.messages", key::long("flush.messages", Some("9223372036854775807")).at_least(1).not_yet("Records between flushes. Corelog flushes before it acknowledges: see corelog.flush.")),
    or_broker("log.flush.interval.ms", key::long("flush.ms", Some("9223372036854775807")).at_least(0).not_yet("Time between flushes. Corelog flushes before it acknowledges: see corelog.flush.")),
    alone(key::list("follower.replication.throttled.replicas", Some("")).throttled().not_yet("Replicas whose followers are slowed down: partition:broker, comma-separated, or *. One node has nothing to replicate.")),
    or_broker("log.index.interval.bytes", key::int("index.interval.bytes", Some("4096")).at_least(0).not_yet("Distance of index entries. Corelog indexes every 64 KiB, with a checksum.")),
    alone(key::list("leader.replication.throttled.replicas", Some("")).throttled().not_yet("Replicas whose leaders are slowed down: partition:broker, comma-separated, or *. One node has nothing to replicate.")),
    or_broker("log.local.retention.bytes", key::long("local.retention.bytes", Some("-2")).at_least(-2).not_yet("How many bytes that were moved to remote storage are kept here. There is no remote storage.")),
    or_broker("log.local.retention.ms", key::long("local.retention.ms", Some("-2")).at_least(-2).not_yet("How long records that were moved to remote storage are kept here. There is no remote storage.")),
    or_broker("log.cleaner.max.compaction.lag.ms", key::long("max.compaction.lag.ms", Some("9223372036854775807")).at_least(1).acts("Longest time a record may stay uncompacted, in milliseconds.")),
    or_broker("message.max.bytes", key::int("max.message.bytes", Some("1048588")).at_least(0).acts("Largest record batch accepted, in bytes.")),
    or_broker("log.message.timestamp.after.max.ms", key::long("message.timestamp.after.max.ms", Some("3600000")).at_least(0).acts("How far a record's timestamp may lie in the future, in milliseconds.")),
    or_broker("log.message.timestamp.before.max.ms", key::long("message.timestamp.before.max.ms", Some("9223372036854775807")).at_least(0).acts("How far a record's timestamp may lie in the past, in milliseconds.")),
    or_broker("log.message.timestamp.type", key::string("message.timestamp.type", Some("CreateTime")).one_of(&["CreateTime", "LogAppendTime"]).acts("Whether records keep their producers' timestamps or get the time of the append.")),
    or_broker("log.cleaner.min.cleanable.ratio", key::double("min.cleanable.dirty.ratio", Some("0.5")).ratio().acts("Share of uncompacted data at which a log is compacted.")),
    or_broker("log.cleaner.min.compaction.lag.ms", key::long("min.compaction.lag.ms", Some("0")).at_least(0).acts("Shortest time a record stays uncompacted, in milliseconds.")),
    or_broker("min.insync.replicas", key::int("min.insync.replicas", Some("1")).at_least(1).acts("In-sync replicas that acks=all waits for, at most those that there are: one on one node.")),
    or_broker("log.preallocate", key::boolean("preallocate", Some("false")).not_yet("Whether segments are preallocated. Corelog reserves space in proportion.")),
    alone(key::boolean("remote.log.copy.disable", Some("false")).not_yet("Whether nothing more is moved to remote storage. There is no remote storage.")),
    alone(key::boolean("remote.log.delete.on.disable", Some("false")).not_yet("Whether what is in remote storage goes when it is turned off. There is no remote storage.")),
    alone(key::boolean("remote.storage.enable", Some("false")).not_yet("Whether old segments are moved to remote storage. There is none, so only false is taken.")),
    or_broker("log.retention.bytes", key::long("retention.bytes", Some("-1")).acts("How many bytes of a partition are kept; any negative number for all.")),
    or_broker("log.retention.ms", key::long("retention.ms", Some("604800000")).at_least(-1).acts("How long records are kept, in milliseconds.")),
    or_broker("log.segment.bytes", key::int("segment.bytes", Some("1073741824")).at_least(1048576).acts("Size at which a log's segment is closed and the next one begun, in bytes.")),
    or_broker("log.index.size.max.bytes", key::int("segment.index.bytes", Some("10485760")).at_least(4).not_yet("Size of an index file.")),
    or_broker("log.roll.jitter.ms", key::long("segment.jitter.ms", Some("0")).at_least(0).acts("Random part of the age at which a segment is closed, in milliseconds.")),
    or_broker("log.roll.ms", key::long("segment.ms", Some("604800000")).at_least(1).acts("Age at which a segment is closed, in milliseconds.")),
    or_broker("unclean.leader.election.enable", key::boolean("unclean.leader.election.enable", Some("false")).not_yet("Whether a replica that is not in sync may lead.")),
];

/// Looks a key up by its exact name.
pub fn topic_setting(name: &str) -> Option<&'static TopicSetting> {
    TOPIC_SETTINGS.iter().find(|topic| topic.setting.name == name)
}
