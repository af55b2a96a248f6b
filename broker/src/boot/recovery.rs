//! Recovers the log directories before any core opens them, on an executor that ends with it.

use std::collections::HashSet;
use std::sync::Arc;

use corelog_logic::controller::{MetadataImage, TopicId};
use corelog_storage::io::glommio::GlommioIo;
use corelog_storage::log::LogIdentity;
use corelog_storage::recovery::{self, Advisors, Recovered, RecoveryOptions};
use glommio::{LocalExecutorBuilder, Placement, PoolPlacement};

use crate::control::Identity;
use crate::drive::ProducerTenant;
use crate::shard::executor::BLOCKING_THREADS;
use crate::shard::view::placement_of;

/// Brings every log to what its journals say, and assigns it to a core of this start.
pub(super) fn recover(
    identity: &Identity,
    cores: u16,
    image: &Arc<MetadataImage>,
) -> anyhow::Result<Recovered> {
    let (dirs, image) = (identity.paths(), image.clone());
    let recovering = LocalExecutorBuilder::new(Placement::Unbound)
        .name("recovery")
        .io_memory(0)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS))
        .spawn(move || async move {
            let options = RecoveryOptions { dirs, cores: cores.into(), bugs: Default::default() };
            let placement = placement_of(&image, cores);
            let is_known = |identity: &LogIdentity| {
                let partition = image.partition(&TopicId(identity.topic_id), identity.partition);
                partition.is_some_and(|partition| partition.log_id == identity.log_id.0)
            };
            let mut advisors = Advisors {
                is_live: &mut |identity| is_known(identity),
                assign: &mut |identity| {
                    placement.core_of(identity.topic_id, identity.partition).map_or(0, |core| core.0.into())
                },
                tenant: &mut |_| Box::new(ProducerTenant::default()),
            };
            recovery::recover(&GlommioIo::new(), &options, &mut advisors).await
        })
        .map_err(|error| anyhow::anyhow!("recovery could not start: {error}"))?;
    let recovered = recovering.join().map_err(|error| anyhow::anyhow!("recovery could not run: {error}"))?;
    let recovered = recovered?;
    match (identity.dirs.first(), recovered.failed_dirs.first()) {
        (Some(first), Some((failed, error))) if first.path == *failed => Err(error.clone().into()),
        _ => Ok(recovered),
    }
}

/// Whether a partition of the metadata has no log in any directory that was recovered.
pub(super) fn is_any_missing(image: &MetadataImage, recovered: &Recovered) -> bool {
    let found: HashSet<u64> =
        recovered.cores.iter().flat_map(|core| &core.logs).map(|log| log.identity.log_id.0).collect();
    image.topics().flat_map(|topic| topic.partitions.iter()).any(|state| !found.contains(&state.log_id))
}
