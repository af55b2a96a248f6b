//! DescribeConfigs (key 32): effective values of topics and of this broker, with source and synonyms (KIP-226).
//!
//! Version notes: 3 adds types and documentation (KIP-569); 4 is flexible. A null or empty list of keys means all.
//! The broker's empty name means the defaults of all brokers, of which none can be set yet. Loggers, client metrics and
//! groups have no configurations here and are refused.

use std::rc::Rc;

use corelog_logic::controller::{MetadataImage, check_topic_name};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::broker::Broker;
use super::config_entries::{self, ConfigEntry};
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::service::Dispatched;
use super::wire::Read;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DescribeConfigsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let image = broker.cores.image();
        let results = body
            .resources
            .iter()
            .map(|resource| {
                let result = DescribeConfigsResult::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone());
                match entries(&broker, &image, resource) {
                    Ok(entries) => result.with_configs(
                        entries
                            .into_iter()
                            .filter(|entry| is_asked(resource, entry.setting.name))
                            .map(|entry| told(entry, &body, request.version))
                            .collect(),
                    ),
                    Err(refusal) => result.with_error_code(refusal.code.number()).with_error_message(
                        refusal.message.map(|text| StrBytes::from_string(text.into_owned())),
                    ),
                }
            })
            .collect();
        request.reply(&DescribeConfigsResponse::default().with_results(results))
    }))
}

fn entries(
    broker: &Broker,
    image: &MetadataImage,
    resource: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, Refusal> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            check_topic_name(name).map_err(|why| ErrorCode::InvalidTopicException.because(why))?;
            if image.topic_by_name(name).is_none() {
                return Err(ErrorCode::UnknownTopicOrPartition
                    .because("This server does not host this topic-partition."));
            }
            Ok(config_entries::of_existing_topic(name, image, &broker.config).collect())
        }
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER if name.parse() == Ok(broker.node_id) => {
            Ok(config_entries::of_broker(&broker.config).collect())
        }
        BROKER => Err(ErrorCode::InvalidRequest.because(format!(
            "Unexpected broker id, expected {} or empty string, but received {name}",
            broker.node_id
        ))),
        other => Err(ErrorCode::InvalidRequest.because(format!(
            "Unsupported resource type {other}; 2 (topic) and 4 (broker) have configurations here"
        ))),
    }
}

fn is_asked(resource: &DescribeConfigsResource, name: &str) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key.as_str() == name),
        _ => true,
    }
}

fn told(entry: ConfigEntry, body: &DescribeConfigsRequest, version: i16) -> DescribeConfigsResourceResult {
    let text = |value: &str| StrBytes::from_string(value.to_owned());
    let mut told = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(entry.setting.name))
        .with_value(entry.value().map(text))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source().code());
    if body.include_synonyms {
        told.synonyms = entry
            .synonyms
            .iter()
            .map(|synonym| {
                DescribeConfigsSynonym::default()
                    .with_name(StrBytes::from_static_str(synonym.name))
                    .with_value(synonym.value.as_deref().map(text))
                    .with_source(synonym.source.code())
            })
            .collect();
    }
    if version >= 3 {
        told.config_type = entry.setting.kind.code();
        told.documentation = body.include_documentation.then(|| StrBytes::from_static_str(entry.setting.doc));
    }
    told
}
