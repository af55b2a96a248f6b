package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.fails;
import static corelog.Suite.that;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;

/** The Java producer in every codec and with every kind of acknowledgement, and what a broker must refuse. */
final class ProduceSuite {
    /** Kafka's default of max.message.bytes. */
    private static final int MESSAGE_BYTES_MAX = 1_048_588;
    /** What a batch with one record of about a megabyte has beside its value: KIP-98's header and five varints. */
    private static final int BATCH_OVERHEAD_BYTES = 61 + 11;
    private static final int RECORDS = 300;

    private final Connections connections;
    private final Suite suite = new Suite("produce");
    private final Workload workload = new Workload();

    private ProduceSuite(Connections connections) {
        this.connections = connections;
    }

    static boolean run(Connections connections) {
        ProduceSuite self = new ProduceSuite(connections);
        self.roundTrips();
        self.shapes();
        self.sizes();
        self.order();
        self.timestamps();
        self.refusals();
        return self.suite.finish();
    }

    private void roundTrips() {
        for (String codec : Million.CODECS) {
            for (String acks : List.of("0", "1", "all")) {
                suite.check(codec + ", acks=" + acks + " comes back byte for byte", () -> roundTrip(codec, acks, false));
            }
            suite.check(codec + ", idempotent comes back byte for byte", () -> roundTrip(codec, "all", true));
        }
    }

    private void roundTrip(String codec, String acks, boolean once) throws Exception {
        TopicPartition partition = new TopicPartition(connections.topic("round-" + codec, 1), 0);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        List<Future<RecordMetadata>> answers = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = connections.producer(
                "compression.type", codec, "acks", acks, "enable.idempotence", once, "linger.ms", 2)) {
            long now = System.currentTimeMillis();
            for (int i = 0; i < RECORDS; i++) {
                ProducerRecord<byte[], byte[]> record = workload.record(partition.topic(), 0, 1, i, now - i);
                sent.add(record);
                answers.add(producer.send(record));
            }
        }
        for (int i = 0; i < RECORDS; i++) {
            RecordMetadata metadata = answers.get(i).get();
            equal(acks.equals("0") ? -1L : i, metadata.offset(), "offset of record " + i);
        }
        List<ConsumerRecord<byte[], byte[]>> came = connections.read(partition, 0, RECORDS);
        equal(RECORDS, came.size(), "records");
        for (int i = 0; i < RECORDS; i++) {
            same(sent.get(i), came.get(i), i);
        }
    }

    private static void same(ProducerRecord<byte[], byte[]> sent, ConsumerRecord<byte[], byte[]> came, long offset) {
        equal(offset, came.offset(), "offset");
        equal(sent.timestamp(), came.timestamp(), "timestamp at " + offset);
        equal(sent.key(), came.key(), "key at " + offset);
        equal(sent.value(), came.value(), "value at " + offset);
        equal(sent.headers(), came.headers(), "headers at " + offset);
        equal(TimestampType.CREATE_TIME, came.timestampType(), "timestamp type at " + offset);
    }

    private void shapes() {
        suite.check("null, empty and repeated parts stay what they are", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("shapes", 1), 0);
            long now = System.currentTimeMillis();
            List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
            for (byte[] key : new byte[][] {null, {}, {1}}) {
                for (byte[] value : new byte[][] {null, {}, {2}}) {
                    var record = new ProducerRecord<>(partition.topic(), 0, now, key, value);
                    record.headers().add(new RecordHeader("", new byte[0]));
                    record.headers().add(new RecordHeader("a", (byte[]) null)).add("a", new byte[] {3}).add("ü", new byte[300]);
                    sent.add(record);
                }
            }
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                sent.forEach(producer::send);
            }
            List<ConsumerRecord<byte[], byte[]>> came = connections.read(partition, 0, sent.size());
            for (int i = 0; i < sent.size(); i++) {
                same(sent.get(i), came.get(i), i);
            }
        });
    }

    private void sizes() {
        suite.check("a batch of exactly max.message.bytes is taken, one byte more is refused", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("sizes", 1), 0);
            byte[] value = new byte[MESSAGE_BYTES_MAX - BATCH_OVERHEAD_BYTES];
            Arrays.fill(value, (byte) 5);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer("max.request.size", 4 << 20)) {
                equal(0L, send(producer, partition, value).offset(), "offset");
                byte[] larger = Arrays.copyOf(value, value.length + 1);
                fails(RecordTooLargeException.class, () -> send(producer, partition, larger));
                equal(1L, send(producer, partition, new byte[3]).offset(), "offset after the refusal");
            }
            equal(value, connections.read(partition, 0, 2).get(0).value(), "the large value");
        });
        suite.check("a topic's own max.message.bytes holds, for compressed batches as they are compressed", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("small", 1, "max.message.bytes", "2000"), 0);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                fails(RecordTooLargeException.class, () -> send(producer, partition, new byte[3000]));
                send(producer, partition, new byte[1000]);
            }
            try (KafkaProducer<byte[], byte[]> producer = connections.producer("compression.type", "gzip")) {
                send(producer, partition, new byte[100_000]);
            }
            equal(100_000, connections.read(partition, 0, 2).get(1).value().length, "the compressed value");
        });
        suite.check("a record of 16 MiB goes through where the topic allows it", () -> {
            TopicPartition partition =
                new TopicPartition(connections.topic("large", 1, "max.message.bytes", Integer.toString(32 << 20)), 0);
            byte[] value = new byte[16 << 20];
            new java.util.Random(3).nextBytes(value);
            try (KafkaProducer<byte[], byte[]> producer =
                    connections.producer("max.request.size", 32 << 20, "buffer.memory", 64L << 20)) {
                send(producer, partition, value);
            }
            equal(value, connections.read(partition, 0, 1).get(0).value(), "the large value");
        });
    }

    private void order() {
        suite.check("an idempotent producer with five batches in flight keeps its order", () -> {
            String topic = connections.topic("order", 3);
            int count = 20_000;
            List<Future<RecordMetadata>> answers = new ArrayList<>();
            try (KafkaProducer<byte[], byte[]> producer = connections.producer("batch.size", 500, "linger.ms", 0)) {
                for (int i = 0; i < count; i++) {
                    answers.add(producer.send(new ProducerRecord<>(topic, i % 3, null, Integer.toString(i).getBytes())));
                }
            }
            for (int i = 0; i < count; i++) {
                equal((long) (i / 3), answers.get(i).get().offset(), "offset of record " + i);
            }
            List<ConsumerRecord<byte[], byte[]>> came = connections.read(new TopicPartition(topic, 1), 0, count / 3);
            for (int i = 0; i < came.size(); i++) {
                equal(Integer.toString(i * 3 + 1), new String(came.get(i).value()), "value at " + i);
            }
        });
        suite.check("eight producers at once lose nothing", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("crowd", 1), 0);
            List<Thread> threads = new ArrayList<>();
            for (int t = 0; t < 8; t++) {
                int number = t;
                threads.add(new Thread(() -> {
                    try (KafkaProducer<byte[], byte[]> producer = connections.producer("batch.size", 2000)) {
                        for (int i = 0; i < 1000; i++) {
                            producer.send(new ProducerRecord<>(partition.topic(), 0, null, (number + ":" + i).getBytes()));
                        }
                    }
                }));
            }
            threads.forEach(Thread::start);
            for (Thread thread : threads) {
                thread.join();
            }
            var came = connections.read(partition, 0, 8000).stream().map(r -> new String(r.value())).distinct().count();
            equal(8000L, came, "different records");
        });
    }

    private void timestamps() {
        suite.check("LogAppendTime is the broker's time, in the answer and in the record", () -> {
            TopicPartition partition =
                new TopicPartition(connections.topic("append-time", 1, "message.timestamp.type", "LogAppendTime"), 0);
            long before = System.currentTimeMillis();
            RecordMetadata metadata;
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                metadata = producer.send(new ProducerRecord<>(partition.topic(), 0, 17L, null, new byte[1])).get();
            }
            long after = System.currentTimeMillis();
            that(metadata.timestamp() >= before && metadata.timestamp() <= after, "answered " + metadata.timestamp());
            ConsumerRecord<byte[], byte[]> record = connections.read(partition, 0, 1).get(0);
            equal(metadata.timestamp(), record.timestamp(), "timestamp");
            equal(TimestampType.LOG_APPEND_TIME, record.timestampType(), "timestamp type");
        });
        suite.check("a timestamp of tomorrow is refused, one of 1970 is not", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("times", 1), 0);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                long tomorrow = System.currentTimeMillis() + 86_400_000;
                fails(InvalidTimestampException.class, () ->
                    producer.send(new ProducerRecord<>(partition.topic(), 0, tomorrow, null, new byte[1])).get());
                producer.send(new ProducerRecord<>(partition.topic(), 0, 0L, null, new byte[1])).get();
            }
            equal(0L, connections.read(partition, 0, 1).get(0).timestamp(), "timestamp");
        });
    }

    private void refusals() {
        suite.check("a topic that nobody created is created by writing to it", () -> {
            TopicPartition partition = new TopicPartition(Connections.fresh("by-writing"), 0);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                equal(0L, send(producer, partition, new byte[5]).offset(), "offset");
            }
            equal(5, connections.read(partition, 0, 1).get(0).value().length, "bytes");
        });
        suite.check("a name that no topic can have is refused", () -> {
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                fails(InvalidTopicException.class, () -> send(producer, new TopicPartition("a/b", 0), new byte[1]));
            }
        });
        suite.check("a compacted topic refuses a record without a key", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("compacted", 1, "cleanup.policy", "compact"), 0);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                fails(org.apache.kafka.common.InvalidRecordException.class, () -> send(producer, partition, new byte[1]));
                producer.send(new ProducerRecord<>(partition.topic(), 0, new byte[1], new byte[1])).get();
            }
        });
    }

    private static RecordMetadata send(KafkaProducer<byte[], byte[]> producer, TopicPartition partition, byte[] value)
            throws Exception {
        return producer.send(new ProducerRecord<>(partition.topic(), partition.partition(), null, value)).get();
    }
}
