//! A panic in any task of a core ends the process, also in one that nobody waits for: a core that is gone must not leave the others
//! alive and wrong.
//!
//! A program of its own instead of a list of tests, because it is also the child that dies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use corelog::shard::executor::{self, CoreSettings};
use corelog::shard::preflight::preflight;

/// Tells the child which of its tasks is to panic.
const CHILD_TASK: &str = "CORELOG_TEST_PANICKING_TASK";
const DETACHED: &str = "detached";
const MAIN: &str = "main";
/// What the child says when it outlives its panic.
const ALIVE: &str = "still alive";

fn main() {
    if let Ok(task) = std::env::var(CHILD_TASK) {
        return panic_in(task);
    }
    for task in [DETACHED, MAIN] {
        let child = Command::new(std::env::current_exe().unwrap())
            .env(CHILD_TASK, task)
            .stdin(Stdio::null())
            .output()
            .expect("a child");
        let told = String::from_utf8_lossy(&child.stdout);
        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{task}: {:?} {told}", child.status);
        assert!(!told.contains(ALIVE), "{task}: {told}");
    }
    println!("2 passed, 0 failed");
}

/// Runs two cores, of which the first has a task that panics, and the second would go on for ever.
fn panic_in(task: String) {
    let settings = CoreSettings::new(2, preflight().unwrap().cpus);
    let cores = executor::start(&settings, vec![Some(task), None], |_, task: Option<String>| async move {
        match task.as_deref() {
            Some(DETACHED) => {
                glommio::spawn_local(async { panic!("on purpose, in a task that nobody waits for") })
                    .detach();
                std::future::pending::<()>().await;
            }
            Some(_) => panic!("on purpose, in the core's own task"),
            None => std::future::pending().await,
        }
    })
    .unwrap();
    cores.join();
    println!("{ALIVE}");
}
