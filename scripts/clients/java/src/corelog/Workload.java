package corelog;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.SplittableRandom;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.internals.RecordHeaders;

/**
 * Makes records of every shape that Kafka knows: 10 bytes to 4 KiB, with and without key, value and headers, null and
 * empty. A record follows from writer and number alone and is unlike every other one.
 */
final class Workload {
    private static final int VALUE_BYTES_MIN = 10;
    private static final int VALUE_BYTES_MAX = 4096;

    /** Text that compresses about as well as logs do. */
    private final byte[] pool = new byte[64 * 1024];

    Workload() {
        SplittableRandom random = new SplittableRandom(7);
        byte[] words = "offset partition leader epoch record batch journal segment ".getBytes(StandardCharsets.US_ASCII);
        for (int at = 0; at < pool.length; at++) {
            pool[at] = random.nextInt(4) == 0 ? (byte) random.nextInt(256) : words[at % words.length];
        }
    }

    ProducerRecord<byte[], byte[]> record(String topic, int partition, int writer, long sequence, long timestamp) {
        SplittableRandom random = new SplittableRandom(((long) writer << 40) + sequence);
        byte[] id = ByteBuffer.allocate(10).putShort((short) writer).putLong(sequence).array();
        int shape = random.nextInt(32);
        // Most records are small, as most records are.
        int length = shape < 24 ? random.nextInt(VALUE_BYTES_MIN, 160) : random.nextInt(160, VALUE_BYTES_MAX + 1);
        byte[] key = null;
        byte[] value = null;
        RecordHeaders headers = new RecordHeaders();
        if (shape == 0) {
            // A tombstone.
            key = id;
        } else if (shape == 1) {
            // Neither key nor value: only a header tells it apart.
            headers.add("id", id);
        } else {
            value = slice(random, length);
            System.arraycopy(id, 0, value, 0, id.length);
            key = random.nextInt(3) == 0 ? null : slice(random, random.nextInt(0, 24));
        }
        if (shape % 4 == 3) {
            for (int i = random.nextInt(1, 5); i > 0; i--) {
                // Names repeat on purpose: headers are a list, not a map.
                byte[] content = random.nextInt(8) == 0 ? null : slice(random, random.nextInt(0, 40));
                headers.add("h" + random.nextInt(3) + "é", content);
            }
        }
        return new ProducerRecord<>(topic, partition, timestamp, key, value, headers);
    }

    private byte[] slice(SplittableRandom random, int length) {
        byte[] bytes = new byte[length];
        System.arraycopy(pool, random.nextInt(pool.length - length), bytes, 0, length);
        return bytes;
    }
}
