//! Effective configurations with source and synonyms, as DescribeConfigs tells them and CreateTopics echoes them.
//!
//! Reads the tables of `config` and what topics were given in the metadata image (KIP-226, KIP-525, KIP-569).

use corelog_logic::controller::{ConfigResource, MetadataImage};

use crate::config::{BROKER_SETTINGS, BrokerConfig, Setting, Source, Synonym, TOPIC_SETTINGS, synonyms};

/// One configuration and where its value comes from.
pub(super) struct ConfigEntry {
    pub(super) setting: &'static Setting,
    /// Every place that gives it a value; the first one counts.
    pub(super) synonyms: Vec<Synonym>,
    /// Whether AlterConfigs could change it.
    pub(super) read_only: bool,
}

impl ConfigEntry {
    /// The effective value; `None` is null.
    pub(super) fn value(&self) -> Option<&str> {
        self.synonyms.first().and_then(|first| first.value.as_deref())
    }

    /// Where the effective value comes from.
    pub(super) fn source(&self) -> Source {
        self.synonyms.first().map_or(Source::Default, |first| first.source)
    }
}

/// All configurations of a topic. `own` looks up what the topic itself was given.
pub(super) fn of_topic<'a>(
    own: impl Fn(&str) -> Option<&'a str>,
    broker: &BrokerConfig,
) -> impl Iterator<Item = ConfigEntry> {
    TOPIC_SETTINGS.iter().map(move |topic| ConfigEntry {
        setting: &topic.setting,
        synonyms: synonyms(topic, own(topic.setting.name), &broker.given),
        read_only: false,
    })
}

/// All configurations of an existing topic.
pub(super) fn of_existing_topic<'a>(
    name: &str,
    image: &'a MetadataImage,
    broker: &BrokerConfig,
) -> impl Iterator<Item = ConfigEntry> + use<'a> {
    let resource = ConfigResource::topic(name);
    let entries: Vec<ConfigEntry> = of_topic(|key| image.config(&resource, key), broker).collect();
    entries.into_iter()
}

/// All configurations of this broker. None of them can be changed while it runs, so all are read-only.
pub(super) fn of_broker(broker: &BrokerConfig) -> impl Iterator<Item = ConfigEntry> {
    BROKER_SETTINGS.iter().map(|setting| {
        let synonym = |value: Option<&str>, source| Synonym {
            name: setting.name,
            value: value.map(str::to_owned),
            source,
        };
        let given = broker.given.get(setting.name).map(|value| synonym(Some(value), Source::StaticBroker));
        let default = synonym(setting.default, Source::Default);
        ConfigEntry { setting, synonyms: given.into_iter().chain([default]).collect(), read_only: true }
    })
}
