package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.fails;
import static corelog.Suite.that;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.RecordBatch;

/** What topics do to the batches they are sent, with every codec: compression, append time, bounds, refusals. */
final class StoreSuite {
    private static final int RECORDS = 60;
    /** A topic's compression.type, with a level where it has one, and what its batches are called. */
    private static final List<List<String>> TARGETS = List.of(
        List.of("uncompressed", "", "none"),
        List.of("gzip", "compression.gzip.level", "gzip", "1"),
        List.of("snappy", "", "snappy"),
        List.of("lz4", "compression.lz4.level", "lz4", "12"),
        List.of("zstd", "compression.zstd.level", "zstd", "9"));

    private final Connections connections;
    private final Suite suite = new Suite("store");
    private final Workload workload = new Workload();

    private StoreSuite(Connections connections) {
        this.connections = connections;
    }

    static boolean run(Connections connections) throws Exception {
        StoreSuite self = new StoreSuite(connections);
        self.compression();
        self.times();
        self.refusals();
        return self.suite.finish();
    }

    private void compression() {
        for (List<String> target : TARGETS) {
            for (boolean appendTime : new boolean[] {false, true}) {
                String name = target.get(0) + (appendTime ? " with append time" : "");
                suite.check("a topic of " + name + " stores every codec so, and changes nothing else", () -> store(target, appendTime));
            }
        }
        suite.check("batches keep their order while they are compressed", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("order", 1, "compression.type", "gzip"), 0);
            int count = 6_000;
            List<Future<RecordMetadata>> answers = new ArrayList<>();
            try (KafkaProducer<byte[], byte[]> producer = connections.producer("batch.size", 2_000, "linger.ms", 0)) {
                for (int i = 0; i < count; i++) {
                    answers.add(producer.send(record(partition, null, Integer.toString(i).getBytes())));
                }
            }
            for (int i = 0; i < count; i++) {
                equal((long) i, answers.get(i).get().offset(), "offset of record " + i);
            }
            List<ConsumerRecord<byte[], byte[]>> came = connections.read(partition, 0, count);
            for (int i = 0; i < count; i++) {
                equal(Integer.toString(i), new String(came.get(i).value()), "value at " + i);
            }
        });
        suite.check("max.message.bytes holds for what comes and for what is stored", () -> {
            TopicPartition partition = new TopicPartition(
                connections.topic("growing", 1, "compression.type", "uncompressed", "max.message.bytes", "20000"), 0);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer("compression.type", "gzip")) {
                fails(RecordTooLargeException.class, () -> producer.send(record(partition, null, new byte[30_000])).get());
                producer.send(record(partition, null, new byte[10_000])).get();
            }
            TopicPartition shrinking = new TopicPartition(
                connections.topic("shrinking", 1, "compression.type", "gzip", "max.message.bytes", "20000"), 0);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                fails(RecordTooLargeException.class, () -> producer.send(record(shrinking, null, new byte[30_000])).get());
                producer.send(record(shrinking, null, new byte[10_000])).get();
            }
            equal(10_000, connections.read(partition, 0, 1).get(0).value().length, "bytes");
        });
        suite.check("a topic of zstd is given to old readers too, who may not know it", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("zstd-old", 1, "compression.type", "zstd"), 0);
            try (KafkaProducer<byte[], byte[]> producer = connections.producer()) {
                producer.send(record(partition, null, new byte[100])).get();
            }
            try (Wire wire = new Wire(connections.bootstrap)) {
                for (int version : new int[] {4, 9, 10, 12}) {
                    equal(Errors.NONE.code(), wire.fetch(partition, version).errorCode(), "in version " + version);
                }
            }
        });
        suite.check("codecs and levels that do not exist are refused", () -> {
            for (String[] wrong : new String[][] {
                    {"compression.type", "brotli"}, {"compression.gzip.level", "0"}, {"compression.gzip.level", "10"},
                    {"compression.lz4.level", "0"}, {"compression.lz4.level", "18"}, {"compression.zstd.level", "23"}}) {
                fails(InvalidConfigurationException.class, () -> connections.topic("wrong", 1, wrong));
            }
            connections.topic("default-level", 1, "compression.gzip.level", "-1");
        });
    }

    private void store(List<String> target, boolean appendTime) throws Exception {
        List<String> configs = new ArrayList<>(List.of("compression.type", target.get(0)));
        if (!target.get(1).isEmpty()) {
            configs.addAll(List.of(target.get(1), target.get(3)));
        }
        if (appendTime) {
            configs.addAll(List.of("message.timestamp.type", "LogAppendTime"));
        }
        TopicPartition partition = new TopicPartition(connections.topic("store-" + target.get(0), 1, configs.toArray(new String[0])), 0);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        List<Future<RecordMetadata>> answers = new ArrayList<>();
        long start = System.currentTimeMillis();
        for (String codec : Million.CODECS) {
            try (KafkaProducer<byte[], byte[]> producer = connections.producer("compression.type", codec, "linger.ms", 1_000)) {
                for (int i = 0; i < RECORDS; i++) {
                    // Neither ascending nor equal, and each time occurs once.
                    ProducerRecord<byte[], byte[]> record =
                        workload.record(partition.topic(), 0, 1, sent.size(), start - sent.size() * 10L - i % 3);
                    sent.add(record);
                    answers.add(producer.send(record));
                }
            }
        }
        try (Wire wire = new Wire(connections.bootstrap)) {
            List<RecordBatch> batches = wire.batches(partition);
            Set<String> codecs = batches.stream().map(batch -> batch.compressionType().name).collect(Collectors.toSet());
            equal(Set.of(target.get(2)), codecs, "codecs of " + batches.size() + " batches");
            that(batches.size() >= Million.CODECS.size(), batches.size() + " batches");
        }
        List<ConsumerRecord<byte[], byte[]>> came = connections.read(partition, 0, sent.size());
        for (int i = 0; i < sent.size(); i++) {
            ConsumerRecord<byte[], byte[]> record = came.get(i);
            RecordMetadata answer = answers.get(i).get();
            equal((long) i, record.offset(), "offset");
            equal((long) i, answer.offset(), "answered offset");
            equal(sent.get(i).key(), record.key(), "key at " + i);
            equal(sent.get(i).value(), record.value(), "value at " + i);
            equal(sent.get(i).headers(), record.headers(), "headers at " + i);
            equal(appendTime ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME, record.timestampType(), "timestamp type");
            if (appendTime) {
                that(record.timestamp() >= start, "append time " + record.timestamp());
                equal(record.timestamp(), answer.timestamp(), "answered time at " + i);
            } else {
                equal(sent.get(i).timestamp(), record.timestamp(), "timestamp at " + i);
            }
        }
        byTime(partition, came);
    }

    /** Every time is found where the first record is that has it or a later one. */
    private void byTime(TopicPartition partition, List<ConsumerRecord<byte[], byte[]>> records) throws Exception {
        try (Admin admin = connections.admin()) {
            for (int i = 0; i < records.size(); i += 23) {
                long time = records.get(i).timestamp();
                ConsumerRecord<byte[], byte[]> first =
                    records.stream().filter(record -> record.timestamp() >= time).findFirst().orElseThrow();
                ListOffsetsResultInfo found =
                    admin.listOffsets(Map.of(partition, OffsetSpec.forTimestamp(time))).all().get().get(partition);
                equal(first.offset(), found.offset(), "offset at " + time);
                equal(first.timestamp(), found.timestamp(), "timestamp at " + time);
            }
            long latest = records.stream().mapToLong(ConsumerRecord::timestamp).max().orElseThrow();
            ConsumerRecord<byte[], byte[]> first =
                records.stream().filter(record -> record.timestamp() == latest).findFirst().orElseThrow();
            ListOffsetsResultInfo found =
                admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).all().get().get(partition);
            equal(latest, found.timestamp(), "largest timestamp");
            equal(first.offset(), found.offset(), "its offset");
            equal(-1L, admin.listOffsets(Map.of(partition, OffsetSpec.forTimestamp(latest + 1))).all().get().get(partition)
                .offset(), "offset after the largest timestamp");
        }
    }

    private void times() {
        for (String codec : Million.CODECS) {
            suite.check("times are exact inside batches of " + codec, () -> {
                TopicPartition partition = new TopicPartition(connections.topic("exact-" + codec, 1), 0);
                long start = System.currentTimeMillis() - 100_000;
                try (KafkaProducer<byte[], byte[]> producer = connections.producer("compression.type", codec, "linger.ms", 1_000)) {
                    for (int i = 0; i < 200; i++) {
                        producer.send(workload.record(partition.topic(), 0, 1, i, start + i * 7L % 50 * 100));
                    }
                }
                byTime(partition, connections.read(partition, 0, 200));
            });
            suite.check("bounds of timestamps hold for " + codec, () -> {
                TopicPartition partition = new TopicPartition(connections.topic("bounds-" + codec, 1,
                    "message.timestamp.before.max.ms", "60000", "message.timestamp.after.max.ms", "30000"), 0);
                TopicPartition appended = new TopicPartition(connections.topic("bounds-append-" + codec, 1,
                    "message.timestamp.type", "LogAppendTime",
                    "message.timestamp.before.max.ms", "60000", "message.timestamp.after.max.ms", "30000"), 0);
                try (KafkaProducer<byte[], byte[]> producer = connections.producer("compression.type", codec)) {
                    long now = System.currentTimeMillis();
                    for (long wrong : new long[] {now - 120_000, now + 60_000, 0}) {
                        fails(InvalidTimestampException.class, () ->
                            producer.send(new ProducerRecord<>(partition.topic(), 0, wrong, null, new byte[9])).get());
                        producer.send(new ProducerRecord<>(appended.topic(), 0, wrong, null, new byte[9])).get();
                    }
                    for (long right : new long[] {now - 30_000, now, now + 15_000}) {
                        producer.send(new ProducerRecord<>(partition.topic(), 0, right, null, new byte[9])).get();
                    }
                }
                equal(3, connections.read(partition, 0, 3).size(), "records within the bounds");
            });
        }
    }

    private void refusals() {
        for (String codec : Million.CODECS) {
            suite.check("a compacted topic refuses records without a key in " + codec, () -> {
                TopicPartition partition = new TopicPartition(
                    connections.topic("compacted-" + codec, 1, "cleanup.policy", "compact", "compression.type", "zstd"), 0);
                try (KafkaProducer<byte[], byte[]> producer = connections.producer("compression.type", codec)) {
                    fails(InvalidRecordException.class, () -> producer.send(record(partition, null, new byte[9])).get());
                    producer.send(record(partition, new byte[1], new byte[9])).get();
                }
            });
        }
        suite.check("min.insync.replicas above the number of replicas counts as that number", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("isr", 1, "min.insync.replicas", "2"), 0);
            for (String acks : List.of("all", "1")) {
                try (KafkaProducer<byte[], byte[]> producer =
                        connections.producer("acks", acks, "enable.idempotence", false, "delivery.timeout.ms", 10_000,
                            "request.timeout.ms", 5_000, "linger.ms", 0)) {
                    producer.send(record(partition, null, new byte[9])).get();
                }
            }
        });
    }

    private static ProducerRecord<byte[], byte[]> record(TopicPartition partition, byte[] key, byte[] value) {
        return new ProducerRecord<>(partition.topic(), partition.partition(), key, value);
    }
}
