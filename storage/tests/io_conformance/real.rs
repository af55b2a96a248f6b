//! What only the real disk can show: direct I/O really on, descriptors really closed, file systems refused by name,
//! and completions noticed while background work is busy.

use std::cell::Cell;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use corelog_storage::io::glommio::GlommioIo;
use corelog_storage::io::{ALIGN, Class, File, Io, OpenMode};
use glommio::{LocalExecutorBuilder, Placement};

/// Runs a test on an executor of its own, in a directory of its own on the disk the build directory is on.
pub(crate) fn on_executor<F: Future<Output = ()> + 'static>(
    name: &str,
    test: impl FnOnce(GlommioIo, PathBuf) -> F + Send + 'static,
) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("io-{name}-{}", std::process::id()));
    let inside = dir.clone();
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .spawn(move || async move { test(GlommioIo::new(), inside).await })
        .expect("start an executor");
    let outcome = executor.join();
    std::fs::remove_dir_all(&dir).expect("remove the test's directory");
    outcome.expect("the test panicked, see above");
}

/// Descriptors of this process that are open on files below `dir`, removed ones included, with their flags.
fn descriptors_below(dir: &Path) -> Vec<i32> {
    let mut flags = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").expect("list descriptors").flatten() {
        // Other tests of this process open and close meanwhile.
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        if !target.starts_with(dir) {
            continue;
        }
        let info = Path::new("/proc/self/fdinfo").join(entry.file_name());
        let Ok(info) = std::fs::read_to_string(info) else { continue };
        let line = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags in fdinfo");
        flags.push(i32::from_str_radix(line.trim(), 8).expect("octal flags"));
    }
    flags
}

#[test]
fn direct_io_is_really_on() {
    on_executor("direct", |io, dir| async move {
        io.create_dir_all(&dir).await.unwrap();
        let _file = io.open(&dir.join("f"), OpenMode::CreateNew).await.unwrap();
        let flags = descriptors_below(&dir);
        assert_eq!(flags.len(), 1, "one descriptor a file");
        assert_ne!(flags[0] & libc::O_DIRECT, 0, "flags {:o}", flags[0]);
    });
}

#[test]
fn a_reservation_takes_blocks_on_the_disk() {
    on_executor("reserved", |io, dir| async move {
        io.create_dir_all(&dir).await.unwrap();
        let path = dir.join("f");
        let file = io.open(&path, OpenMode::CreateNew).await.unwrap();
        file.allocate(1 << 20).await.unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.len() == 0 && metadata.blocks() * 512 >= 1 << 20, "{} blocks", metadata.blocks());
    });
}

#[test]
fn a_thousand_closed_files_leave_no_descriptor_behind() {
    on_executor("closing", |io, dir| async move {
        io.create_dir_all(&dir).await.unwrap();
        for round in 0..10 {
            let mut files = Vec::new();
            for number in 0..100 {
                let path = dir.join(format!("{round}-{number}"));
                files.push(io.open(&path, OpenMode::CreateNew).await.unwrap());
            }
            assert!(descriptors_below(&dir).len() >= 100);
        }
        let mut left = usize::MAX;
        for _ in 0..1000 {
            left = descriptors_below(&dir).len();
            if left == 0 {
                return;
            }
            io.sleep(Duration::from_millis(1)).await;
        }
        panic!("{left} descriptors are still open");
    });
}

#[test]
fn a_file_system_without_direct_io_is_refused_by_name_and_nothing_is_created() {
    let shm = Path::new("/dev/shm");
    if !nix::sys::statfs::statfs(shm)
        .is_ok_and(|stat| stat.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC)
    {
        eprintln!("skipped: no tmpfs at /dev/shm");
        return;
    }
    on_executor("tmpfs", move |io, dir| async move {
        io.create_dir_all(&dir).await.unwrap();
        let path = shm.join(format!("corelog-test-{}", std::process::id()));
        let error = io.open(&path, OpenMode::CreateOrOpen).await.map(drop).unwrap_err().to_string();
        assert!(
            error.contains("tmpfs") && error.contains("no direct I/O") && error.contains("log.dirs"),
            "{error}"
        );
        assert!(!path.exists());
    });
}

#[test]
fn a_directory_is_not_opened_as_a_file() {
    on_executor("directory", |io, dir| async move {
        io.create_dir_all(&dir).await.unwrap();
        assert!(io.open(&dir, OpenMode::CreateOrOpen).await.is_err());
        assert!(io.open(&dir, OpenMode::Existing).await.is_err());
    });
}

#[test]
fn busy_background_work_does_not_keep_completed_writes_from_the_foreground() {
    on_executor("busy", |io, dir| async move {
        io.create_dir_all(&dir).await.unwrap();
        let file = io.open(&dir.join("f"), OpenMode::CreateNew).await.unwrap();
        let finished = Rc::new(Cell::new(false));
        for _ in 0..2 {
            let (io, finished) = (io.clone(), finished.clone());
            io.clone().spawn(Class::Background, async move {
                while !finished.get() {
                    io.yield_if_needed().await;
                }
            });
        }
        let (committer, done) = (io.clone(), Rc::new(Cell::new(None)));
        let result = done.clone();
        io.spawn(Class::Foreground, async move {
            let started_ns = committer.now_ns();
            for _ in 0..50 {
                file.write_at(committer.buffer(ALIGN), 0).await.unwrap();
                file.flush().await.unwrap();
            }
            result.set(Some(committer.now_ns() - started_ns));
        });
        while done.get().is_none() {
            io.sleep(Duration::from_millis(1)).await;
        }
        finished.set(true);
        // 100 operations that were only noticed when the preempt timer fires would take 1 s at least.
        let took_ns = done.get().unwrap();
        assert!(took_ns < 900_000_000, "50 commits took {} ms", took_ns / 1_000_000);
    });
}

#[test]
fn an_error_says_what_was_tried_on_which_file_and_keeps_its_number() {
    on_executor("errors", |io, dir| async move {
        io.create_dir_all(&dir).await.unwrap();
        let path = dir.join("none");
        let error = io.open(&path, OpenMode::Existing).await.map(drop).unwrap_err().to_string();
        assert!(error.contains("open") && error.contains("none") && error.contains("os error 2"), "{error}");
        let file = io.open(&path, OpenMode::CreateNew).await.unwrap();
        let error = file.allocate(1 << 60).await.unwrap_err();
        assert!(error.is_disk_full() || error.to_string().contains("File too large"), "{error}");
    });
}
