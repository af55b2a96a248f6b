//! A core's scrubber: goes through its logs again and again, slowly, and tells the log of what is not as it was written.
//!
//! Started by boot in the housekeeping class, ends with the core. Deliberately absent: what is verified and how (`storage`), and
//! anything that mends records.

use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_storage::io::Io;
use corelog_storage::io::glommio::GlommioIo;
use corelog_storage::scrub::Finding;
use corelog_storage::throttle::Throttle;
use corelog_storage::types::LogId;

use super::Store;

/// How fast and how often a core scrubs.
#[derive(Debug, Clone, Copy)]
pub struct ScrubSettings {
    /// This core's part of `corelog.scrub.bytes.per.second`.
    pub bytes_per_second: f64,
    /// From the start of one pass to the start of the next (`corelog.scrub.interval.ms`).
    pub interval: Duration,
}

/// Scrubs until the store closes. The first pass begins with the log of id `first`, or the next above it: a random one, so that a broker
/// which is restarted more often than it gets round verifies all its logs in the end.
pub async fn scrub_logs(store: Rc<Store>, settings: ScrubSettings, mut first: LogId) {
    loop {
        let begun = Instant::now();
        let mut throttle = Throttle::new(settings.bytes_per_second, GlommioIo::new().now_ns());
        let before = store.stats().scrubbed;
        if !store.scrub(first, &mut throttle, &mut tell).await {
            return;
        }
        let after = store.stats().scrubbed;
        tracing::info!(
            "scrubbed {} segments, {} bytes: {} damaged",
            after.segments - before.segments,
            after.bytes - before.bytes,
            after.damaged_segments - before.damaged_segments
        );
        first = LogId(0);
        glommio::timer::sleep(settings.interval.saturating_sub(begun.elapsed())).await;
    }
}

fn tell(finding: Finding) {
    match finding {
        Finding::Damaged { path, first, places } => tracing::error!(
            "{} is damaged in {places} places, the first: {first}; what is there is refused to consumers, the rest is served. Look at \
             it with `corelog dump-log --verify`, and copy what you need while the disk lasts",
            path.display()
        ),
        Finding::Mended { path } => {
            tracing::info!("{} was damaged or missing, and is made again from its segment", path.display());
        }
    }
}
