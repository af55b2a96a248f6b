//! Where two replies differ: a path to each field and what either broker says there.
//!
//! Called by `run` and the self-test. Arrays are compared in order unless the list of allowed differences names them.

use std::collections::BTreeMap;

use crate::allowed::Allowed;
use crate::tree::Tree;

/// One field in which two replies differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// `topics[orders].partitions[0].error_code`, for example.
    pub path: String,
    /// What Kafka says there.
    pub kafka: String,
    /// What Corelog says there.
    pub corelog: String,
}

/// What a side that lacks a field or an element is said to say.
const ABSENT: &str = "absent";

/// Every difference between two replies to a request of API `api`.
pub fn differences(api: i16, kafka: &Tree, corelog: &Tree, allowed: &Allowed) -> Vec<Difference> {
    let mut comparison = Comparison { api, allowed, found: Vec::new() };
    comparison.values("", kafka, corelog);
    comparison.found
}

struct Comparison<'a> {
    api: i16,
    allowed: &'a Allowed,
    found: Vec<Difference>,
}

impl Comparison<'_> {
    fn differ(&mut self, path: &str, kafka: Option<&Tree>, corelog: Option<&Tree>) {
        let plain = |side: Option<&Tree>| side.map_or_else(|| ABSENT.to_owned(), Tree::plain);
        self.found.push(Difference { path: path.to_owned(), kafka: plain(kafka), corelog: plain(corelog) });
    }

    fn values(&mut self, path: &str, kafka: &Tree, corelog: &Tree) {
        match (kafka, corelog) {
            (Tree::Fields(left), Tree::Fields(right)) => {
                for (name, value) in left {
                    let inner = join(path, name);
                    match corelog.field(name) {
                        Some(other) => self.values(&inner, value, other),
                        None => self.differ(&inner, Some(value), None),
                    }
                }
                for (name, value) in right {
                    if kafka.field(name).is_none() {
                        self.differ(&join(path, name), None, Some(value));
                    }
                }
            }
            (Tree::List(left), Tree::List(right)) => match self.allowed.keys_of(self.api, path) {
                Some(keys) => self.keyed(path, keys, left, right),
                None => self.in_order(path, left, right),
            },
            _ if kafka != corelog => self.differ(path, Some(kafka), Some(corelog)),
            _ => {}
        }
    }

    fn in_order(&mut self, path: &str, kafka: &[Tree], corelog: &[Tree]) {
        for place in 0..kafka.len().max(corelog.len()) {
            let inner = format!("{path}[{place}]");
            match (kafka.get(place), corelog.get(place)) {
                (Some(left), Some(right)) => self.values(&inner, left, right),
                (left, right) => self.differ(&inner, left, right),
            }
        }
    }

    fn keyed(&mut self, path: &str, keys: &[String], kafka: &[Tree], corelog: &[Tree]) {
        let (left, right) = (by_key(keys, kafka), by_key(keys, corelog));
        let all: std::collections::BTreeSet<&(String, usize)> = left.keys().chain(right.keys()).collect();
        for key in all {
            let inner = format!("{path}[{}]", key.0);
            match (left.get(key), right.get(key)) {
                (Some(one), Some(other)) => self.values(&inner, one, other),
                (one, other) => self.differ(&inner, one.copied(), other.copied()),
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Elements by their key, and by how many of that key were before them.
fn by_key<'a>(keys: &[String], values: &'a [Tree]) -> BTreeMap<(String, usize), &'a Tree> {
    let mut found: BTreeMap<(String, usize), &Tree> = BTreeMap::new();
    for value in values {
        let key = key_of(keys, value);
        let before = found.keys().filter(|(known, _)| *known == key).count();
        found.insert((key, before), value);
    }
    found
}

/// What names an element: the first of the keys that is not null or empty. `a+b` takes two fields together.
fn key_of(keys: &[String], value: &Tree) -> String {
    let part = |field: &str| value.field(field).map(Tree::plain).filter(|text| text != "null");
    let named = keys.iter().find_map(|key| {
        let parts: Vec<String> = key.split('+').filter_map(part).collect();
        Some(parts.join(" ")).filter(|key| !key.is_empty())
    });
    let has_names = keys.iter().flat_map(|key| key.split('+')).any(|key| value.field(key).is_some());
    match named {
        Some(name) => name,
        None if has_names => String::new(),
        // Elements that are no structures name themselves.
        None => value.plain(),
    }
}

#[cfg(test)]
mod tests;
