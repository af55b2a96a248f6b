package corelog;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * Writes and reads with a history: the two halves that the million records, kill -9 and the power cut are made of.
 * Deliberately absent: any judgement; that is the checker's.
 */
final class Load {
    private final Connections connections;
    private final History history;
    private final Workload workload = new Workload();

    Load(Connections connections, History history) {
        this.connections = connections;
        this.history = history;
    }

    /** One producer's part. */
    record Writer(int number, KafkaProducer<byte[], byte[]> producer, int promises) {}

    /** Sends one record and notes what becomes of it. */
    void send(Writer writer, String topic, int partition, long sequence, Digest digest, AtomicLong acknowledged) {
        long timestamp = System.currentTimeMillis() - sequence % 1000;
        ProducerRecord<byte[], byte[]> record = workload.record(topic, partition, writer.number, sequence, timestamp);
        long hash = digest.of(timestamp, record.key(), record.value(), record.headers());
        history.invoked(writer.number, sequence, topic, partition, hash, writer.promises);
        try {
            writer.producer.send(record, (metadata, failure) -> {
                if (failure == null) {
                    long offset = metadata.hasOffset() ? metadata.offset() : -1;
                    history.acknowledged(writer.number, sequence, metadata.topic(), metadata.partition(), offset);
                    acknowledged.incrementAndGet();
                } else {
                    history.failed(writer.number, sequence);
                }
            });
        } catch (RuntimeException refused) {
            // Not even queued: the callback was not told.
            history.failed(writer.number, sequence);
            throw refused;
        }
    }

    /** Reads all partitions of the topics from start to end, as they are when it begins; returns how many came. */
    long readAll(int pass, List<String> topics) {
        history.passBegins(pass, true);
        try (KafkaConsumer<byte[], byte[]> consumer =
                connections.consumer("max.poll.records", 10_000, "max.partition.fetch.bytes", 1 << 20)) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (String topic : topics) {
                consumer.partitionsFor(topic).forEach(p -> partitions.add(new TopicPartition(topic, p.partition())));
            }
            Map<TopicPartition, Long> starts = consumer.beginningOffsets(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            consumer.assign(partitions);
            long due = 0;
            for (TopicPartition partition : partitions) {
                long from = starts.get(partition);
                long to = ends.get(partition);
                history.scope(pass, partition.topic(), partition.partition(), from, to);
                consumer.seek(partition, from);
                due += to - from;
            }
            return read(consumer, pass, ends, due);
        }
    }

    private long read(KafkaConsumer<byte[], byte[]> consumer, int pass, Map<TopicPartition, Long> ends, long due) {
        Digest digest = new Digest();
        long count = 0;
        long progress = System.nanoTime();
        while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                if (record.offset() < ends.get(new TopicPartition(record.topic(), record.partition()))) {
                    note(pass, record, digest);
                    count++;
                }
                progress = System.nanoTime();
            }
            if (System.nanoTime() - progress > Connections.PATIENCE.toNanos()) {
                throw new AssertionError("nothing came for " + Connections.PATIENCE + " at " + count + " of " + due);
            }
        }
        return count;
    }

    void note(int pass, ConsumerRecord<byte[], byte[]> record, Digest digest) {
        long hash = digest.of(record.timestamp(), record.key(), record.value(), record.headers());
        history.consumed(pass, record.topic(), record.partition(), record.offset(), hash);
    }
}
