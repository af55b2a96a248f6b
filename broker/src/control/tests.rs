//! The control thread from outside: how fast it is ready, what survives, who wins, who waits for whom, whose directory it is.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use corelog_logic::controller::{CommandErrorKind, CreatedTopic, NewTopic, TopicId, TopicRef};
use futures_lite::future::{block_on, poll_once, zip};

use super::*;
use crate::config::{BrokerConfig, Given, Schema};

fn options(dir: &Path) -> Options {
    let config = BrokerConfig::build(Given::default()).unwrap();
    let schema = Schema(Arc::new(config));
    let policy = Policy { num_partitions: 1, default_replication_factor: 1, configs: Box::new(schema) };
    let dir = dir.join(METADATA_DIR);
    Options { dir, node_id: 1, policy, admin: None, snapshot_after_bytes: SNAPSHOT_AFTER_BYTES }
}

fn start(dir: &Path) -> (Control, ControlThread) {
    let (control, thread) = Control::start(options(dir)).unwrap();
    let register = Command::RegisterBroker {
        broker_id: 1,
        incarnation_id: TopicId([1; 16]),
        listeners: vec![],
        rack: None,
    };
    control.commit_blocking(register).unwrap();
    (control, thread)
}

fn create(name: &str) -> Command {
    let topic =
        NewTopic { name: name.into(), num_partitions: -1, replication_factor: -1, ..NewTopic::default() };
    Command::CreateTopics { topics: vec![topic], validate_only: false }
}

fn only(reply: Result<Reply>) -> CreatedTopic {
    match reply {
        Ok(Reply::TopicsCreated(mut topics)) => topics.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_directory_and_a_restart_are_ready_without_waiting_for_an_election() {
    let dir = tempfile::tempdir().unwrap();
    for what in ["empty directory", "restart"] {
        let begun = Instant::now();
        let (control, thread) = Control::start(options(dir.path())).unwrap();
        let elapsed = begun.elapsed();
        println!("{what}: ready after {elapsed:?}");
        // openraft's shortest election timeout, by default, is 150 ms; a loaded machine may take its time.
        assert!(elapsed < Duration::from_secs(2), "{what}: {elapsed:?}");
        drop(control);
        thread.stop();
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids: Vec<(String, TopicId)> = Vec::new();
    for round in 0..3 {
        let (control, thread) = start(dir.path());
        for (name, id) in &ids {
            assert_eq!(control.image().topic_by_name(name).unwrap().id, *id);
        }
        let name = format!("t{round}");
        let created = only(control.commit_blocking(create(&name))).result.unwrap();
        ids.push((name, created.topic_id));
        drop(control);
        thread.stop();
    }
}

#[test]
fn of_two_equal_creations_at_once_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (control, thread) = start(dir.path());
    for round in 0..20 {
        let name = format!("t{round}");
        let (a, b) = block_on(zip(control.call(create(&name)), control.call(create(&name))));
        let results = [only(a).result, only(b).result];
        let won: Vec<_> = results.iter().filter_map(|r| r.as_ref().ok()).collect();
        let lost: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
        assert_eq!((won.len(), lost.len()), (1, 1));
        assert_eq!(lost[0].kind, CommandErrorKind::TopicAlreadyExists);
        assert_eq!(control.image().topic_by_name(&name).unwrap().id, won[0].topic_id);
    }
    thread.stop();
}

#[test]
fn a_snapshot_replaces_the_log_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let small = |dir: &Path| Options { snapshot_after_bytes: 2_000, ..options(dir) };
    let (control, thread) = start(dir.path());
    drop(control);
    thread.stop();
    let (control, thread) = Control::start(small(dir.path())).unwrap();
    for n in 0..100 {
        only(control.commit_blocking(create(&format!("t{n}")))).result.unwrap();
    }
    drop(control);
    thread.stop();
    let names = durable::list(&dir.path().join(METADATA_DIR)).unwrap();
    assert_eq!(names.iter().filter(|name| name.starts_with("snapshot-")).count(), 1, "{names:?}");
    let log_bytes: u64 = names
        .iter()
        .filter(|name| name.starts_with("log-"))
        .map(|name| fs::metadata(dir.path().join(METADATA_DIR).join(name)).unwrap().len())
        .sum();
    assert!(log_bytes < 10_000, "{log_bytes} bytes of log are left");
    let (control, thread) = Control::start(small(dir.path())).unwrap();
    assert_eq!(control.image().topic_count(), 100);
    only(control.commit_blocking(create("more"))).result.unwrap();
    thread.stop();
}

#[test]
fn a_creation_is_answered_when_every_core_has_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let (control, thread) = start(dir.path());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    control.attach_cores(2, Box::new(move |image, delta| sink.lock().unwrap().push((image, delta))));
    assert!(seen.lock().unwrap()[0].1.whole);
    let first = control.image().version;
    control.acknowledge(0, first);
    control.acknowledge(1, first);

    let mut call = std::pin::pin!(control.call(create("t")));
    assert!(block_on(poll_once(&mut call)).is_none());
    // Wait for the publication, not for a time.
    let version = block_on(async {
        loop {
            if let Some((image, delta)) = seen.lock().unwrap().get(1) {
                assert_eq!(delta.topics_changed.len(), 1);
                assert!(image.topic_by_name("t").is_some());
                break image.version;
            }
            futures_lite::future::yield_now().await;
        }
    });
    control.acknowledge(0, version);
    // A command that waits for no core is answered after what was committed before it.
    control.commit_blocking(Command::AllocateProducerIds { broker_id: 1, broker_epoch: 0 }).unwrap();
    assert!(block_on(poll_once(&mut call)).is_none(), "core 1 does not have it yet");
    control.acknowledge(1, version);
    only(block_on(call)).result.unwrap();

    // Somebody who is told that it exists can use it, too.
    control.acknowledge(0, version);
    let again = only(block_on(control.call(create("t")))).result.unwrap_err();
    assert_eq!(again.kind, CommandErrorKind::TopicAlreadyExists);
    // Producer ids are nothing that a core looks at.
    assert_eq!(seen.lock().unwrap().len(), 2);
    thread.stop();
}

#[test]
fn calls_from_many_threads_are_all_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (control, thread) = start(dir.path());
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let control = control.clone();
            std::thread::spawn(move || {
                for m in 0..50 {
                    only(control.commit_blocking(create(&format!("t-{n}-{m}")))).result.unwrap();
                    if m % 2 == 0 {
                        let topics = vec![TopicRef::Name(format!("t-{n}-{m}"))];
                        control.commit_blocking(Command::DeleteTopics { topics }).unwrap();
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(control.image().topic_count(), 8 * 25);
    thread.stop();
}

#[test]
fn after_a_failed_write_every_call_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (control, thread) = start(dir.path());
    // The store's directory becomes unwritable in the surest way for root: it is a file now. An append goes to the open file,
    // so enough is written that the next file must be made.
    fs::rename(dir.path().join(METADATA_DIR), dir.path().join("gone")).unwrap();
    fs::write(dir.path().join(METADATA_DIR), b"").unwrap();
    let error = loop {
        let topics = (0..10)
            .map(|n| NewTopic {
                name: format!("t{n}-{}", rand::random::<u64>()),
                num_partitions: 900,
                replication_factor: 1,
                ..NewTopic::default()
            })
            .collect();
        if let Err(error) = control.commit_blocking(Command::CreateTopics { topics, validate_only: false }) {
            break error;
        }
    };
    assert!(matches!(error, ControlError::Failed(_)), "{error}");
    assert!(error.to_string().contains("Not a directory"), "{error}");
    let next = control.commit_blocking(create("t")).unwrap_err();
    assert!(matches!(next, ControlError::Failed(_)), "{next}");
    assert!(matches!(block_on(control.failed()), ControlError::Failed(_)));
    thread.stop();
}

#[test]
fn a_stopped_control_thread_answers_and_does_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    let (control, thread) = start(dir.path());
    control.attach_cores(1, Box::new(|_, _| {}));
    let waiting = std::thread::spawn({
        let control = control.clone();
        move || block_on(control.call(create("t")))
    });
    // The call is committed, and waits for a core that never acknowledges.
    while control.image().topic_by_name("t").is_none() {
        std::thread::yield_now();
    }
    thread.stop();
    assert!(matches!(waiting.join().unwrap(), Err(ControlError::Stopped)));
    assert!(matches!(control.commit_blocking(create("u")), Err(ControlError::Stopped)));
}

#[test]
fn the_idle_control_thread_sleeps() {
    let dir = tempfile::tempdir().unwrap();
    let (control, thread) = start(dir.path());
    let task = fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == "control"))
        .collect::<Vec<_>>();
    // Other tests have control threads of their own; count the switches of each over a second and take the quietest.
    let switches = |task: &Path| -> u64 {
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(u64::MAX)
    };
    let before: Vec<u64> = task.iter().map(|task| switches(task)).collect();
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        std::thread::park_timeout(until - Instant::now());
    }
    let quietest = task.iter().zip(before).map(|(task, before)| switches(task).saturating_sub(before)).min();
    assert!(quietest.is_some_and(|switches| switches <= 3), "woke {quietest:?} times in a second");
    drop(control);
    thread.stop();
}

#[test]
fn the_admin_server_answers_metrics_and_health() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    let metrics: MetricsText = Arc::new(|| Box::pin(async { "corelog_up 1\n".to_owned() }));
    let admin = Some(Admin { address: ([127, 0, 0, 1], 0).into(), metrics });
    let (control, thread) = Control::start(Options { admin, ..options(dir.path()) }).unwrap();
    let address = thread.admin_address().unwrap();
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let metrics = get("/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.ends_with("corelog_up 1\n"), "{metrics}");
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(get("/other").starts_with("HTTP/1.1 404"));

    let other = tempfile::tempdir().unwrap();
    let metrics: MetricsText = Arc::new(|| Box::pin(async { String::new() }));
    let admin = Some(Admin { address, metrics });
    let error = Control::start(Options { admin, ..options(other.path()) }).err().unwrap().to_string();
    assert!(error.contains("corelog.metrics.listen=127.0.0.1:"), "{error}");
    drop(control);
    thread.stop();
}

#[test]
fn a_store_that_is_corrupt_is_refused_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let (control, thread) = start(dir.path());
    drop(control);
    thread.stop();
    let state = dir.path().join(METADATA_DIR).join("state");
    let mut bytes = fs::read(&state).unwrap();
    bytes[20] ^= 1;
    fs::write(&state, bytes).unwrap();
    let error = Control::start(options(dir.path())).err().unwrap().to_string();
    assert!(error.contains("state is corrupt at byte"), "{error}");
}

mod log_dirs {
    use super::*;

    fn why(result: Result<Identity>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn the_first_start_makes_an_identity_and_later_ones_keep_it() {
        let base = tempfile::tempdir().unwrap();
        let dirs = [base.path().join("deep/a"), base.path().join("b")];
        let first = open_log_dirs(&dirs[..1], None).unwrap();
        assert!(first.first_start);
        assert_eq!((first.cluster_id.len(), first.node_id), (22, 1));
        let id = (first.cluster_id.clone(), first.dirs[0].directory_id.clone());
        drop(first);
        // A further directory joins.
        let second = open_log_dirs(&dirs, Some(1)).unwrap();
        assert!(!second.first_start);
        assert_eq!((second.cluster_id.clone(), second.dirs[0].directory_id.clone()), id);
        assert_ne!(second.dirs[1].directory_id, id.1);
        let text = fs::read_to_string(dirs[1].join("meta.properties")).unwrap();
        assert!(
            text.contains(&format!("cluster.id={}\n", id.0)) && text.contains("corelog.format=1\n"),
            "{text}"
        );
    }

    #[test]
    fn a_second_broker_is_refused_with_the_directorys_name() {
        let base = tempfile::tempdir().unwrap();
        let dirs = [base.path().join("data")];
        let first = open_log_dirs(&dirs, None).unwrap();
        let error = why(open_log_dirs(&dirs, None));
        assert!(error.contains("data: another broker is running in it"), "{error}");
        drop(first);
        open_log_dirs(&dirs, None).unwrap();
        let twice = [dirs[0].clone(), base.path().join("./data")];
        assert!(why(open_log_dirs(&twice, None)).contains("is named twice in log.dirs"));
    }

    #[test]
    fn a_foreign_directory_is_refused_and_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().to_owned();
        fs::write(
            dir.join("meta.properties"),
            "#Kafka\nversion=1\nnode.id=1\ncluster.id=x\ndirectory.id=y\n",
        )
        .unwrap();
        let error = why(open_log_dirs(std::slice::from_ref(&dir), None));
        assert!(error.contains("it belongs to Apache Kafka"), "{error}");
        fs::remove_file(dir.join("meta.properties")).unwrap();
        fs::write(dir.join("thesis.tex"), "").unwrap();
        let error = why(open_log_dirs(std::slice::from_ref(&dir), None));
        assert!(error.contains("holds 'thesis.tex', so it is not Corelog's"), "{error}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing was written");
        fs::remove_file(dir.join("thesis.tex")).unwrap();
        fs::create_dir(dir.join("lost+found")).unwrap();
        open_log_dirs(&[dir], None).unwrap();
    }

    #[test]
    fn directories_of_other_nodes_clusters_formats_and_copies_are_refused() {
        let base = tempfile::tempdir().unwrap();
        let (a, b) = (base.path().join("a"), base.path().join("b"));
        drop(open_log_dirs(std::slice::from_ref(&a), Some(5)).unwrap());
        let error = why(open_log_dirs(std::slice::from_ref(&a), Some(6)));
        assert!(error.contains("it belongs to node 5, and this is node 6"), "{error}");
        assert_eq!(open_log_dirs(std::slice::from_ref(&a), None).unwrap().node_id, 5);

        drop(open_log_dirs(std::slice::from_ref(&b), Some(5)).unwrap());
        let error = why(open_log_dirs(&[a.clone(), b.clone()], None));
        assert!(error.contains("belongs to cluster"), "{error}");

        fs::copy(a.join("meta.properties"), b.join("meta.properties")).unwrap();
        let error = why(open_log_dirs(&[a.clone(), b], None));
        assert!(error.contains("one is a copy of the other"), "{error}");

        let text = fs::read_to_string(a.join("meta.properties")).unwrap();
        fs::write(a.join("meta.properties"), text.replace("corelog.format=1", "corelog.format=2")).unwrap();
        let error = why(open_log_dirs(std::slice::from_ref(&a), None));
        assert!(error.contains("format version 2; this version of Corelog reads 1"), "{error}");
        fs::write(a.join("meta.properties"), text.replace("node.id=5", "node.id=five")).unwrap();
        assert!(why(open_log_dirs(&[a], None)).contains("node.id=five"));
    }

    #[test]
    fn no_flipped_bit_of_an_identity_makes_another_and_one_without_a_checksum_is_read() {
        let base = tempfile::tempdir().unwrap();
        let dirs = [base.path().to_owned()];
        let ids = |identity: &Identity| {
            (identity.cluster_id.clone(), identity.node_id, identity.dirs[0].directory_id.clone())
        };
        let sound = ids(&open_log_dirs(&dirs, None).unwrap());
        let path = base.path().join("meta.properties");
        let text = fs::read(&path).unwrap();
        let mut refused = 0;
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            match open_log_dirs(&dirs, None) {
                Ok(identity) => assert_eq!(ids(&identity), sound, "bit {bit}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 8 * 60, "{refused}");
        let text = String::from_utf8(text).unwrap();
        let (earlier, _) = text.split_once("corelog.hash").unwrap();
        fs::write(&path, earlier).unwrap();
        assert_eq!(ids(&open_log_dirs(&dirs, None).unwrap()), sound);
    }
}
