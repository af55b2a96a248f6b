//! kill -9 while topics are created and deleted: what was acknowledged is there afterwards, and nothing was invented.
//!
//! A program of its own instead of a list of tests, because it is also the child: started again with a directory in its environment it
//! changes metadata and says so line by line; the parent kills it after some lines and looks into the store. Snapshots are made
//! often, so that kills fall into them, too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;

use corelog::config::{BrokerConfig, Given, Schema};
use corelog::control::{Control, METADATA_DIR, Options, Policy, open_log_dirs};
use corelog_logic::controller::{Command, NewTopic, Reply, TopicId, TopicRef};

const CHILD_DIR: &str = "CORELOG_TEST_METADATA_DIR";
const ROUNDS: usize = 12;

fn options(dir: &Path) -> Options {
    let config = BrokerConfig::build(Given::default()).unwrap();
    let schema = Schema(Arc::new(config));
    let policy = Policy { num_partitions: 2, default_replication_factor: 1, configs: Box::new(schema) };
    Options { dir: dir.join(METADATA_DIR), node_id: 1, policy, admin: None, snapshot_after_bytes: 3_000 }
}

fn names(control: &Control) -> BTreeSet<String> {
    control.image().topics().map(|topic| topic.name.to_string()).collect()
}

fn main() {
    match std::env::var_os(CHILD_DIR) {
        Some(dir) => change_metadata(Path::new(&dir)),
        None => {
            nothing_acknowledged_is_lost_when_the_process_is_killed();
            println!("1 passed, 0 failed");
        }
    }
}

/// The child: goes on until it is killed.
fn change_metadata(dir: &Path) {
    let _identity = open_log_dirs(&[dir.to_owned()], None).unwrap();
    let (control, _thread) = Control::start(options(dir)).unwrap();
    let register = Command::RegisterBroker {
        broker_id: 1,
        incarnation_id: TopicId([1; 16]),
        listeners: vec![],
        rack: None,
    };
    control.commit_blocking(register).unwrap();
    let mut out = std::io::stdout();
    for n in control.image().version.. {
        let name = format!("t{n}");
        let topic = NewTopic {
            name: name.clone(),
            num_partitions: -1,
            replication_factor: -1,
            ..NewTopic::default()
        };
        // Said before and after, so that the parent knows what may and what must be there.
        writeln!(out, "creating {name}").unwrap();
        let create = Command::CreateTopics { topics: vec![topic], validate_only: false };
        match control.commit_blocking(create).unwrap() {
            Reply::TopicsCreated(topics) => assert!(topics[0].result.is_ok(), "{topics:?}"),
            other => panic!("{other:?}"),
        }
        writeln!(out, "created {name}").unwrap();
        if n % 3 == 0 {
            writeln!(out, "deleting {name}").unwrap();
            let topics = vec![TopicRef::Name(name.clone())];
            control.commit_blocking(Command::DeleteTopics { topics }).unwrap();
            writeln!(out, "deleted {name}").unwrap();
        }
    }
}

fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut must = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut may = must.clone();
        let mut note = |line: &str| match line.split_once(' ') {
            Some(("creating", name)) => drop(may.insert(name.to_owned())),
            Some(("created", name)) => drop(must.insert(name.to_owned())),
            Some(("deleting", name)) => drop(must.remove(name)),
            Some(("deleted", name)) => drop(may.remove(name)),
            _ => {}
        };
        // Another moment in each round: the child is somewhere behind the line that was read last.
        for _ in 0..20 + round * 7 {
            note(&lines.next().expect("the child goes on until it is killed").unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            note(&line.unwrap());
        }

        let _identity = open_log_dirs(&[dir.path().to_owned()], None).unwrap();
        let (control, thread) = Control::start(options(dir.path())).unwrap();
        let there = names(&control);
        assert!(must.is_subset(&there), "round {round}: lost {:?}", must.difference(&there));
        assert!(there.is_subset(&may), "round {round}: invented {:?}", there.difference(&may));
        for topic in control.image().topics() {
            assert_eq!(topic.partitions.len(), 2, "a creation is whole or absent");
        }
        // What was under way when it was killed is decided now.
        must = there;
        drop(control);
        thread.stop();
    }
    assert!(must.len() > ROUNDS, "the rounds did something: {must:?}");
}
