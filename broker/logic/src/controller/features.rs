//! The features that a cluster can finalize, and raising and lowering them (KIP-584, KIP-1022).
//!
//! Called by `decide`; messages are those of Kafka's FeatureControlManager. A feature is in the table when all of it works. Deliberately
//! absent: what a feature changes.

use super::command::{CommandError, CommandErrorKind as Kind, FeatureUpdate, Reply, UpgradeType};
use super::image::MetadataImage;
use super::records::{FeatureLevelRecord, Record};

/// A feature and the levels that this program can work at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name for it.
    pub name: &'static str,
    /// Lowest level; 0 means that it can be turned off.
    pub min_level: i16,
    /// Highest level.
    pub max_level: i16,
    /// The level of a new cluster.
    pub default_level: i16,
}

/// The feature whose level says which of Kafka's requests and errors are answered. Our records are our own and have versions of their own.
const METADATA_VERSION: &str = "metadata.version";
/// 3.3-IV3, the lowest that Kafka's tools are told of. Nothing can be lowered to it.
const METADATA_VERSION_MIN: i16 = 7;
/// 4.3-IV0.
const METADATA_VERSION_MAX: i16 = 30;

/// Every feature that works.
pub const FEATURES: &[Feature] = &[
    Feature { name: GROUP_VERSION, min_level: 0, max_level: 1, default_level: 1 },
    Feature {
        name: METADATA_VERSION,
        min_level: METADATA_VERSION_MIN,
        max_level: METADATA_VERSION_MAX,
        default_level: METADATA_VERSION_MAX,
    },
];

/// The feature whose level 1 is the consumer group protocol of KIP-848.
const GROUP_VERSION: &str = "group.version";

/// Whether consumers may use the group protocol of KIP-848.
pub fn serves_consumer_groups(image: &MetadataImage) -> bool {
    image.features().any(|(name, level)| name == GROUP_VERSION && level >= 1)
}

/// What a new cluster begins with: nothing, when it has begun already.
pub fn initial_features(image: &MetadataImage) -> Vec<(String, i16)> {
    if image.features().next().is_some() {
        return Vec::new();
    }
    FEATURES.iter().map(|feature| (feature.name.to_owned(), feature.default_level)).collect()
}

pub(super) fn update(
    image: &MetadataImage,
    updates: &[FeatureUpdate],
    validate_only: bool,
) -> Result<(Vec<Record>, Reply), CommandError> {
    let mut records = Vec::new();
    for update in updates {
        if let Some(why) = refusal(image, update) {
            return Err(Kind::InvalidUpdateVersion.because(format!(
                "The update failed for all features since the following feature had an error: Invalid update \
                 version {} for feature {}. {why}",
                update.level, update.name
            )));
        }
        records.push(Record::FeatureLevel(FeatureLevelRecord {
            name: update.name.clone(),
            feature_level: update.level,
        }));
    }
    if validate_only {
        records.clear();
    }
    Ok((records, Reply::FeaturesUpdated))
}

fn refusal(image: &MetadataImage, update: &FeatureUpdate) -> Option<String> {
    let controller = image.brokers().next().map_or(-1, |(id, _)| id);
    if update.upgrade_type == UpgradeType::Unknown {
        return Some("The controller does not support the given upgrade type.".to_owned());
    }
    if update.level < 0 {
        return Some("A feature version cannot be less than 0.".to_owned());
    }
    let Some(feature) = FEATURES.iter().find(|feature| feature.name == update.name) else {
        return Some(match update.level {
            0 => format!("Feature {} not found.", update.name),
            _ => format!("Local controller {controller} does not support this feature."),
        });
    };
    let (min, max) = (feature.min_level, feature.max_level);
    if !(min..=max).contains(&update.level) {
        return Some(format!("Local controller {controller} only supports versions {min}-{max}"));
    }
    let current = image.features().find(|(name, _)| *name == update.name).map_or(0, |(_, level)| level);
    let is_metadata_version = feature.name == METADATA_VERSION;
    match update.upgrade_type {
        UpgradeType::Upgrade if update.level < current => Some(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
             downgrade."
                .to_owned(),
        ),
        UpgradeType::SafeDowngrade | UpgradeType::UnsafeDowngrade if update.level > current => {
            Some("Can't downgrade to a newer version.".to_owned())
        }
        UpgradeType::SafeDowngrade if is_metadata_version && update.level < current => Some(
            "Refusing to perform the requested downgrade because it might delete metadata information.".to_owned(),
        ),
        UpgradeType::UnsafeDowngrade if is_metadata_version && update.level < current => {
            Some("Unsafe metadata downgrade is not supported in this version.".to_owned())
        }
        _ => None,
    }
}
