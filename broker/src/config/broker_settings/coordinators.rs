//! Groups, transactions and share groups, and the internal topics that they are kept in.
//!
//! One section of the broker's table (`mod.rs`). Deliberately absent: what a single group can be given.

use super::super::key;
use super::super::setting::Setting;

/// Groups and transactions.
pub(super) const COORDINATORS: &[Setting] = &[
    key::short("offsets.topic.replication.factor", Some("3")).at_least(1).acts("Replication factor of __consumer_offsets. Clamped to the number of nodes, which is one."),
    key::int("offsets.topic.num.partitions", Some("50")).at_least(1).acts("Partitions of __consumer_offsets, when it is made."),
    key::int("offsets.topic.segment.bytes", Some("104857600")).at_least(1).acts("Size of a segment of __consumer_offsets, in bytes, when it is made."),
    key::int("offsets.topic.compression.codec", Some("0")).between(0, 4).acts("Codec of what is written to __consumer_offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    key::int("offsets.retention.minutes", Some("10080")).at_least(1).acts("How long committed offsets are kept after their group lost its last member, or after the commit where there is no group, in minutes."),
    key::long("offsets.retention.check.interval.ms", Some("600000")).at_least(1).acts("How often expired offsets are looked for, in milliseconds."),
    key::int("offsets.load.buffer.size", Some("5242880")).at_least(1).not_yet("Bytes that are read at a time when groups are loaded."),
    key::int("offsets.commit.timeout.ms", Some("5000")).at_least(1).not_yet("How long a commit may wait for replicas, in milliseconds. With one replica it waits for the disk only."),
    key::int("offset.metadata.max.bytes", Some("4096")).at_least(0).acts("Longest metadata string of an offset commit; counted in characters, like in Kafka."),
    key::int("group.initial.rebalance.delay.ms", Some("3000")).at_least(0).acts("How long a new group waits for more members, in milliseconds."),
    key::int("group.min.session.timeout.ms", Some("6000")).at_least(1).acts("Shortest session timeout that a member may ask for, in milliseconds."),
    key::int("group.max.session.timeout.ms", Some("1800000")).at_least(1).acts("Longest session timeout that a member may ask for, in milliseconds."),
    key::int("group.max.size", Some("2147483647")).at_least(1).acts("Members that a group may have."),
    key::list("group.coordinator.rebalance.protocols", Some("classic,consumer,streams")).not_yet("Which kinds of groups are served."),
    key::int("group.coordinator.threads", Some("4")).at_least(1).not_yet("Threads of the group coordinator. Groups are coordinated by the core that owns their partition of __consumer_offsets."),
    key::int("group.coordinator.append.linger.ms", Some("-1")).at_least(-1).acts("How long coordinators collect commits before they write them, in milliseconds. -1 and 0 do not wait: a flush takes what came meanwhile."),
    key::list("group.consumer.assignors", Some("uniform,range")).each_of(&["uniform", "range"]).acts("Assignors that members may ask for (KIP-848). The first one is taken when nobody asks."),
    key::int("group.consumer.session.timeout.ms", Some("45000")).at_least(1).acts("Session timeout of the consumer protocol, in milliseconds."),
    key::int("group.consumer.min.session.timeout.ms", Some("45000")).at_least(1).acts("Shortest session timeout of the consumer protocol, in milliseconds."),
    key::int("group.consumer.max.session.timeout.ms", Some("60000")).at_least(1).acts("Longest session timeout of the consumer protocol, in milliseconds."),
    key::int("group.consumer.heartbeat.interval.ms", Some("5000")).at_least(1).acts("Heartbeat interval of the consumer protocol, in milliseconds."),
    key::int("group.consumer.min.heartbeat.interval.ms", Some("5000")).at_least(1).acts("Shortest heartbeat interval of the consumer protocol, in milliseconds."),
    key::int("group.consumer.max.heartbeat.interval.ms", Some("15000")).at_least(1).acts("Longest heartbeat interval of the consumer protocol, in milliseconds."),
    key::int("group.consumer.max.size", Some("2147483647")).at_least(1).acts("Members that one group of the consumer protocol may have."),
    key::string("group.consumer.migration.policy", Some("bidirectional")).one_of(&["disabled", "downgrade", "upgrade", "bidirectional"]).acts("Whether a group may change between the classic and the consumer protocol while it is in use."),
    key::int("group.consumer.assignment.interval.ms", Some("1000")).at_least(0).acts("Shortest time between two assignments of a group of the consumer protocol, in milliseconds."),
    key::int("group.consumer.min.assignment.interval.ms", Some("0")).at_least(0).acts("Lowest group.consumer.assignment.interval.ms that may be set."),
    key::int("group.consumer.max.assignment.interval.ms", Some("15000")).at_least(0).acts("Highest group.consumer.assignment.interval.ms that may be set."),
    key::boolean("group.consumer.assignor.offload.enable", Some("true")).not_yet("Whether assignments are computed on a thread of their own. The core that owns the group computes them."),
    key::int("group.consumer.regex.refresh.interval.ms", Some("600000")).at_least(10_000).acts("How often topics that match a group's regular expressions are looked for when no topic was created, in milliseconds."),
    key::short("transaction.state.log.replication.factor", Some("3")).at_least(1).not_yet("Replication factor of __transaction_state."),
    key::int("transaction.state.log.min.isr", Some("2")).at_least(1).not_yet("In-sync replicas of __transaction_state."),
    key::int("transaction.state.log.num.partitions", Some("50")).at_least(1).not_yet("Partitions of __transaction_state."),
    key::int("transaction.state.log.segment.bytes", Some("104857600")).at_least(1).not_yet("Segment size of __transaction_state, in bytes."),
    key::int("transaction.state.log.load.buffer.size", Some("5242880")).at_least(1).not_yet("How much of __transaction_state is read at once when it is loaded, in bytes."),
    key::int("transaction.max.timeout.ms", Some("900000")).at_least(1).not_yet("Longest transaction timeout that a producer may ask for, in milliseconds."),
    key::int("transaction.abort.timed.out.transaction.cleanup.interval.ms", Some("10000")).at_least(1).not_yet("How often overdue transactions are looked for, in milliseconds."),
    key::int("transaction.remove.expired.transaction.cleanup.interval.ms", Some("3600000")).at_least(1).not_yet("How often expired transactional ids are looked for, in milliseconds."),
    key::boolean("transaction.partition.verification.enable", Some("true")).dynamic().not_yet("Whether a write of a transaction is checked against its coordinator (KIP-890)."),
    key::boolean("transaction.two.phase.commit.enable", Some("false")).not_yet("Whether transactions of others may be taken part in (KIP-939)."),
    key::int("transactional.id.expiration.ms", Some("604800000")).at_least(1).not_yet("How long an idle transactional id is remembered, in milliseconds."),
    key::short("share.coordinator.state.topic.replication.factor", Some("3")).at_least(1).not_yet("Replication factor of __share_group_state."),
    key::short("share.coordinator.state.topic.min.isr", Some("2")).at_least(1).not_yet("In-sync replicas of __share_group_state."),
    key::int("share.coordinator.state.topic.num.partitions", Some("50")).at_least(1).not_yet("Partitions of __share_group_state."),
];
