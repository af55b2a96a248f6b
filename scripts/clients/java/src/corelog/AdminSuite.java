package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.fails;
import static corelog.Suite.that;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Topics through the admin client: what is created, described and deleted, and what is refused. Runs the other admin suites too. */
final class AdminSuite {
    private final Connections connections;
    private final Suite suite = new Suite("admin");
    private final Admin admin;

    private AdminSuite(Connections connections, Admin admin) {
        this.connections = connections;
        this.admin = admin;
    }

    static boolean run(Connections connections) {
        try (Admin admin = connections.admin()) {
            AdminSuite self = new AdminSuite(connections, admin);
            self.cluster();
            self.topics();
            self.refusals();
            self.deletion();
            new AdminConfigs(connections, admin, self.suite).run();
            new AdminPartitions(connections, admin, self.suite).run();
            new AdminNode(connections, admin, self.suite).run();
            new AdminConsoles(connections, admin, self.suite).run();
            return self.suite.finish();
        }
    }

    private void cluster() {
        suite.check("the cluster has an id, a controller and one node that is the one dialled", () -> {
            var cluster = admin.describeCluster();
            equal(22, cluster.clusterId().get().length(), "length of the cluster id");
            var nodes = cluster.nodes().get();
            equal(1, nodes.size(), "nodes");
            var node = nodes.iterator().next();
            equal(connections.bootstrap, node.host() + ":" + node.port(), "advertised address");
            equal(node.id(), cluster.controller().get().id(), "controller");
        });
    }

    private void topics() {
        suite.check("a created topic is listed and described, by name and by id", () -> {
            String name = Connections.fresh("created");
            CreateTopicsResult result = admin.createTopics(List.of(new NewTopic(name, 3, (short) 1)));
            Uuid id = result.topicId(name).get();
            equal(3, result.numPartitions(name).get(), "partitions in the answer");
            equal(1, result.replicationFactor(name).get(), "replication factor in the answer");
            that(result.config(name).get().get("cleanup.policy") != null, "the answer carries configurations");
            Connections.eventually(() -> that(admin.listTopics().names().get().contains(name), "listed"));
            TopicDescription described = describe(name);
            equal(id, described.topicId(), "topic id");
            equal(3, described.partitions().size(), "partitions");
            described.partitions().forEach(p -> {
                equal(List.of(p.leader()), p.replicas(), "replicas of " + p.partition());
                equal(List.of(p.leader()), p.isr(), "isr of " + p.partition());
            });
            var byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get();
            equal(name, byId.get(id).name(), "name by id");
        });
        suite.check("partitions and replication factor may be left to the broker", () -> {
            String name = Connections.fresh("defaults");
            admin.createTopics(List.of(new NewTopic(name, java.util.Optional.empty(), java.util.Optional.empty()))).all().get();
            Connections.eventually(() -> equal(1, describe(name).partitions().size(), "num.partitions"));
        });
        suite.check("replicas may be assigned by hand", () -> {
            String name = Connections.fresh("assigned");
            int node = admin.describeCluster().controller().get().id();
            Map<Integer, List<Integer>> replicas = Map.of(0, List.of(node), 1, List.of(node));
            admin.createTopics(List.of(new NewTopic(name, replicas))).all().get();
            Connections.eventually(() -> equal(2, describe(name).partitions().size(), "partitions"));
        });
        suite.check("validate only creates nothing", () -> {
            String name = Connections.fresh("validated");
            admin.createTopics(List.of(new NewTopic(name, 1, (short) 1)), new CreateTopicsOptions().validateOnly(true))
                .all().get();
            that(!admin.listTopics().names().get().contains(name), "not created");
        });
        suite.check("one request may partly succeed", () -> {
            String good = Connections.fresh("good");
            CreateTopicsResult result = admin.createTopics(List.of(
                new NewTopic(good, 1, (short) 1), new NewTopic("bad/name", 1, (short) 1)));
            result.values().get(good).get();
            fails(InvalidTopicException.class, () -> result.values().get("bad/name").get());
        });
        suite.check("two hundred topics are there as soon as the answer is", () -> {
            List<NewTopic> many = java.util.stream.IntStream.range(0, 200)
                .mapToObj(i -> new NewTopic(Connections.fresh("many"), 1, (short) 1)).toList();
            admin.createTopics(many).all().get();
            Connections.eventually(() -> {
                Set<String> names = admin.listTopics().names().get();
                many.forEach(topic -> that(names.contains(topic.name()), topic.name() + " is listed"));
            });
            admin.deleteTopics(many.stream().map(NewTopic::name).toList()).all().get();
        });
    }

    private void refusals() {
        suite.check("a topic that exists is refused", () -> {
            String name = connections.topic("twice", 1);
            fails(TopicExistsException.class, () -> create(new NewTopic(name, 1, (short) 1)));
        });
        for (String name : List.of("..", ".", "a/b", "a b", "é", "x".repeat(250))) {
            suite.check("the name " + (name.length() > 20 ? "of 250 characters" : "'" + name + "'") + " is refused", () ->
                fails(InvalidTopicException.class, () -> create(new NewTopic(name, 1, (short) 1))));
        }
        suite.check("a name that differs from another only in '.' and '_' is refused", () -> {
            String name = connections.topic("dot.name", 1);
            fails(InvalidTopicException.class, () -> create(new NewTopic(name.replace('.', '_'), 1, (short) 1)));
        });
        suite.check("more replicas than brokers are refused", () ->
            fails(InvalidReplicationFactorException.class, () -> create(new NewTopic(Connections.fresh("r"), 1, (short) 3))));
        suite.check("no partitions are refused", () ->
            fails(InvalidPartitionsException.class, () -> create(new NewTopic(Connections.fresh("p"), 0, (short) 1))));
        suite.check("an unknown configuration is refused", () ->
            fails(InvalidConfigurationException.class, () -> create(
                new NewTopic(Connections.fresh("c"), 1, (short) 1).configs(Map.of("no.such.key", "1")))));
        suite.check("a bad configuration value is refused", () ->
            fails(InvalidConfigurationException.class, () -> create(
                new NewTopic(Connections.fresh("c"), 1, (short) 1).configs(Map.of("retention.ms", "soon")))));
        suite.check("an unknown topic is not described", () ->
            fails(UnknownTopicOrPartitionException.class, () -> describe(Connections.fresh("absent"))));
        suite.check("an unknown topic id is not described", () ->
            fails(UnknownTopicIdException.class, () ->
                admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds().get()));
    }

    private void deletion() {
        suite.check("a deleted topic is gone, and comes back empty with another id", () -> {
            String name = connections.topic("deleted", 2);
            Uuid first = describe(name).topicId();
            TopicPartition partition = new TopicPartition(name, 0);
            try (var producer = connections.producer()) {
                producer.send(new org.apache.kafka.clients.producer.ProducerRecord<>(name, 0, null, new byte[9])).get();
            }
            admin.deleteTopics(List.of(name)).all().get();
            Connections.eventually(() -> that(!admin.listTopics().names().get().contains(name), "not listed any more"));
            fails(UnknownTopicOrPartitionException.class, () -> describe(name));
            admin.createTopics(List.of(new NewTopic(name, 2, (short) 1))).all().get();
            Connections.eventually(() -> that(!first.equals(describe(name).topicId()), "another id"));
            try (var consumer = connections.consumer()) {
                equal(0L, consumer.endOffsets(List.of(partition)).get(partition), "end offset of the new topic");
            }
        });
        suite.check("a topic is deleted by its id", () -> {
            String name = connections.topic("by-id", 1);
            Uuid id = describe(name).topicId();
            admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
            Connections.eventually(() -> that(!admin.listTopics().names().get().contains(name), "not listed any more"));
        });
        suite.check("an unknown topic is not deleted", () ->
            fails(UnknownTopicOrPartitionException.class, () ->
                admin.deleteTopics(List.of(Connections.fresh("absent"))).all().get()));
        suite.check("an unknown topic id is not deleted", () ->
            fails(UnknownTopicIdException.class, () ->
                admin.deleteTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).all().get()));
    }

    private void create(NewTopic topic) throws ExecutionException, InterruptedException {
        admin.createTopics(List.of(topic)).all().get();
    }

    private TopicDescription describe(String name) throws ExecutionException, InterruptedException {
        return admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
    }
}
