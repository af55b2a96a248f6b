"""aiokafka, a client of its own in Python that speaks old versions. Run by scripts/clients/aiokafka."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import OffsetOutOfRangeError

from suite import BOOTSTRAP, PATIENCE, Suite, equal, eventually_async, fresh

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]
RECORDS = 300
PARTITIONS = 6
ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}

suite = Suite("aiokafka")


async def topic(prefix, partitions=1, **configs):
    name = fresh(prefix)
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        config = {key.replace("_", "."): value for key, value in configs.items()}
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
    finally:
        await admin.close()
    return name


class producing:
    """A started producer for the length of a block."""

    def __init__(self, **settings):
        self.client = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **settings)

    async def __aenter__(self):
        await self.client.start()
        return self.client

    async def __aexit__(self, *_):
        await self.client.stop()


class consuming:
    """A started consumer of one partition from an offset, for the length of a block."""

    def __init__(self, name, offset, partition=0, **settings):
        self.partition = TopicPartition(name, partition)
        self.offset = offset
        self.client = AIOKafkaConsumer(
            bootstrap_servers=BOOTSTRAP, enable_auto_commit=False, auto_offset_reset="none", **settings)

    async def __aenter__(self):
        await self.client.start()
        self.client.assign([self.partition])
        if self.offset is not None:
            self.client.seek(self.partition, self.offset)
        return self.client

    async def __aexit__(self, *_):
        await self.client.stop()


async def take(client, count):
    came = []
    async with asyncio.timeout(PATIENCE):
        while len(came) < count:
            batch = await client.getmany(timeout_ms=200, max_records=count - len(came))
            for records in batch.values():
                came.extend(records)
    return came


def workload(count, start):
    return [
        (f"k{i}".encode() if i % 3 else None, bytes([i % 251]) * (i * 7 % 900), start + i, [("h", b"%d" % i)])
        for i in range(count)
    ]


async def fill(name, count, start, **settings):
    sent = workload(count, start)
    async with producing(linger_ms=20, **settings) as client:
        answers = [
            await client.send(name, value, key, 0, timestamp, headers) for key, value, timestamp, headers in sent
        ]
        return sent, [await answer for answer in answers]


async def codec(codec, **settings):
    name = await topic(f"aio-{codec or 'none'}")
    sent, answers = await fill(name, RECORDS, int(time.time() * 1000) - 100_000, compression_type=codec, **settings)
    equal(list(range(RECORDS)), [answer.offset for answer in answers], "offsets answered")
    async with consuming(name, 0) as client:
        came = await take(client, RECORDS)
    for i, (record, (key, value, timestamp, headers)) in enumerate(zip(came, sent)):
        equal((i, key, value, timestamp), (record.offset, record.key, record.value, record.timestamp), "record")
        equal(tuple(headers), record.headers, "headers")


async def acks(level):
    name = await topic("aio-acks")
    await fill(name, 100, int(time.time() * 1000), acks=level)
    async with consuming(name, 0) as client:
        equal(100, len(await take(client, 100)), "records")


async def shapes():
    name = await topic("aio-shapes")
    sent = [(key, value) for key in (None, b"", b"1") for value in (None, b"", b"2") if (key, value) != (None, None)]
    async with producing() as client:
        for key, value in sent:
            await client.send_and_wait(name, value, key, 0, headers=[("a", b""), ("a", b"2")])
    async with consuming(name, 0) as client:
        came = await take(client, len(sent))
    equal(sent, [(record.key, record.value) for record in came], "keys and values")
    equal((("a", b""), ("a", b"2")), came[0].headers, "headers")


async def positions():
    name = await topic("aio-positions")
    start = int(time.time() * 1000) - 100_000
    await fill(name, 100, start)
    async with consuming(name, 0) as client:
        partition = TopicPartition(name, 0)
        for offset in (0, 57, 99):
            client.seek(partition, offset)
            equal(offset, (await take(client, 1))[0].offset, "first offset")
        equal({partition: 0}, await client.beginning_offsets([partition]), "beginning")
        equal({partition: 100}, await client.end_offsets([partition]), "end")
        await client.seek_to_end(partition)
        await fill(name, 1, start)
        equal(100, (await take(client, 1))[0].offset, "from the end")
    async with consuming(name, 500) as client:
        try:
            await asyncio.wait_for(client.getone(), PATIENCE)
            raise AssertionError("an offset that is not there was read")
        except OffsetOutOfRangeError:
            pass


async def times(codec):
    name = await topic("aio-times")
    start = int(time.time() * 1000) - 100_000
    await fill(name, 100, start, compression_type=codec)
    async with consuming(name, 0) as client:
        partition = TopicPartition(name, 0)
        for offset in (0, 1, 50, 99):
            found = (await client.offsets_for_times({partition: start + offset}))[partition]
            equal((offset, start + offset), (found.offset, found.timestamp), "found")
        equal(None, (await client.offsets_for_times({partition: start + 100}))[partition], "after the last")


async def waiting():
    name = await topic("aio-waiting")
    async with consuming(name, 0, fetch_max_wait_ms=10_000) as client:
        reader = asyncio.create_task(client.getone())
        await asyncio.sleep(1)
        equal(False, reader.done(), "done before anything was written")
        start = time.monotonic()
        await fill(name, 1, int(time.time() * 1000))
        await asyncio.wait_for(reader, PATIENCE)
        if time.monotonic() - start > 2:
            raise AssertionError(f"woken after {time.monotonic() - start:.1f} s")


async def administration():
    name = await topic("aio-admin", 4, max_message_bytes="12345")
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        described = (await admin.describe_topics([name]))[0]
        equal((0, name, 4), (described["error_code"], described["topic"], len(described["partitions"])), "described")
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        configs = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
        equal("12345", configs["max.message.bytes"], "max.message.bytes")
        await admin.delete_topics([name])
        equal(1, len((await admin.describe_cluster())["brokers"]), "brokers")
    finally:
        await admin.close()


async def delete_records():
    name = await topic("aio-deleted")
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    await producer.start()
    try:
        for number in range(10):
            await producer.send_and_wait(name, b"%d" % number, partition=0)
    finally:
        await producer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        partition = TopicPartition(name, 0)
        equal({partition: 4}, await admin.delete_records({partition: RecordsToDelete(4)}), "low watermark")
    finally:
        await admin.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([partition])
        equal({partition: 4}, await consumer.beginning_offsets([partition]), "start")
        consumer.seek(partition, 0)
        equal(b"4", (await asyncio.wait_for(consumer.getone(), PATIENCE)).value, "the first that is left")
    finally:
        await consumer.stop()


async def member(group, name, **settings):
    client = AIOKafkaConsumer(
        name, bootstrap_servers=BOOTSTRAP, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest",
        session_timeout_ms=10_000, heartbeat_interval_ms=300, **settings)
    await client.start()
    return client


async def fill_all(name, per_partition):
    async with producing(linger_ms=5) as client:
        sent = [await client.send(name, str(number).encode(), partition=partition)
                for partition in range(PARTITIONS) for number in range(per_partition)]
        for answer in sent:
            await answer


async def poll_until(members, done, what):
    """Polls all members until the condition holds; returns what came."""
    came = []
    try:
        async with asyncio.timeout(PATIENCE):
            while not done(came):
                for one in members:
                    for records in (await one.getmany(timeout_ms=50)).values():
                        came.extend((record.partition, record.offset) for record in records)
    except TimeoutError:
        raise AssertionError(f"{what}: not in time; assigned {[len(one.assignment()) for one in members]}") from None
    return came


def sizes(members):
    return sorted(len(one.assignment()) for one in members)


async def shared(assignor):
    """Two members share a topic, one leaves, and who comes after them goes on where they committed."""
    name, group = await topic("aio-shared", PARTITIONS), fresh("aio-shared")
    settings = {"partition_assignment_strategy": [ASSIGNORS[assignor]]}
    await fill_all(name, 10)
    first = await member(group, name, **settings)
    came = await poll_until([first], lambda came: len(came) == 60, "one member")
    equal(sorted((partition, offset) for partition in range(PARTITIONS) for offset in range(10)), sorted(came), "what one member read")
    await first.commit()
    joining = asyncio.create_task(member(group, name, **settings))
    await poll_until([first], lambda _: joining.done(), "the second member's start")
    second = joining.result()
    await poll_until([first, second], lambda _: sizes([first, second]) == [3, 3], "two members")
    equal(PARTITIONS, len(first.assignment() | second.assignment()), "partitions assigned")
    await fill_all(name, 5)
    came = await poll_until([first, second], lambda came: len(came) >= 30, "two members' records")
    equal({(partition, offset) for partition in range(PARTITIONS) for offset in range(10, 15)}, set(came), "what two members read")
    for one in (first, second):
        await one.commit()
    await second.stop()
    await poll_until([first], lambda _: sizes([first]) == [6], "one member again")
    equal([15] * PARTITIONS, [await first.committed(TopicPartition(name, partition)) for partition in range(PARTITIONS)], "committed")
    await first.stop()
    await fill_all(name, 1)
    third = await member(group, name, **settings)
    came = await poll_until([third], lambda came: len(came) >= PARTITIONS, "a later member")
    equal([(partition, 15) for partition in range(PARTITIONS)], sorted(came), "what a later member read")
    await third.stop()


async def static():
    name, group = await topic("aio-static", PARTITIONS), fresh("aio-static")
    first = await member(group, name, group_instance_id="instance-0")
    joining = asyncio.create_task(member(group, name, group_instance_id="instance-1"))
    await poll_until([first], lambda _: joining.done(), "the second member's start")
    second = joining.result()
    await poll_until([first, second], lambda _: sizes([first, second]) == [3, 3], "two members")
    had = second.assignment()
    await second.stop()
    again = await member(group, name, group_instance_id="instance-1")
    await poll_until([first, again], lambda _: sizes([again]) == [3], "the member that comes back")
    equal(had, again.assignment(), "assigned")
    for one in (first, again):
        await one.stop()


async def groups_told():
    name, group = await topic("aio-told", PARTITIONS), fresh("aio-told")
    one = await member(group, name, client_id="observed")
    await poll_until([one], lambda _: sizes([one]) == [6], "one member")
    await one.commit({TopicPartition(name, 2): (7, "a note")})
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        equal(True, (group, "consumer") in await admin.list_consumer_groups(), "listed")
        told = (await admin.describe_consumer_groups([group]))[0].groups[0]
        equal((0, group, "Stable", "consumer", 1), (*told[:4], len(told[5])), "described")
        equal("observed", told[5][0][1], "its member's client")
        offsets = await admin.list_consumer_group_offsets(group)
        equal((7, "a note"), tuple(offsets[TopicPartition(name, 2)]), "committed")
    finally:
        await admin.close()
        await one.stop()


async def changes():
    name = await topic("aio-changes")
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "1234"})
        equal([0], [answer.resources[0][0] for answer in await admin.alter_configs([resource])], "errors")

        async def altered():
            answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
            equal("1234", {entry[0]: entry[1] for entry in answers[0].resources[0][4]}["retention.ms"], "retention.ms")
        await eventually_async(altered)
        await admin.create_partitions({name: NewPartitions(3)})

        async def grown():
            equal(3, len((await admin.describe_topics([name]))[0]["partitions"]), "partitions")
        await eventually_async(grown)
    finally:
        await admin.close()


async def main():
    for name in CODECS:
        await suite.check_async(f"produce {name or 'none'}", codec, name)
    await suite.check_async("idempotent", lambda: codec("lz4", enable_idempotence=True))
    for level in (0, 1, "all"):
        await suite.check_async(f"acks={level}", acks, level)
    await suite.check_async("keys, headers and nulls", shapes)
    await suite.check_async("fetch from start, offset and end", positions)
    for name in CODECS:
        await suite.check_async(f"offsets by time in {name or 'none'}", times, name)
    await suite.check_async("a waiting fetch is woken", waiting)
    await suite.check_async("topics, configs and the cluster", administration)
    await suite.check_async("records below an offset are deleted", delete_records)
    await suite.check_async("alter configs, add partitions", changes)
    for name in ASSIGNORS:
        await suite.check_async(f"a classic group of {name}", shared, name)
    await suite.check_async("static members of a classic group", static)
    await suite.check_async("a classic group is listed and described, its offsets told", groups_told)


asyncio.run(main())
suite.finish()
