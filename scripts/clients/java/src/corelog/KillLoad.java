package corelog;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;

/**
 * Producers and a consumer that go on while somebody kills and restarts the broker under them, until the file "stop"
 * appears in their directory. The number of acknowledged records is always in the file "acknowledged" there.
 * Called by scripts/clients/kill-nine. Deliberately absent: killing, and judging.
 */
final class KillLoad {
    static final int PARTITIONS = 4;
    /** Longer than any restart, so that a producer gives up on nothing that could still be answered. */
    private static final int PATIENCE_MS = 300_000;
    /** Records that one writer may be ahead of its acknowledgements: little enough to be sent anew in a moment. */
    private static final int BUFFER_BYTES = 1 << 20;
    /** The usual size of a batch, and one that a broker may treat as a large one. */
    private static final int BATCH_BYTES = 16_384;
    private static final int LARGE_BATCH_BYTES = 131_072;
    /** Who writes: idempotent or plain, with which acks, and in what batches. */
    private static final List<Kind> KINDS = List.of(
        new Kind(true, "all", "none", LARGE_BATCH_BYTES),
        new Kind(true, "all", "lz4", BATCH_BYTES),
        new Kind(false, "1", "none", LARGE_BATCH_BYTES),
        new Kind(false, "all", "zstd", BATCH_BYTES));

    private final Connections connections;
    private final Path directory;
    private final String topic;
    private final AtomicLong acknowledged = new AtomicLong();
    private final ConcurrentLinkedQueue<Throwable> failures = new ConcurrentLinkedQueue<>();

    private volatile boolean written;

    private record Kind(boolean once, String acks, String codec, int batchBytes) {}

    private KillLoad(Connections connections, Path directory, String topic) {
        this.connections = connections;
        this.directory = directory;
        this.topic = topic;
    }

    static boolean run(Connections connections, Path directory, String topic) throws Exception {
        try (Admin admin = connections.admin()) {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
        }
        connections.settle(topic, PARTITIONS);
        KillLoad self = new KillLoad(connections, directory, topic);
        List<Thread> threads = new ArrayList<>();
        Thread reader = self.thread(self::consume);
        for (int number = 0; number < KINDS.size(); number++) {
            int writer = number;
            threads.add(self.thread(() -> self.produce(writer)));
        }
        while (!self.stopping()) {
            self.publish();
            Thread.sleep(20);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        self.written = true;
        reader.join();
        self.publish();
        self.failures.forEach(Throwable::printStackTrace);
        return self.failures.isEmpty();
    }

    private Thread thread(Suite.Body body) {
        Thread thread = new Thread(() -> {
            try {
                body.run();
            } catch (Throwable failure) {
                failures.add(failure);
            }
        });
        thread.start();
        return thread;
    }

    private boolean stopping() {
        return Files.exists(directory.resolve("stop")) || !failures.isEmpty();
    }

    private void publish() throws Exception {
        Path beside = directory.resolve("acknowledged.new");
        Files.writeString(beside, acknowledged + "\n");
        Files.move(beside, directory.resolve("acknowledged"), StandardCopyOption.ATOMIC_MOVE);
    }

    private void produce(int number) throws Exception {
        Kind kind = KINDS.get(number);
        try (History history = new History(directory.resolve("writer-" + number + ".history"))) {
            Load load = new Load(connections, history);
            Digest digest = new Digest();
            try (KafkaProducer<byte[], byte[]> producer = connections.producer(
                    "acks", kind.acks,
                    "enable.idempotence", kind.once,
                    "compression.type", kind.codec,
                    "buffer.memory", BUFFER_BYTES,
                    "batch.size", kind.batchBytes,
                    "linger.ms", kind.batchBytes / 8_192,
                    "max.block.ms", PATIENCE_MS,
                    "request.timeout.ms", 10_000,
                    "delivery.timeout.ms", PATIENCE_MS)) {
                Load.Writer writer = new Load.Writer(number, producer, kind.once ? History.ONCE | History.ORDERED : 0);
                for (long sequence = 0; !stopping(); sequence++) {
                    load.send(writer, topic, (int) (sequence % PARTITIONS), sequence, digest, acknowledged);
                }
            }
        }
    }

    /** Reads from the start and on, so that the checker can say whether anything that was seen went away. */
    private void consume() throws Exception {
        try (History history = new History(directory.resolve("live.history"));
                KafkaConsumer<byte[], byte[]> consumer = connections.consumer()) {
            Load load = new Load(connections, history);
            Digest digest = new Digest();
            List<TopicPartition> partitions = new ArrayList<>();
            for (int partition = 0; partition < PARTITIONS; partition++) {
                partitions.add(new TopicPartition(topic, partition));
            }
            consumer.assign(partitions);
            partitions.forEach(partition -> consumer.seek(partition, 0));
            history.passBegins(0, false);
            long deadline = Long.MAX_VALUE;
            while (!written || !atEnd(consumer, partitions)) {
                if (written && deadline == Long.MAX_VALUE) {
                    deadline = System.nanoTime() + Connections.PATIENCE.toNanos();
                }
                Suite.that(System.nanoTime() < deadline, "the live consumer does not reach the end of the topic");
                try {
                    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                        load.note(0, record, digest);
                    }
                } catch (OffsetOutOfRangeException gone) {
                    // What it has seen is not there any more. It has noted enough for the checker to say what.
                    System.err.println("the live consumer fell off the log: " + gone.getMessage());
                    return;
                }
            }
        }
    }

    private static boolean atEnd(KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> partitions) {
        var ends = consumer.endOffsets(partitions);
        return partitions.stream().allMatch(partition -> consumer.position(partition) >= ends.get(partition));
    }
}
