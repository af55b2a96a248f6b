//! What AlterConfigs and IncrementalAlterConfigs have in common: each resource is judged, the controller changes what is left.
//!
//! Follows Kafka's `ConfigAdminManager.preprocess`. Deliberately absent: values and keys, which the controller judges.

use std::collections::HashMap;

use corelog_logic::controller::{
    Command, ConfigChange, ConfigOperation, ConfigResource, Reply as ControllerReply, ResourceKind,
};

use super::broker::Broker;
use super::config_resource::ResourceType;
use super::error_code::{ErrorCode, Refusal};

/// How long the controller may take; the requests carry no timeout. Milliseconds, Kafka's `request.timeout.ms`.
const TIMEOUT_MS: i32 = 30_000;

/// One resource of a request.
pub(super) struct Asked<'a> {
    pub(super) resource_type: i8,
    pub(super) name: &'a str,
    /// What to do, or why it cannot be done.
    pub(super) operations: Result<Vec<ConfigOperation>, Refusal>,
}

/// Changes what can be changed; one answer per resource, in their order.
pub(super) async fn alter(
    broker: &Broker,
    asked: Vec<Asked<'_>>,
    resets_others: bool,
    validate_only: bool,
) -> Vec<Result<(), Refusal>> {
    let mut times: HashMap<(i8, &str), usize> = HashMap::new();
    for one in &asked {
        *times.entry((one.resource_type, one.name)).or_default() += 1;
    }
    let mut answers: Vec<Result<(), Refusal>> = Vec::with_capacity(asked.len());
    let mut places = Vec::new();
    let mut changes = Vec::new();
    for one in asked {
        let twice = times.get(&(one.resource_type, one.name)).is_some_and(|times| *times > 1);
        let change = if twice {
            Err(ErrorCode::InvalidRequest.because("Each resource must appear at most once."))
        } else {
            change(one, resets_others)
        };
        answers.push(change.map(|change| {
            places.push(answers.len());
            changes.push(change);
        }));
    }
    if changes.is_empty() {
        return answers;
    }
    let refused = match broker.control(Command::AlterConfigs { changes, validate_only }, TIMEOUT_MS).await {
        Ok(ControllerReply::ConfigsAltered(results)) => {
            for (place, result) in places.into_iter().zip(results) {
                if let Some(answer) = answers.get_mut(place) {
                    *answer = result.map_err(|error| (&error).into());
                }
            }
            return answers;
        }
        Ok(other) => {
            tracing::error!(?other, "the controller answered something else than altered configurations");
            Refusal::from(ErrorCode::UnknownServerError)
        }
        Err(error) => (&error).into(),
    };
    for place in places {
        if let Some(answer) = answers.get_mut(place) {
            *answer = Err(refused.clone());
        }
    }
    answers
}

fn change(asked: Asked<'_>, resets_others: bool) -> Result<ConfigChange, Refusal> {
    let kind = match ResourceType::of(asked.resource_type) {
        Some(ResourceType::Topic) => ResourceKind::Topic,
        Some(ResourceType::Broker) => ResourceKind::Broker,
        Some(ResourceType::BrokerLogger) if !resets_others => return Err(logger(&asked.operations?)),
        Some(ResourceType::ClientMetrics | ResourceType::Group) => {
            let name = ResourceType::of(asked.resource_type).map_or("", ResourceType::name);
            return Err(ErrorCode::InvalidRequest.because(format!("Unsupported resource type: {name}")));
        }
        _ => {
            let code = asked.resource_type;
            return Err(ErrorCode::InvalidRequest.because(format!("Unknown resource type {code}")));
        }
    };
    let resource = ConfigResource { kind, name: asked.name.to_owned() };
    Ok(ConfigChange { resource, operations: asked.operations?, resets_others })
}

/// There is one logger, and its level is said at the start.
fn logger(operations: &[ConfigOperation]) -> Refusal {
    match operations.iter().find(|operation| operation.name != "root") {
        Some(unknown) => {
            ErrorCode::InvalidConfig.because(format!("Logger {} does not exist!", unknown.name))
        }
        None => ErrorCode::InvalidConfig.because(
            "The log level is set when the broker starts, by CORELOG_LOG in its environment; restart it with another one.",
        ),
    }
}
