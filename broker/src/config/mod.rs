//! Configuration: Kafka's `server.properties` keys and topic keys, one table each, and the typed values they become.
//!
//! Read by boot (everything), api (DescribeConfigs, topic creation), shard and drive (topics' values). Imports no other room.

mod broker_config;
mod broker_settings;
mod consumer_group_settings;
mod group_settings;
mod listeners;
mod load;
mod setting;
mod topic_config;
mod topic_settings;

#[cfg(test)]
mod tests;

pub use broker_config::{BrokerConfig, Flush, ValidateRecords};
pub use broker_settings::{BROKER_SETTINGS, broker_setting};
pub use group_settings::GroupsConfig;
pub use listeners::Listener;
pub use load::{ConfigError, Given, Loaded, load};
pub use setting::{Effect, InvalidValue, Kind, Setting};
pub use topic_config::{Source, Synonym, TopicConfig, check as check_topic_config, synonyms};
pub use topic_settings::{TOPIC_SETTINGS, TopicSetting, topic_setting};
