package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.fails;
import static corelog.Suite.that;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.PolicyViolationException;

/**
 * What becomes of records when they grow old: DeleteRecords, retention, compaction. The broker must look at retention and compaction
 * several times a second (scripts/clients/life). What was found is written down, and held against the broker after a kill.
 */
final class LifeSuite {
    private static final int SEGMENT_BYTES = 1 << 20;

    private final Connections connections;
    private final Suite suite = new Suite("life");
    private final Admin admin;
    /** Topic to what a reader finds in it. */
    private final Map<String, String> found = new LinkedHashMap<>();
    /** Group and partition whose commits were compacted. */
    private final List<String> groups = new ArrayList<>();

    private LifeSuite(Connections connections, Admin admin) {
        this.connections = connections;
        this.admin = admin;
    }

    static boolean run(Connections connections, Path directory) throws Exception {
        try (Admin admin = connections.admin()) {
            LifeSuite self = new LifeSuite(connections, admin);
            self.deleteRecords();
            self.retention();
            self.compaction();
            self.committedOffsets();
            String later = connections.topic("later", 1, "retention.ms", "1800000");
            self.suite.check("a topic to be filled after a kill", () -> self.note(new TopicPartition(later, 0)));
            Files.write(directory.resolve("groups"), self.groups);
            List<String> lines = new ArrayList<>();
            self.found.forEach((topic, text) -> lines.add(topic + " " + text));
            Files.write(directory.resolve("found"), lines);
            return self.suite.finish();
        }
    }

    /** After the broker was killed and has come back: nothing that went is there again, and nothing else has gone. */
    static boolean runAgain(Connections connections, Path directory) throws Exception {
        try (Admin admin = connections.admin()) {
            LifeSuite self = new LifeSuite(connections, admin);
            for (String line : Files.readAllLines(directory.resolve("found"))) {
                int blank = line.indexOf(' ');
                String topic = line.substring(0, blank);
                self.suite.check("as it was: " + topic, () -> equal(line.substring(blank + 1), self.state(topic), topic));
            }
            self.suite.check("retention acts on logs that were found at the start", () -> {
                String later = Files.readAllLines(directory.resolve("found")).stream()
                    .filter(line -> line.startsWith("later-")).findFirst().orElseThrow().split(" ")[0];
                TopicPartition partition = new TopicPartition(later, 0);
                self.send(partition, 20, System.currentTimeMillis() - 3_600_000, "k", "v");
                await(() -> self.earliest(partition) == 20L, "all old records are gone");
            });
            self.suite.check("the newest commits count", () -> {
                for (String line : Files.readAllLines(directory.resolve("groups"))) {
                    String[] words = line.split(" ");
                    int dash = words[1].lastIndexOf('-');
                    equal(2499L, self.committed(words[0], new TopicPartition(words[1].substring(0, dash), 0)), words[0]);
                }
            });
            return self.suite.finish();
        }
    }

    private void deleteRecords() {
        suite.check("records below an offset are deleted, and the log starts there", () -> {
            TopicPartition partition = filled("deleted", 100);
            equal(40L, delete(partition, 40), "low watermark");
            equal(40L, earliest(partition), "earliest");
            equal(100L, latest(partition), "latest");
            equal(60, connections.read(partition, 40, 60).size(), "records from 40 on");
            equal(40L, delete(partition, 10), "what is gone does not come back");
            try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer()) {
                consumer.assign(List.of(partition));
                consumer.seek(partition, 39);
                fails(OffsetOutOfRangeException.class, () -> consumer.poll(Duration.ofSeconds(20)));
                consumer.seekToBeginning(List.of(partition));
                equal(40L, consumer.position(partition), "the beginning");
            }
            note(partition);
        });
        suite.check("times are looked up among what is left", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("times", 1), 0);
            long now = System.currentTimeMillis();
            for (int i = 0; i < 10; i++) {
                send(partition, 1, now - 10_000 + i, "k", "v");
            }
            equal(9L, offset(partition, OffsetSpec.maxTimestamp()), "the newest");
            equal(2L, offset(partition, OffsetSpec.forTimestamp(now - 9_998)), "by time");
            equal(5L, delete(partition, 5), "low watermark");
            equal(5L, offset(partition, OffsetSpec.forTimestamp(now - 9_998)), "by a time that is deleted");
            equal(7L, offset(partition, OffsetSpec.forTimestamp(now - 9_993)), "by a time that is left");
            equal(9L, offset(partition, OffsetSpec.maxTimestamp()), "the newest of what is left");
            equal(10L, delete(partition, -1), "low watermark");
            equal(-1L, offset(partition, OffsetSpec.forTimestamp(now - 9_993)), "nothing is left");
            note(partition);
        });
        suite.check("-1 deletes everything, and appending goes on behind", () -> {
            TopicPartition partition = filled("emptied", 30);
            equal(30L, delete(partition, -1), "low watermark");
            send(partition, 1, 0, "k", "v");
            equal(1, connections.read(partition, 30, 1).size(), "the record behind");
            note(partition);
        });
        suite.check("what is beyond the end, or only compacted, is refused", () -> {
            TopicPartition partition = filled("refused", 5);
            fails(org.apache.kafka.common.errors.OffsetOutOfRangeException.class, () -> delete(partition, 6));
            TopicPartition compacted = new TopicPartition(connections.topic("compact", 1, "cleanup.policy", "compact"), 0);
            fails(PolicyViolationException.class, () -> delete(compacted, 0));
            String both = connections.topic("both", 1, "cleanup.policy", "compact,delete");
            equal(0L, delete(new TopicPartition(both, 0), 0), "compact,delete");
        });
    }

    private void retention() {
        suite.check("what is too old goes, the active segment too, and new records stay", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("old", 1, "retention.ms", "1800000"), 0);
            send(partition, 20, System.currentTimeMillis() - 3_600_000, "k", "v");
            await(() -> earliest(partition) == 20L, "all old records are gone");
            send(partition, 5, System.currentTimeMillis(), "k", "v");
            Thread.sleep(2000);
            equal(20L, earliest(partition), "the new ones stay");
            equal(5, connections.read(partition, 20, 5).size(), "new records");
            note(partition);
        });
        suite.check("retention that is changed while the broker runs acts", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("shortened", 1, "retention.ms", "-1"), 0);
            send(partition, 20, System.currentTimeMillis() - 3_600_000, "k", "v");
            Thread.sleep(1500);
            equal(0L, earliest(partition), "nothing goes without a retention");
            alter(partition.topic(), "retention.ms", "1800000");
            await(() -> earliest(partition) == 20L, "all old records are gone");
            note(partition);
        });
        suite.check("what is too much goes, segment by segment", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("much", 1,
                "retention.bytes", Integer.toString(2 * SEGMENT_BYTES), "segment.bytes", Integer.toString(SEGMENT_BYTES)), 0);
            send(partition, 800, System.currentTimeMillis(), "k", "x".repeat(10_000));
            await(() -> earliest(partition) > 400L, "most of 8 MB are gone");
            Thread.sleep(2000);
            long left = (800 - earliest(partition)) * 10_000;
            that(left >= 2 * SEGMENT_BYTES - SEGMENT_BYTES / 2, left + " bytes are left");
            note(partition);
        });
        suite.check("without a cleanup policy of delete nothing goes", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("kept", 1,
                "cleanup.policy", "compact", "retention.ms", "1", "retention.bytes", "1"), 0);
            send(partition, 5, System.currentTimeMillis() - 3_600_000, "k", "v");
            Thread.sleep(2000);
            equal(0L, earliest(partition), "earliest");
            note(partition);
        });
    }

    private void compaction() {
        suite.check("of each key the newest record stays, where it was", () -> {
            TopicPartition partition = compacted("keys", "86400000");
            Map<String, Long> newest = new TreeMap<>();
            String filling = "x".repeat(1000);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer("linger.ms", 5, "compression.type", "lz4")) {
                for (int i = 0; i < 6000; i++) {
                    String key = "key-" + i % 50;
                    // Random enough that a segment fills in spite of the codec.
                    byte[] value = (i + "|" + Long.toHexString(i * 0x9e3779b97f4a7c15L) + filling).getBytes();
                    byte[] noise = new byte[1500];
                    new java.util.Random(i).nextBytes(noise);
                    producer.send(new ProducerRecord<>(partition.topic(), 0, key.getBytes(), i % 50 == 7 ? null : concat(value, noise)));
                    newest.put(key, (long) i);
                }
            }
            await(() -> all(partition).size() < 2500, "most records are gone");
            List<ConsumerRecord<byte[], byte[]>> left = all(partition);
            Map<String, Long> last = new TreeMap<>();
            for (ConsumerRecord<byte[], byte[]> record : left) {
                last.put(new String(record.key()), record.offset());
                if (record.value() != null) {
                    that(new String(record.value(), java.nio.charset.StandardCharsets.ISO_8859_1).startsWith(record.offset() + "|"),
                        "the value of offset " + record.offset());
                }
            }
            equal(newest, last, "the newest offset of each key");
            equal(0L, earliest(partition), "the log starts where it did");
            equal(6000L, latest(partition), "and ends where it did");
            note(partition);
        });
        suite.check("a deleted key goes for good after delete.retention.ms", () -> {
            TopicPartition partition = compacted("tombstones", "1");
            send(partition, 1, System.currentTimeMillis(), "gone", "v");
            send(partition, 1, System.currentTimeMillis(), "gone", null);
            // Passes need dirty segments: each fills one.
            long deadline = System.nanoTime() + Connections.PATIENCE.toNanos();
            while (all(partition).stream().anyMatch(record -> new String(record.key()).equals("gone"))) {
                that(System.nanoTime() < deadline, "the tombstone is still there");
                send(partition, 250, System.currentTimeMillis(), "other", "y".repeat(5000));
            }
            note(partition);
        });
        suite.check("an idempotent producer goes on after its batches were compacted", () -> {
            TopicPartition partition = compacted("idempotent", "1");
            try (KafkaProducer<byte[], byte[]> producer = connections.producer("enable.idempotence", true)) {
                for (int round = 0; round < 4; round++) {
                    for (int i = 0; i < 300; i++) {
                        byte[] noise = new byte[5000];
                        new java.util.Random(i).nextBytes(noise);
                        producer.send(new ProducerRecord<>(partition.topic(), 0, "one".getBytes(), noise)).get();
                    }
                    Thread.sleep(700);
                }
            }
            equal(1200L, latest(partition), "none refused, none twice");
            note(partition);
        });
    }

    /** Commits of a group are records of a compacted topic: most go, and the last one counts. */
    private void committedOffsets() {
        suite.check("__consumer_offsets is compacted, and the newest commits stay", () -> {
            TopicPartition committed = filled("committed", 1);
            String group = Connections.fresh("compacted-group");
            for (int i = 0; i < 2500; i++) {
                // Long enough that a segment fills soon.
                var offset = new org.apache.kafka.clients.consumer.OffsetAndMetadata(i, "m".repeat(4000));
                admin.alterConsumerGroupOffsets(group, Map.of(committed, offset)).all().get();
            }
            TopicPartition offsets = new TopicPartition("__consumer_offsets", 0);
            await(() -> all(offsets).stream().filter(record -> record.value() != null && record.value().length > 4000).count() < 1200,
                "most commits are gone");
            equal(2499L, committed(group, committed), "the newest commit");
            groups.add(group + " " + committed);
        });
    }

    private long committed(String group, TopicPartition partition) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(partition).offset();
    }

    private TopicPartition compacted(String prefix, String deleteRetentionMs) throws Exception {
        return new TopicPartition(connections.topic(prefix, 1,
            "cleanup.policy", "compact", "segment.bytes", Integer.toString(SEGMENT_BYTES),
            "min.cleanable.dirty.ratio", "0.01", "delete.retention.ms", deleteRetentionMs), 0);
    }

    private static byte[] concat(byte[] one, byte[] other) {
        byte[] both = java.util.Arrays.copyOf(one, one.length + other.length);
        System.arraycopy(other, 0, both, one.length, other.length);
        return both;
    }

    private TopicPartition filled(String prefix, int records) throws Exception {
        TopicPartition partition = new TopicPartition(connections.topic(prefix, 1), 0);
        send(partition, records, System.currentTimeMillis(), "k", "v");
        return partition;
    }

    private void send(TopicPartition partition, int count, long timestamp, String key, String value) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
            byte[] bytes = value == null ? null : value.getBytes();
            for (int i = 0; i < count; i++) {
                Long at = timestamp == 0 ? null : Long.valueOf(timestamp);
                producer.send(new ProducerRecord<>(partition.topic(), 0, at, key.getBytes(), bytes));
            }
        }
    }

    private long delete(TopicPartition partition, long offset) throws Exception {
        var results = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(offset)));
        return results.lowWatermarks().get(partition).get().lowWatermark();
    }

    private void alter(String topic, String name, String value) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp op = new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(op))).all().get();
    }

    private long offset(TopicPartition partition, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset();
    }

    private long earliest(TopicPartition partition) throws Exception {
        return offset(partition, OffsetSpec.earliest());
    }

    private long latest(TopicPartition partition) throws Exception {
        return offset(partition, OffsetSpec.latest());
    }

    /** Every record that a reader finds, from the start of the log to its end. */
    private List<ConsumerRecord<byte[], byte[]>> all(TopicPartition partition) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long end = latest(partition);
        try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer()) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long deadline = System.nanoTime() + Connections.PATIENCE.toNanos();
            while (consumer.position(partition) < end) {
                that(System.nanoTime() < deadline, "stuck at " + consumer.position(partition) + " of " + end);
                consumer.poll(Duration.ofMillis(200)).forEach(records::add);
            }
        }
        return records;
    }

    private static void await(java.util.concurrent.Callable<Boolean> what, String name) throws Exception {
        long deadline = System.nanoTime() + Connections.PATIENCE.toNanos();
        while (!what.call()) {
            that(System.nanoTime() < deadline, "not in time: " + name);
            TimeUnit.MILLISECONDS.sleep(100);
        }
    }

    /** Whole, and by the newest record of each key where compaction may still go on. */
    private String state(String topic) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        Map<String, Long> newest = new TreeMap<>();
        for (ConsumerRecord<byte[], byte[]> record : all(partition)) {
            newest.put(new String(record.key()), record.offset());
        }
        return earliest(partition) + " " + latest(partition) + " " + newest;
    }

    private void note(TopicPartition partition) throws Exception {
        found.put(partition.topic(), state(partition.topic()));
    }
}
