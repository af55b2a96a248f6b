//! What a group's members subscribed to, counted: by name, by regular expression, and the topics that those matched.
//!
//! Tells which topics the group's metadata hash covers and which groups a change of a topic concerns. A decision works on a copy in which the member that
//! asks has been exchanged. Equal subscriptions are shared among members, and weigh once. Deliberately absent: matching (`regex`), hashing (`hash`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Member;
use super::group::decrement;
use crate::group::records::ResolvedRegex;

/// Counts of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Subscriptions {
    /// By topic: how many members name it, and how many resolved expressions matched it.
    topics: BTreeMap<Arc<str>, Count>,
    /// By expression: how many members have it.
    regexes: BTreeMap<Arc<str>, usize>,
    /// By subscription by names: how many members have it.
    shared: BTreeMap<Arc<[Arc<str>]>, usize>,
    /// What the different subscriptions take, in bytes.
    bytes: usize,
}

/// What a subscription by names takes, in bytes.
pub(super) fn names_bytes(names: &[Arc<str>]) -> usize {
    names.iter().map(|name| name.len() + size_of::<Arc<str>>()).sum()
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Count {
    by_name: usize,
    by_regex: usize,
}

impl Subscriptions {
    pub fn contains(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// All topics, in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// What they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many members have this expression.
    pub fn members_with(&self, regex: &str) -> usize {
        self.regexes.get(regex).copied().unwrap_or(0)
    }

    /// All expressions.
    pub fn regexes(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.regexes.keys()
    }

    /// Counts a member in; it may come to share another's subscription.
    pub fn add_member(&mut self, member: &mut Member) {
        if let Some((names, _)) = self.shared.get_key_value(&member.subscribed_topic_names) {
            member.subscribed_topic_names = Arc::clone(names);
        } else {
            self.bytes += names_bytes(&member.subscribed_topic_names);
        }
        *self.shared.entry(Arc::clone(&member.subscribed_topic_names)).or_default() += 1;
        for name in member.subscribed_topic_names.iter() {
            self.topics.entry(Arc::clone(name)).or_default().by_name += 1;
        }
        if let Some(regex) = member.regex() {
            self.bytes += regex.len();
            *self.regexes.entry(Arc::clone(regex)).or_default() += 1;
        }
    }

    pub fn remove_member(&mut self, member: &Member) {
        for name in member.subscribed_topic_names.iter() {
            self.change(name, |count| count.by_name -= 1);
        }
        if let Some(count) = self.shared.get_mut(&member.subscribed_topic_names) {
            *count -= 1;
            if *count == 0 {
                self.shared.remove(&member.subscribed_topic_names);
                self.bytes -= names_bytes(&member.subscribed_topic_names);
            }
        }
        if let Some(regex) = member.regex() {
            self.bytes -= regex.len();
            decrement(&mut self.regexes, regex);
        }
    }

    pub fn add_resolved(&mut self, resolved: &ResolvedRegex) {
        for name in &resolved.topics {
            self.topics.entry(Arc::clone(name)).or_default().by_regex += 1;
        }
    }

    pub fn remove_resolved(&mut self, resolved: &ResolvedRegex) {
        for name in &resolved.topics {
            self.change(name, |count| count.by_regex -= 1);
        }
    }

    fn change(&mut self, topic: &str, change: impl FnOnce(&mut Count)) {
        if let Some(count) = self.topics.get_mut(topic) {
            change(count);
            if count.by_name == 0 && count.by_regex == 0 {
                self.topics.remove(topic);
            }
        }
    }
}
