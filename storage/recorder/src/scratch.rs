//! A directory for one test, gone when the test is. Used by the unit tests. Deliberately absent: anything for `main`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Directories made so far: tests run beside each other in one process.
static MADE: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("corelog-recorder-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that stays behind harms nobody, a panic while panicking would hide the failure.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
