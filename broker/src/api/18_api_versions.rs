//! ApiVersions (key 18): what this broker can do. Read from the table in `mod.rs`.
//!
//! Version notes: 3 is flexible, adds the client's name and version (KIP-511) and features (KIP-584); before 4, supported
//! features whose minimum is 0 must be left out. The response header is v0 in every version, and an
//! unknown version is answered in v0 with error 35 and this API's range, so that a newer client can step down.

use std::rc::Rc;

use corelog_logic::controller::FEATURES;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::APIS;
use super::broker::Broker;
use super::dispatch::{Request, begin_response, end_response};
use super::error_code::ErrorCode;
use super::service::{Dispatched, Reply};
use super::shape::Shape;
use super::wire::Read;

pub(super) const KEY: i16 = 18;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: ApiVersionsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let named = [&body.client_software_name, &body.client_software_version];
        let response = if request.version >= 3 && !named.iter().all(|text| is_software_name(text)) {
            ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.number())
        } else {
            answer(&broker, request.version)
        };
        request.reply_with_header_v0(&response)
    }))
}

/// The reply to a version that is not served.
pub(super) fn unsupported(correlation_id: i32) -> Reply {
    let response = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.number())
        .with_api_keys(api_keys().into_iter().filter(|api| api.api_key == KEY).collect());
    let mut frame = begin_response(correlation_id, false);
    match response.encode(&mut frame, 0) {
        Ok(()) => Reply::bytes(end_response(frame, 0)),
        Err(_) => Reply::close(),
    }
}

fn answer(broker: &Broker, version: i16) -> ApiVersionsResponse {
    let image = broker.cores.image();
    let supported = FEATURES.iter().filter(|feature| version >= 4 || feature.min_level > 0);
    let supported = supported.map(|feature| {
        SupportedFeatureKey::default()
            .with_name(StrBytes::from_static_str(feature.name))
            .with_min_version(feature.min_level)
            .with_max_version(feature.max_level)
    });
    let features: Vec<FinalizedFeatureKey> = image
        .features()
        .map(|(name, level)| {
            FinalizedFeatureKey::default()
                .with_name(StrBytes::from_string(name.to_owned()))
                .with_max_version_level(level)
                .with_min_version_level(level)
        })
        .collect();
    ApiVersionsResponse::default()
        .with_api_keys(api_keys())
        .with_supported_features(supported.collect())
        .with_finalized_features_epoch(i64::try_from(image.version).unwrap_or(i64::MAX))
        .with_finalized_features(features)
}

fn api_keys() -> Vec<ApiVersion> {
    APIS.iter()
        .filter_map(|api| {
            let shape = Shape::of(api.key)?;
            Some(
                ApiVersion::default()
                    .with_api_key(api.key)
                    .with_min_version(api.advertised_min.unwrap_or(shape.min))
                    .with_max_version(shape.max),
            )
        })
        .collect()
}

/// Letters and digits, with dots and dashes between them (KIP-511).
fn is_software_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().all(inner)
        }
        _ => false,
    }
}
