//! The real disk, clock and spawner of one core: io_uring and direct I/O through glommio.
//!
//! `boot` makes one [`GlommioIo`] on each executor and hands clones of it down. What io_uring or glommio would do with
//! a blocking system call runs on the executor's blocking pool instead. Deliberately absent: a cache of descriptors,
//! buffering, and retries of anything the kernel has refused.

mod buffer;
mod direct;
mod file;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use glommio::{Latency, Shares, TaskQueueHandle};

pub use buffer::GlommioBuf;
pub use direct::check_direct_io;
pub use file::GlommioFile;

use crate::io::{Class, DirEntry, Io, OpenMode};
use crate::{Result, StorageError};

/// Longest time a background task runs before it gives way, in nanoseconds.
const BACKGROUND_SLICE_NS: u64 = 200_000;

/// How long a background task stays away when it gives way. Long enough that its queue drains, because only then does
/// glommio look for completed disk operations before the preempt timer fires.
const BACKGROUND_REST: Duration = Duration::from_micros(20);

/// Latency asked for the foreground queue. Below 10 ms an executor of glommio 0.9 can fall asleep with work to do.
const FOREGROUND_LATENCY: Duration = Duration::from_millis(10);

/// Shares of the core's time when all classes want it.
const FOREGROUND_SHARES: usize = 1000;
const BACKGROUND_SHARES: usize = 200;
const HOUSEKEEPING_SHARES: usize = 50;

/// What all clones on one executor share.
struct Core {
    foreground: TaskQueueHandle,
    background: TaskQueueHandle,
    housekeeping: TaskQueueHandle,
    /// When the current slice of background work began.
    slice_started_ns: Cell<u64>,
    /// Devices on which glommio knows by now whether polled I/O works.
    probed_devices: RefCell<BTreeSet<u64>>,
}

/// Disk, clock and spawner of the executor it was made on. Clones are cheap and stay on that executor.
#[derive(Clone)]
pub struct GlommioIo {
    core: Rc<Core>,
}

impl GlommioIo {
    /// Creates the task queues of the three classes. Call it once on each executor, from inside it.
    ///
    /// The executor's blocking pool should have two threads or more: opens wait there behind a long syncfs.
    pub fn new() -> Self {
        let executor = glommio::executor();
        let queue = |shares, latency, name| executor.create_task_queue(Shares::Static(shares), latency, name);
        let core = Core {
            foreground: queue(FOREGROUND_SHARES, Latency::Matters(FOREGROUND_LATENCY), "foreground"),
            background: queue(BACKGROUND_SHARES, Latency::NotImportant, "background"),
            housekeeping: queue(HOUSEKEEPING_SHARES, Latency::NotImportant, "housekeeping"),
            slice_started_ns: Cell::new(0),
            probed_devices: RefCell::default(),
        };
        Self { core: Rc::new(core) }
    }

    /// The glommio task queue of a class, for tasks that are not spawned through [`Io::spawn`].
    pub fn queue(&self, class: Class) -> TaskQueueHandle {
        match class {
            Class::Foreground => self.core.foreground,
            Class::Background => self.core.background,
            Class::Housekeeping => self.core.housekeeping,
        }
    }

    /// Opens the file beside glommio, so that whatever can be wrong with it is an error here and not a panic there.
    async fn open_direct(&self, path: &Path, mode: OpenMode) -> io::Result<glommio::io::DmaFile> {
        let owned = path.to_path_buf();
        let opened = blocking(move || direct::open(&owned, mode)).await?;
        if opened.is_empty && !self.core.probed_devices.borrow().contains(&opened.device) {
            let owned = path.to_path_buf();
            // Without a probe file glommio decides by itself, as it does for files that are not empty.
            if let Ok(probe) = blocking(move || direct::probe_file(&owned)).await {
                drop(direct::reopen(&probe).await?);
            }
            self.core.probed_devices.borrow_mut().insert(opened.device);
        }
        direct::reopen(&opened.file).await
    }
}

impl Default for GlommioIo {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a blocking system call on the executor's blocking pool.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    glommio::executor().spawn_blocking(call).await
}

/// The same for a call that needs nothing but a path.
async fn on_path<T: Send + 'static>(
    what: &'static str,
    path: &Path,
    call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let owned = path.to_path_buf();
    blocking(move || call(&owned)).await.map_err(|error| StorageError::io(what, path, error))
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
    }
    entries.sort();
    Ok(entries)
}

fn available(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

impl Io for GlommioIo {
    type Buf = GlommioBuf;
    type File = GlommioFile;

    fn buffer(&self, len: usize) -> GlommioBuf {
        GlommioBuf::zeroed(len)
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> Result<GlommioFile> {
        match self.open_direct(path, mode).await {
            Ok(file) => Ok(GlommioFile::new(file, path.to_path_buf())),
            Err(error) => Err(StorageError::io("open", path, error)),
        }
    }

    async fn create_dir_all(&self, path: &Path) -> Result<()> {
        on_path("create directory", path, |path| std::fs::create_dir_all(path)).await
    }

    async fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>> {
        on_path("list directory", path, list).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let to: PathBuf = to.to_path_buf();
        on_path("rename", from, move |from| std::fs::rename(from, &to)).await
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        on_path("remove", path, |path| std::fs::remove_file(path)).await
    }

    async fn remove_dir_all(&self, path: &Path) -> Result<()> {
        on_path("remove directory", path, |path| std::fs::remove_dir_all(path)).await
    }

    async fn sync_dir(&self, path: &Path) -> Result<()> {
        on_path("sync directory", path, |path| direct::open_dir(path)?.sync_all()).await
    }

    async fn sync_file_system(&self, path: &Path) -> Result<()> {
        on_path("sync file system", path, direct::sync_file_system).await
    }

    async fn available_bytes(&self, path: &Path) -> Result<u64> {
        on_path("inspect free space", path, available).await
    }

    fn spawn(&self, class: Class, task: impl Future<Output = ()> + 'static) {
        match glommio::spawn_local_into(task, self.queue(class)) {
            Ok(task) => drop(task.detach()),
            Err(error) => panic!("the task queue of {class:?} is gone: {error}"),
        }
    }

    async fn sleep(&self, duration: Duration) {
        glommio::timer::sleep(duration).await;
    }

    async fn yield_if_needed(&self) {
        let executor = glommio::executor();
        let queue = executor.current_task_queue();
        if queue != self.core.background && queue != self.core.housekeeping {
            executor.yield_if_needed().await;
            return;
        }
        if self.now_ns().saturating_sub(self.core.slice_started_ns.get()) >= BACKGROUND_SLICE_NS {
            glommio::timer::sleep(BACKGROUND_REST).await;
            self.core.slice_started_ns.set(self.now_ns());
        }
    }

    fn now_ns(&self) -> u64 {
        static STARTED: OnceLock<Instant> = OnceLock::new();
        let elapsed = STARTED.get_or_init(Instant::now).elapsed();
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }
}
