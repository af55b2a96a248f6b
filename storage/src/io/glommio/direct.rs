//! Opening for direct I/O, and nothing less: what `GlommioIo` runs on the blocking pool before glommio sees a file.
//!
//! glommio 0.9 switches direct I/O off without a word on tmpfs, panics when a path is renamed while it opens it, and
//! believes that polled I/O works when the first file it sees on a device is empty. Deliberately absent: reads, writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Error, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use glommio::io::DmaFile;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::io::{ALIGN, OpenMode};

/// A file that was opened for direct I/O, and what is known of it.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) is_empty: bool,
    pub(super) device: u64,
}

/// The directory a path lies in, also for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn no_direct_io(dir: &Path, file_system: &str) -> Error {
    let dir = dir.display();
    Error::new(
        ErrorKind::Unsupported,
        format!("the file system of {dir} {file_system} has no direct I/O; put log.dirs on ext4 or xfs"),
    )
}

/// Refuses a log directory, which need not exist yet, on a file system without direct I/O. Leaves nothing behind.
///
/// # Errors
/// `Unsupported`, with the directory and the way out. What else may be wrong with it is for whoever opens it to find.
pub fn check_direct_io(dir: &Path) -> io::Result<()> {
    let Some(existing) = dir.ancestors().find(|ancestor| ancestor.is_dir()) else { return Ok(()) };
    if statfs(existing).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC) {
        return Err(no_direct_io(dir, "(tmpfs)"));
    }
    let mut unnamed = OpenOptions::new();
    unnamed.read(true).write(true).custom_flags(libc::O_TMPFILE | libc::O_DIRECT);
    match unnamed.open(existing) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(no_direct_io(dir, "")),
        _ => Ok(()),
    }
}

/// Opens or creates a file with O_DIRECT. Refuses file systems that have none, before anything is created there.
pub(super) fn open(path: &Path, mode: OpenMode) -> io::Result<Opened> {
    if statfs(parent(path))?.filesystem_type() == TMPFS_MAGIC {
        return Err(no_direct_io(parent(path), "(tmpfs)"));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_DIRECT);
    match mode {
        OpenMode::Existing => {}
        OpenMode::CreateOrOpen => drop(options.create(true)),
        OpenMode::CreateNew => drop(options.create_new(true)),
    }
    let file = match options.open(path) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            return Err(no_direct_io(parent(path), ""));
        }
        other => other?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(Opened { is_empty: metadata.len() == 0, device: metadata.dev(), file })
}

/// Has glommio open what `file` is, by descriptor, so that a rename in between cannot matter.
pub(super) async fn reopen(file: &File) -> io::Result<DmaFile> {
    let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    let opened = glommio::io::OpenOptions::new().read(true).write(true).dma_open(by_descriptor).await;
    opened.map_err(io_error)
}

/// An unnamed file with one block, beside `path`. glommio tries polled reads on the first file of a device, and only
/// a read that finds something tells it the truth.
pub(super) fn probe_file(path: &Path) -> io::Result<File> {
    let mut file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).open(parent(path))?;
    file.write_all(&[0; ALIGN])?;
    file.sync_data()?;
    Ok(file)
}

/// Opens a directory, to sync it.
pub(super) fn open_dir(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)
}

/// syncfs on the file system of `path`, a file or directory.
pub(super) fn sync_file_system(path: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(path)?.as_raw_fd())?)
}

/// What the operating system said, without glommio's wrapping, so that its number is not lost.
pub(super) fn io_error(error: glommio::GlommioError<()>) -> Error {
    match error.raw_os_error() {
        Some(errno) => Error::from_raw_os_error(errno),
        None => error.into(),
    }
}
