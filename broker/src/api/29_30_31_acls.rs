//! DescribeAcls, CreateAcls and DeleteAcls (keys 29, 30 and 31): there is no authorizer, and that is the answer.
//!
//! Version notes: 2 is flexible in all three; 3 adds user resources (KIP-373). Kafka without an authorizer answers
//! SECURITY_DISABLED, which consoles understand, and nothing is kept. A request that says UNKNOWN of
//! something closes the connection, as in Kafka, which refuses to read it. Deliberately absent: ACLs.

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
use super::wire::{Malformed, Read};

const CODE: i16 = ErrorCode::SecurityDisabled.number();

/// What stands for a kind of resource, pattern, operation or permission that the client does not know itself.
const UNKNOWN: i8 = 0;

/// Refuses a rule or filter that says of itself that it is unknown.
fn check(kinds: [i8; 4]) -> Read<()> {
    if kinds.contains(&UNKNOWN) {
        return Err(Malformed { position: 0, what: "an ACL with an unknown kind" });
    }
    Ok(())
}

pub(super) fn describe(_: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let filter: DescribeAclsRequest = request.decode()?;
    check([
        filter.resource_type_filter,
        filter.pattern_type_filter,
        filter.operation,
        filter.permission_type,
    ])?;
    Ok(Dispatched::barrier(async move {
        let text = StrBytes::from_static_str("No Authorizer is configured on the broker");
        let response = DescribeAclsResponse::default().with_error_code(CODE).with_error_message(Some(text));
        request.reply(&response)
    }))
}

pub(super) fn create(_: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: CreateAclsRequest = request.decode()?;
    for acl in &body.creations {
        check([acl.resource_type, acl.resource_pattern_type, acl.operation, acl.permission_type])?;
    }
    Ok(Dispatched::barrier(async move {
        let refused = AclCreationResult::default().with_error_code(CODE).with_error_message(no_authorizer());
        let results = vec![refused; body.creations.len()];
        request.reply(&CreateAclsResponse::default().with_results(results))
    }))
}

pub(super) fn delete(_: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DeleteAclsRequest = request.decode()?;
    for acl in &body.filters {
        check([acl.resource_type_filter, acl.pattern_type_filter, acl.operation, acl.permission_type])?;
    }
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
