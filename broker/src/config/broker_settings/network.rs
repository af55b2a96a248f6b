//! Connections, threads, sizes of requests, and the classes that Kafka can be given.
//!
//! One section of the broker's table (`mod.rs`). Deliberately absent: encryption and authentication, which are not served.

use super::super::key;
use super::super::setting::Setting;

/// Connections, threads, requests.
pub(super) const NETWORK: &[Setting] = &[
    key::int("num.network.threads", Some("3"))
        .at_least(1)
        .dynamic()
        .not_yet("Kafka's network threads. Corelog has one thread per core: see corelog.cores."),
    key::int("num.io.threads", Some("8"))
        .at_least(1)
        .dynamic()
        .not_yet("Kafka's request threads. Corelog has one thread per core: see corelog.cores."),
    key::int("background.threads", Some("10"))
        .at_least(1)
        .dynamic()
        .not_yet("Kafka's threads for background work. Corelog does it on its cores."),
    key::int("num.recovery.threads.per.data.dir", Some("2"))
        .at_least(1)
        .dynamic()
        .not_yet("Kafka's recovery threads. Corelog reads only its journals."),
    key::int("queued.max.requests", Some("500"))
        .at_least(1)
        .not_yet("Requests that wait in Kafka. Corelog bounds them by memory: see corelog.memory.bytes."),
    key::long("queued.max.request.bytes", Some("-1")).not_yet(
        "Bytes of requests that wait in Kafka. Corelog bounds them by memory: see corelog.memory.bytes.",
    ),
    key::int("socket.request.max.bytes", Some("104857600"))
        .at_least(1)
        .acts("Largest request accepted, in bytes."),
    key::int("socket.send.buffer.bytes", Some("102400"))
        .at_least(-1)
        .acts("Send buffer of each connection's socket, in bytes. -1, or leaving it out, leaves it to the system."),
    key::int("socket.receive.buffer.bytes", Some("102400"))
        .at_least(-1)
        .acts("Receive buffer of each connection's socket, in bytes. -1 leaves it to the system."),
    key::int("socket.listen.backlog.size", Some("50"))
        .at_least(1)
        .not_yet("Connections that may wait to be accepted."),
    key::long("connections.max.idle.ms", Some("600000"))
        .at_least(-1)
        .not_yet("How long an idle connection is kept, in milliseconds."),
    key::int("max.connections", Some("2147483647"))
        .at_least(0)
        .dynamic()
        .not_yet("Connections that this broker accepts at the same time."),
    key::int("max.connections.per.ip", Some("2147483647"))
        .at_least(0)
        .dynamic()
        .not_yet("Connections that one address may have."),
    key::string("max.connections.per.ip.overrides", Some(""))
        .dynamic()
        .not_yet("Connections that single addresses may have: host:number, comma-separated."),
    key::int("max.connection.creation.rate", Some("2147483647"))
        .at_least(0)
        .dynamic()
        .not_yet("New connections a second."),
    key::int("connection.failed.authentication.delay.ms", Some("100"))
        .at_least(0)
        .not_yet("How long a failed authentication is held back, in milliseconds."),
    key::int("request.timeout.ms", Some("30000"))
        .at_least(1)
        .not_yet("How long a broker waits for another one, in milliseconds."),
    key::int("fetch.max.bytes", Some("57671680"))
        .at_least(1024)
        .acts("Most bytes answered to one fetch, whatever it asks for."),
    key::int("max.incremental.fetch.session.cache.slots", Some("1000"))
        .at_least(0)
        .acts("Fetch sessions that this broker keeps (KIP-227), divided among its cores. Clients beyond them send full requests."),
    key::int("max.request.partition.size.limit", Some("2000"))
        .at_least(1)
        .acts("Partitions in one reply of DescribeTopicPartitions; a cursor tells where to go on."),
    key::string("authorizer.class.name", Some(""))
        .not_yet("The class that asks who may do what. There is no authorization yet."),
    key::class(
        "principal.builder.class",
        Some("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"),
    )
    .dynamic()
    .not_yet("Kafka's class that names a connection's principal. Corelog loads no classes."),
    key::class("client.quota.callback.class", None)
        .not_yet("Kafka's class that computes quotas. Corelog loads no classes."),
    key::class("alter.config.policy.class.name", None)
        .not_yet("Kafka's class that judges changes of configurations. Corelog loads no classes."),
    key::class("create.topic.policy.class.name", None)
        .not_yet("Kafka's class that judges new topics. Corelog loads no classes."),
    key::list("metric.reporters", Some("org.apache.kafka.common.metrics.JmxReporter")).dynamic().not_yet(
        "Kafka's classes that report metrics. Corelog loads no classes: see corelog.metrics.listen.",
    ),
    key::int("telemetry.max.bytes", Some("1048576"))
        .at_least(1)
        .not_yet("Size of a client's telemetry, in bytes."),
];
