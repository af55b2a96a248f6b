//! ListConfigResources (key 74, KIP-1142): the names of what has configurations.
//!
//! Version notes: flexible from 0; 0 was ListClientMetricsResources and lists those only, of which there are none; 1 takes the
//! kinds to list, none meaning all.

use std::rc::Rc;

use corelog_logic::controller::ResourceKind;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_protocol::protocol::StrBytes;

use super::broker::Broker;
use super::config_resource::ResourceType;
use super::dispatch::Request;
use super::error_code::ErrorCode;
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: ListConfigResourcesRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let asked = |kind: ResourceType| match request.version {
            0 => kind == ResourceType::ClientMetrics,
            _ => body.resource_types.is_empty() || body.resource_types.contains(&kind.code()),
        };
        let response = if body.resource_types.iter().all(|code| ResourceType::of(*code).is_some()) {
            let kinds = ResourceType::ALL.into_iter().filter(|kind| asked(*kind));
            ListConfigResourcesResponse::default()
                .with_config_resources(kinds.flat_map(|kind| resources(&broker, kind)).collect())
        } else {
            ListConfigResourcesResponse::default().with_error_code(ErrorCode::UnsupportedVersion.number())
        };
        request.reply(&response)
    }))
}

fn resources(broker: &Broker, kind: ResourceType) -> Vec<ConfigResource> {
    let image = broker.cores.image();
    let names: Vec<String> = match kind {
        ResourceType::Topic => image.topics().map(|topic| topic.name.to_string()).collect(),
        ResourceType::Broker | ResourceType::BrokerLogger => {
            image.brokers().map(|(node_id, _)| node_id.to_string()).collect()
        }
        // Those that were given any.
        ResourceType::Group => {
            image.configured(ResourceKind::Group).map(|resource| resource.name.clone()).collect()
        }
        ResourceType::ClientMetrics => Vec::new(),
    };
    let resource = |name| {
        ConfigResource::default()
            .with_resource_name(StrBytes::from_string(name))
            .with_resource_type(kind.code())
    };
    names.into_iter().map(resource).collect()
}
