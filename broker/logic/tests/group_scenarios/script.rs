//! The commands of a scenario: a word, a group, a label for the reply, and `key=value` pairs.
//!
//! A member id `c-#1` stands for `c-` and the first UUID that was drawn. Deliberately absent: what commands do (`world`).

use std::collections::BTreeMap;

/// One line of a scenario.
pub(crate) struct Command {
    pub(crate) name: String,
    /// What follows the name, without `=`.
    pub(crate) words: Vec<String>,
    pairs: BTreeMap<String, String>,
}

impl Command {
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace().map(str::to_owned);
        let name = words.next().ok_or("an empty command")?;
        let (mut plain, mut pairs) = (Vec::new(), BTreeMap::new());
        for word in words {
            match word.split_once('=') {
                Some((key, value)) => drop(pairs.insert(key.to_owned(), value.to_owned())),
                None => plain.push(word),
            }
        }
        Ok(Self { name, words: plain, pairs })
    }

    pub(crate) fn word(&self, at: usize) -> Result<&str, String> {
        self.words.get(at).map(String::as_str).ok_or(format!("{} needs {} words", self.name, at + 1))
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str)
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> Result<T, String> {
        match self.text(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("{key}={text} is no number")),
        }
    }

    /// A member id with its UUID written out; empty when there is none.
    pub(crate) fn member(&self, key: &str) -> String {
        self.text(key).map(expand).unwrap_or_default()
    }

    pub(crate) fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        self.text(key).into_iter().flat_map(|text| text.split(',')).filter(|item| !item.is_empty())
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

const UUID: &str = "00000000-0000-4000-8000-0000000000";

/// `c-#1` with its UUID.
pub(crate) fn expand(id: &str) -> String {
    match id.split_once('#') {
        Some((before, number)) => format!("{before}{UUID}{:02x}", number.parse::<u8>().unwrap_or(0)),
        None => id.to_owned(),
    }
}

/// A text with UUIDs written short.
pub(crate) fn shorten(text: &str) -> String {
    let mut short = text.to_owned();
    while let Some(at) = short.find(UUID) {
        let end = at + UUID.len() + 2;
        let number = u8::from_str_radix(&short[end - 2..end], 16).unwrap_or(0);
        short.replace_range(at..end, &format!("#{number}"));
    }
    short
}
