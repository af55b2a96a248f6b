//! ListPartitionReassignments (key 46, KIP-455): none is ever under way, because none can be begun (see key 45).
//!
//! Version notes: 0 only, flexible. What does not exist is left out, as what is not being reassigned is.

use std::rc::Rc;

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(_: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let _body: ListPartitionReassignmentsRequest = request.decode()?;
    let response = ListPartitionReassignmentsResponse::default().with_error_message(None);
    Ok(Dispatched::barrier(async move { request.reply(&response) }))
}
