//! Subscriptions by regular expression: which topics match, and when that is looked at again.
//!
//! Matching all topics takes a while, so it is asked for as an effect, and its result comes back as an event (Kafka does it on a thread of its own).
//! A group's expressions are all resolved together. Deliberately absent: the syntax (`pattern.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decision::Draft;
use super::pattern::TopicPattern;
use super::{ConsumerContext, ConsumerGroup, Decision, Effect, Member};
use crate::controller::MetadataImage;
use crate::group::records::{ConsumerRecordBody, ResolvedRegex};
use crate::group::{GroupError, GroupErrorKind};

/// How long a group's expressions are not resolved again, in milliseconds (Kafka's REGEX_BATCH_REFRESH_MIN_INTERVAL_MS).
const REFRESH_INTERVAL_MIN_MS: i64 = 10_000;

/// What a request does to a member's expression.
pub(super) struct RegexChange {
    /// It has another one, or none any more.
    pub changed: bool,
    /// And which topics that means is known already.
    pub resolved: bool,
}

impl ConsumerGroup {
    /// Compares a member's expression with the one before, and asks for a resolution where one is due.
    ///
    /// # Errors
    /// INVALID_REGULAR_EXPRESSION.
    pub(super) fn compare_regex(
        &self,
        before: &Member,
        member: &Member,
        context: &ConsumerContext<'_>,
        draft: &mut Draft,
    ) -> Result<RegexChange, GroupError> {
        let changed = before.subscribed_topic_regex != member.subscribed_topic_regex;
        let mut change = RegexChange { changed, resolved: false };
        let mut required = false;
        if changed {
            if let Some(regex) = before.regex().filter(|regex| self.subscriptions.members_with(regex) == 1) {
                draft.records.push(ConsumerRecordBody::RegularExpression(Arc::clone(regex), None));
            }
            match member.regex() {
                None => change.resolved = true,
                Some(regex) if self.subscriptions.members_with(regex) == 0 => {
                    TopicPattern::new(regex).map_err(|reason| {
                        GroupErrorKind::InvalidRegularExpression.because(format!(
                            "SubscribedTopicRegex `{regex}` is not a valid regular expression: {reason}."
                        ))
                    })?;
                    required = true;
                }
                Some(regex) => change.resolved = self.resolved_regexes.contains_key(regex),
            }
        }
        if !required && self.subscriptions.regexes().len() == 0 || context.regexes_under_way {
            return Ok(change);
        }
        let wall_ms = context.now.wall_ms;
        // They are resolved together: any of them tells when.
        let last = self.resolved_regexes.values().next();
        if last.is_some_and(|last| wall_ms <= last.timestamp_ms + REFRESH_INTERVAL_MIN_MS) {
            return Ok(change);
        }
        let regexes = self.regexes_with(before, member);
        let interval_ms = context.config.regex_refresh_interval_ms;
        let due = required
            || regexes.len() != self.resolved_regexes.len()
            || last.is_none_or(|last| {
                last.version < context.new_topics_version as i64 || wall_ms > last.timestamp_ms + interval_ms
            });
        if due && !regexes.is_empty() {
            draft.effects.push(Effect::ResolveRegexes(regexes));
        }
        Ok(change)
    }

    /// All expressions of the group, with `member` in place of `before`.
    fn regexes_with(&self, before: &Member, member: &Member) -> BTreeSet<Arc<str>> {
        let mut regexes: BTreeSet<Arc<str>> = self.subscriptions.regexes().cloned().collect();
        if let Some(regex) = before.regex()
            && self.subscriptions.members_with(regex) == 1
        {
            regexes.remove(regex);
        }
        regexes.extend(member.regex().cloned());
        regexes
    }

    /// Takes in which topics match.
    pub fn regexes_resolved(
        &self,
        resolved: BTreeMap<Arc<str>, ResolvedRegex>,
        context: &mut ConsumerContext<'_>,
    ) -> Decision<()> {
        let mut draft = Draft::default();
        let mut subscriptions = self.subscriptions.clone();
        let mut bump = false;
        for (regex, new) in resolved {
            if self.subscriptions.members_with(&regex) == 0 {
                continue;
            }
            let old = self.resolved_regexes.get(&regex);
            if old.map_or(&[][..], |old| &old.topics) != new.topics {
                bump = true;
                subscriptions.add_resolved(&new);
                if let Some(old) = old {
                    subscriptions.remove_resolved(old);
                }
            }
            draft.records.push(ConsumerRecordBody::RegularExpression(regex, Some(new)));
        }
        let hash = context.hashes.group_hash(subscriptions.topics(), context.image);
        if bump || hash != self.metadata_hash {
            let epoch = self.group_epoch + 1;
            draft.epoch(epoch, hash);
            draft.metadata_fresh_at = Some(epoch);
        }
        draft.answer(())
    }
}

/// Which of all topics match each expression. One that does not compile, which only another broker can have let in, matches none.
pub fn resolve(
    regexes: &BTreeSet<Arc<str>>,
    image: &MetadataImage,
    now_wall_ms: i64,
) -> BTreeMap<Arc<str>, ResolvedRegex> {
    let resolved = regexes.iter().map(|regex| {
        let pattern = TopicPattern::new(regex).ok();
        let matching =
            image.topics().filter(|topic| pattern.as_ref().is_some_and(|p| p.matches(&topic.name)));
        let topics = matching.map(|topic| Arc::clone(&topic.name)).collect();
        let value = ResolvedRegex { topics, version: image.version as i64, timestamp_ms: now_wall_ms };
        (Arc::clone(regex), value)
    });
    resolved.collect()
}
