//! IncrementalAlterConfigs (key 44, KIP-339): sets, deletes, appends to and subtracts from single configurations.
//!
//! Version notes: 1 is flexible. Answered when every core has what it must act on.

use std::rc::Rc;

use corelog_logic::controller::{ConfigOperation, OperationKind};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::altered_configs::{Asked, alter};
use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: IncrementalAlterConfigsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let asked = body.resources.iter().map(asked).collect();
        let answers = alter(&broker, asked, false, body.validate_only).await;
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
        request.reply(&IncrementalAlterConfigsResponse::default().with_responses(responses.collect()))
    }))
}

fn asked(resource: &AlterConfigsResource) -> Asked<'_> {
    Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name.as_str(),
        operations: resource.configs.iter().map(operation).collect(),
    }
}

fn operation(config: &AlterableConfig) -> Result<ConfigOperation, Refusal> {
    let kind = match config.config_operation {
        0 => OperationKind::Set,
        1 => OperationKind::Delete,
        2 => OperationKind::Append,
        3 => OperationKind::Subtract,
        other => {
            return Err(ErrorCode::InvalidRequest.because(format!("Unknown operations type {other}")));
        }
    };
    let value = config.value.as_ref().map(|value| value.to_string());
    Ok(ConfigOperation { name: config.name.to_string(), kind, value })
}
