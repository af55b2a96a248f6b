//! Samples of what administrators change or ask of the cluster: configurations, ACLs, quotas, features. Each with defaults, and with
//! everything filled.

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{alter_configs_request, incremental_alter_configs_request};

use super::*;

pub(super) fn one(samples: &mut Vec<Sample>, key: i16, version: i16, flexible: bool) {
    match key {
        29 => {
            let any = DescribeAclsRequest::default()
                .with_resource_type_filter(1)
                .with_pattern_type_filter(3)
                .with_operation(1)
                .with_permission_type(1);
            encode(samples, key, version, &any);
            let request = any
                .with_resource_type_filter(2)
                .with_resource_name_filter(Some(text("orders")))
                .with_principal_filter(Some(text("User:alice")))
                .with_host_filter(None);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        30 => {
            encode(samples, key, version, &CreateAclsRequest::default());
            let acl = AclCreation::default()
                .with_resource_type(2)
                .with_resource_pattern_type(3)
                .with_operation(3)
                .with_permission_type(3)
                .with_resource_name(text("orders"))
                .with_principal(text("User:alice"))
                .with_host(text("*"));
            let request = CreateAclsRequest::default()
                .with_creations(vec![tagged!(acl.clone(), flexible), tagged!(acl, flexible)]);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        31 => {
            encode(samples, key, version, &DeleteAclsRequest::default());
            let filter = DeleteAclsFilter::default()
                .with_resource_type_filter(1)
                .with_pattern_type_filter(3)
                .with_operation(1)
                .with_permission_type(1)
                .with_resource_name_filter(Some(text("orders")))
                .with_principal_filter(None)
                .with_host_filter(Some(text("*")));
            let request = DeleteAclsRequest::default().with_filters(vec![tagged!(filter, flexible)]);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        33 => {
            use alter_configs_request::{AlterConfigsResource, AlterableConfig};
            encode(samples, key, version, &AlterConfigsRequest::default());
            let config = AlterableConfig::default().with_name(text("retention.ms"));
            let set = tagged!(config.clone().with_value(Some(text("7"))), flexible);
            let null = tagged!(config.with_value(None), flexible);
            let resource = AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("orders"))
                .with_configs(vec![set, null]);
            let request = AlterConfigsRequest::default().with_resources(vec![tagged!(resource, flexible)]);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        37 => {
            encode(samples, key, version, &CreatePartitionsRequest::default());
            let topic = CreatePartitionsTopic::default().with_name(TopicName(text("orders"))).with_count(6);
            let assignment =
                CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(7), BrokerId(8)]);
            let by_hand = topic.clone().with_assignments(Some(vec![tagged!(assignment, flexible)]));
            let request = CreatePartitionsRequest::default()
                .with_topics(vec![
                    tagged!(topic.with_assignments(None), flexible),
                    tagged!(by_hand, flexible),
                ])
                .with_timeout_ms(1000);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        44 => {
            use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
            encode(samples, key, version, &IncrementalAlterConfigsRequest::default());
            let config = AlterableConfig::default().with_name(text("cleanup.policy"));
            let append =
                tagged!(config.clone().with_config_operation(2).with_value(Some(text("compact"))), flexible);
            let delete = tagged!(config.with_config_operation(1).with_value(None), flexible);
            let resource = AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("orders"))
                .with_configs(vec![append, delete]);
            let request =
                IncrementalAlterConfigsRequest::default().with_resources(vec![tagged!(resource, flexible)]);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        48 => {
            encode(samples, key, version, &DescribeClientQuotasRequest::default());
            let exact =
                ComponentData::default().with_entity_type(text("user")).with_match(Some(text("alice")));
            let any = ComponentData::default()
                .with_entity_type(text("client-id"))
                .with_match_type(2)
                .with_match(None);
            let request = DescribeClientQuotasRequest::default()
                .with_components(vec![tagged!(exact, flexible), tagged!(any, flexible)])
                .with_strict(true);
            encode(samples, key, version, &tagged!(request, flexible));
        }
        50 => {
            encode(samples, key, version, &DescribeUserScramCredentialsRequest::default().with_users(None));
            let user = || tagged!(UserName::default().with_name(text("alice")), flexible);
            let request =
                DescribeUserScramCredentialsRequest::default().with_users(Some(vec![user(), user()]));
            encode(samples, key, version, &tagged!(request, flexible));
        }
        57 => {
            encode(samples, key, version, &UpdateFeaturesRequest::default());
            let mut update =
                FeatureUpdateKey::default().with_feature(text("metadata.version")).with_max_version_level(30);
            if version == 0 {
                update.allow_downgrade = true;
            } else {
                update.upgrade_type = 3;
            }
            let mut request =
                UpdateFeaturesRequest::default().with_feature_updates(vec![tagged!(update, flexible)]);
            request.validate_only = version >= 1;
            encode(samples, key, version, &tagged!(request, flexible));
        }
        74 => {
            encode(samples, key, version, &ListConfigResourcesRequest::default());
            let mut request = tagged!(ListConfigResourcesRequest::default(), flexible);
            if version >= 1 {
                request.resource_types = vec![2, 4, 99];
            }
            encode(samples, key, version, &request);
        }
        other => panic!("no sample request for API {other}: add one beside its shape"),
    }
}
