//! Raising and lowering features.

use super::*;

fn update(name: &str, level: i16, upgrade_type: UpgradeType) -> Vec<FeatureUpdate> {
    vec![FeatureUpdate { name: name.to_owned(), level, upgrade_type }]
}

impl Controller {
    fn update_features(&mut self, updates: Vec<FeatureUpdate>) -> Result<(), String> {
        let command = Command::UpdateFeatures { updates, validate_only: false };
        self.run(command).map(drop).map_err(|error| {
            assert_eq!(error.kind, CommandErrorKind::InvalidUpdateVersion);
            let (all, one) = error.message.split_once("error: ").unwrap();
            assert!(all.starts_with("The update failed for all features"));
            one.to_owned()
        })
    }
}

fn begun() -> Controller {
    let mut controller = Controller::with_broker(1);
    let levels = initial_features(&controller.image);
    controller.run(Command::SetFeatures { levels }).unwrap();
    controller
}

#[test]
fn a_new_cluster_begins_with_every_feature_and_an_old_one_keeps_what_it_has() {
    let controller = begun();
    let levels: Vec<(&str, i16)> = controller.image.features().collect();
    let expected: Vec<(&str, i16)> = FEATURES.iter().map(|one| (one.name, one.default_level)).collect();
    assert_eq!(levels, expected);
    assert_eq!(initial_features(&controller.image), []);
}

#[test]
fn a_level_is_set_again_and_others_are_refused_in_kafkas_words() {
    let mut controller = begun();
    let (up, down) = (UpgradeType::Upgrade, UpgradeType::SafeDowngrade);
    assert_eq!(controller.update_features(update("metadata.version", 30, up)), Ok(()));
    assert_eq!(controller.update_features(update("metadata.version", 30, down)), Ok(()));
    let mut refused = |name, level, kind| controller.update_features(update(name, level, kind)).unwrap_err();
    assert_eq!(
        refused("metadata.version", 31, up),
        "Invalid update version 31 for feature metadata.version. Local controller 1 only supports versions 7-30"
    );
    assert_eq!(
        refused("x", 1, up),
        "Invalid update version 1 for feature x. Local controller 1 does not support this feature."
    );
    assert_eq!(refused("x", 0, down), "Invalid update version 0 for feature x. Feature x not found.");
    assert!(refused("metadata.version", 20, down).ends_with("because it might delete metadata information."));
    assert!(
        refused("metadata.version", 20, UpgradeType::UnsafeDowngrade)
            .ends_with("Unsafe metadata downgrade is not supported in this version.")
    );
    assert!(refused("metadata.version", -1, down).ends_with("A feature version cannot be less than 0."));
    assert!(
        refused("metadata.version", 30, UpgradeType::Unknown)
            .ends_with("does not support the given upgrade type.")
    );
}

#[test]
fn one_bad_update_spoils_all_and_validating_changes_nothing() {
    let mut controller = Controller::with_broker(1);
    let mut both = update("metadata.version", 30, UpgradeType::Upgrade);
    let updates = both.clone();
    controller.run(Command::UpdateFeatures { updates, validate_only: true }).unwrap();
    both.extend(update("x", 1, UpgradeType::Upgrade));
    controller.update_features(both).unwrap_err();
    assert_eq!(controller.image.features().count(), 0);
}
