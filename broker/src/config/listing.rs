//! The tables as people read them: `corelog config` prints every key with default, allowed values, effect and documentation.
//!
//! Pure text. Deliberately absent: the values of a running broker, which DescribeConfigs tells.

use std::fmt::Write;

use super::broker_settings::BROKER_SECTIONS;
use super::setting::{Effect, Setting};
use super::single_group_settings::GROUP_SETTINGS;
use super::topic_settings::TOPIC_SETTINGS;

/// Every key whose name contains `part`, in the sections of the tables. `None` when there is none.
pub fn listing(part: &str) -> Option<String> {
    let mut out = String::new();
    for (title, settings) in BROKER_SECTIONS {
        let found = settings.iter().filter(|setting| setting.name.contains(part));
        section(&mut out, title, found.map(|setting| (setting, of_broker(setting))));
    }
    let topics = TOPIC_SETTINGS.iter().filter(|topic| topic.setting.name.contains(part));
    let of_topic = |name: Option<&str>| name.map_or(String::new(), |name| format!("falls back to {name}"));
    section(
        &mut out,
        "Keys of a topic (kafka-configs.sh --entity-type topics); all can be changed at any time",
        topics.map(|topic| (&topic.setting, of_topic(topic.broker_name))),
    );
    let groups = GROUP_SETTINGS.iter().filter(|group| group.setting.name.contains(part));
    section(
        &mut out,
        "Keys of a group (kafka-configs.sh --entity-type groups); all can be changed at any time",
        groups.map(|group| (&group.setting, of_topic(Some(group.broker_name)))),
    );
    (!out.is_empty()).then_some(out)
}

fn of_broker(setting: &Setting) -> String {
    let when = if setting.dynamic { "can be changed while running" } else { "" };
    when.to_owned()
}

fn section<'a>(out: &mut String, title: &str, settings: impl Iterator<Item = (&'a Setting, String)>) {
    let mut settings = settings.peekable();
    if settings.peek().is_none() {
        return;
    }
    if !out.is_empty() {
        out.push('\n');
    }
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{title}\n{}", "-".repeat(title.chars().count()));
    for (setting, more) in settings {
        let default = match setting.default {
            None => "unset".to_owned(),
            Some("") => "empty".to_owned(),
            Some(default) => default.to_owned(),
        };
        let _ = writeln!(out, "{} = {default}", setting.name);
        let mut facts = vec![setting.takes()];
        facts.extend((!more.is_empty()).then_some(more));
        facts.extend((setting.effect == Effect::NotYet).then(|| "NO EFFECT in Corelog so far".to_owned()));
        let _ = writeln!(out, "    {}", facts.join("; "));
        for line in wrapped(setting.doc, 100) {
            let _ = writeln!(out, "    {line}");
        }
    }
}

/// Lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
