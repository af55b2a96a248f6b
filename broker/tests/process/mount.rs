//! A small ext4 of its own on a loop device: one that can be filled, taken away, and made to fail like a disk that died.
//!
//! Needs root, loop devices and mkfs.ext4, and says so without them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Place;

/// `EXT4_IOC_SHUTDOWN`, and its flag for the moment of a power cut: not even the journal is written.
const EXT4_SHUTDOWN: libc::c_ulong = 0x8004_587d;
const NO_LOG_FLUSH: u32 = 2;

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}; it comes with e2fsprogs and util-linux"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {said}; this test needs root and loop devices"
    );
}

/// A file system, unmounted when dropped.
pub(crate) struct Mount {
    image: PathBuf,
    path: PathBuf,
}

impl Mount {
    /// Makes one of so many bytes and mounts it as `name` in `place`.
    pub(crate) fn new(place: &Place, name: &str, bytes: u64) -> Self {
        let (image, path) = (place.join(&format!("{name}.image")), place.join(name));
        File::create(&image).and_then(|file| file.set_len(bytes)).expect("an image");
        std::fs::create_dir(&path).expect("a mount point");
        // No blocks kept back for root, as which the broker runs here.
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &image.display().to_string()]);
        let mount = Self { image, path };
        mount.mount();
        mount
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Mounts it, as after a repair.
    pub(crate) fn mount(&self) {
        run("mount", &["-o", "loop", &self.image.display().to_string(), &self.path.display().to_string()]);
    }

    /// Takes it away. Nobody may use it.
    pub(crate) fn unmount(&self) {
        run("umount", &[&self.path.display().to_string()]);
    }

    /// From now on everything that needs the disk fails with an I/O error, and what was not flushed is lost.
    pub(crate) fn die(&self) {
        let root = File::open(&self.path).expect("the root of the file system");
        let flags = NO_LOG_FLUSH;
        // SAFETY: the descriptor is open, and the request reads a u32 from the pointer, which is valid for the call.
        #[allow(unsafe_code)]
        let done = unsafe { libc::ioctl(root.as_raw_fd(), EXT4_SHUTDOWN as _, &raw const flags) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _not_mounted = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
