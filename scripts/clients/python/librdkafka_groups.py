"""librdkafka through confluent-kafka: groups of both protocols and what administrators change. Run by scripts/clients/librdkafka."""

import time

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ElectionType,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

from suite import BOOTSTRAP, PATIENCE, Suite, equal, eventually, fresh

PARTITIONS = 6
CLASSIC = {"group.protocol": "classic", "session.timeout.ms": 10_000, "heartbeat.interval.ms": 300}
NEW = {"group.protocol": "consumer"}

suite = Suite("librdkafka")
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def topic(prefix, partitions=PARTITIONS):
    """Creates a topic that no other run has used."""
    name = fresh(prefix)
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(PATIENCE)
    eventually(lambda: equal(partitions, len(admin.list_topics(name, PATIENCE).topics[name].partitions), "partitions"))
    return name


def fill(name, per_partition):
    client = Producer({"bootstrap.servers": BOOTSTRAP, "message.timeout.ms": PATIENCE * 1000})
    for partition in range(PARTITIONS):
        for number in range(per_partition):
            client.produce(name, value=str(number), partition=partition)
    equal(0, client.flush(PATIENCE), "records that were not answered in time")


def member(group, name, protocol, **settings):
    settings = {key.replace("_", "."): value for key, value in settings.items()}
    client = Consumer({
        "bootstrap.servers": BOOTSTRAP, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
        **protocol, **settings,
    })
    client.subscribe([name])
    return client


def poll_until(members, done, what):
    """Polls all members until the condition holds; returns what came."""
    came, deadline = [], time.monotonic() + PATIENCE
    while not done(came):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not in time; assigned {[len(one.assignment()) for one in members]}, {len(came)} records came")
        for one in members:
            for message in one.consume(100, 0.05):
                if message.error():
                    raise KafkaException(message.error())
                came.append((message.partition(), message.offset()))
    return came


def sizes(members):
    return sorted(len(one.assignment()) for one in members)


def committed(client, name):
    wanted = [TopicPartition(name, partition) for partition in range(PARTITIONS)]
    return [partition.offset for partition in client.committed(wanted, PATIENCE)]


def shared(protocol, **settings):
    """Two members share a topic, one leaves, and who comes after them goes on where they committed."""
    name, group = topic("shared"), fresh("shared")
    fill(name, 10)
    first = member(group, name, protocol, **settings)
    came = poll_until([first], lambda came: len(came) == 60, "one member")
    equal(sorted((partition, offset) for partition in range(PARTITIONS) for offset in range(10)), sorted(came), "what one member read")
    first.commit(asynchronous=False)
    second = member(group, name, protocol, **settings)
    poll_until([first, second], lambda _: sizes([first, second]) == [3, 3], "two members")
    equal(PARTITIONS, len({(one.topic, one.partition) for both in (first, second) for one in both.assignment()}), "partitions assigned")
    fill(name, 5)
    came = poll_until([first, second], lambda came: len(came) >= 30, "what two members read")
    equal({(partition, offset) for partition in range(PARTITIONS) for offset in range(10, 15)},
          {one for one in came if one[1] >= 10}, "what two members read")
    for one in (first, second):
        one.commit(asynchronous=False)
    second.close()
    poll_until([first], lambda _: sizes([first]) == [6], "one member again")
    equal([15] * PARTITIONS, committed(first, name), "committed")
    first.close()
    fill(name, 1)
    third = member(group, name, protocol, **settings)
    came = poll_until([third], lambda came: len(came) >= PARTITIONS, "a later member")
    equal([(partition, 15) for partition in range(PARTITIONS)], sorted(came), "what a later member read")
    third.close()


def static(protocol):
    name, group = topic("static"), fresh("static")
    fill(name, 1)
    members = [member(group, name, protocol, group_instance_id=f"instance-{number}") for number in range(2)]
    poll_until(members, lambda _: sizes(members) == [3, 3], "two members")
    first, second = ({one.partition for one in both.assignment()} for both in members)
    members[1].close()
    again = member(group, name, protocol, group_instance_id="instance-1")
    poll_until([members[0], again], lambda _: sizes([again]) == [3], "the member that comes back")
    equal((first, second), tuple({one.partition for one in both.assignment()} for both in (members[0], again)), "assigned")
    members[0].close()
    again.close()


def described(protocol, kind):
    name, group = topic("described"), fresh("described")
    one = member(group, name, protocol, client_id="observed")
    poll_until([one], lambda _: sizes([one]) == [6], "one member")
    listed = {each.group_id: each for each in admin.list_consumer_groups().result(PATIENCE).valid}
    equal((ConsumerGroupState.STABLE, kind), (listed[group].state, listed[group].type.name), "listed")
    described = admin.describe_consumer_groups([group])[group].result(PATIENCE)
    equal((ConsumerGroupState.STABLE, 1), (described.state, len(described.members)), "described")
    seen = described.members[0]
    equal(("observed", PARTITIONS), (seen.client_id, len(seen.assignment.topic_partitions)), "its member")
    one.close()


def offsets():
    name, group = topic("offsets"), fresh("offsets")
    fill(name, 10)
    wanted = [TopicPartition(name, partition, 7) for partition in range(PARTITIONS)]
    altered = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)])
    equal([None] * PARTITIONS, [one.error for one in altered[group].result(PATIENCE).topic_partitions], "errors")
    one = member(group, name, CLASSIC)
    came = poll_until([one], lambda came: len(came) == 18, "from the altered offsets")
    equal(7, min(offset for _, offset in came), "first offset")
    try:
        admin.delete_consumer_groups([group])[group].result(PATIENCE)
        raise AssertionError("a group with a member was deleted")
    except KafkaException as error:
        equal(KafkaError.NON_EMPTY_GROUP, error.args[0].code(), "error")
    one.close()
    told = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(PATIENCE)
    equal([7] * PARTITIONS, [one.offset for one in told.topic_partitions], "committed")
    admin.delete_consumer_groups([group])[group].result(PATIENCE)
    listed = [one.group_id for one in admin.list_consumer_groups().result(PATIENCE).valid]
    equal(False, group in listed, "it is still listed")


def alter_configs():
    name = topic("altered", 1)
    entry = ConfigEntry("retention.ms", "1234", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(PATIENCE)
    asked = ConfigResource(ResourceType.TOPIC, name)
    eventually(lambda: equal("1234", admin.describe_configs([asked])[asked].result(PATIENCE)["retention.ms"].value, "retention.ms"))
    entry = ConfigEntry("retention.ms", "soon", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    try:
        admin.incremental_alter_configs([resource])[resource].result(PATIENCE)
        raise AssertionError("a bad value was taken")
    except KafkaException as error:
        equal(KafkaError.INVALID_CONFIG, error.args[0].code(), "error")


def grow():
    name = topic("grown", 1)
    admin.create_partitions([NewPartitions(name, 4)])[name].result(PATIENCE)
    eventually(lambda: equal(4, len(admin.list_topics(name, PATIENCE).topics[name].partitions), "partitions"))


def pattern():
    """An expression of RE2, which the broker resolves."""
    names, group = sorted(topic("pattern") for _ in range(2)), fresh("pattern")
    prefix = names[0][: len("pattern-") + 6]
    topic("other")
    one = member(group, f"^{prefix}.*", NEW)
    poll_until([one], lambda _: sizes([one]) == [2 * PARTITIONS], "a member with a pattern")
    equal(names, sorted({each.topic for each in one.assignment()}), "topics found")
    one.close()


def without_authorizer():
    every = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
    # The binding does not tell SECURITY_DISABLED.
    equal([], admin.describe_acls(every).result(PATIENCE), "ACLs")


def elections():
    name = topic("elected", 1)
    partition = TopicPartition(name, 0)
    told = admin.elect_leaders(ElectionType.PREFERRED, [partition]).result(PATIENCE)
    equal(KafkaError.ELECTION_NOT_NEEDED, told[partition].code(), "error")


def delete_records():
    name = topic("deleted", 1)
    client = Producer({"bootstrap.servers": BOOTSTRAP})
    for number in range(10):
        client.produce(name, str(number), partition=0)
    equal(0, client.flush(PATIENCE), "records on their way")
    deleted = admin.delete_records([TopicPartition(name, 0, 4)])
    for answer in deleted.values():
        equal(4, answer.result(PATIENCE).low_watermark, "low watermark")
    partition = TopicPartition(name, 0)
    equal(4, admin.list_offsets({partition: OffsetSpec.earliest()})[partition].result(PATIENCE).offset, "start")
    reader = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": fresh("deleted"), "auto.offset.reset": "earliest"})
    try:
        reader.assign([TopicPartition(name, 0, 0)])
        equal(b"4", reader.poll(PATIENCE).value(), "the first that is left")
    finally:
        reader.close()
    beyond = admin.delete_records([TopicPartition(name, 0, 11)])
    for answer in beyond.values():
        try:
            answer.result(PATIENCE)
            raise AssertionError("deleted beyond the end")
        except KafkaException as error:
            equal(KafkaError.OFFSET_OUT_OF_RANGE, error.args[0].code(), "error")


for strategy in ("range", "roundrobin", "cooperative-sticky"):
    suite.check(f"a classic group of {strategy}", lambda strategy: shared(CLASSIC, partition_assignment_strategy=strategy), strategy)
suite.check("static members of a classic group", static, CLASSIC)
suite.check("a classic group is listed and described", described, CLASSIC, "CLASSIC")
for assignor in ("uniform", "range"):
    suite.check(f"a group of the new protocol with {assignor}", lambda assignor: shared(NEW, group_remote_assignor=assignor), assignor)
suite.check("static members of the new protocol", static, NEW)
suite.check("a pattern of the new protocol", pattern)
suite.check("a group of the new protocol is listed and described", described, NEW, "CONSUMER")
suite.check("offsets are altered, told and deleted with their group", offsets)
suite.check("alter configs", alter_configs)
suite.check("add partitions", grow)
suite.check("without an authorizer there are no ACLs", without_authorizer)
suite.check("a leader that needs no election", elections)
suite.check("records below an offset are deleted", delete_records)
suite.finish()
