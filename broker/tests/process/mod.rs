//! A broker as its users meet it: a process with a command line, a log, signals and an exit code, and a client that speaks
//! raw frames to it. Used by `hostile`, `memory` and `start_and_stop`. Deliberately absent: what they expect of it.

// Each test is a program of its own and uses its part of this.
#![allow(dead_code)]

pub(crate) mod client;
pub(crate) mod metrics;
pub(crate) mod mount;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use client::Client;

/// How long a test waits for an answer before it says that there is none.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what cannot be waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Every broker's budget, unless a test says otherwise.
pub(crate) const MEMORY_BYTES: u64 = 64 << 20;

/// The command line of a broker that is to be started.
pub(crate) struct Start {
    command: Command,
    log: tempfile::NamedTempFile,
}

impl Start {
    /// `corelog start` on a free port of 127.0.0.1, with two cores and a small memory.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self::bare()
            .set("log.dirs", dir.display())
            .set("listeners", "PLAINTEXT://127.0.0.1:0")
            .set("corelog.cores", 2)
            .set("corelog.memory.bytes", MEMORY_BYTES)
    }

    /// `corelog start` and nothing else.
    pub(crate) fn bare() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelog"));
        command.arg("start").env_remove("CORELOG_LOG");
        Self { command, log: tempfile::NamedTempFile::new().expect("a log") }
    }

    /// `--override key=value`. A later one counts.
    pub(crate) fn set(self, key: &str, value: impl std::fmt::Display) -> Self {
        self.arg("--override").arg(&format!("{key}={value}"))
    }

    /// One more argument.
    pub(crate) fn arg(mut self, text: &str) -> Self {
        self.command.arg(text);
        self
    }

    /// The command itself, for what concerns the process.
    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    fn spawn(mut self) -> Broker {
        self.command.stdout(Stdio::piped()).stderr(self.log.reopen().expect("a log"));
        let mut process = self.command.spawn().expect("a broker");
        let stdout = process.stdout.take().expect("its output");
        let (tell, lines) = mpsc::channel();
        // Ends with the process, and so tells of its end.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _nobody_listens = tell.send(line);
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Broker { process, lines, address, ready: String::new(), log: self.log }
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn ready(self) -> Broker {
        let broker = self.spawn();
        let line = broker.lines.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| panic!("not ready: {}", broker.log()));
        broker.that_said(line)
    }

    /// Starts it; it is ready, or ends and says why in one line.
    pub(crate) fn ready_or_refused(self) -> Result<Broker, String> {
        let broker = self.spawn();
        match broker.lines.recv_timeout(PATIENCE) {
            Ok(line) => Ok(broker.that_said(line)),
            Err(RecvTimeoutError::Disconnected) => Err(broker.why_refused()),
            Err(RecvTimeoutError::Timeout) => panic!("neither ready nor refused: {}", broker.log()),
        }
    }

    /// Starts it, expects that it ends by itself with an exit code that tells of it, and returns the line that says why.
    pub(crate) fn refused(self) -> String {
        self.spawn().why_refused()
    }
}

/// A running broker. Dropped, it is killed.
pub(crate) struct Broker {
    process: Child,
    lines: Receiver<String>,
    /// Its first listener.
    pub(crate) address: SocketAddr,
    /// The ready line.
    pub(crate) ready: String,
    log: tempfile::NamedTempFile,
}

impl Broker {
    fn that_said(mut self, line: String) -> Self {
        self.ready = line;
        let address = self.ready_field("address").parse().expect("an address in the ready line");
        self.address = address;
        self
    }

    /// Waits for its end, which must tell in one line why it is refused.
    fn why_refused(self) -> String {
        let mut broker = self;
        let status = broker.ended();
        let log = broker.log();
        assert_eq!(status.code(), Some(1), "{log}");
        let (told, before): (Vec<&str>, Vec<&str>) =
            log.lines().partition(|line| line.starts_with("corelog: "));
        assert_eq!(told.len(), 1, "one line says why: {log}");
        assert!(before.iter().all(|line| line.contains(" INFO ") || line.contains(" WARN ")), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        told[0].to_owned()
    }

    /// The value of `name=` in the ready line.
    pub(crate) fn ready_field(&self, name: &str) -> &str {
        let fields = self.ready.strip_prefix("ready ").unwrap_or_else(|| panic!("{}", self.ready));
        let field = fields.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        field.unwrap_or_else(|| panic!("no {name} in: {}", self.ready))
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the broker accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        stream
    }

    /// A client on a connection of its own.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.connect())
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("its log")
    }

    /// Waits until it has logged `text`, and returns the line.
    pub(crate) fn logged(&self, text: &str) -> String {
        let line = || self.log().lines().find(|line| line.contains(text)).map(str::to_owned);
        until(|| line().is_some(), || format!("{text:?} is not in the log: {}", self.log()));
        line().unwrap_or_default()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.try_wait().expect("a state").is_none()
    }

    /// The most memory it ever had, in bytes.
    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = libc::pid_t::try_from(self.process.id()).expect("a pid");
        // SAFETY: `kill` takes no pointers, and the pid is that of a child nobody has waited for.
        #[allow(unsafe_code)]
        let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
        assert_eq!(sent, 0, "SIGTERM was not sent");
    }

    /// Stops it as a service manager does.
    pub(crate) fn stop(mut self) {
        self.terminate();
        let status = self.ended();
        assert!(status.success(), "{status}: {}", self.log());
        assert!(self.log().contains("stopped cleanly"), "{}", self.log());
    }

    /// Ends it as the kernel does when memory runs out: kill -9.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.ended();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => println!("{line}"),
                Err(RecvTimeoutError::Disconnected) => return self.process.wait().expect("a status"),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {}", self.log()),
            }
        }
    }

    /// Where its metrics are, from the log.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        let line = self.logged("metrics are at http://");
        let address = line.split("http://").nth(1).and_then(|url| url.strip_suffix("/metrics"));
        address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _already_gone = self.process.wait();
    }
}

/// Looks until it is so.
pub(crate) fn until(so: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// A directory in which brokers keep theirs.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
