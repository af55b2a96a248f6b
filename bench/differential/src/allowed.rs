//! The committed list of differences that may be, each with its reason; read from `allowed.json` beside this crate.
//!
//! Called by `compare` and `report`, which tells of entries that nothing needed. Deliberately absent: wildcards for
//! whole replies. A difference that a client could notice in practice is mended, not listed.

use std::ops::RangeInclusive;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::compare::Difference;

const LIST: &str = include_str!("../allowed.json");

/// What may differ.
#[derive(Debug, Clone, Deserialize)]
pub struct Allowed {
    /// Arrays whose order means nothing.
    pub unordered: Vec<Unordered>,
    /// Fields that may differ.
    pub fields: Vec<Field>,
}

/// An array that is compared by key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unordered {
    /// API key.
    pub api: i16,
    /// Pattern for the array's path.
    pub path: String,
    /// The fields of its elements that may name them, the first that is there; `a+b` are two together.
    pub keys: Vec<String>,
    /// Why.
    pub reason: String,
}

/// A field that may differ.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// API key; every one if it is left out.
    pub api: Option<i16>,
    /// First and last version; every one if they are left out.
    pub versions: Option<(i16, i16)>,
    /// Pattern for the field's path: `*` stands for anything.
    pub path: String,
    /// Pattern for what Kafka says, `!` in front for anything else; anything if it is left out.
    pub kafka: Option<String>,
    /// The same for Corelog.
    pub corelog: Option<String>,
    /// Why.
    pub reason: String,
}

impl Allowed {
    /// The committed list.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn committed() -> Result<Self> {
        serde_json::from_str(LIST).context("allowed.json")
    }

    /// The fields that name the elements of an array whose order means nothing.
    pub fn keys_of(&self, api: i16, path: &str) -> Option<&[String]> {
        let found = self.unordered.iter().find(|entry| entry.api == api && matches(&entry.path, path));
        found.map(|entry| entry.keys.as_slice())
    }

    /// The place of the first entry that allows a difference.
    pub fn position(&self, api: i16, version: i16, difference: &Difference) -> Option<usize> {
        self.fields.iter().position(|entry| {
            let (min, max) = entry.versions.unwrap_or((i16::MIN, i16::MAX));
            let versions: RangeInclusive<i16> = min..=max;
            entry.api.is_none_or(|key| key == api)
                && versions.contains(&version)
                && matches(&entry.path, &difference.path)
                && says(entry.kafka.as_deref(), &difference.kafka)
                && says(entry.corelog.as_deref(), &difference.corelog)
        })
    }
}

fn says(pattern: Option<&str>, text: &str) -> bool {
    match pattern {
        None => true,
        Some(pattern) => match pattern.strip_prefix('!') {
            Some(pattern) => !matches(pattern, text),
            None => matches(pattern, text),
        },
    }
}

/// Whether a text is that of a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match text.find(piece) {
            Some(at) => text = text.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_from_end_to_end() {
        assert!(matches("topics[*].error_code", "topics[a].error_code"));
        assert!(matches("*error_message", "responses[0].error_message"));
        assert!(matches("*a*b", "xaab"));
        assert!(!matches("error_code", "topics[a].error_code"));
        assert!(!matches("topics[*].error_code", "topics[a].error_codes"));
        assert!(!matches("a*a", "a"));
        assert!(says(Some("!null"), "text") && !says(Some("!null"), "null"));
    }

    #[test]
    fn the_committed_list_is_readable_and_every_entry_has_a_reason() {
        let allowed = Allowed::committed().expect("a list");
        for reason in allowed.fields.iter().map(|entry| &entry.reason) {
            assert!(reason.len() > 20, "{reason:?} is no reason");
        }
        for reason in allowed.unordered.iter().map(|entry| &entry.reason) {
            assert!(reason.len() > 20, "{reason:?} is no reason");
        }
    }
}
