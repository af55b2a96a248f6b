//! Adding partitions to a topic, and how a new partition begins.
//!
//! Called by `decide` for CreatePartitions and by `topics`; messages are those of Kafka's ReplicationControlManager. Deliberately absent: taking
//! partitions away, which Kafka has no way for.

use std::collections::{BTreeMap, BTreeSet};

use super::assign;
use super::command::{CommandError, CommandErrorKind as Kind, MorePartitions, Reply};
use super::decide::Context;
use super::image::{Delta, MetadataImage};
use super::records::{PartitionRecord, Record, TopicId};

/// How many partitions a cluster may have: bounds the memory of the image on every node.
pub const PARTITIONS_MAX: usize = 1_000_000;

pub(super) fn create(
    image: &MetadataImage,
    topics: &[MorePartitions],
    validate_only: bool,
    context: &mut Context<'_>,
) -> Result<(Vec<Record>, Reply), CommandError> {
    let more = |topic: &MorePartitions| {
        let there = image.topic_by_name(&topic.name).map_or(0, |topic| topic.partitions.len());
        usize::try_from(topic.count).unwrap_or(0).saturating_sub(there)
    };
    assign::check_partitions_per_request(topics.iter().map(more).fold(0, usize::saturating_add))?;

    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let mut answered = BTreeSet::new();
    let mut records = Vec::new();
    let mut results = Vec::new();
    // The topics of one request share the room that is left.
    let mut work = image.clone();
    for topic in topics {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let result = if times.get(topic.name.as_str()).is_some_and(|times| *times > 1) {
            Err(Kind::InvalidRequest.because("Duplicate topic name."))
        } else {
            grow(&mut work, topic, context).map(|of_topic| records.extend(of_topic))
        };
        results.push((topic.name.clone(), result));
    }
    if validate_only {
        records.clear();
    }
    Ok((records, Reply::PartitionsCreated(results)))
}

fn grow(
    work: &mut MetadataImage,
    topic: &MorePartitions,
    context: &mut Context<'_>,
) -> Result<Vec<Record>, CommandError> {
    let Some(there) = work.topic_by_name(&topic.name) else {
        return Err(Kind::UnknownTopicOrPartition.because("This server does not host this topic-partition."));
    };
    let (topic_id, present) = (there.id, there.partitions.len());
    let wanted = usize::try_from(topic.count).unwrap_or(0);
    if wanted == present {
        return Err(Kind::InvalidPartitions.because(format!("Topic already has {present} partition(s).")));
    }
    if wanted < present {
        return Err(Kind::InvalidPartitions.because(format!(
            "The topic {} currently has {present} partition(s); {} would not be an increase.",
            topic.name, topic.count
        )));
    }
    let additional = wanted - present;
    let factor = there.partition(0).map_or(1, |first| first.replicas.len());
    let replicas = match &topic.assignments {
        Some(assignments) => {
            if assignments.len() != additional {
                return Err(Kind::InvalidReplicaAssignment.because(format!(
                    "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                    assignments.len()
                )));
            }
            for replicas in assignments {
                assign::check_replicas(work, replicas, Some(factor))?;
            }
            assignments.clone()
        }
        None => assign::in_turn(work, present..wanted, factor, (context.random)())?,
    };
    check_room(work, additional)?;
    let numbered = (present as i32..).zip(replicas);
    let records: Vec<Record> =
        numbered.map(|(partition, replicas)| new(topic_id, partition, replicas, context.random)).collect();
    let mut ignored = Delta::default();
    for record in &records {
        work.replay(record, &mut ignored).map_err(|e| Kind::UnknownServerError.because(e.to_string()))?;
    }
    Ok(records)
}

/// A partition's first record.
pub(super) fn new(
    topic_id: TopicId,
    partition: i32,
    replicas: Vec<i32>,
    random: &mut dyn FnMut() -> u64,
) -> Record {
    Record::Partition(PartitionRecord {
        topic_id,
        partition,
        isr: replicas.clone(),
        leader: replicas.first().copied().unwrap_or(-1),
        replicas,
        leader_epoch: 0,
        partition_epoch: 0,
        // Zero means "no log" to storage.
        log_id: random().max(1),
    })
}

/// Refuses more partitions than [`PARTITIONS_MAX`].
pub(super) fn check_room(image: &MetadataImage, additional: usize) -> Result<(), CommandError> {
    if image.partition_count() + additional > PARTITIONS_MAX {
        return Err(Kind::PolicyViolation.because(format!(
            "The cluster has {} partitions and may have {PARTITIONS_MAX}; {additional} more do not fit. Delete topics that are not needed.",
            image.partition_count()
        )));
    }
    Ok(())
}
