//! Effective configurations with source and synonyms, as DescribeConfigs tells them and CreateTopics echoes them.
//!
//! Reads the tables of `config` and what was set while the broker ran (KIP-226, KIP-525, KIP-569). Follows Kafka's `ConfigHelper`.

use std::collections::BTreeSet;

use corelog_logic::controller::{ConfigResource, MetadataImage};

use super::broker::Broker;
use crate::config::{
    BrokerValues, GROUP_SETTINGS, GroupSetting, Setting, Source, Synonym, TOPIC_SETTINGS, broker_setting,
    broker_settings, effective_topic_value, topic_synonyms,
};

/// One configuration and where its value comes from.
pub(super) struct ConfigEntry {
    pub(super) name: String,
    /// The effective value; `None` is null, or not for everybody's eyes.
    pub(super) value: Option<String>,
    /// Every place that gives it a value; the first one counts.
    pub(super) synonyms: Vec<Synonym>,
    /// Whether AlterConfigs cannot change it.
    pub(super) read_only: bool,
    /// What is known of the key; `None` for one that no table has.
    pub(super) setting: Option<&'static Setting>,
}

impl ConfigEntry {
    /// Where the effective value comes from.
    pub(super) fn source(&self) -> Source {
        self.synonyms.first().map_or(Source::Default, |first| first.source)
    }
}

/// The values that this broker's topics fall back to.
pub(super) fn broker_values<'a>(broker: &'a Broker, image: &'a MetadataImage) -> BrokerValues<'a> {
    BrokerValues::new(image, broker.node_id, &broker.config.given)
}

/// All configurations of a topic. `own` looks up what the topic itself was given.
pub(super) fn of_topic<'a>(
    own: impl Fn(&str) -> Option<&'a str>,
    broker: &BrokerValues<'_>,
) -> Vec<ConfigEntry> {
    let entry = |topic: &'static crate::config::TopicSetting| {
        let setting = &topic.setting;
        let own = own(setting.name);
        ConfigEntry {
            name: setting.name.to_owned(),
            value: Some(setting.shown(&effective_topic_value(topic, own, broker))),
            synonyms: topic_synonyms(topic, own, broker),
            read_only: false,
            setting: Some(setting),
        }
    };
    TOPIC_SETTINGS.iter().map(entry).collect()
}

/// All configurations of an existing topic.
pub(super) fn of_existing_topic(
    name: &str,
    image: &MetadataImage,
    broker: &BrokerValues<'_>,
) -> Vec<ConfigEntry> {
    let resource = ConfigResource::topic(name);
    of_topic(|key| image.config(&resource, key), broker)
}

/// All configurations of this broker.
pub(super) fn of_broker(broker: &Broker, image: &MetadataImage) -> Vec<ConfigEntry> {
    let values = broker_values(broker, image);
    let known = broker_settings().map(|setting| {
        let value = match setting.name {
            // What the directories say counts when nothing was given.
            "node.id" | "broker.id" => Some(broker.node_id.to_string()),
            name => values.get(name).map(|value| setting.shown(value)),
        };
        ConfigEntry {
            name: setting.name.to_owned(),
            value,
            synonyms: values.synonyms(setting.name),
            read_only: !setting.dynamic,
            setting: Some(setting),
        }
    });
    let unknown: BTreeSet<&str> =
        values.dynamic_names().filter(|name| broker_setting(name).is_none()).collect();
    known.chain(unknown.into_iter().map(|name| unknown_entry(name, Source::DynamicBroker))).collect()
}

/// All configurations of a group, which need not exist: its own, and the broker's where it has none.
pub(super) fn of_group(group_id: &str, image: &MetadataImage, broker: &BrokerValues<'_>) -> Vec<ConfigEntry> {
    let resource = ConfigResource::group(group_id);
    let entry = |group: &'static GroupSetting| {
        let setting = &group.setting;
        let own = image.config(&resource, setting.name).map(|value| setting.shown(value));
        let mut synonyms = broker.synonyms(group.broker_name);
        if own.is_some() {
            let (name, value) = (setting.name.to_owned(), own.clone());
            synonyms.insert(0, Synonym { name, value, source: Source::Group });
        }
        ConfigEntry {
            name: setting.name.to_owned(),
            value: own.or_else(|| broker.get(group.broker_name).map(str::to_owned)),
            synonyms,
            read_only: false,
            setting: Some(setting),
        }
    };
    GROUP_SETTINGS.iter().map(entry).collect()
}

/// What was set for all brokers.
pub(super) fn of_all_brokers(broker: &Broker, image: &MetadataImage) -> Vec<ConfigEntry> {
    let source = Source::DynamicDefaultBroker;
    let entry = |(name, value): (&str, &str)| {
        let Some(setting) = broker_setting(name) else { return unknown_entry(name, source) };
        let synonym = Synonym { name: name.to_owned(), value: Some(value.to_owned()), source };
        ConfigEntry {
            name: name.to_owned(),
            value: Some(setting.shown(value)),
            synonyms: vec![synonym],
            read_only: !setting.dynamic,
            setting: Some(setting),
        }
    };
    broker_values(broker, image).of_all_brokers().map(entry).collect()
}

/// A key that no table has may be a secret of a plug-in: Kafka tells its name only.
fn unknown_entry(name: &str, source: Source) -> ConfigEntry {
    let name = name.to_owned();
    let synonyms = vec![Synonym { name: name.clone(), value: None, source }];
    ConfigEntry { name, value: None, synonyms, read_only: true, setting: None }
}
