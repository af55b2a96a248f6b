package corelog;

import java.io.FileOutputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;

/**
 * One member of a group in a process of its own, to be killed: writes what it consumes to a file, then commits it.
 * Started by GroupChurn; ends when a file called like it with ".stop" appears.
 */
final class GroupMember {
    private GroupMember() {}

    static boolean run(Connections connections, Path directory, String topic, String group, String name) throws Exception {
        Path stop = directory.resolve(name + ".stop");
        try (OutputStream out = new FileOutputStream(directory.resolve(name + ".consumed").toFile());
                KafkaConsumer<byte[], byte[]> consumer = connections.consumer(
                    "group.id", group, "group.protocol", "classic", "client.id", name,
                    "auto.offset.reset", "earliest", "session.timeout.ms", 6_000, "heartbeat.interval.ms", 1_000,
                    "default.api.timeout.ms", 60_000)) {
            consumer.subscribe(List.of(topic));
            while (!Files.exists(stop)) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
                if (records.isEmpty()) {
                    continue;
                }
                StringBuilder lines = new StringBuilder();
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    lines.append(record.partition()).append(' ').append(record.offset()).append('\n');
                }
                // In one write: a killed process leaves whole lines or none.
                out.write(lines.toString().getBytes(StandardCharsets.UTF_8));
                out.flush();
                try {
                    consumer.commitSync();
                } catch (CommitFailedException left) {
                    // Somebody else has the partitions now and consumes this again.
                } catch (KafkaException rebalancing) {
                    System.err.println(name + ": " + rebalancing);
                }
            }
        }
        return true;
    }
}
