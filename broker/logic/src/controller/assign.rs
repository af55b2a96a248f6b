//! Which brokers hold a new topic's partitions: as the request says, or in turn over the registered ones.
//!
//! Called for CreateTopics and CreatePartitions; messages follow Kafka's ReplicationControlManager. Deliberately absent: racks and
//! reassignment of existing partitions.

use std::ops::Range;

use super::command::{CommandError, CommandErrorKind as Kind, NewTopic};
use super::image::MetadataImage;

/// How many partitions one request may create, as in Kafka's `ReplicationControlManager`.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// Replicas of each partition, preferred leader first. `first` picks the broker of partition 0 when the request does not.
pub(super) fn replicas(
    image: &MetadataImage,
    topic: &NewTopic,
    num_partitions_default: i32,
    replication_factor_default: i16,
    first: u64,
) -> Result<Vec<Vec<i32>>, CommandError> {
    if !topic.assignments.is_empty() {
        return manual(image, topic);
    }
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        return Err(Kind::InvalidReplicationFactor
            .because("Replication factor must be larger than 0, or -1 to use the default value."));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        return Err(
            Kind::InvalidPartitions.because("Number of partitions was set to an invalid non-positive value.")
        );
    }
    let partitions = if topic.num_partitions == -1 { num_partitions_default } else { topic.num_partitions };
    let factor =
        if topic.replication_factor == -1 { replication_factor_default } else { topic.replication_factor };
    let partitions = usize::try_from(partitions).unwrap_or(0);
    check_partitions_per_request(partitions)?;
    in_turn(image, 0..partitions, usize::try_from(factor).unwrap_or(0), first)
}

/// Replicas of these partitions in turn over the registered brokers. `first` picks the broker of partition 0.
pub(super) fn in_turn(
    image: &MetadataImage,
    partitions: Range<usize>,
    factor: usize,
    first: u64,
) -> Result<Vec<Vec<i32>>, CommandError> {
    let brokers: Vec<i32> = image.brokers().map(|(id, _)| id).collect();
    if factor == 0 || factor > brokers.len() {
        return Err(Kind::InvalidReplicationFactor.because(format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be \
             reached because only {} broker(s) are registered.",
            brokers.len()
        )));
    }
    let first = (first % brokers.len() as u64) as usize;
    let replica = |partition: usize, n: usize| brokers[(first + partition + n) % brokers.len()];
    Ok(partitions.map(|p| (0..factor).map(|n| replica(p, n)).collect()).collect())
}

/// Refuses a request that makes more than [`PARTITIONS_PER_REQUEST_MAX`] partitions, with Kafka's text.
pub(super) fn check_partitions_per_request(partitions: usize) -> Result<(), CommandError> {
    if partitions > PARTITIONS_PER_REQUEST_MAX {
        return Err(Kind::PolicyViolation.because(format!(
            "Excessively large number of partitions per request: {partitions}, the limit is {PARTITIONS_PER_REQUEST_MAX}; \
             use several requests."
        )));
    }
    Ok(())
}

fn manual(image: &MetadataImage, topic: &NewTopic) -> Result<Vec<Vec<i32>>, CommandError> {
    let wrong = |message: String| Err(Kind::InvalidReplicaAssignment.because(message));
    if topic.replication_factor != -1 {
        return Err(Kind::InvalidRequest.because(
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ));
    }
    if topic.num_partitions != -1 {
        return Err(Kind::InvalidRequest
            .because("A manual partition assignment was specified, but numPartitions was not set to -1."));
    }
    check_partitions_per_request(topic.assignments.len())?;
    let mut assignments: Vec<&(i32, Vec<i32>)> = topic.assignments.iter().collect();
    assignments.sort_by_key(|(partition, _)| *partition);
    for (at, (partition, replicas)) in assignments.iter().enumerate() {
        if at > 0 && assignments[at - 1].0 == *partition {
            return wrong(format!("Found multiple manual partition assignments for partition {partition}"));
        }
        if i32::try_from(at) != Ok(*partition) {
            return wrong("partitions should be a consecutive 0-based integer sequence".to_owned());
        }
        check_replicas(image, replicas, Some(assignments[0].1.len()))?;
    }
    Ok(assignments.into_iter().map(|(_, replicas)| replicas.clone()).collect())
}

/// Refuses replicas that a reassignment names: none, unknown, or the same twice.
///
/// # Errors
/// INVALID_REPLICA_ASSIGNMENT in Kafka's words.
pub fn check_assigned_replicas(image: &MetadataImage, replicas: &[i32]) -> Result<(), CommandError> {
    check_replicas(image, replicas, None)
}

/// Refuses replicas that a request names by hand: none, unknown, the same twice, or another number of them than elsewhere in
/// the topic.
pub(super) fn check_replicas(
    image: &MetadataImage,
    replicas: &[i32],
    expected: Option<usize>,
) -> Result<(), CommandError> {
    let wrong = |message: String| Err(Kind::InvalidReplicaAssignment.because(message));
    if replicas.is_empty() {
        return wrong("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    for (n, broker) in sorted.iter().enumerate() {
        if image.broker(*broker).is_none() {
            return wrong(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is registered."
            ));
        }
        if n > 0 && sorted[n - 1] == *broker {
            return wrong(format!(
                "The manual partition assignment includes the broker {broker} more than once."
            ));
        }
    }
    match expected {
        Some(expected) if replicas.len() != expected => wrong(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
             with previous partitions, which have {expected} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}
