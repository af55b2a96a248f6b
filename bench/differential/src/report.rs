//! Counts what was sent and judges what differs: allowed, or not; and writes it down.
//!
//! Called by `main`. Findings of one kind (API, place, both values) are one line with a count and the first seed that shows it.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use corelog::api::name_of;

use crate::allowed::Allowed;
use crate::compare::Difference;
use crate::run::{Audience, Ending, Finding};

/// Kinds of differences that are shown in full; the others are one line each.
const SHOWN_MAX: usize = 120;
/// How much of a reply is shown, in characters.
const REPLY_CHARS_MAX: usize = 3_000;

/// What one API and version were asked.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    answered: usize,
    closed: usize,
    unanswered: usize,
    allowed: usize,
    differing: usize,
}

/// Differences of one kind.
#[derive(Debug)]
struct Kind {
    count: usize,
    versions: (i16, i16),
    first: Finding,
}

/// The state of a run.
#[derive(Debug)]
pub struct Report {
    allowed: Allowed,
    counts: BTreeMap<(i16, i16), Count>,
    used: Vec<usize>,
    kinds: BTreeMap<(i16, String, String, String), Kind>,
    lines: String,
}

impl Report {
    /// Nothing sent yet.
    pub fn new(allowed: Allowed) -> Self {
        let used = vec![0; allowed.fields.len()];
        Self { allowed, counts: BTreeMap::new(), used, kinds: BTreeMap::new(), lines: String::new() }
    }

    /// How many requests were sent.
    pub fn requests(&self) -> usize {
        self.counts.values().map(|count| count.answered + count.closed + count.unanswered).sum()
    }

    /// How many of them differ in a way that is not allowed.
    pub fn differing(&self) -> usize {
        self.counts.values().map(|count| count.differing).sum()
    }

    /// Whether Kafka has answered this version of an API.
    pub fn was_answered(&self, key: i16, version: i16) -> bool {
        self.counts.get(&(key, version)).is_some_and(|count| count.answered > 0)
    }

    /// Entries of the list that nothing needed, of APIs that were asked.
    pub fn stale(&self) -> Vec<&str> {
        let asked = |key| self.counts.keys().any(|(asked, _)| *asked == key);
        let entries = self.allowed.fields.iter().zip(&self.used);
        entries
            .filter(|(entry, used)| **used == 0 && entry.api.is_none_or(asked))
            .map(|(entry, _)| entry.path.as_str())
            .collect()
    }

    /// Differences that are not allowed, the replies they are in, and how to see them again.
    pub fn differences(&self) -> Result<String> {
        let mut text = String::new();
        for (place, ((key, path, kafka, corelog), kind)) in self.kinds.iter().enumerate() {
            let first = &kind.first;
            let (min, max) = kind.versions;
            writeln!(text, "{} x {} (versions {min} to {max}): {path}", kind.count, name_of(*key))?;
            writeln!(text, "    kafka   {}", start(kafka, 300))?;
            writeln!(text, "    corelog {}", start(corelog, 300))?;
            let pin =
                first.pinned.map(|(key, version)| format!(" --pin {key}:{version}")).unwrap_or_default();
            writeln!(
                text,
                "    first in --family {} --seed {}{pin}, step {}, version {}",
                first.family, first.seed, first.step, first.version
            )?;
            if place < SHOWN_MAX {
                writeln!(text, "    sent    {}", start(&first.label, REPLY_CHARS_MAX))?;
                writeln!(text, "    kafka's reply   {}", start(&first.kafka, REPLY_CHARS_MAX))?;
                writeln!(text, "    corelog's reply {}", start(&first.corelog, REPLY_CHARS_MAX))?;
            }
        }
        Ok(text)
    }

    /// Every difference that is not allowed, a line each.
    pub fn lines(&self) -> &str {
        &self.lines
    }

    /// The whole run, for people.
    pub fn summary(&self) -> Result<String> {
        let mut text = String::new();
        writeln!(
            text,
            "| API | version | answered | closed | no reply due | with allowed differences | differing |"
        )?;
        writeln!(text, "|---|---|---|---|---|---|---|")?;
        for ((key, version), count) in &self.counts {
            let name = name_of(*key);
            let Count { answered, closed, unanswered, allowed, differing } = count;
            writeln!(
                text,
                "| {name} | {version} | {answered} | {closed} | {unanswered} | {allowed} | {differing} |"
            )?;
        }
        writeln!(text, "\n## Allowed differences\n\n| times | API | field | reason |\n|---|---|---|---|")?;
        for (entry, used) in self.allowed.fields.iter().zip(&self.used) {
            let api = entry.api.map_or_else(|| "any".to_owned(), name_of);
            writeln!(text, "| {used} | {api} | `{}` | {} |", entry.path, entry.reason)?;
        }
        writeln!(
            text,
            "\n## Arrays compared without their order\n\n| API | array | reason |\n|---|---|---|"
        )?;
        for entry in &self.allowed.unordered {
            writeln!(text, "| {} | `{}` | {} |", name_of(entry.api), entry.path, entry.reason)?;
        }
        Ok(text)
    }
}

fn start(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        None => text.to_owned(),
    }
}

/// A path without the numbers and the tests' own names in it; those of configurations and features stay.
fn general(path: &str) -> String {
    let pieces = path.split('[').map(|piece| match piece.split_once(']') {
        Some((name, rest)) if name.contains('.') && !name.contains('-') => format!("{name}]{rest}"),
        Some((_, rest)) => format!("]{rest}"),
        None => piece.to_owned(),
    });
    pieces.collect::<Vec<_>>().join("[")
}

impl Audience for Report {
    fn sent(&mut self, key: i16, version: i16, ending: Ending) {
        let count = self.counts.entry((key, version)).or_default();
        match ending {
            Ending::Answered => count.answered += 1,
            Ending::Closed => count.closed += 1,
            Ending::Unanswered => count.unanswered += 1,
        }
    }

    fn found(&mut self, finding: Finding) {
        let (key, version) = (finding.key, finding.version);
        let mut remaining: Vec<&Difference> = Vec::new();
        for difference in &finding.differences {
            match self.allowed.position(key, version, difference) {
                Some(place) => self.used.iter_mut().skip(place).take(1).for_each(|used| *used += 1),
                None => remaining.push(difference),
            }
        }
        let count = self.counts.entry((key, version)).or_default();
        if remaining.is_empty() {
            count.allowed += 1;
            return;
        }
        count.differing += 1;
        for difference in remaining {
            let at = format!("{} {} step {} {key}v{version}", finding.family, finding.seed, finding.step);
            let Difference { path, kafka, corelog } = difference;
            let label = start(&finding.label, 1_000);
            self.lines += &format!("{at}\t{path}\t{}\t{}\t{label}\n", start(kafka, 80), start(corelog, 80));
            let path = general(&difference.path);
            let kind = (key, path, start(&difference.kafka, 80), start(&difference.corelog, 80));
            let kind = self.kinds.entry(kind).or_insert_with(|| Kind {
                count: 0,
                versions: (version, version),
                first: finding.clone(),
            });
            kind.count += 1;
            kind.versions = (kind.versions.0.min(version), kind.versions.1.max(version));
        }
    }
}
