package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.fails;
import static corelog.Suite.that;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** The Java consumer without a group: assign and seek, offsets by position and time, limits, waiting and waking up. */
final class ConsumeSuite {
    /** A long poll that is woken by a record must answer within this, however long it was willing to wait. */
    private static final long WAKE_UP_MS_MAX = 250;
    private static final int RECORDS = 1000;
    private static final long FIRST_TIMESTAMP = 1_700_000_000_000L;

    private final Connections connections;
    private final Suite suite = new Suite("consume");
    private TopicPartition filled;

    private ConsumeSuite(Connections connections) {
        this.connections = connections;
    }

    static boolean run(Connections connections) throws Exception {
        ConsumeSuite self = new ConsumeSuite(connections);
        self.fill();
        self.seeking();
        self.offsets();
        self.limits();
        self.waiting();
        self.incarnations();
        return self.suite.finish();
    }

    /** One partition of a thousand records in batches of about ten; the timestamps are ten milliseconds apart. */
    private void fill() throws Exception {
        filled = new TopicPartition(connections.topic("filled", 1), 0);
        try (KafkaProducer<byte[], byte[]> producer = connections.producer("linger.ms", 1000)) {
            for (int i = 0; i < RECORDS; i++) {
                long timestamp = FIRST_TIMESTAMP + i * 10L;
                producer.send(new ProducerRecord<>(filled.topic(), 0, timestamp, null, Integer.toString(i).getBytes()));
                if (i % 10 == 9) {
                    producer.flush();
                }
            }
        }
    }

    private static String text(ConsumerRecord<byte[], byte[]> record) {
        return new String(record.value());
    }

    private void seeking() {
        suite.check("seeking to any offset, inside a batch too, starts exactly there", () -> {
            try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer()) {
                consumer.assign(List.of(filled));
                for (int offset : new int[] {0, 1, 9, 10, 555, 3, 998, 999}) {
                    consumer.seek(filled, offset);
                    ConsumerRecord<byte[], byte[]> record = Connections.poll(consumer, 1).get(0);
                    equal((long) offset, record.offset(), "offset");
                    equal(Integer.toString(offset), text(record), "value");
                }
            }
        });
        suite.check("offsets come without holes", () -> {
            var came = connections.read(filled, 0, RECORDS);
            for (int i = 0; i < RECORDS; i++) {
                equal((long) i, came.get(i).offset(), "offset");
            }
        });
        suite.check("an offset out of range is an error, or resets where asked to", () -> {
            try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer()) {
                consumer.assign(List.of(filled));
                consumer.seek(filled, RECORDS + 5);
                fails(OffsetOutOfRangeException.class, () -> Connections.poll(consumer, 1));
            }
            try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer("auto.offset.reset", "earliest")) {
                consumer.assign(List.of(filled));
                consumer.seek(filled, RECORDS + 5);
                equal(0L, Connections.poll(consumer, 1).get(0).offset(), "offset after the reset");
            }
        });
        suite.check("the end of a partition is no error and gives nothing", () -> {
            try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer("fetch.max.wait.ms", 100)) {
                consumer.assign(List.of(filled));
                consumer.seekToEnd(List.of(filled));
                equal((long) RECORDS, consumer.position(filled), "position");
                that(consumer.poll(Duration.ofMillis(300)).isEmpty(), "nothing at the end");
            }
        });
    }

    private void offsets() {
        suite.check("beginning and end offsets", () -> {
            try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer()) {
                equal(Map.of(filled, 0L), consumer.beginningOffsets(List.of(filled)), "beginning");
                equal(Map.of(filled, (long) RECORDS), consumer.endOffsets(List.of(filled)), "end");
            }
        });
        suite.check("offsets for times: the first record at or after, also inside a batch, null after the last", () -> {
            try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer()) {
                for (int i : new int[] {0, 1, 5, 9, 10, 437, 999}) {
                    long timestamp = FIRST_TIMESTAMP + i * 10L;
                    for (long asked : i == 0 ? new long[] {0, timestamp} : new long[] {timestamp - 9, timestamp}) {
                        OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(filled, asked)).get(filled);
                        equal((long) i, found.offset(), "offset for " + asked);
                        equal(timestamp, found.timestamp(), "timestamp for " + asked);
                    }
                }
                equal(null, consumer.offsetsForTimes(Map.of(filled, FIRST_TIMESTAMP + 9991)).get(filled), "after the last");
            }
        });
        suite.check("the admin's offset specs", () -> {
            try (Admin admin = connections.admin()) {
                equal(0L, offset(admin, OffsetSpec.earliest()).offset(), "earliest");
                equal((long) RECORDS, offset(admin, OffsetSpec.latest()).offset(), "latest");
                ListOffsetsResultInfo max = offset(admin, OffsetSpec.maxTimestamp());
                equal((long) RECORDS - 1, max.offset(), "offset of the largest timestamp");
                equal(FIRST_TIMESTAMP + (RECORDS - 1) * 10L, max.timestamp(), "largest timestamp");
                equal(0L, offset(admin, OffsetSpec.earliestLocal()).offset(), "earliest local");
                equal(7L, offset(admin, OffsetSpec.forTimestamp(FIRST_TIMESTAMP + 61)).offset(), "by time");
            }
        });
        suite.check("an empty partition has no time and no largest timestamp", () -> {
            TopicPartition empty = new TopicPartition(connections.topic("empty", 1), 0);
            try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer(); Admin admin = connections.admin()) {
                equal(null, consumer.offsetsForTimes(Map.of(empty, 0L)).get(empty), "by time");
                equal(0L, consumer.endOffsets(List.of(empty)).get(empty), "end");
                var max = admin.listOffsets(Map.of(empty, OffsetSpec.maxTimestamp())).partitionResult(empty).get();
                equal(-1L, max.offset(), "offset of the largest timestamp");
            }
        });
    }

    private ListOffsetsResultInfo offset(Admin admin, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(filled, spec)).partitionResult(filled).get();
    }

    private void limits() {
        suite.check("a record larger than every limit of the consumer still comes", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("over-limit", 1), 0);
            byte[] value = new byte[700_000];
            Arrays.fill(value, (byte) 9);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                producer.send(new ProducerRecord<>(partition.topic(), 0, null, value)).get();
                producer.send(new ProducerRecord<>(partition.topic(), 0, null, new byte[10])).get();
            }
            var came = connections.read(partition, 0, 2, "fetch.max.bytes", 1000, "max.partition.fetch.bytes", 1000);
            equal(value, came.get(0).value(), "the large value");
        });
        suite.check("small limits still read everything, over many partitions", () -> {
            String topic = connections.topic("wide", 20);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                List<Future<RecordMetadata>> answers = new ArrayList<>();
                for (int i = 0; i < 4000; i++) {
                    answers.add(producer.send(new ProducerRecord<>(topic, i % 20, null, new byte[200])));
                }
                for (Future<RecordMetadata> answer : answers) {
                    answer.get();
                }
            }
            List<TopicPartition> partitions = new ArrayList<>();
            for (int p = 0; p < 20; p++) {
                partitions.add(new TopicPartition(topic, p));
            }
            try (KafkaConsumer<byte[], byte[]> consumer =
                    connections.consumer("fetch.max.bytes", 30_000, "max.partition.fetch.bytes", 5000)) {
                consumer.assign(partitions);
                consumer.seekToBeginning(partitions);
                equal(4000, Connections.poll(consumer, 4000).size(), "records");
                partitions.forEach(p -> equal(200L, consumer.position(p), "position of " + p));
            }
        });
    }

    private void waiting() {
        suite.check("a waiting fetch is woken by a record, not by its time-out", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("wake-up", 1), 0);
            List<Long> waited = new ArrayList<>();
            try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer("fetch.max.wait.ms", 5000);
                    KafkaProducer<byte[], byte[]> producer = connections.producer("linger.ms", 0)) {
                producer.send(new ProducerRecord<>(partition.topic(), 0, null, new byte[1])).get();
                consumer.assign(List.of(partition));
                consumer.seek(partition, 0);
                Connections.poll(consumer, 1);
                for (int i = 0; i < 20; i++) {
                    // Gives the fetch time to arrive; when it does not, the test is easier, never wrong.
                    that(consumer.poll(Duration.ofMillis(100)).isEmpty(), "nothing yet");
                    long start = System.nanoTime();
                    producer.send(new ProducerRecord<>(partition.topic(), 0, null, new byte[1]));
                    Connections.poll(consumer, 1);
                    waited.add(Suite.millisSince(start));
                }
            }
            waited.sort(null);
            System.out.println("        wake-up in ms, sorted: " + waited);
            that(waited.get(waited.size() / 2) <= WAKE_UP_MS_MAX, "median wake-up of " + waited.get(10) + " ms");
        });
        suite.check("fetch.min.bytes waits for enough, and its time-out ends the waiting", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("min-bytes", 1), 0);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                producer.send(new ProducerRecord<>(partition.topic(), 0, null, new byte[10])).get();
            }
            try (KafkaConsumer<byte[], byte[]> consumer =
                    connections.consumer("fetch.min.bytes", 100_000, "fetch.max.wait.ms", 700)) {
                consumer.assign(List.of(partition));
                consumer.seek(partition, 0);
                consumer.endOffsets(List.of(partition));
                long start = System.nanoTime();
                Connections.poll(consumer, 1);
                that(Suite.millisSince(start) >= 600, "came after " + Suite.millisSince(start) + " ms");
            }
        });
    }

    private void incarnations() {
        suite.check("a consumer's metadata request creates a topic only when it may", () -> {
            try (Admin admin = connections.admin()) {
                String refused = Connections.fresh("not-by-reading");
                try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer()) {
                    that(consumer.partitionsFor(refused, Duration.ofSeconds(5)).isEmpty(), "no partitions");
                }
                that(!admin.listTopics().names().get().contains(refused), "not created");
                String created = Connections.fresh("by-reading");
                try (KafkaConsumer<byte[], byte[]> consumer = connections.consumer("allow.auto.create.topics", true)) {
                    long deadline = System.nanoTime() + Connections.PATIENCE.toNanos();
                    while (consumer.partitionsFor(created).isEmpty()) {
                        that(System.nanoTime() < deadline, "the topic is never created");
                    }
                }
                that(admin.listTopics().names().get().contains(created), "created");
            }
        });
        suite.check("a consumer follows a topic that is deleted and created again", () -> {
            String topic = connections.topic("reborn", 1);
            TopicPartition partition = new TopicPartition(topic, 0);
            try (Admin admin = connections.admin();
                    KafkaConsumer<byte[], byte[]> consumer =
                        connections.consumer("auto.offset.reset", "earliest", "metadata.max.age.ms", 1000)) {
                write(topic, "old", 10);
                consumer.assign(List.of(partition));
                consumer.seek(partition, 0);
                Connections.poll(consumer, 10).forEach(r -> equal("old", text(r), "value"));
                admin.deleteTopics(List.of(topic)).all().get();
                admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
                write(topic, "new", 3);
                Connections.poll(consumer, 3).forEach(r -> equal("new", text(r), "value"));
            }
        });
    }

    private void write(String topic, String value, int count) {
        try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, 0, null, value.getBytes()));
            }
        }
    }
}
