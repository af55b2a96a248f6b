package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.that;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * A compacted topic that is written and read while somebody kills and restarts the broker, until the file "stop" appears. Every
 * pass of the reader must find what a compacted log may hold; the last one the newest record of each key, and few others.
 * Called by scripts/clients/life. The number of acknowledged records is always in the file "acknowledged".
 */
final class LifeLoad {
    private static final int KEYS = 200;
    private static final int VALUE_BYTES = 2000;
    /** Longer than any restart. */
    private static final int PATIENCE_MS = 300_000;

    private final Connections connections;
    private final Path directory;
    private final TopicPartition partition;
    private final AtomicLong acknowledged = new AtomicLong();
    private final AtomicLong sent = new AtomicLong();
    private volatile Throwable failure;

    private LifeLoad(Connections connections, Path directory, String topic) {
        this.connections = connections;
        this.directory = directory;
        this.partition = new TopicPartition(topic, 0);
    }

    static boolean run(Connections connections, Path directory, String topic) throws Exception {
        try (Admin admin = connections.admin()) {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1).configs(Map.of(
                "cleanup.policy", "compact", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.1")))).all().get();
        }
        connections.settle(topic, 1);
        LifeLoad self = new LifeLoad(connections, directory, topic);
        Thread writer = self.thread(self::write);
        Thread reader = self.thread(() -> {
            while (!self.stopping()) {
                self.pass();
            }
        });
        while (!self.stopping()) {
            self.publish();
            Thread.sleep(20);
        }
        writer.join();
        reader.join();
        self.publish();
        if (self.failure == null) {
            self.thread(self::judge).join();
        }
        if (self.failure != null) {
            self.failure.printStackTrace();
        }
        return self.failure == null;
    }

    private Thread thread(Suite.Body body) {
        Thread thread = new Thread(() -> {
            try {
                body.run();
            } catch (Throwable thrown) {
                failure = thrown;
            }
        });
        thread.start();
        return thread;
    }

    private boolean stopping() {
        return failure != null || Files.exists(directory.resolve("stop"));
    }

    private void publish() throws Exception {
        Path beside = directory.resolve("acknowledged.new");
        Files.writeString(beside, acknowledged + "\n");
        Files.move(beside, directory.resolve("acknowledged"), StandardCopyOption.ATOMIC_MOVE);
    }

    private void write() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = connections.producer(
                "enable.idempotence", true, "compression.type", "zstd", "linger.ms", 2, "buffer.memory", 1 << 20,
                "max.block.ms", PATIENCE_MS, "request.timeout.ms", 10_000, "delivery.timeout.ms", PATIENCE_MS)) {
            while (!stopping()) {
                long sequence = sent.getAndIncrement();
                ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(partition.topic(), 0, key(sequence), value(sequence));
                record.headers().add("sequence", ByteBuffer.allocate(8).putLong(sequence).array());
                producer.send(record, (metadata, thrown) -> {
                    if (thrown != null) {
                        failure = thrown;
                    } else if (metadata.offset() != sequence) {
                        // One idempotent writer: its records are all that there is, each once, in order.
                        failure = new AssertionError("record " + sequence + " has offset " + metadata.offset());
                    } else {
                        acknowledged.incrementAndGet();
                    }
                });
            }
        }
    }

    private static byte[] key(long sequence) {
        return ("key-" + sequence * 7919 % KEYS).getBytes();
    }

    /** Noise, so that segments fill in spite of the codec; now and then a deletion. */
    private static byte[] value(long sequence) {
        if (sequence % 19 == 0) {
            return null;
        }
        byte[] value = new byte[VALUE_BYTES];
        new Random(sequence).nextBytes(value);
        return value;
    }

    /** Reads everything, and holds each record against what was sent; returns the newest sequence of each key. */
    private Map<String, Long> pass() throws Exception {
        Map<String, Long> newest = new HashMap<>();
        long acknowledgedBefore = acknowledged.get();
        records = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer("default.api.timeout.ms", PATIENCE_MS)) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 0);
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            that(end >= acknowledgedBefore, "the end is " + end + ", " + acknowledgedBefore + " are acknowledged");
            long last = -1;
            long deadline = System.nanoTime() + Duration.ofMillis(PATIENCE_MS).toNanos();
            while (consumer.position(partition) < end) {
                that(System.nanoTime() < deadline, "stuck at " + consumer.position(partition) + " of " + end);
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    long sequence = ByteBuffer.wrap(record.headers().lastHeader("sequence").value()).getLong();
                    that(record.offset() > last, "offset " + record.offset() + " behind " + last);
                    equal(sequence, record.offset(), "the sequence at an offset");
                    that(Arrays.equals(key(sequence), record.key()), "the key of " + sequence);
                    that(Arrays.equals(value(sequence), record.value()), "the value of " + sequence);
                    last = record.offset();
                    newest.put(new String(record.key()), sequence);
                    records++;
                }
            }
        }
        for (long sequence = Math.max(0, acknowledgedBefore - KEYS); sequence < acknowledgedBefore; sequence++) {
            Long found = newest.get(new String(key(sequence)));
            that(found != null && found >= sequence, "of the key of " + sequence + ", " + found + " is the newest");
        }
        return newest;
    }

    /** Of the pass that ended last. */
    private long records;

    private void judge() throws Exception {
        equal(sent.get(), acknowledged.get(), "records acknowledged");
        Map<String, Long> expected = new HashMap<>();
        for (long sequence = Math.max(0, sent.get() - KEYS); sequence < sent.get(); sequence++) {
            expected.put(new String(key(sequence)), sequence);
        }
        long deadline = System.nanoTime() + Connections.PATIENCE.toNanos();
        Map<String, Long> newest = pass();
        while (records > sent.get() / 4) {
            that(System.nanoTime() < deadline, records + " of " + sent + " records are still there");
            newest = pass();
        }
        equal(expected, newest, "the newest sequence of each key");
        System.out.println(sent + " records were sent, " + records + " are left");
    }
}
