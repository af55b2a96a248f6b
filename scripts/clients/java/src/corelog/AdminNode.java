package corelog;

import static corelog.Suite.equal;
import static corelog.Suite.fails;
import static corelog.Suite.that;

import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.errors.BrokerIdNotRegisteredException;
import org.apache.kafka.common.errors.InvalidUpdateVersionException;
import org.apache.kafka.common.errors.ResourceNotFoundException;
import org.apache.kafka.common.errors.SecurityDisabledException;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** The node and its cluster: directories, quorum, features, and the answers of a broker without security or quotas. */
final class AdminNode {
    private final Connections connections;
    private final Admin admin;
    private final Suite suite;

    AdminNode(Connections connections, Admin admin, Suite suite) {
        this.connections = connections;
        this.admin = admin;
        this.suite = suite;
    }

    void run() {
        directories();
        quorum();
        nobody();
    }

    private void directories() {
        suite.check("log directories tell their space and the size of each partition", () -> {
            String name = connections.topic("sized", 2);
            try (var producer = connections.producer()) {
                producer.send(new ProducerRecord<>(name, 1, null, new byte[10_000])).get();
            }
            int node = admin.describeCluster().nodes().get().iterator().next().id();
            var described = admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node);
            equal(1, described.size(), "directories");
            var dir = described.values().iterator().next();
            that(described.keySet().iterator().next().startsWith("/"), "an absolute path");
            that(dir.error() == null, "no error");
            that(dir.totalBytes().getAsLong() >= dir.usableBytes().getAsLong() && dir.usableBytes().getAsLong() > 0, "space");
            var sizes = dir.replicaInfos();
            equal(0L, sizes.get(new org.apache.kafka.common.TopicPartition(name, 0)).size(), "size of an empty partition");
            var written = sizes.get(new org.apache.kafka.common.TopicPartition(name, 1));
            that(written.size() > 10_000 && written.size() < 10_200, "size of the written one: " + written.size());
            equal(0L, written.offsetLag(), "lag");
            that(!written.isFuture(), "not on the move");
        });
    }

    private void quorum() {
        suite.check("the metadata quorum is one node that is up to date", () -> {
            var info = admin.describeMetadataQuorum().quorumInfo().get();
            equal(1, info.voters().size(), "voters");
            equal(info.leaderId(), info.voters().get(0).replicaId(), "the leader is the voter");
            equal(0, info.observers().size(), "observers");
            that(info.leaderEpoch() >= 1 && info.highWatermark() > 0, "epoch and high watermark");
            that(info.voters().get(0).logEndOffset() >= info.highWatermark(), "end and high watermark");
            that(info.voters().get(0).lastCaughtUpTimestamp().getAsLong() > 0, "caught up");
            connections.topic("moves-the-quorum", 1);
            that(admin.describeMetadataQuorum().quorumInfo().get().highWatermark() > info.highWatermark(), "it moves on");
        });
        suite.check("finalized features lie within the supported ones", () -> {
            var features = admin.describeFeatures().featureMetadata().get();
            that(features.finalizedFeatures().containsKey("metadata.version"), "metadata.version");
            features.finalizedFeatures().forEach((name, level) -> {
                var range = features.supportedFeatures().get(name);
                that(range != null && range.minVersion() <= level.maxVersionLevel() && level.maxVersionLevel() <= range.maxVersion(), name);
            });
        });
        suite.check("a feature is not updated beyond what is supported", () -> {
            var options = new UpdateFeaturesOptions().validateOnly(true);
            short level = admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("metadata.version").maxVersionLevel();
            admin.updateFeatures(Map.of("metadata.version", new FeatureUpdate(level, FeatureUpdate.UpgradeType.UPGRADE)), options).all().get();
            var refused = fails(InvalidUpdateVersionException.class, () -> admin.updateFeatures(
                Map.of("metadata.version", new FeatureUpdate((short) 99, FeatureUpdate.UpgradeType.UPGRADE)), options).all().get());
            that(refused.getMessage().startsWith("The update failed for all features since the following feature had an error: "
                + "Invalid update version 99 for feature metadata.version. Local controller"), refused.getMessage());
            var unknown = fails(InvalidUpdateVersionException.class, () -> admin.updateFeatures(
                Map.of("x", new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.UPGRADE)), options).all().get());
            that(unknown.getMessage().endsWith("does not support this feature."), unknown.getMessage());
        });
    }

    private void nobody() {
        suite.check("without an authorizer ACLs are disabled", () -> {
            equal("No Authorizer is configured on the broker", fails(SecurityDisabledException.class, () ->
                admin.describeAcls(AclBindingFilter.ANY).values().get()).getMessage(), "text");
            var acl = new AclBinding(new ResourcePattern(ResourceType.TOPIC, "t", PatternType.LITERAL),
                new AccessControlEntry("User:alice", "*", AclOperation.READ, AclPermissionType.ALLOW));
            fails(SecurityDisabledException.class, () -> admin.createAcls(List.of(acl)).all().get());
            fails(SecurityDisabledException.class, () -> admin.deleteAcls(List.of(AclBindingFilter.ANY)).all().get());
        });
        suite.check("there are no quotas and no SCRAM users", () -> {
            equal(Map.of(), admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get(), "quotas");
            equal(Map.of(), admin.describeUserScramCredentials().all().get(), "users");
            var thrown = fails(ResourceNotFoundException.class, () ->
                admin.describeUserScramCredentials(List.of("alice")).description("alice").get());
            equal("Attempt to describe a user credential that does not exist: alice", thrown.getMessage(), "text");
        });
        suite.check("a broker that is not there is not unregistered", () ->
            fails(BrokerIdNotRegisteredException.class, () -> admin.unregisterBroker(4711).all().get()));
    }
}
