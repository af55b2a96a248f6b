//! UnregisterBroker (key 64, KIP-500): forgets a broker that is gone for good. The only one there is stays.
//!
//! Version notes: 0 only, flexible.

use std::rc::Rc;

use kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::ErrorCode;
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: UnregisterBrokerRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let node_id = body.broker_id.0;
        let refusal = if broker.cores.image().broker(node_id).is_some() {
            ErrorCode::PolicyViolation
                .because(format!("Broker {node_id} is at work, and the only one that holds its partitions."))
        } else {
            ErrorCode::BrokerIdNotRegistered
                .because(format!("Broker ID {node_id} is not currently registered"))
        };
        let response = UnregisterBrokerResponse::default()
            .with_error_code(refusal.code.number())
            .with_error_message(refusal.text());
        request.reply(&response)
    }))
}
