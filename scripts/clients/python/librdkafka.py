"""librdkafka through confluent-kafka: produce, fetch, admin. Run by scripts/clients/librdkafka."""

import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from suite import BOOTSTRAP, PATIENCE, Suite, equal, eventually, fresh

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RECORDS = 400

suite = Suite("librdkafka")
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def topic(prefix, partitions=1, **configs):
    """Creates a topic that no other run has used."""
    name = fresh(prefix)
    config = {key.replace("_", "."): value for key, value in configs.items()}
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(PATIENCE)
    eventually(lambda: equal(partitions, len(admin.list_topics(name, PATIENCE).topics[name].partitions), "partitions"))
    return name


def producer(**settings):
    settings = {key.replace("_", "."): value for key, value in settings.items()}
    return Producer({"bootstrap.servers": BOOTSTRAP, "message.timeout.ms": PATIENCE * 1000, **settings})


def consumer(**settings):
    settings = {key.replace("_", "."): value for key, value in settings.items()}
    return Consumer({
        "bootstrap.servers": BOOTSTRAP,
        "group.id": "none",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "check.crcs": True,
        **settings,
    })


def send(client, records):
    """Sends (topic, partition, key, value, timestamp, headers) and returns what each was answered."""
    answers = [None] * len(records)

    def told(place):
        def tell(error, message):
            answers[place] = error or message
        return tell

    for place, (name, partition, key, value, timestamp, headers) in enumerate(records):
        client.produce(name, value=value, key=key, partition=partition, on_delivery=told(place),
                       timestamp=timestamp, headers=headers)
        client.poll(0)
    equal(0, client.flush(PATIENCE), "records that were not answered in time")
    return answers


def read(name, partition, offset, count, **settings):
    """Reads until `count` records have come."""
    client = consumer(**settings)
    try:
        client.assign([TopicPartition(name, partition, offset)])
        return take(client, count)
    finally:
        client.close()


def take(client, count):
    came, deadline = [], time.monotonic() + PATIENCE
    while len(came) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{len(came)} of {count} records came in time")
        for message in client.consume(count - len(came), 0.2):
            if message.error():
                raise KafkaException(message.error())
            came.append(message)
    return came


def workload(name, count, start):
    return [
        (name, 0, f"k{i}".encode() if i % 3 else None, bytes([i % 251]) * (i * 7 % 900), start + i, [("h", b"%d" % i), ("null", None)])
        for i in range(count)
    ]


def codec(name, **settings):
    target = topic(f"codec-{name}")
    start = int(time.time() * 1000) - 100_000
    sent = workload(target, RECORDS, start)
    answers = send(producer(compression_type=name, linger_ms=20, **settings), sent)
    equal(list(range(RECORDS)), [answer.offset() for answer in answers], "offsets answered")
    came = read(target, 0, OFFSET_BEGINNING, RECORDS)
    for i, (message, (_, _, key, value, timestamp, headers)) in enumerate(zip(came, sent)):
        equal((i, key, value), (message.offset(), message.key(), message.value() or b""), "record")
        equal((1, timestamp), message.timestamp(), "timestamp")
        equal(headers, message.headers(), "headers")


def acks_zero():
    target = topic("acks-0")
    send(producer(acks=0, linger_ms=5), workload(target, RECORDS, int(time.time() * 1000)))
    equal(RECORDS, len(read(target, 0, 0, RECORDS)), "records")


def idempotent_in_order():
    target = topic("order", 3)
    client = producer(enable_idempotence=True, linger_ms=0, batch_num_messages=20)
    answers = send(client, [(target, i % 3, None, str(i).encode(), 0, None) for i in range(9_000)])
    equal([i // 3 for i in range(9_000)], [answer.offset() for answer in answers], "offsets")
    values = [int(message.value()) for message in read(target, 1, 0, 3_000)]
    equal(list(range(1, 9_000, 3)), values, "values")


def shapes():
    target = topic("shapes")
    sent = [(target, 0, key, value, 0, [("", b""), ("a", None), ("a", b"2"), ("ü", b"x" * 300)])
            for key in (None, b"", b"1") for value in (None, b"", b"2")]
    send(producer(), sent)
    came = read(target, 0, 0, len(sent))
    equal([(key, value) for _, _, key, value, _, _ in sent], [(m.key(), m.value()) for m in came], "keys and values")
    equal(sent[0][5], came[0].headers(), "headers")


def positions():
    target = topic("positions")
    send(producer(linger_ms=50), workload(target, 100, int(time.time() * 1000)))
    first = lambda offset: read(target, 0, offset, 1)[0].offset()
    equal([0, 57, 99], [first(OFFSET_BEGINNING), first(57), first(99)], "first offsets")
    client = consumer()
    client.assign([TopicPartition(target, 0, OFFSET_END)])
    equal((0, 100), client.get_watermark_offsets(TopicPartition(target, 0), PATIENCE), "watermarks")
    # At the end: what is written from now on, and nothing before.
    equal([], client.consume(1, 0.5), "at the end")
    send(producer(), workload(target, 1, int(time.time() * 1000)))
    equal(100, take(client, 1)[0].offset(), "the next one")
    client.close()


def out_of_range():
    target = topic("range")
    send(producer(), workload(target, 10, int(time.time() * 1000)))
    client = consumer()
    client.assign([TopicPartition(target, 0, 50)])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        message = client.poll(0.5)
        if message is not None:
            equal(KafkaError._AUTO_OFFSET_RESET, message.error().code(), "error")
            break
    else:
        raise AssertionError("no error came")
    client.close()
    equal(0, read(target, 0, 50, 1, auto_offset_reset="earliest")[0].offset(), "reset to the start")


def times(name):
    target = topic(f"times-{name}")
    start = int(time.time() * 1000) - 100_000
    send(producer(compression_type=name, linger_ms=200), workload(target, 200, start))
    client = consumer()
    for offset in (0, 1, 99, 100, 199):
        found = client.offsets_for_times([TopicPartition(target, 0, start + offset)], PATIENCE)[0]
        equal(offset, found.offset, f"offset at {offset}")
    found = client.offsets_for_times([TopicPartition(target, 0, start + 200)], PATIENCE)[0]
    equal(-1, found.offset, "after the last")
    client.close()


def waiting():
    target = topic("waiting")
    client = consumer(fetch_wait_max_ms=10_000)
    client.assign([TopicPartition(target, 0, 0)])
    equal([], client.consume(1, 1), "nothing yet")
    start = time.monotonic()
    send(producer(linger_ms=0), workload(target, 1, int(time.time() * 1000)))
    take(client, 1)
    if time.monotonic() - start > 2:
        raise AssertionError(f"woken after {time.monotonic() - start:.1f} s")
    client.close()


def many_partitions():
    target = topic("many", 40)
    sent = [(target, i % 40, None, str(i).encode(), 0, None) for i in range(4_000)]
    send(producer(linger_ms=5), sent)
    client = consumer(fetch_max_bytes=20_000, max_partition_fetch_bytes=2_000, message_max_bytes=10_000)
    client.assign([TopicPartition(target, partition, 0) for partition in range(40)])
    came = sorted(int(message.value()) for message in take(client, 4_000))
    equal(list(range(4_000)), came, "values")
    client.close()


def topics():
    name = topic("topics", 5)
    listed = admin.list_topics(timeout=PATIENCE)
    equal(5, len(listed.topics[name].partitions), "partitions")
    equal(1, len(listed.brokers), "brokers")
    try:
        admin.create_topics([NewTopic(name, 1, 1)])[name].result(PATIENCE)
        raise AssertionError("created twice")
    except KafkaException as error:
        equal(KafkaError.TOPIC_ALREADY_EXISTS, error.args[0].code(), "error")
    dry = fresh("dry")
    admin.create_topics([NewTopic(dry, 1, 1)], validate_only=True)[dry].result(PATIENCE)
    described = admin.describe_topics(
        __import__("confluent_kafka").TopicCollection([name]))[name].result(PATIENCE)
    equal((name, 5), (described.name, len(described.partitions)), "description")
    admin.delete_topics([name])[name].result(PATIENCE)

    def gone():
        if name in admin.list_topics(timeout=PATIENCE).topics:
            raise AssertionError("it is still there")
    eventually(gone)
    equal(False, dry in admin.list_topics(timeout=PATIENCE).topics, "what was only validated")


def describe_configs():
    name = topic("configs", 1, max_message_bytes="12345")
    resource = ConfigResource(ResourceType.TOPIC, name)
    configs = admin.describe_configs([resource])[resource].result(PATIENCE)
    equal("12345", configs["max.message.bytes"].value, "max.message.bytes")
    equal(False, configs["max.message.bytes"].is_default, "is the default")
    equal("producer", configs["compression.type"].value, "compression.type")
    broker = ConfigResource(ResourceType.BROKER, str(next(iter(admin.list_topics(timeout=PATIENCE).brokers))))
    equal(True, len(admin.describe_configs([broker])[broker].result(PATIENCE)) > 50, "broker configs")


def list_offsets():
    name = topic("offsets")
    start = int(time.time() * 1000) - 100_000
    send(producer(linger_ms=50), workload(name, 50, start))
    partition = TopicPartition(name, 0)
    for spec, offset in ((OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 50),
                         (OffsetSpec.for_timestamp(start + 20), 20), (OffsetSpec.max_timestamp(), 49)):
        found = admin.list_offsets({partition: spec})[partition].result(PATIENCE)
        equal(offset, found.offset, str(spec))


def cluster():
    described = admin.describe_cluster().result(PATIENCE)
    equal(1, len(described.nodes), "nodes")
    equal(True, bool(described.cluster_id), "cluster id")


for name in CODECS:
    suite.check(f"produce {name}", codec, name)
for name in CODECS:
    suite.check(f"idempotent {name}", lambda name: codec(name, enable_idempotence=True), name)
suite.check("acks=0", acks_zero)
suite.check("idempotent in order", idempotent_in_order)
suite.check("keys, headers and nulls", shapes)
suite.check("fetch from start, offset and end", positions)
suite.check("offset out of range", out_of_range)
for name in CODECS:
    suite.check(f"offsets by time in {name}", times, name)
suite.check("a waiting fetch is woken", waiting)
suite.check("forty partitions in small fetches", many_partitions)
suite.check("create, describe and delete topics", topics)
suite.check("describe configs", describe_configs)
suite.check("list offsets", list_offsets)
suite.check("describe cluster", cluster)
suite.finish()
