//! What every `Io` must do, as one generic function. Starts from a directory that does not exist and leaves it empty.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use corelog_storage::io::{ALIGN, Buffer, Class, DirEntry, File, Io, OpenMode, TRANSFER_BYTES_MAX};
use corelog_storage::{Result, StorageError};

const BLOCK: u64 = ALIGN as u64;

pub(crate) async fn all<I: Io>(io: &I, dir: &Path) {
    io.create_dir_all(dir).await.expect("create the test's directory");
    names(io, dir).await;
    opening(io, dir).await;
    reading_and_writing(io, dir).await;
    concurrent_writes(io, dir).await;
    lengths(io, dir).await;
    buffers(io, dir).await;
    syncing(io, dir).await;
    time_and_tasks(io).await;
    assert_eq!(io.read_dir(dir).await.expect("list"), [], "the suite cleans up");
}

fn errno<T>(result: Result<T>) -> Option<i32> {
    match result {
        Err(StorageError::Io { source, .. }) => source.raw_os_error(),
        Err(other) => panic!("not an error of the operating system: {other}"),
        Ok(_) => panic!("an error was expected"),
    }
}

fn filled<I: Io>(io: &I, len: usize, byte: u8) -> I::Buf {
    let mut buf = io.buffer(len);
    buf.as_mut().fill(byte);
    buf
}

async fn names<I: Io>(io: &I, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    io.create_dir_all(&a.join("deep/er")).await.expect("create");
    io.create_dir_all(&a.join("deep/er")).await.expect("creating it again is no error");
    io.open(&a.join("z"), OpenMode::CreateNew).await.expect("create a file");
    io.open(&a.join("c"), OpenMode::CreateNew).await.expect("create a file");
    let entry = |name: &str, is_dir| DirEntry { name: name.into(), is_dir };
    let expected = [entry("c", false), entry("deep", true), entry("z", false)];
    assert_eq!(io.read_dir(&a).await.expect("list"), expected, "sorted by name");

    io.rename(&a.join("c"), &a.join("z")).await.expect("a file replaces a file");
    io.rename(&a, &b).await.expect("a directory moves");
    assert_eq!(io.read_dir(&b).await.expect("list"), [entry("deep", true), entry("z", false)]);
    assert_eq!(errno(io.read_dir(&a).await), Some(libc::ENOENT));
    assert_eq!(errno(io.rename(&a, &b).await), Some(libc::ENOENT));
    assert_eq!(errno(io.remove_file(&b.join("none")).await), Some(libc::ENOENT));
    io.remove_dir_all(&b).await.expect("remove with all below");
    assert_eq!(errno(io.remove_dir_all(&b).await), Some(libc::ENOENT));
}

async fn opening<I: Io>(io: &I, dir: &Path) {
    let path = dir.join("file");
    assert_eq!(errno(io.open(&path, OpenMode::Existing).await.map(drop)), Some(libc::ENOENT));
    let nowhere = dir.join("none/file");
    assert_eq!(errno(io.open(&nowhere, OpenMode::CreateOrOpen).await.map(drop)), Some(libc::ENOENT));
    let file = io.open(&path, OpenMode::CreateOrOpen).await.expect("create");
    file.write_at(filled(io, ALIGN, 1), 0).await.expect("write");
    drop(file);
    assert_eq!(errno(io.open(&path, OpenMode::CreateNew).await.map(drop)), Some(libc::EEXIST));
    let file = io.open(&path, OpenMode::CreateOrOpen).await.expect("open");
    assert_eq!(file.len().await.expect("length"), BLOCK, "existing content stays");

    // An open file follows its inode, not its name.
    io.rename(&path, &dir.join("other")).await.expect("rename");
    assert_eq!(file.len().await.expect("length after the rename"), BLOCK);
    io.remove_file(&dir.join("other")).await.expect("remove");
    assert_eq!(file.read_at(0, ALIGN).await.expect("read after the removal").as_ref(), [1; ALIGN]);
}

async fn reading_and_writing<I: Io>(io: &I, dir: &Path) {
    let path = dir.join("data");
    let file = io.open(&path, OpenMode::CreateNew).await.expect("create");
    assert_eq!(file.read_at(0, ALIGN).await.expect("read an empty file").len, 0);

    let mut buf = filled(io, TRANSFER_BYTES_MAX, 0);
    for (at, byte) in buf.as_mut().iter_mut().enumerate() {
        *byte = (at / 251) as u8;
    }
    let written = file.write_at(buf, BLOCK).await.expect("write the largest transfer");
    assert_eq!(written.as_ref().len(), TRANSFER_BYTES_MAX, "the buffer comes back whole");
    let read = file.read_at(BLOCK, TRANSFER_BYTES_MAX).await.expect("read");
    assert!(read.as_ref() == written.as_ref());
    assert_eq!(file.read_at(0, ALIGN).await.expect("read").as_ref(), [0; ALIGN], "a hole reads as zeros");

    // Across the end, at the end, and beyond it.
    let end = BLOCK + TRANSFER_BYTES_MAX as u64;
    let read = file.read_at(end - BLOCK, 4 * ALIGN).await.expect("read across the end");
    assert_eq!((read.len, read.as_ref().len(), read.buf.as_ref().len()), (ALIGN, ALIGN, ALIGN));
    assert_eq!(file.read_at(end, ALIGN).await.expect("read at the end").len, 0);
    assert_eq!(file.read_at(end + BLOCK, ALIGN).await.expect("read beyond the end").len, 0);

    // Rewriting in place, through another handle.
    let other = io.open(&path, OpenMode::Existing).await.expect("open again");
    other.write_at(filled(io, ALIGN, 9), BLOCK).await.expect("rewrite");
    assert_eq!(file.read_at(BLOCK, ALIGN).await.expect("read").as_ref(), [9; ALIGN]);
    file.flush().await.expect("flush");
    io.remove_file(&path).await.expect("remove");
}

async fn concurrent_writes<I: Io>(io: &I, dir: &Path) {
    const WRITERS: u64 = 32;
    let path = dir.join("concurrent");
    let file = Rc::new(io.open(&path, OpenMode::CreateNew).await.expect("create"));
    let done = Rc::new(RefCell::new(0));
    for writer in 0..WRITERS {
        let (file, done, buf) = (file.clone(), done.clone(), filled(io, 2 * ALIGN, writer as u8 + 1));
        let class = [Class::Foreground, Class::Background, Class::Housekeeping][writer as usize % 3];
        io.spawn(class, async move {
            let buf = file.write_at(buf, writer * 2 * BLOCK).await.expect("write");
            assert!(buf.as_ref().iter().all(|&byte| byte == writer as u8 + 1));
            *done.borrow_mut() += 1;
        });
    }
    while *done.borrow() < WRITERS {
        io.sleep(Duration::from_micros(100)).await;
    }
    file.flush().await.expect("flush");
    for writer in 0..WRITERS {
        let read = file.read_at(writer * 2 * BLOCK, 2 * ALIGN).await.expect("read");
        assert!(read.as_ref().iter().all(|&byte| byte == writer as u8 + 1), "writer {writer}");
    }
    io.remove_file(&path).await.expect("remove");
}

async fn lengths<I: Io>(io: &I, dir: &Path) {
    let path = dir.join("lengths");
    let file = io.open(&path, OpenMode::CreateNew).await.expect("create");
    file.allocate(16 * BLOCK).await.expect("reserve");
    assert_eq!(file.len().await.expect("length"), 0, "a reservation does not change the length");
    file.write_at(filled(io, 2 * ALIGN, 7), 0).await.expect("write");
    file.set_len(5000).await.expect("cut inside a block");
    assert_eq!(file.len().await.expect("length"), 5000);
    let read = file.read_at(0, 4 * ALIGN).await.expect("read");
    assert_eq!((read.len, read.buf.as_ref().len()), (5000, 2 * ALIGN), "the exact length, in whole blocks");
    assert_eq!(read.as_ref(), [7; 5000]);
    assert!(read.buf.as_ref()[5000..].iter().all(|&byte| byte == 0), "the padding is zeros");
    let read = file.read_at(BLOCK, ALIGN).await.expect("read the partial block");
    assert_eq!(read.as_ref(), [7; 5000 - ALIGN]);

    file.set_len(3 * BLOCK).await.expect("extend");
    let read = file.read_at(0, 4 * ALIGN).await.expect("read");
    assert_eq!(read.len, 3 * ALIGN);
    assert!(read.as_ref()[5000..].iter().all(|&byte| byte == 0), "what was cut does not come back");
    file.set_len(0).await.expect("empty it");
    assert_eq!(file.read_at(0, ALIGN).await.expect("read").len, 0);
    io.remove_file(&path).await.expect("remove");
}

async fn buffers<I: Io>(io: &I, dir: &Path) {
    let path = dir.join("buffers");
    let file = io.open(&path, OpenMode::CreateNew).await.expect("create");
    assert!(io.buffer(3 * ALIGN).as_ref() == [0; 3 * ALIGN]);
    assert_eq!(io.buffer(0).as_ref().len(), 0);
    file.write_at(io.buffer(0), 0).await.expect("writing nothing is no error");
    assert_eq!(file.len().await.expect("length"), 0);

    let mut buf = filled(io, 4 * ALIGN, 5);
    buf.truncate(2 * ALIGN);
    buf.truncate(3 * ALIGN);
    assert_eq!(buf.as_ref().len(), 2 * ALIGN, "cutting to more than there is changes nothing");
    file.write_at(buf, 0).await.expect("write");

    // What was read can be changed, cut and written back; an earlier read does not notice.
    let first = file.read_at(0, 2 * ALIGN).await.expect("read");
    let mut second = file.read_at(0, 2 * ALIGN).await.expect("read").buf;
    second.as_mut()[0] = 6;
    second.truncate(ALIGN);
    file.write_at(second, BLOCK).await.expect("write back");
    assert_eq!(first.as_ref(), [5; 2 * ALIGN]);
    let unchanged = file.read_at(0, ALIGN).await.expect("read").buf;
    file.write_at(unchanged, 2 * BLOCK).await.expect("write what was read");
    let read = file.read_at(0, 4 * ALIGN).await.expect("read");
    let expected: Vec<u8> = (0..3 * ALIGN).map(|at| if at == ALIGN { 6 } else { 5 }).collect();
    assert!(read.as_ref() == expected);
    io.remove_file(&path).await.expect("remove");
}

async fn syncing<I: Io>(io: &I, dir: &Path) {
    let path = dir.join("synced");
    let file = io.open(&path, OpenMode::CreateNew).await.expect("create");
    file.write_at(filled(io, ALIGN, 1), 0).await.expect("write");
    file.flush().await.expect("flush");
    io.sync_dir(dir).await.expect("sync the directory");
    io.sync_file_system(dir).await.expect("sync the file system by a directory");
    assert!(io.available_bytes(dir).await.expect("free space") > BLOCK);
    assert_eq!(errno(io.sync_dir(&dir.join("none")).await), Some(libc::ENOENT));
    assert_eq!(errno(io.sync_dir(&path).await), Some(libc::ENOTDIR));
    io.remove_file(&path).await.expect("remove");
}

async fn time_and_tasks<I: Io>(io: &I) {
    let before_ns = io.now_ns();
    io.sleep(Duration::from_millis(2)).await;
    assert!(io.now_ns() - before_ns >= 2_000_000);

    let turns = Rc::new(RefCell::new(Vec::new()));
    for (task, class) in [Class::Background, Class::Housekeeping].into_iter().enumerate() {
        let (io, turns) = (io.clone(), turns.clone());
        io.clone().spawn(class, async move {
            let until_ns = io.now_ns() + 3_000_000;
            while io.now_ns() < until_ns {
                turns.borrow_mut().push(task);
                io.yield_if_needed().await;
            }
            turns.borrow_mut().push(2);
        });
    }
    while turns.borrow().iter().filter(|&&turn| turn == 2).count() < 2 {
        io.sleep(Duration::from_micros(200)).await;
    }
    let changes = turns.borrow().windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes >= 4, "two busy tasks took turns only {changes} times");
}
