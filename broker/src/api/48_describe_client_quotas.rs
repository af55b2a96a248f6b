//! DescribeClientQuotas (key 48, KIP-546): none are set, because none can be (49 is not served).
//!
//! Version notes: 1 is flexible. Filters are judged all the same, in the words of Kafka's `ClientQuotasImage`.

use std::collections::HashSet;
use std::rc::Rc;

use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(_: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DescribeClientQuotasRequest = request.decode()?;
    Ok(Dispatched::barrier(async move {
        let response = match check(&body) {
            Ok(()) => DescribeClientQuotasResponse::default().with_entries(Some(Vec::new())),
            Err(refusal) => DescribeClientQuotasResponse::default()
                .with_error_code(refusal.code.number())
                .with_error_message(refusal.text())
                .with_entries(None),
        };
        request.reply(&response)
    }))
}

fn check(body: &DescribeClientQuotasRequest) -> Result<(), Refusal> {
    let invalid = |text: String| Err(ErrorCode::InvalidRequest.because(text));
    let mut seen = HashSet::new();
    for component in &body.components {
        let entity = component.entity_type.as_str();
        if entity.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if !seen.insert(entity) {
            return invalid(format!("Entity type {entity} cannot appear more than once in the filter."));
        }
        if !matches!(entity, "user" | "client-id" | "ip") {
            return Err(ErrorCode::UnsupportedVersion.because(format!("Unsupported entity type {entity}")));
        }
        match (component.match_type, &component._match) {
            (0, None) => {
                return invalid(
                    "Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned(),
                );
            }
            (1, Some(_)) => {
                let text = "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.";
                return invalid(text.to_owned());
            }
            (2, Some(_)) => {
                let text = "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.";
                return invalid(text.to_owned());
            }
            (0..=2, _) => {}
            (other, _) => return invalid(format!("Unknown match type {other}")),
        }
    }
    if seen.contains("ip") && seen.len() > 1 {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or \
             clientId filter component."
                .to_owned(),
        );
    }
    Ok(())
}
