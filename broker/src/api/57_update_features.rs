//! UpdateFeatures (key 57, KIP-584): raises and lowers the cluster's finalized features.
//!
//! Version notes: flexible from 0; 1 adds the kind of upgrade and validating only; 2 (KIP-1022) answers for the whole request, before it each
//! feature is answered too. All updates happen or none. Which levels there are is the controller's to know.

use std::rc::Rc;

use corelog_logic::controller::{Command, FeatureUpdate, Reply as ControllerReply, UpgradeType};
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::{ErrorCode, Refusal};
use super::service::Dispatched;
use super::wire::Read;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: UpdateFeaturesRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let response = match update(&broker, &body, request.version).await {
            Ok(()) if request.version < 2 => {
                let done = |update: &FeatureUpdateKey| {
                    UpdatableFeatureResult::default().with_feature(update.feature.clone())
                };
                UpdateFeaturesResponse::default()
                    .with_error_message(None)
                    .with_results(body.feature_updates.iter().map(done).collect())
            }
            Ok(()) => UpdateFeaturesResponse::default().with_error_message(None),
            Err(refusal) => UpdateFeaturesResponse::default()
                .with_error_code(refusal.code.number())
                .with_error_message(refusal.text()),
        };
        request.reply(&response)
    }))
}

async fn update(broker: &Broker, body: &UpdateFeaturesRequest, version: i16) -> Result<(), Refusal> {
    let updates = body.feature_updates.iter().map(|one| feature_update(one, version)).collect();
    let command = Command::UpdateFeatures { updates, validate_only: body.validate_only };
    match broker.control(command, body.timeout_ms).await {
        Ok(ControllerReply::FeaturesUpdated) => Ok(()),
        Ok(other) => {
            tracing::error!(?other, "the controller answered something else than updated features");
            Err(ErrorCode::UnknownServerError.into())
        }
        Err(error) => Err((&error).into()),
    }
}

fn feature_update(update: &FeatureUpdateKey, version: i16) -> FeatureUpdate {
    let upgrade_type = match update.upgrade_type {
        _ if version == 0 && update.allow_downgrade => UpgradeType::UnsafeDowngrade,
        1 => UpgradeType::Upgrade,
        2 => UpgradeType::SafeDowngrade,
        3 => UpgradeType::UnsafeDowngrade,
        _ => UpgradeType::Unknown,
    };
    FeatureUpdate { name: update.feature.to_string(), level: update.max_version_level, upgrade_type }
}
