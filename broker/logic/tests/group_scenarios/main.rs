//! Scripted scenarios of the group coordinator: one text file per behaviour in `scenarios/`, read by people first.
//!
//! A file is commands, each followed by `----` and what must come of it: replies and records, in order. Time passes only when a
//! `advance` says so, and what is appended is durable at once unless `hold` says otherwise. With CORELOG_REWRITE set the files are
//! rewritten with what came, to be read before they are kept.

mod consumer;
mod script;
mod show;
mod world;

use std::path::Path;

use script::Command;
use world::World;

#[test]
fn every_scenario_goes_as_it_is_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/group_scenarios/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "{} scenarios in {}", files.len(), dir.display());
    let rewrite = std::env::var_os("CORELOG_REWRITE").is_some();
    let mut wrong = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let came = run(&name, &text);
        if rewrite {
            std::fs::write(&path, &came).unwrap();
        } else if came != text {
            wrong.push(format!("{name}:\n{}", difference(&text, &came)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The file as it would be if everything in it were right.
fn run(name: &str, text: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        out.push_str(line);
        out.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let command = Command::parse(line).unwrap_or_else(|why| panic!("{name}:{}: {why}", number + 1));
        let came = world.run(&command).unwrap_or_else(|why| panic!("{name}:{}: {why}", number + 1));
        assert_eq!(lines.next().map(|(_, line)| line), Some("----"), "{name}:{}", number + 1);
        while lines.next_if(|(_, line)| !line.is_empty()).is_some() {}
        out.push_str("----\n");
        for line in came {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

/// The first lines that differ.
fn difference(expected: &str, came: &str) -> String {
    let mut pairs = expected.lines().zip(came.lines()).enumerate();
    match pairs.find(|(_, (expected, came))| expected != came) {
        Some((at, (expected, came))) => {
            format!("  line {}\n  expected: {expected}\n  came:     {came}", at + 1)
        }
        None => format!("  {} lines were expected, {} came", expected.lines().count(), came.lines().count()),
    }
}
