package corelog;

import java.io.BufferedOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/**
 * Writes what a client did and saw, in the format of bench/checker/src/history.rs, for the checker to judge. Safe to
 * use from a producer's callbacks.
 */
final class History implements Closeable {
    /** The broker must store the record at most once. */
    static final int ONCE = 1;
    /** The broker must keep the writer's order within a partition. */
    static final int ORDERED = 2;

    private final OutputStream output;
    private final ByteBuffer event = ByteBuffer.allocate(40).order(ByteOrder.LITTLE_ENDIAN);
    private final Map<String, Integer> topics = new HashMap<>();

    History(Path file) throws IOException {
        output = new BufferedOutputStream(Files.newOutputStream(file), 1 << 20);
        output.write("CLHIST01".getBytes(StandardCharsets.US_ASCII));
    }

    void invoked(int writer, long sequence, String topic, int partition, long digest, int promises) {
        write(1, promises, topic, partition, writer, sequence, 0, digest);
    }

    /** The offset is -1 when the broker promised nothing (acks=0). */
    void acknowledged(int writer, long sequence, String topic, int partition, long offset) {
        write(2, 0, topic, partition, writer, sequence, offset, 0);
    }

    void failed(int writer, long sequence) {
        write(3, 0, null, 0, writer, sequence, 0, 0);
    }

    void passBegins(int pass, boolean complete) {
        write(4, complete ? 1 : 0, null, 0, pass, 0, 0, 0);
    }

    void scope(int pass, String topic, int partition, long from, long to) {
        write(5, 0, topic, partition, pass, from, to, 0);
    }

    void consumed(int pass, String topic, int partition, long offset, long digest) {
        write(6, 0, topic, partition, pass, 0, offset, digest);
    }

    private synchronized void write(
            int kind, int flags, String topic, int partition, int actor, long number, long offset, long digest) {
        int index = 0;
        if (topic != null) {
            Integer known = topics.get(topic);
            if (known == null) {
                known = topics.size();
                topics.put(topic, known);
                byte[] name = topic.getBytes(StandardCharsets.UTF_8);
                put(0, 0, 0, 0, 0, name.length, 0, 0);
                raw(name);
            }
            index = known;
        }
        put(kind, flags, index, partition, actor, number, offset, digest);
    }

    private void put(int kind, int flags, int topic, int partition, int actor, long number, long offset, long digest) {
        event.clear();
        event.put((byte) kind).put((byte) flags).putShort((short) topic).putInt(partition).putInt(actor).putInt(0);
        event.putLong(number).putLong(offset).putLong(digest);
        raw(event.array());
    }

    private void raw(byte[] bytes) {
        try {
            output.write(bytes);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public synchronized void close() throws IOException {
        output.close();
    }
}
