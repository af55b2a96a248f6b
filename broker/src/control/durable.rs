//! Files that are replaced whole, by the rules of the disk: write beside, flush, rename, flush the directory.
//!
//! For the control thread's small files, with plain blocking calls. Deliberately absent: anything hot.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::error::{ControlError, Result};

/// Ending of a file that is being written and counts for nothing yet.
pub(super) const BESIDE: &str = ".new";

/// Puts `bytes` at `path`, durably: afterwards, and after any crash, the file is the old one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(BESIDE);
    let beside = Path::new(&beside);
    let mut file = File::create(beside).map_err(|e| ControlError::io("create", beside, e))?;
    file.write_all(bytes).map_err(|e| ControlError::io("write", beside, e))?;
    file.sync_all().map_err(|e| ControlError::io("flush", beside, e))?;
    drop(file);
    fs::rename(beside, path).map_err(|e| ControlError::io("rename", beside, e))?;
    sync_parent(path)
}

/// Removes a file; durable after [`sync_dir`].
pub(super) fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|e| ControlError::io("remove", path, e))
}

/// Makes creations, renames and removals in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    let file = File::open(dir).map_err(|e| ControlError::io("open", dir, e))?;
    file.sync_all().map_err(|e| ControlError::io("flush", dir, e))
}

/// [`sync_dir`] of the directory that holds `path`.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_dir(dir),
        _ => sync_dir(Path::new(".")),
    }
}

/// Creates a directory and what is missing above it, durably.
pub(super) fn create_dir_all(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir_all(parent)?;
    }
    match fs::create_dir(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(ControlError::io("create", dir, e)),
        _ => sync_parent(dir),
    }
}

/// Names of the files in a directory, sorted. Leftovers of [`replace`] are removed on the way.
pub(super) fn list(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| ControlError::io("list", dir, e))? {
        let entry = entry.map_err(|e| ControlError::io("list", dir, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(BESIDE) {
            remove(&entry.path())?;
        } else {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
