//! DescribeAcls, CreateAcls and DeleteAcls (keys 29, 30 and 31): there is no authorizer, and that is the answer.
//!
//! Version notes: 2 is flexible in all three; 3 adds user resources (KIP-373). Kafka without an authorizer answers
//! SECURITY_DISABLED, which consoles understand, and nothing is kept. Deliberately absent: ACLs.

use std::rc::Rc;

use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::ErrorCode;
use super::service::Dispatched;
use super::wire::Read;

const CODE: i16 = ErrorCode::SecurityDisabled.number();

pub(super) fn describe(_: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let _filter: DescribeAclsRequest = request.decode()?;
    Ok(Dispatched::barrier(async move {
        let text = StrBytes::from_static_str("No Authorizer is configured on the broker");
        let response = DescribeAclsResponse::default().with_error_code(CODE).with_error_message(Some(text));
        request.reply(&response)
    }))
}

pub(super) fn create(_: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: CreateAclsRequest = request.decode()?;
    Ok(Dispatched::barrier(async move {
        let refused = AclCreationResult::default().with_error_code(CODE).with_error_message(no_authorizer());
        let results = vec![refused; body.creations.len()];
        request.reply(&CreateAclsResponse::default().with_results(results))
    }))
}

pub(super) fn delete(_: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DeleteAclsRequest = request.decode()?;
    Ok(Dispatched::barrier(async move {
        let refused =
            DeleteAclsFilterResult::default().with_error_code(CODE).with_error_message(no_authorizer());
        let results = vec![refused; body.filters.len()];
        request.reply(&DeleteAclsResponse::default().with_filter_results(results))
    }))
}

fn no_authorizer() -> Option<StrBytes> {
    Some(StrBytes::from_static_str("No Authorizer is configured."))
}
