//! One open file on io_uring: direct reads and writes, flushes, lengths. Used by whoever got it from `GlommioIo::open`.
//!
//! Short transfers and interrupted calls are continued here; every other error is reported once and is final.
//! Deliberately absent: opening (`direct`), deciding what an error means for the log directory.

use std::future::Future;
use std::io::{Error, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::rc::Rc;

use glommio::GlommioError;
use glommio::io::DmaFile;

use super::buffer::GlommioBuf;
use super::direct::io_error;
use crate::io::{ALIGN, File, ReadBytes, TRANSFER_BYTES_MAX, align_down};
use crate::{Result, StorageError};

/// How often a call that the kernel interrupted, or had no resources for just then, is issued again.
const INTERRUPTIONS_MAX: usize = 100;

/// An open file with direct I/O. Dropped, it is closed by the executor's next round of I/O.
pub struct GlommioFile {
    file: DmaFile,
    path: PathBuf,
}

impl GlommioFile {
    pub(super) fn new(file: DmaFile, path: PathBuf) -> Self {
        Self { file, path }
    }

    fn error(&self, what: &'static str, error: Error) -> StorageError {
        StorageError::io(what, &self.path, error)
    }

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

    /// Issues a call until it is neither interrupted nor put off.
    async fn uninterrupted<T, F>(&self, what: &'static str, mut call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, GlommioError<()>>>,
    {
        let mut interruptions = 0;
        loop {
            match call().await.map_err(io_error) {
                Ok(done) => return Ok(done),
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
                        && interruptions < INTERRUPTIONS_MAX =>
                {
                    interruptions += 1;
                    glommio::executor().yield_task_queue_now().await;
                }
                Err(error) => return Err(self.error(what, error)),
            }
        }
    }

    /// The length as the inode has it, which never waits for the disk.
    fn len_now(&self) -> Result<u64> {
        match nix::sys::stat::fstat(self.file.as_raw_fd()) {
            Ok(stat) => Ok(u64::try_from(stat.st_size).unwrap_or(0)),
            Err(errno) => Err(self.error("inspect", errno.into())),
        }
    }

    /// Continues a read that came back short although the file goes on.
    async fn read_rest(&self, first: &[u8], position: u64, len: usize) -> Result<ReadBytes<GlommioBuf>> {
        let mut buf = GlommioBuf::zeroed(len);
        let mut read = first.len();
        buf.as_mut()[..read].copy_from_slice(first);
        while read < len && read.is_multiple_of(ALIGN) {
            let at = position + read as u64;
            let more = self.uninterrupted("read", || self.file.read_at_aligned(at, len - read)).await?;
            if more.is_empty() {
                break;
            }
            buf.as_mut()[read..read + more.len()].copy_from_slice(&more);
            read += more.len();
        }
        crate::io::Buffer::truncate(&mut buf, read.next_multiple_of(ALIGN));
        Ok(ReadBytes { buf, len: read })
    }
}

impl File for GlommioFile {
    type Buf = GlommioBuf;

    async fn read_at(&self, position: u64, len: usize) -> Result<ReadBytes<GlommioBuf>> {
        self.check_direct("read", position, len);
        let read = self.uninterrupted("read", || self.file.read_at_aligned(position, len)).await?;
        let is_short = read.len() < len && read.len().is_multiple_of(ALIGN);
        if is_short && position + (read.len() as u64) < self.len_now()? {
            return self.read_rest(&read, position, len).await;
        }
        Ok(ReadBytes { len: read.len(), buf: GlommioBuf::from_read(read) })
    }

    async fn write_at(&self, buf: GlommioBuf, position: u64) -> Result<GlommioBuf> {
        self.check_direct("write", position, buf.as_ref().len());
        let Some(memory) = buf.into_dma() else { return Ok(GlommioBuf::zeroed(0)) };
        let whole = Rc::new(memory);
        let mut written = 0;
        let mut rest = whole.clone();
        loop {
            let at = position + written as u64;
            let count = self.uninterrupted("write", || self.file.write_rc_at(rest.clone(), at)).await?;
            if written + count >= whole.len() {
                break;
            }
            if count < ALIGN {
                let what = format!("the kernel took {count} of {} bytes", whole.len() - written);
                return Err(self.error("write", Error::new(ErrorKind::WriteZero, what)));
            }
            written += align_down(count as u64) as usize;
            let Some(copy) = GlommioBuf::copy_of(&whole.as_bytes()[written..]).into_dma() else { break };
            rest = Rc::new(copy);
        }
        drop(rest);
        Ok(match Rc::try_unwrap(whole) {
            Ok(memory) => GlommioBuf::from_dma(memory),
            // glommio has not let go of it yet.
            Err(shared) => GlommioBuf::copy_of(shared.as_bytes()),
        })
    }

    async fn flush(&self) -> Result<()> {
        // Not continued after an interruption: what a flush that ended early has covered is unknown.
        self.file.fdatasync().await.map_err(|error| self.error("flush", io_error(error)))
    }

    async fn allocate(&self, len: u64) -> Result<()> {
        self.uninterrupted("allocate", || self.file.pre_allocate(len, true)).await
    }

    async fn set_len(&self, len: u64) -> Result<()> {
        self.uninterrupted("set length of", || self.file.truncate(len)).await
    }

    async fn len(&self) -> Result<u64> {
        self.len_now()
    }
}
