//! The simulation as [`Io`], [`File`] and [`Buffer`]: what code under test holds. Checks the rules of direct I/O.
//!
//! Made by [`Simulation::io`](super::Simulation::io). Deliberately absent: any decision, they are the executor's.

use std::future::{Future, poll_fn};
use std::io::Error;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::disk::InodeId;
use super::executor::World;
use super::request::{Reply, Request};
use crate::io::{ALIGN, Buffer, Class, DirEntry, File, Io, OpenMode, ReadBytes, TRANSFER_BYTES_MAX};
use crate::{Result, StorageError};

/// A buffer in ordinary memory with the lengths of an aligned one.
#[derive(Debug, Clone)]
pub struct SimBuf(Vec<u8>);

impl AsRef<[u8]> for SimBuf {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for SimBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buffer for SimBuf {
    fn truncate(&mut self, len: usize) {
        assert!(len.is_multiple_of(ALIGN), "a buffer was cut to {len} bytes, not a multiple of {ALIGN}");
        self.0.truncate(len);
    }
}

/// Waits for one operation. Dropping it leaves the operation in flight, as io_uring does.
struct Answer {
    world: Rc<World>,
    id: u64,
}

impl Future for Answer {
    type Output = std::result::Result<Reply, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.world.poll_answer(self.id, cx)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.world.abandon(self.id);
    }
}

/// The simulated disk, clock and spawner.
#[derive(Clone)]
pub struct SimIo {
    world: Rc<World>,
    generation: u64,
}

impl SimIo {
    pub(super) fn new(world: Rc<World>, generation: u64) -> Self {
        Self { world, generation }
    }

    async fn ask(&self, what: &'static str, path: &Path, request: Request) -> Result<Reply> {
        let id = self.world.issue(self.generation, path, request);
        let answer = Answer { world: self.world.clone(), id }.await;
        answer.map_err(|error| StorageError::io(what, path, error))
    }
}

impl Io for SimIo {
    type Buf = SimBuf;
    type File = SimFile;

    fn buffer(&self, len: usize) -> SimBuf {
        assert!(
            len.is_multiple_of(ALIGN),
            "a buffer of {len} bytes was asked for, not a multiple of {ALIGN}"
        );
        SimBuf(vec![0; len])
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> Result<SimFile> {
        match self.ask("open", path, Request::Open { mode }).await? {
            Reply::Opened(inode) => {
                self.world.handle_opened(self.generation, inode);
                Ok(SimFile { io: self.clone(), inode, path: path.to_path_buf() })
            }
            other => unexpected(&other),
        }
    }

    async fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.ask("create directory", path, Request::CreateDirAll).await.map(drop)
    }

    async fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>> {
        match self.ask("list directory", path, Request::ReadDir).await? {
            Reply::Entries(entries) => Ok(entries),
            other => unexpected(&other),
        }
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.ask("rename", from, Request::Rename { to: to.to_path_buf() }).await.map(drop)
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        self.ask("remove", path, Request::RemoveFile).await.map(drop)
    }

    async fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.ask("remove directory", path, Request::RemoveDirAll).await.map(drop)
    }

    async fn sync_dir(&self, path: &Path) -> Result<()> {
        self.ask("sync directory", path, Request::SyncDir { before: 0 }).await.map(drop)
    }

    async fn sync_file_system(&self, path: &Path) -> Result<()> {
        self.ask("sync file system", path, Request::SyncFileSystem { before: 0 }).await.map(drop)
    }

    async fn available_bytes(&self, path: &Path) -> Result<u64> {
        match self.ask("inspect free space", path, Request::AvailableBytes).await? {
            Reply::Number(bytes) => Ok(bytes),
            other => unexpected(&other),
        }
    }

    fn spawn(&self, _class: Class, task: impl Future<Output = ()> + 'static) {
        self.world.spawn(self.generation, Box::pin(task));
    }

    async fn sleep(&self, duration: Duration) {
        let until_ns = self.world.now_ns().saturating_add(duration.as_nanos() as u64);
        let mut armed = false;
        poll_fn(|cx| {
            if armed && self.world.now_ns() >= until_ns {
                return Poll::Ready(());
            }
            let left = Duration::from_nanos(until_ns.saturating_sub(self.world.now_ns()));
            self.world.wake_after(self.generation, left, cx.waker().clone());
            armed = true;
            Poll::Pending
        })
        .await;
    }

    async fn yield_if_needed(&self) {
        let mut yields = self.world.coin();
        poll_fn(|cx| {
            if std::mem::take(&mut yields) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    fn now_ns(&self) -> u64 {
        self.world.now_ns()
    }
}

/// An open simulated file.
pub struct SimFile {
    io: SimIo,
    inode: InodeId,
    path: PathBuf,
}

impl SimFile {
    fn check_direct(&self, what: &str, position: u64, len: usize) {
        assert!(
            position.is_multiple_of(ALIGN as u64) && len.is_multiple_of(ALIGN),
            "{what} {}: position {position} and length {len} must be multiples of {ALIGN}",
            self.path.display()
        );
        assert!(
            len <= TRANSFER_BYTES_MAX,
            "{what} {}: {len} bytes at once, at most {TRANSFER_BYTES_MAX} are allowed; split it",
            self.path.display()
        );
    }
}

impl File for SimFile {
    type Buf = SimBuf;

    async fn read_at(&self, position: u64, len: usize) -> Result<ReadBytes<SimBuf>> {
        self.check_direct("read", position, len);
        let request = Request::Read { inode: self.inode, position, len };
        match self.io.ask("read", &self.path, request).await? {
            Reply::Bytes(mut bytes) => {
                let read = bytes.len();
                bytes.resize(read.next_multiple_of(ALIGN), 0);
                Ok(ReadBytes { buf: SimBuf(bytes), len: read })
            }
            other => unexpected(&other),
        }
    }

    async fn write_at(&self, buf: SimBuf, position: u64) -> Result<SimBuf> {
        self.check_direct("write", position, buf.0.len());
        let request = Request::Write { inode: self.inode, position, bytes: buf.0.clone() };
        self.io.ask("write", &self.path, request).await?;
        Ok(buf)
    }

    async fn flush(&self) -> Result<()> {
        self.io.ask("flush", &self.path, Request::Flush { inode: self.inode, before: 0 }).await.map(drop)
    }

    async fn allocate(&self, len: u64) -> Result<()> {
        self.io.ask("allocate", &self.path, Request::Allocate { inode: self.inode, len }).await.map(drop)
    }

    async fn set_len(&self, len: u64) -> Result<()> {
        self.io.ask("set length of", &self.path, Request::SetLen { inode: self.inode, len }).await.map(drop)
    }

    async fn len(&self) -> Result<u64> {
        match self.io.ask("inspect", &self.path, Request::Len { inode: self.inode }).await? {
            Reply::Number(len) => Ok(len),
            other => unexpected(&other),
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.io.world.handle_closed(self.io.generation, self.inode);
    }
}

/// The executor answered another question than was asked: a bug in the simulation itself.
fn unexpected<T>(reply: &Reply) -> Result<T> {
    panic!("the simulation answered {reply:?} to another request");
}
