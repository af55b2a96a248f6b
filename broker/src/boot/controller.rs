//! Plugs between the control thread and the rest: its policy, how cores hear of metadata, how the APIs call it.

use std::sync::Arc;
use std::time::Duration;

use corelog_logic::controller::Command;

use crate::api::broker::{Controller, ControllerError, Local, Quorum};
use crate::config::{BrokerConfig, Schema};
use crate::control::{Control, ControlError, Policy, Publisher};
use crate::shard::Core;
use crate::shard::mailbox::Refused;
use crate::shard::message::{Notice, Notifier, Port, Published};

/// Pause before a full inbox is tried again. It is full of connections being handed over, and empties at once.
const INBOX_RETRY: Duration = Duration::from_millis(1);
/// A core that takes nothing for this many retries is not coming back.
const INBOX_RETRIES_MAX: u32 = 60_000;

/// The controller's defaults and checks.
pub(super) fn policy(config: &Arc<BrokerConfig>) -> Policy {
    Policy {
        num_partitions: config.num_partitions,
        default_replication_factor: config.default_replication_factor,
        configs: Box::new(Schema(Arc::clone(config))),
    }
}

/// Tells every core of each image, through the mailbox.
pub(super) fn publisher(ports: &[Port]) -> Publisher {
    let notifiers: Vec<(Core, Notifier)> = ports.iter().map(|port| (port.core(), port.notifier())).collect();
    Box::new(move |image, delta| {
        for (core, notifier) in &notifiers {
            tell(notifier, *core, Published { image: image.clone(), delta: delta.clone() });
        }
    })
}

fn tell(notifier: &Notifier, core: Core, published: Published) {
    let mut notice = Notice::Metadata(published);
    for _ in 0..INBOX_RETRIES_MAX {
        match notifier.notify(core, notice) {
            Ok(()) => return,
            Err(Refused(refused)) => notice = refused,
        }
        std::thread::sleep(INBOX_RETRY);
    }
    // Versions build on each other: a core that missed one would be wrong for ever. At a stop nobody minds.
    tracing::error!("{core} takes no metadata: it is stopping or stuck");
}

/// The control thread as the APIs call it.
pub(super) struct ControlCalls(pub(super) Control);

impl Controller for ControlCalls {
    fn quorum(&self) -> Quorum {
        let state = self.0.quorum();
        let offset = |entries: u64| i64::try_from(entries).unwrap_or(i64::MAX);
        Quorum {
            leader_epoch: i32::try_from(state.term).unwrap_or(i32::MAX),
            high_watermark: offset(state.committed),
            log_end_offset: offset(state.written),
        }
    }

    fn call(&self, command: Command) -> Local<Result<corelog_logic::controller::Reply, ControllerError>> {
        let control = self.0.clone();
        Box::pin(async move {
            control.call(command).await.map_err(|error| match error {
                ControlError::Refused(error) => ControllerError::Refused(error),
                full @ ControlError::DiskFull { .. } => ControllerError::DiskFull(full.to_string()),
                other => ControllerError::Unavailable(other.to_string()),
            })
        })
    }
}
