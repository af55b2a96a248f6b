//! The only door to the disk, the clock and the spawner.
//!
//! [`Io`] is what the rest of the crate is generic over; `glommio` implements it for real (io_uring, direct I/O) and
//! `simulated` implements it over memory with seeded faults and virtual time. Type parameters appear only at this seam.
//! Deliberately absent: buffering, caching, retries. A failed write or flush is reported once and is final.

pub mod glommio;
pub mod simulated;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use crate::Result;

/// Alignment of buffers, positions and lengths of direct I/O, in bytes.
pub const ALIGN: usize = 4096;

/// The largest single read or write, in bytes. Larger transfers are split by the caller.
pub const TRANSFER_BYTES_MAX: usize = 512 * 1024;

/// Rounds up to [`ALIGN`].
pub const fn align_up(value: u64) -> u64 {
    value.div_ceil(ALIGN as u64) * ALIGN as u64
}

/// Rounds down to [`ALIGN`].
pub const fn align_down(value: u64) -> u64 {
    value / ALIGN as u64 * ALIGN as u64
}

/// How urgent a task is. Maps to a glommio task queue; the simulation ignores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// What a client waits for: journal commits.
    Foreground,
    /// Write-back and checkpoints.
    Background,
    /// Cold reads, scrub, zeroing ahead.
    Housekeeping,
}

/// How a file is opened. Every file is opened for direct reading and writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must exist.
    Existing,
    /// Created when missing; existing content stays.
    CreateOrOpen,
    /// Created; an existing file is an error.
    CreateNew,
}

/// One entry of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// File name without its directory. Names that are not UTF-8 are listed lossily.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// An aligned buffer for direct I/O. Length is a multiple of [`ALIGN`].
pub trait Buffer: AsRef<[u8]> + AsMut<[u8]> + 'static {
    /// Shortens the buffer to `len` bytes, a multiple of [`ALIGN`].
    fn truncate(&mut self, len: usize);
}

/// An open file. Dropping it closes it (in the background where the runtime needs that).
// Whether a file is empty is a question nobody asks asynchronously.
#[allow(clippy::len_without_is_empty)]
pub trait File: 'static {
    /// The buffers it reads into and writes from.
    type Buf: Buffer;

    /// Reads up to `len` bytes at `position` (both multiples of [`ALIGN`], `len` at most [`TRANSFER_BYTES_MAX`]).
    /// Fewer bytes than asked for mean the end of the file; [`ReadBytes::len`] is then how many there were, aligned or
    /// not, and the buffer holds just the blocks they lie in.
    fn read_at(&self, position: u64, len: usize) -> impl Future<Output = Result<ReadBytes<Self::Buf>>>;

    /// Writes the whole buffer at `position` (aligned) and hands the buffer back. Completed is not durable.
    fn write_at(&self, buf: Self::Buf, position: u64) -> impl Future<Output = Result<Self::Buf>>;

    /// Makes every completed write of this file durable (fdatasync), its length included.
    fn flush(&self) -> impl Future<Output = Result<()>>;

    /// Reserves blocks so that writes below `len` cannot run out of space; the file's length does not change.
    fn allocate(&self, len: u64) -> impl Future<Output = Result<()>>;

    /// Sets the exact length: cuts, or extends with zeros.
    fn set_len(&self, len: u64) -> impl Future<Output = Result<()>>;

    /// The file's length in bytes.
    fn len(&self) -> impl Future<Output = Result<u64>>;
}

/// Reserves blocks for the first `wanted` bytes of a file, or for the first `needed` where the disk has no room for more. Returns
/// how many they are.
///
/// # Errors
/// As [`File::allocate`].
pub async fn reserve(file: &impl File, wanted: u64, needed: u64) -> Result<u64> {
    match file.allocate(wanted).await {
        Err(error) if error.is_disk_full() && needed < wanted => file.allocate(needed).await.map(|()| needed),
        result => result.map(|()| wanted),
    }
}

/// What a read returned: a buffer of which the first `len` bytes are from the file.
#[derive(Debug)]
pub struct ReadBytes<B> {
    /// The buffer; bytes beyond `len` mean nothing.
    pub buf: B,
    /// How many bytes the file had there.
    pub len: usize,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for ReadBytes<B> {
    fn as_ref(&self) -> &[u8] {
        let bytes = self.buf.as_ref();
        &bytes[..self.len.min(bytes.len())]
    }
}

/// Disk, clock and spawner of one core. Cheap to clone.
pub trait Io: Clone + 'static {
    /// Its buffers.
    type Buf: Buffer;
    /// Its files.
    type File: File<Buf = Self::Buf>;

    /// A zeroed aligned buffer of `len` bytes (a multiple of [`ALIGN`]).
    fn buffer(&self, len: usize) -> Self::Buf;

    /// Opens a file for direct I/O.
    fn open(&self, path: &Path, mode: OpenMode) -> impl Future<Output = Result<Self::File>>;
    /// Creates a directory and its parents. Not durable before [`Io::sync_dir`] on the parent.
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = Result<()>>;
    /// Lists a directory, sorted by name.
    fn read_dir(&self, path: &Path) -> impl Future<Output = Result<Vec<DirEntry>>>;
    /// Renames a file or directory, replacing a file that is there.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = Result<()>>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> impl Future<Output = Result<()>>;
    /// Removes a directory and all below it.
    fn remove_dir_all(&self, path: &Path) -> impl Future<Output = Result<()>>;
    /// Makes creations, renames and removals in this directory durable (fsync of the directory).
    fn sync_dir(&self, path: &Path) -> impl Future<Output = Result<()>>;
    /// Makes everything written on the file system of `path` durable (syncfs).
    fn sync_file_system(&self, path: &Path) -> impl Future<Output = Result<()>>;
    /// Bytes that an unprivileged writer may still allocate on the file system of `path`.
    fn available_bytes(&self, path: &Path) -> impl Future<Output = Result<u64>>;

    /// Runs a task on this core.
    fn spawn(&self, class: Class, task: impl Future<Output = ()> + 'static);
    /// Resolves after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
    /// Gives way to other tasks when this one has run for its share (200 us in the background classes).
    fn yield_if_needed(&self) -> impl Future<Output = ()>;
    /// Monotonic time in nanoseconds since some point before the process's first use of it.
    fn now_ns(&self) -> u64;
}
