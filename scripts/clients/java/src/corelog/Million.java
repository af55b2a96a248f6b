package corelog;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.producer.KafkaProducer;

/**
 * A million records through every codec, idempotent and plain, and back again: both halves leave a history.
 * Arguments: count, directory for the histories. The checker judges them afterwards.
 */
final class Million {
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final int PARTITIONS = 4;

    private Million() {}

    static boolean run(Connections connections, long count, Path directory) throws Exception {
        Suite suite = new Suite("million");
        String topic = connections.topic("million", PARTITIONS);
        int writers = CODECS.size() * 2;
        long each = count / writers;
        try (History history = new History(directory.resolve("written.history"))) {
            Load load = new Load(connections, history);
            for (int writer = 0; writer < writers; writer++) {
                int number = writer;
                String codec = CODECS.get(writer / 2);
                boolean once = writer % 2 == 0;
                suite.check(each + " records, " + codec + (once ? ", idempotent" : ", plain"), () ->
                    Suite.equal(each, write(connections, load, topic, number, codec, once, each), "acknowledged"));
            }
        }
        suite.check("everything read back", () -> {
            try (History history = new History(directory.resolve("read.history"))) {
                long came = new Load(connections, history).readAll(1, List.of(topic));
                Suite.equal(each * writers, came, "records read");
            }
        });
        return suite.finish();
    }

    private static long write(
            Connections connections, Load load, String topic, int number, String codec, boolean once, long count) {
        AtomicLong acknowledged = new AtomicLong();
        Digest digest = new Digest();
        try (KafkaProducer<byte[], byte[]> producer = connections.producer(
                "compression.type", codec,
                "enable.idempotence", once,
                "acks", once ? "all" : "1",
                "linger.ms", 5,
                "batch.size", 64 * 1024)) {
            Load.Writer writer =
                new Load.Writer(number, producer, once ? History.ONCE | History.ORDERED : 0);
            for (long sequence = 0; sequence < count; sequence++) {
                load.send(writer, topic, (int) (sequence % PARTITIONS), sequence, digest, acknowledged);
            }
        }
        return acknowledged.get();
    }
}
