//! Subscriptions by regular expression: which topics match, and when that is looked at again.
//!
//! Matching all topics takes a while, so it is asked for as an effect, is done in steps between which others have their turn, and its result comes
//! back as an event (Kafka does it on a thread of its own). A group's expressions are all resolved together. Deliberately absent: the syntax (`pattern.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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

/// Names that are held against an expression in one step: a step must not keep its core from others, and each name takes time that is
/// linear in its length, whatever the expression.
const NAMES_PER_STEP: usize = 256;

/// A resolution under way: expressions one after the other, each against the names of all topics in their order.
///
/// What it goes by is the metadata at its beginning. Topics that come meanwhile may be missed; as the version tells, they are looked for again.
#[derive(Debug, Clone)]
pub struct Resolving {
    /// What is left, the one that is under way first.
    left: VecDeque<Arc<str>>,
    /// The first of them, compiled. One that does not compile, which only another broker can have let in, matches nothing.
    pattern: Option<TopicPattern>,
    /// The last name that it was held against, none yet being the empty one, and those that matched.
    after: Arc<str>,
    matching: Vec<Arc<str>>,
    /// Version of the metadata at the beginning.
    version: u64,
    resolved: BTreeMap<Arc<str>, ResolvedRegex>,
}

impl PartialEq for Resolving {
    fn eq(&self, other: &Self) -> bool {
        (&self.left, &self.after, &self.resolved) == (&other.left, &other.after, &other.resolved)
    }
}

impl Resolving {
    /// Nothing is looked at yet.
    pub fn new(regexes: &BTreeSet<Arc<str>>, version: u64) -> Self {
        let left: VecDeque<Arc<str>> = regexes.iter().cloned().collect();
        let pattern = left.front().and_then(|regex| TopicPattern::new(regex).ok());
        let (after, matching) = ("".into(), Vec::new());
        Self { left, pattern, after, matching, version, resolved: BTreeMap::new() }
    }

    /// Looks at [`NAMES_PER_STEP`] more; the result when nothing is left.
    ///
    /// # Errors
    /// Itself: there is more to do.
    pub fn step(
        mut self: Box<Self>,
        image: &MetadataImage,
        now_wall_ms: i64,
    ) -> Result<BTreeMap<Arc<str>, ResolvedRegex>, Box<Self>> {
        let mut budget = NAMES_PER_STEP;
        while let Some(regex) = self.left.front() {
            let after = Arc::clone(&self.after);
            let mut names = image.topics_after(&after).map(|topic| &topic.name);
            let pattern = self.pattern.as_ref();
            for name in names.by_ref().take(if pattern.is_some() { budget } else { 0 }) {
                budget -= 1;
                self.after = Arc::clone(name);
                if pattern.is_some_and(|pattern| pattern.matches(name)) {
                    self.matching.push(Arc::clone(name));
                }
            }
            if pattern.is_some() && names.next().is_some() {
                return Err(self);
            }
            let topics = std::mem::take(&mut self.matching);
            let there = topics.into_iter().filter(|name| image.topic_by_name(name).is_some()).collect();
            let (topics, timestamp_ms) = (there, now_wall_ms);
            let value = ResolvedRegex { topics, version: self.version as i64, timestamp_ms };
            self.resolved.insert(Arc::clone(regex), value);
            self.left.pop_front();
            self.pattern = self.left.front().and_then(|regex| TopicPattern::new(regex).ok());
            self.after = "".into();
            // Compiling takes about as long as a step's names.
            budget = budget.saturating_sub(NAMES_PER_STEP / 4);
            if budget == 0 && !self.left.is_empty() {
                return Err(self);
            }
        }
        Ok(self.resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{Delta, Record, TopicId, TopicRecord};

    fn image(names: impl Iterator<Item = String>) -> MetadataImage {
        let mut image = MetadataImage::default();
        image.version = 7;
        for (number, name) in (1_u64..).zip(names) {
            let topic = TopicRecord { name, topic_id: TopicId::from_random(number, number).unwrap() };
            image.replay(&Record::Topic(topic), &mut Delta::default()).unwrap();
        }
        image
    }

    #[test]
    fn topics_are_looked_at_in_steps_of_bounded_length_and_each_once() {
        let names = || (0..1_000).map(|number| format!("t{number:04}"));
        let regexes: BTreeSet<Arc<str>> =
            ["t.*7", "t0.*", "no-such", "(", "t0999"].into_iter().map(Arc::from).collect();
        let mut image = image(names());
        let (mut steps, mut resolving) = (0, Box::new(Resolving::new(&regexes, image.version)));
        let resolved = loop {
            steps += 1;
            match resolving.step(&image, 5) {
                Ok(resolved) => break resolved,
                Err(more) => resolving = more,
            }
            if steps == 2 {
                // One comes and one goes: neither is told of.
                let topic_id = image.topic_by_name("t0000").unwrap().id;
                let gone = Record::RemoveTopic(crate::controller::RemoveTopicRecord { topic_id });
                image.replay(&gone, &mut Delta::default()).unwrap();
                image.version = 8;
            }
        };
        assert!(steps >= 4 * 1_000 / NAMES_PER_STEP, "{steps} steps");
        let matching = |regex: &str| resolved[regex].topics.iter().map(|name| &**name).collect::<Vec<_>>();
        assert_eq!(matching("t.*7").len(), 100);
        assert_eq!(matching("t0.*").len(), 999);
        assert_eq!(matching("t0999"), ["t0999"]);
        assert!(matching("no-such").is_empty() && matching("(").is_empty());
        assert!(resolved.values().all(|one| (one.version, one.timestamp_ms) == (7, 5)));
        assert_eq!(resolved.len(), regexes.len());
    }
}
