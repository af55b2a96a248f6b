//! Answers what is asked of partitions beside their records: where leader epochs end, who writes, how large logs are.
//!
//! Called by `shard`. Deliberately absent: changing anything.

use std::path::{Path, PathBuf};

use corelog_logic::partition::epoch_end::EpochEnd;
use corelog_logic::partition::producer_state::ActiveProducer;

use super::tasks::{
    DirectorySpace, EpochQuery, InspectTask, Inspected, LogSize, LogSizes, PartitionError, PartitionId,
};
use super::{Partitions, Reconciler};

/// Answers one question.
pub async fn inspect(reconciler: &Reconciler, task: InspectTask) -> Inspected {
    let partitions = reconciler.partitions();
    match task {
        InspectTask::Epochs { queries, image_version } => {
            let mut ends = Vec::with_capacity(queries.len());
            for query in &queries {
                ends.push(epoch_end(partitions, query, image_version).await);
            }
            Inspected::Epochs(ends)
        }
        InspectTask::Producers { partitions: asked, image_version } => {
            let mut producers = Vec::with_capacity(asked.len());
            for id in &asked {
                producers.push(active_producers(partitions, id, image_version).await);
            }
            Inspected::Producers(producers)
        }
        InspectTask::Offline => Inspected::Offline(partitions.offline()),
        InspectTask::Logs { with_space } => Inspected::Logs(log_sizes(reconciler, with_space).await),
    }
}

async fn epoch_end(
    partitions: &Partitions,
    query: &EpochQuery,
    image_version: u64,
) -> Result<EpochEnd, PartitionError> {
    let partition = partitions.find(&query.partition, image_version).await?;
    partition.check_leader_epoch(query.current_leader_epoch)?;
    Ok(partition.end_of_epoch(query.leader_epoch))
}

async fn active_producers(
    partitions: &Partitions,
    id: &PartitionId,
    image_version: u64,
) -> Result<Vec<ActiveProducer>, PartitionError> {
    let partition = partitions.find(id, image_version).await?;
    let active = partition.producers().borrow_mut().state().active();
    Ok(active)
}

async fn log_sizes(reconciler: &Reconciler, with_space: bool) -> LogSizes {
    let online = reconciler.partitions().online();
    let logs = online.iter().map(|partition| {
        let (log, identity) = (partition.log(), partition.log().identity());
        LogSize {
            dir: log.path().parent().map(Path::to_path_buf).unwrap_or_default(),
            topic: identity.topic.clone(),
            partition: identity.partition,
            size_bytes: log.size_bytes(),
        }
    });
    let logs = logs.collect();
    let failed_dirs = reconciler.offline_dirs();
    let space = if with_space { space_of(reconciler.dirs().used.clone()).await } else { Vec::new() };
    LogSizes { logs, failed_dirs, space }
}

/// Asks the file systems, on a thread that may block: one that hangs must not stop a core.
async fn space_of(dirs: Vec<PathBuf>) -> Vec<DirectorySpace> {
    let ask = move || {
        dirs.into_iter().map(|dir| {
            let space = nix::sys::statvfs::statvfs(&dir).ok();
            let total_and_usable_bytes = space.map(|space| {
                let unit = space.fragment_size();
                (space.blocks().saturating_mul(unit), space.blocks_available().saturating_mul(unit))
            });
            DirectorySpace { dir, total_and_usable_bytes }
        })
    };
    glommio::executor().spawn_blocking(move || ask().collect()).await
}
