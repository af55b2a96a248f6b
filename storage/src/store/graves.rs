//! Files of removed segments between being set aside and being removed (`file.delete.delay.ms`).
//!
//! One task per directory removes them when their time has come. What is left at a stop or a crash is swept up by the next
//! process. Bounded: beyond it a file goes at once.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::io::Io;
use crate::log::gate::Signal;
use crate::log::home::Directory;
use crate::log::remains::warn_unless_gone;

/// Files that wait in one directory, at most.
const GRAVES_MAX: usize = 65_536;

/// The files that wait, by the time they are due.
#[derive(Debug, Default)]
pub(crate) struct Graves {
    by_due: RefCell<BTreeMap<(u64, u64), PathBuf>>,
    paths: RefCell<HashSet<PathBuf>>,
    next: Cell<u64>,
    work: Signal,
}

impl<I: Io> Directory<I> {
    /// Has `path` removed after `delay_ms`.
    pub(crate) async fn bury(&self, io: &I, path: PathBuf, delay_ms: i64) {
        let graves = &self.graves;
        if graves.paths.borrow().len() >= GRAVES_MAX {
            return warn_unless_gone(&path, io.remove_file(&path).await);
        }
        let delay_ns = u64::try_from(delay_ms).unwrap_or(0).saturating_mul(1_000_000);
        let number = graves.next.get();
        graves.next.set(number + 1);
        graves.paths.borrow_mut().insert(path.clone());
        graves.by_due.borrow_mut().insert((io.now_ns().saturating_add(delay_ns), number), path);
        graves.work.set();
    }

    /// Whether a file waits here to be removed.
    pub(crate) fn is_buried(&self, path: &Path) -> bool {
        self.graves.paths.borrow().contains(path)
    }

    /// Removes files when they are due. A task of its own; ends when the directory closes or fails.
    pub(crate) async fn remove_buried_when_due(self: Rc<Self>, io: I) {
        while !self.closing.get() && self.check().is_ok() {
            let first = self.graves.by_due.borrow().first_key_value().map(|(key, path)| (*key, path.clone()));
            match first {
                None => self.graves.work.wait().await,
                Some((key, path)) if key.0 <= io.now_ns() => {
                    self.graves.by_due.borrow_mut().remove(&key);
                    warn_unless_gone(&path, io.remove_file(&path).await);
                    self.graves.paths.borrow_mut().remove(&path);
                    io.yield_if_needed().await;
                }
                Some((key, _)) => {
                    let sleep = io.sleep(Duration::from_nanos(key.0.saturating_sub(io.now_ns())));
                    futures_lite::future::or(self.graves.work.wait(), sleep).await;
                }
            }
        }
    }

    /// Ends the task that waits here.
    pub(crate) fn close_graves(&self) {
        self.graves.work.set();
    }
}
