//! Which log directories this broker has: a small file in the first one, so that a start notices when another is missing.
//!
//! One line for each: its directory.id and its absolute path; then a checksum. Written by boot after recovery, before anything new is put into a
//! directory. Without it a disk that is not mounted would look like an empty directory, and its partitions like new ones.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::durable;
use super::error::{ControlError, Result};

const FILE: &str = "known.directories";
const HASH: &str = "corelog.hash=";

/// A log directory, by its identity and where it was last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownDir {
    pub(super) directory_id: String,
    pub(super) path: PathBuf,
}

/// A path as it is kept.
pub(super) fn path_of(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}

/// What the first directory says; nothing while there is only one.
pub(super) fn read(first: &Path) -> Result<Vec<KnownDir>> {
    let path = first.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(damaged(path)),
        Err(error) => return Err(ControlError::io("read", path, error)),
    };
    let known = text.rsplit_once(HASH).filter(|(lines, hash)| hash.trim_end() == hash_of(lines));
    let Some((lines, _)) = known else { return Err(damaged(path)) };
    let line = |line: &str| {
        let (directory_id, path) = line.split_once(' ')?;
        Some(KnownDir { directory_id: directory_id.to_owned(), path: PathBuf::from(path) })
    };
    lines.lines().map(line).collect::<Option<_>>().ok_or_else(|| damaged(path))
}

/// Makes the first directory say so, if it does not.
pub(super) fn remember(first: &Path, known: Vec<KnownDir>) -> Result<()> {
    let before = read(first)?;
    // A broker with one directory has nothing to miss.
    if before == known || (before.is_empty() && known.len() < 2) {
        return Ok(());
    }
    let lines: String =
        known.iter().map(|dir| format!("{} {}\n", dir.directory_id, dir.path.display())).collect();
    durable::replace(&first.join(FILE), format!("{lines}{HASH}{}\n", hash_of(&lines)).as_bytes())
}

fn hash_of(lines: &str) -> String {
    format!("{:016x}", xxh3_64(lines.as_bytes()))
}

fn damaged(path: PathBuf) -> ControlError {
    let what = "it does not match its checksum; make sure that the disk of every log directory is mounted, then remove it";
    ControlError::corrupt(path, 0, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_and_no_flipped_bit_of_it_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let known = |id: &str, path: &str| KnownDir { directory_id: id.to_owned(), path: path.into() };
        assert_eq!(read(dir.path()).unwrap(), []);
        remember(dir.path(), vec![known("a", "/one")]).unwrap();
        assert!(!dir.path().join(FILE).exists(), "there is nothing to miss");
        let two = vec![known("a", "/one"), known("b", "/with a space")];
        remember(dir.path(), two.clone()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), two);
        remember(dir.path(), two[..1].to_vec()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), two[..1]);
        let sound = std::fs::read(dir.path().join(FILE)).unwrap();
        for bit in 0..sound.len() * 8 {
            let mut flipped = sound.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(dir.path().join(FILE), flipped).unwrap();
            match read(dir.path()) {
                Ok(known) => assert_eq!(known, two[..1], "bit {bit}"),
                Err(error) => assert!(error.to_string().contains("known.directories"), "{error}"),
            }
        }
    }
}
