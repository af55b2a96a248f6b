//! Offsets that nobody needs any more (KIP-211), and groups that have none left.
//!
//! A group of consumers keeps the offsets of what it consumes; others expire `offsets.retention.minutes` after their commit, or after
//! the group became empty. The look at all groups is divided, so that no single one holds the core up for long.

use super::classic::{ClassicGroup, State};
use super::coordinator::Group;
use super::offsets::tombstone;
use super::records::OffsetCommitValue;
use super::{Context, GroupCoordinator, GroupId, GroupRecord, Outcome, TimerKey};

/// Records after which a look at all groups pauses, to go on at once with the next outcome.
const RECORDS_MAX: usize = 1_000;
/// Groups after which it pauses.
const GROUPS_MAX: usize = 1_000;

impl GroupCoordinator {
    pub(super) fn schedule_offset_expiry(&mut self, context: &Context<'_>) {
        let interval_ms = context.config.offsets_retention_check_interval_ms;
        let deadline_ms = context.now.monotonic_ms.saturating_add(interval_ms);
        self.timers.set(TimerKey::OffsetExpiry(None), deadline_ms);
    }

    /// Looks at the groups after `after`; what is not done in one go is due at once.
    pub(super) fn expire_offsets(&mut self, context: &Context<'_>, after: Option<GroupId>) -> Outcome {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut records = Vec::new();
        let mut last = None;
        for (seen, (group_id, group)) in self.groups.range((from, Bound::Unbounded)).enumerate() {
            if seen >= GROUPS_MAX || records.len() >= RECORDS_MAX {
                self.timers.set(TimerKey::OffsetExpiry(last), context.now.monotonic_ms);
                return Outcome { records, ..Outcome::nothing() };
            }
            self.expire_group(context, group_id, group, &mut records);
            last = Some(group_id.clone());
        }
        self.schedule_offset_expiry(context);
        Outcome { records, ..Outcome::nothing() }
    }

    /// A topic was deleted: what groups committed for it goes (Kafka's `onPartitionsDeleted`).
    pub fn topic_deleted(&self, topic: &str) -> Outcome {
        let of_topic = self.offsets.groups().filter_map(|(group_id, topics)| {
            let (topic, partitions) = topics.get_key_value(topic)?;
            Some(partitions.keys().map(move |partition| tombstone(group_id, topic.clone(), *partition)))
        });
        Outcome { records: of_topic.flatten().collect(), ..Outcome::nothing() }
    }

    fn expire_group(
        &self,
        context: &Context<'_>,
        group_id: &GroupId,
        group: &Group,
        records: &mut Vec<GroupRecord>,
    ) {
        let mut all = true;
        for (topic, partitions) in self.offsets.of_group(group_id).into_iter().flatten() {
            let kept = group.is_subscribed_to(topic);
            for (partition, value) in partitions {
                if !kept && is_expired(group, value, context) {
                    records.push(tombstone(group_id, topic.clone(), *partition));
                } else {
                    all = false;
                }
            }
        }
        // Who was sent away to come back with an id is about to.
        let awaited = matches!(group, Group::Classic(group) if !group.pending_join.is_empty());
        if all && group.is_empty() && !awaited {
            records.extend(group.tombstones(group_id));
        }
    }
}

/// Kafka's `offsetExpirationCondition` of both kinds of groups.
fn is_expired(group: &Group, value: &OffsetCommitValue, context: &Context<'_>) -> bool {
    let since_ms = match group {
        Group::Classic(group) => match since_ms(group, value) {
            Some(since_ms) => since_ms,
            None => return false,
        },
        Group::Consumer(_) => value.commit_timestamp_ms,
    };
    let now_ms = context.now.wall_ms;
    match value.expire_timestamp_ms {
        -1 => now_ms.saturating_sub(since_ms) >= context.config.offsets_retention_ms,
        expire_ms => now_ms >= expire_ms,
    }
}

/// Since when an offset of a classic group ages; None while it does not.
fn since_ms(group: &ClassicGroup, value: &OffsetCommitValue) -> Option<i64> {
    match (group.protocol_type(), group.state()) {
        (None, _) => Some(value.commit_timestamp_ms),
        (Some(_), State::Empty) if group.state_timestamp_ms >= 0 => Some(group.state_timestamp_ms),
        (Some(_), State::Empty) => Some(value.commit_timestamp_ms),
        (Some(_), State::Stable) if group.subscribed_topics.is_some() => Some(value.commit_timestamp_ms),
        _ => None,
    }
}
