package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.that;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeConsumerGroupsOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.config.ConfigResource;

/**
 * What web consoles ask (Kafbat UI, AKHQ, Kafdrop: all of them this client): at their start, for their pages of brokers, topics, groups and
 * messages. One topic and one group are looked at in every way; what a page shows must be there.
 */
final class AdminConsoles {
    private static final long START_MS = 1_700_000_000_000L;

    private final Connections connections;
    private final Admin admin;
    private final Suite suite;
    private String topic;
    private String group;

    AdminConsoles(Connections connections, Admin admin, Suite suite) {
        this.connections = connections;
        this.admin = admin;
        this.suite = suite;
    }

    void run() {
        suite.check("consoles: a topic and a group to be shown", this::make);
        suite.check("consoles: the page of brokers", this::brokers);
        suite.check("consoles: the page of topics", this::topics);
        suite.check("consoles: the page of groups", this::groups);
        suite.check("consoles: the page of messages", this::messages);
        suite.check("consoles: a group's configurations are shown, changed and listed", this::groupConfigs);
    }

    /** 10 records in each of two partitions, a second apart; a group has consumed 4 of the first and 7 of the second. */
    private void make() throws Exception {
        topic = connections.topic("console", 2, "retention.ms", "-1");
        group = Connections.fresh("console-group");
        try (var producer = connections.producer()) {
            for (int i = 0; i < 20; i++) {
                producer.send(new ProducerRecord<>(topic, i % 2, START_MS + i / 2 * 1_000L, new byte[] {(byte) i}, new byte[100])).get();
            }
        }
        try (var consumer = connections.consumer("group.id", group)) {
            consumer.assign(List.of(partition(0), partition(1)));
            consumer.commitSync(Map.of(
                partition(0), new OffsetAndMetadata(4, "here"), partition(1), new OffsetAndMetadata(7)));
        }
    }

    private TopicPartition partition(int number) {
        return new TopicPartition(topic, number);
    }

    private void brokers() throws Exception {
        var cluster = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
        that(!cluster.clusterId().get().isEmpty(), "cluster id");
        equal(1, cluster.nodes().get().size(), "nodes");
        int node = cluster.nodes().get().iterator().next().id();
        equal(node, cluster.controller().get().id(), "controller");
        equal(Set.of(AclOperation.CREATE, AclOperation.CLUSTER_ACTION, AclOperation.DESCRIBE_CONFIGS, AclOperation.IDEMPOTENT_WRITE,
            AclOperation.ALTER, AclOperation.DESCRIBE, AclOperation.ALTER_CONFIGS), cluster.authorizedOperations().get(), "operations");

        var broker = new ConfigResource(ConfigResource.Type.BROKER, Integer.toString(node));
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        var config = admin.describeConfigs(List.of(broker), options).all().get().get(broker);
        that(config.entries().size() > 150, "a broker's keys: " + config.entries().size());
        for (ConfigEntry entry : config.entries()) {
            that(entry.type() != ConfigEntry.ConfigType.UNKNOWN, entry.name() + " has a type");
            that(entry.documentation() != null, entry.name() + " has a documentation");
        }
        // Kafbat and AKHQ take the version of the cluster from here, or from its features.
        for (String name : List.of("log.retention.hours", "num.partitions", "message.max.bytes", "auto.create.topics.enable",
                "delete.topic.enable", "log.dirs", "advertised.listeners", "node.id")) {
            that(config.get(name) != null, name);
        }
        equal(ConfigEntry.ConfigSource.DEFAULT_CONFIG, config.get("num.network.threads").source(), "source");
        equal("3", config.get("num.network.threads").synonyms().get(0).value(), "synonym");
        var features = admin.describeFeatures().featureMetadata().get();
        that(features.finalizedFeatures().get("metadata.version").maxVersionLevel() >= 20, "metadata.version");
        equal((short) 1, features.finalizedFeatures().get("group.version").maxVersionLevel(), "group.version");

        long bytes = 0;
        for (var dir : admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node).values()) {
            for (int number = 0; number < 2; number++) {
                var info = dir.replicaInfos().get(partition(number));
                bytes += info == null ? 0 : info.size();
            }
        }
        that(bytes > 2_000 && bytes < 6_000, "the topic's size: " + bytes);
        equal(1, admin.describeMetadataQuorum().quorumInfo().get().voters().size(), "voters");
    }

    private void topics() throws Exception {
        var internal = admin.listTopics(new ListTopicsOptions().listInternal(true)).namesToListings().get();
        that(internal.get("__consumer_offsets").isInternal() && !internal.get(topic).isInternal(), "internal topics are marked");
        that(!admin.listTopics().names().get().contains("__consumer_offsets"), "and left out otherwise");
        var all = admin.describeTopics(internal.keySet(), new DescribeTopicsOptions().includeAuthorizedOperations(true))
            .allTopicNames().get();
        equal(internal.keySet(), all.keySet(), "described topics");
        var described = all.get(topic);
        equal(internal.get(topic).topicId(), described.topicId(), "topic id");
        equal(8, described.authorizedOperations().size(), "operations");
        for (var one : described.partitions()) {
            equal(List.of(one.leader()), one.replicas(), "replicas");
            equal(one.replicas(), one.isr(), "in-sync replicas");
            equal(List.of(), one.elr(), "eligible replicas");
        }

        var resources = new ArrayList<ConfigResource>();
        internal.keySet().forEach(name -> resources.add(new ConfigResource(ConfigResource.Type.TOPIC, name)));
        var configs = admin.describeConfigs(resources, new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true))
            .all().get();
        equal(internal.size(), configs.size(), "configurations");
        var retention = configs.get(new ConfigResource(ConfigResource.Type.TOPIC, topic)).get("retention.ms");
        equal("-1", retention.value(), "retention.ms");
        equal(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, retention.source(), "source");
        equal("retention.ms", retention.synonyms().get(0).name(), "its own name comes first");
        var policy = configs.get(new ConfigResource(ConfigResource.Type.TOPIC, "__consumer_offsets")).get("cleanup.policy");
        equal("compact", policy.value(), "cleanup.policy of __consumer_offsets");

        equal(List.of(0L, 0L), offsets(OffsetSpec.earliest()), "first offsets");
        equal(List.of(10L, 10L), offsets(OffsetSpec.latest()), "end offsets");
        equal(List.of(9L, 9L), offsets(OffsetSpec.maxTimestamp()), "offsets of the latest times");
        equal(List.of(3L, 3L), offsets(OffsetSpec.forTimestamp(START_MS + 2_001)), "offsets by time");
    }

    private List<Long> offsets(OffsetSpec spec) throws Exception {
        var found = admin.listOffsets(Map.of(partition(0), spec, partition(1), spec)).all().get();
        return List.of(found.get(partition(0)).offset(), found.get(partition(1)).offset());
    }

    private void groups() throws Exception {
        var named = new HashMap<String, GroupState>();
        admin.listGroups(ListGroupsOptions.forConsumerGroups()).all().get()
            .forEach(listing -> named.put(listing.groupId(), listing.groupState().orElseThrow()));
        equal(GroupState.EMPTY, named.get(group), "state of a group that only committed");
        var classic = new ListGroupsOptions().withTypes(Set.of(GroupType.CLASSIC)).inGroupStates(Set.of(GroupState.EMPTY));
        that(admin.listGroups(classic).all().get().stream().anyMatch(one -> one.groupId().equals(group)), "listed by type and state");
        var described = admin.describeConsumerGroups(List.of(group),
            new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).all().get().get(group);
        equal(true, described.isSimpleConsumerGroup(), "no members ever");
        equal(0, described.members().size(), "members");
        equal(Set.of(AclOperation.READ, AclOperation.DELETE, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS,
            AclOperation.ALTER_CONFIGS), described.authorizedOperations(), "operations");
        // All that it has, as for its page; then what is asked for, as for a topic's.
        var committed = admin.listConsumerGroupOffsets(Map.of(group, new ListConsumerGroupOffsetsSpec())).all().get().get(group);
        equal(4L, committed.get(partition(0)).offset(), "committed");
        equal("here", committed.get(partition(0)).metadata(), "metadata");
        equal(7L, committed.get(partition(1)).offset(), "committed");
        var absent = new TopicPartition(topic, 9);
        var asked = new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(partition(1), absent));
        var some = admin.listConsumerGroupOffsets(Map.of(group, asked)).all().get().get(group);
        equal(7L, some.get(partition(1)).offset(), "committed");
        that(some.containsKey(absent) && some.get(absent) == null, "nothing was committed there");
    }

    /** Pages backwards and forwards: assign, ends, seek, poll. */
    private void messages() throws Exception {
        try (var consumer = connections.consumer("max.poll.records", 5)) {
            that(consumer.listTopics().get(topic).size() == 2, "a consumer lists topics, too");
            var both = List.of(partition(0), partition(1));
            consumer.assign(both);
            equal(Map.of(partition(0), 0L, partition(1), 0L), consumer.beginningOffsets(both), "beginnings");
            equal(Map.of(partition(0), 10L, partition(1), 10L), consumer.endOffsets(both), "ends");
            consumer.seek(partition(1), 0);
            consumer.pause(List.of(partition(1)));
            consumer.seek(partition(0), 7);
            equal(List.of(7L, 8L, 9L), Connections.poll(consumer, 3).stream().map(one -> one.offset()).toList(), "the last page");
            var found = consumer.offsetsForTimes(Map.of(partition(1), START_MS + 5_000, partition(0), START_MS + 60_000));
            equal(5L, found.get(partition(1)).offset(), "by time");
            equal(null, found.get(partition(0)), "after everything");
            consumer.resume(List.of(partition(1)));
            consumer.seek(partition(1), 5);
            equal(5L, Connections.poll(consumer, 5).get(0).offset(), "from there");
            consumer.seekToEnd(both);
            equal(0, consumer.poll(Duration.ofMillis(100)).count(), "records after the end");
        }
    }

    private void groupConfigs() throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        var session = admin.describeConfigs(List.of(resource), options).all().get().get(resource).get("consumer.session.timeout.ms");
        equal("45000", session.value(), "default");
        equal(ConfigEntry.ConfigSource.DEFAULT_CONFIG, session.source(), "source");
        that(!session.isReadOnly(), "it can be changed");
        change(resource, "50000", AlterConfigOp.OpType.SET);
        Connections.eventually(() -> {
            var changed = admin.describeConfigs(List.of(resource), options).all().get().get(resource).get("consumer.session.timeout.ms");
            equal("50000", changed.value(), "changed");
            var names = new ArrayList<String>();
            changed.synonyms().forEach(synonym -> names.add(synonym.name()));
            equal(List.of("consumer.session.timeout.ms", "group.consumer.session.timeout.ms"), names, "synonyms");
            var listed = new TreeSet<String>();
            admin.listConfigResources(Set.of(ConfigResource.Type.GROUP), new org.apache.kafka.clients.admin.ListConfigResourcesOptions())
                .all().get().forEach(one -> listed.add(one.name()));
            that(listed.contains(group), "listed");
        });
        var refused = Suite.fails(org.apache.kafka.common.errors.InvalidConfigurationException.class, () ->
            change(resource, "44999", AlterConfigOp.OpType.SET));
        equal("consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            refused.getMessage(), "below the broker's least");
        change(resource, "", AlterConfigOp.OpType.DELETE);
    }

    private void change(ConfigResource resource, String value, AlterConfigOp.OpType type) throws Exception {
        var operation = new AlterConfigOp(new ConfigEntry("consumer.session.timeout.ms", value), type);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(operation))).all().get();
    }
}
