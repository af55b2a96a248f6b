//! Changing the configurations of topics, brokers and groups.
//!
//! Called by `decide` for AlterConfigs and IncrementalAlterConfigs, and by `topics`; messages are those of Kafka's ConfigAdminManager and
//! ConfigurationControlManager. Deliberately absent: which keys there are and what they may be ([`ConfigSchema`]).

use std::collections::{BTreeMap, BTreeSet};

use super::command::{
    CommandError, CommandErrorKind as Kind, ConfigChange, ConfigOperation, OperationKind, Reply,
};
use super::decide::ConfigSchema;
use super::image::MetadataImage;
use super::records::{ConfigRecord, ConfigResource, Record, ResourceKind};

/// Longest configuration value in bytes: what a string of the older protocol versions can carry.
pub const CONFIG_VALUE_BYTES_MAX: usize = i16::MAX as usize;
/// How many configurations a resource may have. There are fewer keys; brokers may be given unknown ones.
pub const CONFIGS_PER_RESOURCE_MAX: usize = 1_000;

/// How many groups may have configurations. They need not exist, so that nothing else bounds them.
pub const CONFIGURED_GROUPS_MAX: usize = 100_000;

pub(super) fn alter(
    image: &MetadataImage,
    changes: &[ConfigChange],
    validate_only: bool,
    schema: &dyn ConfigSchema,
) -> (Vec<Record>, Reply) {
    let mut times: BTreeMap<&ConfigResource, usize> = BTreeMap::new();
    for change in changes {
        *times.entry(&change.resource).or_default() += 1;
    }
    let mut records = Vec::new();
    let mut results = Vec::with_capacity(changes.len());
    for change in changes {
        let twice = times.get(&change.resource).is_some_and(|times| *times > 1);
        let result = if twice {
            Err(Kind::InvalidRequest.because("Each resource must appear at most once."))
        } else {
            change_one(image, change, schema).map(|of_resource| records.extend(of_resource))
        };
        results.push(result);
    }
    if validate_only {
        records.clear();
    }
    (records, Reply::ConfigsAltered(results))
}

fn change_one(
    image: &MetadataImage,
    change: &ConfigChange,
    schema: &dyn ConfigSchema,
) -> Result<Vec<Record>, CommandError> {
    let resource = &change.resource;
    check_operations(&change.operations).map_err(|why| Kind::InvalidRequest.because(why))?;
    if resource.kind == ResourceKind::Broker {
        check_name(image, resource)?;
    }

    let before: BTreeMap<String, String> =
        image.configs(resource).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut after = if change.resets_others { BTreeMap::new() } else { before.clone() };
    for operation in &change.operations {
        let current = before.get(&operation.name).map(String::as_str);
        match new_value(resource, operation, current, schema)? {
            Some(value) => after.insert(operation.name.clone(), value),
            None => after.remove(&operation.name),
        };
    }
    // A topic's or a group's name is looked at after what is to be done to lists.
    if resource.kind != ResourceKind::Broker {
        check_name(image, resource)?;
    }
    check_values(&after)?;
    if after.len() > CONFIGS_PER_RESOURCE_MAX {
        return Err(Kind::InvalidConfig.because(format!(
            "The resource would have {} configurations and may have {CONFIGS_PER_RESOURCE_MAX}",
            after.len()
        )));
    }
    let is_new_group = resource.kind == ResourceKind::Group && before.is_empty() && !after.is_empty();
    if is_new_group && image.configured(ResourceKind::Group).count() >= CONFIGURED_GROUPS_MAX {
        return Err(Kind::InvalidConfig.because(format!(
            "{CONFIGURED_GROUPS_MAX} groups have configurations, which is the limit: delete those of groups that are no more"
        )));
    }
    schema.validate(resource, &after)?;
    if resource.kind == ResourceKind::Topic && image.topic_by_name(&resource.name).is_none() {
        let name = &resource.name;
        return Err(Kind::UnknownTopicOrPartition.because(format!("The topic '{name}' does not exist.")));
    }

    let record = |name: &String, value: Option<&String>| {
        let (resource, name, value) = (resource.clone(), name.clone(), value.cloned());
        Record::Config(ConfigRecord { resource, name, value })
    };
    let set = after.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    let set = set.map(|(name, value)| record(name, Some(value)));
    Ok(set.chain(removed.map(|name| record(name, None))).collect())
}

/// What comes before anything else about a resource of any kind: each key once, and a value where one is due.
///
/// # Errors
/// Kafka's text for an INVALID_REQUEST.
pub fn check_operations(operations: &[ConfigOperation]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    if !operations.iter().all(|operation| names.insert(operation.name.as_str())) {
        return Err("Error due to duplicate config keys".to_owned());
    }
    let nulls: Vec<&str> = operations
        .iter()
        .filter(|operation| operation.kind != OperationKind::Delete && operation.value.is_none())
        .map(|operation| operation.name.as_str())
        .collect();
    if nulls.is_empty() {
        Ok(())
    } else {
        Err(format!("Null value not supported for : {}", nulls.join(", ")))
    }
}

fn new_value(
    resource: &ConfigResource,
    operation: &ConfigOperation,
    current: Option<&str>,
    schema: &dyn ConfigSchema,
) -> Result<Option<String>, CommandError> {
    let name = &operation.name;
    let value = operation.value.as_deref().unwrap_or_default();
    match operation.kind {
        OperationKind::Set => return Ok(Some(value.to_owned())),
        OperationKind::Delete => return Ok(None),
        OperationKind::Append | OperationKind::Subtract => {}
    }
    if !schema.is_list(resource.kind, name) {
        let (verb, capitals) = match operation.kind {
            OperationKind::Append => ("append", "APPEND"),
            _ => ("subtract", "SUBTRACT"),
        };
        return Err(Kind::InvalidConfig.because(match resource.kind {
            ResourceKind::Topic | ResourceKind::Group => {
                format!("Can't {capitals} to key {name} because its type is not LIST.")
            }
            ResourceKind::Broker => format!("Config value {verb} is not allowed for config key: {name}"),
        }));
    }
    let default = schema.default(resource.kind, name);
    let held = current.or(default.as_deref()).unwrap_or_default();
    let mut items: Vec<&str> = held.split(',').filter(|item| !item.is_empty()).collect();
    for item in parts(value) {
        match operation.kind {
            OperationKind::Append if !items.contains(&item) => items.push(item),
            OperationKind::Subtract => {
                if let Some(at) = items.iter().position(|held| *held == item) {
                    items.remove(at);
                }
            }
            _ => {}
        }
    }
    Ok(Some(items.join(",")))
}

/// The parts of a list as Java's `split` sees them: empty ones at the end do not count, but nothing at all is one.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let told = value.trim_end_matches(',');
    let only_commas = told.is_empty() && !value.is_empty();
    told.split(',').filter(move |_| !only_commas)
}

/// Whether a resource can be named so at all; whether a topic exists is asked after its values, as Kafka does.
fn check_name(image: &MetadataImage, resource: &ConfigResource) -> Result<(), CommandError> {
    let name = &resource.name;
    match resource.kind {
        ResourceKind::Topic if name.is_empty() => {
            Err(Kind::InvalidRequest.because("Default topic resources are not allowed."))
        }
        ResourceKind::Topic => {
            super::check_topic_name(name).map_err(|why| Kind::InvalidTopicException.because(why))
        }
        ResourceKind::Group if name.is_empty() => {
            Err(Kind::InvalidRequest.because("Default group resources are not allowed."))
        }
        ResourceKind::Group => Ok(()),
        ResourceKind::Broker if name.is_empty() => Ok(()),
        ResourceKind::Broker => match name.parse::<i32>() {
            Err(_) => {
                Err(Kind::InvalidRequest.because(format!("Node id must be an integer, but it is: {name}")))
            }
            Ok(node_id) if image.broker(node_id).is_none() => {
                let known: Vec<String> = image.brokers().map(|(id, _)| id.to_string()).collect();
                Err(Kind::InvalidRequest.because(format!(
                    "Unexpected broker id, expected {}, but received {name}",
                    known.join(" or ")
                )))
            }
            Ok(_) => Ok(()),
        },
    }
}

/// Refuses values that are longer than [`CONFIG_VALUE_BYTES_MAX`].
pub(super) fn check_values(configs: &BTreeMap<String, String>) -> Result<(), CommandError> {
    match configs.iter().find(|(_, value)| value.len() > CONFIG_VALUE_BYTES_MAX) {
        Some((name, value)) => Err(Kind::InvalidConfig.because(format!(
            "The value of configuration {name} has {} bytes and may have {CONFIG_VALUE_BYTES_MAX}",
            value.len()
        ))),
        None => Ok(()),
    }
}
