//! The recorded disk as a FUSE file system of two files: `disk.img`, whose writes and flushes go to the log, and
//! `history`, to which clients append what they did, so that it is ordered against the writes. Run by `main`.
//! Deliberately absent: every other file operation, and any durability of its own: the store may live on any disk.
//!
//! Requests are answered by several threads, and a write rests before its answer. So a flush that does not wait for
//! the writes before it overtakes them here as it may on a real disk, and then it does not cover them.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, ensure};
use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::fcntl::{FallocateFlags, fallocate};

use crate::log::{Data, Kind, Log};

/// Name of the log in the store.
pub(crate) const LOG_NAME: &str = "log";

/// Name of the file that holds what a reader of the disk sees now.
const CONTENT_NAME: &str = "content";

/// Threads that answer requests: as many writes may be on their way while a flush is answered.
const THREADS: usize = 8;

/// Bytes of one read that are answered at most; the kernel asks for less.
const READ_BYTES_MAX: usize = 1 << 20;

const DISK: INodeNo = INodeNo(2);
const HISTORY: INodeNo = INodeNo(3);

/// Attributes are never cached by the kernel: the history grows.
const TTL: Duration = Duration::ZERO;

/// How a recording is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Size of the disk in bytes.
    pub(crate) image_bytes: u64,
    /// Limit of the log in bytes; beyond it the disk fails.
    pub(crate) log_bytes_max: u64,
    /// Longest time in microseconds that a write or a flush rests before it is answered.
    pub(crate) delay_us_max: u64,
}

/// Mounts the recorded disk and serves it until it is unmounted. Needs root.
pub(crate) fn serve(store: &Path, mount: &Path, settings: Settings) -> anyhow::Result<()> {
    ensure!(
        settings.image_bytes.is_multiple_of(4096),
        "--image-bytes {} is not a multiple of 4096",
        settings.image_bytes
    );
    let log = Log::create(&store.join(LOG_NAME), settings.log_bytes_max)?;
    let content = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(store.join(CONTENT_NAME))
        .with_context(|| format!("cannot create the disk's content in {}", store.display()))?;
    content.set_len(settings.image_bytes)?;
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("corelog-recorder".to_owned())];
    config.n_threads = Some(THREADS);
    let disk = Disk { content, recording: Mutex::new(Recording { log, history_bytes: 0 }), settings };
    fuser::mount(disk, mount, &config).with_context(|| {
        format!("cannot mount the recorded disk on {}: it needs root and /dev/fuse", mount.display())
    })
}

struct Recording {
    log: Log,
    history_bytes: u64,
}

struct Disk {
    content: File,
    /// Held while the log and the content change together, never while a request rests.
    recording: Mutex<Recording>,
    settings: Settings,
}

impl Disk {
    fn recording(&self) -> MutexGuard<'_, Recording> {
        self.recording.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes the time of a device: different for each request, the same in each run.
    fn rest(&self, sequence: u64) {
        let delay_us = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        if self.settings.delay_us_max > 0 {
            std::thread::sleep(Duration::from_micros(delay_us % self.settings.delay_us_max));
        }
    }

    fn write_disk(&self, position: u64, data: Data<'_>) -> anyhow::Result<()> {
        let length = match data {
            Data::Bytes(bytes) => bytes.len() as u64,
            Data::Zeros(length) => length,
        };
        let end = position.checked_add(length);
        ensure!(
            end.is_some_and(|end| end <= self.settings.image_bytes),
            "a write of {length} bytes at {position} passes the end of a disk of {} bytes",
            self.settings.image_bytes
        );
        let sequence = {
            let mut recording = self.recording();
            let sequence = recording.log.append(Kind::WriteBegun, position, data)?;
            match data {
                Data::Bytes(bytes) => self.content.write_all_at(bytes, position)?,
                Data::Zeros(_) => fallocate(
                    self.content.as_raw_fd(),
                    FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
                    i64::try_from(position)?,
                    i64::try_from(length)?,
                )?,
            }
            sequence
        };
        self.rest(sequence);
        self.recording().log.append(Kind::WriteDone, sequence, Data::Bytes(&[]))?;
        Ok(())
    }

    fn flush_disk(&self) -> anyhow::Result<()> {
        let sequence = self.recording().log.append(Kind::FlushBegun, 0, Data::Bytes(&[]))?;
        self.rest(sequence);
        self.recording().log.append(Kind::FlushDone, sequence, Data::Bytes(&[]))?;
        Ok(())
    }

    fn write_history(&self, data: &[u8]) -> anyhow::Result<()> {
        let mut recording = self.recording();
        recording.log.append(Kind::History, 0, Data::Bytes(data))?;
        recording.history_bytes += data.len() as u64;
        Ok(())
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match inode {
            INodeNo::ROOT => (FileType::Directory, 0o700, 0),
            DISK => (FileType::RegularFile, 0o600, self.settings.image_bytes),
            HISTORY => (FileType::RegularFile, 0o600, self.recording().history_bytes),
            _ => return None,
        };
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        })
    }
}

/// Says why the disk fails and how the kernel is told. After this nothing that the load saw can be trusted, which
/// the harness learns from the exit code of the broker or the load.
fn failed(error: &anyhow::Error) -> Errno {
    use std::io::Write as _;
    // A diagnosis that cannot be written must not take the disk down with it.
    let _ = writeln!(std::io::stderr(), "recorded disk: {error:#}");
    Errno::EIO
}

impl Filesystem for Disk {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Without it the loop driver's asynchronous direct writes come one at a time. Kernels without it still work.
        let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inode = match name.to_str() {
            Some("disk.img") => DISK,
            Some("history") => HISTORY,
            _ => return reply.error(Errno::ENOENT),
        };
        match self.attributes(inode) {
            Some(attributes) if parent == INodeNo::ROOT => reply.entry(&TTL, &attributes, Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<std::time::SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<std::time::SystemTime>,
        _chgtime: Option<std::time::SystemTime>,
        _bkuptime: Option<std::time::SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.attributes(inode) {
            Some(attributes) if size.is_none() => reply.attr(&TTL, &attributes),
            _ => reply.error(Errno::EPERM),
        }
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // No page cache in between: a write is recorded when it is made.
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if inode != DISK {
            return reply.error(Errno::EPERM);
        }
        let mut buffer = vec![0; (size as usize).min(READ_BYTES_MAX)];
        let mut filled = 0;
        while filled < buffer.len() {
            match self.content.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => return reply.error(failed(&error.into())),
            }
        }
        reply.data(&buffer[..filled]);
    }

    fn write(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written =
            if inode == DISK { self.write_disk(offset, Data::Bytes(data)) } else { self.write_history(data) };
        match (written, u32::try_from(data.len())) {
            (Ok(()), Ok(length)) => reply.written(length),
            (Err(error), _) => reply.error(failed(&error)),
            (_, Err(error)) => reply.error(failed(&error.into())),
        }
    }

    fn fsync(&self, _request: &Request, inode: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        let flushed = if inode == DISK { self.flush_disk() } else { Ok(()) };
        match flushed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(failed(&error)),
        }
    }

    /// A close; nothing becomes durable by it.
    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fallocate(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        // The loop driver discards and zeroes by these two; both read back as zeros here.
        let zeroing = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
        if inode != DISK || mode & zeroing == 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        match self.write_disk(offset, Data::Zeros(length)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(failed(&error)),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = [
            (INodeNo::ROOT, FileType::Directory, "."),
            (INodeNo::ROOT, FileType::Directory, ".."),
            (DISK, FileType::RegularFile, "disk.img"),
            (HISTORY, FileType::RegularFile, "history"),
        ];
        for (index, (inode, kind, name)) in (1_u64..).zip(entries).filter(|(index, _)| *index > offset) {
            if reply.add(inode, index, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
