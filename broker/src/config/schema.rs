//! Which configurations exist, what they may be and who may be given them: the controller asks it before it changes any.
//!
//! Implements the controller's [`ConfigSchema`] over the tables; texts are Kafka's (`LogConfig.validate`, `ControllerConfigurationValidator`,
//! `DynamicBrokerConfig.validateConfigs`, `GroupConfig.validate`). Deliberately absent: whether a topic or broker exists, which the controller knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use corelog_logic::controller::{
    CommandError, CommandErrorKind as Kind, ConfigResource, ConfigSchema, ResourceKind,
};

use super::broker_config::BrokerConfig;
use super::broker_settings::broker_setting;
use super::setting::{Kind as Type, Setting, boolean};
use super::single_group_settings::{self, group_setting};
use super::topic_settings::topic_setting;

/// The tables, as the controller of a broker with this configuration sees them.
pub struct Schema(pub Arc<BrokerConfig>);

impl ConfigSchema for Schema {
    fn is_list(&self, kind: ResourceKind, name: &str) -> bool {
        setting(kind, name).is_some_and(|setting| setting.kind == Type::List)
    }

    fn default(&self, kind: ResourceKind, name: &str) -> Option<String> {
        setting(kind, name).and_then(|setting| setting.default).map(str::to_owned)
    }

    fn validate(
        &self,
        resource: &ConfigResource,
        configs: &BTreeMap<String, String>,
    ) -> Result<(), CommandError> {
        match resource.kind {
            ResourceKind::Topic => self.validate_topic(configs),
            ResourceKind::Broker => self.validate_broker(configs),
            ResourceKind::Group => match single_group_settings::refusal(configs, &self.0.given) {
                Some(why) => Err(Kind::InvalidConfig.because(why)),
                None => Ok(()),
            },
        }
    }
}

fn setting(kind: ResourceKind, name: &str) -> Option<&'static Setting> {
    match kind {
        ResourceKind::Topic => topic_setting(name).map(|topic| &topic.setting),
        ResourceKind::Broker => broker_setting(name),
        ResourceKind::Group => group_setting(name).map(|group| &group.setting),
    }
}

impl Schema {
    fn validate_topic(&self, configs: &BTreeMap<String, String>) -> Result<(), CommandError> {
        for (name, value) in configs {
            let Some(topic) = topic_setting(name) else {
                return Err(Kind::InvalidConfig.because(format!("Unknown topic config name: {name}")));
            };
            if let Some(why) = topic.setting.refusal(value) {
                return Err(Kind::InvalidConfig.because(why));
            }
        }
        let number = |name: &str| configs.get(name).and_then(|value| value.trim().parse::<i64>().ok());
        let min = number("min.compaction.lag.ms").unwrap_or(0);
        let max = number("max.compaction.lag.ms").unwrap_or(i64::MAX);
        if min > max {
            return Err(Kind::InvalidConfig.because(format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
            )));
        }
        if configs.get("remote.storage.enable").and_then(|value| boolean(value)) == Some(true) {
            return Err(Kind::InvalidConfig.because(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
            ));
        }
        self.check_batch_bytes(configs, "max.message.bytes").map_err(|why| Kind::InvalidConfig.because(why))
    }

    /// What is unknown passes, as in Kafka, where it may belong to a plug-in; it is shown, and does nothing.
    fn validate_broker(&self, configs: &BTreeMap<String, String>) -> Result<(), CommandError> {
        let known = || configs.iter().filter_map(|(name, value)| Some((broker_setting(name)?, value)));
        let fixed: Vec<&str> =
            known().filter(|(setting, _)| !setting.dynamic).map(|(setting, _)| setting.name).collect();
        if !fixed.is_empty() {
            let fixed = fixed.join(", ");
            return Err(
                Kind::InvalidRequest.because(format!("Cannot update these configs dynamically: [{fixed}]"))
            );
        }
        for (setting, value) in known() {
            if let Some(why) = setting.refusal(value) {
                return Err(Kind::InvalidRequest.because(why));
            }
        }
        self.check_batch_bytes(configs, "message.max.bytes").map_err(|why| Kind::InvalidRequest.because(why))
    }

    /// A batch that does not fit into the journal would be refused with every produce.
    fn check_batch_bytes(&self, configs: &BTreeMap<String, String>, name: &str) -> Result<(), String> {
        let (journal_bytes, limit) = (self.0.journal_bytes, self.0.journal_bytes / 8);
        match configs.get(name).and_then(|value| value.trim().parse::<u64>().ok()) {
            Some(bytes) if bytes > limit => Err(format!(
                "Invalid value {bytes} for configuration {name}: a batch may take an eighth of \
                 corelog.journal.bytes={journal_bytes}, which is {limit}"
            )),
            _ => Ok(()),
        }
    }
}
