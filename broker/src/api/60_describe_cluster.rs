//! DescribeCluster (key 60, KIP-700): brokers, controller and cluster id.
//!
//! Version notes: flexible from 0; 1 adds the endpoint type (KIP-919), of which only brokers (1) are answered here;
//! 2 may include fenced brokers (KIP-1073): there are none, a broker that is not registered is not in the metadata.

use std::rc::Rc;

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::metadata::{CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED};
use super::service::{ConnectionInfo, Dispatched};
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DescribeClusterRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let response = answer(&broker, &request.connection, &body).unwrap_or_else(|refusal| {
            let message = refusal.message.map(|text| StrBytes::from_string(text.into_owned()));
            DescribeClusterResponse::default()
                .with_error_code(refusal.code.number())
                .with_error_message(message)
        });
        request.reply(&response)
    }))
}

fn answer(
    broker: &Broker,
    connection: &ConnectionInfo,
    body: &DescribeClusterRequest,
) -> Result<DescribeClusterResponse, Refusal> {
    match body.endpoint_type {
        1 => {}
        2 => {
            return Err(ErrorCode::MismatchedEndpointType.because(
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
            ));
        }
        other => {
            return Err(
                ErrorCode::UnsupportedEndpointType.because(format!("Unsupported endpoint type {other}"))
            );
        }
    }
    let image = broker.cores.image();
    let brokers = broker
        .endpoints(&image, connection)
        .into_iter()
        .map(|endpoint| {
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(endpoint.node_id))
                .with_host(StrBytes::from_string(endpoint.host))
                .with_port(i32::from(endpoint.port))
                .with_rack(endpoint.rack.map(StrBytes::from_string))
        })
        .collect();
    let operations =
        if body.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { OPERATIONS_NOT_ASKED };
    Ok(DescribeClusterResponse::default()
        .with_endpoint_type(1)
        .with_cluster_id(StrBytes::from_string(broker.cluster_id.clone()))
        .with_controller_id(BrokerId(broker.node_id))
        .with_brokers(brokers)
        .with_cluster_authorized_operations(operations))
}
