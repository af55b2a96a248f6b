//! Log directories that cannot be used: those that a start does without, and those that fail while the broker runs. Each is said once, and the
//! process ends when it cannot go on.
//!
//! Every core tells of what fails. A directory takes only its own partitions with it; without the one that holds the metadata, or without any,
//! a process that ends and is started again (elsewhere, or when the disk is mended) serves its clients better than one that refuses everything.
//! As Kafka's `LogDirFailureHandler`. Deliberately absent: what the cores do about it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use corelog_storage::StorageError;
use corelog_storage::recovery::Recovered;

use crate::control::Identity;

/// The index in `log.dirs` of the directory that holds the metadata.
const METADATA_DIR_INDEX: usize = 0;

/// The directories of a start.
#[derive(Debug, Clone)]
pub(super) struct UsableDirs {
    /// Those that are used, in the order of `log.dirs`; the first holds the metadata.
    pub(super) used: Vec<PathBuf>,
    /// Those that are not there or gave an error, and why.
    pub(super) lost: Vec<StorageError>,
}

impl UsableDirs {
    /// What opening and recovering them left.
    pub(super) fn of(identity: &Identity, recovered: &Recovered) -> Self {
        let lost = identity
            .lost
            .iter()
            .map(|lost| StorageError::DirectoryFailed { dir: lost.path.clone(), cause: lost.why.clone() });
        let failed = recovered
            .failed_dirs
            .iter()
            .map(|(dir, error)| StorageError::DirectoryFailed { dir: dir.clone(), cause: error.to_string() });
        let mut used = identity.paths();
        used.retain(|dir| recovered.failed_dirs.iter().all(|(failed, _)| failed != dir));
        Self { used, lost: lost.chain(failed).collect() }
    }

    /// Says what is missing.
    pub(super) fn tell(&self) {
        for error in &self.lost {
            tracing::error!(
                "{error}. The broker starts without it: its partitions are offline, the others are served"
            );
        }
    }
}

/// Which directories are known to have failed while the broker runs.
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
