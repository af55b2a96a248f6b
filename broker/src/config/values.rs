//! The broker's values in layers, nearest first: what was set on it while it ran, what was set for all brokers,
//! `server.properties`, defaults (KIP-226).
//!
//! Read by the topics' resolution, DescribeConfigs and the cores. Follows Kafka's `ConfigHelper.configSynonyms`. Deliberately absent:
//! the topics' own values (`topic_config.rs`), and who may change what (`schema.rs`).

use corelog_logic::controller::{ConfigResource, MetadataImage, ResourceKind};

use super::broker_settings::broker_setting;
use super::load::Given;

/// Where an effective value comes from, with Kafka's numbers (DescribeConfigsResponse.ConfigSource, KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    Group,
}

impl Source {
    /// Kafka's number for the source.
    pub fn code(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
            Self::Group => 8,
        }
    }
}

/// One place that gives a key a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    /// `None` hides a value that may be a secret.
    pub value: Option<String>,
    pub source: Source,
}

/// The values of one broker at one version of the metadata.
#[derive(Debug, Clone)]
pub struct BrokerValues<'a> {
    image: &'a MetadataImage,
    given: &'a Given,
    own: ConfigResource,
    all: ConfigResource,
}

impl<'a> BrokerValues<'a> {
    /// Of the broker `node_id`, which was started with `given`.
    pub fn new(image: &'a MetadataImage, node_id: i32, given: &'a Given) -> Self {
        let all = ConfigResource { kind: ResourceKind::Broker, name: String::new() };
        Self { image, given, own: ConfigResource::broker(node_id), all }
    }

    /// Names that were set while the broker ran, for it alone or for all.
    pub fn dynamic_names(&self) -> impl Iterator<Item = &'a str> {
        self.image.configs(&self.own).chain(self.image.configs(&self.all)).map(|(name, _)| name)
    }

    /// What was set for all brokers while they ran.
    pub fn of_all_brokers(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.image.configs(&self.all)
    }

    /// The layers that may give a key a value, nearest first.
    fn layer(&self, source: Source, name: &str) -> Option<&'a str> {
        match source {
            Source::Topic | Source::Group => None,
            Source::DynamicBroker => self.image.config(&self.own, name),
            Source::DynamicDefaultBroker => self.image.config(&self.all, name),
            Source::StaticBroker => self.given.get(name),
            Source::Default => broker_setting(name).and_then(|setting| setting.default),
        }
    }

    /// The value of exactly this key.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        LAYERS.iter().find_map(|source| self.layer(*source, name))
    }

    /// The value that counts for a key, where Kafka has coarser units for it as other keys: the nearest of them that is set, in
    /// the unit of this one.
    pub fn effective(&self, name: &str) -> Option<String> {
        names_of(name).iter().find_map(|(coarse, factor)| {
            let value = self.get(coarse)?;
            if *factor == 1 {
                return Some(value.to_owned());
            }
            let scaled = value.trim().parse::<i64>().ok()?.saturating_mul(*factor);
            Some(scaled.max(-1).to_string())
        })
    }

    /// Every place that gives a key a value, nearest first. As in Kafka, what comes before the key's own name is left out: a
    /// topic that lives by `log.retention.hours` alone shows no synonyms.
    pub fn synonyms(&self, name: &str) -> Vec<Synonym> {
        let mut found = Vec::new();
        for source in LAYERS {
            for (coarse, _) in names_of(name) {
                if let Some(value) = self.layer(source, coarse) {
                    let (name, value) = ((*coarse).to_owned(), Some(value.to_owned()));
                    found.push(Synonym { name, value, source });
                }
            }
        }
        let first = found.iter().position(|synonym| synonym.name == name).unwrap_or(found.len());
        found.split_off(first)
    }
}

const LAYERS: [Source; 4] =
    [Source::DynamicBroker, Source::DynamicDefaultBroker, Source::StaticBroker, Source::Default];

/// The keys that give the value of one key, the finest unit first, and what they are multiplied by (`brokerConfigSynonyms`).
fn names_of(name: &str) -> &'static [(&'static str, i64)] {
    match name {
        "log.roll.ms" | "log.roll.hours" => &[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => {
            &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", 3_600_000)]
        }
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            &[("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)]
        }
        "log.flush.interval.ms" => &[("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)],
        _ => match broker_setting(name) {
            Some(setting) => std::slice::from_ref(&setting.alone),
            None => &[],
        },
    }
}
