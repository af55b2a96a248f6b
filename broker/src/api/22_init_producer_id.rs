//! InitProducerId (key 22): an identity for an idempotent producer (KIP-98).
//!
//! Version notes: 2 is flexible; 3 lets a producer name its id and epoch (KIP-360), which without a transactional id
//! changes nothing: it gets a new id, as from Kafka. 4 and 5 only add error codes. Transactional ids are refused with
//! NOT_COORDINATOR: no broker here coordinates transactions.

use std::rc::Rc;

use corelog_logic::controller::{Command, Reply as ControllerReply};
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::ErrorCode;
use super::service::Dispatched;
use super::wire::Read;

/// How long a client waits for a fresh block of ids before it is told to come again, in milliseconds.
const BLOCK_TIMEOUT_MS: i32 = 5_000;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: InitProducerIdRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let response = match producer_id(&broker, &body).await {
            Ok(id) => {
                InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0)
            }
            Err(code) => InitProducerIdResponse::default()
                .with_error_code(code.number())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        };
        request.reply(&response)
    }))
}

async fn producer_id(broker: &Broker, body: &InitProducerIdRequest) -> Result<i64, ErrorCode> {
    if (body.producer_id.0 == -1) != (body.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    match &body.transactional_id {
        Some(id) if id.is_empty() => return Err(ErrorCode::InvalidRequest),
        Some(_) => return Err(ErrorCode::NotCoordinator),
        None => {}
    }
    if let Some(id) = broker.producer_ids.take() {
        return Ok(id);
    }
    let command =
        Command::AllocateProducerIds { broker_id: broker.node_id, broker_epoch: broker.broker_epoch };
    match broker.control(command, BLOCK_TIMEOUT_MS).await {
        Ok(ControllerReply::ProducerIds { first, count }) => broker.producer_ids.refill(first, count),
        Ok(other) => tracing::error!(?other, "the controller answered something else than producer ids"),
        Err(error) => tracing::warn!(%error, "no block of producer ids"),
    }
    // Kafka's answer while it waits for a block: the client tries again.
    broker.producer_ids.take().ok_or(ErrorCode::CoordinatorLoadInProgress)
}
