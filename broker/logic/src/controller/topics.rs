//! Creating and deleting topics.
//!
//! Called by `decide`; semantics and messages are those of Kafka's ReplicationControlManager. Deliberately absent: placing replicas (`assign`),
//! adding partitions to what is there (`partitions`).

use std::collections::{BTreeMap, BTreeSet};

use super::command::{
    CommandError, CommandErrorKind, CreatedTopic, DeletedTopic, NewTopic, Reply, TopicCreated, TopicRef,
};
use super::decide::Context;
use super::image::{Delta, MetadataImage};
use super::records::{ConfigRecord, ConfigResource, Record, RemoveTopicRecord, TopicId, TopicRecord};
use super::topic_name::check_topic_name;
use super::{assign, configs, partitions};

pub(super) fn create(
    image: &MetadataImage,
    topics: &[NewTopic],
    validate_only: bool,
    context: &mut Context<'_>,
) -> Result<(Vec<Record>, Reply), CommandError> {
    let announced: i64 =
        topics.iter().map(|t| i64::from(t.num_partitions.max(1)) + t.assignments.len() as i64).sum();
    assign::check_partitions_per_request(usize::try_from(announced).unwrap_or(usize::MAX))?;

    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let mut answered = BTreeSet::new();
    let mut results = Vec::new();
    let mut records = Vec::new();
    // Topics of this request collide with each other, too.
    let mut work = image.clone();
    for topic in topics {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let result = if times.get(topic.name.as_str()).is_some_and(|times| *times > 1) {
            Err(CommandErrorKind::InvalidRequest.because("Duplicate topic name."))
        } else {
            create_topic(&mut work, topic, context).map(|(created, of_topic)| {
                records.extend(of_topic);
                created
            })
        };
        results.push(CreatedTopic { name: topic.name.clone(), result });
    }
    if validate_only {
        records.clear();
    }
    Ok((records, Reply::TopicsCreated(results)))
}

fn create_topic(
    work: &mut MetadataImage,
    topic: &NewTopic,
    context: &mut Context<'_>,
) -> Result<(TopicCreated, Vec<Record>), CommandError> {
    use CommandErrorKind as Kind;
    if topic.name == "__cluster_metadata" {
        return Err(
            Kind::InvalidRequest.because("Creation of internal topic __cluster_metadata is prohibited.")
        );
    }
    check_topic_name(&topic.name).map_err(|why| Kind::InvalidTopicException.because(why))?;
    if work.topic_by_name(&topic.name).is_some() {
        return Err(Kind::TopicAlreadyExists.because(format!("Topic '{}' already exists.", topic.name)));
    }
    if let Some(other) = work.colliding_topic(&topic.name) {
        return Err(Kind::InvalidTopicException
            .because(format!("Topic '{}' collides with existing topic: {other}", topic.name)));
    }
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|(_, v)| v.is_none()).map(|(n, _)| n.as_str()).collect();
    if !nulls.is_empty() {
        let nulls = nulls.join(",");
        return Err(
            Kind::InvalidConfig.because(format!("Null value not supported for topic configs: {nulls}"))
        );
    }
    let mut configs = BTreeMap::new();
    for (name, value) in &topic.configs {
        configs.insert(name.clone(), value.clone().unwrap_or_default());
    }
    configs::check_values(&configs)?;
    context.configs.validate(&ConfigResource::topic(&topic.name), &configs)?;
    let first = (context.random)();
    let replicas =
        assign::replicas(work, topic, context.num_partitions, context.default_replication_factor, first)?;
    partitions::check_room(work, replicas.len())?;

    let topic_id = new_topic_id(work, context.random);
    let created = TopicCreated {
        topic_id,
        num_partitions: replicas.len() as i32,
        replication_factor: replicas.first().map_or(0, |r| r.len() as i16),
    };
    let mut records = vec![Record::Topic(TopicRecord { name: topic.name.clone(), topic_id })];
    for (partition, replicas) in replicas.into_iter().enumerate() {
        records.push(partitions::new(topic_id, partition as i32, replicas, context.random));
    }
    for (name, value) in configs {
        records.push(Record::Config(ConfigRecord {
            resource: ConfigResource::topic(&topic.name),
            name,
            value: Some(value),
        }));
    }
    let mut ignored = Delta::default();
    for record in &records {
        work.replay(record, &mut ignored).map_err(|e| Kind::UnknownServerError.because(e.to_string()))?;
    }
    Ok((created, records))
}

fn new_topic_id(work: &MetadataImage, random: &mut dyn FnMut() -> u64) -> TopicId {
    loop {
        if let Some(id) = TopicId::from_random(random(), random())
            && work.topic(&id).is_none()
        {
            return id;
        }
    }
}

pub(super) fn delete(image: &MetadataImage, topics: &[TopicRef]) -> (Vec<Record>, Reply) {
    use CommandErrorKind as Kind;
    let mut times: BTreeMap<&TopicRef, usize> = BTreeMap::new();
    for topic in topics {
        *times.entry(topic).or_default() += 1;
    }
    let mut answered = BTreeSet::new();
    let mut removed = BTreeSet::new();
    let mut records = Vec::new();
    let mut results = Vec::new();
    for topic in topics {
        if !answered.insert(topic) {
            continue;
        }
        let found = match topic {
            TopicRef::Name(name) => image.topic_by_name(name),
            TopicRef::Id(id) => image.topic(id),
        };
        let twice = times.get(topic).is_some_and(|times| *times > 1);
        let result = match (topic, found) {
            (TopicRef::Name(_), _) if twice => Err(Kind::InvalidRequest.because("Duplicate topic name.")),
            (TopicRef::Id(_), _) if twice => Err(Kind::InvalidRequest.because("Duplicate topic id.")),
            (TopicRef::Name(_), None) => {
                Err(Kind::UnknownTopicOrPartition.because("This server does not host this topic-partition."))
            }
            (TopicRef::Id(_), None) => {
                Err(Kind::UnknownTopicId.because("This server does not host this topic ID."))
            }
            (_, Some(topic)) if !removed.insert(topic.id) => Err(Kind::InvalidRequest
                .because("The provided topic name maps to an ID that was already supplied.")),
            (_, Some(topic)) => {
                records.push(Record::RemoveTopic(RemoveTopicRecord { topic_id: topic.id }));
                Ok(())
            }
        };
        let (name, topic_id) = match (topic, found) {
            // What was named twice is not looked at.
            (_, Some(topic)) if !twice => (Some(topic.name.to_string()), Some(topic.id)),
            (TopicRef::Name(name), _) => (Some(name.clone()), None),
            (TopicRef::Id(id), _) => (None, Some(*id)),
        };
        results.push(DeletedTopic { name, topic_id, result });
    }
    (records, Reply::TopicsDeleted(results))
}
