//! OffsetCommit, OffsetFetch, OffsetDelete and DeleteGroups: what is asked of committed offsets.
//!
//! After Kafka's OffsetMetadataManager. Commits are records and nothing else: they count once they are replayed. Deliberately
//! absent: whether topics exist, which `api` knows, and offsets in transactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::classic::State;
use super::coordinator::Group;
use super::offsets::tombstone;
use super::records::{OffsetCommitKey, OffsetCommitValue};
use super::{
    Context, GroupCoordinator, GroupErrorKind, GroupId, GroupRecord, OffsetCommit, OffsetDelete, OffsetFetch,
    Outcome, PartitionCommit, PartitionFetched, Reply, ReplyId, TopicCommit, TopicCommitted, TopicFetched,
    TopicPartition,
};
use crate::controller::{MetadataImage, TopicId};

/// Offsets of one coordinator, beyond which commits for partitions without one are refused: bounds what commits can take.
const OFFSETS_MAX: usize = 5_000_000;
/// The first version whose clients know GROUP_ID_NOT_FOUND.
const GROUP_ID_NOT_FOUND_SINCE: i16 = 9;

impl GroupCoordinator {
    pub(super) fn commit(
        &mut self,
        context: &mut Context<'_>,
        id: ReplyId,
        request: OffsetCommit,
    ) -> Outcome {
        if let Err(error) = self.check_commit(&request, context.image) {
            return Outcome::reply(id, Reply::OffsetCommit(Err(error)));
        }
        // A commit is a sign of life.
        self.classic_step(context, &request.group_id, |step| {
            if matches!(step.group.state(), State::Stable | State::PreparingRebalance) {
                step.expect_heartbeat(&request.member_id, None);
            }
        });
        let now_ms = context.now.wall_ms;
        let expire_timestamp_ms = match request.retention_time_ms {
            -1 => -1,
            retention_ms => now_ms.saturating_add(retention_ms),
        };
        let metadata_max = context.config.offset_metadata_max_bytes;
        let mut records = Vec::new();
        let mut answer = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for commit in &topic.partitions {
                let refused = self.check_partition(&request.group_id, topic, commit, metadata_max).err();
                partitions.push((commit.partition, refused));
                if refused.is_none() {
                    let key = OffsetCommitKey {
                        group_id: request.group_id.clone(),
                        partition: TopicPartition { topic: topic.topic.clone(), partition: commit.partition },
                    };
                    let value = OffsetCommitValue {
                        offset: commit.offset,
                        leader_epoch: commit.leader_epoch,
                        metadata: commit.metadata.clone().unwrap_or_default(),
                        commit_timestamp_ms: now_ms,
                        expire_timestamp_ms,
                        topic_id: topic.topic_id,
                    };
                    records.push(GroupRecord::OffsetCommit(key, Some(value)));
                }
            }
            answer.push(TopicCommitted { topic: topic.topic.clone(), partitions });
        }
        Outcome::records(records, id, Reply::OffsetCommit(Ok(answer)))
    }

    fn check_commit(&self, request: &OffsetCommit, image: &MetadataImage) -> Result<(), GroupErrorKind> {
        match self.groups.get(&request.group_id) {
            Some(Group::Classic(group)) => group.check_commit(
                &request.member_id,
                request.instance_id.as_ref(),
                request.generation_id_or_member_epoch,
            ),
            Some(Group::Consumer(group)) => {
                let partitions = request.topics.iter().flat_map(|topic| {
                    let named = || image.topic_by_name(&topic.topic).map(|topic| topic.id);
                    let id = Some(TopicId(topic.topic_id)).filter(|id| id.0 != [0; 16]).or_else(named);
                    let id = id.unwrap_or(TopicId([0; 16]));
                    topic.partitions.iter().map(move |commit| (id, &*topic.topic, commit.partition))
                });
                let epoch = request.generation_id_or_member_epoch;
                let checked =
                    group.check_offset_commit(&request.member_id, epoch, request.version, partitions);
                checked.map_err(|error| error.kind)
            }
            // Somebody who is in no group keeps offsets here: the commit's record makes the group.
            None if request.generation_id_or_member_epoch < 0 => Ok(()),
            None if request.version >= GROUP_ID_NOT_FOUND_SINCE => Err(GroupErrorKind::GroupIdNotFound),
            None => Err(GroupErrorKind::IllegalGeneration),
        }
    }

    fn check_partition(
        &self,
        group_id: &GroupId,
        topic: &TopicCommit,
        commit: &PartitionCommit,
        metadata_max: usize,
    ) -> Result<(), GroupErrorKind> {
        let metadata = commit.metadata.as_deref().unwrap_or_default();
        if metadata.len() > metadata_max && metadata.encode_utf16().count() > metadata_max {
            return Err(GroupErrorKind::OffsetMetadataTooLarge);
        }
        let full = self.offsets.len() >= OFFSETS_MAX;
        if full && self.offsets.get(group_id, &topic.topic, commit.partition).is_none() {
            return Err(GroupErrorKind::UnknownServerError);
        }
        Ok(())
    }

    pub(super) fn fetch_offsets(&self, id: ReplyId, request: &OffsetFetch) -> Outcome {
        let group_id = &request.group_id;
        if let Some(Group::Consumer(group)) = self.groups.get(group_id)
            && let Err(error) = group.check_offset_fetch(request.member_id.as_deref(), request.member_epoch)
        {
            return Outcome::reply(id, Reply::OffsetFetch(Err(error.kind)));
        }
        let fetched = match &request.topics {
            Some(topics) => {
                topics.iter().map(|(topic, partitions)| self.fetch(group_id, topic, partitions)).collect()
            }
            None => {
                let topics = self.offsets.of_group(group_id).into_iter().flatten();
                topics
                    .map(|(topic, partitions)| TopicFetched {
                        topic: topic.clone(),
                        partitions: partitions
                            .iter()
                            .map(|(number, found)| fetched(*number, found))
                            .collect(),
                    })
                    .collect()
            }
        };
        Outcome::reply(id, Reply::OffsetFetch(Ok(fetched)))
    }

    fn fetch(&self, group_id: &GroupId, topic: &Arc<str>, partitions: &[i32]) -> TopicFetched {
        let found = self.offsets.of_group(group_id).and_then(|topics| topics.get(topic));
        let partition = |number: &i32| match found.and_then(|found: &BTreeMap<_, _>| found.get(number)) {
            Some(value) => fetched(*number, value),
            None => PartitionFetched {
                partition: *number,
                offset: -1,
                leader_epoch: -1,
                metadata: "".into(),
                error: None,
            },
        };
        TopicFetched { topic: topic.clone(), partitions: partitions.iter().map(partition).collect() }
    }

    pub(super) fn delete_offsets(&self, id: ReplyId, request: &OffsetDelete) -> Outcome {
        let refused = |error| Outcome::reply(id, Reply::OffsetDelete(Err(error)));
        let group = match self.groups.get(&request.group_id) {
            Some(Group::Classic(group))
                if group.state() != State::Empty && !group.uses_consumer_protocol() =>
            {
                return refused(GroupErrorKind::NonEmptyGroup);
            }
            Some(group) => group,
            None => return refused(GroupErrorKind::GroupIdNotFound),
        };
        let mut records = Vec::new();
        let mut answer = Vec::with_capacity(request.topics.len());
        for (topic, partitions) in &request.topics {
            let error = group.is_subscribed_to(topic).then_some(GroupErrorKind::GroupSubscribedToTopic);
            for partition in partitions.iter().filter(|_| error.is_none()) {
                if self.offsets.get(&request.group_id, topic, *partition).is_some() {
                    records.push(tombstone(&request.group_id, topic.clone(), *partition));
                }
            }
            let partitions = partitions.iter().map(|partition| (*partition, error)).collect();
            answer.push(TopicCommitted { topic: topic.clone(), partitions });
        }
        Outcome::records(records, id, Reply::OffsetDelete(Ok(answer)))
    }

    pub(super) fn delete_groups(&self, id: ReplyId, group_ids: Vec<GroupId>) -> Outcome {
        let mut records = Vec::new();
        let mut answer = Vec::with_capacity(group_ids.len());
        for group_id in group_ids {
            let result = match self.groups.get(&group_id) {
                None => Err(GroupErrorKind::GroupIdNotFound),
                Some(group) if group.is_empty() => Ok(group),
                Some(_) => Err(GroupErrorKind::NonEmptyGroup),
            };
            let result = result.map(|group| {
                records.extend(self.offsets.tombstones(&group_id));
                records.extend(group.tombstones(&group_id));
            });
            answer.push((group_id, result));
        }
        Outcome::records(records, id, Reply::DeleteGroups(answer))
    }
}

fn fetched(partition: i32, value: &OffsetCommitValue) -> PartitionFetched {
    PartitionFetched {
        partition,
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.clone(),
        error: None,
    }
}
