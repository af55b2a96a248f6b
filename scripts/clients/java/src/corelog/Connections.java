package corelog;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Producers, consumers and admins of one broker, with the settings of a test: bytes in, bytes out, no group.
 * Used by every suite. Settings are given as name, value, name, value.
 */
final class Connections {
    /** How long anything may take before it counts as hanging. */
    static final Duration PATIENCE = Duration.ofSeconds(60);

    /** Nothing is tried twice: for a broker that answers a change only when it is in force. */
    private static final boolean STRICT = System.getenv("CORELOG_STRICT") != null;

    private static final AtomicInteger TOPICS = new AtomicInteger();

    final String bootstrap;

    Connections(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    private Map<String, Object> settings(Object... pairs) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < pairs.length; i += 2) {
            settings.put((String) pairs[i], pairs[i + 1]);
        }
        return settings;
    }

    Admin admin() {
        return Admin.create(settings("default.api.timeout.ms", (int) PATIENCE.toMillis()));
    }

    KafkaProducer<byte[], byte[]> producer(Object... pairs) {
        Map<String, Object> settings = settings("max.block.ms", PATIENCE.toMillis());
        settings.putAll(settings(pairs));
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    KafkaConsumer<byte[], byte[]> consumer(Object... pairs) {
        Map<String, Object> settings = settings(
            "enable.auto.commit", false,
            "auto.offset.reset", "none",
            "allow.auto.create.topics", false,
            "default.api.timeout.ms", (int) PATIENCE.toMillis());
        settings.putAll(settings(pairs));
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Creates a topic that no other run has used, with settings as name, value, …, and returns its name. */
    String topic(String prefix, int partitions, String... pairs) throws Exception {
        String name = fresh(prefix);
        Map<String, String> configs = new HashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            configs.put(pairs[i], pairs[i + 1]);
        }
        try (Admin admin = admin()) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all().get();
        }
        settle(name, partitions);
        return name;
    }

    /**
     * Waits until every partition answers. Kafka lets an idempotent producer run into a partition that has no leader
     * yet, where its second batch may be taken before its first, and the first never again.
     */
    void settle(String topic, int partitions) throws Exception {
        if (STRICT) {
            return;
        }
        Map<TopicPartition, OffsetSpec> all = new HashMap<>();
        for (int partition = 0; partition < partitions; partition++) {
            all.put(new TopicPartition(topic, partition), OffsetSpec.latest());
        }
        try (Admin admin = admin()) {
            eventually(() -> admin.listOffsets(all).all().get());
        }
    }

    /**
     * Kafka answers a change of its metadata before its broker knows it; what depends on it may need a moment there.
     * Corelog answers when every core knows: with CORELOG_STRICT set nothing is tried twice.
     */
    static void eventually(Suite.Body body) throws Exception {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (true) {
            try {
                body.run();
                return;
            } catch (ExecutionException | AssertionError e) {
                if (STRICT || System.nanoTime() > deadline) {
                    throw e;
                }
                Thread.sleep(20);
            }
        }
    }

    /** A topic name that no other run has used. */
    static String fresh(String prefix) {
        return prefix + "-" + Long.toString(System.currentTimeMillis(), 36) + "-" + TOPICS.incrementAndGet();
    }

    /** Reads a partition from an offset until `count` records have come; fails when they do not come in time. */
    List<ConsumerRecord<byte[], byte[]>> read(TopicPartition partition, long from, int count, Object... pairs) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(pairs)) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, from);
            return poll(consumer, count);
        }
    }

    /** Polls until `count` records have come; fails when they do not come in time. */
    static List<ConsumerRecord<byte[], byte[]>> poll(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (records.size() < count) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError(records.size() + " of " + count + " records came within " + PATIENCE);
            }
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
        }
        return records;
    }
}
