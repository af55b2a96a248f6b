//! DescribeUserScramCredentials (key 50, KIP-554): there are none, because none can be made (51 is not served).
//!
//! Version notes: 0 only, flexible. Null or no users mean all of them.

use std::collections::HashMap;
use std::rc::Rc;

use kafka_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use kafka_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::ErrorCode;
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(_: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DescribeUserScramCredentialsRequest = request.decode()?;
    Ok(Dispatched::barrier(async move {
        let users = body.users.unwrap_or_default();
        let mut times: HashMap<&str, usize> = HashMap::new();
        for user in &users {
            *times.entry(user.name.as_str()).or_default() += 1;
        }
        let mut results = Vec::new();
        for user in &users {
            // Each name is answered once.
            let Some(times) = times.remove(user.name.as_str()) else { continue };
            let name = user.name.as_str();
            let refusal = if times > 1 {
                ErrorCode::DuplicateResource.because(format!(
                    "Cannot describe SCRAM credentials for the same user twice in a single request: {name}"
                ))
            } else {
                ErrorCode::ResourceNotFound
                    .because(format!("Attempt to describe a user credential that does not exist: {name}"))
            };
            let result = DescribeUserScramCredentialsResult::default()
                .with_user(user.name.clone())
                .with_error_code(refusal.code.number())
                .with_error_message(refusal.text());
            results.push(result);
        }
        request.reply(&DescribeUserScramCredentialsResponse::default().with_results(results))
    }))
}
