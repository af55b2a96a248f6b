//! The rules of the tidy test, as pure functions from a path and its text to sentences about what is wrong.
//! Called by `main` for every file and by `tests` for planted violations. Deliberately absent: reading files.

/// A file longer than this holds more than one idea and must be divided along them.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const FORBIDDEN_NAMES: [&str; 8] =
    ["util", "utils", "common", "manager", "helper", "helpers", "misc", "stuff"];

/// Paths of somebody's machine. Split, so that this file does not find itself.
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Marks of unfinished work; what is not built is absent instead. Split for the same reason.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// A room of the broker crate and the rooms it must never know: the arrows of ARCHITECTURE.md,
/// `main -> boot -> net -> api -> shard -> drive -> {logic, storage}`, read from the lower end.
const ROOMS: [(&str, &[&str]); 10] = [
    ("main", &["net", "api", "shard", "drive", "control"]),
    ("cli", &["boot", "net", "api", "shard", "drive", "control"]),
    ("dump", &["boot", "net", "api", "shard", "drive", "control"]),
    ("net", &["boot", "cli", "control"]),
    ("api", &["boot", "cli", "net"]),
    ("shard", &["boot", "cli", "net", "api", "control"]),
    ("drive", &["boot", "cli", "net", "api"]),
    ("control", &["boot", "cli", "net", "api"]),
    ("config", &["boot", "cli", "net", "api", "shard", "drive", "control"]),
    ("metrics", &["boot", "cli", "net", "api", "drive", "control"]),
];

/// What the pure state machines must not touch: clocks, randomness, threads, files, sockets, async.
const IMPURE: [&str; 14] = [
    "std::time::Instant",
    "SystemTime",
    "Instant::now",
    "std::thread",
    "std::fs",
    "std::net",
    "std::process",
    "rand::",
    "getrandom",
    "RandomState",
    "glommio",
    "tokio",
    "async fn",
    ".await",
];

/// Crates that a crate of ours must not depend on.
const FORBIDDEN_DEPENDENCIES: [(&str, &[&str]); 2] = [
    (
        "broker/logic/Cargo.toml",
        &["glommio", "tokio", "rand", "openraft", "uuid", "corelog-storage", "kafka-protocol"],
    ),
    ("storage/Cargo.toml", &["corelog-logic", "corelog", "kafka-protocol", "tokio", "openraft"]),
];

/// Everything that is wrong with one file, one sentence each. `path` is relative to the root.
pub(crate) fn findings(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    name(path, &mut found);
    words(path, text, &mut found);
    if path.ends_with("Cargo.toml") {
        dependencies(path, text, &mut found);
    }
    if path.ends_with(".rs") {
        opening(path, text, &mut found);
        arrows(path, text, &mut found);
        purity(path, text, &mut found);
    }
    if path.ends_with(".rs") || path.ends_with(".java") || path.starts_with("scripts/") {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{path}: {lines} lines; divide it along its ideas (limit {LINES_MAX})"));
        }
    }
    found
}

fn name(path: &str, found: &mut Vec<String>) {
    for part in path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        if FORBIDDEN_NAMES.contains(&stem) {
            found.push(format!("{path}: `{stem}` says nothing about what is inside; name it by its job"));
        }
    }
}

fn words(path: &str, text: &str, found: &mut Vec<String>) {
    for (index, line) in text.lines().enumerate() {
        for word in MACHINE_PATHS.iter().filter(|word| line.contains(**word)) {
            found.push(format!("{path}:{}: `{word}` is a path of one machine", index + 1));
        }
        for mark in MARKS.iter().filter(|mark| line.contains(**mark)) {
            found.push(format!("{path}:{}: `{mark}`: what is not built is absent, not marked", index + 1));
        }
    }
}

fn dependencies(path: &str, text: &str, found: &mut Vec<String>) {
    // Test dependencies may be anything: only what ships is held to the arrows.
    let mut shipped = false;
    for line in text.lines() {
        if line.starts_with('[') {
            shipped = line.starts_with("[dependencies") || line.starts_with("[build-dependencies");
            continue;
        }
        let dependency = line.split(['.', '=', ' ']).next().unwrap_or("");
        let forbidden =
            FORBIDDEN_DEPENDENCIES.iter().any(|(file, list)| *file == path && list.contains(&dependency));
        if shipped && forbidden {
            found.push(format!("{path}: must not depend on `{dependency}`"));
        }
    }
}

fn opening(path: &str, text: &str, found: &mut Vec<String>) {
    if !text.starts_with("//! ") {
        found.push(format!(
            "{path}: open with `//!` lines: its job, who calls it, what is deliberately absent"
        ));
    }
}

/// Lines of code: without comment lines, with their line numbers from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.trim_start().starts_with("//"))
}

/// Unit tests and test targets may reach wherever they need to.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

fn arrows(path: &str, text: &str, found: &mut Vec<String>) {
    if is_test(path) {
        return;
    }
    if path.starts_with("storage/src/") && !path.starts_with("storage/src/io/") {
        for (line, _) in code(text).filter(|(_, l)| l.contains("glommio::")) {
            found.push(format!("{path}:{line}: glommio stays behind storage/src/io"));
        }
    }
    let Some(inside) = path.strip_prefix("broker/src/") else { return };
    let room = inside.split(['/', '.']).next().unwrap_or("");
    let forbidden = ROOMS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, rooms)| rooms);
    // The root of a room sees its neighbours as `super::` too.
    let at_root = !inside.contains('/') || inside.ends_with("/mod.rs") && inside.matches('/').count() == 1;
    for prefix in ["crate::", "corelog::", "super::"] {
        if prefix == "super::" && !at_root {
            continue;
        }
        for target in imports(text, prefix).filter(|target| forbidden.contains(target)) {
            found.push(format!("{path}: `{room}` must not know `{target}`: the arrow points the other way"));
        }
    }
    if !["api", "drive"].contains(&room) {
        for (line, _) in code(text).filter(|(_, l)| l.contains("kafka_protocol::")) {
            found.push(format!("{path}:{line}: wire types stop at `api` (and `drive` for replication)"));
        }
    }
}

/// The modules named directly behind `prefix`, in `use` lists with braces too.
fn imports<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix)
        .filter(|(at, _)| {
            let before = &text[..*at];
            let line = before.rsplit('\n').next().unwrap_or("");
            let glued =
                before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
            !glued && !line.trim_start().starts_with("//")
        })
        .flat_map(move |(at, _)| first_names(&text[at + prefix.len()..]))
}

/// `net::x` gives `net`; `{net::{a, b}, api}` gives `net` and `api`.
fn first_names(rest: &str) -> Vec<&str> {
    let word = |s: &str| s.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(s.len());
    let Some(list) = rest.strip_prefix('{') else { return vec![&rest[..word(rest)]] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let item = list[start..at].trim_start();
                names.push(&item[..word(item)]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn purity(path: &str, text: &str, found: &mut Vec<String>) {
    if !path.starts_with("broker/logic/src/") || is_test(path) {
        return;
    }
    for (line, content) in code(text) {
        for word in IMPURE.iter().filter(|word| content.contains(**word)) {
            found.push(format!(
                "{path}:{line}: `{word}` in a pure state machine; pass time and chance as arguments"
            ));
        }
    }
}
