package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.fails;
import static corelog.Suite.that;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;

/** Java consumers in groups of the classic protocol, and what an admin does with groups. */
final class GroupSuite {
    private static final int PARTITIONS = 6;
    private static final int RECORDS = 300;
    private static final String ASSIGNORS = "org.apache.kafka.clients.consumer.";

    private final Connections connections;
    private final Suite suite = new Suite("group");
    private String topic;

    private GroupSuite(Connections connections) {
        this.connections = connections;
    }

    static boolean run(Connections connections) throws Exception {
        GroupSuite self = new GroupSuite(connections);
        self.fill();
        self.assignors();
        self.commits();
        self.staticMembers();
        self.administration();
        self.churn();
        return self.suite.finish();
    }

    private void fill() throws Exception {
        topic = connections.topic("grouped", PARTITIONS);
        try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
            for (int i = 0; i < RECORDS; i++) {
                producer.send(new ProducerRecord<>(topic, i % PARTITIONS, null, Integer.toString(i).getBytes()));
            }
        }
    }

    private KafkaConsumer<byte[], byte[]> member(String group, Object... pairs) {
        List<Object> settings = new ArrayList<>(List.of(
            "group.id", group, "group.protocol", "classic", "auto.offset.reset", "earliest",
            "session.timeout.ms", 10_000, "heartbeat.interval.ms", 500));
        settings.addAll(List.of(pairs));
        return connections.consumer(settings.toArray());
    }

    /** Polls all of them until `done` says so; returns how many records came. */
    private static int pollUntil(List<KafkaConsumer<byte[], byte[]>> members, java.util.function.BooleanSupplier done) {
        long deadline = System.nanoTime() + Connections.PATIENCE.toNanos();
        int came = 0;
        while (!done.getAsBoolean()) {
            that(System.nanoTime() < deadline, "the group does not get there");
            for (KafkaConsumer<byte[], byte[]> member : members) {
                came += member.poll(Duration.ofMillis(20)).count();
            }
        }
        return came;
    }

    /** Whether every partition belongs to exactly one of them, and each has its share. */
    private boolean balanced(List<KafkaConsumer<byte[], byte[]>> members) {
        Set<TopicPartition> all = new HashSet<>();
        int sum = 0;
        for (KafkaConsumer<byte[], byte[]> member : members) {
            sum += member.assignment().size();
            all.addAll(member.assignment());
            if (member.assignment().size() != PARTITIONS / members.size()) {
                return false;
            }
        }
        return sum == PARTITIONS && all.size() == PARTITIONS;
    }

    private void assignors() {
        for (String assignor : List.of("RangeAssignor", "RoundRobinAssignor", "StickyAssignor", "CooperativeStickyAssignor")) {
            suite.check(assignor + ": members come and go, every partition belongs to one of them", () -> {
                String group = Connections.fresh("assigned");
                List<KafkaConsumer<byte[], byte[]>> members = new ArrayList<>();
                try {
                    for (int count = 1; count <= 3; count++) {
                        KafkaConsumer<byte[], byte[]> member =
                            member(group, "partition.assignment.strategy", ASSIGNORS + assignor);
                        member.subscribe(List.of(topic));
                        members.add(member);
                        pollUntil(members, () -> balanced(members));
                    }
                    members.remove(0).close();
                    pollUntil(members, () -> balanced(members));
                } finally {
                    members.forEach(KafkaConsumer::close);
                }
            });
        }
    }

    private void commits() {
        suite.check("a consumer that starts again goes on where the last one committed", () -> {
            String group = Connections.fresh("restarted");
            Set<String> seen = new HashSet<>();
            for (int round = 0; round < 3; round++) {
                try (KafkaConsumer<byte[], byte[]> member = member(group, "max.poll.records", 40)) {
                    member.subscribe(List.of(topic));
                    List<ConsumerRecord<byte[], byte[]>> records = Connections.poll(member, 60);
                    for (ConsumerRecord<byte[], byte[]> record : records) {
                        that(seen.add(new String(record.value())), "a committed record came again");
                    }
                    if (round == 1) {
                        member.commitAsync((offsets, error) -> that(error == null, "commitAsync: " + error));
                    }
                    member.commitSync();
                }
            }
        });
        suite.check("leader epoch and metadata of a commit come back as they were", () -> {
            String group = Connections.fresh("metadata");
            TopicPartition partition = new TopicPartition(topic, 1);
            OffsetAndMetadata committed = new OffsetAndMetadata(17, Optional.of(0), "wörds & more");
            try (KafkaConsumer<byte[], byte[]> consumer = member(group)) {
                consumer.assign(List.of(partition));
                consumer.commitSync(Map.of(partition, committed));
                equal(Map.of(partition, committed), consumer.committed(Set.of(partition)), "committed");
            }
        });
        suite.check("who was left behind by a rebalance cannot commit", () -> {
            String group = Connections.fresh("left-behind");
            try (KafkaConsumer<byte[], byte[]> slow = member(group, "max.poll.interval.ms", 1_000);
                    KafkaConsumer<byte[], byte[]> other = member(group)) {
                slow.subscribe(List.of(topic));
                other.subscribe(List.of(topic));
                // Without a position there would be nothing to commit, which always works.
                Connections.poll(slow, 1);
                pollUntil(List.of(other), () -> other.assignment().size() == PARTITIONS);
                fails(CommitFailedException.class, slow::commitSync);
            }
        });
        suite.check("auto commits, and a commit when the consumer closes", () -> {
            String group = Connections.fresh("auto");
            try (KafkaConsumer<byte[], byte[]> member = member(group, "enable.auto.commit", true)) {
                member.subscribe(List.of(topic));
                Connections.poll(member, RECORDS);
            }
            long sum = 0;
            try (Admin admin = connections.admin()) {
                var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                for (OffsetAndMetadata offset : offsets.values()) {
                    sum += offset.offset();
                }
            }
            equal((long) RECORDS, sum, "sum of the committed offsets");
        });
    }

    private void staticMembers() {
        suite.check("a static member that comes back has its partitions without a rebalance", () -> {
            String group = Connections.fresh("static");
            try (KafkaConsumer<byte[], byte[]> stays = member(group, "group.instance.id", "stays")) {
                stays.subscribe(List.of(topic));
                KafkaConsumer<byte[], byte[]> goes = member(group, "group.instance.id", "goes");
                goes.subscribe(List.of(topic));
                pollUntil(List.of(stays, goes), () -> balanced(List.of(stays, goes)));
                Set<TopicPartition> had = goes.assignment();
                int generation = stays.groupMetadata().generationId();
                goes.close();
                KafkaConsumer<byte[], byte[]> back = member(group, "group.instance.id", "goes");
                back.subscribe(List.of(topic));
                pollUntil(List.of(stays, back), () -> !back.assignment().isEmpty());
                equal(had, back.assignment(), "assignment");
                equal(generation, back.groupMetadata().generationId(), "generation");
                equal(generation, stays.groupMetadata().generationId(), "the other's generation");
                // A second one under its name takes its place, and the first is fenced.
                try (KafkaConsumer<byte[], byte[]> twin = member(group, "group.instance.id", "goes")) {
                    twin.subscribe(List.of(topic));
                    pollUntil(List.of(twin), () -> !twin.assignment().isEmpty());
                    fails(FencedInstanceIdException.class, () -> pollUntil(List.of(back), () -> false));
                    back.close();
                }
            }
        });
        suite.check("an admin removes static members", () -> {
            String group = Connections.fresh("removed");
            try (Admin admin = connections.admin();
                    KafkaConsumer<byte[], byte[]> member = member(group, "group.instance.id", "one")) {
                member.subscribe(List.of(topic));
                pollUntil(List.of(member), () -> member.assignment().size() == PARTITIONS);
                admin.removeMembersFromConsumerGroup(
                    group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one")))).all().get();
                equal(GroupState.EMPTY, describe(admin, group).groupState(), "state");
            }
        });
    }

    private static ConsumerGroupDescription describe(Admin admin, String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    }

    private void administration() {
        suite.check("groups are listed and described", () -> {
            String group = Connections.fresh("described");
            try (Admin admin = connections.admin();
                    KafkaConsumer<byte[], byte[]> member = member(group, "client.id", "somebody")) {
                member.subscribe(List.of(topic));
                pollUntil(List.of(member), () -> member.assignment().size() == PARTITIONS);
                var stable = new ListGroupsOptions().inGroupStates(Set.of(GroupState.STABLE));
                that(admin.listGroups(stable).all().get().stream().anyMatch(one -> one.groupId().equals(group)), "not listed");
                var empty = new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY));
                that(admin.listGroups(empty).all().get().stream().noneMatch(one -> one.groupId().equals(group)), "listed as empty");
                ConsumerGroupDescription description = describe(admin, group);
                equal(GroupState.STABLE, description.groupState(), "state");
                equal("range", description.partitionAssignor(), "assignor");
                var described = description.members().iterator().next();
                equal("somebody", described.clientId(), "client id");
                equal("/127.0.0.1", described.host(), "host");
                equal(PARTITIONS, described.assignment().topicPartitions().size(), "assigned partitions");
            }
        });
        suite.check("offsets are altered, deleted, and go with their group", () -> {
            String group = Connections.fresh("altered");
            TopicPartition first = new TopicPartition(topic, 0);
            TopicPartition second = new TopicPartition(topic, 1);
            try (Admin admin = connections.admin()) {
                admin.alterConsumerGroupOffsets(group, Map.of(
                    first, new OffsetAndMetadata(5), second, new OffsetAndMetadata(6))).all().get();
                admin.deleteConsumerGroupOffsets(group, Set.of(first)).all().get();
                Map<TopicPartition, OffsetAndMetadata> left =
                    admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                equal(Set.of(second), left.keySet(), "partitions with an offset");
                equal(6L, left.get(second).offset(), "offset");
                try (KafkaConsumer<byte[], byte[]> member = member(group)) {
                    member.subscribe(List.of(topic));
                    pollUntil(List.of(member), () -> member.assignment().size() == PARTITIONS);
                    equal(6L, member.committed(Set.of(second)).get(second).offset(), "what the member finds");
                    fails(GroupSubscribedToTopicException.class, () ->
                        admin.deleteConsumerGroupOffsets(group, Set.of(second)).partitionResult(second).get());
                    fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
                }
                admin.deleteConsumerGroups(List.of(group)).all().get();
                fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
                equal(Map.of(), admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(), "offsets");
            }
        });
        suite.check("committed offsets go with a deleted topic", () -> {
            String group = Connections.fresh("of-deleted");
            String gone = connections.topic("deleted", 1);
            TopicPartition partition = new TopicPartition(gone, 0);
            try (Admin admin = connections.admin()) {
                admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(3))).all().get();
                admin.deleteTopics(List.of(gone)).all().get();
                Connections.eventually(() -> equal(Map.of(),
                    admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(), "offsets"));
            }
        });
    }

    private void churn() {
        suite.check("the checker finds a record that nobody consumed, and an offset that went back", () -> {
            Map<Integer, Long> ends = Map.of(0, 3L, 1, 2L);
            Map<Integer, Set<Long>> consumed = new HashMap<>(Map.of(0, Set.of(0L, 2L), 1, Set.of(0L, 1L)));
            equal(List.of("partition 0: offset 1 was never consumed"), GroupChurn.missing(ends, consumed), "gaps");
            Map<Integer, Long> last = new TreeMap<>(Map.of(0, 5L, 1, 5L));
            equal(List.of("partition 0: the committed offset went back from 5 to 4", "partition 1: the committed offset 5 is gone"),
                GroupChurn.stepsBack(last, Map.of(0, 4L)), "steps back");
        });
        if (System.getenv("CORELOG_PEER_DIR") == null) {
            return;
        }
        suite.check("members are killed and added, the broker is killed, and nothing is skipped or committed backwards",
            () -> new GroupChurn(connections).run());
    }
}
