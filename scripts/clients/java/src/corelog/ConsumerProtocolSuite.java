package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.fails;
import static corelog.Suite.that;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.errors.UnreleasedInstanceIdException;
import org.apache.kafka.common.errors.UnsupportedAssignorException;

/** Java consumers of the new group protocol (KIP-848), alone and with members of the classic one. */
final class ConsumerProtocolSuite {
    private static final int PARTITIONS = 6;
    private static final int RECORDS = 120;

    private final Connections connections;
    private final Suite suite = new Suite("consumer-protocol");
    private String topic;

    private ConsumerProtocolSuite(Connections connections) {
        this.connections = connections;
    }

    static boolean run(Connections connections) throws Exception {
        ConsumerProtocolSuite self = new ConsumerProtocolSuite(connections);
        self.fill();
        self.assignors();
        self.patterns();
        self.staticMembers();
        self.commits();
        self.migration();
        return self.suite.finish();
    }

    private void fill() throws Exception {
        topic = connections.topic("consumed", PARTITIONS);
        try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
            for (int i = 0; i < RECORDS; i++) {
                producer.send(new ProducerRecord<>(topic, i % PARTITIONS, null, Integer.toString(i).getBytes()));
            }
        }
    }

    private KafkaConsumer<byte[], byte[]> member(String group, Object... pairs) {
        List<Object> settings = new ArrayList<>(List.of(
            "group.id", group, "group.protocol", "consumer", "auto.offset.reset", "earliest", "enable.auto.commit", false));
        settings.addAll(List.of(pairs));
        return connections.consumer(settings.toArray());
    }

    private KafkaConsumer<byte[], byte[]> classicMember(String group) {
        return connections.consumer(
            "group.id", group, "group.protocol", "classic", "auto.offset.reset", "earliest", "enable.auto.commit", false,
            "session.timeout.ms", 10_000, "heartbeat.interval.ms", 300);
    }

    private static void pollUntil(List<KafkaConsumer<byte[], byte[]>> members, BooleanSupplier done) {
        long deadline = System.nanoTime() + Connections.PATIENCE.toNanos();
        while (!done.getAsBoolean()) {
            that(System.nanoTime() < deadline, "the group does not get there");
            for (KafkaConsumer<byte[], byte[]> member : members) {
                member.poll(Duration.ofMillis(20));
            }
        }
    }

    /** Whether every partition belongs to exactly one of them, and each has its share. */
    private static boolean balanced(List<KafkaConsumer<byte[], byte[]>> members, int partitions) {
        Set<TopicPartition> all = new HashSet<>();
        int sum = 0;
        for (KafkaConsumer<byte[], byte[]> member : members) {
            int share = member.assignment().size();
            if (share < partitions / members.size() || share > (partitions + members.size() - 1) / members.size()) {
                return false;
            }
            sum += share;
            all.addAll(member.assignment());
        }
        return sum == partitions && all.size() == partitions;
    }

    private void assignors() {
        for (String assignor : List.of("uniform", "range")) {
            suite.check(assignor + ": members come and go, every partition belongs to one of them", () -> {
                String group = Connections.fresh("assigned");
                List<KafkaConsumer<byte[], byte[]>> members = new ArrayList<>();
                try {
                    for (int count = 1; count <= 3; count++) {
                        KafkaConsumer<byte[], byte[]> member = member(group, "group.remote.assignor", assignor);
                        member.subscribe(List.of(topic));
                        members.add(member);
                        pollUntil(members, () -> balanced(members, PARTITIONS));
                    }
                    members.remove(0).close();
                    pollUntil(members, () -> balanced(members, PARTITIONS));
                    try (Admin admin = connections.admin()) {
                        ConsumerGroupDescription described = describe(admin, group);
                        equal(GroupType.CONSUMER, described.type(), "type");
                        equal(assignor, described.partitionAssignor(), "assignor");
                        equal(2, described.members().size(), "members");
                        for (MemberDescription member : described.members()) {
                            equal(3, member.assignment().topicPartitions().size(), "assigned");
                            equal(true, member.upgraded().orElse(false), "upgraded");
                        }
                    }
                } finally {
                    members.forEach(KafkaConsumer::close);
                }
            });
        }
        suite.check("uniform moves no more than the newcomer gets", () -> {
            String group = Connections.fresh("sticky");
            try (KafkaConsumer<byte[], byte[]> one = member(group);
                    KafkaConsumer<byte[], byte[]> two = member(group);
                    KafkaConsumer<byte[], byte[]> three = member(group)) {
                one.subscribe(List.of(topic));
                two.subscribe(List.of(topic));
                pollUntil(List.of(one, two), () -> balanced(List.of(one, two), PARTITIONS));
                Set<TopicPartition> hadOne = one.assignment();
                Set<TopicPartition> hadTwo = two.assignment();
                three.subscribe(List.of(topic));
                pollUntil(List.of(one, two, three), () -> balanced(List.of(one, two, three), PARTITIONS));
                that(hadOne.containsAll(one.assignment()), "the first member got something");
                that(hadTwo.containsAll(two.assignment()), "the second member got something");
            }
        });
        suite.check("an assignor that the broker does not have is refused", () -> {
            try (KafkaConsumer<byte[], byte[]> member =
                    member(Connections.fresh("refused"), "group.remote.assignor", "nonesuch")) {
                member.subscribe(List.of(topic));
                fails(UnsupportedAssignorException.class, () -> pollUntil(List.of(member), () -> false));
            }
        });
        suite.check("a subscribed topic that comes later and its new partitions are assigned while the group lives", () -> {
            String later = Connections.fresh("later");
            try (Admin admin = connections.admin();
                    KafkaConsumer<byte[], byte[]> member = member(Connections.fresh("waits"))) {
                member.subscribe(List.of(topic, later));
                pollUntil(List.of(member), () -> member.assignment().size() == PARTITIONS);
                admin.createTopics(List.of(new NewTopic(later, 2, (short) 1))).all().get();
                pollUntil(List.of(member), () -> member.assignment().size() == PARTITIONS + 2);
                admin.createPartitions(Map.of(later, NewPartitions.increaseTo(3))).all().get();
                pollUntil(List.of(member), () -> member.assignment().size() == PARTITIONS + 3);
            }
        });
    }

    private void patterns() {
        suite.check("a pattern of RE2 finds its topics, also one that comes later", () -> {
            String mark = "re-" + System.nanoTime();
            String first = connections.topic(mark + "-a", 2);
            connections.topic("other-" + mark, 1);
            String group = Connections.fresh("pattern");
            try (KafkaConsumer<byte[], byte[]> member = member(group)) {
                member.subscribe(new SubscriptionPattern(first.substring(0, mark.length()) + "-[a-c].*"));
                pollUntil(List.of(member), () -> member.assignment().size() == 2);
                connections.topic(mark + "-b", 1);
                pollUntil(List.of(member), () -> member.assignment().size() == 3);
                Set<String> topics = new TreeSet<>();
                member.assignment().forEach(partition -> topics.add(partition.topic()));
                for (String found : topics) {
                    that(found.startsWith(mark), found + " does not match");
                }
            }
        });
        suite.check("a pattern that RE2 does not take is refused", () -> {
            try (KafkaConsumer<byte[], byte[]> member = member(Connections.fresh("pattern"))) {
                member.subscribe(new SubscriptionPattern("(?=ahead)"));
                fails(InvalidRegularExpression.class, () -> pollUntil(List.of(member), () -> false));
            }
        });
    }

    private void staticMembers() {
        suite.check("a static member that comes back has its partitions, and nobody had them meanwhile", () -> {
            String group = Connections.fresh("static");
            try (KafkaConsumer<byte[], byte[]> stays = member(group, "group.instance.id", "stays")) {
                stays.subscribe(List.of(topic));
                KafkaConsumer<byte[], byte[]> goes = member(group, "group.instance.id", "goes");
                goes.subscribe(List.of(topic));
                pollUntil(List.of(stays, goes), () -> balanced(List.of(stays, goes), PARTITIONS));
                Set<TopicPartition> had = goes.assignment();
                Set<TopicPartition> others = stays.assignment();
                goes.close();
                KafkaConsumer<byte[], byte[]> back = member(group, "group.instance.id", "goes");
                try {
                    back.subscribe(List.of(topic));
                    pollUntil(List.of(stays, back), () -> !back.assignment().isEmpty());
                    equal(had, back.assignment(), "assignment");
                    equal(others, stays.assignment(), "the other's assignment");
                    try (KafkaConsumer<byte[], byte[]> twin = member(group, "group.instance.id", "goes")) {
                        twin.subscribe(List.of(topic));
                        fails(UnreleasedInstanceIdException.class, () -> pollUntil(List.of(twin), () -> false));
                    }
                } finally {
                    back.close();
                }
            }
        });
    }

    private void commits() {
        suite.check("a consumer that starts again goes on where the last one committed", () -> {
            String group = Connections.fresh("restarted");
            Set<String> seen = new HashSet<>();
            for (int round = 0; round < 2; round++) {
                try (KafkaConsumer<byte[], byte[]> member = member(group, "max.poll.records", 20)) {
                    member.subscribe(List.of(topic));
                    List<ConsumerRecord<byte[], byte[]>> records = Connections.poll(member, 40);
                    for (ConsumerRecord<byte[], byte[]> record : records) {
                        that(seen.add(new String(record.value())), "a committed record came again");
                    }
                    member.commitSync();
                }
            }
        });
        suite.check("a group without members is empty and can be deleted", () -> {
            String group = Connections.fresh("deleted");
            try (Admin admin = connections.admin()) {
                try (KafkaConsumer<byte[], byte[]> member = member(group)) {
                    member.subscribe(List.of(topic));
                    pollUntil(List.of(member), () -> member.assignment().size() == PARTITIONS);
                    member.commitSync();
                }
                equal(GroupState.EMPTY, describe(admin, group).groupState(), "state");
                admin.deleteConsumerGroups(List.of(group)).all().get();
                that(admin.listGroups().all().get().stream().noneMatch(g -> g.groupId().equals(group)), "still listed");
            }
        });
    }

    private void migration() {
        suite.check("a live group goes from classic to consumer and back, member by member", () -> {
            String group = Connections.fresh("migrated");
            List<KafkaConsumer<byte[], byte[]>> members = new ArrayList<>();
            try (Admin admin = connections.admin()) {
                for (int i = 0; i < 2; i++) {
                    members.add(classicMember(group));
                    members.get(i).subscribe(List.of(topic));
                }
                pollUntil(members, () -> balanced(members, PARTITIONS));
                equal(GroupType.CLASSIC, describe(admin, group).type(), "type before");
                for (int i = 0; i < 2; i++) {
                    replace(members, i, member(group));
                    equal(GroupType.CONSUMER, describe(admin, group).type(), "type with " + (i + 1) + " new members");
                }
                for (int i = 0; i < 2; i++) {
                    replace(members, i, classicMember(group));
                }
                equal(GroupType.CLASSIC, describe(admin, group).type(), "type after");
            } finally {
                members.forEach(KafkaConsumer::close);
            }
        });
    }

    /** The place of one member is taken by another, which joins first. */
    private void replace(List<KafkaConsumer<byte[], byte[]>> members, int at, KafkaConsumer<byte[], byte[]> other) {
        other.subscribe(List.of(topic));
        members.add(other);
        pollUntil(members, () -> balanced(members, PARTITIONS));
        members.remove(at).close();
        members.add(at, members.remove(members.size() - 1));
        pollUntil(members, () -> balanced(members, PARTITIONS));
    }

    private static ConsumerGroupDescription describe(Admin admin, String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    }
}
