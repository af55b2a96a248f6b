//! A fetch that has nothing (or too little) to answer waits for its cores to say that there is more. Woken, never polled.
//!
//! Called between two reads; says which partitions the next one has to look at. Deliberately absent: reading; what was readable may be
//! gone when the fetch comes back.

use std::future::poll_fn;
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
    /// Whether a core that did not wake the fetch may have something for it all the same.
    silence_says_nothing: bool,
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
        Some(Self { watches, left, silence_says_nothing: part > 1 })
    }

    /// Resolves when there may be more to read, or time is up. Adds to `due`, which has a list for each watch, the items to look at.
    pub(super) async fn run(self, broker: &Broker, due: &mut [Vec<usize>]) {
        let counts: Vec<usize> = self.watches.iter().map(|(_, task)| task.partitions.len()).collect();
        let mut watches: Vec<_> =
            self.watches.into_iter().map(|(core, task)| Some(broker.cores.watch(core, task))).collect();
        let mut time_is_up = broker.cores.sleep(self.left);
        let mut woken = vec![None; watches.len()];
        poll_fn(|context| {
            for (watch, woken) in watches.iter_mut().zip(&mut woken) {
                if let Some(waiting) = watch
                    && let Poll::Ready(items) = Pin::new(waiting).poll(context)
                {
                    // A core that is gone is heard of by reading.
                    *woken = Some(items.ok());
                    *watch = None;
                }
            }
            if woken.iter().any(Option::is_some) {
                return Poll::Ready(());
            }
            Pin::new(&mut time_is_up).poll(context)
        })
        .await;
        for ((due, woken), count) in due.iter_mut().zip(woken).zip(counts) {
            match woken {
                Some(Some(items)) => due.extend(items.into_iter().map(|item| item as usize)),
                Some(None) => due.extend(0..count),
                None if self.silence_says_nothing => due.extend(0..count),
                None => {}
            }
            due.sort_unstable();
            due.dedup();
        }
    }
}
