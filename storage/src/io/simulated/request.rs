//! The vocabulary between handles and executor: what is asked of the disk, and what it answers.
//!
//! Made by `handles`, carried by `executor`, performed on `disk`. Deliberately absent: time and waiting.

use std::io::Error;
use std::path::{Path, PathBuf};

use super::disk::{Disk, InodeId};
use super::faults::Operation;
use super::survivors::Settling;
use crate::io::{DirEntry, OpenMode};

/// What an operation asks of the disk once its time has come.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Read { inode: InodeId, position: u64, len: usize },
    Write { inode: InodeId, position: u64, bytes: Vec<u8> },
    Flush { inode: InodeId, before: u64 },
    Allocate { inode: InodeId, len: u64 },
    SetLen { inode: InodeId, len: u64 },
    Len { inode: InodeId },
    Open { mode: OpenMode },
    CreateDirAll,
    ReadDir,
    Rename { to: PathBuf },
    RemoveFile,
    RemoveDirAll,
    SyncDir { before: u64 },
    SyncFileSystem { before: u64 },
    AvailableBytes,
}

impl Request {
    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::Read { .. } => Operation::Read,
            Self::Write { .. } => Operation::Write,
            Self::Flush { .. } => Operation::Flush,
            Self::Allocate { .. } => Operation::Allocate,
            Self::SetLen { .. } => Operation::SetLen,
            Self::Open { .. } => Operation::Open,
            Self::CreateDirAll => Operation::CreateDir,
            Self::Rename { .. } => Operation::Rename,
            Self::RemoveFile | Self::RemoveDirAll => Operation::Remove,
            Self::SyncDir { .. } => Operation::SyncDir,
            Self::SyncFileSystem { .. } => Operation::SyncFileSystem,
            Self::Len { .. } | Self::ReadDir | Self::AvailableBytes => Operation::Inspect,
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Write { position, bytes, .. } => format!("write at {position}, {} bytes", bytes.len()),
            Self::Read { position, len, .. } => format!("read at {position}, {len} bytes"),
            other => format!("{other:?}"),
        }
    }

    /// Changes the disk as this request asks, and answers it.
    pub(super) fn perform(&self, path: &Path, disk: &mut Disk) -> Result<Reply, Error> {
        match self {
            Self::Read { inode, position, len } => {
                return Ok(Reply::Bytes(disk.content(*inode)?.current.read(*position, *len)));
            }
            Self::Write { inode, position, bytes } => disk.write(*inode, *position, bytes)?,
            Self::Flush { inode, before } => disk.content(*inode)?.flush(*before),
            Self::Allocate { inode, len } => disk.reserve(*inode, *len)?,
            Self::SetLen { inode, len } => disk.set_len(*inode, *len)?,
            Self::Len { inode } => return Ok(Reply::Number(disk.content(*inode)?.current.len)),
            Self::Open { mode } => return Ok(Reply::Opened(disk.open(path, *mode)?)),
            Self::CreateDirAll => disk.create_dir_all(path)?,
            Self::ReadDir => return Ok(Reply::Entries(disk.read_dir(path)?)),
            Self::Rename { to } => disk.rename(path, to)?,
            Self::RemoveFile => disk.remove_file(path)?,
            Self::RemoveDirAll => disk.remove_dir_all(path)?,
            Self::SyncDir { before } => {
                let dir = disk.dir_at(path)?;
                disk.sync_dir(dir, *before);
            }
            Self::SyncFileSystem { before } => disk.sync_all(*before),
            Self::AvailableBytes => return Ok(Reply::Number(disk.available_bytes())),
        }
        Ok(Reply::Done)
    }

    /// The process that asked is gone: it happened, happened partly, or did not happen.
    pub(super) fn interrupt(&self, path: &Path, fails: bool, disk: &mut Disk, settling: &mut Settling<'_>) {
        match self {
            Self::Write { inode, position, bytes } => disk.write_partly(*inode, *position, bytes, settling),
            _ if !settling.is_kept() => {}
            _ if fails => self.fail(path, disk, settling),
            _ => drop(self.perform(path, disk)),
        }
    }

    /// Whether it makes durable what was done before.
    pub(super) fn is_flush(&self) -> bool {
        matches!(self, Self::Flush { .. } | Self::SyncDir { .. } | Self::SyncFileSystem { .. })
    }

    /// Does what a failing disk may do all the same before it reports the error.
    pub(super) fn fail(&self, path: &Path, disk: &mut Disk, settling: &mut Settling<'_>) {
        match self {
            Self::Write { inode, position, bytes } => disk.write_partly(*inode, *position, bytes, settling),
            Self::Flush { inode, before } => {
                if let Ok(content) = disk.content(*inode) {
                    content.flush_failed(*before, settling);
                }
            }
            Self::SyncDir { before } => {
                if let Ok(dir) = disk.dir_at(path) {
                    disk.sync_failed(Some(dir), *before, settling);
                }
            }
            Self::SyncFileSystem { before } => disk.sync_failed(None, *before, settling),
            _ => {}
        }
    }
}

/// What an operation answers.
#[derive(Debug)]
pub(super) enum Reply {
    Done,
    Bytes(Vec<u8>),
    Number(u64),
    Opened(InodeId),
    Entries(Vec<DirEntry>),
}
