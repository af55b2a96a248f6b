//! Starting and stopping, seen from outside: what prevents a start is one line that names it, SIGTERM loses and delays nothing,
//! and what was acknowledged is there again after any end, with any number of cores and directories.

#![allow(clippy::expect_used, clippy::print_stdout)]

mod process;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use corelog_storage::batch::BatchBuilder;
use process::client::Client;
use process::metrics::{scrape, sum};
use process::{PATIENCE, Place, Start, until};

/// Longer than any test may take.
const TEN_MINUTES_MS: i32 = 600_000;

fn batch(value: &str) -> Vec<u8> {
    BatchBuilder::new().record(1, Some(b"key"), Some(value.as_bytes())).build()
}

#[track_caller]
fn assert_names(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_second_broker_on_the_same_port_is_refused_by_name() {
    let place = Place::new();
    let first = Start::in_dir(&place.join("first")).ready();
    let listeners = format!("PLAINTEXT://{}", first.address);
    let line = Start::in_dir(&place.join("second")).set("listeners", listeners).refused();
    assert_names(
        &line,
        &[&first.address.to_string(), "listener PLAINTEXT", "another process", "`listeners`"],
    );
    assert_eq!(first.client().create_topic("still-served", 1), 0);
}

#[test]
fn a_second_broker_on_the_same_directory_is_refused_by_name() {
    let place = Place::new();
    let dir = place.join("data");
    let first = Start::in_dir(&dir).ready();
    let line = Start::in_dir(&dir).refused();
    assert_names(&line, &[&dir.display().to_string(), "another broker", "log.dirs"]);
    assert_eq!(first.client().create_topic("still-served", 1), 0);
    // The lock is the process's and not the file's: it ends with kill -9 too.
    first.kill();
    Start::in_dir(&dir).ready().stop();
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_with_the_way_out() {
    let place = Place::new();
    let file = place.join("file");
    fs::write(&file, "text").expect("a file");
    for dir in [file.clone(), file.join("below")] {
        let line = Start::in_dir(&dir).refused();
        assert_names(&line, &[&dir.display().to_string(), "a file is in the way", "log.dirs"]);
    }

    let read_only = place.join("read-only");
    fs::create_dir(&read_only).expect("a directory");
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o555)).expect("a mode");
    for dir in [read_only.clone(), read_only.join("below")] {
        let line = bound_by_permissions(Start::in_dir(&dir)).refused();
        assert_names(
            &line,
            &[&dir.display().to_string(), "Permission denied", "the broker's user", "log.dirs"],
        );
    }
    assert!(files(&read_only).is_empty());
}

/// Takes from the process what lets root write anywhere.
fn bound_by_permissions(mut start: Start) -> Start {
    const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
    let take = || {
        // SAFETY: `prctl` with these arguments takes no pointers.
        #[allow(unsafe_code)]
        let _only_root_has_it = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: between fork and exec only a system call is made; nothing is allocated and no lock is taken.
    #[allow(unsafe_code)]
    unsafe {
        start.command().pre_exec(take);
    }
    start
}

#[test]
fn a_foreign_directory_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let kafkas = place.join("kafkas");
    fs::create_dir(&kafkas).expect("a directory");
    let meta =
        "version=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAA\n";
    fs::write(kafkas.join("meta.properties"), meta).expect("a file");
    let line = Start::in_dir(&kafkas).refused();
    assert_names(&line, &[&kafkas.display().to_string(), "Apache Kafka", "log.dirs"]);
    assert_eq!(files(&kafkas), ["meta.properties"]);

    let photos = place.join("photos");
    fs::create_dir(&photos).expect("a directory");
    fs::write(photos.join("beach.jpg"), "sand").expect("a file");
    let line = Start::in_dir(&photos).refused();
    assert_names(&line, &[&photos.display().to_string(), "beach.jpg", "log.dirs"]);
    assert_eq!(files(&photos), ["beach.jpg"]);
}

#[test]
fn a_file_system_without_direct_io_is_refused_by_name() {
    let mounts = fs::read_to_string("/proc/mounts").expect("the mounts");
    if !mounts.lines().any(|mount| mount.contains(" /dev/shm tmpfs ")) {
        println!("not tried: there is no tmpfs at /dev/shm");
        return;
    }
    let memory = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let line = Start::in_dir(&memory.path().join("data")).refused();
    assert_names(&line, &[&memory.path().display().to_string(), "tmpfs", "no direct I/O", "log.dirs"]);
    assert!(files(memory.path()).is_empty(), "nothing was begun");
}

#[test]
fn an_unknown_key_warns_with_the_nearest_one_and_the_broker_starts() {
    let place = Place::new();
    let file = place.join("server.properties");
    fs::write(&file, "num.partition=3\n# a comment\nnode.id = 7\n").expect("a file");
    let start = Start::in_dir(&place.join("data")).arg(&file.display().to_string());
    let broker = start.set("corelog.flsh", "always").ready();
    assert_names(
        &broker.logged("unknown configuration key num.partition "),
        &["WARN", "did you mean num.partitions?"],
    );
    assert_names(
        &broker.logged("unknown configuration key corelog.flsh "),
        &["WARN", "did you mean corelog.flush?"],
    );
    let mut client = broker.client();
    assert_eq!(client.create_topic("t", 1), 0);
    assert_eq!(client.partitions("t")[0].leader_id.0, 7, "the rest of the file counts");
}

#[test]
fn what_is_wrong_with_the_configuration_is_one_line() {
    let place = Place::new();
    let dir = place.join("data");
    let broken = place.join("broken.properties");
    fs::write(&broken, "num.partitions=\\u00zz\n").expect("a file");
    let missing = place.join("missing.properties").display().to_string();
    let broken = broken.display().to_string();
    let directory = place.join("").display().to_string();
    let cases: Vec<(Start, Vec<&str>)> = vec![
        (Start::in_dir(&dir).set("num.partitions", "many"), vec!["num.partitions=many", "at least 1"]),
        (Start::in_dir(&dir).set("num.partitions", 0), vec!["num.partitions=0", "at least 1"]),
        (
            Start::in_dir(&dir).set("corelog.flush", "sometimes"),
            vec!["corelog.flush=sometimes", "always", "written"],
        ),
        (Start::in_dir(&dir).set("corelog.memory.bytes", 1), vec!["corelog.memory.bytes=1", "67108864"]),
        (Start::in_dir(&dir).set("listeners", "nonsense"), vec!["listeners=nonsense"]),
        (
            Start::in_dir(&dir).set("corelog.metrics.listen", "here"),
            vec!["corelog.metrics.listen=here", "address:port"],
        ),
        (
            Start::in_dir(&dir).arg("--override").arg("num.partitions"),
            vec!["--override num.partitions", "key=value"],
        ),
        (Start::in_dir(&dir).arg(&missing), vec![&missing, "No such file"]),
        (Start::in_dir(&dir).arg(&directory), vec![&directory, "Is a directory"]),
        (Start::in_dir(&dir).arg(&broken), vec![&broken, "line"]),
    ];
    for (start, words) in cases {
        assert_names(&start.refused(), &words);
    }
    assert!(!dir.exists(), "nothing was begun");
}

#[test]
fn limits_that_are_too_low_are_refused_with_the_limit_and_the_way_out() {
    let place = Place::new();
    let dir = place.join("data");
    let line = limited(Start::in_dir(&dir), libc::RLIMIT_NOFILE, 100).refused();
    assert_names(&line, &["RLIMIT_NOFILE", "is 100 ", "1024", "LimitNOFILE"]);
    let line = limited(Start::in_dir(&dir), libc::RLIMIT_MEMLOCK, 65_536).refused();
    assert_names(&line, &["RLIMIT_MEMLOCK", "65536 bytes", "524288", "LimitMEMLOCK"]);
    assert!(!dir.exists(), "nothing was begun");
}

#[test]
fn io_uring_switched_off_is_refused_with_the_way_out() {
    let place = Place::new();
    let dir = place.join("data");
    let line = without_io_uring(Start::in_dir(&dir)).refused();
    assert_names(
        &line,
        &["io_uring is not available", "Operation not permitted", "kernel.io_uring_disabled", "seccomp"],
    );
    assert!(!dir.exists(), "nothing was begun");
}

/// Refuses io_uring to the process as a container's default seccomp profile does.
fn without_io_uring(mut start: Start) -> Start {
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        // The number of the system call is the first field of what the filter sees.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let forbid = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the kernel copies the program, which lives until the call returns.
        #[allow(unsafe_code)]
        let failed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0
        };
        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated and no lock is taken.
    #[allow(unsafe_code)]
    unsafe {
        start.command().pre_exec(forbid);
    }
    start
}

/// Sets both the soft and the hard limit of the process.
fn limited(mut start: Start, resource: libc::__rlimit_resource_t, value: u64) -> Start {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    let set = move || {
        // SAFETY: `limit` is a valid rlimit that the kernel only reads.
        #[allow(unsafe_code)]
        match unsafe { libc::setrlimit(resource, &limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec only a system call is made; nothing is allocated and no lock is taken.
    #[allow(unsafe_code)]
    unsafe {
        start.command().pre_exec(set);
    }
    start
}

#[test]
fn the_ready_line_tells_address_cores_durability_and_recovery() {
    let place = Place::new();
    let broker = Start::in_dir(&place.join("data")).ready();
    assert_ne!(broker.address.port(), 0, "the port that was chosen");
    assert!(broker.address.ip().is_loopback());
    assert_eq!(broker.ready_field("cores"), "2");
    assert_eq!(broker.ready_field("flush"), "always");
    assert!(broker.ready_field("recovery_ms").parse::<u64>().is_ok(), "{}", broker.ready);
    assert!(!broker.log().contains("WARN"), "nothing to warn of: {}", broker.log());
    broker.stop();
}

#[test]
fn less_than_full_durability_and_an_open_listener_are_said_loudly() {
    let place = Place::new();
    let broker = Start::in_dir(&place.join("data"))
        .set("corelog.flush", "written")
        .set("listeners", "PLAINTEXT://0.0.0.0:0")
        .ready();
    assert_names(
        &broker.logged("corelog.flush=written"),
        &["WARN", "NOT a power cut", "corelog.flush=always"],
    );
    assert_names(&broker.logged("from other machines"), &["WARN", "no encryption", "127.0.0.1"]);
    assert_eq!(broker.ready_field("flush"), "written");
    assert!(broker.address.ip().is_unspecified());
}

#[test]
fn sigterm_answers_a_fetch_that_would_wait_for_ten_minutes() {
    let place = Place::new();
    let mut broker = Start::in_dir(&place.join("data")).set("corelog.metrics.listen", "127.0.0.1:0").ready();
    let metrics = broker.metrics_address();
    let mut client = broker.client();
    // One on each core at least, so that one waits for the core of another.
    assert_eq!(client.create_topic("quiet", 2), 0);
    let mut waiting: Vec<Client> = (0..4).map(|_| broker.client()).collect();
    let before = sum(&scrape(metrics), "corelog_received_bytes_total");
    let mut sent = 0;
    for (index, client) in waiting.iter_mut().enumerate() {
        sent += client.send_fetch("quiet", index as i32 % 2, 0, TEN_MINUTES_MS);
    }
    until(
        || sum(&scrape(metrics), "corelog_received_bytes_total") >= before + sent as f64,
        || "the fetches did not arrive".to_owned(),
    );
    broker.terminate();
    for client in &mut waiting {
        let answer = client.receive_fetch();
        assert_eq!((answer.error_code, answer.high_watermark), (0, 0));
        assert!(answer.records.is_none_or(|records| records.is_empty()));
    }
    assert_eq!(broker.ended().code(), Some(0), "{}", broker.log());
    assert_names(&broker.log(), &["stopped cleanly"]);
    assert!(TcpStream::connect(broker.address).is_err(), "nobody listens any more");
}

#[test]
fn a_second_sigterm_ends_a_drain_at_once() {
    let place = Place::new();
    let dir = place.join("data");
    // With room for all of it in the cache, for one fetch of the disk brings a megabyte.
    let mut broker = Start::in_dir(&dir)
        .set("corelog.memory.bytes", 512 << 20)
        .set("corelog.journal.bytes", 64 << 20)
        .set("corelog.shutdown.timeout.ms", TEN_MINUTES_MS)
        .ready();
    let mut writer = broker.client();
    assert_eq!(writer.create_topic("big", 1), 0);
    let value = "x".repeat(1_000_000);
    for offset in 0..24 {
        assert_eq!(writer.produce("big", 0, batch(&value)), (0, offset));
    }
    // More than fits into the sockets' buffers, for a reader that stops when the response has begun.
    let mut reader = Client::new(connect_with_small_buffer(broker.address));
    reader.send_fetch("big", 0, 0, 0);
    let mut begun = [0; 4];
    reader.stream.read_exact(&mut begun).expect("a length");
    let response_bytes = u32::from_be_bytes(begun);
    assert!(response_bytes > 16_000_000, "{response_bytes} bytes");
    broker.terminate();
    broker.logged("stopping");
    assert!(broker.runs(), "the drain waits for the reader: {}", broker.log());
    broker.terminate();
    assert_eq!(broker.ended().code(), Some(1), "{}", broker.log());
    assert!(!broker.log().contains("stopped cleanly"));

    let broker = Start::in_dir(&dir).ready();
    assert_eq!(broker.client().fetch("big", 0, 23, 0).high_watermark, 24, "nothing was lost by it");
}

/// A connection whose receive buffer is far smaller than a response.
fn connect_with_small_buffer(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a size");
    socket.connect(&address.into()).expect("the broker accepts");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// What was acknowledged, and how it is looked for.
#[derive(Default)]
struct Acknowledged {
    /// Batches in the order of their offsets, by topic and partition.
    batches: BTreeMap<(&'static str, i32), Vec<Vec<u8>>>,
}

impl Acknowledged {
    /// One more record to every partition.
    fn produce(&mut self, client: &mut Client, round: usize) {
        for ((topic, partition), batches) in &mut self.batches {
            let sent = batch(&format!("{topic}-{partition} round {round}"));
            assert_eq!(client.produce(topic, *partition, sent.clone()), (0, batches.len() as i64));
            batches.push(sent);
        }
    }

    /// Every byte is there, at its offset, and nothing else.
    fn check(&self, client: &mut Client) {
        for ((topic, partition), batches) in &self.batches {
            let (fetched, high_watermark) = client.fetch_all(topic, *partition, 0);
            assert_eq!(high_watermark, batches.len() as i64, "{topic}-{partition}");
            let mut rest = &fetched[..];
            for (offset, sent) in batches.iter().enumerate() {
                assert!(rest.len() >= sent.len(), "{topic}-{partition} ends before {offset}");
                let (stored, after) = rest.split_at(sent.len());
                rest = after;
                assert_eq!(stored[..8], (offset as i64).to_be_bytes(), "{topic}-{partition}");
                // The broker writes offset and leader epoch; the length before and all that follows is the producer's.
                assert_eq!(stored[8..12], sent[8..12], "{topic}-{partition} {offset}");
                assert_eq!(stored[16..], sent[16..], "{topic}-{partition} {offset}");
            }
            assert!(rest.is_empty(), "{topic}-{partition}: {} bytes more", rest.len());
        }
    }
}

fn epochs(client: &mut Client, topic: &str) -> Vec<i32> {
    client.partitions(topic).iter().map(|partition| partition.leader_epoch).collect()
}

#[test]
fn acknowledged_records_come_back_after_any_end_with_other_cores_and_directories() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum End {
        Sigterm,
        Kill,
    }
    let place = Place::new();
    let (one, two) = (place.join("one"), place.join("two"));
    let both = format!("{},{}", one.display(), two.display());
    let mut acknowledged = Acknowledged::default();
    let mut last: Option<(End, Vec<i32>)> = None;
    let rounds = [
        (2, false, End::Sigterm),
        (1, false, End::Kill),
        (3, false, End::Kill),
        (2, true, End::Sigterm),
        (3, true, End::Kill),
        (1, true, End::Kill),
        (2, true, End::Sigterm),
    ];
    for (round, (cores, second_directory, end)) in rounds.into_iter().enumerate() {
        let mut start = Start::in_dir(&one).set("corelog.cores", cores);
        if second_directory {
            start = start.set("log.dirs", &both);
        }
        let broker = start.ready();
        println!("round {round}: {}", broker.ready);
        assert_eq!(broker.ready_field("cores"), cores.to_string());
        let mut client = broker.client();
        let topics: &[(&str, i32)] = match round {
            0 => &[("early", 3)],
            3 => &[("late", 4)],
            _ => &[],
        };
        for (topic, partitions) in topics {
            assert_eq!(client.create_topic(topic, *partitions), 0);
            acknowledged.batches.extend((0..*partitions).map(|index| ((*topic, index), Vec::new())));
        }
        acknowledged.check(&mut client);
        let epochs = epochs(&mut client, "early");
        assert_eq!(epochs.len(), 3);
        match &last {
            Some((End::Kill, before)) => {
                let grown = before.iter().zip(&epochs).all(|(before, after)| after > before);
                assert!(
                    grown,
                    "offsets that were lost must not come again in the same epoch: {before:?} {epochs:?}"
                );
            }
            Some((End::Sigterm, before)) => assert_eq!(*before, epochs, "nothing was lost"),
            None => {}
        }
        acknowledged.produce(&mut client, round);
        acknowledged.produce(&mut client, round);
        acknowledged.check(&mut client);
        match end {
            End::Sigterm => broker.stop(),
            End::Kill => broker.kill(),
        }
        last = Some((end, epochs));
    }
    assert!(
        files(&two).iter().any(|name| name.starts_with("late-")),
        "the second directory is used: {:?}",
        files(&two)
    );
    assert!(files(&one).iter().any(|name| name.starts_with("early-")));
}

#[test]
fn metrics_show_requests_journal_commits_and_flushes_after_a_produce() {
    let place = Place::new();
    let broker = Start::in_dir(&place.join("data")).set("corelog.metrics.listen", "127.0.0.1:0").ready();
    let metrics = broker.metrics_address();
    let produced = "corelog_requests_total{api=\"Produce\"";
    let before = scrape(metrics);
    assert_eq!(sum(&before, produced), 0.0, "{before}");
    let commits_before = sum(&before, "corelog_journal_commits_total{");
    let flushes_before = sum(&before, "corelog_journal_flush_seconds_count{");

    let mut client = broker.client();
    assert_eq!(client.create_topic("t", 1), 0);
    for offset in 0..3 {
        assert_eq!(client.produce("t", 0, batch("counted")), (0, offset));
    }
    // A request is counted when its reply is on its way, which its client may see first.
    until(|| sum(&scrape(metrics), produced) == 3.0, || format!("not 3 produces: {}", scrape(metrics)));
    let after = scrape(metrics);
    assert!(sum(&after, "corelog_journal_commits_total{") >= commits_before + 3.0, "{after}");
    assert!(sum(&after, "corelog_journal_flush_seconds_count{") >= flushes_before + 3.0, "{after}");
    assert!(sum(&after, "corelog_journal_flush_seconds_bucket{") > 0.0, "{after}");
    assert!(sum(&after, "corelog_request_seconds_count{api=\"Produce\"") >= 3.0, "{after}");
    assert!(sum(&after, "corelog_received_bytes_total{") > 0.0, "{after}");
}

#[test]
fn a_metrics_address_in_use_is_refused_by_name() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let line = Start::in_dir(&place.join("data")).set("corelog.metrics.listen", address).refused();
    assert_names(&line, &["corelog.metrics.listen", &address.to_string(), "another address"]);
}
