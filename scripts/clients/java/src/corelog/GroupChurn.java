package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.that;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;

/**
 * A group under load that grows, shrinks and loses members to SIGKILL, over a broker that is killed, too. In the end every
 * record was consumed, and no committed offset was ever seen to go back. CORELOG_PEER and CORELOG_PEER_DIR say how to kill
 * the broker; without a peer it lives on.
 */
final class GroupChurn {
    private static final int PARTITIONS = 8;
    private static final int PATIENCE_S = 60;

    private final Connections connections;
    private final String group = Connections.fresh("churned");
    private final Map<String, Process> members = new LinkedHashMap<>();
    private final ConcurrentLinkedQueue<String> faults = new ConcurrentLinkedQueue<>();
    private String topic;
    private Path directory;
    private volatile boolean producing = true;
    private volatile boolean watching = true;

    GroupChurn(Connections connections) {
        this.connections = connections;
    }

    void run() throws Exception {
        topic = connections.topic("churned", PARTITIONS);
        directory = Files.createDirectories(Path.of(System.getenv("CORELOG_PEER_DIR")).resolve("members"));
        Thread producer = thread(this::produce);
        Thread watcher = thread(this::watch);
        try {
            start("a");
            start("b");
            settled(2);
            start("c");
            settled(3);
            kill("b");
            killBroker();
            settled(2);
            start("d");
            stop("a");
            settled(2);
            kill("c");
            start("e");
            killBroker();
            settled(2);
            producing = false;
            producer.join();
            Map<Integer, Long> ends = caughtUp();
            watching = false;
            watcher.join();
            for (String name : List.copyOf(members.keySet())) {
                stop(name);
            }
            faults.addAll(missing(ends, consumed()));
            equal(List.of(), List.copyOf(faults), "faults");
        } finally {
            producing = false;
            watching = false;
            members.values().forEach(Process::destroyForcibly);
        }
    }

    private Thread thread(Suite.Body body) {
        Thread thread = new Thread(() -> {
            try {
                body.run();
            } catch (Throwable failure) {
                faults.add(failure.toString());
            }
        });
        thread.start();
        return thread;
    }

    private void produce() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = connections.producer(
                "max.block.ms", 300_000, "delivery.timeout.ms", 300_000, "request.timeout.ms", 10_000)) {
            for (int i = 0; producing; i++) {
                producer.send(new ProducerRecord<>(topic, i % PARTITIONS, null, Integer.toString(i).getBytes()));
                if (i % 20 == 19) {
                    Thread.sleep(10);
                }
            }
        }
    }

    /** Looks at the committed offsets all the time, also while the broker is away. */
    private void watch() throws Exception {
        Map<Integer, Long> last = new TreeMap<>();
        try (Admin admin = connections.admin()) {
            while (watching) {
                try {
                    Map<Integer, Long> now = committed(admin);
                    faults.addAll(stepsBack(last, now));
                    last.putAll(now);
                } catch (java.util.concurrent.ExecutionException away) {
                    // It is asked again.
                }
                Thread.sleep(50);
            }
        }
        that(!last.isEmpty(), "nothing was seen to be committed");
    }

    private Map<Integer, Long> committed(Admin admin) throws Exception {
        Map<Integer, Long> offsets = new HashMap<>();
        Map<TopicPartition, OffsetAndMetadata> found =
            admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        found.forEach((partition, offset) -> offsets.put(partition.partition(), offset.offset()));
        return offsets;
    }

    /** What is wrong with committed offsets that were seen one after the other. */
    static List<String> stepsBack(Map<Integer, Long> last, Map<Integer, Long> now) {
        List<String> wrong = new ArrayList<>();
        last.forEach((partition, offset) -> {
            Long later = now.get(partition);
            if (later == null) {
                wrong.add("partition " + partition + ": the committed offset " + offset + " is gone");
            } else if (later < offset) {
                wrong.add("partition " + partition + ": the committed offset went back from " + offset + " to " + later);
            }
        });
        return wrong;
    }

    /** Offsets below the ends that nobody consumed. */
    static List<String> missing(Map<Integer, Long> ends, Map<Integer, Set<Long>> consumed) {
        List<String> wrong = new ArrayList<>();
        new TreeMap<>(ends).forEach((partition, end) -> {
            for (long offset = 0; offset < end; offset++) {
                if (!consumed.getOrDefault(partition, Set.of()).contains(offset)) {
                    wrong.add("partition " + partition + ": offset " + offset + " was never consumed");
                }
            }
        });
        return wrong;
    }

    private Map<Integer, Set<Long>> consumed() throws Exception {
        Map<Integer, Set<Long>> consumed = new HashMap<>();
        try (var files = Files.newDirectoryStream(directory, "*.consumed")) {
            for (Path file : files) {
                for (String line : Files.readAllLines(file)) {
                    String[] parts = line.split(" ");
                    consumed.computeIfAbsent(Integer.parseInt(parts[0]), any -> new HashSet<>()).add(Long.parseLong(parts[1]));
                }
            }
        }
        return consumed;
    }

    private void start(String name) throws Exception {
        List<String> command = List.of(
            ProcessHandle.current().info().command().orElse("java"), "-Xmx128M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dlog4j2.configurationFile=" + System.getProperty("log4j2.configurationFile"),
            "-cp", System.getProperty("java.class.path"), "corelog.Main",
            "group-member", directory.toString(), topic, group, name);
        File log = directory.resolve(name + ".log").toFile();
        members.put(name, new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log).start());
    }

    private void kill(String name) throws Exception {
        Process process = members.remove(name);
        process.destroyForcibly();
        that(process.waitFor(PATIENCE_S, TimeUnit.SECONDS), name + " cannot be killed");
    }

    private void stop(String name) throws Exception {
        Files.writeString(directory.resolve(name + ".stop"), "");
        Process process = members.remove(name);
        that(process.waitFor(PATIENCE_S, TimeUnit.SECONDS), name + " does not stop");
        equal(0, process.exitValue(), "exit of " + name + ", whose log is " + directory.resolve(name + ".log"));
    }

    private void killBroker() throws Exception {
        String peer = System.getenv("CORELOG_PEER");
        if (peer == null) {
            return;
        }
        for (String what : List.of("kill", "start")) {
            Process process = new ProcessBuilder(peer, what, "--dir", System.getenv("CORELOG_PEER_DIR")).inheritIO().start();
            equal(0, process.waitFor(), peer + " " + what);
        }
    }

    /** Waits until the group is stable with so many members, all of them with partitions. */
    private void settled(int count) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
        String last = "";
        try (Admin admin = connections.admin()) {
            while (System.nanoTime() < deadline) {
                for (Map.Entry<String, Process> member : members.entrySet()) {
                    that(member.getValue().isAlive(), member.getKey() + " ended; its log is in " + directory);
                }
                try {
                    ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                    last = found.groupState() + " with " + found.members().size() + " members";
                    boolean all = found.members().stream().noneMatch(member -> member.assignment().topicPartitions().isEmpty());
                    if (found.groupState() == GroupState.STABLE && found.members().size() == count && all) {
                        return;
                    }
                } catch (java.util.concurrent.ExecutionException notYet) {
                    last = notYet.getMessage();
                }
                Thread.sleep(50);
            }
        }
        throw new AssertionError("the group has not come to " + count + " members: " + last);
    }

    /** Waits until everything is committed; returns the ends of the partitions. */
    private Map<Integer, Long> caughtUp() throws Exception {
        Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            latest.put(new TopicPartition(topic, partition), OffsetSpec.latest());
        }
        try (Admin admin = connections.admin()) {
            Map<Integer, Long> ends = new HashMap<>();
            admin.listOffsets(latest).all().get().forEach((partition, end) -> ends.put(partition.partition(), end.offset()));
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
            while (!committed(admin).equals(ends)) {
                that(System.nanoTime() < deadline, "the group does not catch up: " + committed(admin) + " of " + ends);
                Thread.sleep(50);
            }
            return ends;
        }
    }
}
