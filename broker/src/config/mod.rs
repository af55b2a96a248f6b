//! Configuration: Kafka's `server.properties` keys and topic keys, one table each, and the typed values they become.
//!
//! Read by boot (everything), api (DescribeConfigs, topic creation), shard and drive (topics' values), `corelog config`. Imports no other room.

mod broker_config;
mod broker_settings;
mod cleaner_config;
mod consumer_group_settings;
mod group_settings;
mod key;
mod listeners;
mod listing;
mod load;
mod schema;
mod setting;
mod single_group_settings;
mod topic_config;
mod topic_settings;
mod values;

#[cfg(test)]
mod tests;

pub use broker_config::{BrokerConfig, Flush, ValidateRecords};
pub use broker_settings::{BROKER_SECTIONS, broker_setting, broker_settings};
pub use cleaner_config::CleanerConfig;
pub use group_settings::GroupsConfig;
pub use listeners::Listener;
pub use listing::listing;
pub use load::{ConfigError, Given, Loaded, load, parse_properties};
pub use schema::Schema;
pub use setting::{Allowed, Effect, InvalidValue, Kind, Setting};
pub use single_group_settings::{GROUP_SETTINGS, GroupSetting, group_setting};
pub use topic_config::{
    CleanupPolicy, TopicConfig, effective as effective_topic_value, synonyms as topic_synonyms,
};
pub use topic_settings::{TOPIC_SETTINGS, TopicSetting, topic_setting};
pub use values::{BrokerValues, Source, Synonym};
