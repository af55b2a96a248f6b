//! What the compiler cannot say about this repository: arrows between rooms, clocks in `logic`, files that outgrew
//! their room, names that say nothing. Run by `cargo test`; the rules are in `rules`, their own tests in `tests`.
//! Deliberately absent: anything rustfmt or clippy already checks.

mod rules;
#[cfg(test)]
mod tests;

use std::path::Path;

/// Folders that hold no source of ours.
const SKIPPED: [&str; 4] = ["target", ".git", "corelog-data", "node_modules"];

/// File endings that are read as text.
const TEXT: [&str; 8] = ["rs", "toml", "md", "java", "xml", "yml", "sh", "py"];

/// Collects every text file below `dir`: its path relative to `root` with forward slashes, and its content.
/// Files without an ending (scripts) count as text when they are UTF-8.
fn sources(root: &Path, dir: &Path, found: &mut Vec<(String, String)>) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(dir)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            sources(root, &path, found)?;
        }
        let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned());
        let readable = ending.as_deref().is_none_or(|ending| TEXT.contains(&ending));
        if !kind.is_file() || !readable || name == ".git" {
            continue;
        }
        if let Ok(text) = std::fs::read_to_string(&path) {
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            found.push((relative, text));
        }
    }
    Ok(())
}

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    sources(root, root, &mut files).unwrap();
    assert!(files.iter().any(|(path, _)| path == "storage/src/lib.rs"), "the walk must see the sources");
    let findings: Vec<String> = files.iter().flat_map(|(path, text)| rules::findings(path, text)).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}
