//! Replication, heartbeats, the metadata log, quotas: what a node does among others.
//!
//! One section of the broker's table (`mod.rs`). Deliberately absent: acting on any of it, for there is one node.

use super::super::key;
use super::super::setting::Setting;

/// Replication, metadata, quotas.
pub(super) const CLUSTER: &[Setting] = &[
    key::boolean("controlled.shutdown.enable", Some("true")).not_yet("Whether a broker hands its partitions over before it stops. One node has nobody to hand them to."),
    key::boolean("auto.leader.rebalance.enable", Some("true")).not_yet("Whether preferred replicas get their leadership back by themselves. One node has nothing to replicate."),
    key::long("leader.imbalance.check.interval.seconds", Some("300")).at_least(1).not_yet("How often leaderships are balanced, in seconds. One node has nothing to replicate."),
    key::int("num.replica.fetchers", Some("1")).dynamic().not_yet("Threads that fetch from each leader. One node has nothing to replicate."),
    key::long("replica.lag.time.max.ms", Some("30000")).not_yet("How far a follower may lag and still be in sync, in milliseconds. One node has nothing to replicate."),
    key::int("replica.fetch.max.bytes", Some("1048576")).at_least(0).not_yet("Bytes of a partition in one follower's fetch. One node has nothing to replicate."),
    key::int("replica.fetch.min.bytes", Some("1")).not_yet("Bytes that a follower's fetch waits for. One node has nothing to replicate."),
    key::int("replica.fetch.wait.max.ms", Some("500")).not_yet("How long a follower's fetch waits, in milliseconds. One node has nothing to replicate."),
    key::int("replica.fetch.backoff.ms", Some("1000")).at_least(0).not_yet("How long a follower rests after an error, in milliseconds. One node has nothing to replicate."),
    key::int("replica.fetch.response.max.bytes", Some("10485760")).at_least(0).not_yet("Bytes of one follower's fetch. One node has nothing to replicate."),
    key::int("replica.socket.timeout.ms", Some("30000")).not_yet("How long a follower waits for its leader, in milliseconds. One node has nothing to replicate."),
    key::int("replica.socket.receive.buffer.bytes", Some("65536")).not_yet("Receive buffer of a follower's socket, in bytes. One node has nothing to replicate."),
    key::long("replica.high.watermark.checkpoint.interval.ms", Some("5000")).not_yet("How often Kafka notes high watermarks. With one replica, what is durable is committed."),
    key::string("replica.selector.class", None).not_yet("Kafka's class that chooses a replica for a consumer. Corelog loads no classes."),
    key::int("broker.heartbeat.interval.ms", Some("2000")).not_yet("How often a broker tells the controller that it lives, in milliseconds."),
    key::int("broker.session.timeout.ms", Some("9000")).not_yet("After which silence the controller gives a broker up, in milliseconds."),
    key::int("initial.broker.registration.timeout.ms", Some("60000")).not_yet("How long a broker tries to register, in milliseconds."),
    key::int("controller.quorum.election.timeout.ms", Some("1000")).not_yet("How long a voter waits for a leader, in milliseconds. A single node leads at once."),
    key::int("controller.quorum.fetch.timeout.ms", Some("2000")).not_yet("How long a leader of the quorum may be silent, in milliseconds."),
    key::int("controller.quorum.request.timeout.ms", Some("2000")).not_yet("How long a request within the quorum may take, in milliseconds."),
    key::int("metadata.log.segment.bytes", Some("1073741824")).at_least(8388608).not_yet("Segment size of Kafka's metadata log. Corelog replaces its own by a snapshot when it exceeds 8 MiB."),
    key::long("metadata.log.segment.ms", Some("604800000")).not_yet("Age at which Kafka's metadata log rolls, in milliseconds."),
    key::long("metadata.max.retention.bytes", Some("104857600")).not_yet("How much of its metadata log Kafka keeps, in bytes."),
    key::long("metadata.max.retention.ms", Some("604800000")).not_yet("How long Kafka keeps its metadata log, in milliseconds."),
    key::int("metadata.max.idle.interval.ms", Some("500")).at_least(0).not_yet("How often Kafka writes to an idle metadata log, in milliseconds. Corelog does not."),
    key::long("metadata.log.max.record.bytes.between.snapshots", Some("20971520")).at_least(1).not_yet("Bytes of metadata after which Kafka takes a snapshot."),
    key::long("metadata.log.max.snapshot.interval.ms", Some("3600000")).at_least(0).not_yet("Time after which Kafka takes a snapshot of its metadata, in milliseconds."),
    key::int("quota.window.num", Some("11")).at_least(1).not_yet("Samples that quotas are computed over."),
    key::int("quota.window.size.seconds", Some("1")).at_least(1).not_yet("Length of a sample of quotas, in seconds."),
];
