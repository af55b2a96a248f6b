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
 * use from a producer's callbacks. An end is noted behind what ended and a beginning before it: the clock of an event is read here.
 */
final class History implements Closeable {
    /** The broker must store the record at most once. */
    static final int ONCE = 1;
    /** The broker must keep the writer's order within a partition. */
    static final int ORDERED = 2;
    /** The record's key is told; it deletes it. */
    private static final int KEYED = 4;
    private static final int TOMBSTONE = 8;
    /** What a pass is. */
    private static final int COMPLETE = 1;
    private static final int OF_GROUP = 2;

    private final OutputStream output;
    private final ByteBuffer event = ByteBuffer.allocate(48).order(ByteOrder.LITTLE_ENDIAN);
    private final Map<String, Integer> topics = new HashMap<>();

    History(Path file) throws IOException {
        output = new BufferedOutputStream(Files.newOutputStream(file), 1 << 20);
        output.write("CLHIST02".getBytes(StandardCharsets.US_ASCII));
    }

    void invoked(int writer, long sequence, String topic, int partition, long digest, int promises) {
        write(1, promises, topic, partition, writer, sequence, 0, digest);
    }

    /** The same of a record of a compacted topic, with the digest of its key. */
    void invoked(
            int writer, long sequence, String topic, int partition, long digest, int promises, long key, boolean tombstone) {
        int flags = promises | KEYED | (tombstone ? TOMBSTONE : 0);
        write(1, flags, topic, partition, writer, sequence, key, digest);
    }

    /** The offset is -1 when the broker promised nothing (acks=0). */
    void acknowledged(int writer, long sequence, String topic, int partition, long offset) {
        write(2, 0, topic, partition, writer, sequence, offset, 0);
    }

    void failed(int writer, long sequence) {
        write(3, 0, null, 0, writer, sequence, 0, 0);
    }

    void passBegins(int pass, boolean complete) {
        write(4, complete ? COMPLETE : 0, null, 0, pass, 0, 0, 0);
    }

    /** A member of a group starts to read what it was assigned. */
    void passOfGroupBegins(int pass, int group) {
        write(4, OF_GROUP, null, 0, pass, group, 0, 0);
    }

    void scope(int pass, String topic, int partition, long from, long to) {
        write(5, 0, topic, partition, pass, from, to, 0);
    }

    void consumed(int pass, String topic, int partition, long offset, long digest) {
        write(6, 0, topic, partition, pass, 0, offset, digest);
    }

    void commitInvoked(int group, long commit, String topic, int partition, long offset) {
        write(7, 0, topic, partition, group, commit, offset, 0);
    }

    void commitAcknowledged(int group, long commit) {
        write(8, 0, null, 0, group, commit, 0, 0);
    }

    void commitFailed(int group, long commit) {
        write(9, 0, null, 0, group, commit, 0, 0);
    }

    /** What the broker said is committed, -1 for nothing, and when it was asked: a reading of {@link #now}. */
    void committedSeen(int group, String topic, int partition, long offset, long asked) {
        write(10, 0, topic, partition, group, asked, offset, 0);
    }

    /** The broker's process is gone, and no other one was started yet. */
    void killed() {
        write(11, 0, null, 0, 0, 0, 0, 0);
    }

    void ready() {
        write(12, 0, null, 0, 0, 0, 0, 0);
    }

    void compacted(String topic, long deleteRetentionMs) {
        write(13, 0, topic, 0, 0, deleteRetentionMs, 0, 0);
    }

    /** The machine's monotonic clock, which on Linux is the same in every process. */
    static long now() {
        return System.nanoTime();
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
        event.putLong(number).putLong(offset).putLong(digest).putLong(now());
        raw(event.array());
    }

    private void raw(byte[] bytes) {
        try {
            output.write(bytes);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Writes out what is buffered, so that it outlives this process. */
    synchronized void flush() throws IOException {
        output.flush();
    }

    @Override
    public synchronized void close() throws IOException {
        output.close();
    }
}
