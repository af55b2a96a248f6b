//! Collects the counters of all cores for a scrape.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::api;
use crate::control::MetricsText;
use crate::metrics::{CoreStats, NodeStats, WatchStats, render};
use crate::shard::Core;
use crate::shard::message::{Notice, Notifier, Port};
use crate::shard::watchdog::Pulse;

/// How long a scrape waits for a core. One that is stuck shows by being absent.
const CORE_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes the text of /metrics from what the cores of `ports` tell.
pub(super) fn text(ports: &[Port], pulses: &[Pulse]) -> MetricsText {
    let pulses: Arc<[Pulse]> = pulses.into();
    let notifiers: Arc<[(Core, Notifier)]> =
        ports.iter().map(|port| (port.core(), port.notifier())).collect();
    Arc::new(move || {
        let (notifiers, pulses) = (notifiers.clone(), pulses.clone());
        Box::pin(async move {
            // On a thread of its own: the control thread must not wait for a core that may be waiting for it.
            match tokio::task::spawn_blocking(move || collect(&notifiers)).await {
                Ok(cores) => {
                    let watched = pulses.iter().map(watched).collect();
                    render(NodeStats { cores, watched }, api::name_of).unwrap_or_default()
                }
                Err(error) => format!("# the cores could not be asked: {error}\n"),
            }
        })
    })
}

fn watched(pulse: &Pulse) -> WatchStats {
    let seen = pulse.watched();
    WatchStats { wakes: seen.woken_again, stalls: seen.stalls }
}

fn collect(notifiers: &[(Core, Notifier)]) -> Vec<CoreStats> {
    let (tell, told) = mpsc::channel();
    for (core, notifier) in notifiers {
        let tell = tell.clone();
        let stats = Notice::Stats(Box::new(move |stats: CoreStats| {
            let _scrape_is_over = tell.send(stats);
        }));
        if notifier.notify(*core, stats).is_err() {
            tracing::debug!("{core} takes no notices");
        }
    }
    drop(tell);
    let mut cores = Vec::with_capacity(notifiers.len());
    while let Ok(stats) = told.recv_timeout(CORE_TIMEOUT) {
        cores.push(stats);
    }
    cores.sort_by_key(|stats| stats.core);
    cores
}
