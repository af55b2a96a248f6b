//! DescribeLogDirs (key 35, KIP-113): the log directories, their space, and how large each partition in them is.
//!
//! Version notes: 2 is flexible; 3 has an error for the whole request; 4 adds the space of each directory (KIP-827). Null topics mean all.
//! Every core is asked. The lag of a log is 0 where it leads, and there are no logs on the move (is_future_key).

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::broker::Broker;
use super::dispatch::Request;
use super::error_code::ErrorCode;
use super::service::Dispatched;
use super::wire::Read;
use crate::drive::tasks::{InspectTask, Inspected, LogSize, LogSizes};
use crate::shard::Core;

pub(super) fn handle(broker: &Rc<Broker>, mut request: Request) -> Read<Dispatched> {
    let body: DescribeLogDirsRequest = request.decode()?;
    let broker = Rc::clone(broker);
    Ok(Dispatched::barrier(async move {
        let sizes = all_logs(&broker).await;
        let results = results(&broker.config.log_dirs, sizes, &wanted(&body), request.version);
        request.reply(&DescribeLogDirsResponse::default().with_results(results))
    }))
}

/// What all cores say. A core that does not answer is stopping, and so is the process.
async fn all_logs(broker: &Broker) -> LogSizes {
    let mut pending = Vec::new();
    for core in 0..broker.cores.count() {
        let task = InspectTask::Logs { with_space: core == 0 };
        pending.push(broker.cores.inspect(Core(core), task).await);
    }
    let mut all = LogSizes::default();
    for submitted in pending.into_iter().flatten() {
        if let Ok(Inspected::Logs(sizes)) = submitted.await {
            all.logs.extend(sizes.logs);
            all.failed_dirs.extend(sizes.failed_dirs);
            all.space.extend(sizes.space);
        }
    }
    all
}

/// The partitions that are asked for; `None` means all.
fn wanted(body: &DescribeLogDirsRequest) -> Option<HashSet<(&str, i32)>> {
    let topics = body.topics.as_ref()?;
    let partitions = topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic.as_str(), *partition)));
    Some(partitions.collect())
}

fn results(
    dirs: &[PathBuf],
    sizes: LogSizes,
    wanted: &Option<HashSet<(&str, i32)>>,
    version: i16,
) -> Vec<DescribeLogDirsResult> {
    let is_wanted = |log: &&LogSize| {
        wanted.as_ref().is_none_or(|wanted| wanted.contains(&(log.topic.as_str(), log.partition)))
    };
    let mut by_dir: BTreeMap<&Path, BTreeMap<&str, Vec<&LogSize>>> = BTreeMap::new();
    for log in sizes.logs.iter().filter(is_wanted) {
        by_dir.entry(&log.dir).or_default().entry(&log.topic).or_default().push(log);
    }
    let told = |dir: &PathBuf| {
        let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
        let mut result = DescribeLogDirsResult::default()
            .with_log_dir(StrBytes::from_string(absolute.display().to_string()));
        if sizes.failed_dirs.contains(dir) {
            return result.with_error_code(ErrorCode::KafkaStorageError.number());
        }
        let space = sizes.space.iter().find(|space| space.dir == *dir);
        if version >= 4
            && let Some((total, usable)) = space.and_then(|space| space.total_and_usable_bytes)
        {
            result.total_bytes = bytes(total);
            result.usable_bytes = bytes(usable);
        }
        let topics = by_dir.remove(dir.as_path()).unwrap_or_default();
        result.with_topics(topics.into_iter().map(|(name, logs)| topic(name, logs)).collect())
    };
    dirs.iter().map(told).collect()
}

fn topic(name: &str, mut logs: Vec<&LogSize>) -> DescribeLogDirsTopic {
    logs.sort_unstable_by_key(|log| log.partition);
    let partitions = logs.into_iter().map(|log| {
        DescribeLogDirsPartition::default()
            .with_partition_index(log.partition)
            .with_partition_size(bytes(log.size_bytes))
    });
    DescribeLogDirsTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_partitions(partitions.collect())
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
