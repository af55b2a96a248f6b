//! AlterConfigs (key 33): the old way, which resets what it does not name.
//!
//! Version notes: 2 is flexible; Kafka deprecates all of them for IncrementalAlterConfigs (KIP-339).

use std::rc::Rc;

use corelog_logic::controller::{ConfigOperation, OperationKind};
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::altered_configs::{Asked, alter};
use super::broker::Broker;
use super::dispatch::Request;
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: AlterConfigsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let asked = body.resources.iter().map(asked).collect();
        let answers = alter(&broker, asked, true, body.validate_only).await;
        let responses = body.resources.iter().zip(answers).map(|(resource, answer)| {
            let told = AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match answer {
                Ok(()) => told.with_error_message(None),
                Err(refusal) => {
                    told.with_error_code(refusal.code.number()).with_error_message(refusal.text())
                }
            }
        });
        request.reply(&AlterConfigsResponse::default().with_responses(responses.collect()))
    }))
}

fn asked(resource: &AlterConfigsResource) -> Asked<'_> {
    let operations = resource.configs.iter().map(|config| ConfigOperation {
        name: config.name.to_string(),
        kind: OperationKind::Set,
        value: config.value.as_ref().map(|value| value.to_string()),
    });
    Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name.as_str(),
        operations: Ok(operations.collect()),
    }
}
