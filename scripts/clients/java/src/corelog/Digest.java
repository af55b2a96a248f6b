package corelog;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import net.jpountz.xxhash.XXHash64;
import net.jpountz.xxhash.XXHashFactory;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;

/**
 * A record as 64 bits: XXH64 over timestamp, key, value and headers, each with its length, null apart from empty. The
 * same for a record that is sent and one that is read. Not thread safe.
 */
final class Digest {
    private static final XXHash64 HASH = XXHashFactory.fastestInstance().hash64();

    private ByteBuffer bytes = ByteBuffer.allocate(16 * 1024).order(ByteOrder.LITTLE_ENDIAN);

    long of(long timestamp, byte[] key, byte[] value, Headers headers) {
        bytes.clear();
        room(8).putLong(timestamp);
        add(key);
        add(value);
        for (Header header : headers) {
            add(header.key().getBytes(java.nio.charset.StandardCharsets.UTF_8));
            add(header.value());
        }
        return HASH.hash(bytes.array(), 0, bytes.position(), 0);
    }

    private void add(byte[] part) {
        if (part == null) {
            room(4).putInt(-1);
        } else {
            room(4 + part.length).putInt(part.length).put(part);
        }
    }

    private ByteBuffer room(int more) {
        if (bytes.remaining() < more) {
            int position = bytes.position();
            byte[] larger = Arrays.copyOf(bytes.array(), Math.max(bytes.capacity() * 2, position + more));
            bytes = ByteBuffer.wrap(larger).order(ByteOrder.LITTLE_ENDIAN).position(position);
        }
        return bytes;
    }
}
