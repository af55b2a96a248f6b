package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.fails;
import static corelog.Suite.that;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.NoReassignmentInProgressException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Partitions: adding them, who writes to them, electing their leaders and reassigning them, as one node can. */
final class AdminPartitions {
    private final Connections connections;
    private final Admin admin;
    private final Suite suite;

    AdminPartitions(Connections connections, Admin admin, Suite suite) {
        this.connections = connections;
        this.admin = admin;
        this.suite = suite;
    }

    void run() {
        growth();
        described();
        leaders();
    }

    private void growth() {
        suite.check("a topic grows, and its new partitions can be written", () -> {
            String name = connections.topic("grown", 1);
            grow(name, NewPartitions.increaseTo(3));
            connections.settle(name, 3);
            try (var producer = connections.producer()) {
                for (int partition = 0; partition < 3; partition++) {
                    equal(0L, producer.send(new ProducerRecord<>(name, partition, null, new byte[9])).get().offset(), "offset");
                }
            }
        });
        suite.check("new partitions may be assigned by hand", () -> {
            String name = connections.topic("grown-by-hand", 1);
            grow(name, NewPartitions.increaseTo(2, List.of(List.of(node()))));
            connections.settle(name, 2);
        });
        suite.check("validating only adds nothing", () -> {
            String name = connections.topic("grown-not", 1);
            admin.createPartitions(Map.of(name, NewPartitions.increaseTo(2)), new CreatePartitionsOptions().validateOnly(true)).all().get();
            equal(1, admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size(), "partitions");
        });
        suite.check("what is no increase is refused with a reason", () -> {
            String name = connections.topic("shrunk", 2);
            equal("Topic already has 2 partition(s).",
                fails(InvalidPartitionsException.class, () -> grow(name, NewPartitions.increaseTo(2))).getMessage(), "text");
            equal("The topic " + name + " currently has 2 partition(s); 1 would not be an increase.",
                fails(InvalidPartitionsException.class, () -> grow(name, NewPartitions.increaseTo(1))).getMessage(), "text");
            equal("Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
                fails(InvalidReplicaAssignmentException.class, () ->
                    grow(name, NewPartitions.increaseTo(4, List.of(List.of(node()))))).getMessage(), "text");
            equal("The manual partition assignment includes broker 99, but no such broker is registered.",
                fails(InvalidReplicaAssignmentException.class, () ->
                    grow(name, NewPartitions.increaseTo(3, List.of(List.of(99))))).getMessage(), "text");
        });
        suite.check("one topic's refusal is not another's", () -> {
            String name = connections.topic("grown-beside", 1);
            String absent = Connections.fresh("absent");
            var results = admin.createPartitions(Map.of(name, NewPartitions.increaseTo(2), absent, NewPartitions.increaseTo(2))).values();
            results.get(name).get();
            fails(UnknownTopicOrPartitionException.class, () -> results.get(absent).get());
        });
    }

    private void described() {
        suite.check("the producers of a partition are told", () -> {
            TopicPartition partition = new TopicPartition(connections.topic("producers", 1), 0);
            that(producers(partition).isEmpty(), "none before the first record");
            try (var producer = connections.producer("enable.idempotence", "true")) {
                for (int i = 0; i < 3; i++) {
                    producer.send(new ProducerRecord<>(partition.topic(), 0, 1_000L + i, null, new byte[9])).get();
                }
                List<ProducerState> states = producers(partition);
                equal(1, states.size(), "producers");
                equal(2, states.get(0).lastSequence(), "last sequence");
                equal(1_002L, states.get(0).lastTimestamp(), "last timestamp");
                that(states.get(0).currentTransactionStartOffset().isEmpty(), "no transaction");
            }
        });
        suite.check("a topic of many partitions is described in pages", () -> {
            String name = connections.topic("paged", 30);
            var options = new org.apache.kafka.clients.admin.DescribeTopicsOptions().partitionSizeLimitPerResponse(7);
            var described = admin.describeTopics(List.of(name), options).allTopicNames().get().get(name);
            List<Integer> numbers = described.partitions().stream().map(one -> one.partition()).toList();
            equal(java.util.stream.IntStream.range(0, 30).boxed().toList(), numbers, "partitions");
        });
    }

    private void leaders() {
        suite.check("no partition needs another leader", () -> {
            TopicPartition there = new TopicPartition(connections.topic("led", 1), 0);
            TopicPartition absent = new TopicPartition(Connections.fresh("absent"), 0);
            for (ElectionType type : ElectionType.values()) {
                var results = admin.electLeaders(type, Set.of(there, absent)).partitions().get();
                that(results.get(there).get() instanceof ElectionNotNeededException, "not needed");
                that(results.get(absent).get() instanceof UnknownTopicOrPartitionException, "unknown");
            }
            admin.electLeaders(ElectionType.PREFERRED, null).all().get();
        });
        suite.check("a partition is reassigned to where it is, and nowhere else", () -> {
            TopicPartition there = new TopicPartition(connections.topic("reassigned", 1), 0);
            reassign(there, Optional.of(new NewPartitionReassignment(List.of(node()))));
            equal(Map.of(), admin.listPartitionReassignments().reassignments().get(), "reassignments");
            equal("The manual partition assignment includes broker 99, but no such broker is registered.",
                fails(InvalidReplicaAssignmentException.class, () ->
                    reassign(there, Optional.of(new NewPartitionReassignment(List.of(99))))).getMessage(), "text");
            fails(NoReassignmentInProgressException.class, () -> reassign(there, Optional.empty()));
            fails(UnknownTopicOrPartitionException.class, () ->
                reassign(new TopicPartition(Connections.fresh("absent"), 0), Optional.empty()));
        });
    }

    private List<ProducerState> producers(TopicPartition partition) throws ExecutionException, InterruptedException {
        return admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
    }

    private void reassign(TopicPartition partition, Optional<NewPartitionReassignment> target) throws ExecutionException, InterruptedException {
        admin.alterPartitionReassignments(Map.of(partition, target)).all().get();
    }

    private void grow(String name, NewPartitions partitions) throws ExecutionException, InterruptedException {
        admin.createPartitions(Map.of(name, partitions)).all().get();
    }

    private int node() throws ExecutionException, InterruptedException {
        return admin.describeCluster().nodes().get().iterator().next().id();
    }
}
