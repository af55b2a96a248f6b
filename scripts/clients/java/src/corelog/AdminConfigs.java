package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.fails;
import static corelog.Suite.that;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Configurations of topics and brokers: where they come from, changing them while the broker runs, and what is refused. */
final class AdminConfigs {
    private static final ConfigResource ALL_BROKERS = new ConfigResource(ConfigResource.Type.BROKER, "");

    private final Connections connections;
    private final Admin admin;
    private final Suite suite;

    AdminConfigs(Connections connections, Admin admin, Suite suite) {
        this.connections = connections;
        this.admin = admin;
        this.suite = suite;
    }

    void run() {
        described();
        changed();
        layers();
        refused();
    }

    private void described() {
        suite.check("a topic's configurations say where they come from", () -> {
            String name = connections.topic("configured", 1, "retention.ms", "12345", "cleanup.policy", "compact");
            Config config = configs(topic(name));
            equal("12345", config.get("retention.ms").value(), "retention.ms");
            equal(ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("retention.ms").source(), "its source");
            equal(ConfigEntry.ConfigType.LONG, config.get("retention.ms").type(), "its type");
            equal("compact", config.get("cleanup.policy").value(), "cleanup.policy");
            equal("1048588", config.get("max.message.bytes").value(), "max.message.bytes");
            equal(ConfigSource.DEFAULT_CONFIG, config.get("max.message.bytes").source(), "its source");
            that(config.get("max.message.bytes").isDefault(), "it is a default");
            that(!config.get("retention.ms").synonyms().isEmpty(), "synonyms");
            that(!config.get("retention.ms").documentation().isBlank(), "documentation");
        });
        suite.check("a topic has Kafka's 33 keys", () ->
            equal(33, configs(topic(connections.topic("keys", 1))).entries().size(), "keys"));
        suite.check("a broker's configurations are described", () -> {
            String node = node();
            Config config = configs(new ConfigResource(ConfigResource.Type.BROKER, node));
            equal(node, config.get("node.id").value(), "node.id");
            that(config.get("node.id").isReadOnly(), "node.id is read only");
            that(!config.get("message.max.bytes").isReadOnly(), "message.max.bytes is not");
            equal("1", config.get("num.partitions").value(), "num.partitions");
            that(config.get("log.dirs").value() != null, "log.dirs");
        });
        suite.check("what has configurations is listed by kind", () -> {
            String name = connections.topic("listed", 1);
            var topics = admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all().get();
            that(topics.contains(topic(name)), "the topic");
            var brokers = admin.listConfigResources(Set.of(ConfigResource.Type.BROKER), new ListConfigResourcesOptions()).all().get();
            equal(List.of(new ConfigResource(ConfigResource.Type.BROKER, node())), List.copyOf(brokers), "the broker");
        });
    }

    private void changed() {
        suite.check("a topic's limit acts as soon as it is answered", () -> {
            ConfigResource topic = topic(connections.topic("limited", 2));
            try (var producer = connections.producer()) {
                producer.send(new ProducerRecord<>(topic.name(), 0, null, new byte[5_000])).get();
                alter(topic, OpType.SET, "max.message.bytes", "1000");
                Connections.eventually(() -> fails(RecordTooLargeException.class, () ->
                    producer.send(new ProducerRecord<>(topic.name(), 1, null, new byte[5_000])).get()));
                alter(topic, OpType.DELETE, "max.message.bytes", "");
                Connections.eventually(() -> producer.send(new ProducerRecord<>(topic.name(), 1, null, new byte[5_000])).get());
            }
        });
        suite.check("a list is appended to and subtracted from", () -> {
            ConfigResource topic = topic(connections.topic("list", 1));
            alter(topic, OpType.APPEND, "cleanup.policy", "compact");
            shows(topic, "cleanup.policy", "delete,compact");
            alter(topic, OpType.SUBTRACT, "cleanup.policy", "delete");
            shows(topic, "cleanup.policy", "compact");
        });
        suite.check("validating only changes nothing, and refuses all the same", () -> {
            ConfigResource topic = topic(connections.topic("validated", 1));
            AlterConfigsOptions only = new AlterConfigsOptions().validateOnly(true);
            admin.incrementalAlterConfigs(Map.of(topic, List.of(operation(OpType.SET, "retention.ms", "77"))), only).all().get();
            fails(InvalidConfigurationException.class, () ->
                admin.incrementalAlterConfigs(Map.of(topic, List.of(operation(OpType.SET, "retention.ms", "x"))), only).all().get());
            shows(topic, "retention.ms", "604800000");
        });
    }

    private void layers() {
        suite.check("a topic falls back to this broker, then to all brokers, then to the default", () -> {
            ConfigResource topic = topic(connections.topic("layers", 1));
            ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, node());
            String key = "log.message.timestamp.after.max.ms";
            try {
                alter(ALL_BROKERS, OpType.SET, key, "5000000");
                shows(topic, "message.timestamp.after.max.ms", "5000000");
                alter(broker, OpType.SET, key, "6000000");
                shows(topic, "message.timestamp.after.max.ms", "6000000");
                ConfigEntry entry = configs(topic).get("message.timestamp.after.max.ms");
                List<ConfigSource> sources = entry.synonyms().stream().map(ConfigEntry.ConfigSynonym::source).toList();
                equal(List.of(ConfigSource.DYNAMIC_BROKER_CONFIG, ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG,
                    ConfigSource.DEFAULT_CONFIG), sources, "sources");
                equal("5000000", configs(ALL_BROKERS).get(key).value(), "of all brokers");
            } finally {
                alter(broker, OpType.DELETE, key, "");
                alter(ALL_BROKERS, OpType.DELETE, key, "");
            }
            shows(topic, "message.timestamp.after.max.ms", "3600000");
        });
    }

    private void refused() {
        ConfigResource topic;
        try {
            topic = topic(connections.topic("refused", 1));
        } catch (Exception e) {
            suite.check("a topic to be refused", () -> {
                throw e;
            });
            return;
        }
        refuses(topic, OpType.SET, "retention.ms", "soon", InvalidConfigurationException.class,
            "Invalid value soon for configuration retention.ms: Not a number of type LONG");
        refuses(topic, OpType.SET, "retention.ms", "-2", InvalidConfigurationException.class,
            "Invalid value -2 for configuration retention.ms: Value must be at least -1");
        refuses(topic, OpType.SET, "cleanup.policy", "burn", InvalidConfigurationException.class,
            "Invalid value burn for configuration cleanup.policy: String must be one of: compact, delete");
        refuses(topic, OpType.SET, "compression.gzip.level", "0", InvalidConfigurationException.class,
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1");
        refuses(topic, OpType.SET, "no.such.key", "1", InvalidConfigurationException.class,
            "Unknown topic config name: no.such.key");
        refuses(topic, OpType.APPEND, "retention.ms", "1", InvalidConfigurationException.class,
            "Can't APPEND to key retention.ms because its type is not LIST.");
        refuses(topic, OpType.SET, "remote.storage.enable", "true", InvalidConfigurationException.class,
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.");
        refuses(topic("absent-topic"), OpType.SET, "retention.ms", "1", UnknownTopicOrPartitionException.class,
            "The topic 'absent-topic' does not exist.");
        refuses(topic(""), OpType.SET, "retention.ms", "1", InvalidRequestException.class,
            "Default topic resources are not allowed.");
        refuses(ALL_BROKERS, OpType.SET, "num.partitions", "3", InvalidRequestException.class,
            "Cannot update these configs dynamically: [num.partitions]");
        refuses(ALL_BROKERS, OpType.SET, "message.max.bytes", "x", InvalidRequestException.class,
            "Invalid value x for configuration message.max.bytes: Not a number of type INT");
        refuses(ALL_BROKERS, OpType.APPEND, "message.max.bytes", "3", InvalidConfigurationException.class,
            "Config value append is not allowed for config key: message.max.bytes");
        suite.check("settings that contradict each other are refused", () -> {
            var both = List.of(operation(OpType.SET, "min.compaction.lag.ms", "100"), operation(OpType.SET, "max.compaction.lag.ms", "10"));
            var thrown = fails(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(topic, both)).all().get());
            equal("conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (10)", thrown.getMessage(), "text");
        });
        suite.check("of several changes of a resource none happens when one is refused", () -> {
            var both = List.of(operation(OpType.SET, "retention.ms", "5"), operation(OpType.SET, "segment.ms", "x"));
            fails(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(topic, both)).all().get());
            equal("604800000", configs(topic).get("retention.ms").value(), "retention.ms");
        });
        suite.check("configurations of an unknown topic are refused", () ->
            fails(UnknownTopicOrPartitionException.class, () -> configs(topic(Connections.fresh("absent")))));
    }

    private <E extends ApiException> void refuses(
            ConfigResource resource, OpType type, String key, String value, Class<E> error, String text) {
        String of = resource.type().name().toLowerCase() + " '" + (resource.name().isEmpty() ? "" : resource.name().replaceAll("-\\d.*", "")) + "'";
        suite.check(type + " " + key + "=" + value + " of " + of + " is refused", () ->
            equal(text, fails(error, () -> alter(resource, type, key, value)).getMessage(), "text"));
    }

    private String node() throws ExecutionException, InterruptedException {
        return Integer.toString(admin.describeCluster().nodes().get().iterator().next().id());
    }

    private void shows(ConfigResource resource, String key, String value) throws Exception {
        Connections.eventually(() -> equal(value, configs(resource).get(key).value(), key));
    }

    private void alter(ConfigResource resource, OpType type, String key, String value) throws ExecutionException, InterruptedException {
        admin.incrementalAlterConfigs(Map.of(resource, List.of(operation(type, key, value)))).all().get();
    }

    private static AlterConfigOp operation(OpType type, String key, String value) {
        return new AlterConfigOp(new ConfigEntry(key, value), type);
    }

    private static ConfigResource topic(String name) {
        return new ConfigResource(ConfigResource.Type.TOPIC, name);
    }

    private Config configs(ConfigResource resource) throws ExecutionException, InterruptedException {
        DescribeConfigsOptions options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return admin.describeConfigs(List.of(resource), options).all().get().get(resource);
    }
}
