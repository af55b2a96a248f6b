//! DescribeConfigs (key 32): effective values of topics and brokers, with source and synonyms (KIP-226).
//!
//! Version notes: 3 adds types and documentation (KIP-569); 4 is flexible. A null or empty list of keys means all.
//! The broker's empty name means what was set for all brokers. A broker's only logger is `root` (KIP-412), at the level that
//! `CORELOG_LOG` set. A group need not exist to be given configurations (KIP-848); what it was not given is the broker's. There are no
//! subscriptions to client metrics (KIP-714), and one that is not there has nothing to tell.

use std::rc::Rc;

use corelog_logic::controller::{MetadataImage, check_topic_name};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::broker::Broker;
use super::config_entries::{self, ConfigEntry, broker_values};
use super::config_resource::ResourceType;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::service::Dispatched;
use super::wire::Read;

/// ConfigSource of a logger's level.
const DYNAMIC_BROKER_LOGGER: i8 = 6;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DescribeConfigsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let image = broker.cores.image();
        // A kind that Kafka does not know spoils the whole request.
        let malformed = body.resources.iter().any(|one| ResourceType::of(one.resource_type).is_none());
        let describe = |resource: &DescribeConfigsResource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            let described = if malformed {
                Err(malformed_request())
            } else {
                configs(&broker, &image, resource, &body, request.version)
            };
            match described {
                Ok(configs) => result.with_configs(configs),
                Err(refusal) => {
                    result.with_error_code(refusal.code.number()).with_error_message(refusal.text())
                }
            }
        };
        let results = body.resources.iter().map(describe).collect();
        request.reply(&DescribeConfigsResponse::default().with_results(results))
    }))
}

fn malformed_request() -> Refusal {
    ErrorCode::InvalidRequest.because(
        "This most likely occurs because of a request being malformed by the client library or the message was sent \
         to an incompatible broker. See the broker logs for more details.",
    )
}

fn configs(
    broker: &Broker,
    image: &MetadataImage,
    resource: &DescribeConfigsResource,
    body: &DescribeConfigsRequest,
    version: i16,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let name = resource.resource_name.as_str();
    let invalid = |text: String| Err(ErrorCode::InvalidRequest.because(text));
    let entries = match ResourceType::of(resource.resource_type) {
        Some(ResourceType::Topic) => {
            check_topic_name(name).map_err(|why| ErrorCode::InvalidTopicException.because(why))?;
            if image.topic_by_name(name).is_none() {
                // Kafka gives an empty text to this one alone.
                return Err(ErrorCode::UnknownTopicOrPartition.because(""));
            }
            config_entries::of_existing_topic(name, image, &broker_values(broker, image))
        }
        Some(ResourceType::Broker) if name.is_empty() => config_entries::of_all_brokers(broker, image),
        Some(ResourceType::Broker) => {
            check_node_id(broker, name, " or empty string,")?;
            config_entries::of_broker(broker, image)
        }
        Some(ResourceType::BrokerLogger) => {
            if name.is_empty() {
                return invalid("Broker id must not be empty".to_owned());
            }
            check_node_id(broker, name, "")?;
            let root = root_logger();
            return Ok(if is_asked(resource, "root") { vec![root] } else { Vec::new() });
        }
        Some(ResourceType::ClientMetrics) if name.is_empty() => {
            return invalid("Client metrics subscription name must not be empty".to_owned());
        }
        // There are no subscriptions, and one that is not there has nothing to tell.
        Some(ResourceType::ClientMetrics) => return Ok(Vec::new()),
        Some(ResourceType::Group) if name.is_empty() => {
            return invalid("Group name must not be empty".to_owned());
        }
        Some(ResourceType::Group) => config_entries::of_group(name, image, &broker_values(broker, image)),
        None => return Err(malformed_request()),
    };
    let asked = entries.into_iter().filter(|entry| is_asked(resource, &entry.name));
    Ok(asked.map(|entry| told(entry, body, version)).collect())
}

fn check_node_id(broker: &Broker, name: &str, or: &str) -> Result<(), Refusal> {
    match name.parse::<i32>() {
        Ok(node_id) if node_id == broker.node_id => Ok(()),
        Ok(_) => Err(ErrorCode::InvalidRequest
            .because(format!("Unexpected broker id, expected {}{or} but received {name}", broker.node_id))),
        Err(_) => {
            Err(ErrorCode::InvalidRequest.because(format!("Broker id must be an integer, but it is: {name}")))
        }
    }
}

fn is_asked(resource: &DescribeConfigsResource, name: &str) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key.as_str() == name),
        _ => true,
    }
}

fn root_logger() -> DescribeConfigsResourceResult {
    let level = tracing::level_filters::LevelFilter::current().to_string().to_ascii_uppercase();
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str("root"))
        .with_value(Some(StrBytes::from_string(level)))
        .with_config_source(DYNAMIC_BROKER_LOGGER)
}

fn told(entry: ConfigEntry, body: &DescribeConfigsRequest, version: i16) -> DescribeConfigsResourceResult {
    let source = entry.source().code();
    let mut told = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(entry.name))
        .with_value(entry.value.map(StrBytes::from_string))
        .with_read_only(entry.read_only)
        .with_is_sensitive(entry.setting.is_none())
        .with_config_source(source);
    if body.include_synonyms {
        let synonym = |synonym: crate::config::Synonym| {
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_string(synonym.name))
                .with_value(synonym.value.map(StrBytes::from_string))
                .with_source(synonym.source.code())
        };
        told.synonyms = entry.synonyms.into_iter().map(synonym).collect();
    }
    if version >= 3 {
        told.config_type = entry.setting.map_or(0, |setting| setting.kind.code());
        let doc = entry.setting.map(|setting| StrBytes::from_static_str(setting.doc));
        told.documentation = doc.filter(|_| body.include_documentation);
    }
    told
}
