//! What AlterConfigs and IncrementalAlterConfigs have in common: each resource is judged, the controller changes what is left.
//!
//! Follows Kafka's `ConfigAdminManager.preprocess`. Deliberately absent: values and keys, which the controller judges.

use std::collections::HashMap;

use corelog_logic::controller::{
    Command, ConfigChange, ConfigOperation, ConfigResource, OperationKind, Reply as ControllerReply,
    ResourceKind, check_operations,
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
            change(broker, one, resets_others)
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

fn change(broker: &Broker, asked: Asked<'_>, resets_others: bool) -> Result<ConfigChange, Refusal> {
    let kind = match ResourceType::of(asked.resource_type) {
        Some(ResourceType::Topic) => ResourceKind::Topic,
        Some(ResourceType::Broker) => ResourceKind::Broker,
        Some(ResourceType::BrokerLogger) if !resets_others => {
            let operations = asked.operations?;
            check_operations(&operations).map_err(|why| ErrorCode::InvalidRequest.because(why))?;
            return Err(logger(broker, asked.name, &operations));
        }
        Some(ResourceType::Group) => ResourceKind::Group,
        Some(ResourceType::ClientMetrics) => {
            let name = ResourceType::ClientMetrics.name();
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
fn logger(broker: &Broker, node: &str, operations: &[ConfigOperation]) -> Refusal {
    match node.parse::<i32>() {
        Ok(node_id) if node_id == broker.node_id => {}
        Ok(_) => {
            return ErrorCode::InvalidRequest
                .because(format!("Unexpected broker id, expected {}, but received {node}", broker.node_id));
        }
        Err(_) => {
            return ErrorCode::InvalidRequest
                .because(format!("Node id must be an integer, but it is: {node}"));
        }
    }
    for operation in operations {
        let not_for_loggers = |verb: &str| {
            let text = format!("{verb} operation is not allowed for the BROKER_LOGGER resource");
            ErrorCode::InvalidRequest.because(text)
        };
        match operation.kind {
            OperationKind::Append => return not_for_loggers("APPEND"),
            OperationKind::Subtract => return not_for_loggers("SUBTRACT"),
            OperationKind::Set | OperationKind::Delete if operation.name != "root" => {
                let text = format!("Logger {} does not exist!", operation.name);
                return ErrorCode::InvalidConfig.because(text);
            }
            OperationKind::Delete => {
                return ErrorCode::InvalidRequest
                    .because("Removing the log level of the root logger is not allowed");
            }
            OperationKind::Set => {}
        }
    }
    ErrorCode::InvalidConfig.because(
        "The log level is set when the broker starts, by CORELOG_LOG in its environment; restart it with another one.",
    )
}
