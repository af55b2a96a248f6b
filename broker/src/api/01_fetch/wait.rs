//! A fetch that has nothing (or too little) to answer waits for its cores to say that there is more. Woken, never polled.
//!
//! Called between two reads. Deliberately absent: reading; what was readable may be gone when the fetch comes back.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Fetch;
use crate::api::broker::Broker;
use crate::drive::tasks::WatchTask;
use crate::shard::Core;

/// What to wait for, and how long.
pub(super) struct Wait {
    watches: Vec<(Core, WatchTask)>,
    left: Duration,
}

impl Wait {
    /// Whether Kafka would let this fetch wait: something is asked for that can be read, nothing failed, the bytes found are
    /// fewer than wanted, and there is time left.
    pub(super) fn needed(fetch: &Fetch, deadline: Instant) -> Option<Self> {
        let left = deadline.saturating_duration_since(Instant::now());
        if fetch.groups.0.is_empty() || fetch.failed || fetch.bytes >= fetch.bytes_min || left.is_zero() {
            return None;
        }
        let found: usize = fetch.found.iter().sum();
        // If the cores together get what is missing, one of them gets at least its equal part of it: waking at that
        // never misses the moment, and rarely comes before it.
        let part = fetch.bytes_min.saturating_sub(found).max(1).div_ceil(fetch.groups.0.len());
        let wait_ms_max = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        let watches = fetch
            .groups
            .0
            .iter()
            .zip(&fetch.found)
            .map(|(group, found)| {
                let task = WatchTask {
                    partitions: group.items.clone(),
                    bytes_min: found + part,
                    isolation: fetch.isolation,
                    wait_ms_max,
                };
                (group.core, task)
            })
            .collect();
        Some(Self { watches, left })
    }

    /// Resolves when there may be more to read, or time is up.
    pub(super) async fn run(self, broker: &Broker) {
        let mut watches: Vec<_> =
            self.watches.into_iter().map(|(core, task)| broker.cores.watch(core, task)).collect();
        let woken = poll_fn(move |context| {
            let ready = watches.iter_mut().any(|watch| Pin::new(watch).poll(context).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        });
        futures_lite::future::or(woken, broker.cores.sleep(self.left)).await;
    }
}
