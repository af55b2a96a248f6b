//! DescribeAcls, CreateAcls and DeleteAcls, as a broker without an authorizer answers them.

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};
use kafka_protocol::protocol::StrBytes;

use super::{Maker, text};

/// What may be said of a resource, a principal and an operation, good and bad.
pub(super) fn any(maker: &mut Maker<'_>) {
    for _ in 0..10 {
        match maker.random.below(3) {
            0 => describe(maker),
            1 => create(maker),
            _ => delete(maker),
        }
    }
}

/// Enumerations of which any value may come, known or not.
fn code(maker: &mut Maker<'_>) -> i8 {
    maker.random.pick(&[0, 1, 2, 3, 4, 5, 12, 99, -1])
}

fn name(maker: &mut Maker<'_>) -> Option<StrBytes> {
    maker.random.pick(&[None, Some("orders"), Some("*"), Some("")]).map(text)
}

fn principal(maker: &mut Maker<'_>) -> StrBytes {
    text(maker.random.pick(&["User:alice", "User:*", "alice", "", "User:"]))
}

/// The patterns that this version can say.
fn pattern(maker: &mut Maker<'_>) -> i8 {
    maker.random.pick(&[3, 3, 4, 2, 1, 0, 9])
}

fn describe(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(29) else { return };
    let request = DescribeAclsRequest::default()
        .with_resource_type_filter(code(maker))
        .with_resource_name_filter(name(maker))
        .with_pattern_type_filter(pattern(maker))
        .with_principal_filter(Some(principal(maker)))
        .with_host_filter(name(maker))
        .with_operation(code(maker))
        .with_permission_type(code(maker));
    maker.send(29, version, &request);
}

fn create(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(30) else { return };
    let mut request = CreateAclsRequest::default();
    for _ in 0..maker.random.pick(&[0, 1, 1, 2]) {
        let creation = AclCreation::default()
            .with_resource_type(code(maker))
            .with_resource_name(name(maker).unwrap_or_default())
            .with_resource_pattern_type(pattern(maker))
            .with_principal(principal(maker))
            .with_host(text("*"))
            .with_operation(code(maker))
            .with_permission_type(code(maker));
        request.creations.push(creation);
    }
    maker.send(30, version, &request);
}

fn delete(maker: &mut Maker<'_>) {
    let Some(version) = maker.version(31) else { return };
    let mut request = DeleteAclsRequest::default();
    for _ in 0..maker.random.pick(&[0, 1, 1, 2]) {
        let filter = DeleteAclsFilter::default()
            .with_resource_type_filter(code(maker))
            .with_resource_name_filter(name(maker))
            .with_pattern_type_filter(pattern(maker))
            .with_principal_filter(Some(principal(maker)))
            .with_host_filter(name(maker))
            .with_operation(code(maker))
            .with_permission_type(code(maker));
        request.filters.push(filter);
    }
    maker.send(31, version, &request);
}
