//! What becomes of the broker when log directories fail while it runs: said once, and the end of the process when it cannot go on.
//!
//! Every core tells of what fails. A directory takes only its own partitions with it; without the one that holds the metadata, or without any,
//! a process that ends and is started again (elsewhere, or when the disk is mended) serves its clients better than one that refuses everything.
//! As Kafka's `LogDirFailureHandler`. Deliberately absent: what the cores do about it.

use std::sync::atomic::{AtomicBool, Ordering};

use corelog_storage::StorageError;

/// The index in `log.dirs` of the directory that holds the metadata.
const METADATA_DIR_INDEX: usize = 0;

/// Which directories are known to have failed.
#[derive(Debug)]
pub(super) struct FailedDirs(Vec<AtomicBool>);

impl FailedDirs {
    /// None of so many.
    pub(super) fn new(dirs: usize) -> Self {
        Self((0..dirs).map(|_| AtomicBool::new(false)).collect())
    }

    /// A core tells of a directory that failed.
    pub(super) fn tell(&self, dir: usize, error: &StorageError) {
        if self.0.get(dir).is_none_or(|failed| failed.swap(true, Ordering::SeqCst)) {
            return;
        }
        let all = self.0.iter().all(|failed| failed.load(Ordering::SeqCst));
        if dir != METADATA_DIR_INDEX && !all {
            tracing::error!(
                "{error}; its partitions are offline until the broker is started again with a sound disk there, the others are served"
            );
            return;
        }
        if all {
            tracing::error!("{error}; there is no other log directory left, so the broker stops");
        } else {
            tracing::error!(
                "{error}; it holds the metadata (the first of log.dirs does), so the broker stops"
            );
        }
        std::process::exit(1);
    }
}
