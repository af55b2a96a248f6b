//! Room on the disk that is kept back: what a log of the metadata reserves ahead of itself, and each directory's reserve for a start on a full disk.
//!
//! A broker whose disk is full must still delete a topic, and be started again: both write a little before anything becomes free. `boot`
//! lets go of the reserve before it recovers and has it made again before the broker is ready. Deliberately absent: room for records, which
//! storage reserves before it accepts them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::durable;
use super::error::{ControlError, Result};

/// Name of the reserve in a log directory.
pub(super) const RESERVE: &str = "reserve";
/// What the reserve is filled by at a time.
const STEP_BYTES: u64 = 1 << 20;
/// What a start writes besides its checkpoints, generously.
const START_BYTES: u64 = 8 << 20;
/// What a core's new checkpoint file reserves.
const START_BYTES_PER_CORE: u64 = 8 << 20;
/// Between two looks whether a reserve that is not whole can be.
const REFILL_INTERVAL: Duration = Duration::from_secs(10);

/// How large each directory's reserve is, for a broker of so many cores.
pub fn reserve_bytes(cores: u16) -> u64 {
    START_BYTES + START_BYTES_PER_CORE * u64::from(cores)
}

/// Lets go of a directory's reserve when less than that is left on its disk: what follows needs it.
///
/// # Errors
/// What the operating system says.
pub fn let_go_of_reserve(dir: &Path, bytes: u64) -> Result<()> {
    let path = dir.join(RESERVE);
    let available = available(dir)?;
    if available >= bytes || !path.exists() {
        return Ok(());
    }
    tracing::warn!(
        "log directory {} has only {available} bytes left: this start uses the reserve that was kept for it; free some space or \
         lower retention",
        dir.display()
    );
    durable::remove(&path)?;
    durable::sync_dir(dir)
}

/// Makes the reserve of each directory as large as it should be, or as the disk allows; then tries again from time to time, in a thread that
/// ends with the process or when all are whole.
pub fn keep_reserves(dirs: Vec<PathBuf>, bytes: u64) {
    let lacking =
        move |dirs: Vec<PathBuf>| dirs.into_iter().filter(|dir| !is_kept(dir, bytes)).collect::<Vec<_>>();
    let mut left = lacking(dirs);
    for dir in &left {
        tracing::warn!(
            "log directory {} has no room for its whole reserve of {bytes} bytes, with which a broker can start on a full disk; \
             free some space or lower retention",
            dir.display()
        );
    }
    let refill = move || {
        while !left.is_empty() {
            std::thread::sleep(REFILL_INTERVAL);
            left = lacking(std::mem::take(&mut left));
        }
    };
    if let Err(error) = std::thread::Builder::new().name("reserve".to_owned()).spawn(refill) {
        tracing::warn!(%error, "nobody looks after the reserve of the log directories");
    }
}

/// Whether the reserve is whole, after trying. Any failure but a full disk counts as whole: the reserve is a help and no duty.
fn is_kept(dir: &Path, bytes: u64) -> bool {
    match fill(&dir.join(RESERVE), bytes) {
        Err(error) if is_full(&error) => false,
        Err(error) => {
            tracing::warn!(%error, "log directory {} has no reserve for a start on a full disk", dir.display());
            true
        }
        Ok(()) => true,
    }
}

fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    let mut len = file.metadata()?.len().min(bytes);
    // What was begun and not finished has blocks beyond its length; another size was another number of cores.
    file.set_len(len)?;
    while len < bytes {
        let next = (len + STEP_BYTES).min(bytes);
        allocate(&file, next)?;
        file.set_len(next)?;
        len = next;
    }
    Ok(())
}

/// Reserves blocks for the first `len` bytes of a file, whose length stays.
pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
    match fallocate(file.as_raw_fd(), FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, len) {
        // A file system without reservations: a write will tell.
        Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Bytes that are left on the disk that holds `dir`.
pub(super) fn available(dir: &Path) -> Result<u64> {
    let stat = nix::sys::statvfs::statvfs(dir)
        .map_err(|error| ControlError::io("look at the disk of", dir, error.into()))?;
    Ok(stat.blocks_available() as u64 * stat.fragment_size() as u64)
}

/// Whether this is what a full disk answers.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_reserve_is_made_of_real_blocks_and_let_go_of_only_when_little_is_left() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RESERVE);
        assert!(is_kept(dir.path(), 3 << 20));
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.len(), made.blocks() * 512 >= 3 << 20), (3 << 20, true));
        assert!(is_kept(dir.path(), 2 << 20));
        assert_eq!(fs::metadata(&path).unwrap().len(), 2 << 20, "of fewer cores");
        let_go_of_reserve(dir.path(), 0).unwrap();
        assert!(path.exists());
        let_go_of_reserve(dir.path(), u64::MAX).unwrap();
        assert!(!path.exists());
        let_go_of_reserve(dir.path(), u64::MAX).unwrap();
    }
}
