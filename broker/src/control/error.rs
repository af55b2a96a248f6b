//! What can go wrong on the control thread: at start, on its disk, and in answer to a call.
//!
//! Kafka's error codes are made of it in `api`; boot prints it as the one line a person reads.

use std::path::PathBuf;
use std::sync::Arc;

use corelog_logic::controller::CommandError;

/// The one error type of the control room. Cloneable, because one failed disk answers many calls.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// The controller refused the whole command.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The metadata cannot be changed any more: its disk failed, or a committed record makes no sense. The process should stop.
    #[error("the metadata log has failed and accepts no changes: {0}")]
    Failed(Arc<str>),
    /// Another controller leads, and this change was not committed.
    #[error("this node no longer leads the metadata; the change was not committed, ask again")]
    NotLeader,
    /// The control thread has been stopped.
    #[error("the broker is shutting down")]
    Stopped,
    /// The disk of the metadata has no room for this change. Nothing was changed; changes that make room may still be possible.
    #[error("{dir} has {available} bytes left and {needed} are needed for this change; free some space or lower retention", dir = dir.display())]
    DiskFull { dir: PathBuf, available: u64, needed: u64 },
    /// The operating system refused an operation.
    #[error("{operation} {path}: {source}", path = path.display())]
    Io { operation: &'static str, path: PathBuf, source: Arc<std::io::Error> },
    /// Bytes on the disk are not what was written. Never served, never guessed at.
    #[error("{path} is corrupt at byte {position}: {what}", path = path.display())]
    Corrupt { path: PathBuf, position: u64, what: String },
    /// A file of a format this version does not know.
    #[error("{path} has format version {found}; this version of Corelog reads {known}", path = path.display())]
    UnknownVersion { path: PathBuf, found: String, known: u32 },
    /// A log directory that is not Corelog's, or not this broker's.
    #[error("log directory {dir}: {why}", dir = dir.display())]
    Directory { dir: PathBuf, why: String },
    /// The admin address cannot be listened on.
    #[error(
        "corelog.metrics.listen={address} cannot be bound: {source}; choose another address or leave it empty"
    )]
    AdminAddress { address: std::net::SocketAddr, source: Arc<std::io::Error> },
}

/// Shorthand for results of this room.
pub type Result<T> = std::result::Result<T, ControlError>;

impl ControlError {
    /// Wraps an operating system error with what was tried on which file.
    pub(super) fn io(operation: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { operation, path: path.into(), source: Arc::new(source) }
    }

    /// Bytes at `position` of a file are not what was written.
    pub(super) fn corrupt(path: impl Into<PathBuf>, position: usize, what: impl ToString) -> Self {
        Self::Corrupt { path: path.into(), position: position as u64, what: what.to_string() }
    }
}
