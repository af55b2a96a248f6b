//! The one error type of this crate. Kafka's error codes appear only where a reply is made, never here.

use std::path::PathBuf;

use crate::types::Offset;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, StorageError>;

/// What can go wrong on the way to the disk and back. Cloneable, because one failed flush answers many waiters.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused an operation. Final for the log directory when it was a write or a flush.
    #[error("{operation} {path}: {source}", path = path.display())]
    Io { operation: &'static str, path: PathBuf, source: std::sync::Arc<std::io::Error> },
    /// Bytes below the durable point are not what was written. Never served, never guessed at.
    #[error("{path} is corrupt at byte {position}: {what}", path = path.display())]
    Corrupt { path: PathBuf, position: u64, what: String },
    /// A file of a format this version does not know.
    #[error("{path} has {what} format version {found}; this version of Corelog reads {known}", path = path.display())]
    UnknownVersion { path: PathBuf, what: &'static str, found: u32, known: u32 },
    /// The log directory failed earlier; nothing more is read from or written to it.
    #[error("log directory {path} has failed and is not used any more: {cause}", path = dir.display())]
    DirectoryFailed { dir: PathBuf, cause: String },
    /// No room on the disk for another append. Reads go on.
    #[error("{dir} has {available} bytes left and {needed} are needed; free some space or lower retention", dir = dir.display())]
    DiskFull { dir: PathBuf, available: u64, needed: u64 },
    /// The log or its store was closed or deleted.
    #[error("the log is closed")]
    Closed,
    /// A batch larger than what a journal may carry in one entry.
    #[error(
        "a batch of {len} bytes exceeds the journal's limit of {limit} bytes (an eighth of corelog.journal.bytes)"
    )]
    BatchTooLarge { len: usize, limit: usize },
    /// Room that `prepare` found was taken by others before the append. Prepare again.
    #[error("the journal filled up between prepare and append; prepare again")]
    JournalFull,
    /// An offset that the log does not have (any more, or yet).
    #[error("offset {offset} is out of range: the log has {start_offset} to {end_offset}")]
    OffsetOutOfRange { offset: Offset, start_offset: Offset, end_offset: Offset },
    /// This core has a log for the partition already.
    #[error("there is a log for {name} already")]
    LogExists { name: String },
    /// A log directory's index that does not exist.
    #[error("there is no log directory number {index}; there are {dirs}")]
    UnknownDirectory { index: usize, dirs: usize },
    /// A partition's directory that this broker did not make.
    #[error("{path} looks like a partition's directory, but not one of Corelog's; move it away or choose another log.dirs", path = path.display())]
    ForeignDirectory { path: PathBuf },
}

impl StorageError {
    /// Wraps an operating system error with what was tried on which file.
    pub fn io(operation: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { operation, path: path.into(), source: std::sync::Arc::new(source) }
    }

    /// Whether the operating system said that the disk is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.raw_os_error() == Some(libc::ENOSPC),
            Self::DiskFull { .. } => true,
            _ => false,
        }
    }

    /// Whether the operating system said that there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}
